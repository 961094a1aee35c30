//! Keys as paths below a directory, and the names of files that are no objects (yet).
//!
//! `a/b/7` is written as `a/b/.mb-<id>-7` and renamed at its end; `<id>` is the id of the upload. A conditional write holds
//! a lock on `a/b/.mb-lock` and removes it. Neither is ever an object, and no object can be called so.

use std::path::{Path, PathBuf};

use crate::storage::Upload;

const MARK: &str = ".mb-";
const LOCK: &str = ".mb-lock";
/// Hexadecimal digits of an id.
const ID: usize = 16;

/// What a file is by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'n> {
    /// An object.
    Object,
    /// What will be the object of this name.
    Unfinished { id: &'n str, of: &'n str },
    /// The lock of a directory.
    Lock,
}

impl Name<'_> {
    pub(super) fn of(name: &str) -> Name<'_> {
        if name == LOCK {
            return Name::Lock;
        }
        let unfinished = name.strip_prefix(MARK).and_then(|rest| rest.split_at_checked(ID));
        match unfinished.and_then(|(id, rest)| Some((id, rest.strip_prefix('-')?))) {
            Some((id, of)) if is_id(id) && !of.is_empty() => Name::Unfinished { id, of },
            _ => Name::Object,
        }
    }
}

/// Whether a text has the form of an id; anything else could lead out of the directory.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == ID && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The names on the way to the file of a key; none for a key that has no file: one that leads up, is absolute, has an
/// empty name in it or one of ours.
pub(super) fn names(key: &str) -> Option<impl Iterator<Item = &str>> {
    let usual = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0') && Name::of(name) == Name::Object;
    key.split('/').all(usual).then(|| key.split('/'))
}

/// The file of a key. The key must have [`names`].
pub(super) fn file(root: &Path, key: &str) -> Option<PathBuf> {
    Some(names(key)?.fold(root.to_owned(), |mut path, name| {
        path.push(name);
        path
    }))
}

/// Where the object of a file is written before it is there.
pub(super) fn unfinished(file: &Path, id: &str) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    Some(file.with_file_name(format!("{MARK}{id}-{name}")))
}

/// The lock of the directory a file is in.
pub(super) fn lock(file: &Path) -> PathBuf {
    file.with_file_name(LOCK)
}

/// The upload behind an unfinished name in the directory of `below` (empty, or with a slash at its end).
pub(super) fn upload(below: &str, id: &str, of: &str) -> Upload {
    Upload { key: format!("{below}{of}"), id: id.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_that_leads_elsewhere_has_no_file() {
        let id = "0123456789abcdef";
        let ours = [format!("a/.mb-{id}-b"), "a/.mb-lock".to_owned()];
        let bad = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a\0b"];
        for key in bad.into_iter().chain(ours.iter().map(String::as_str)) {
            assert_eq!(file(Path::new("/root"), key), None, "{key:?}");
        }
        for key in ["a", "a/b", "..a", "a..", ".a/b", "a/.mb-x", "a\\..\\b"] {
            assert_eq!(file(Path::new("/root"), key), Some(Path::new("/root").join(key)), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn no_key_leaves_the_directory(key in r"[./a\\~-]{0,12}") {
            if let Some(path) = file(Path::new("/root"), &key) {
                prop_assert!(path.starts_with("/root") && path != Path::new("/root"));
                prop_assert!(path.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
                prop_assert_eq!(path.strip_prefix("/root").unwrap().to_str(), Some(key.as_str()));
            }
        }

        #[test]
        fn an_unfinished_name_tells_its_object(name in "[^/\0]{1,20}", id in "[0-9a-f]{16}") {
            let path = unfinished(&Path::new("/d").join(&name), &id);
            prop_assume!(!matches!(name.as_str(), "." | ".."));
            let path = path.unwrap();
            let found = Name::of(path.file_name().unwrap().to_str().unwrap());
            prop_assert_eq!(found, Name::Unfinished { id: &id, of: &name });
        }
    }
}
