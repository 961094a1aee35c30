//! What a backup takes, how, and where to.

use serde::{Deserialize, Serialize};

use super::{EtcdTarget, MilvusTarget, StoreTarget, yes};

/// Which collections: `include` first, `exclude` wins. No include means everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// What to take.
    #[serde(default)]
    pub include: Vec<Pattern>,
    /// What to leave out.
    #[serde(default)]
    pub exclude: Vec<Pattern>,
    /// Databases taken by name without their collections. Where there are any, no include means no collection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// An include that matches nothing is an error unless this is set.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Names with `*` as a wildcard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pattern {
    /// Database.
    pub database: String,
    /// Collections of it; empty means all.
    #[serde(default)]
    pub collections: Vec<String>,
}

/// How much of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Schema, indexes and rows.
    #[default]
    Full,
    /// Schema and indexes.
    SchemaOnly,
}

/// How the moment of consistency is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flush {
    /// Flush every selected collection.
    #[default]
    Auto,
    /// One flush of the whole cluster, other collections included; from Milvus 2.6.11 on.
    Cluster,
    /// Take what is flushed already; the recovery point is then that of the oldest flushed data.
    Skip,
}

/// How data gets into an artifact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// As the server can: its own snapshots from Milvus 3.0 on, before that copied log files.
    #[default]
    Auto,
    /// Copied log files.
    Binlog,
    /// Snapshots that the server exports itself.
    Snapshot,
}

/// What to do when one collection cannot be backed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCollectionError {
    /// The run fails.
    #[default]
    Fail,
    /// The others go on; the run ends `PartiallyFailed`.
    Continue,
}

/// Bounds a run keeps to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Most objects in flight at once; none for the engine's own bounds. Fewer are copied where the store asks to be spared, and
    /// fewer read where they do not fit into memory.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Most bytes of objects copied in a second, whether they flow through the engine or the store copies by itself; of those
    /// that are read to be looked into as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Most requests in a second for copying objects, or for looking into them; listings and metadata are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// How an artifact is proven after the copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyBackup {
    /// Trust the copy.
    None,
    /// Size and ETag of every object by one listing.
    #[default]
    Manifest,
    /// Read every object, check its framing and count its rows.
    Checksum,
}

/// Make an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupTask {
    /// Artifact name: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes.
    pub artifact: String,
    /// What is backed up.
    pub milvus: MilvusTarget,
    /// Where artifacts live; its `prefix` is their parent.
    pub destination: StoreTarget,
    /// Which collections.
    #[serde(default)]
    pub selection: Selection,
    /// How much of each.
    #[serde(default)]
    pub content: Content,
    /// Whether index definitions are recorded.
    #[serde(default = "yes")]
    pub index_metadata: bool,
    /// Milvus' etcd, to record also what it alone knows of indexes and hidden fields; none where that is not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdTarget>,
    /// Consistency.
    #[serde(default)]
    pub flush: Flush,
    /// Shape; without rows it makes no difference.
    #[serde(default)]
    pub format: Format,
    /// Per-collection failures.
    #[serde(default)]
    pub on_collection_error: OnCollectionError,
    /// Proof.
    #[serde(default)]
    pub verify: VerifyBackup,
    /// Also record users with their password hashes, roles and grants of the whole cluster.
    #[serde(default)]
    pub rbac: bool,
    /// Pause Milvus' garbage collection while files are copied, where it can be paused.
    #[serde(default = "yes")]
    pub pause_gc: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}
