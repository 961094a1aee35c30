//! What `get` shows of a backup: the Go tool's `BackupInfoBrief`.
//!
//! Source: milvus-backup 0.5.16, `core/proto/backup.proto` and `internal/pbconv`. Field order and what is left out when zero
//! are those of its JSON. Keys of encrypted databases, which it shows, are left out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalog::StoredBackup;
use crate::manifest::backup_info::RpcChannelInfo;
use crate::manifest::{CollectionBackupInfo, CollectionSchema, DatabaseBackupInfo, IndexInfo, KeyValuePair};

/// A backup without partitions and segments. The task's fields are zero, as for every backup that is read from the store.
#[derive(Debug, Serialize)]
pub struct BackupBrief<'b> {
    state_code: i32,
    progress: i32,
    #[serde(skip_serializing_if = "is_zero")]
    name: &'b str,
    #[serde(skip_serializing_if = "is_zero")]
    backup_timestamp: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collection_backups: Vec<CollectionBrief<'b>>,
    size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    milvus_version: &'b str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc_channel_info: Option<&'b RpcChannelInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    database_backups: Vec<DatabaseBrief<'b>>,
    #[serde(skip_serializing_if = "is_zero")]
    format: &'b str,
    meta_size: u64,
}

#[derive(Debug, Serialize)]
struct DatabaseBrief<'b> {
    #[serde(skip_serializing_if = "is_zero")]
    db_name: &'b str,
    #[serde(skip_serializing_if = "is_zero")]
    db_id: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: &'b Vec<KeyValuePair>,
}

#[derive(Debug, Serialize)]
struct CollectionBrief<'b> {
    #[serde(skip_serializing_if = "is_zero")]
    id: &'b str,
    #[serde(skip_serializing_if = "is_zero")]
    collection_id: i64,
    #[serde(skip_serializing_if = "is_zero")]
    db_name: &'b str,
    #[serde(skip_serializing_if = "is_zero")]
    collection_name: &'b str,
    schema: &'b CollectionSchema,
    #[serde(skip_serializing_if = "is_zero")]
    shards_num: i32,
    #[serde(skip_serializing_if = "is_zero")]
    backup_timestamp: u64,
    size: i64,
    has_index: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    index_infos: &'b Vec<IndexInfo>,
    #[serde(skip_serializing_if = "is_zero")]
    load_state: &'b str,
    #[serde(skip_serializing_if = "is_zero")]
    backup_physical_timestamp: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    channel_checkpoints: &'b BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: &'b Vec<KeyValuePair>,
}

impl<'b> From<&'b StoredBackup> for BackupBrief<'b> {
    fn from(backup: &'b StoredBackup) -> Self {
        let info = &backup.info;
        BackupBrief {
            state_code: 0,
            progress: 0,
            name: &info.name,
            backup_timestamp: info.backup_timestamp,
            collection_backups: info.collection_backups.iter().map(CollectionBrief::from).collect(),
            size: info.size,
            milvus_version: &info.milvus_version,
            rpc_channel_info: info.rpc_channel_info.as_ref(),
            database_backups: info.database_backups.iter().map(DatabaseBrief::from).collect(),
            format: &info.format,
            meta_size: backup.meta_size,
        }
    }
}

impl<'b> From<&'b DatabaseBackupInfo> for DatabaseBrief<'b> {
    fn from(database: &'b DatabaseBackupInfo) -> Self {
        DatabaseBrief { db_name: &database.db_name, db_id: database.db_id, properties: &database.properties }
    }
}

impl<'b> From<&'b CollectionBackupInfo> for CollectionBrief<'b> {
    fn from(collection: &'b CollectionBackupInfo) -> Self {
        CollectionBrief {
            id: &collection.id,
            collection_id: collection.collection_id,
            db_name: &collection.db_name,
            collection_name: &collection.collection_name,
            schema: &collection.schema,
            shards_num: collection.shards_num,
            backup_timestamp: collection.backup_timestamp,
            size: collection.size,
            has_index: collection.has_index,
            index_infos: &collection.index_infos,
            load_state: &collection.load_state,
            backup_physical_timestamp: collection.backup_physical_timestamp,
            channel_checkpoints: &collection.channel_checkpoints,
            properties: &collection.properties,
        }
    }
}

/// Whether Go's `omitempty` would leave the value out.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
