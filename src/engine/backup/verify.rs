//! Proves the copies and writes down what each object is.

use std::collections::HashSet;

use bytes::Bytes;

use super::copies::{Copies, Seen};
use crate::engine::error::{EngineError, Tally};
use crate::engine::inspect::inspect;
use crate::engine::inventory::Named;
use crate::engine::reader::Reader;
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

/// Compares the artifact with the listing of its source by one listing, page by page, unless the level is `None`.
///
/// # Errors
/// [`EngineError::Damaged`] naming the objects that are not what was listed.
pub async fn artifact(copies: &Copies<'_>, level: VerifyBackup) -> Result<Verified, EngineError> {
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
    Ok(Verified { objects: records.finish()?.into(), count, bytes })
}

/// Reads every object and looks inside, but those of the `sealed` collections, which are encrypted.
///
/// # Errors
/// [`EngineError::Damaged`] naming the objects that are no whole log files, or have not the rows of their segment.
pub async fn content(copies: &Copies<'_>, sealed: &HashSet<i64>, reader: &Reader) -> Result<(), EngineError> {
    let is_open = |log: &Named| !sealed.contains(&log.key.collection);
    let damaged = inspect(copies.artifact, copies.logs, is_open, reader).await?;
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Damaged(format!("the backup is damaged: {damaged}"))),
    }
}
