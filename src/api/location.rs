//! `MilvusBackupLocation`: where backups live.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::source::{CaSecretRef, S3SecretRef};

/// A bucket for backups and the keys to it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "backup.milvus.io",
    version = "v1alpha1",
    kind = "MilvusBackupLocation",
    plural = "milvusbackuplocations",
    shortname = "mbl",
    category = "milvus-backup",
    namespaced,
    status = "MilvusBackupLocationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Where backups live: a bucket and the keys to it.",
    printcolumn(name = "Bucket", type_ = "string", json_path = ".spec.s3.bucket"),
    printcolumn(name = "Prefix", type_ = "string", json_path = ".spec.s3.prefix"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Last-Check", type_ = "date", json_path = ".status.lastCheckTime"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.s3.endpoint", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MilvusBackupLocationSpec {
    /// A bucket of AWS or of an S3-compatible server.
    pub s3: S3Location,
    /// The keys. Absent: the identity of the Job's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<LocationCredentials>,
    /// How the server's certificate is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<LocationTls>,
    /// Used by backups of this namespace that name no location. Of two, the older one counts.
    #[serde(default)]
    pub default: bool,
    /// How the location is tried.
    #[serde(default)]
    pub validation: Validation,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Location {
    /// Name of the bucket. It must exist.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::bucket())]
    pub bucket: String,
    /// Path in the bucket below which backups lie; empty for its top.
    #[serde(default)]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::path("s3.prefix"))]
    pub prefix: String,
    /// Region; `us-east-1` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub region: Option<String>,
    /// `http(s)://host:port` of an S3-compatible server; absent for AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::endpoint())]
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`. Default: true with an `endpoint`, false without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

/// The keys: `secretRef` or `workloadIdentity`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::at_most_one(
    "secretRef",
    "workloadIdentity",
    "credentials takes secretRef or workloadIdentity, not both: remove one"
))]
pub struct LocationCredentials {
    /// A Secret of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<S3SecretRef>,
    /// A ServiceAccount of this namespace with a cloud identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
}

/// A ServiceAccount with a cloud identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// Name of the ServiceAccount. Jobs that use this location run under it.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub service_account_name: String,
}

/// How the server's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocationTls {
    /// Certificate authority; absent: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// How the location is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Seconds between tries.
    #[serde(default = "period_seconds")]
    #[schemars(range(min = 30, max = 86400))]
    pub period_seconds: i64,
    /// ReadWrite: list, and write and remove a small object. List: list only.
    #[serde(default)]
    pub probe: ProbeKind,
}

impl Default for Validation {
    fn default() -> Self {
        Validation { period_seconds: period_seconds(), probe: ProbeKind::default() }
    }
}

/// What a try does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeKind {
    /// List, and write and remove a small object.
    #[default]
    ReadWrite,
    /// List only.
    List,
}

/// What was found when the location was tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusBackupLocationStatus {
    /// Generation of the spec this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, and Reachable, Writable and CredentialsValid, which explain it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
    /// What the server can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// When it was last tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_check_time: Option<Time>,
}

/// What an object store can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Writes only if an object is absent. Without it, two runs are kept apart by the Lease alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditional_put: Option<bool>,
}

fn period_seconds() -> i64 {
    300
}
