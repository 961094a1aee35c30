//! How many rows a collection must have after its restore: what the segments hold, less what their deletes take away.
//!
//! `num_of_rows` counts deleted rows too, so a segment with delta logs is read: its keys, its timestamps, its deletes. An
//! import answers the rows that remain (seen on 2.3.5), and `count(*)` counts them.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::plan::Item;
use crate::engine::artifact::Artifact;
use crate::engine::error::EngineError;
use crate::manifest::binlog::{self, BinlogError, Delete, Key};
use crate::manifest::{CollectionBackupInfo, LogKey, SegmentBackupInfo};

/// Segments read at once. Each holds its keys and timestamps in memory.
const READERS: usize = 2;
/// Field of the row timestamps (milvus-backup.md 3.1).
const TIMESTAMP_FIELD: i64 = 1;

/// Live rows by segment id.
///
/// # Errors
/// An unreadable object, by name.
pub async fn live(artifact: &Artifact, item: &Item) -> Result<BTreeMap<i64, u64>, EngineError> {
    let info = &item.info;
    stream::iter(info.segments().filter(|segment| !segment.is_l0))
        .map(|segment| async move { Ok((segment.segment_id, live_in(artifact, info, segment).await?)) })
        .buffer_unordered(READERS)
        .try_collect()
        .await
}

async fn live_in(
    artifact: &Artifact,
    info: &CollectionBackupInfo,
    segment: &SegmentBackupInfo,
) -> Result<u64, EngineError> {
    let stored = u64::try_from(segment.num_of_rows).unwrap_or_default();
    if segment.delta_logs().next().is_none() {
        return Ok(stored);
    }
    let Some(primary) = info.schema.primary_key() else {
        return Ok(stored);
    };
    let mut deletes: Vec<Delete> = Vec::new();
    for log in segment.delta_logs().filter_map(|log| log.id()) {
        deletes.extend(read(artifact, segment, None, log, binlog::deletes).await?);
    }
    let mut rows: Vec<(Key, u64)> = Vec::new();
    let keys = logs_of(segment, primary.field_id);
    let times = logs_of(segment, TIMESTAMP_FIELD);
    for (key_log, time_log) in keys.into_iter().zip(times) {
        let keys = read(artifact, segment, Some(primary.field_id), key_log, binlog::primary_keys).await?;
        let times = read(artifact, segment, Some(TIMESTAMP_FIELD), time_log, binlog::timestamps).await?;
        rows.extend(keys.into_iter().zip(times));
    }
    Ok(binlog::live_rows(rows, deletes))
}

/// Log ids of a field in ascending order: the files of two fields with the same place hold the same rows.
fn logs_of(segment: &SegmentBackupInfo, field: i64) -> Vec<i64> {
    let mut logs: Vec<i64> =
        segment.insert_logs().filter(|(id, _)| *id == field).filter_map(|(_, log)| log.id()).collect();
    logs.sort_unstable();
    logs
}

async fn read<T>(
    artifact: &Artifact,
    segment: &SegmentBackupInfo,
    field: Option<i64>,
    log: i64,
    parse: fn(&bytes::Bytes) -> Result<T, BinlogError>,
) -> Result<T, EngineError> {
    let key = LogKey {
        collection: segment.collection_id,
        partition: segment.partition_id,
        segment: segment.segment_id,
        field,
        log,
    };
    let key = artifact.keys.log(&key, segment.group());
    let body = artifact.store().get(&key).await?;
    parse(&body).map_err(|source| EngineError::Binlog { key, source })
}
