//! Listings of a directory, in the semantics of a bucket: a prefix is text, keys come in byte order.

use std::io::ErrorKind;
use std::path::Path;

use super::files::{Folder, is_missing, tag};
use super::path::{self as paths, Name};
use crate::storage::{ObjectMeta, Page, StoreError, Upload};

const ACT: &str = "list objects";
/// A file system's own, at the top of a volume, for root only.
const LOST_AND_FOUND: &str = "lost+found";

/// What lies in a directory. The order is that of keys: a directory counts with the slash that follows its name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// With a slash at the end where it is a directory.
    name: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Folder,
    Object,
    Unfinished(Upload),
}

/// A listing under way.
struct Walk<'w> {
    folder: &'w Folder,
    prefix: &'w str,
    after: Option<&'w str>,
    page: Page,
}

impl Folder {
    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.exists()?;
        let mut walk = Walk { folder: self, prefix, after, page: Page::default() };
        let start = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        if self.is_folder(start)? {
            walk.below(start)?;
        }
        Ok(walk.page)
    }

    pub(super) fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.exists()?;
        let mut names = Vec::new();
        if self.is_folder(prefix)? {
            for entry in self.entries(prefix)?.into_iter().filter(|entry| entry.kind == Kind::Folder) {
                if self.holds_objects(&format!("{prefix}{}", entry.name))? {
                    names.push(entry.name.trim_end_matches('/').to_owned());
                }
            }
        }
        // Not the order of keys: here `c` stands before `c-1`.
        names.sort();
        Ok(names)
    }

    pub(super) fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.exists()?;
        let mut found = Vec::new();
        let start = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        let mut left: Vec<String> = if self.is_folder(start)? { vec![start.to_owned()] } else { Vec::new() };
        while let Some(below) = left.pop() {
            for entry in self.entries(&below)? {
                match entry.kind {
                    Kind::Folder => {
                        let key = format!("{below}{}", entry.name);
                        if key.starts_with(prefix) || prefix.starts_with(&key) {
                            left.push(key);
                        }
                    }
                    Kind::Unfinished(upload) if upload.key.starts_with(prefix) => found.push(upload),
                    Kind::Unfinished(_) | Kind::Object => {}
                }
            }
        }
        Ok(found)
    }

    /// Whether a prefix that is empty or ends in a slash is a directory, reached without a link.
    fn is_folder(&self, prefix: &str) -> Result<bool, StoreError> {
        let Some(key) = prefix.strip_suffix('/') else { return Ok(prefix.is_empty()) };
        // Below what can be no key there is none.
        if paths::names(key).is_none() {
            return Ok(false);
        }
        Ok(self.resolve(key)?.1.is_some_and(|found| found.is_dir()))
    }

    /// Directories without any file are left by a run that was killed.
    fn holds_objects(&self, prefix: &str) -> Result<bool, StoreError> {
        let entries = self.entries(prefix)?;
        if entries.iter().any(|entry| entry.kind == Kind::Object) {
            return Ok(true);
        }
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Folder) {
            if self.holds_objects(&format!("{prefix}{}", entry.name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn entries(&self, below: &str) -> Result<Vec<Entry>, StoreError> {
        let failed = |error| self.failure(error, ACT, below);
        let path = self.root.join(below);
        let listed = match std::fs::read_dir(&path) {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            listed => listed.map_err(failed)?,
        };
        let mut entries = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed)?;
            let kind = match entry.file_type() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                kind => kind.map_err(failed)?,
            };
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|_| kind.is_dir() || kind.is_file()) else {
                tracing::warn!(path = %entry.path().display(), "neither a file nor a directory, or no UTF-8: no object");
                continue;
            };
            entries.extend(classify(below, name, kind.is_dir()));
        }
        entries.sort();
        Ok(entries)
    }

    fn meta(&self, path: &Path, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(ObjectMeta { key: key.to_owned(), size: found.len(), etag: tag(&found) })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.failure(error, ACT, key)),
        }
    }
}

fn classify(below: &str, name: &str, is_folder: bool) -> Option<Entry> {
    if is_folder {
        let ours = below.is_empty() && name == LOST_AND_FOUND;
        return (!ours).then(|| Entry { name: format!("{name}/"), kind: Kind::Folder });
    }
    let kind = match Name::of(name) {
        Name::Object => Kind::Object,
        Name::Unfinished { id, of } => Kind::Unfinished(paths::upload(below, id, of)),
        Name::Lock => return None,
    };
    Some(Entry { name: name.to_owned(), kind })
}

impl Walk<'_> {
    /// Goes on until the page is full.
    fn below(&mut self, folder: &str) -> Result<(), StoreError> {
        for Entry { name, kind } in self.folder.entries(folder)? {
            let key = format!("{folder}{name}");
            match kind {
                Kind::Folder if self.enters(&key) => self.below(&key)?,
                Kind::Object if self.wants(&key) => {
                    if let Some(last) = self.page.objects.last().filter(|_| self.page.objects.len() == self.folder.page)
                    {
                        self.page.next = Some(last.key.clone());
                        return Ok(());
                    }
                    self.page.objects.extend(self.folder.meta(&self.folder.root.join(&key), &key)?);
                }
                Kind::Folder | Kind::Object | Kind::Unfinished(_) => {}
            }
            if self.page.next.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn wants(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// Whether there can be wanted keys below `folder`, which ends in a slash.
    fn enters(&self, folder: &str) -> bool {
        (folder.starts_with(self.prefix) || self.prefix.starts_with(folder))
            && self.after.is_none_or(|after| after < folder || after.starts_with(folder))
    }
}
