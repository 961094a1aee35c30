//! What a run tells: stages and figures while it works, a report at its end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Rename, Verification};
use crate::exit::Class;

/// Stages of a run, as shown in `Succeeded.reason`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Connecting, probing, reading manifests.
    #[default]
    Preflight,
    /// Waiting for growing segments to reach the bucket.
    Flushing,
    /// Describing collections.
    CopyingMetadata,
    /// Moving objects or importing them.
    CopyingData,
    /// Proving the result.
    Verifying,
    /// Writing the last files, indexes, aliases, loading.
    Finalizing,
}

/// One progress line. Counters only grow within an attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Stage.
    pub stage: Stage,
    /// When the line was made.
    pub time: Option<Timestamp>,
    /// Bytes done (objects already there at the start of a resumed attempt count as done).
    pub bytes_done: u64,
    /// Bytes in all; 0 until the plan is known.
    pub bytes_total: u64,
    /// Objects done.
    pub objects_done: u64,
    /// Objects in all.
    pub objects_total: u64,
    /// Collections done.
    pub collections_done: u64,
    /// Collections in all.
    pub collections_total: u64,
    /// Over the last ten seconds.
    pub bytes_per_second: u64,
    /// Seconds to go at that rate; absent when unknown.
    pub eta_seconds: Option<u64>,
    /// Server version, once known.
    pub milvus_version: Option<String>,
    /// Set from the moment target data changes (a collection is dropped or created).
    pub data_touched: bool,
}

/// A line on standard output: `{"progress":{...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressLine {
    /// The counters.
    pub progress: Progress,
}

/// What a run amounted to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Bytes of all objects of the artifact (backup) or imported (restore).
    pub size_bytes: u64,
    /// Bytes this attempt moved itself.
    pub copied_bytes: u64,
    /// Objects of the artifact.
    pub objects: u64,
    /// Collections.
    pub collections: u64,
    /// Databases.
    pub databases: u64,
    /// Rows by segment metadata, deleted ones included.
    pub rows: u64,
    /// Things a person should look at.
    pub warnings: Vec<String>,
}

/// Row counts of a restore.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowCounts {
    /// By the manifest, deletes taken into account.
    pub expected: u64,
    /// As counted in the target.
    pub actual: u64,
    /// `database.collection` where they differ; bounded.
    pub mismatched: Vec<String>,
}

/// The plan of a restore, bounded for status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanSummary {
    /// Collections that will be created.
    pub create: u64,
    /// Existing ones left alone.
    pub skip: u64,
    /// Existing ones dropped first.
    pub replace: u64,
    /// Existing ones that get rows besides their own.
    pub append: u64,
    /// The first mappings, `database.collection` each.
    pub mappings: Vec<Rename>,
}

/// How the rows of a restore got in: by import of binlogs, or inserted one by one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Paths {
    /// Partitions imported.
    pub imported: u64,
    /// Partitions inserted.
    pub inserted: u64,
    /// By collection; bounded.
    pub collections: Vec<CollectionPaths>,
}

/// How the partitions of a collection got in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectionPaths {
    /// `database.collection` in the target.
    pub name: String,
    /// Partitions imported.
    pub imported: u64,
    /// Partitions inserted.
    pub inserted: u64,
}

/// The outcome of an attempt: the termination message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// [`TASK_VERSION`](super::TASK_VERSION) of the writer.
    pub version: u32,
    /// `true` only when the work is done and proven.
    pub ok: bool,
    /// Why not, for the retry policy.
    pub class: Option<Class>,
    /// CamelCase reason for the condition: `Completed`, `Failed`, `StoragePathMismatch`, `ConflictFound`, ...
    pub reason: String,
    /// A sentence that names the object, the act and what to do. Never a secret. At most 1,000 bytes.
    pub message: String,
    /// SHA-256 (hex) of `operator/manifest.json` as read back from the bucket.
    pub manifest_digest: Option<String>,
    /// The moment all collections are consistent to.
    pub recovery_point: Option<Timestamp>,
    /// Server version.
    pub milvus_version: Option<String>,
    /// Totals.
    pub summary: Summary,
    /// Last counters.
    pub progress: Progress,
    /// Collections that failed with the reason; bounded, `failed_total` counts all.
    pub failed_collections: Vec<String>,
    /// Number of failed collections.
    pub failed_total: u64,
    /// Restore: the plan.
    pub plan: Option<PlanSummary>,
    /// Restore: the counts.
    pub row_counts: Option<RowCounts>,
    /// Restore: rows that were compared with the backup field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_rows: Option<u64>,
    /// Restore: how rows got in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Paths>,
    /// Restore: collections this run created.
    pub created_collections: u64,
    /// Verification: what was looked at and found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Probe: whether a conditional write is honoured.
    pub conditional_put: Option<bool>,
}
