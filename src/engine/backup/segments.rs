//! Which objects belong to which segment: one listing per collection and log kind, matched with the server's segments.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::engine::copy::Copy;
use crate::engine::error::{EngineError, named};
use crate::engine::patience::patient;
use crate::engine::select::Name;
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::binlog;
use crate::manifest::layout::{self, Artifact};
use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, LogKey, LogKind, SegmentBackupInfo};
use crate::milvus::{FlushTicket, Milvus, Segment, SegmentLevel, SegmentState};
use crate::storage::{ObjectMeta, Store, list_all};

/// Looks again this often when compaction replaced a segment between the two questions.
const TRIES: usize = 5;
/// Delta logs read at once.
const READERS: usize = 8;
/// A delta log larger than this was not written in the seconds since the flush; it is not read.
const DELTA_LIMIT: u64 = 8 << 20;

/// One object of a collection.
#[derive(Debug, Clone)]
pub struct Log {
    /// What the key says.
    pub key: LogKey,
    /// As listed.
    pub object: ObjectMeta,
}

/// Asks for the segments of a collection and finds their objects.
///
/// # Errors
/// [`EngineError::StoragePathMismatch`] when segments with rows have no objects even after looking again.
pub async fn of(
    milvus: &Milvus,
    store: &dyn Store,
    root_path: &str,
    info: &CollectionBackupInfo,
    ticket: Option<&FlushTicket>,
) -> Result<Vec<(Segment, Vec<Log>)>, EngineError> {
    let name = Name::new(&info.db_name, &info.collection_name);
    let mut pauses =
        crate::engine::patience::Pauses::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(2));
    let mut missing = Vec::new();
    for _ in 0..TRIES {
        let segments = consistent(patient(|| milvus.segments(&name.database, &name.collection)).await?, ticket);
        let logs = logs(store, root_path, info.collection_id).await?;
        match assign(segments, logs) {
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
/// taken, because nothing tells the successor from a newcomer.
fn consistent(segments: Vec<Segment>, ticket: Option<&FlushTicket>) -> Vec<Segment> {
    let flushed: Vec<Segment> = segments.into_iter().filter(|segment| segment.state == SegmentState::Flushed).collect();
    let Some(ticket) = ticket else { return flushed };
    let own: BTreeSet<i64> = ticket.segment_ids.iter().chain(&ticket.flushed_segment_ids).copied().collect();
    let there: BTreeSet<i64> = flushed.iter().map(|segment| segment.id).collect();
    if own.is_subset(&there) {
        return flushed.into_iter().filter(|segment| own.contains(&segment.id)).collect();
    }
    flushed
}

async fn logs(store: &dyn Store, root_path: &str, collection: i64) -> Result<Vec<Log>, EngineError> {
    let mut logs = Vec::new();
    for kind in [LogKind::Insert, LogKind::Delta] {
        for object in list_all(store, &layout::milvus_collection_prefix(root_path, kind, collection)).await? {
            if let Some(key) = LogKey::parse_in_milvus(root_path, &object.key) {
                logs.push(Log { key, object });
            }
        }
    }
    Ok(logs)
}

/// Matches segments with objects; segments without rows and without objects are left out.
///
/// # Errors
/// The segments that have rows but no insert log, or not the same number of files for every field.
fn assign(segments: Vec<Segment>, logs: Vec<Log>) -> Result<Vec<(Segment, Vec<Log>)>, Vec<i64>> {
    let mut by_segment: BTreeMap<i64, Vec<Log>> = BTreeMap::new();
    for log in logs {
        by_segment.entry(log.key.segment).or_default().push(log);
    }
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for segment in segments {
        let logs = by_segment.remove(&segment.id).unwrap_or_default();
        let deletes_only = segment.level == SegmentLevel::L0;
        if logs.is_empty() && segment.rows == 0 {
            continue;
        }
        if !deletes_only && !complete(&logs) {
            missing.push(segment.id);
        }
        found.push((segment, logs));
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// Every field has the same number of files, and at least one.
fn complete(logs: &[Log]) -> bool {
    let mut files: BTreeMap<i64, usize> = BTreeMap::new();
    for log in logs.iter().filter(|log| log.key.kind() == LogKind::Insert) {
        *files.entry(log.key.field.unwrap_or_default()).or_default() += 1;
    }
    let mut counts = files.values();
    counts.next().is_some_and(|first| counts.all(|count| count == first))
}

/// Leaves out delta logs whose deletes all came after the flush: with them a backup would hold the old half of an upsert
/// as deleted and not have its new half, and the row would be gone.
///
/// # Errors
/// The store's. A delta log that cannot be understood is kept: the proof of a restore judges it.
pub async fn without_later_deletes(
    store: &dyn Store,
    segments: Vec<(Segment, Vec<Log>)>,
    flush_ts: u64,
) -> Result<Vec<(Segment, Vec<Log>)>, EngineError> {
    stream::iter(segments)
        .map(|(segment, logs)| async move {
            let mut kept = Vec::with_capacity(logs.len());
            for log in logs {
                if log.key.kind() == LogKind::Insert || !later(store, &log, flush_ts).await? {
                    kept.push(log);
                }
            }
            Ok((segment, kept))
        })
        .buffered(READERS)
        .try_collect()
        .await
}

async fn later(store: &dyn Store, log: &Log, flush_ts: u64) -> Result<bool, EngineError> {
    if log.object.size > DELTA_LIMIT {
        return Ok(false);
    }
    let body = store.get(&log.object.key).await?;
    // The deletes themselves are asked: 2.5 leaves the timestamps of the file's events without meaning.
    Ok(binlog::deletes(&body).is_ok_and(|all| !all.is_empty() && all.iter().all(|one| one.timestamp > flush_ts)))
}

/// Adds segments to the metadata of their collection; answers the copies they need.
pub fn record(info: &mut CollectionBackupInfo, artifact: &Artifact, segments: Vec<(Segment, Vec<Log>)>) -> Vec<Copy> {
    let mut copies = Vec::new();
    for (segment, logs) in segments {
        let is_l0 = segment.level == SegmentLevel::L0;
        let everywhere = segment.partition_id == ALL_PARTITIONS;
        let group = (!everywhere).then_some(segment.id);
        copies.extend(logs.iter().map(|log| Copy { source: log.object.clone(), to: artifact.log(&log.key, group) }));
        let recorded = SegmentBackupInfo {
            segment_id: segment.id,
            collection_id: info.collection_id,
            partition_id: segment.partition_id,
            num_of_rows: segment.rows,
            binlogs: fields(&logs),
            deltalogs: deltas(&logs),
            size: logs.iter().map(|log| size(&log.object)).sum(),
            group_id: group.unwrap_or_default(),
            is_l0,
            storage_version: segment.storage_version,
            ..SegmentBackupInfo::default()
        };
        match info.partition_backups.iter_mut().find(|partition| partition.partition_id == segment.partition_id) {
            Some(partition) => {
                partition.size += recorded.size;
                partition.segment_backups.push(recorded);
            }
            None => info.l0_segments.push(recorded),
        }
    }
    info.size = info.partition_backups.iter().map(|partition| partition.size).sum::<i64>()
        + info.l0_segments.iter().map(|segment| segment.size).sum::<i64>();
    copies
}

fn fields(logs: &[Log]) -> Vec<FieldBinlog> {
    let mut fields: BTreeMap<i64, Vec<Binlog>> = BTreeMap::new();
    for log in logs.iter().filter(|log| log.key.kind() == LogKind::Insert) {
        fields.entry(log.key.field.unwrap_or_default()).or_default().push(binlog(log));
    }
    fields.into_iter().map(|(field_id, binlogs)| FieldBinlog { field_id, binlogs }).collect()
}

/// One element even when there is none: the Go tool's list path writes it so (milvus-backup.md 3.3).
fn deltas(logs: &[Log]) -> Vec<FieldBinlog> {
    let binlogs = logs.iter().filter(|log| log.key.kind() == LogKind::Delta).map(binlog).collect();
    vec![FieldBinlog { field_id: 0, binlogs }]
}

fn binlog(log: &Log) -> Binlog {
    Binlog { log_path: log.object.key.clone(), log_size: size(&log.object), log_id: log.key.log, ..Binlog::default() }
}

fn size(object: &ObjectMeta) -> i64 {
    i64::try_from(object.size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::backup_info::PartitionBackupInfo;

    fn segment(id: i64, rows: i64) -> Segment {
        Segment {
            id,
            partition_id: 2,
            rows,
            state: SegmentState::Flushed,
            level: SegmentLevel::Legacy,
            sorted: false,
            storage_version: 0,
        }
    }

    fn log(segment: i64, field: Option<i64>, id: i64) -> Log {
        let key = LogKey { collection: 1, partition: 2, segment, field, log: id };
        let object = ObjectMeta { key: key.in_milvus("files"), size: 10, etag: "e".into() };
        Log { key, object }
    }

    fn ids(segments: &[Segment]) -> Vec<i64> {
        segments.iter().map(|segment| segment.id).collect()
    }

    #[test]
    fn a_segment_that_was_filled_after_the_flush_is_left_out() {
        let ticket = FlushTicket { segment_ids: vec![7], flushed_segment_ids: vec![8], ..FlushTicket::default() };
        let now = vec![segment(7, 5), segment(8, 5), segment(9, 5)];
        assert_eq!(ids(&consistent(now, Some(&ticket))), [7, 8]);
    }

    #[test]
    fn after_a_compaction_everything_flushed_is_taken() {
        let ticket = FlushTicket { segment_ids: vec![7], flushed_segment_ids: vec![8], ..FlushTicket::default() };
        let growing = Segment { state: SegmentState::Growing, ..segment(10, 5) };
        let now = vec![segment(8, 5), segment(9, 5), growing];
        assert_eq!(ids(&consistent(now, Some(&ticket))), [8, 9]);
    }

    #[test]
    fn a_segment_with_rows_and_no_objects_is_missing() {
        assert_eq!(assign(vec![segment(7, 5)], vec![]).unwrap_err(), [7]);
    }

    #[test]
    fn a_segment_whose_fields_have_different_numbers_of_files_is_missing() {
        let logs = vec![log(7, Some(0), 1), log(7, Some(1), 2), log(7, Some(1), 3)];
        assert_eq!(assign(vec![segment(7, 5)], logs).unwrap_err(), [7]);
    }

    #[test]
    fn objects_of_segments_the_server_no_longer_names_are_left_out() {
        let logs = vec![log(7, Some(0), 1), log(8, Some(0), 2)];
        let found = assign(vec![segment(7, 5), segment(9, 0)], logs).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.len(), 1);
    }

    #[test]
    fn metadata_and_copies_follow_the_layout_with_the_group_level() {
        let mut info = CollectionBackupInfo {
            collection_id: 1,
            partition_backups: vec![PartitionBackupInfo { partition_id: 2, ..Default::default() }],
            ..Default::default()
        };
        let logs = vec![log(7, Some(0), 1), log(7, Some(100), 2), log(7, None, 3)];
        let copies = record(&mut info, &Artifact::new("backup", "a").unwrap(), vec![(segment(7, 5), logs)]);
        let keys: Vec<&str> = copies.iter().map(|copy| copy.to.as_str()).collect();
        assert_eq!(
            keys,
            [
                "backup/a/binlogs/insert_log/1/2/7/7/0/1",
                "backup/a/binlogs/insert_log/1/2/7/7/100/2",
                "backup/a/binlogs/delta_log/1/2/7/7/3"
            ]
        );
        let recorded = &info.partition_backups[0].segment_backups[0];
        assert_eq!((recorded.group_id, recorded.size, info.size), (7, 30, 30));
        assert_eq!(recorded.binlogs[1].field_id, 100);
        assert_eq!(recorded.deltalogs[0].binlogs[0].log_id, 3);
    }
}
