//! What a backup holds: databases, collections, partitions, segments and their files, as the Go tool stores them.
//!
//! Source: milvus-backup.md 3.2 and 3.3. Field order is the order in the file. A zero value is left out, except for
//! `state_code`, `size`, `has_index` and `log_size`, which are always there. Readers tolerate unknown keys.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::go_json::is_zero;
use super::rbac::RbacMeta;
use super::schema::{CollectionSchema, IndexInfo, KeyValuePair};

/// Partition id that stands for all partitions of a collection.
pub const ALL_PARTITIONS: i64 = -1;

/// What an artifact is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupFormat {
    /// Copied binlogs; `format` absent or `binlog`.
    Binlog,
    /// A bundle written by Milvus 3.0+ itself; `format` is `snapshot`.
    Snapshot,
}

/// Root of `full_meta.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupInfo {
    /// Id of the run that made it.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// Always 0 in files of current versions.
    pub state_code: i32,
    /// Artifact name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Files from 2023: creation in unix milliseconds. Else 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_timestamp: u64,
    /// Collections.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_backups: Vec<CollectionBackupInfo>,
    /// Bytes of all segments, L0 ones included.
    pub size: i64,
    /// Version of the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub milvus_version: String,
    /// Users, roles, grants where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbac_meta: Option<RbacMeta>,
    /// Where the server's RPC channel stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_channel_info: Option<RpcChannelInfo>,
    /// Databases.
    #[serde(skip_serializing_if = "is_zero")]
    pub database_backups: Vec<DatabaseBackupInfo>,
    /// Physical channel to base64 of the flush-all message on it.
    #[serde(skip_serializing_if = "is_zero")]
    pub flush_all_msgs_base64: BTreeMap<String, String>,
    /// Control channel of the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub control_channel_name: String,
    /// Physical channels of the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub physical_channel_names: Vec<String>,
    /// Empty for binlogs; see [`BackupInfo::format`].
    #[serde(skip_serializing_if = "is_zero")]
    pub format: String,
}

impl BackupInfo {
    /// The format, or nothing for a value this version does not know.
    pub fn format(&self) -> Option<BackupFormat> {
        match self.format.as_str() {
            "" | "binlog" => Some(BackupFormat::Binlog),
            "snapshot" => Some(BackupFormat::Snapshot),
            _ => None,
        }
    }

    /// Every segment, those for all partitions included.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentBackupInfo> {
        self.collection_backups.iter().flat_map(CollectionBackupInfo::segments)
    }
}

/// Name and position of the RPC channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcChannelInfo {
    /// Channel.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Opaque text of the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub position: String,
}

/// A database. Debug output leaves the key out.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseBackupInfo {
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_name: String,
    /// Id at the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_id: i64,
    /// Properties.
    #[serde(skip_serializing_if = "is_zero")]
    pub properties: Vec<KeyValuePair>,
    /// Key of an encrypted zone, in clear.
    #[serde(skip_serializing_if = "is_zero")]
    pub ezk: String,
}

impl fmt::Debug for DatabaseBackupInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DatabaseBackupInfo { db_name, db_id, properties, ezk: _ } = self;
        f.debug_struct("DatabaseBackupInfo")
            .field("db_name", db_name)
            .field("db_id", db_id)
            .field("properties", properties)
            .finish_non_exhaustive()
    }
}

/// A collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectionBackupInfo {
    /// Id of the run that made it.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// Id at the source; part of every key.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_id: i64,
    /// Database; [`super::decode_full`] turns an empty one into `default`.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_name: String,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_name: String,
    /// Schema.
    #[serde(skip_serializing_if = "is_zero")]
    pub schema: CollectionSchema,
    /// Shards.
    #[serde(skip_serializing_if = "is_zero")]
    pub shards_num: i32,
    /// `common.ConsistencyLevel`: 0 strong, 1 session, 2 bounded, 3 eventually, 4 customized.
    #[serde(skip_serializing_if = "is_zero")]
    pub consistency_level: i32,
    /// Partitions with their segments.
    #[serde(skip_serializing_if = "is_zero")]
    pub partition_backups: Vec<PartitionBackupInfo>,
    /// Hybrid timestamp of the flush; see [`CollectionBackupInfo::recovery_point`].
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_timestamp: u64,
    /// Bytes.
    pub size: i64,
    /// Whether any index is listed.
    pub has_index: bool,
    /// Indexes.
    #[serde(skip_serializing_if = "is_zero")]
    pub index_infos: Vec<IndexInfo>,
    /// `NotLoad`, `Loading` or `Loaded`.
    #[serde(skip_serializing_if = "is_zero")]
    pub load_state: String,
    /// Unix seconds of the flush.
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_physical_timestamp: u64,
    /// Virtual channel to base64 of its `msg.MsgPosition`.
    #[serde(skip_serializing_if = "is_zero")]
    pub channel_checkpoints: BTreeMap<String, String>,
    /// Delete-only segments that concern all partitions.
    #[serde(skip_serializing_if = "is_zero")]
    pub l0_segments: Vec<SegmentBackupInfo>,
    /// Properties.
    #[serde(skip_serializing_if = "is_zero")]
    pub properties: Vec<KeyValuePair>,
    /// Id of the database at the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_id: i64,
    /// Hybrid timestamp of creation.
    #[serde(skip_serializing_if = "is_zero")]
    pub created_timestamp: u64,
    /// Virtual channels.
    #[serde(skip_serializing_if = "is_zero")]
    pub virtual_channel_names: Vec<String>,
    /// Physical channels.
    #[serde(skip_serializing_if = "is_zero")]
    pub physical_channel_names: Vec<String>,
    /// Aliases.
    #[serde(skip_serializing_if = "is_zero")]
    pub aliases: Vec<String>,
    /// The bundle, in snapshot format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_backup: Option<SnapshotBackup>,
}

impl CollectionBackupInfo {
    /// Every segment, those for all partitions included.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentBackupInfo> {
        self.partition_backups.iter().flat_map(|partition| &partition.segment_backups).chain(&self.l0_segments)
    }

    /// Rows in insert logs, deleted ones included.
    pub fn stored_rows(&self) -> i64 {
        self.segments().filter(|segment| !segment.is_l0).map(|segment| segment.num_of_rows).sum()
    }

    /// Moment up to which the backup holds all data; none where the server gave no timestamp.
    ///
    /// Current files hold milliseconds << 18, files from 2023 seconds << 18 (milvus-backup.md 11.1).
    pub fn recovery_point(&self) -> Option<Timestamp> {
        if self.backup_timestamp == 0 {
            return None;
        }
        let physical = i64::try_from(self.backup_timestamp >> 18).ok()?;
        // As milliseconds this bound is 1973, as seconds the year 5138: nothing real lies on the wrong side.
        const SECONDS_BELOW: i64 = 100_000_000_000;
        if physical < SECONDS_BELOW {
            Timestamp::from_second(physical).ok()
        } else {
            Timestamp::from_millisecond(physical).ok()
        }
    }

    /// A copy without segments, as the level files hold it.
    pub(super) fn without_segments(&self) -> CollectionBackupInfo {
        let CollectionBackupInfo {
            id,
            collection_id,
            db_name,
            collection_name,
            schema,
            shards_num,
            consistency_level,
            partition_backups,
            backup_timestamp,
            size,
            has_index,
            index_infos,
            load_state,
            backup_physical_timestamp,
            channel_checkpoints,
            l0_segments: _,
            properties,
            db_id,
            created_timestamp,
            virtual_channel_names,
            physical_channel_names,
            aliases,
            snapshot_backup,
        } = self;
        CollectionBackupInfo {
            id: id.clone(),
            collection_id: *collection_id,
            db_name: db_name.clone(),
            collection_name: collection_name.clone(),
            schema: schema.clone(),
            shards_num: *shards_num,
            consistency_level: *consistency_level,
            partition_backups: partition_backups.iter().map(PartitionBackupInfo::without_segments).collect(),
            backup_timestamp: *backup_timestamp,
            size: *size,
            has_index: *has_index,
            index_infos: index_infos.clone(),
            load_state: load_state.clone(),
            backup_physical_timestamp: *backup_physical_timestamp,
            channel_checkpoints: channel_checkpoints.clone(),
            l0_segments: Vec::new(),
            properties: properties.clone(),
            db_id: *db_id,
            created_timestamp: *created_timestamp,
            virtual_channel_names: virtual_channel_names.clone(),
            physical_channel_names: physical_channel_names.clone(),
            aliases: aliases.clone(),
            snapshot_backup: snapshot_backup.clone(),
        }
    }
}

/// A bundle written by Milvus itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotBackup {
    /// Key of its metadata, relative to the artifact.
    #[serde(skip_serializing_if = "is_zero")]
    pub metadata_path: String,
    /// Number of files.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_files: i64,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_bytes: i64,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionBackupInfo {
    /// Id at the source; part of every key.
    #[serde(skip_serializing_if = "is_zero")]
    pub partition_id: i64,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub partition_name: String,
    /// Collection it belongs to.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_id: i64,
    /// Segments.
    #[serde(skip_serializing_if = "is_zero")]
    pub segment_backups: Vec<SegmentBackupInfo>,
    /// Bytes.
    pub size: i64,
    /// `NotLoad`, `Loading` or `Loaded`.
    #[serde(skip_serializing_if = "is_zero")]
    pub load_state: String,
}

impl PartitionBackupInfo {
    /// A copy without segments, as the level files hold it.
    pub(super) fn without_segments(&self) -> PartitionBackupInfo {
        let PartitionBackupInfo { partition_id, partition_name, collection_id, segment_backups: _, size, load_state } =
            self;
        PartitionBackupInfo {
            partition_id: *partition_id,
            partition_name: partition_name.clone(),
            collection_id: *collection_id,
            segment_backups: Vec::new(),
            size: *size,
            load_state: load_state.clone(),
        }
    }
}

/// A segment and its files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SegmentBackupInfo {
    /// Id at the source; part of every key.
    #[serde(skip_serializing_if = "is_zero")]
    pub segment_id: i64,
    /// Collection it belongs to.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_id: i64,
    /// Partition it belongs to, [`ALL_PARTITIONS`] for a delete-only segment of the whole collection.
    #[serde(skip_serializing_if = "is_zero")]
    pub partition_id: i64,
    /// Rows inserted; deletes are not subtracted.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_of_rows: i64,
    /// Insert logs by field.
    #[serde(skip_serializing_if = "is_zero")]
    pub binlogs: Vec<FieldBinlog>,
    /// Old, never written.
    #[serde(skip_serializing_if = "is_zero")]
    pub statslogs: Vec<FieldBinlog>,
    /// Delta logs; may hold one empty element, see [`SegmentBackupInfo::delta_logs`].
    #[serde(skip_serializing_if = "is_zero")]
    pub deltalogs: Vec<FieldBinlog>,
    /// Bytes; may count objects that are not listed.
    pub size: i64,
    /// Level between partition and segment in the keys; 0 for none. See [`SegmentBackupInfo::group`].
    #[serde(skip_serializing_if = "is_zero")]
    pub group_id: i64,
    /// Old.
    #[serde(skip_serializing_if = "is_zero")]
    pub backuped: bool,
    /// Whether it holds deletes only.
    #[serde(skip_serializing_if = "is_zero")]
    pub is_l0: bool,
    /// Virtual channel, empty where the server did not tell.
    #[serde(skip_serializing_if = "is_zero")]
    pub v_channel: String,
    /// 0 or 1 for one file per field, 2 for column groups.
    #[serde(skip_serializing_if = "is_zero")]
    pub storage_version: i64,
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
}

/// Files of one field, or of one column group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldBinlog {
    /// Field id; column group id where `storage_version` is 2; 0 for delta logs.
    #[serde(rename = "fieldID", alias = "fieldId", alias = "fieldid", skip_serializing_if = "is_zero")]
    pub field_id: i64,
    /// Files.
    #[serde(skip_serializing_if = "is_zero")]
    pub binlogs: Vec<Binlog>,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binlog {
    /// Old, never written.
    #[serde(skip_serializing_if = "is_zero")]
    pub entries_num: i64,
    /// Old, never written.
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp_from: u64,
    /// Old, never written.
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp_to: u64,
    /// Key in Milvus' bucket at the time of the backup. Never the key in the artifact, and not for finding anything.
    #[serde(skip_serializing_if = "is_zero")]
    pub log_path: String,
    /// Bytes.
    pub log_size: i64,
    /// Last part of the key.
    #[serde(skip_serializing_if = "is_zero")]
    pub log_id: i64,
}

impl Binlog {
    /// Last part of the key: the id, or the end of the original path where an old backup holds no id.
    pub fn id(&self) -> Option<i64> {
        if self.log_id != 0 {
            return Some(self.log_id);
        }
        self.log_path.rsplit('/').next().and_then(|last| last.parse().ok())
    }
}
