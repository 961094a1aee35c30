//! How a run behaves: selection, the Job's shape, limits, retries, deadlines. Shared by backups and restores.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::rules;
use super::source::LocalRef;

/// Which collections. `exclude` wins over `include`; no `include` means everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// What to take.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub include: Vec<Pattern>,
    /// What to leave out.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub exclude: Vec<Pattern>,
    /// Accept an `include` that matches nothing; otherwise it is an error.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Collections of a database; `*` stands for any text in both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pattern {
    /// Database, `default` for Milvus' own.
    #[schemars(length(min = 1, max = 255))]
    pub database: String,
    /// Collections of it; none means all.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 255)))]
    #[x_kube(validation = rules::bare_collections())]
    pub collections: Vec<String>,
}

/// The pod that does the work. Changes take effect with the next attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// CPU and memory; absent: the operator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Node labels the pod needs.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints the pod tolerates.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub priority_class_name: Option<String>,
    /// ServiceAccount; absent: the one Milvus runs under, if its cloud identity is needed, else the namespace's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub service_account_name: Option<String>,
    /// Labels added to the pod.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations added to the pod.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    pub pod_annotations: BTreeMap<String, String>,
    /// Secrets for pulling the image.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Seconds a finished Job (and its log) is kept.
    #[serde(default = "ttl_seconds")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: i32,
}

impl Default for Job {
    fn default() -> Self {
        Job {
            resources: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class_name: None,
            service_account_name: None,
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            image_pull_secrets: Vec::new(),
            ttl_seconds_after_finished: ttl_seconds(),
        }
    }
}

/// CPU and memory of the pod, as in any container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the pod is given at least.
    #[serde(default)]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use at most.
    #[serde(default)]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

impl From<&Resources> for ResourceRequirements {
    fn from(resources: &Resources) -> Self {
        let Resources { requests, limits } = resources;
        ResourceRequirements {
            claims: None,
            limits: (!limits.is_empty()).then(|| limits.clone()),
            requests: (!requests.is_empty()).then(|| requests.clone()),
        }
    }
}

/// Bounds of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Objects copied, imported or read at once; absent: the engine decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: Option<i32>,
    /// Most bytes copied in a second, whether they flow through the pod or the store copies by itself, and most bytes read in a
    /// second where objects are looked into; absent: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub bytes_per_second: Option<i64>,
    /// Most requests in a second for copying objects or looking into them; absent: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<i32>,
}

/// When a failed attempt is followed by another: only for failures that may pass by themselves (network, throttling,
/// a busy server, a lost pod).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.backoffSeconds <= self.backoffMaxSeconds").message(
    "retry.backoffSeconds is more than retry.backoffMaxSeconds: lower the first or raise the second"
))]
pub struct Retry {
    /// Attempts in all, the first included.
    #[serde(default = "max_attempts")]
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: i32,
    /// Pause before the second attempt; doubles each time.
    #[serde(default = "backoff_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub backoff_seconds: i64,
    /// Longest pause.
    #[serde(default = "backoff_max_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub backoff_max_seconds: i64,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            max_attempts: max_attempts(),
            backoff_seconds: backoff_seconds(),
            backoff_max_seconds: backoff_max_seconds(),
        }
    }
}

/// How long a run may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.startSeconds) || !has(self.runSeconds) || self.startSeconds <= self.runSeconds"
).message("deadlines.startSeconds is more than deadlines.runSeconds: lower the first or raise the second"))]
pub struct Deadlines {
    /// Seconds until the first pod must run; waiting for another run and for a node count. Default 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub start_seconds: Option<i64>,
    /// Seconds a single attempt may run. Absent: as long as it makes progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub run_seconds: Option<i64>,
    /// Seconds without a sign of life after which an attempt is stopped. Slow is not silent.
    #[serde(default = "stall_seconds")]
    #[schemars(range(min = 30))]
    pub stall_seconds: i64,
}

impl Deadlines {
    /// `startSeconds`, or its default of one hour.
    ///
    /// The default is not in the schema: an object that sets only a short `runSeconds` would break the rule between them.
    pub fn start(&self) -> i64 {
        self.start_seconds.unwrap_or(3600)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { start_seconds: None, run_seconds: None, stall_seconds: stall_seconds() }
    }
}

fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"x-kubernetes-int-or-string": true}
    })
}

fn ttl_seconds() -> i32 {
    3600
}

fn max_attempts() -> i32 {
    3
}

fn backoff_seconds() -> i64 {
    30
}

fn backoff_max_seconds() -> i64 {
    900
}

fn stall_seconds() -> i64 {
    900
}
