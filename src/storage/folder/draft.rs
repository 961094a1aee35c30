//! Files on their way to become objects: drafts, the turns that conditional writes take, and what reaches the disk when.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::tag;
use super::path as paths;
use crate::storage::{Condition, Written};

/// How often a write finds its directory removed by a deletion before it gives up.
const TRIES: usize = 16;
/// How long a conditional write waits for others in the same directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A file that is no object yet; removed where it does not become one.
pub(super) struct Draft {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) kept: bool,
}

impl Draft {
    /// A new one for `target` below `root`.
    pub(super) fn make(target: &Path, id: &str, root: &Path) -> Result<Draft, Error> {
        let path = paths::unfinished(target, id).ok_or(ErrorKind::InvalidFilename)?;
        for _ in 0..TRIES {
            make_folders(target.parent().unwrap_or(root), root)?;
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Draft { file, path, kept: false }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::NotFound.into())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a draft the object: content first, then the name.
pub(super) fn publish(mut draft: Draft, target: &Path) -> Result<String, Error> {
    let etag = seal(&draft.file)?;
    std::fs::rename(&draft.path, target)?;
    draft.kept = true;
    sync_folder(target)?;
    Ok(etag)
}

/// As [`publish`], where the condition holds.
pub(super) fn publish_if(draft: Draft, target: &Path, condition: &Condition) -> Result<Written, Error> {
    let _turn = Turn::take(target)?;
    let there = match std::fs::symlink_metadata(target) {
        Ok(found) => Some(tag(&found)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match condition {
        Condition::Absent if there.is_none() => publish_new(draft, target),
        Condition::Matches(etag) if there.as_ref() == Some(etag) => publish(draft, target).map(Written::Yes),
        Condition::Absent | Condition::Matches(_) => Ok(Written::Refused),
    }
}

/// As [`publish`], where nothing has the name yet.
fn publish_new(mut draft: Draft, target: &Path) -> Result<Written, Error> {
    let etag = seal(&draft.file)?;
    match std::fs::hard_link(&draft.path, target) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Written::Refused),
        // No hard links here: our turn keeps others away.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            std::fs::rename(&draft.path, target)?;
            draft.kept = true;
        }
        Err(error) => return Err(error),
    }
    sync_folder(target)?;
    Ok(Written::Yes(etag))
}

/// Brings a file to the disk, with a time of change as exact as can be: it is part of the ETag.
fn seal(file: &File) -> Result<String, Error> {
    file.set_modified(SystemTime::now())?;
    file.sync_all()?;
    Ok(tag(&file.metadata()?))
}

fn sync_folder(target: &Path) -> Result<(), Error> {
    match target.parent() {
        Some(folder) => sync(folder),
        None => Ok(()),
    }
}

/// Some network file systems cannot sync a directory, and need not.
fn sync(folder: &Path) -> Result<(), Error> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Makes the directories up to `folder`, each of them synced into the one above.
fn make_folders(folder: &Path, root: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if folder != root => above,
        _ => return Err(ErrorKind::NotFound.into()),
    };
    make_folders(above, root)?;
    match std::fs::create_dir(folder) {
        Ok(()) => sync(above),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        // Removed as empty by a deletion a moment ago: the caller tries again.
        Err(error) => Err(error),
    }
}

/// The turn of a conditional write in a directory, for as long as this lives. Where the file system knows no locks,
/// conditions are still checked, but not in one step with the write.
struct Turn {
    path: PathBuf,
    /// Its lock ends with it.
    _file: File,
}

impl Turn {
    fn take(target: &Path) -> Result<Option<Turn>, Error> {
        let path = paths::lock(target);
        let started = std::time::Instant::now();
        loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                // The one before us may have removed the file we opened.
                Ok(()) if is_same(&file, &path)? => return Ok(Some(Turn { path, _file: file })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(%error, "the file system knows no locks: two runs at a time are not kept apart");
                    return Ok(None);
                }
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_same(file: &File, path: &Path) -> Result<bool, Error> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(there.ino() == ours.ino() && there.dev() == ours.dev()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
