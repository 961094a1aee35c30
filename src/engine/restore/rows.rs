//! How many rows a collection must have after its restore: what the segments hold, less what their deletes take away.
//!
//! `num_of_rows` counts deleted rows too, so a segment that deletes may concern is read: its keys, its timestamps, the
//! deletes. An import answers the rows that its own delta logs leave (seen on 2.3.5), an import of a delete-only segment the
//! number of deletes (seen on 2.5.27 and 2.6.18), and `count(*)` counts what remains of all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use super::plan::Item;
use super::sealed;
use crate::engine::artifact::Artifact;
use crate::engine::error::EngineError;
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::binlog::{self, BinlogError, Deletes, Key};
use crate::manifest::{CollectionBackupInfo, LogKey, SegmentBackupInfo};

/// Segments of one collection looked at together; how many are read at once is the restore's bound.
const TOGETHER: usize = 4;
/// Field of the row timestamps (milvus-backup.md 3.1).
pub const TIMESTAMP_FIELD: i64 = 1;

/// What a restored collection must have. A range where keys cannot be read: files of storage version 2 whose columns carry
/// no field ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Rows (of delete-only segments: deletes) the import of a segment answers.
    pub segments: BTreeMap<i64, RangeInclusive<u64>>,
    /// Rows of a segment that all deletes leave.
    pub live_segments: BTreeMap<i64, RangeInclusive<u64>>,
    /// Rows of the collection at the end.
    pub live: RangeInclusive<u64>,
}

impl Default for Expected {
    fn default() -> Expected {
        Expected { segments: BTreeMap::new(), live_segments: BTreeMap::new(), live: 0..=0 }
    }
}

impl Expected {
    /// Sum over segments.
    pub fn of(&self, segments: &[i64]) -> RangeInclusive<u64> {
        sum(segments.iter().filter_map(|segment| self.segments.get(segment)))
    }

    /// Sum of what all deletes leave of segments.
    pub fn live_of(&self, segments: &[i64]) -> RangeInclusive<u64> {
        sum(segments.iter().filter_map(|segment| self.live_segments.get(segment)))
    }
}

/// Both ends added up.
pub fn sum<'r>(ranges: impl Iterator<Item = &'r RangeInclusive<u64>>) -> RangeInclusive<u64> {
    let add = |sum: RangeInclusive<u64>, range: &RangeInclusive<u64>| {
        sum.start() + range.start()..=sum.end().saturating_add(*range.end())
    };
    ranges.fold(0..=0, add)
}

/// `7`, or `5 to 7`.
pub fn told(range: &RangeInclusive<u64>) -> String {
    match range.start() == range.end() {
        true => range.end().to_string(),
        false => format!("{} to {}", range.start(), range.end()),
    }
}

/// What is expected. Rows newer than `cut`, a hybrid timestamp, are not counted. `readers` bounds what is in memory.
///
/// # Errors
/// An unreadable object, by name.
pub async fn expected(
    artifact: &Artifact,
    item: &Item<'_>,
    cut: Option<u64>,
    readers: &Semaphore,
) -> Result<Expected, EngineError> {
    let info = item.info.as_ref();
    if item.key.is_some() {
        return Ok(sealed::expected(info, cut.is_some()));
    }
    let mut expected = Expected::default();
    let mut apart: BTreeMap<i64, Deletes> = BTreeMap::new();
    for segment in info.segments().filter(|segment| segment.is_l0) {
        let (deletes, number) = deletes_of(artifact, segment, cut).await?;
        expected.segments.insert(segment.segment_id, number..=number);
        apart.entry(segment.partition_id).or_default().merge(deletes);
    }
    let apart = &apart;
    let counted: Vec<(i64, RangeInclusive<u64>, RangeInclusive<u64>)> =
        stream::iter(info.segments().filter(|segment| !segment.is_l0))
            .map(|segment| async move {
                // Never closed; without a permit the work goes on unbounded rather than not at all.
                let _permit = readers.acquire().await.ok();
                let (imported, live) = live_in(artifact, info, segment, apart, cut).await?;
                Ok::<_, EngineError>((segment.segment_id, imported, live))
            })
            .buffer_unordered(TOGETHER)
            .try_collect()
            .await?;
    expected.live = sum(counted.iter().map(|(_, _, live)| live));
    for (segment, imported, live) in counted {
        expected.segments.insert(segment, imported);
        expected.live_segments.insert(segment, live);
    }
    Ok(expected)
}

/// Rows after a segment's own deletes, and after all deletes.
async fn live_in(
    artifact: &Artifact,
    info: &CollectionBackupInfo,
    segment: &SegmentBackupInfo,
    apart: &BTreeMap<i64, Deletes>,
    cut: Option<u64>,
) -> Result<(RangeInclusive<u64>, RangeInclusive<u64>), EngineError> {
    let stored = u64::try_from(segment.num_of_rows).unwrap_or_default();
    let others = concerning(apart, segment);
    let own_logs = segment.delta_logs().next().is_some();
    if !own_logs && others.is_empty() && cut.is_none() {
        return Ok((stored..=stored, stored..=stored));
    }
    let Some(primary) = info.schema.primary_key() else {
        return Ok((stored..=stored, stored..=stored));
    };
    let (own, own_number) = deletes_of(artifact, segment, cut).await?;
    let rows = match rows_of(artifact, segment, primary.field_id).await {
        Ok(rows) => rows,
        Err(EngineError::Binlog { source: BinlogError::Unsupported { .. }, .. }) => {
            let apart: u64 = others.iter().map(|deletes| deletes.len() as u64).sum();
            let lost = if cut.is_some() { stored } else { own_number };
            let imported = stored.saturating_sub(lost)..=stored;
            return Ok((imported.clone(), imported.start().saturating_sub(apart)..=stored));
        }
        Err(error) => return Err(error),
    };
    let (mut imported, mut live) = (0, 0);
    for (key, timestamp) in rows {
        if cut.is_some_and(|cut| timestamp > cut) || own.take(&key, timestamp) {
            continue;
        }
        imported += 1;
        live += u64::from(!others.iter().any(|deletes| deletes.take(&key, timestamp)));
    }
    Ok((imported..=imported, live..=live))
}

/// Deletes of delete-only segments that concern a segment.
fn concerning<'d>(apart: &'d BTreeMap<i64, Deletes>, segment: &SegmentBackupInfo) -> Vec<&'d Deletes> {
    [segment.partition_id, ALL_PARTITIONS].iter().filter_map(|id| apart.get(id)).collect()
}

/// All deletes that concern a segment: its own, and those of delete-only segments.
///
/// # Errors
/// An unreadable object, by name.
pub async fn all_deletes(
    artifact: &Artifact,
    info: &CollectionBackupInfo,
    segment: &SegmentBackupInfo,
    cut: Option<u64>,
) -> Result<Deletes, EngineError> {
    let (mut all, _) = deletes_of(artifact, segment, cut).await?;
    let reaches = |other: &&SegmentBackupInfo| {
        other.is_l0 && [segment.partition_id, ALL_PARTITIONS].contains(&other.partition_id)
    };
    for other in info.segments().filter(reaches) {
        all.merge(deletes_of(artifact, other, cut).await?.0);
    }
    Ok(all)
}

/// The latest delete of each key, and the number of all deletes.
async fn deletes_of(
    artifact: &Artifact,
    segment: &SegmentBackupInfo,
    cut: Option<u64>,
) -> Result<(Deletes, u64), EngineError> {
    let (mut latest, mut number) = (Deletes::default(), 0);
    for log in segment.delta_logs().filter_map(|log| log.id()) {
        let mut deletes = read(artifact, segment, None, log, binlog::deletes).await?;
        deletes.retain(|delete| cut.is_none_or(|cut| delete.timestamp <= cut));
        number += deletes.len() as u64;
        latest.extend(deletes);
    }
    Ok((latest, number))
}

/// Keys and timestamps of a segment's rows.
async fn rows_of(
    artifact: &Artifact,
    segment: &SegmentBackupInfo,
    primary: i64,
) -> Result<Vec<(Key, u64)>, EngineError> {
    let mut rows = Vec::new();
    if segment.storage_version < 2 {
        for (keys, times) in logs_of(segment, primary).into_iter().zip(logs_of(segment, TIMESTAMP_FIELD)) {
            let keys = read(artifact, segment, Some(primary), keys, binlog::primary_keys).await?;
            let times = read(artifact, segment, Some(TIMESTAMP_FIELD), times, binlog::timestamps).await?;
            rows.extend(keys.into_iter().zip(times));
        }
        return Ok(rows);
    }
    let key_group = group_of(artifact, segment, primary).await?;
    let time_group = group_of(artifact, segment, TIMESTAMP_FIELD).await?;
    for (keys, times) in logs_of(segment, key_group).into_iter().zip(logs_of(segment, time_group)) {
        let keys = read(artifact, segment, Some(key_group), keys, |bytes| binlog::group_keys(bytes, primary)).await?;
        let times = read(artifact, segment, Some(time_group), times, binlog::group_timestamps).await?;
        rows.extend(keys.into_iter().zip(times));
    }
    Ok(rows)
}

/// The column group that holds a field.
async fn group_of(artifact: &Artifact, segment: &SegmentBackupInfo, field: i64) -> Result<i64, EngineError> {
    let groups: BTreeMap<i64, i64> =
        segment.insert_logs().filter_map(|(group, log)| Some((group, log.id()?))).collect();
    let mut key = String::new();
    for (group, log) in groups {
        key = artifact.keys.log(&log_key(segment, Some(group), log), segment.group());
        if read(artifact, segment, Some(group), log, binlog::group_fields).await?.contains(&field) {
            return Ok(group);
        }
    }
    let source = BinlogError::Unsupported { what: format!("columns among which field {field} cannot be told") };
    Err(EngineError::Binlog { key, source })
}

/// Log ids of a field in ascending order: the files of two fields with the same place hold the same rows.
pub fn logs_of(segment: &SegmentBackupInfo, field: i64) -> Vec<i64> {
    let mut logs: Vec<i64> =
        segment.insert_logs().filter(|(id, _)| *id == field).filter_map(|(_, log)| log.id()).collect();
    logs.sort_unstable();
    logs
}

/// The key of a log of a segment.
pub(super) fn log_key(segment: &SegmentBackupInfo, field: Option<i64>, log: i64) -> LogKey {
    LogKey {
        collection: segment.collection_id,
        partition: segment.partition_id,
        segment: segment.segment_id,
        field,
        log,
    }
}

/// Reads one log.
///
/// # Errors
/// An unreadable object, by name.
pub(super) async fn read<T>(
    artifact: &Artifact,
    segment: &SegmentBackupInfo,
    field: Option<i64>,
    log: i64,
    parse: impl Fn(&bytes::Bytes) -> Result<T, BinlogError>,
) -> Result<T, EngineError> {
    let key = artifact.keys.log(&log_key(segment, field, log), segment.group());
    let body = artifact.store().get(&key).await?;
    parse(&body).map_err(|source| EngineError::Binlog { key, source })
}
