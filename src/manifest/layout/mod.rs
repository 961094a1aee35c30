//! Keys: where Milvus keeps its logs, where an artifact keeps them, and how an artifact is called.
//!
//! Source: milvus-backup.md 3.1, 1.1 (names), 11.1; real-milvus.md 3. Keys are always built from ids, never taken from
//! metadata.
//!
//! - here: the keys of an artifact.
//! - `log`: the keys of log files by their ids, in Milvus' bucket and in an artifact.
//! - `name`: the names of artifacts.

mod log;
mod name;

use std::fmt;

pub use self::log::{LogKey, LogKind, log_path, milvus_collection_prefix, milvus_log_prefix, parse_log_path};
use self::name::plain;
pub use self::name::{NAME_LIMIT, artifact_name, validate_artifact_name};
use super::error::ManifestError;

/// The metadata files of the Go tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaFile {
    /// Name, size, version: its presence is how the Go tool sees that a backup exists.
    Backup,
    /// Collections.
    Collection,
    /// Partitions.
    Partition,
    /// Segments.
    Segment,
    /// Everything; written last, read first.
    Full,
}

impl MetaFile {
    /// File name below `meta/`.
    pub fn name(self) -> &'static str {
        match self {
            MetaFile::Backup => "backup_meta.json",
            MetaFile::Collection => "collection_meta.json",
            MetaFile::Partition => "partition_meta.json",
            MetaFile::Segment => "segment_meta.json",
            MetaFile::Full => "full_meta.json",
        }
    }
}

/// Our own files of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorFile {
    /// The commit point: a run without it never happened.
    Manifest,
    /// One line for every data object.
    Objects,
    /// How far an unfinished run came.
    Checkpoint,
    /// Which attempt may write.
    Lock,
    /// The full report of the last run.
    Report,
}

impl OperatorFile {
    /// File name below `operator/`.
    pub fn name(self) -> &'static str {
        match self {
            OperatorFile::Manifest => "manifest.json",
            OperatorFile::Objects => "objects.jsonl.zst",
            OperatorFile::Checkpoint => "checkpoint.json",
            OperatorFile::Lock => "lock.json",
            OperatorFile::Report => "report.json",
        }
    }
}

/// Where an artifact lies. Everything of it is below [`Artifact::dir`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    prefix: String,
    name: String,
}

impl Artifact {
    /// An artifact by the prefix of its location (may be empty, slashes at the ends are dropped) and its name.
    pub fn new(prefix: &str, name: &str) -> Result<Artifact, ManifestError> {
        validate_artifact_name(name)?;
        Ok(Artifact { prefix: prefix.trim_matches('/').to_owned(), name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Prefix of all its keys, with a trailing slash.
    pub fn dir(&self) -> String {
        join(&self.prefix, &format!("{}/", self.name))
    }

    /// Key of something by its path inside the artifact, as [`super::ObjectRecord::key`] holds it.
    pub fn key(&self, relative: &str) -> String {
        format!("{}{relative}", self.dir())
    }

    /// Path inside the artifact of a full key; none for keys elsewhere.
    pub fn relative<'k>(&self, key: &'k str) -> Option<&'k str> {
        let below = strip(&self.prefix, key)?.strip_prefix(self.name.as_str())?;
        below.strip_prefix('/').filter(|rest| !rest.is_empty())
    }

    /// Key of a metadata file of the Go tool.
    pub fn meta(&self, file: MetaFile) -> String {
        self.key(&format!("meta/{}", file.name()))
    }

    /// Key of one of our files.
    pub fn operator(&self, file: OperatorFile) -> String {
        self.key(&format!("operator/{}", file.name()))
    }

    /// Key of the ledger in which a restore writes every import job before it waits for it.
    pub fn restore_ledger(&self, run_uid: &str) -> String {
        self.key(&format!("operator/restores/{}/ledger.json", plain(run_uid)))
    }

    /// Prefix of all copied logs, with a trailing slash.
    pub fn binlogs(&self) -> String {
        self.key("binlogs/")
    }

    /// Key of a copied log. `group` is the level between partition and segment: the segment's id in what is written
    /// today, none for deletes of all partitions and in backups older than that level.
    pub fn log(&self, key: &LogKey, group: Option<i64>) -> String {
        let mut full = self.binlogs();
        key.tail(group, &mut full);
        full
    }

    /// Ids and group of a copied log; none for any other key.
    pub fn parse_log(&self, key: &str) -> Option<(LogKey, Option<i64>)> {
        parse_log_path(self.relative(key)?)
    }

    /// Prefix of the files of a collection in one log, with a trailing slash.
    pub fn collection_prefix(&self, kind: LogKind, collection: i64) -> String {
        self.key(&format!("binlogs/{}/{collection}/", kind.folder()))
    }

    /// Directory an import is pointed at: that of a group, or of a whole partition where there is no group, with a
    /// trailing slash.
    pub fn import_dir(&self, kind: LogKind, collection: i64, partition: i64, group: Option<i64>) -> String {
        let group = group.map(|group| format!("{group}/")).unwrap_or_default();
        self.key(&format!("binlogs/{}/{collection}/{partition}/{group}", kind.folder()))
    }

    /// Directory of a delete-only segment, with a trailing slash. The group of one in a partition is its own id.
    pub fn l0_dir(&self, collection: i64, partition: i64, segment: i64) -> String {
        self.key(&format!("binlogs/{}/{collection}/{partition}/{segment}/", LogKind::Delta.folder()))
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dir())
    }
}

fn join(root: &str, rest: &str) -> String {
    let root = root.trim_matches('/');
    if root.is_empty() { rest.to_owned() } else { format!("{root}/{rest}") }
}

fn strip<'k>(root: &str, key: &'k str) -> Option<&'k str> {
    let root = root.trim_matches('/');
    if root.is_empty() { Some(key) } else { key.strip_prefix(root)?.strip_prefix('/') }
}

#[cfg(test)]
mod tests;
