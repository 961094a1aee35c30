//! What can go wrong with etcd, by what the caller does about it.

use crate::exit::Class;

/// A failed reading of etcd. Messages name the endpoint, the keys and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// What is given for an address is none.
    #[error(
        "{endpoint:?} is no endpoint of etcd ({cause}): milvus.etcd.endpoints takes host:port, read over plain TCP"
    )]
    Setup {
        /// As given.
        endpoint: String,
        /// Why.
        cause: String,
    },
    /// No endpoint answers.
    #[error(
        "no endpoint of etcd gives keys below {prefix} ({tried}): see that milvus.etcd.endpoints is the etcd of this Milvus, \
         that it runs, and that it takes plain TCP"
    )]
    Unreachable {
        /// What was looked for.
        prefix: String,
        /// Each endpoint with what it said.
        tried: String,
    },
    /// It answers, and will not give keys.
    #[error(
        "etcd {endpoint} does not give keys below {prefix} ({cause}): milvus.etcd.endpoints has to name the \
         etcd of this Milvus, and it has to take plain TCP without a login"
    )]
    Refused {
        /// Which one.
        endpoint: String,
        /// What was looked for.
        prefix: String,
        /// Its words.
        cause: String,
    },
    /// Milvus keeps nothing there.
    #[error(
        "etcd {endpoint} has no key below {prefix}: set milvus.etcd.rootPath to the etcd.rootPath of this Milvus, and \
         milvus.etcd.endpoints to its etcd"
    )]
    Empty {
        /// Which one.
        endpoint: String,
        /// What was looked for.
        prefix: String,
    },
    /// More than is read for one collection.
    #[error(
        "etcd {endpoint} has more than {bound} below {prefix}, which is not what Milvus keeps there: look at the keys"
    )]
    TooMuch {
        /// Which one.
        endpoint: String,
        /// What was looked for.
        prefix: String,
        /// The bound that was met.
        bound: &'static str,
    },
    /// The revision that was read went away, again and again.
    #[error("etcd {endpoint} compacts revisions faster than keys below {prefix} are read: try again")]
    Compacted {
        /// Which one.
        endpoint: String,
        /// What was looked for.
        prefix: String,
    },
    /// All pages together took too long.
    #[error("etcd {endpoint} gave the keys below {prefix} not within {seconds} s: try again when it is less busy")]
    TimedOut {
        /// Which one.
        endpoint: String,
        /// What was looked for.
        prefix: String,
        /// The bound.
        seconds: u64,
    },
    /// A key or an answer that makes no sense.
    #[error("etcd {endpoint} has {what} that cannot be understood: {cause}; a newer Milvus may store it differently")]
    Malformed {
        /// Which one.
        endpoint: String,
        /// The key, or the answer.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl EtcdError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            EtcdError::Unreachable { .. } | EtcdError::Compacted { .. } | EtcdError::TimedOut { .. } => Class::Retry,
            EtcdError::Setup { .. } | EtcdError::Refused { .. } | EtcdError::Empty { .. } => Class::Configuration,
            EtcdError::TooMuch { .. } | EtcdError::Malformed { .. } => Class::Data,
        }
    }

    /// CamelCase reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            EtcdError::Setup { .. } => "InvalidConnection",
            EtcdError::Unreachable { .. } | EtcdError::Compacted { .. } | EtcdError::TimedOut { .. } => {
                "EtcdUnreachable"
            }
            EtcdError::Refused { .. } | EtcdError::Empty { .. } => "EtcdMismatch",
            EtcdError::TooMuch { .. } | EtcdError::Malformed { .. } => "EtcdUnreadable",
        }
    }
}
