//! Pure: segments and their objects as the metadata of a backup has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Found;
use crate::engine::backup::logs::Log;
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, LogKind, SegmentBackupInfo};
use crate::milvus::Segment;
use crate::storage::Tag;

/// Adds segments to the metadata of their collection; answers the tags of their objects in its order, which is that of an
/// `Inventory`.
pub fn record(info: &mut CollectionBackupInfo, root_path: &str, mut segments: Vec<Found>) -> Vec<Tag> {
    let root: Arc<str> = root_path.trim_matches('/').into();
    let order: BTreeMap<i64, usize> =
        info.partition_backups.iter().enumerate().map(|(at, partition)| (partition.partition_id, at)).collect();
    // Those of no partition come last.
    let partition = |segment: &Segment| order.get(&segment.partition_id).copied().unwrap_or(usize::MAX);
    segments.sort_by_key(|found| partition(&found.segment));
    let mut tags = Vec::with_capacity(segments.iter().map(|found| found.logs.len()).sum());
    for Found { collection: _, segment, channel, deletes_only, logs } in segments {
        let group = (segment.partition_id != ALL_PARTITIONS).then_some(segment.id);
        let recorded = SegmentBackupInfo {
            segment_id: segment.id,
            collection_id: info.collection_id,
            partition_id: segment.partition_id,
            num_of_rows: segment.rows,
            binlogs: fields(&logs),
            deltalogs: deltas(&logs),
            size: logs.iter().map(size).sum(),
            group_id: group.unwrap_or_default(),
            is_l0: deletes_only,
            v_channel: channel,
            storage_version: segment.storage_version,
            root: (!logs.is_empty()).then(|| root.clone()),
            ..SegmentBackupInfo::default()
        };
        tags.extend(logs.into_iter().map(|log| log.tag));
        match info.partition_backups.get_mut(partition(&segment)) {
            Some(partition) => {
                partition.size += recorded.size;
                partition.segment_backups.push(recorded);
            }
            None => info.l0_segments.push(recorded),
        }
    }
    info.size = info.partition_backups.iter().map(|partition| partition.size).sum::<i64>()
        + info.l0_segments.iter().map(|segment| segment.size).sum::<i64>();
    tags
}

/// The logs are in ascending order of fields and ids.
fn fields(logs: &[Log]) -> Vec<FieldBinlog> {
    let fields = logs.chunk_by(|one, next| one.field == next.field);
    let insert_logs = fields.filter_map(|logs| {
        let field_id = logs.first()?.field?;
        Some(FieldBinlog { field_id, binlogs: logs.iter().map(binlog).collect() })
    });
    let mut fields: Vec<FieldBinlog> = insert_logs.collect();
    fields.shrink_to_fit();
    fields
}

/// One element even when there is none: the Go tool's list path writes it so (milvus-backup.md 3.3).
fn deltas(logs: &[Log]) -> Vec<FieldBinlog> {
    let mut binlogs: Vec<Binlog> = logs.iter().filter(|log| log.kind() == LogKind::Delta).map(binlog).collect();
    binlogs.shrink_to_fit();
    vec![FieldBinlog { field_id: 0, binlogs }]
}

fn binlog(log: &Log) -> Binlog {
    Binlog { log_size: size(log), log_id: log.id, more: None }
}

fn size(log: &Log) -> i64 {
    i64::try_from(log.size).unwrap_or(i64::MAX)
}
