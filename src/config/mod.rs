//! The Go tool's `configs/backup.yaml`, both schemas of it: where it is looked for, what its keys mean, what they resolve to.
//!
//! Owns names, defaults and meaning of keys. Pure but for reading the file: the environment and the command line are
//! arguments. Must never connect to anything, and never let a secret into a message, `Debug` or a table.
//!
//! [`file::places`] and [`file::read`] find the file, [`load()`] resolves, [`Configuration`] shows. [`Settings`] is what the
//! rest of the program sees.
//!
//! Sources: milvus-backup 0.5.16 (`internal/cfg`) for schema 1, milvus-backup 0.6 (`internal/cfg/v2`) for schema 2.

mod access;
mod error;
pub mod file;
pub mod keys;
mod load;
mod schema1;
mod settings;
mod show;
mod values;

pub use error::ConfigError;
pub use load::{Configuration, Schema, load};
pub use settings::{Auth, Cloud, Etcd, Milvus, Provider, Server, Settings, Storage, TlsMode, Transfer};
pub use show::Shown;
pub use values::{Origin, Sources, Value, Values, overrides};
