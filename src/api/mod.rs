//! The custom resources: types, schema, CEL rules. Their doc comments are the user's manual.
//!
//! Owns the shape of `MilvusBackup`, `MilvusRestore` and `MilvusBackupLocation`, the names of conditions and reasons, and
//! the generated CRDs. No I/O, no async, nothing of ours used. A field is here only when code behind it honours it.
#![expect(clippy::duplicated_attributes, reason = "columns of one kind have equal types and priorities")]
#![expect(unreachable_pub, reason = "KubeSchema copies each struct, its `pub` included, into a function")]

mod backup;
pub mod conditions;
mod crds;
mod location;
mod restore;
mod rules;
mod run;
mod source;
mod status;

pub use backup::{
    BackupContent, BackupVerify, CollectionErrors, Consistency, ContentData, DeletionPolicy, FINALIZER, Flush,
    Lifecycle, MilvusBackup, MilvusBackupSpec, MilvusBackupStatus,
};
pub use crds::{crds, schema_of};
pub use location::{
    Capabilities, LocationCredentials, LocationTls, MilvusBackupLocation, MilvusBackupLocationSpec,
    MilvusBackupLocationStatus, ProbeKind, S3Location, Validation, WorkloadIdentity,
};
pub use restore::{
    ArtifactRef, Indexes, Load, Mapping, MilvusRestore, MilvusRestoreSpec, MilvusRestoreStatus, OnConflict, Rename,
    RestoreContent, RestoreFrom, RestorePath, RestorePlan, RestoreTarget, RestoreVerify, RowCounts,
};
pub use run::{Deadlines, Job, Limits, Pattern, Resources, Retry, Selection};
pub use source::{
    Auth, CaSecretRef, ClientSecretRef, Connection, ConnectionStorage, ConnectionTls, GrpcAddress, LocalRef, Overrides,
    PasswordSecretRef, S3SecretRef, Source, TokenSecretRef,
};
pub use status::{Artifact, Attempt, Progress, Provenance, ResolvedValue, RunStatus, RunSummary};

/// API group of all kinds. The `#[kube(group = ...)]` attributes take only literals; a test holds them to this.
pub const GROUP: &str = "backup.milvus.io";
/// Version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of all kinds.
pub const API_VERSION: &str = "backup.milvus.io/v1alpha1";
