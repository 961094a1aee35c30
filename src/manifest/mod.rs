//! The on-bucket format: the metadata of milvus-backup, our own files beside it, key layout, and binlog files.
//!
//! Owns names and bytes. Must never do I/O: callers fetch and store the bytes.
//!
//! - [`backup_info`], [`segment`] and [`rbac`]: the types of the Go tool's metadata files.
//! - [`codec`]: those files, byte for byte as the Go tool writes them, and a tolerant reader.
//! - [`sealed`]: what of a backup is encrypted.
//! - [`layout`]: keys of Milvus' bucket and of an artifact, and artifact names.
//! - [`operator_manifest`] and [`objects`]: our own files, which prove an artifact complete.
//! - [`binlog`]: what is inside the copied files: proof that they are whole, keys, timestamps, deletes.

pub mod backup_info;
pub mod binlog;
pub mod codec;
mod error;
mod go_json;
pub mod layout;
pub mod objects;
pub mod operator_manifest;
pub mod rbac;
pub mod schema;
pub mod sealed;
pub mod segment;

pub use backup_info::{BackupFormat, BackupInfo, CollectionBackupInfo, DatabaseBackupInfo, PartitionBackupInfo};
pub use codec::{decode_full, encode_meta, join_levels, read_full, write_meta};
pub use error::ManifestError;
pub use layout::{Artifact, LogKey, LogKind, MetaFile, artifact_name, validate_artifact_name};
pub use objects::ObjectRecord;
pub use operator_manifest::OperatorManifest;
pub use schema::{CollectionSchema, FieldSchema, IndexInfo, KeyValuePair};
pub use segment::{Binlog, BinlogMore, FieldBinlog, SegmentBackupInfo};
