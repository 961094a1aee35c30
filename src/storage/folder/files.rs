//! The verbs of a directory in calls to the file system. They may wait: they run on threads of their own.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::draft::{Draft, publish, publish_if};
use super::path as paths;
use crate::storage::reading::room;
use crate::storage::{Condition, ObjectRef, Part, Place, StoreError, Upload, Written};

/// A directory of objects.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) place: Place,
    /// Objects of a page.
    pub(super) page: usize,
}

impl Folder {
    pub(super) fn read_whole(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        let (file, found) = self.open(key)?;
        StoreError::unless_within(most, found.len(), key, &self.place)?;
        let mut body = Vec::with_capacity(usize::try_from(found.len().max(room(found.len()))).unwrap_or(0));
        match file.take(found.len()).read_to_end(&mut body) {
            Ok(_) if body.len() as u64 == found.len() => Ok(body.into()),
            // Somebody cuts it while it is read.
            Ok(_) => Err(self.replaced(key)),
            Err(error) => Err(self.failure(error, "read an object", key)),
        }
    }

    pub(super) fn read(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let (file, found) = self.open(key)?;
        if etag.is_some_and(|etag| etag != tag(&found)) {
            return Err(self.replaced(key));
        }
        self.read_from(&file, key, offset, length.min(found.len().saturating_sub(offset)))
    }

    /// So many bytes, which were there a moment ago.
    fn read_from(&self, file: &File, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let mut body = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        match file.read_exact_at(&mut body, offset) {
            Ok(()) => Ok(body.into()),
            // Somebody cuts it while it is read.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.replaced(key)),
            Err(error) => Err(self.failure(error, "read an object", key)),
        }
    }

    pub(super) fn write(&self, key: &str, body: &[u8]) -> Result<String, StoreError> {
        let act = "write an object";
        let target = self.target(key)?;
        self.draft(&target, &new_id())
            .and_then(|mut draft| {
                draft.file.write_all(body)?;
                publish(draft, &target)
            })
            .map_err(|error| self.failure(error, act, key))
    }

    /// Conditional writes of one directory take turns; an unconditional one does not wait for them.
    pub(super) fn write_if(&self, key: &str, body: &[u8], condition: &Condition) -> Result<Written, StoreError> {
        let act = "write an object on a condition";
        let target = self.target(key)?;
        let failed = |error| self.failure(error, act, key);
        let mut draft = self.draft(&target, &new_id()).map_err(failed)?;
        draft.file.write_all(body).map_err(failed)?;
        let written = publish_if(draft, &target, condition).map_err(failed)?;
        if written == Written::Refused {
            self.prune(&target);
        }
        Ok(written)
    }

    pub(super) fn copy(&self, source: &Folder, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let act = "copy an object";
        let mut origin = source.origin(from)?;
        let target = self.target(to)?;
        self.draft(&target, &new_id())
            .and_then(|mut draft| {
                std::io::copy(&mut origin, &mut draft.file)?;
                publish(draft, &target)
            })
            .map_err(|error| self.failure(error, act, to))
    }

    pub(super) fn begin(&self, key: &str) -> Result<String, StoreError> {
        let (target, id) = (self.target(key)?, new_id());
        let mut draft =
            self.draft(&target, &id).map_err(|error| self.failure(error, "begin a multipart write", key))?;
        draft.kept = true;
        Ok(id)
    }

    /// Answers the part's ETag: where it begins and how long it is.
    pub(super) fn write_part(&self, upload: &Upload, offset: u64, body: &[u8]) -> Result<String, StoreError> {
        let act = "write a part";
        let draft = self.reopen(upload, act)?;
        draft.file.write_all_at(body, offset).map_err(|error| self.failure(error, act, &upload.key))?;
        Ok(part_tag(offset, body.len() as u64))
    }

    pub(super) fn copy_part(
        &self,
        upload: &Upload,
        source: &Folder,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<String, StoreError> {
        let act = "copy a part";
        let origin = source.origin(from)?;
        let mut draft = self.reopen(upload, act)?;
        let copy = |mut origin: File, draft: &mut File| {
            origin.seek(SeekFrom::Start(offset))?;
            draft.seek(SeekFrom::Start(offset))?;
            std::io::copy(&mut origin.take(length), draft)
        };
        match copy(origin, &mut draft.file).map_err(|error| self.failure(error, act, &upload.key))? {
            copied if copied == length && length > 0 => Ok(part_tag(offset, length)),
            _ => Err(self.rejected(act, "the range is not inside the object")),
        }
    }

    /// The parts must follow each other without a gap.
    pub(super) fn finish(&self, upload: &Upload, mut parts: Vec<Part>) -> Result<String, StoreError> {
        let act = "finish a multipart write";
        let mut draft = self.reopen(upload, act)?;
        parts.sort_by_key(|part| part.number);
        let mut end = Some(0).filter(|_| !parts.is_empty());
        for part in &parts {
            end = parse_part_tag(&part.etag)
                .filter(|(offset, _)| Some(*offset) == end)
                .map(|(offset, size)| offset + size);
        }
        let size = draft.file.metadata().map_err(|error| self.failure(error, act, &upload.key))?.len();
        if end != Some(size) {
            return Err(self.rejected(act, "its parts do not make up the object"));
        }
        let target = self.target(&upload.key)?;
        draft.kept = false;
        publish(draft, &target).map_err(|error| self.failure(error, act, &upload.key))
    }

    pub(super) fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let (Some(draft), target) = (self.draft_of(upload)?, self.target(&upload.key)?) else { return Ok(()) };
        match std::fs::remove_file(draft) {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(self.failure(error, "abort a multipart write", &upload.key)),
        }
        self.prune(&target);
        Ok(())
    }

    pub(super) fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.exists()?;
        for key in keys {
            let (path, found) = self.resolve(key)?;
            // A directory is no object, whatever it is called.
            if found.is_none_or(|found| found.is_dir()) {
                continue;
            }
            match std::fs::remove_file(&path) {
                Ok(()) => self.prune(&path),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(self.failure(error, "delete an object", key)),
            }
        }
        Ok(())
    }

    /// Removes directories that have become empty: where there are no objects there is nothing.
    fn prune(&self, file: &Path) {
        let above = file.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in above {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    /// The path of a key, none of which is a link, and what is there.
    pub(super) fn resolve(&self, key: &str) -> Result<(PathBuf, Option<Metadata>), StoreError> {
        let act = || format!("use the key {key:?}");
        let Some(path) = paths::file(&self.root, key) else {
            return Err(self.rejected(&act(), "it is no path of a file below the folder"));
        };
        let mut found = None;
        let mut step = self.root.clone();
        for name in key.split('/') {
            step.push(name);
            found = match std::fs::symlink_metadata(&step) {
                Ok(there) if there.is_symlink() => {
                    let cause = format!("{} is a symbolic link, and links are not followed", step.display());
                    return Err(self.rejected(&act(), &cause));
                }
                Ok(there) => Some(there),
                Err(error) if is_missing(&error) => {
                    found = None;
                    break;
                }
                Err(error) => return Err(self.failure(error, &act(), key)),
            };
        }
        Ok((path, found))
    }

    fn open(&self, key: &str) -> Result<(File, Metadata), StoreError> {
        let (path, found) = self.resolve(key)?;
        if !found.is_some_and(|found| found.is_file()) {
            self.exists()?;
            return Err(self.not_found(key));
        }
        let opened = File::open(path).and_then(|file| file.metadata().map(|found| (file, found)));
        opened.map_err(|error| self.failure(error, "read an object", key))
    }

    /// The source of a copy.
    fn origin(&self, from: &ObjectRef) -> Result<File, StoreError> {
        let (file, found) = self.open(&from.key)?;
        if from.etag.as_ref().is_some_and(|etag| *etag != tag(&found)) {
            return Err(self.replaced(&from.key));
        }
        Ok(file)
    }

    fn target(&self, key: &str) -> Result<PathBuf, StoreError> {
        self.exists()?;
        match self.resolve(key)? {
            (_, Some(found)) if found.is_dir() => {
                Err(self.rejected(&format!("write {key:?}"), "there are objects below it, so it cannot be one itself"))
            }
            (path, _) => Ok(path),
        }
    }

    /// That the directory is there: a volume that is not mounted is no empty one.
    pub(super) fn exists(&self) -> Result<(), StoreError> {
        match self.root.is_dir() {
            true => Ok(()),
            false => Err(StoreError::BucketNotFound { place: self.place.to_string() }),
        }
    }

    fn draft(&self, target: &Path, id: &str) -> Result<Draft, Error> {
        Draft::make(target, id, &self.root)
    }

    fn draft_of(&self, upload: &Upload) -> Result<Option<PathBuf>, StoreError> {
        let (target, _) = self.resolve(&upload.key)?;
        Ok(paths::unfinished(&target, &upload.id).filter(|_| paths::is_id(&upload.id)))
    }

    fn reopen(&self, upload: &Upload, act: &str) -> Result<Draft, StoreError> {
        let gone = || self.rejected(act, "the multipart write does not exist");
        let path = self.draft_of(upload)?.ok_or_else(gone)?;
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(Draft { file, path, kept: true }),
            Err(error) if is_missing(&error) => Err(gone()),
            Err(error) => Err(self.failure(error, act, &upload.key)),
        }
    }

    pub(super) fn not_found(&self, key: &str) -> StoreError {
        StoreError::NotFound { key: key.into(), place: self.place.to_string() }
    }

    fn replaced(&self, key: &str) -> StoreError {
        StoreError::Replaced { key: key.into(), place: self.place.to_string() }
    }

    fn rejected(&self, act: &str, cause: &str) -> StoreError {
        StoreError::Rejected { place: self.place.to_string(), act: act.into(), cause: cause.into() }
    }

    /// What a failed call means.
    pub(super) fn failure(&self, error: Error, act: &str, key: &str) -> StoreError {
        let place = self.place.to_string();
        let act = if key.is_empty() { act.to_owned() } else { format!("{act} ({key})") };
        match error.kind() {
            ErrorKind::NotFound if !self.root.is_dir() => StoreError::BucketNotFound { place },
            ErrorKind::NotFound => StoreError::NotFound { key: key.into(), place },
            ErrorKind::PermissionDenied => StoreError::Denied { place, act, code: "permission denied".into() },
            ErrorKind::ReadOnlyFilesystem => StoreError::Denied { place, act, code: "read-only file system".into() },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                StoreError::Setup(format!("{place} is full, could not {act}: make it larger or remove old backups"))
            }
            ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::FileTooLarge
            | ErrorKind::CrossesDevices => StoreError::Rejected { place, act, cause: error.to_string() },
            _ => StoreError::Unavailable { place, act, tries: 1, cause: error.to_string() },
        }
    }
}

/// Time of change, size and inode.
pub(super) fn tag(found: &Metadata) -> String {
    format!("{:x}.{:09}-{:x}-{:x}", found.mtime(), found.mtime_nsec(), found.size(), found.ino())
}

fn part_tag(offset: u64, size: u64) -> String {
    format!("{offset}+{size}")
}

fn parse_part_tag(etag: &str) -> Option<(u64, u64)> {
    let (offset, size) = etag.split_once('+')?;
    Some((offset.parse().ok()?, size.parse().ok()?))
}

/// Also where something on the way is a file.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn new_id() -> String {
    format!("{:016x}", RandomState::new().hash_one(SystemTime::now()))
}
