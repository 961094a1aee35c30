//! `MilvusRestore`: one restore of one backup into one Milvus.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup::ContentData;
use super::rules;
use super::run::{Deadlines, Job, Limits, Retry, Selection};
use super::source::{Auth, Connection, LocalRef, Overrides};
use super::status::{Artifact, RunStatus};

/// Which backup, into which Milvus, and how.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "backup.milvus.io",
    version = "v1alpha1",
    kind = "MilvusRestore",
    plural = "milvusrestores",
    shortname = "mrs",
    category = "milvus-backup",
    namespaced,
    status = "MilvusRestoreStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "One restore of one backup into one Milvus.",
    selectable = ".spec.target.milvusRef.name",
    selectable = ".spec.from.backupRef.name",
    printcolumn(name = "Milvus", type_ = "string", json_path = ".spec.target.milvusRef.name"),
    printcolumn(name = "Source", type_ = "string", json_path = ".status.pinnedArtifact.name"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].reason"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.display"),
    printcolumn(name = "Collections", type_ = "integer", json_path = ".status.createdCollections"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Conflict", type_ = "string", json_path = ".spec.onConflict", priority = 1),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Verified')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Succeeded')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.onConflict != 'Replace' || has(self.confirmTargetUID)")
        .message("onConflict: Replace drops existing collections: set confirmTargetUID to the metadata.uid of the target Milvus")
        .field_path(".confirmTargetUID"),
    validation = rules::fixed_optional("confirmTargetUID", "confirmTargetUID").field_path(".confirmTargetUID"),
    validation = rules::fixed_optional("target.milvusRef", "target.milvusRef").field_path(".target.milvusRef"),
    validation = rules::fixed_optional("target.connection", "target.connection").field_path(".target.connection"),
    validation = rules::fixed_optional("target.overrides", "target.overrides").field_path(".target.overrides")
)]
pub struct MilvusRestoreSpec {
    /// The backup. Cannot be changed.
    #[x_kube(validation = rules::fixed("from"))]
    pub from: RestoreFrom,
    /// The Milvus it goes into. Only `auth` can be changed.
    pub target: RestoreTarget,
    /// Which collections, by their names in the backup, before any renaming. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("selection"))]
    pub selection: Selection,
    /// New names. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("mapping"))]
    pub mapping: Mapping,
    /// When a target collection exists. Fail: nothing is touched. Skip: it stays. Replace: it is dropped first. Append: it keeps
    /// its rows and gets those of the backup besides. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("onConflict"))]
    pub on_conflict: OnConflict,
    /// `metadata.uid` of the target's Milvus resource (for `connection`, the `host:port` of the spec): confirms that Replace
    /// may drop collections there. Cannot be changed.
    #[serde(rename = "confirmTargetUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub confirm_target_uid: Option<String>,
    /// How much of each collection. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("content"))]
    pub content: RestoreContent,
    /// What becomes of indexes. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("indexes"))]
    pub indexes: Indexes,
    /// Which collections are loaded at the end. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("load"))]
    pub load: Load,
    /// How rows get into Milvus. Auto: for each partition the faster way. Import: Milvus reads the files itself. Insert: the rows
    /// are read from the files and inserted. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("restorePath"))]
    pub restore_path: RestorePath,
    /// How the result is proven. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("verify"))]
    pub verify: RestoreVerify,
    /// Only check and report the plan; nothing is touched. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("preflightOnly"))]
    pub preflight_only: bool,
    /// After a failure, drop the collections this restore created, and no others. Cannot be changed.
    #[serde(default = "yes")]
    #[x_kube(validation = rules::fixed("cleanupOnFailure"))]
    pub cleanup_on_failure: bool,
    /// The pod that does the work.
    #[serde(default)]
    pub job: Job,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Further attempts after a failure. They continue, nothing is imported twice.
    #[serde(default)]
    pub retry: Retry,
    /// How long it may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Set to true to stop a run in order. Cannot be taken back.
    #[serde(default)]
    #[x_kube(validation = rules::one_way())]
    pub cancel: bool,
}

/// The backup: `backupRef` or `artifact`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one(
    "backupRef",
    "artifact",
    "from takes exactly one of backupRef (a MilvusBackup) and artifact (a backup that lies in a location)"
))]
pub struct RestoreFrom {
    /// A MilvusBackup of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_ref: Option<LocalRef>,
    /// A backup in a location, with no object of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRef>,
}

/// A backup in a location.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactRef {
    /// The location; absent: the default one of the namespace, else `backup/` in the target's own bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_ref: Option<LocalRef>,
    /// Name of the backup below the location.
    #[schemars(length(max = 128))]
    #[x_kube(validation = rules::artifact_name())]
    pub name: String,
}

/// The target: `milvusRef` or `connection`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_milvus("target"), validation = rules::overrides_need_ref("target"))]
pub struct RestoreTarget {
    /// A Milvus made by Milvus Operator in this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milvus_ref: Option<LocalRef>,
    /// Any other Milvus: everything is written out here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Replaces single values found by `milvusRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
    /// How to log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Seconds to wait for a Milvus that does not exist yet or is not healthy.
    #[serde(default = "wait_ready_seconds")]
    #[schemars(range(min = 0))]
    pub wait_ready_seconds: i64,
}

/// New names. Without any, everything comes back under its old name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.suffix) || self.collections.size() == 0").message(
    "mapping takes suffix or collections, not both: write the suffix into each `to`, or drop collections"
))]
pub struct Mapping {
    /// Database to database.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = rules::unique("databases", "from"),
        validation = rules::unique("databases", "to"),
        validation = rules::database_targets()
    )]
    pub databases: Vec<Rename>,
    /// `database.collection` (or `collection` of the default database) to the same form. One that is named several times comes
    /// back under each of these names; to keep the old one as well, name it too.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(
        validation = rules::unique("collections", "to"),
        validation = rules::collection_targets()
    )]
    pub collections: Vec<Rename>,
    /// Appended to every collection name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = rules::suffix())]
    pub suffix: Option<String>,
}

/// One renaming.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rename {
    /// Name in the backup.
    #[schemars(length(min = 1, max = 511))]
    pub from: String,
    /// Name in the target.
    #[schemars(length(min = 1, max = 511))]
    pub to: String,
}

/// When a target collection exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnConflict {
    /// The restore fails before it touches anything, and names them.
    #[default]
    Fail,
    /// They stay as they are; the others are restored.
    Skip,
    /// They are dropped first.
    Replace,
    /// They keep what they hold and get the rows of the backup besides; those that do not exist are created. Rows whose keys
    /// are there already are there twice afterwards. Fields must be the same, with the same ids.
    Append,
}

/// How much of each collection is restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreContent {
    /// Full: schema, indexes and rows. SchemaOnly: no rows.
    #[serde(default)]
    pub data: ContentData,
    /// Also bring back the users, roles and grants of the backup that the target does not have; none is changed or removed.
    #[serde(default)]
    pub rbac: bool,
}

/// What becomes of indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Indexes {
    /// Built as they were.
    #[default]
    Rebuild,
    /// Vector fields get AUTOINDEX with their old metric.
    Auto,
    /// None are made.
    Skip,
}

/// Which collections are loaded at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Load {
    /// Those that were loaded when the backup was made.
    #[default]
    Original,
    /// All that have their vector indexes.
    All,
    /// None.
    None,
}

/// How rows get into Milvus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestorePath {
    /// Small partitions are inserted on Milvus 2.3, where that brings the same rows and takes less time than an import task;
    /// everything else is imported.
    #[default]
    Auto,
    /// Milvus imports the files of the backup.
    Import,
    /// Rows are read from the files and inserted: on Milvus 2.3 or later, and not beside rows that a collection keeps (Append). Later
    /// than 2.3 nobody has compared such rows with imported ones, and a warning says so. The restore fails before anything is
    /// created where a collection does not allow it, and names it.
    Insert,
}

/// How the result is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestoreVerify {
    /// Trust the import.
    None,
    /// Count the rows of every collection.
    #[default]
    RowCounts,
    /// Count them, and compare up to 100 rows of every collection field by field with the backup: for drills. Collections are
    /// loaded for it and left as `load` says; what cannot be compared is a warning.
    Sample,
}

/// What has become of the restore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusRestoreStatus {
    /// What every run has.
    #[serde(flatten)]
    pub run: RunStatus,
    /// The backup, looked up once and then kept to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_artifact: Option<Artifact>,
    /// What it will do, or has done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<RestorePlan>,
    /// Collections this restore created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_collections: Option<i64>,
    /// Rows expected and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_counts: Option<RowCounts>,
}

/// The plan of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestorePlan {
    /// Collections that are created.
    pub create: i64,
    /// Existing ones left alone.
    pub skip: i64,
    /// Existing ones dropped first.
    pub replace: i64,
    /// Existing ones that get rows besides their own.
    #[serde(default)]
    pub append: i64,
    /// The first 20 mappings.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub mappings: Vec<Rename>,
}

/// Row counts of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowCounts {
    /// By the backup.
    pub expected: i64,
    /// As counted in the target.
    pub actual: i64,
    /// The first 20 collections where they differ.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub mismatched: Vec<String>,
}

fn wait_ready_seconds() -> i64 {
    1800
}

fn yes() -> bool {
    true
}
