//! The bodies of the API: keys, types and what is left out, as clients of the Go tool know them.
//!
//! Source: milvus-backup 0.5.16, core/proto/backup.proto and core/server. Go leaves zero values out (`omitempty`), so
//! success has no `code`. Readers take keys in any letter case and ignore unknown ones; see [`super::body`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::local::brief::{CollectionBrief, DatabaseBrief};
use crate::manifest::backup_info::RpcChannelInfo;

/// `code` of an answer; 0 is success and not written.
pub mod code {
    /// Done, or begun.
    pub const SUCCESS: i32 = 0;
    /// The route is known and the work is not offered.
    pub const NOT_SUPPORTED: i32 = 1;
    /// It was tried, or looked for, and failed.
    pub const FAIL: i32 = 3;
    /// A parameter is missing or wrong.
    pub const PARAMETER: i32 = 400;
}

/// `state_code` of backups and restores; the numbers are the same for both.
pub mod state {
    /// Accepted.
    pub const INITIAL: i32 = 0;
    /// Runs.
    pub const EXECUTING: i32 = 1;
    /// Done.
    pub const SUCCESS: i32 = 2;
    /// Failed, cancelled, or its process ended before it did.
    pub const FAIL: i32 = 3;
}

/// Go's zero time in unix seconds: the end of a task that runs.
pub const NO_TIME: i64 = -62_135_596_800;

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which collections of a database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CollectionFilter {
    /// Names; `["*"]` alone stands for all, an empty list for the database without collections.
    pub colls: Vec<String>,
}

/// A list of collections by database, as an object or as text that holds the object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DbCollections {
    /// JSON in a string.
    Text(String),
    /// The object itself: an empty list stands for all collections of the database.
    Object(BTreeMap<String, Vec<String>>),
}

impl Default for DbCollections {
    fn default() -> Self {
        DbCollections::Text(String::new())
    }
}

impl DbCollections {
    /// The collections by database; nothing where nothing was given.
    ///
    /// # Errors
    /// Text that is not such an object.
    pub fn read(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        match self {
            DbCollections::Object(databases) => Ok(databases.clone()),
            DbCollections::Text(text) if text.is_empty() => Ok(BTreeMap::new()),
            DbCollections::Text(text) => serde_json::from_str::<Option<BTreeMap<String, Option<Vec<String>>>>>(text)
                .map(|databases| {
                    let databases = databases.unwrap_or_default();
                    databases.into_iter().map(|(name, list)| (name, list.unwrap_or_default())).collect()
                })
                .map_err(|error| format!("is no object of database to list of collections: {error}")),
        }
    }
}

/// Body of `POST /create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateRequest {
    /// Ignored: the header `request_id` is the id of the backup, else one is made.
    #[serde(rename = "requestId")]
    pub request_id: String,
    /// Letters, digits and `_`, no digit first, at most 128.
    pub backup_name: String,
    /// Answer at once; ask `get_backup` how it goes.
    #[serde(rename = "async")]
    pub asynchronous: bool,
    /// Collections by database; wins over `db_collections` and `collection_names`. All three left out: everything.
    pub filter: Option<BTreeMap<String, CollectionFilter>>,
    /// Deprecated: collections by database.
    pub db_collections: DbCollections,
    /// Deprecated: `collection` or `database.collection`.
    pub collection_names: Vec<String>,
    /// `auto`, `meta_only`, `skip_flush`, `bulk_flush` or `serial_flush`.
    pub strategy: String,
    /// Deprecated: `strategy: skip_flush`.
    pub force: bool,
    /// Deprecated: `strategy: meta_only`.
    pub meta_only: bool,
    /// `auto`, `binlog` or `snapshot`.
    pub format: String,
    /// Also users, roles and grants.
    pub rbac: bool,
    /// Also what only Milvus' etcd knows of indexes and of dynamic fields.
    pub with_index_extra: bool,
    /// Pause Milvus' garbage collection; the configuration may ask for it as well.
    pub gc_pause_enable: bool,
    /// Ignored.
    pub gc_pause_seconds: i32,
    /// Management address in place of the configuration's.
    pub gc_pause_address: String,
    /// Path of backups in the bucket, in place of the configuration's.
    pub backup_root_path: String,
}

/// New values for one restored collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CollectionOverride {
    /// Number of shards.
    #[serde(rename = "shardNum")]
    pub shard_num: i32,
    /// Description.
    pub description: String,
}

/// Where one collection of a database goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CollectionMapping {
    /// Name in the backup.
    pub source: String,
    /// Name in the target.
    pub target: String,
    /// New values.
    #[serde(rename = "override")]
    pub overrides: Option<CollectionOverride>,
}

/// Where one database goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DatabaseMapping {
    /// Name in the backup.
    pub source: String,
    /// Name in the target.
    pub target: String,
    /// With the properties of the database.
    #[serde(rename = "withProp")]
    pub with_prop: bool,
    /// Its collections.
    pub colls: Vec<CollectionMapping>,
}

/// Which collection goes where, one to many.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestorePlan {
    /// The databases.
    pub mapping: Vec<DatabaseMapping>,
    /// By names in the target; left out: all that is mapped.
    pub filter: Option<BTreeMap<String, CollectionFilter>>,
}

/// Keys to leave out when collections and indexes are made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SkipParams {
    /// Of collections.
    pub collection_properties: Vec<String>,
    /// Of fields.
    pub field_type_params: Vec<String>,
    /// Of indexes kept at fields.
    pub field_index_params: Vec<String>,
    /// Of indexes.
    pub index_params: Vec<String>,
}

/// Body of `POST /restore`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreRequest {
    /// Comes back in the answer; made where it is left out.
    #[serde(rename = "requestId")]
    pub request_id: String,
    /// Id of the restore, for `get_restore`; made where it is left out.
    pub id: String,
    /// Name of the backup.
    pub backup_name: String,
    /// Answer at once; ask `get_restore` how it goes.
    #[serde(rename = "async")]
    pub asynchronous: bool,
    /// Bucket of the backup, in place of the configuration's.
    pub bucket_name: String,
    /// Path of backups in the bucket, in place of the configuration's.
    pub path: String,
    /// Deprecated: names in the backup, `collection` or `database.collection`.
    pub collection_names: Vec<String>,
    /// Names in the backup by database; wins over `collection_names`.
    pub db_collections: DbCollections,
    /// Names in the target by database.
    pub db_collections_after_rename: DbCollections,
    /// Appended to every collection name.
    pub collection_suffix: String,
    /// `collection`, `database.collection` or `database.*` to the same form; wins over the suffix.
    pub collection_renames: BTreeMap<String, String>,
    /// Which collection goes where; excludes suffix and renames.
    #[serde(rename = "restorePlan")]
    pub restore_plan: Option<RestorePlan>,
    /// Schema and indexes, no rows.
    #[serde(rename = "metaOnly")]
    pub meta_only: bool,
    /// Build indexes as recorded; left out means yes.
    #[serde(rename = "restoreIndex")]
    pub restore_index: Option<bool>,
    /// Build AUTOINDEX in place of the recorded kinds.
    #[serde(rename = "useAutoIndex")]
    pub use_auto_index: bool,
    /// Drop target collections that exist.
    #[serde(rename = "dropExistCollection")]
    pub drop_exist_collection: bool,
    /// Drop indexes of target collections that exist.
    #[serde(rename = "dropExistIndex")]
    pub drop_exist_index: bool,
    /// Fill target collections that exist.
    #[serde(rename = "skipCreateCollection")]
    pub skip_create_collection: bool,
    /// Also users, roles and grants.
    pub rbac: bool,
    /// Import by Milvus' REST jobs.
    #[serde(rename = "useV2Restore")]
    pub use_v2_restore: bool,
    /// Most shards a restored collection gets; 0 for as many as recorded.
    #[serde(rename = "maxShardNum")]
    pub max_shard_num: i32,
    /// Keys to leave out.
    #[serde(rename = "skipParams")]
    pub skip_params: SkipParams,
    /// Import rows up to the moment of the backup only.
    #[serde(rename = "truncateBinlogByTs")]
    pub truncate_binlog_by_ts: bool,
    /// Ignored: the check is always skipped.
    #[serde(rename = "skipImportDiskQuotaCheck")]
    pub skip_import_disk_quota_check: bool,
    /// Old key of an encrypted zone to its new one.
    #[serde(rename = "ezkMapping")]
    pub ezk_mapping: BTreeMap<String, String>,
}

/// Body of `POST /restore_secondary`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreSecondaryRequest {
    /// Id of the restore; made where it is left out.
    #[serde(rename = "requestId")]
    pub request_id: String,
    /// Name of the backup.
    pub backup_name: String,
    /// Cluster the backup was made from.
    #[serde(rename = "sourceClusterID")]
    pub source_cluster_id: String,
    /// Cluster to restore into.
    #[serde(rename = "targetClusterID")]
    pub target_cluster_id: String,
    /// Answer at once.
    #[serde(rename = "async")]
    pub asynchronous: bool,
    /// Path of backups in the bucket, in place of the configuration's.
    pub path: String,
}

/// An answer with data.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "AnswerWith{T}")]
pub struct Answer<T> {
    /// Of the request.
    #[serde(rename = "requestId", skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Left out on success; 1 not supported, 3 failed, 400 wrong parameter.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: i32,
    /// `success`, or a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub msg: String,
    /// Null where there is none.
    pub data: Option<T>,
}

/// An answer of `DELETE /delete`: no data.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BareAnswer {
    /// Of the request.
    #[serde(rename = "requestId", skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Left out on success; 3 failed, 400 wrong parameter.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: i32,
    /// `success`, or a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub msg: String,
}

/// An answer by HTTP status: the request was not looked at, or could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refused {
    /// What is wrong.
    pub error: String,
    /// Where, or what to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A backup in `GET /list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackupSummary {
    /// Id of the run that made it.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub size: i64,
    /// Version of the server it was made from.
    #[serde(skip_serializing_if = "is_zero")]
    pub milvus_version: String,
}

/// A backup in `GET /get_backup`: how its making goes, and what it holds once it is there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct BackupBrief {
    /// Id of the run that made it.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// 0 accepted, 1 runs, 2 done, 3 failed.
    pub state_code: i32,
    /// Why it failed.
    #[serde(rename = "errorMessage", skip_serializing_if = "is_zero")]
    pub error_message: String,
    /// Unix seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_time: i64,
    /// Unix seconds; -62135596800 while it runs.
    #[serde(skip_serializing_if = "is_zero")]
    pub end_time: i64,
    /// Percent.
    pub progress: i32,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Unix milliseconds; only in backups of 2023.
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_timestamp: u64,
    /// Collections.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_backups: Vec<CollectionBrief>,
    /// Bytes.
    pub size: i64,
    /// Version of the server it was made from.
    #[serde(skip_serializing_if = "is_zero")]
    pub milvus_version: String,
    /// Where the server's RPC channel stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub rpc_channel_info: Option<RpcChannelInfo>,
    /// Databases.
    #[serde(skip_serializing_if = "is_zero")]
    pub database_backups: Vec<DatabaseBrief>,
    /// `snapshot`, or nothing for binlogs.
    #[serde(skip_serializing_if = "is_zero")]
    pub format: String,
    /// Bytes of the metadata files.
    pub meta_size: i64,
}

/// A restore: how it goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreTask {
    /// Id to ask for it by.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: String,
    /// 0 accepted, 1 runs, 2 done, 3 failed.
    pub state_code: i32,
    /// Why it failed.
    #[serde(rename = "errorMessage", skip_serializing_if = "is_zero")]
    pub error_message: String,
    /// Unix seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_time: i64,
    /// Unix seconds; -62135596800 while it runs.
    #[serde(skip_serializing_if = "is_zero")]
    pub end_time: i64,
    /// Percent.
    pub progress: i32,
    /// Its collections, once they are known.
    #[serde(skip_serializing_if = "is_zero")]
    pub collection_restore_tasks: Vec<CollectionRestoreTask>,
}

/// A collection of a restore.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CollectionRestoreTask {
    /// 0 accepted, 1 runs, 2 done, 3 failed.
    pub state_code: i32,
    /// Why it failed.
    #[serde(rename = "errorMessage", skip_serializing_if = "is_zero")]
    pub error_message: String,
    /// Unix seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_time: i64,
    /// Unix seconds; -62135596800 while it runs.
    #[serde(skip_serializing_if = "is_zero")]
    pub end_time: i64,
    /// Percent.
    pub progress: i32,
    /// Database in the target.
    #[serde(skip_serializing_if = "is_zero")]
    pub target_db_name: String,
    /// Name in the target.
    #[serde(skip_serializing_if = "is_zero")]
    pub target_collection_name: String,
}

/// A task that was told to stop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct StoppedTask {
    /// Id of the task.
    pub id: String,
    /// 3 once it has stopped, 1 while it ends a call that must not be broken off.
    pub state_code: i32,
}
