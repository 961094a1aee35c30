//! What a backup holds: databases, collections and partitions, as the Go tool stores them; segments are in [`super::segment`].
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
use super::segment::SegmentBackupInfo;

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
