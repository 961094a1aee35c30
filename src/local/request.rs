//! What a person or a client asks for: all that the flags of the commands and the bodies of the REST API can express.
//!
//! Source: milvus-backup 0.5.16, `cmd/` and `core/proto/backup.proto`. Plain values; what of it can be carried out is decided
//! in [`super::tasks`].

use super::filter::{Filter, Renames};
use crate::engine::secret::KeyMapping;
use crate::engine::select::Name;
pub use crate::engine::task::SkipParams;
use crate::engine::task::{RestorePath, VerifyLevel, VerifyRestore};

/// How the moment of consistency is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Strategy {
    /// Flush what is selected.
    #[default]
    Auto,
    /// Schemas and indexes without rows.
    MetaOnly,
    /// Take what is flushed already.
    SkipFlush,
    /// One flush for all collections.
    BulkFlush,
    /// One flush after the other.
    SerialFlush,
}

/// Shape of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Whatever the server is best at.
    #[default]
    Auto,
    /// Copied binlogs.
    Binlog,
    /// A bundle that Milvus 3.0 writes itself.
    Snapshot,
}

/// Make a backup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateRequest {
    /// Id of the run, recorded in the backup; made up where none is given.
    pub id: Option<String>,
    /// Name of the backup; `backup_<time>` where none is given.
    pub name: Option<String>,
    /// Which collections; none for all.
    pub filter: Option<Filter>,
    /// How the moment of consistency is made.
    pub strategy: Strategy,
    /// Shape.
    pub format: Format,
    /// With users, roles and grants.
    pub rbac: bool,
    /// With what only Milvus' etcd knows of indexes and of dynamic fields.
    pub index_extra: bool,
    /// Whether to pause garbage collection; none for what the settings say.
    pub pause_gc: Option<bool>,
    /// Management endpoint to pause it at; none for that of the settings.
    pub gc_address: Option<String>,
    /// Root of backups, in place of that of the settings.
    pub backup_root_path: Option<String>,
}

/// New names with changes to what is made under them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestorePlan {
    /// Databases with their collections; a database that gets several names is there with each.
    pub mapping: Vec<PlanDatabase>,
    /// By names in the target; none for all.
    pub filter: Option<Filter>,
}

impl RestorePlan {
    /// The new names of single collections; one that stands there several times gets several.
    ///
    /// # Errors
    /// A database without a name, or a collection that gets one name twice.
    pub fn renames(&self) -> Result<Renames, String> {
        let mut renames = Renames::default();
        for database in &self.mapping {
            if database.source.is_empty() || database.target.is_empty() {
                return Err("a database of restorePlan has no source or no target: name both".into());
            }
            for collection in &database.collections {
                let from = Name::new(&database.source, &collection.source);
                renames.add(from, Name::new(&database.target, &collection.target))?;
            }
        }
        Ok(renames)
    }
}

/// A database of a [`RestorePlan`]. Its properties are always restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanDatabase {
    /// Name in the backup.
    pub source: String,
    /// Name in the target.
    pub target: String,
    /// Its collections.
    pub collections: Vec<PlanCollection>,
}

/// A collection of a [`RestorePlan`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanCollection {
    /// Name in the backup.
    pub source: String,
    /// Name in the target.
    pub target: String,
    /// Other number of shards; 0 for that of the backup.
    pub shard_num: i32,
    /// Other description; empty for that of the backup.
    pub description: String,
}

impl PlanCollection {
    /// Whether anything but the name is to be otherwise.
    pub fn changes(&self) -> bool {
        self.shard_num != 0 || !self.description.is_empty()
    }
}

/// Bring a backup back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestoreRequest {
    /// Id of the run; the same id continues a restore that was broken off. Made up where none is given.
    pub id: Option<String>,
    /// Name of the backup.
    pub name: String,
    /// Bucket of backups, in place of that of the settings.
    pub bucket_name: Option<String>,
    /// Root of backups, in place of that of the settings.
    pub path: Option<String>,
    /// By names in the backup; none for all.
    pub source: Option<Filter>,
    /// By names in the target; none for all.
    pub target: Option<Filter>,
    /// Appended to the name of every collection; not looked at where there are renames.
    pub suffix: Option<String>,
    /// New names.
    pub renames: Renames,
    /// New names with changes; excludes suffix and renames.
    pub plan: Option<RestorePlan>,
    /// Schemas and indexes without rows.
    pub meta_only: bool,
    /// Whether indexes are built; none means yes.
    pub rebuild_index: Option<bool>,
    /// Vector fields get AUTOINDEX.
    pub use_auto_index: bool,
    /// Existing targets are dropped first.
    pub drop_exist_collection: bool,
    /// Indexes of existing targets are dropped first.
    pub drop_exist_index: bool,
    /// Rows go into collections that exist already.
    pub skip_create_collection: bool,
    /// How rows get into the target.
    pub restore_path: RestorePath,
    /// How restored rows are proven.
    pub verify: VerifyRestore,
    /// With users, roles and grants.
    pub rbac: bool,
    /// Many segments for each import; the engine does so anyway.
    pub use_v2_restore: bool,
    /// Upper bound for shards; 0 for none.
    pub max_shard_num: i32,
    /// Keys to leave out.
    pub skip_params: SkipParams,
    /// Rows after the time of the backup are cut off.
    pub truncate_binlog_by_ts: bool,
    /// Keys of encrypted zones, old to new.
    pub ezk_mapping: KeyMapping,
}

/// See whether a backup is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Name of the backup.
    pub name: String,
    /// How closely.
    pub level: VerifyLevel,
    /// Share of the objects that are read, 1 to 100.
    pub sample_percent: u8,
    /// Which share.
    pub seed: u32,
}

/// Which backups to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Root of backups, in place of that of the settings.
    pub path: Option<String>,
}

/// A backup by its name or by the id of the run that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupId {
    /// Name.
    Name(String),
    /// Id; every backup is looked at.
    Id(String),
}
