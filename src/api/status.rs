//! Parts of status that several kinds share. Written by the controller alone.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the status of a backup and of a restore have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Generation of the spec this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Succeeded (its reason is the stage), Ready, and what explains them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
    /// What was found out about the Milvus, by name, each with where it was found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resolved: BTreeMap<String, ResolvedValue>,
    /// The MilvusBackupLocation of the backup; empty for the bucket of a Milvus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_name: Option<String>,
    /// How far it has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it amounted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<RunSummary>,
    /// The first 20 collections that failed, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failed_collections: Vec<String>,
    /// Number of collections that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_collections_total: Option<i64>,
    /// Place in line while it waits, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<i32>,
    /// The last attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["number".to_owned()]))]
    pub attempts: Vec<Attempt>,
    /// When the first attempt started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// From start to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// Last lines of a failed attempt's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub log_tail: Option<String>,
}

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Provenance {
    /// The Milvus resource says so.
    Spec,
    /// Milvus Operator's rule for a field left out.
    OperatorDefault,
    /// Milvus' own default for a field left out.
    ImageDefault,
    /// The Service or the status of the running Milvus.
    Service,
    /// `overrides` of this object.
    Override,
    /// `connection` of this object.
    Connection,
}

/// A value that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedValue {
    /// The value. Secrets appear by name only.
    pub value: String,
    /// Where it was found.
    pub from: Provenance,
}

/// A backup in its bucket: what a restore needs even if everything else is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// `s3://bucket/prefix/name`.
    pub uri: String,
    /// Name below the location.
    pub name: String,
    /// SHA-256 of its manifest as read back from the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// Version of its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format_version: Option<String>,
    /// Version of the program that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
}

/// How far a run has come. Totals are absent until the plan is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// For people: `62% 41.3/66.8 GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<i64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<i64>,
    /// Objects done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects_done: Option<i64>,
    /// Objects in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects_total: Option<i64>,
    /// Collections done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collections_done: Option<i64>,
    /// Collections in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collections_total: Option<i64>,
    /// Over the last ten seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<i64>,
    /// Seconds to go at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<i64>,
    /// Stage of the run, as in the reason of `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Last sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_time: Option<Time>,
}

/// What a run amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Bytes of all objects.
    pub size_bytes: i64,
    /// The same for people: `66.8GiB`.
    pub size: String,
    /// Objects.
    pub objects: i64,
    /// Collections.
    pub collections: i64,
    /// Databases.
    pub databases: i64,
    /// Rows by segment metadata, deleted ones included.
    pub rows: i64,
    /// Number of warnings in the run's report.
    pub warnings: i64,
}

/// One attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// From 1.
    pub number: i32,
    /// Its Job.
    pub job_name: String,
    /// When the Job was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// How it ended: Succeeded, Retry, Configuration, Data, Cancelled, LostLock, Crashed, JobLost, Stalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_class: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// When the next attempt starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry_at: Option<Time>,
}
