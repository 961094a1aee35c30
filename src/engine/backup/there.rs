//! What an earlier attempt left in the artifact: copies that need not be made again, and strays.

use super::copies::{Copies, Seen};
use crate::engine::error::EngineError;
use crate::engine::lock::Lock;
use crate::storage::Listing;

/// What is in the artifact already.
#[derive(Debug)]
pub struct There {
    /// By place: whether the copy is made.
    pub copied: Vec<bool>,
    /// Whether there is anything that belongs to no planned copy.
    pub strays: bool,
}

/// Compares a plan with one listing of the artifact, page by page.
///
/// # Errors
/// The stores'.
pub async fn look(copies: &Copies<'_>) -> Result<There, EngineError> {
    let (artifact, mut seen, mut strays) = (copies.artifact, copies.unseen(), false);
    let mut finder = copies.logs.finder();
    let mut listing = Listing::new(artifact.store(), artifact.keys.binlogs());
    while let Some(page) = listing.next().await? {
        for object in page {
            let key = artifact.keys.parse_log(&object.key);
            match key.and_then(|(key, group)| finder.find(&key, group)) {
                Some(log) => seen[log.place] = copies.compare(&log, &object),
                None => strays = true,
            }
        }
    }
    copies.settle(&mut seen).await?;
    Ok(There { copied: seen.into_iter().map(|one| one == Seen::Same).collect(), strays })
}

/// Removes objects of segments that an earlier attempt copied and compaction has replaced since. Before each page the lock is
/// looked at: to a newer attempt other objects belong.
///
/// # Errors
/// The store's; [`EngineError::LostLock`].
pub async fn remove_strays(copies: &Copies<'_>, lock: &Lock<'_>) -> Result<(), EngineError> {
    let (artifact, mut finder) = (copies.artifact, copies.logs.finder());
    let mut removed = 0;
    let mut listing = Listing::new(artifact.store(), artifact.keys.binlogs());
    while let Some(page) = listing.next().await? {
        let keys = page.into_iter().map(|object| object.key);
        let stray =
            |key: &String| artifact.keys.parse_log(key).and_then(|(key, group)| finder.find(&key, group)).is_none();
        let strays: Vec<String> = keys.filter(stray).collect();
        if !strays.is_empty() {
            lock.still_held().await?;
            artifact.store().delete(&strays).await?;
            removed += strays.len();
        }
    }
    tracing::info!(objects = removed, "removed copies of segments that were compacted since");
    Ok(())
}
