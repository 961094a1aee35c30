//! What `get` shows of a backup: the Go tool's `BackupInfoBrief`.
//!
//! Source: milvus-backup 0.5.16, `core/proto/backup.proto` and `internal/pbconv`. Field order and what is left out when zero
//! are those of its JSON. Keys of encrypted databases, which it shows, are left out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::catalog::StoredBackup;
use crate::manifest::backup_info::RpcChannelInfo;
use crate::manifest::{CollectionBackupInfo, CollectionSchema, DatabaseBackupInfo, IndexInfo, KeyValuePair};

/// A backup without partitions and segments. The task's fields are zero, as for every backup that is read from the store.
#[derive(Debug, Serialize)]
pub struct StoredBrief<'b> {
    state_code: i32,
    progress: i32,
    #[serde(skip_serializing_if = "is_zero")]
    name: &'b str,
    #[serde(skip_serializing_if = "is_zero")]
    backup_timestamp: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collection_backups: Vec<CollectionBrief>,
    size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    milvus_version: &'b str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc_channel_info: Option<&'b RpcChannelInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    database_backups: Vec<DatabaseBrief>,
    #[serde(skip_serializing_if = "is_zero")]
    format: &'b str,
    meta_size: u64,
}

/// A database of a backup. The key of its encrypted zone stays in the bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct DatabaseBrief {
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_name: String,
    /// Id at the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_id: i64,
    /// Properties.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub properties: Vec<KeyValuePair>,
}

/// A collection of a backup.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct CollectionBrief {
    /// Id of the run that made the backup.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// Id at the source.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_id: i64,
    /// Database.
    #[serde(skip_serializing_if = "is_zero")]
    pub db_name: String,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_name: String,
    /// Schema.
    #[schemars(with = "serde_json::Value")]
    pub schema: CollectionSchema,
    /// Shards.
    #[serde(skip_serializing_if = "is_zero")]
    pub shards_num: i32,
    /// Hybrid timestamp of the flush.
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_timestamp: u64,
    /// Bytes.
    pub size: i64,
    /// Whether any index is listed.
    pub has_index: bool,
    /// Indexes.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub index_infos: Vec<IndexInfo>,
    /// `NotLoad`, `Loading` or `Loaded`.
    #[serde(skip_serializing_if = "is_zero")]
    pub load_state: String,
    /// Unix seconds of the flush.
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_physical_timestamp: u64,
    /// Virtual channel to its position.
    #[serde(skip_serializing_if = "is_zero")]
    pub channel_checkpoints: BTreeMap<String, String>,
    /// Properties.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub properties: Vec<KeyValuePair>,
}

impl<'b> From<&'b StoredBackup> for StoredBrief<'b> {
    fn from(backup: &'b StoredBackup) -> Self {
        let info = &backup.info;
        StoredBrief {
            state_code: 0,
            progress: 0,
            name: &info.name,
            backup_timestamp: info.backup_timestamp,
            collection_backups: info.collection_backups.iter().cloned().map(CollectionBrief::from).collect(),
            size: info.size,
            milvus_version: &info.milvus_version,
            rpc_channel_info: info.rpc_channel_info.as_ref(),
            database_backups: info.database_backups.iter().cloned().map(DatabaseBrief::from).collect(),
            format: &info.format,
            meta_size: backup.meta_size,
        }
    }
}

impl From<DatabaseBackupInfo> for DatabaseBrief {
    fn from(info: DatabaseBackupInfo) -> Self {
        let DatabaseBackupInfo { db_name, db_id, properties, ezk: _ } = info;
        DatabaseBrief { db_name, db_id, properties }
    }
}

impl From<CollectionBackupInfo> for CollectionBrief {
    fn from(info: CollectionBackupInfo) -> Self {
        CollectionBrief {
            id: info.id,
            collection_id: info.collection_id,
            db_name: info.db_name,
            collection_name: info.collection_name,
            schema: info.schema,
            shards_num: info.shards_num,
            backup_timestamp: info.backup_timestamp,
            size: info.size,
            has_index: info.has_index,
            index_infos: info.index_infos,
            load_state: info.load_state,
            backup_physical_timestamp: info.backup_physical_timestamp,
            channel_checkpoints: info.channel_checkpoints,
            properties: info.properties,
        }
    }
}

/// Whether Go's `omitempty` would leave the value out.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
