//! Proves the copies and writes down what each object is.

use std::collections::HashSet;

use bytes::Bytes;

use super::copies::{Copies, Seen};
use crate::engine::error::{EngineError, Tally};
use crate::engine::proof;
use crate::engine::task::VerifyBackup;
use crate::manifest::ObjectRecord;
use crate::manifest::layout::log_path;
use crate::manifest::objects::ObjectsWriter;
use crate::storage::Listing;

/// The objects of an artifact.
#[derive(Debug)]
pub struct Verified {
    /// `operator/objects.jsonl.zst`.
    pub objects: Bytes,
    /// How many they are.
    pub count: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Compares the artifact with the listing of its source by one listing, page by page; with `Checksum` also reads every
/// object but those of the `sealed` collections, which are encrypted.
///
/// # Errors
/// [`EngineError::Damaged`] naming the objects that are not what was listed.
pub async fn artifact(
    copies: &Copies<'_>,
    level: VerifyBackup,
    sealed: &HashSet<i64>,
) -> Result<Verified, EngineError> {
    let (artifact, logs) = (copies.artifact, copies.logs);
    let mut seen = copies.unseen();
    let mut finder = logs.finder();
    let mut records = ObjectsWriter::new()?;
    let (mut count, mut bytes) = (0, 0);
    let mut listing = Listing::new(artifact.store(), artifact.keys.binlogs());
    while let Some(page) = listing.next().await? {
        for object in page {
            let Some((key, group)) = artifact.keys.parse_log(&object.key) else { continue };
            let unseen = |place: usize| seen[place] == Seen::Not;
            let Some(log) = finder.find(&key, group).filter(|log| unseen(log.place)) else { continue };
            seen[log.place] = copies.compare(&log, &object);
            count += 1;
            bytes += object.size;
            records.push(&ObjectRecord {
                key: log_path(&key, group),
                size: object.size,
                etag: object.etag,
                source_key: Some(key.in_milvus(copies.root_path)),
                rows: None,
            })?;
        }
    }
    if level != VerifyBackup::None {
        copies.settle(&mut seen).await?;
        let mut wrong = Tally::default();
        for log in logs.logs().filter(|log| seen[log.place] != Seen::Same) {
            wrong.add(|| artifact.keys.log(&log.key, log.group));
        }
        if !wrong.is_empty() {
            return Err(EngineError::Damaged(format!(
                "{} copies are not what was listed in Milvus' bucket: {wrong}",
                wrong.total()
            )));
        }
    }
    if level == VerifyBackup::Checksum {
        let open = logs.logs().filter(|log| !sealed.contains(&log.key.collection));
        let damaged = proof::inspect(artifact, open).await?.of_whole_segments();
        if !damaged.is_empty() {
            return Err(EngineError::Damaged(format!("the backup is damaged: {damaged}")));
        }
    }
    Ok(Verified { objects: records.finish()?.into(), count, bytes })
}
