//! Copies an artifact's binlogs into Milvus' own bucket, the only one an import reads, and takes them away again.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::plan::Batch;
use crate::engine::artifact::Artifact;
use crate::engine::copy::{Copier, Copy};
use crate::engine::error::{EngineError, named};
use crate::engine::lock::Fence;
use crate::engine::progress::Counters;
use crate::engine::tags;
use crate::storage::{Store, delete_prefix, list_all, sweep_uploads};

/// Parent of all staged copies: outside Milvus' rootPath, where its garbage collection would take them.
pub const PARENT: &str = "milvus-backup-staging";

/// Where imports read from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Milvus' bucket.
    pub store: Arc<dyn Store>,
    /// What comes before a path inside the artifact.
    pub prefix: String,
    /// Whether the copies are ours to remove.
    pub staged: bool,
}

/// Whose turn it is to stage the files of a collection. Where it comes back under several names all of them need the same
/// files under the same keys: the first copies, the others find them there, and nobody writes over what a server reads.
#[derive(Debug, Default)]
pub struct Turns(std::sync::Mutex<BTreeMap<i64, Arc<Mutex<()>>>>);

impl Turns {
    /// Waits for the turn of a collection, by its id in the backup; it ends with the guard.
    pub async fn of(&self, collection: i64) -> OwnedMutexGuard<()> {
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(collection).or_default().clone();
        turn.lock_owned().await
    }
}

/// The artifact itself where it lies in Milvus' bucket, else a prefix of this run.
pub fn origin(artifact: &Artifact, milvus: Arc<dyn Store>, run: &str) -> Origin {
    if artifact.store().place() == milvus.place() {
        return Origin { store: milvus, prefix: artifact.keys.dir(), staged: false };
    }
    Origin { store: milvus, prefix: format!("{PARENT}/{run}/"), staged: true }
}

/// Copies what batches need and is not there yet, and proves it by a listing.
///
/// # Errors
/// The stores', or copies that are not what was listed.
pub async fn stage(
    artifact: &Artifact,
    origin: &Origin,
    batches: impl Iterator<Item = &Batch>,
    copier: &Copier<'_>,
    fence: &dyn Fence,
) -> Result<u64, EngineError> {
    let mut copies = Vec::new();
    for batch in batches {
        let directories = batch.directories.iter().flat_map(|one| std::iter::once(&one.first).chain(&one.deletes));
        for directory in directories {
            for object in list_all(artifact.store(), &artifact.keys.key(directory)).await? {
                let path = artifact.keys.relative(&object.key).unwrap_or(&object.key).to_owned();
                copies.push(Copy { source: object, to: format!("{}{path}", origin.prefix) });
            }
        }
    }
    let there = list_all(origin.store.as_ref(), &origin.prefix).await?;
    let missing = tags::missing(artifact.store(), origin.store.as_ref(), &copies, &there).await?;
    let todo = missing.into_iter().cloned();
    // Imports are what counts as progress of a restore; staged bytes are on the way there.
    let uncounted = Counters::default();
    let moved = copier.all(artifact.store(), origin.store.as_ref(), todo, &uncounted, fence).await?;
    let there = list_all(origin.store.as_ref(), &origin.prefix).await?;
    let wrong = tags::differing(artifact.store(), origin.store.as_ref(), &copies, &there).await?;
    if !wrong.is_empty() {
        return Err(EngineError::Damaged(format!("staged copies are not what was copied: {}", named(&wrong, 5))));
    }
    Ok(moved)
}

/// Removes staged copies of this run.
///
/// # Errors
/// The store's.
pub async fn clear(origin: &Origin) -> Result<(), EngineError> {
    if origin.staged {
        sweep_uploads(origin.store.as_ref(), &origin.prefix).await?;
        delete_prefix(origin.store.as_ref(), &origin.prefix).await?;
    }
    Ok(())
}
