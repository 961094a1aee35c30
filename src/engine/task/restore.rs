//! What a restore brings back, how, and under which names.

use serde::{Deserialize, Serialize};

use super::{Content, Limits, MilvusTarget, Selection, StoreTarget, yes};
use crate::engine::secret::KeyMapping;

/// What happens where a target collection exists already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// Nothing is touched; the run ends `ConflictFound` with the list.
    #[default]
    Fail,
    /// Existing collections stay as they are, the others are restored.
    Skip,
    /// Existing collections are dropped first.
    Replace,
    /// Rows go into existing collections beside those that are there; nothing is dropped, whatever happens.
    Append,
}

/// How restored rows are proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyRestore {
    /// Trust the import.
    None,
    /// Count the rows of every collection.
    #[default]
    RowCounts,
    /// Count them, and compare some rows of every collection field by field with the backup.
    Sample,
}

/// Which collections are loaded at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// Those that were loaded when the backup was made.
    #[default]
    Original,
    /// All with an index on every vector field.
    All,
    /// None.
    None,
}

/// What becomes of the index definitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Indexes {
    /// Built again as recorded.
    #[default]
    Rebuild,
    /// Vector fields get AUTOINDEX with the recorded metric.
    Auto,
    /// None are made.
    Skip,
}

/// How rows get into the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestorePath {
    /// For each partition what is faster: small ones are inserted where an insert brings the same rows.
    #[default]
    Auto,
    /// The server imports binlogs.
    Import,
    /// Rows are read from the binlogs and inserted; what cannot be inserted is refused before anything is created.
    Insert,
}

impl RestorePath {
    fn is_default(&self) -> bool {
        *self == RestorePath::default()
    }
}

/// New names for restored collections, and what is made otherwise than recorded under them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// Database to database.
    #[serde(default)]
    pub databases: Vec<Rename>,
    /// `database.collection` (or `collection` of `default`) to the same form.
    #[serde(default)]
    pub collections: Vec<Rename>,
    /// Appended to every collection name.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Changes to single collections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// Most shards a collection is made with; an override is not bound by it. None for as many as recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_shards: Option<i32>,
    /// Keys that are left out of what is made.
    #[serde(default, skip_serializing_if = "SkipParams::is_empty")]
    pub skip_params: SkipParams,
}

/// What one collection gets in place of what is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// Its name in the target, `database.collection`.
    pub collection: String,
    /// Number of shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Keys of recorded parameters that are left out when a collection and its indexes are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SkipParams {
    /// Of collection properties.
    pub collection_properties: Vec<String>,
    /// Of the type parameters of fields.
    pub field_type_params: Vec<String>,
    /// Of the index parameters of fields.
    pub field_index_params: Vec<String>,
    /// Of the parameters of indexes, those inside their nested `params` included.
    pub index_params: Vec<String>,
}

impl SkipParams {
    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        let SkipParams { collection_properties, field_type_params, field_index_params, index_params } = self;
        [collection_properties, field_type_params, field_index_params, index_params].iter().all(|keys| keys.is_empty())
    }
}

/// One renaming.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rename {
    /// Name in the backup.
    pub from: String,
    /// Name in the target.
    pub to: String,
}

/// Bring an artifact back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreTask {
    /// Artifact name below `source`.
    pub artifact: String,
    /// SHA-256 of the operator manifest that was pinned; checked when given.
    #[serde(default)]
    pub manifest_digest: Option<String>,
    /// Where the artifact lives.
    pub source: StoreTarget,
    /// Where it goes.
    pub target: MilvusTarget,
    /// Which collections, by their names in the backup.
    #[serde(default)]
    pub selection: Selection,
    /// New names.
    #[serde(default)]
    pub mapping: Mapping,
    /// Existing targets.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Whether collections that the target lacks are made; else they are an error before anything is touched.
    #[serde(default = "yes")]
    pub create_missing: bool,
    /// Drop the indexes of collections that rows are appended to, before those of the backup are made.
    #[serde(default)]
    pub drop_indexes: bool,
    /// Rows or schema only.
    #[serde(default)]
    pub content: Content,
    /// Index definitions.
    #[serde(default)]
    pub indexes: Indexes,
    /// Loading.
    #[serde(default)]
    pub load: Load,
    /// Proof.
    #[serde(default)]
    pub verify: VerifyRestore,
    /// How rows get in.
    #[serde(default, skip_serializing_if = "RestorePath::is_default")]
    pub restore_path: RestorePath,
    /// Also bring back recorded users, roles and grants that the target does not have.
    #[serde(default)]
    pub rbac: bool,
    /// Keys that are used in place of recorded ones of encrypted databases. Cannot be written as JSON, as
    /// [`AuthFiles::Values`].
    #[serde(skip)]
    pub keys: KeyMapping,
    /// Leave out rows and deletes that are newer than the recovery point of their collection.
    #[serde(default)]
    pub cut_to_recovery_point: bool,
    /// Stop after the plan.
    #[serde(default)]
    pub preflight_only: bool,
    /// Drop what this run created when it fails for good.
    #[serde(default = "yes")]
    pub cleanup_on_failure: bool,
    /// This is the last attempt the retry policy allows: a failure is final, so clean up.
    #[serde(default)]
    pub last_attempt: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}
