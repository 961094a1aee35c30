//! What can be wrong with metadata, by what the caller does about it.

use crate::exit::Class;

/// Metadata that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Bytes that are not the JSON they should be.
    #[error("{file} is damaged or not a backup's metadata: {cause}")]
    Json {
        /// File name inside the artifact.
        file: &'static str,
        /// Where and what.
        cause: String,
    },
    /// The metadata is of a format this version does not know; reading on would restore nothing and call it success.
    #[error("backup {name} has format {found:?}, this version reads \"binlog\" and \"snapshot\": use a newer version")]
    UnknownFormat {
        /// Name of the backup.
        name: String,
        /// The `format` found.
        found: String,
    },
    /// One of our files was written by a newer version.
    #[error("{file} has format version {found}, this version reads up to {supported}: use a newer version")]
    NewerVersion {
        /// File name inside the artifact.
        file: &'static str,
        /// Version found.
        found: u32,
        /// Newest version read.
        supported: u32,
    },
    /// A file is not the one the manifest was written for.
    #[error("{file} was changed after the backup: its sha256 is {found}, the manifest says {expected}")]
    Digest {
        /// File name inside the artifact.
        file: &'static str,
        /// Digest in the manifest.
        expected: String,
        /// Digest of the bytes.
        found: String,
    },
    /// A value inside the metadata makes no sense.
    #[error("{object} has an unusable {what}: {cause}")]
    Value {
        /// What the value belongs to, by name.
        object: String,
        /// The value.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// The level files do not fit together.
    #[error("segment {segment} names partition {partition}, which partition_meta.json does not list")]
    Orphan {
        /// Segment id.
        segment: i64,
        /// Partition id it names.
        partition: i64,
    },
    /// More than a reader is willing to hold.
    #[error("{file} is larger than {limit} bytes when decompressed: refused")]
    TooLarge {
        /// File name inside the artifact.
        file: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// A name that can name no artifact.
    #[error("{name:?} cannot name a backup: {rule}")]
    Name {
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Something could not be written; a bug or no memory.
    #[error("could not write {file}: {cause}")]
    Encode {
        /// File name inside the artifact.
        file: &'static str,
        /// The error.
        cause: String,
    },
}

impl ManifestError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            ManifestError::Name { .. } => Class::Configuration,
            _ => Class::Data,
        }
    }
}
