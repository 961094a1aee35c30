//! The bundle of an artifact: what a server wrote by itself, exporting snapshots. Its files are nobody's to look into, so
//! they are known by their paths, and proven by size and tag.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::artifact::{Artifact, Contents};
use super::copy::is_digest;
use super::error::EngineError;
use super::inventory::Inventory;
use super::proof::{Compared, Note, Wrong};
use super::task::{Service, StoreTarget};
use crate::manifest::layout::log_path;
use crate::manifest::{BackupFormat, BackupInfo};
use crate::storage::{Listing, Tag};

/// Its folder in the artifact.
pub const BUNDLE: &str = "bundle/";

/// Stands for a path in less memory: a bundle may have a million files.
pub type PathDigest = [u8; 16];

/// The first half of the path's SHA-256.
pub fn path_digest(path: &str) -> PathDigest {
    let mut half = PathDigest::default();
    for (to, from) in half.iter_mut().zip(Sha256::digest(path)) {
        *to = from;
    }
    half
}

/// Whether a server can be told of objects in this store as `s3://bucket/key`, which means its own endpoint
/// (milvus-wire.md 2.13). Other services have other addresses, which nobody has tried.
pub fn speaks_s3(store: &StoreTarget) -> bool {
    store.folder.is_none() && store.service == Service::S3
}

/// Whether there is a bundle to be proven.
pub fn is_in(info: &BackupInfo) -> bool {
    info.format() == Some(BackupFormat::Snapshot)
        || info.collection_backups.iter().any(|collection| collection.snapshot_backup.is_some())
}

/// A file as it was recorded.
struct Recorded {
    size: u64,
    tag: Tag,
    seen: bool,
}

/// Compares every recorded file with one listing of the bundle, page by page, and looks for what the metadata names. The Go
/// tool records no files.
///
/// # Errors
/// The store's; an object list that cannot be read.
pub async fn compare(
    artifact: &Artifact,
    contents: &Contents,
    logs: &Inventory<'_>,
    note: Note<'_>,
) -> Result<Compared, EngineError> {
    let mut compared = Compared::unsuspected(logs);
    for log in logs.logs() {
        let said = || format!("{} is no part of a snapshot", log_path(&log.key, log.group));
        compared.damaged(Some(log.key.collection), Wrong::Stray, said);
    }
    let mut recorded = recorded(contents)?;
    let snapshots = || {
        let collections = contents.info.collection_backups.iter();
        collections.filter_map(|one| Some((one.collection_id, one.snapshot_backup.as_ref()?.metadata_path.as_str())))
    };
    let mut unseen: BTreeSet<&str> = snapshots().map(|(_, path)| path).collect();
    let mut listing = Listing::new(artifact.store(), artifact.keys.key(BUNDLE));
    while let Some(page) = listing.next().await? {
        for object in page {
            let Some(path) = artifact.keys.relative(&object.key) else { continue };
            unseen.remove(path);
            let Some(known) = recorded.get_mut(&path_digest(path)) else {
                match contents.objects {
                    Some(_) => compared.findings.unknown += 1,
                    None => note(None, &object),
                }
                continue;
            };
            if std::mem::replace(&mut known.seen, true) {
                continue;
            }
            if object.size != known.size {
                let said = || format!("{path} has {} bytes instead of {}", object.size, known.size);
                compared.damaged(None, Wrong::Corrupt, said);
                continue;
            }
            let etag = known.tag.to_string();
            if object.etag != etag && is_digest(&etag) && is_digest(&object.etag) {
                let said = || format!("{path} was replaced: its content is not what was backed up");
                compared.damaged(None, Wrong::Corrupt, said);
                continue;
            }
            note(None, &object);
        }
    }
    for record in contents.records()?.into_iter().flatten() {
        let path = record?.key;
        if recorded.get(&path_digest(&path)).is_some_and(|known| !known.seen) {
            compared.damaged(None, Wrong::Missing, || format!("{path} is missing"));
        }
    }
    for (collection, path) in snapshots().filter(|(_, path)| unseen.contains(path)) {
        if !recorded.contains_key(&path_digest(path)) {
            compared.damaged(Some(collection), Wrong::Missing, || format!("{path} is missing"));
        }
    }
    Ok(compared)
}

fn recorded(contents: &Contents) -> Result<HashMap<PathDigest, Recorded>, EngineError> {
    let mut recorded = HashMap::new();
    for record in contents.records()?.into_iter().flatten() {
        let record = record?;
        let tag = Tag::from(record.etag.as_str());
        recorded.insert(path_digest(&record.key), Recorded { size: record.size, tag, seen: false });
    }
    Ok(recorded)
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
