//! Why a Milvus could not be found out about.

use thiserror::Error;

use crate::api::conditions::reason;
use crate::exit::Class;

/// Why. Each message is a sentence for the condition `SourceResolved` (or `TargetReady`).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiscoveryError {
    /// Neither or both of `milvusRef` and `connection`; CEL refuses this before.
    #[error("exactly one of milvusRef and connection names the Milvus: write one of them")]
    NoMilvusNamed,
    /// No such resource; made by the caller, who looked.
    #[error("there is no Milvus {milvus}: check the name, it is looked up in the namespace of this object")]
    NotFound {
        /// `namespace/name`.
        milvus: String,
    },
    /// The resource is going away.
    #[error("Milvus {milvus} is being deleted: no new run is started on it")]
    Deleting {
        /// `namespace/name`.
        milvus: String,
    },
    /// Recognised, but not built yet.
    #[error("Milvus {milvus} {what}, which is not supported yet: {instead}")]
    Unsupported {
        /// `namespace/name`, or the address of a connection.
        milvus: String,
        /// What it does.
        what: String,
        /// What would work.
        instead: &'static str,
    },
    /// A value that cannot be used, or a missing one that has no default.
    #[error("Milvus {milvus}: {what}")]
    Invalid {
        /// `namespace/name`.
        milvus: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// Encryption is on and what the client needs for it is not to be found.
    #[error("Milvus {milvus} {what}: {instead}")]
    TlsUnresolved {
        /// `namespace/name`.
        milvus: String,
        /// What is missing.
        what: String,
        /// What to do.
        instead: &'static str,
    },
    /// Milvus asks for a login and none is named.
    #[error(
        "Milvus {milvus} asks for a login (authorizationEnabled): name a Secret in auth.passwordSecretRef or auth.tokenSecretRef"
    )]
    AuthRequired {
        /// `namespace/name`.
        milvus: String,
    },
}

impl DiscoveryError {
    /// Reason of the condition `SourceResolved` (or `TargetReady`).
    pub fn reason(&self) -> &'static str {
        match self {
            DiscoveryError::NoMilvusNamed | DiscoveryError::Invalid { .. } => reason::INVALID,
            DiscoveryError::NotFound { .. } => reason::NOT_FOUND,
            DiscoveryError::Deleting { .. } => reason::DELETING,
            DiscoveryError::Unsupported { .. } => reason::UNSUPPORTED,
            DiscoveryError::TlsUnresolved { .. } => reason::TLS_UNRESOLVED,
            DiscoveryError::AuthRequired { .. } => reason::AUTH_REQUIRED,
        }
    }

    /// All of them wait for a person: for a change of the Milvus resource or of the object that names it.
    pub fn class(&self) -> Class {
        Class::Configuration
    }
}
