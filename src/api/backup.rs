//! `MilvusBackup`: one restorable copy, the request and the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::run::{Deadlines, Job, Limits, Retry, Selection};
use super::source::{Auth, LocalRef, Source};
use super::status::{Artifact, RunStatus};

/// Finalizer of a MilvusBackup whose data goes with it: keeps the object until the data is gone. The operator adds it where
/// `lifecycle.deletionPolicy` is `Delete` and takes it away in the end.
pub const FINALIZER: &str = "backup.milvus.io/artifact";

/// What to back up, where to, and how.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "backup.milvus.io",
    version = "v1alpha1",
    kind = "MilvusBackup",
    plural = "milvusbackups",
    shortname = "mbk",
    category = "milvus-backup",
    namespaced,
    status = "MilvusBackupStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "One restorable copy of a Milvus: the request for it and the record of it.",
    selectable = ".spec.source.milvusRef.name",
    selectable = ".spec.locationRef.name",
    printcolumn(name = "Milvus", type_ = "string", json_path = ".spec.source.milvusRef.name"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].reason"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.display"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.summary.size"),
    printcolumn(name = "Verified", type_ = "string", json_path = ".status.conditions[?(@.type=='Verified')].reason"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Location", type_ = "string", json_path = ".status.locationName", priority = 1),
    printcolumn(name = "Recovery-Point", type_ = "string", json_path = ".status.recoveryPoint", priority = 1),
    printcolumn(name = "Collections", type_ = "integer", json_path = ".status.summary.collections", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Succeeded')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::fixed_optional("locationRef", "locationRef").field_path(".locationRef"),
    validation = Rule::new("self.verify != 'Checksum' || self.content.data != 'SchemaOnly'")
        .message("verify: Checksum reads rows, and content.data: SchemaOnly copies none: use verify: Manifest")
        .field_path(".verify")
)]
pub struct MilvusBackupSpec {
    /// The Milvus to back up. Cannot be changed.
    #[x_kube(validation = rules::fixed("source"))]
    pub source: Source,
    /// How to log in to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Where the copy goes. Absent: the default MilvusBackupLocation of the namespace, else `backup/` in Milvus' own
    /// bucket, which shares Milvus' fate. Cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_ref: Option<LocalRef>,
    /// Which collections. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("selection"))]
    pub selection: Selection,
    /// How much of each. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("content"))]
    pub content: BackupContent,
    /// How the copy is made consistent. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("consistency"))]
    pub consistency: Consistency,
    /// When one collection cannot be copied. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("onCollectionError"))]
    pub on_collection_error: CollectionErrors,
    /// How the copy is proven. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("verify"))]
    pub verify: BackupVerify,
    /// The pod that does the work.
    #[serde(default)]
    pub job: Job,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Further attempts after a failure.
    #[serde(default)]
    pub retry: Retry,
    /// How long it may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// What becomes of the copy later.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Set to true to stop a run in order. Cannot be taken back.
    #[serde(default)]
    #[x_kube(validation = rules::one_way())]
    pub cancel: bool,
}

/// How much of a collection is copied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupContent {
    /// Full: schema, indexes and rows. SchemaOnly: no rows.
    #[serde(default)]
    pub data: ContentData,
    /// Also record users, roles and grants of the whole Milvus. From Milvus 2.4.10 on users come with their password hashes;
    /// before, and back into such a server, users have to be made by hand.
    #[serde(default)]
    pub rbac: bool,
    /// Record the definitions of indexes.
    #[serde(default = "yes")]
    pub index_metadata: bool,
}

impl Default for BackupContent {
    fn default() -> Self {
        BackupContent { data: ContentData::default(), rbac: false, index_metadata: true }
    }
}

/// Rows or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContentData {
    /// Schema, indexes and rows.
    #[default]
    Full,
    /// Schema and indexes.
    SchemaOnly,
}

/// How the copy is made consistent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consistency {
    /// Auto: flush every selected collection first. Skip: take what has been flushed already; the recovery point is older.
    #[serde(default)]
    pub flush: Flush,
    /// Pause the garbage collection of Milvus while files are copied (from Milvus 2.4 on). The pause is short and renewed, so it
    /// lapses by itself should the pod die.
    #[serde(default = "yes", rename = "pauseGC")]
    pub pause_gc: bool,
}

impl Default for Consistency {
    fn default() -> Self {
        Consistency { flush: Flush::default(), pause_gc: true }
    }
}

/// Whether to flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Flush {
    /// Flush every selected collection first.
    #[default]
    Auto,
    /// Take what has been flushed already.
    Skip,
}

/// When one collection cannot be copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CollectionErrors {
    /// The backup fails.
    #[default]
    Fail,
    /// The others are copied; the backup ends `PartiallyFailed`.
    Continue,
}

/// How the copy is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackupVerify {
    /// Trust the copy.
    None,
    /// Size and tag of every object.
    #[default]
    Manifest,
    /// Read every object and count its rows.
    Checksum,
}

/// What becomes of the copy later. May be changed at any time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.expireAfterSeconds) || self.expireAfterSeconds >= 60")
        .message("lifecycle.expireAfterSeconds is at least 60; leave it out to keep the backup")
        .field_path(".expireAfterSeconds")
)]
pub struct Lifecycle {
    /// When this object is deleted. Retain (also when absent): the data in the bucket stays. Delete: it goes too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Seconds after completion at which this object is deleted. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_after_seconds: Option<i64>,
    /// No expiry and no removal of data while true.
    #[serde(default)]
    pub hold: bool,
}

/// When this object is deleted. Retain (also when absent): the data in the bucket stays. Delete: it goes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    Retain,
    /// It goes too.
    Delete,
}

/// What has become of the backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusBackupStatus {
    /// What every run has.
    #[serde(flatten)]
    pub run: RunStatus,
    /// The copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The moment all its collections are consistent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<Time>,
    /// When it will be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

fn yes() -> bool {
    true
}
