//! The REST API of milvus-backup in a cluster: requests become MilvusBackup and MilvusRestore objects, answers are read from
//! their status. The operator does the work.
//!
//! Owns the way between the bodies of [`crate::compat`] and the objects of [`crate::api`]. Must never make a backup itself,
//! read a Secret or a ConfigMap, or open a bucket; the controller knows nothing of it.
//!
//! - [`names`]: how an object is named for what a client calls a backup or a restore; pure.
//! - [`order`]: from a request to an object, with `plan` for the names of a plan; pure. [`show`]: from an object to an answer; pure.
//! - [`objects`]: every call to the API server. [`rights`]: what they need.
//! - [`service`]: the routes.

pub mod names;
pub mod objects;
pub mod order;
mod plan;
pub mod rights;
pub mod service;
pub mod show;

pub use service::ClusterService;

/// The one Milvus a server answers for, and what its objects name besides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Namespace of the Milvus resource and of all objects.
    pub namespace: String,
    /// Name of the Milvus resource.
    pub milvus: String,
    /// MilvusBackupLocation of new backups; none for the namespace's default.
    pub location: Option<String>,
    /// Secret with user name and password of the Milvus, named in new objects and never read here.
    pub password_secret: Option<String>,
}
