//! Which objects belong to which segment: one listing per collection and log kind, matched with the server's segments.
//!
//! - here: the segments of the recovery point are asked for until all their objects are found.
//! - `matching`: segments and listed objects (pure).
//! - `metadata`: what is written down of them (pure).

mod matching;
mod metadata;

use std::collections::BTreeSet;

pub(super) use self::matching::assign;
use self::matching::{fields_of_every_segment, named_files, says_deletes_only};
pub use self::metadata::record;
use super::logs::{self, Log, Logs};
use crate::engine::error::{EngineError, named};
use crate::engine::patience::patient;
use crate::engine::select::Name;
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::layout;
use crate::manifest::{CollectionBackupInfo, LogKey, LogKind};
use crate::milvus::{FlushTicket, Gate, Milvus, Missing, Segment, SegmentFiles, SegmentState};
use crate::storage::Store;

/// Looks again this often when compaction replaced a segment between the two questions.
const TRIES: usize = 5;
/// Highest storage version this program can copy and bring back: column groups.
pub const STORAGE_VERSION: i64 = 2;

/// A segment with its objects.
#[derive(Debug, Clone)]
pub struct Found {
    /// Collection.
    pub collection: i64,
    /// As the server listed it.
    pub segment: Segment,
    /// Virtual channel, empty where the server tells none.
    pub channel: String,
    /// Deletes only.
    pub deletes_only: bool,
    /// Its objects.
    pub logs: Vec<Log>,
}

impl Found {
    /// The ids of one of its logs.
    pub fn key(&self, log: &Log) -> LogKey {
        let Segment { id: segment, partition_id: partition, .. } = self.segment;
        LogKey { collection: self.collection, partition, segment, field: log.field, log: log.id }
    }
}

/// Asks for the segments of a collection and finds their objects. `with_deltas` are the collections that have delta logs,
/// where that is known; those of others are not listed.
///
/// # Errors
/// [`EngineError::StoragePathMismatch`] when segments with rows have no objects even after looking again.
pub async fn of(
    milvus: &Milvus,
    store: &dyn Store,
    root_path: &str,
    info: &CollectionBackupInfo,
    ticket: Option<&FlushTicket>,
    with_deltas: Option<&BTreeSet<i64>>,
) -> Result<Vec<Found>, EngineError> {
    let name = Name::new(&info.db_name, &info.collection_name);
    let mut pauses =
        crate::engine::patience::Pauses::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(2));
    let mut missing = Vec::new();
    // From 2.4.0 on there are delete-only segments, from 2.4.7 on they are told as such.
    let untold = milvus.version().has(Gate::DeleteSegments) && !milvus.version().has(Gate::SegmentLevel);
    for number in 0..TRIES {
        let segments = patient(|| milvus.segments(&name.database, &name.collection)).await?;
        let segments = consistent(segments, ticket, untold);
        let segments = of_known_partitions(milvus, &name, info, segments).await?;
        if let Some(segment) = segments.iter().find(|segment| segment.storage_version > STORAGE_VERSION) {
            return Err(crate::engine::preflight::unsupported(format!(
                "segment {} of collection {name} has storage version {}, which this version does not copy",
                segment.id, segment.storage_version
            )));
        }
        let files = exact(milvus, &name, info.collection_id, &segments).await?;
        let wanted: BTreeSet<(i64, i64)> = segments.iter().map(Logs::place).collect();
        let deltas = match &files {
            Exact::Known(files) => files.iter().any(|files| !files.deltas.is_empty()),
            // Looking again means that something has changed since all were listed.
            _ => number > 0 || with_deltas.is_none_or(|known| known.contains(&info.collection_id)),
        };
        let kinds: &[LogKind] = if deltas { &[LogKind::Insert, LogKind::Delta] } else { &[LogKind::Insert] };
        let logs = logs::of(store, root_path, info.collection_id, &wanted, kinds).await?;
        let assigned = match files {
            // Compaction took a segment between the two questions.
            Exact::Vanished(segments) => Err(segments),
            Exact::Known(files) => named_files(segments, logs, files),
            Exact::Unknown => assign(segments, logs, untold, &fields_of_every_segment(info)),
        };
        match assigned {
            Ok(found) => return Ok(found),
            Err(segments) => missing = segments,
        }
        tokio::time::sleep(pauses.next()).await;
    }
    let missing: Vec<String> = missing.iter().map(i64::to_string).collect();
    Err(EngineError::StoragePathMismatch(format!(
        "{} has no complete set of insert logs for segment {} of {name} below {}: either bucket or rootPath is not \
         the one Milvus writes to, or objects were removed from it",
        store.place(),
        named(&missing, 5),
        layout::milvus_log_prefix(root_path, LogKind::Insert)
    )))
}

/// The segments that belong to the recovery point: flushed ones, and of these only the flush's own as long as they are all
/// there. A segment that was filled and flushed since holds the new half of upserts whose old half is still in the others;
/// with it a key would come back twice. Where compaction has replaced some of the flush's segments, everything flushed is
/// taken, because nothing tells the successor from a newcomer. A flush names no delete-only segments: they are all kept,
/// and what came later is left out of them by its timestamps.
fn consistent(segments: Vec<Segment>, ticket: Option<&FlushTicket>, untold_deletes: bool) -> Vec<Segment> {
    let flushed: Vec<Segment> = segments.into_iter().filter(|segment| segment.state == SegmentState::Flushed).collect();
    let Some(ticket) = ticket else { return flushed };
    let deletes = |segment: &Segment| says_deletes_only(segment) || (untold_deletes && segment.rows == 0);
    let own: BTreeSet<i64> = ticket.segment_ids.iter().chain(&ticket.flushed_segment_ids).copied().collect();
    let there: BTreeSet<i64> = flushed.iter().map(|segment| segment.id).collect();
    if own.is_subset(&there) {
        return flushed.into_iter().filter(|one| own.contains(&one.id) || deletes(one)).collect();
    }
    flushed
}

/// What the server says about the files of segments.
enum Exact {
    /// Nothing: the listing has to do.
    Unknown,
    /// Every file.
    Known(Vec<SegmentFiles>),
    /// These segments are gone.
    Vanished(Vec<i64>),
}

async fn exact(milvus: &Milvus, name: &Name, collection: i64, segments: &[Segment]) -> Result<Exact, EngineError> {
    if !milvus.version().has(Gate::SegmentFiles) || segments.is_empty() {
        return Ok(Exact::Unknown);
    }
    let ids: Vec<i64> = segments.iter().map(|segment| segment.id).collect();
    match milvus.segment_files(&name.database, (&name.collection, collection), &ids).await {
        Ok(Some(files)) => Ok(Exact::Known(files)),
        Ok(None) => {
            tracing::warn!(collection = %name, "REST does not answer for milvus: files are taken by listing");
            Ok(Exact::Unknown)
        }
        Err(error) if error.is_missing(Missing::Segment) => Ok(Exact::Vanished(ids)),
        // A balancer that lets only gRPC through, or a REST port of its own: the listing has the same files and more.
        Err(error) => {
            tracing::warn!(collection = %name, "files are taken by listing: {error}");
            Ok(Exact::Unknown)
        }
    }
}

/// Segments of partitions that were dropped meanwhile go with them.
///
/// # Errors
/// A partition that was made after the collection was described: another attempt sees it.
async fn of_known_partitions(
    milvus: &Milvus,
    name: &Name,
    info: &CollectionBackupInfo,
    segments: Vec<Segment>,
) -> Result<Vec<Segment>, EngineError> {
    let known = |segment: &Segment| {
        segment.partition_id == ALL_PARTITIONS
            || info.partition_backups.iter().any(|partition| partition.partition_id == segment.partition_id)
    };
    let (kept, strange): (Vec<Segment>, Vec<Segment>) = segments.into_iter().partition(known);
    if strange.is_empty() {
        return Ok(kept);
    }
    let now = patient(|| milvus.list_partitions(&name.database, &name.collection)).await?;
    match now.iter().find(|partition| strange.iter().any(|segment| segment.partition_id == partition.id)) {
        None => Ok(kept),
        Some(partition) => Err(EngineError::Interrupted(format!(
            "partition {} of collection {name} was made while the collection was backed up; another attempt will take it",
            partition.name
        ))),
    }
}

#[cfg(test)]
mod tests;
