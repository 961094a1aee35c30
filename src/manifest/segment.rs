//! Segments and their files, in little memory: a backup names a million files.
//!
//! Source: milvus-backup.md 3.2 and 3.3, as for [`super::backup_info`]. The path of a file repeats ids that stand around it,
//! so it is held only where it is not what these ids give.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::go_json::is_zero;
use super::layout::LogKey;

/// A segment and its files.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "StoredSegment")]
pub struct SegmentBackupInfo {
    /// Id at the source; part of every key.
    pub segment_id: i64,
    /// Collection it belongs to.
    pub collection_id: i64,
    /// Partition it belongs to, [`super::backup_info::ALL_PARTITIONS`] for a delete-only segment of the whole collection.
    pub partition_id: i64,
    /// Rows inserted; deletes are not subtracted.
    pub num_of_rows: i64,
    /// Insert logs by field.
    pub binlogs: Vec<FieldBinlog>,
    /// Old, never written.
    pub statslogs: Vec<FieldBinlog>,
    /// Delta logs; may hold one empty element, see [`SegmentBackupInfo::delta_logs`].
    pub deltalogs: Vec<FieldBinlog>,
    /// Bytes; may count objects that are not listed.
    pub size: i64,
    /// Level between partition and segment in the keys; 0 for none. See [`SegmentBackupInfo::group`].
    pub group_id: i64,
    /// Old.
    pub backuped: bool,
    /// Whether it holds deletes only.
    pub is_l0: bool,
    /// Virtual channel, empty where the server did not tell.
    pub v_channel: String,
    /// 0 or 1 for one file per field, 2 for column groups.
    pub storage_version: i64,
    /// Milvus' rootPath at the time of the backup; none where no path begins with one. See [`SegmentBackupInfo::log_path`].
    pub root: Option<Arc<str>>,
}

/// Files of one field, or of one column group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldBinlog {
    /// Field id; column group id where `storage_version` is 2; 0 for delta logs.
    pub field_id: i64,
    /// Files.
    pub binlogs: Vec<Binlog>,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Binlog {
    /// Bytes.
    pub log_size: i64,
    /// Last part of the key; 0 in old backups, see [`Binlog::id`].
    pub log_id: i64,
    /// What few files have.
    pub more: Option<Box<BinlogMore>>,
}

/// What the metadata of old backups says of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BinlogMore {
    /// Old, never written.
    pub entries_num: i64,
    /// Old, never written.
    pub timestamp_from: u64,
    /// Old, never written.
    pub timestamp_to: u64,
    /// The path as recorded, where the ids give another.
    pub log_path: Option<String>,
}

impl SegmentBackupInfo {
    /// The group level of its keys; none in backups older than that level and for deletes of all partitions.
    pub fn group(&self) -> Option<i64> {
        (self.group_id != 0).then_some(self.group_id)
    }

    /// Insert logs with the id of their field (or column group).
    pub fn insert_logs(&self) -> impl Iterator<Item = (i64, &Binlog)> {
        self.binlogs.iter().flat_map(|field| field.binlogs.iter().map(|log| (field.field_id, log)))
    }

    /// Delta logs, without the empty element the Go tool writes for none.
    pub fn delta_logs(&self) -> impl Iterator<Item = &Binlog> {
        self.deltalogs.iter().flat_map(|field| &field.binlogs)
    }

    /// Key of a file in Milvus' bucket at the time of the backup, empty where none is recorded; `field` is none for a delta
    /// log. Never the key in the artifact, and not for finding anything.
    pub fn log_path(&self, field: Option<i64>, log: &Binlog) -> String {
        match (log.more.as_ref().and_then(|more| more.log_path.as_ref()), &self.root) {
            (Some(path), _) => path.clone(),
            (None, Some(root)) => self.key(field, log.log_id).in_milvus(root),
            (None, None) => String::new(),
        }
    }

    fn key(&self, field: Option<i64>, log: i64) -> LogKey {
        LogKey { collection: self.collection_id, partition: self.partition_id, segment: self.segment_id, field, log }
    }
}

impl Binlog {
    /// Last part of the key: the id, or the end of the recorded path where an old backup holds no id.
    pub fn id(&self) -> Option<i64> {
        match self.more.as_ref().and_then(|more| more.log_path.as_ref()) {
            Some(path) if self.log_id == 0 => path.rsplit('/').next().and_then(|last| last.parse().ok()),
            _ => Some(self.log_id),
        }
    }
}

impl Serialize for SegmentBackupInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredSegment::from(self).serialize(serializer)
    }
}

/// [`SegmentBackupInfo`] as it stands in the file; exists for one segment at a time.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredSegment {
    #[serde(skip_serializing_if = "is_zero")]
    segment_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    collection_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    partition_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    num_of_rows: i64,
    #[serde(skip_serializing_if = "is_zero")]
    binlogs: Vec<StoredField>,
    #[serde(skip_serializing_if = "is_zero")]
    statslogs: Vec<StoredField>,
    #[serde(skip_serializing_if = "is_zero")]
    deltalogs: Vec<StoredField>,
    size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    group_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    backuped: bool,
    #[serde(skip_serializing_if = "is_zero")]
    is_l0: bool,
    #[serde(skip_serializing_if = "is_zero")]
    v_channel: String,
    #[serde(skip_serializing_if = "is_zero")]
    storage_version: i64,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct StoredField {
    #[serde(rename = "fieldID", alias = "fieldId", alias = "fieldid", skip_serializing_if = "is_zero")]
    field_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    binlogs: Vec<StoredBinlog>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct StoredBinlog {
    #[serde(skip_serializing_if = "is_zero")]
    entries_num: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timestamp_from: u64,
    #[serde(skip_serializing_if = "is_zero")]
    timestamp_to: u64,
    #[serde(skip_serializing_if = "is_zero")]
    log_path: String,
    log_size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    log_id: i64,
}

/// What the ids around a file say of its path.
#[derive(Clone, Copy)]
enum Ids {
    Insert,
    Delta,
    /// Nothing: statistics lie elsewhere.
    None,
}

impl Ids {
    /// The field in the path; none where ids give no path.
    fn field(self, field: i64) -> Option<Option<i64>> {
        match self {
            Ids::Insert => Some(Some(field)),
            Ids::Delta => Some(None),
            Ids::None => None,
        }
    }
}

impl From<&SegmentBackupInfo> for StoredSegment {
    fn from(segment: &SegmentBackupInfo) -> StoredSegment {
        let logs = |fields: &[FieldBinlog], ids: Ids| fields.iter().map(|field| stored(segment, field, ids)).collect();
        StoredSegment {
            segment_id: segment.segment_id,
            collection_id: segment.collection_id,
            partition_id: segment.partition_id,
            num_of_rows: segment.num_of_rows,
            binlogs: logs(&segment.binlogs, Ids::Insert),
            statslogs: logs(&segment.statslogs, Ids::None),
            deltalogs: logs(&segment.deltalogs, Ids::Delta),
            size: segment.size,
            group_id: segment.group_id,
            backuped: segment.backuped,
            is_l0: segment.is_l0,
            v_channel: segment.v_channel.clone(),
            storage_version: segment.storage_version,
        }
    }
}

fn stored(segment: &SegmentBackupInfo, field: &FieldBinlog, ids: Ids) -> StoredField {
    let binlog = |log: &Binlog| {
        let log_path = match ids.field(field.field_id) {
            Some(field) => segment.log_path(field, log),
            None => log.more.as_ref().and_then(|more| more.log_path.clone()).unwrap_or_default(),
        };
        let (entries_num, timestamp_from, timestamp_to) =
            log.more.as_ref().map_or((0, 0, 0), |more| (more.entries_num, more.timestamp_from, more.timestamp_to));
        StoredBinlog { entries_num, timestamp_from, timestamp_to, log_path, log_size: log.log_size, log_id: log.log_id }
    };
    StoredField { field_id: field.field_id, binlogs: field.binlogs.iter().map(binlog).collect() }
}

impl From<StoredSegment> for SegmentBackupInfo {
    fn from(stored: StoredSegment) -> SegmentBackupInfo {
        let StoredSegment {
            segment_id,
            collection_id,
            partition_id,
            num_of_rows,
            binlogs,
            statslogs,
            deltalogs,
            size,
            group_id,
            backuped,
            is_l0,
            v_channel,
            storage_version,
        } = stored;
        let mut segment = SegmentBackupInfo {
            segment_id,
            collection_id,
            partition_id,
            num_of_rows,
            size,
            group_id,
            backuped,
            is_l0,
            v_channel,
            storage_version,
            ..SegmentBackupInfo::default()
        };
        segment.root = root(&segment, &binlogs, Ids::Insert).or_else(|| root(&segment, &deltalogs, Ids::Delta));
        segment.binlogs = held(&segment, binlogs, Ids::Insert);
        segment.statslogs = held(&segment, statslogs, Ids::None);
        segment.deltalogs = held(&segment, deltalogs, Ids::Delta);
        segment
    }
}

/// What comes before the ids in the first path that ends with them.
fn root(segment: &SegmentBackupInfo, fields: &[StoredField], ids: Ids) -> Option<Arc<str>> {
    let logs = fields.iter().flat_map(|field| field.binlogs.iter().map(|log| (field.field_id, log)));
    logs.filter_map(|(field, log)| {
        let key = segment.key(ids.field(field)?, log.log_id);
        let root = log.log_path.strip_suffix(&key.in_milvus(""))?.trim_end_matches('/');
        (key.in_milvus(root) == log.log_path).then(|| root.into())
    })
    .next()
}

fn held(segment: &SegmentBackupInfo, fields: Vec<StoredField>, ids: Ids) -> Vec<FieldBinlog> {
    let binlog = |field: i64, stored: StoredBinlog| {
        let StoredBinlog { entries_num, timestamp_from, timestamp_to, log_path, log_size, log_id } = stored;
        let said = match (ids.field(field), &segment.root) {
            (Some(field), Some(root)) => segment.key(field, log_id).in_milvus(root) == log_path,
            // Without an id, no path is something else than the path to 0.
            _ => log_path.is_empty() && log_id != 0,
        };
        let more = BinlogMore { entries_num, timestamp_from, timestamp_to, log_path: (!said).then_some(log_path) };
        Binlog { log_size, log_id, more: (more != BinlogMore::default()).then(|| Box::new(more)) }
    };
    // Room of their own for both: what was read into has other sizes, and made smaller it would leave holes.
    let mut held = Vec::with_capacity(fields.len());
    for StoredField { field_id, binlogs: stored } in fields {
        let mut binlogs = Vec::with_capacity(stored.len());
        binlogs.extend(stored.into_iter().map(|log| binlog(field_id, log)));
        held.push(FieldBinlog { field_id, binlogs });
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SegmentBackupInfo {
        serde_json::from_str(text).unwrap()
    }

    fn only(segment: &SegmentBackupInfo) -> &Binlog {
        segment.insert_logs().next().unwrap().1
    }

    #[test]
    fn a_file_is_held_in_24_bytes_and_a_path_that_its_ids_give_in_none() {
        assert_eq!(size_of::<Binlog>(), 24);
        let text = concat!(
            r#"{"segment_id":3,"collection_id":1,"partition_id":2,"binlogs":[{"fieldID":100,"binlogs":["#,
            r#"{"log_path":"a/b/insert_log/1/2/3/100/7","log_size":5,"log_id":7}]}],"#,
            r#""deltalogs":[{"binlogs":[{"log_path":"a/b/delta_log/1/2/3/8","log_size":6,"log_id":8}]}],"size":11}"#
        );
        let segment = read(text);
        assert_eq!(segment.root.as_deref(), Some("a/b"));
        assert_eq!(only(&segment).more, None);
        assert_eq!(serde_json::to_string(&segment).unwrap(), text);
    }

    #[test]
    fn any_other_path_is_kept_as_it_is() {
        for path in ["x", "/insert_log/1/2/3/100/7", "a//insert_log/1/2/3/100/7", "a/insert_log/1/2/3/101/7", "7", ""] {
            let log = if path.is_empty() { String::new() } else { format!(r#""log_path":"{path}","#) };
            let text = format!(
                r#"{{"segment_id":3,"collection_id":1,"partition_id":2,"binlogs":[{{"fieldID":100,"binlogs":[{{{log}"log_size":5,"log_id":7}},{{"log_path":"insert_log/1/2/3/100/9","log_size":5,"log_id":9}}]}}],"size":11}}"#
            );
            let segment = read(&text);
            assert_eq!(segment.log_path(Some(100), only(&segment)), path);
            assert_eq!(serde_json::to_string(&segment).unwrap(), text);
        }
    }

    #[test]
    fn a_file_without_id_has_that_of_its_path_or_none() {
        let segment =
            |log: &str| read(&format!(r#"{{"binlogs":[{{"fieldID":100,"binlogs":[{{{log}"log_size":1}}]}}]}}"#));
        assert_eq!(only(&segment(r#""log_path":"files/insert_log/1/2/3/100/77","#)).id(), Some(77));
        assert_eq!(only(&segment(r#""log_path":"files/insert_log/0/0/0/100/0","#)).id(), Some(0));
        assert_eq!(only(&segment("")).id(), None);
    }
}
