//! The Go tool's `configs/backup.yaml`, both schemas of it: where it is looked for, what its keys mean, what they resolve to.
//!
//! Owns names, defaults and meaning of keys. Pure but for reading the file: the environment and the command line are
//! arguments. Must never connect to anything, and never let a secret into a message, `Debug` or a table.
//!
//! Sources: milvus-backup 0.5.16 (`internal/cfg`) for schema 1, milvus-backup 0.6 (`internal/cfg/v2`) for schema 2.

mod access;
mod error;
mod settings;

pub use error::ConfigError;
pub use settings::{Auth, Cloud, Milvus, Provider, Server, Settings, Storage, TlsMode, Transfer};
