//! Pure: which files of a bundle are read where not all are.

use std::collections::BTreeSet;

use super::choose::Choice;
use crate::manifest::BackupInfo;
use crate::storage::{ObjectMeta, Tag};

/// A file of a bundle.
#[derive(Debug)]
pub struct File {
    /// Key in its bucket.
    pub key: String,
    /// Bytes, as listed.
    pub size: u64,
    /// As listed.
    pub tag: Tag,
}

/// The chosen files of a bundle: the metadata of each snapshot, and a share of the others, at least one.
pub struct Files<'c> {
    choice: Choice,
    metadata: BTreeSet<&'c str>,
    taken: Vec<File>,
    /// The file that is taken if no other is.
    lowest: Option<(u64, File)>,
}

impl Files<'_> {
    /// None yet, of this backup.
    pub fn of(info: &BackupInfo, choice: Choice) -> Files<'_> {
        let snapshots = info.collection_backups.iter().filter_map(|one| one.snapshot_backup.as_ref());
        let metadata = snapshots.map(|snapshot| snapshot.metadata_path.as_str()).collect();
        Files { choice, metadata, taken: Vec::new(), lowest: None }
    }

    /// A file of the backup that is listed.
    pub fn offer(&mut self, path: &str, object: &ObjectMeta) {
        let rank = self.choice.rank(path);
        let file = || File { key: object.key.clone(), size: object.size, tag: Tag::from(object.etag.as_str()) };
        if self.choice.takes(rank) || self.metadata.contains(path) {
            self.taken.push(file());
        } else if self.lowest.as_ref().is_none_or(|(lowest, _)| rank < *lowest) {
            self.lowest = Some((rank, file()));
        }
    }

    /// The files to read.
    pub fn taken(mut self) -> Vec<File> {
        if self.taken.is_empty() {
            self.taken.extend(self.lowest.map(|(_, file)| file));
        }
        self.taken
    }
}
