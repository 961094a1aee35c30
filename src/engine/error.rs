//! Why a run ended, in the words a person reads in a condition, and the class a retry policy acts on.

use std::fmt;

use crate::exit::Class;
use crate::manifest::ManifestError;
use crate::manifest::binlog::BinlogError;
use crate::milvus::MilvusError;
use crate::milvus::etcd::EtcdError;
use crate::storage::StoreError;

/// A failed run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The task itself cannot be carried out: a missing file, a bad value.
    #[error("{message}")]
    Setup {
        /// Reason of the condition.
        reason: &'static str,
        /// The sentence.
        message: String,
    },
    /// Milvus' objects are not where the settings say.
    #[error("{0}")]
    StoragePathMismatch(String),
    /// The live server's configuration contradicts what was resolved.
    #[error("{0}")]
    SourceConfigDrift(String),
    /// The request names something that does not exist or cannot be done.
    #[error("{0}")]
    Rejected(String),
    /// Target collections exist.
    #[error("{0}")]
    ConflictFound(String),
    /// Objects of a backup are missing, damaged or replaced.
    #[error("{0}")]
    Damaged(String),
    /// Rows in the target are not the rows of the backup.
    #[error("{0}")]
    RowCountMismatch(String),
    /// A row in the target is not the row of the backup. Names no value.
    #[error("{0}")]
    ContentMismatch(String),
    /// Something took longer than it may.
    #[error("{act} took longer than {seconds} s")]
    Deadline {
        /// What was waited for.
        act: String,
        /// The bound.
        seconds: u64,
    },
    /// The server is restarting or lost work; a new attempt continues.
    #[error("{0}")]
    Interrupted(String),
    /// The run was asked to stop.
    #[error("the run was asked to stop; what is done is kept and the next attempt continues from it")]
    Cancelled,
    /// A newer attempt writes this artifact.
    #[error("attempt {newer} of this run holds {artifact}; this attempt ({attempt}) stops")]
    LostLock {
        /// Artifact.
        artifact: String,
        /// The number found in the lock.
        newer: u32,
        /// Ours.
        attempt: u32,
    },
    /// Milvus said no, or nothing.
    #[error("{0}")]
    Milvus(#[from] MilvusError),
    /// Milvus' etcd said no, or nothing.
    #[error("{0}")]
    Etcd(#[from] EtcdError),
    /// A store said no, or nothing.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A metadata file makes no sense.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// A binlog makes no sense.
    #[error("{key}: {source}")]
    Binlog {
        /// Object.
        key: String,
        /// What is wrong with it.
        source: BinlogError,
    },
}

impl EngineError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            EngineError::Setup { .. }
            | EngineError::StoragePathMismatch(_)
            | EngineError::SourceConfigDrift(_)
            | EngineError::Rejected(_)
            | EngineError::ConflictFound(_) => Class::Configuration,
            EngineError::Damaged(_)
            | EngineError::RowCountMismatch(_)
            | EngineError::ContentMismatch(_)
            | EngineError::Binlog { .. } => Class::Data,
            EngineError::Manifest(error) => error.class(),
            EngineError::Deadline { .. } | EngineError::Interrupted(_) => Class::Retry,
            EngineError::Cancelled => Class::Cancelled,
            EngineError::LostLock { .. } => Class::LostLock,
            EngineError::Milvus(error) => error.class(),
            EngineError::Etcd(error) => error.class(),
            EngineError::Store(error) => error.class(),
        }
    }

    /// Reason of `Succeeded=False`, or of the condition that explains it.
    pub fn reason(&self) -> &'static str {
        match self {
            EngineError::Setup { reason, .. } => reason,
            EngineError::StoragePathMismatch(_) => "StoragePathMismatch",
            EngineError::SourceConfigDrift(_) => "SourceConfigDrift",
            EngineError::Rejected(_) => "Rejected",
            EngineError::ConflictFound(_) => "ConflictFound",
            EngineError::Damaged(_) | EngineError::Binlog { .. } => "Damaged",
            EngineError::RowCountMismatch(_) => "RowCountMismatch",
            EngineError::ContentMismatch(_) => "ContentMismatch",
            EngineError::Deadline { .. } => "DeadlineExceeded",
            EngineError::Interrupted(_) => "Interrupted",
            EngineError::Cancelled => "Cancelled",
            EngineError::LostLock { .. } => "LostLock",
            EngineError::Milvus(error) => error.reason(),
            EngineError::Etcd(error) => error.reason(),
            EngineError::Store(error) => store_reason(error),
            EngineError::Manifest(ManifestError::Name { .. }) => "Rejected",
            EngineError::Manifest(_) => "UnreadableManifest",
        }
    }
}

/// What keeps a store from being used, as the conditions of a location name it.
fn store_reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Denied { .. } => "AccessDenied",
        StoreError::BucketNotFound { .. } => "BucketNotFound",
        StoreError::NotFound { .. } => "ArtifactMissing",
        StoreError::TooLarge { .. } => "Damaged",
        // No library tells these apart but by its words.
        StoreError::Unavailable { cause, .. } if cause.contains("failed to lookup address") => "DNSFailure",
        StoreError::Setup(cause) if cause.contains("certificate is not trusted") => "TLSFailure",
        StoreError::Setup(cause) if cause.contains("RequestTimeTooSkewed") => "ClockSkew",
        _ => "StoreUnavailable",
    }
}

/// Cuts a message at a character boundary so that it is at most `limit` bytes.
pub fn bounded(message: &str, limit: usize) -> String {
    if message.len() <= limit {
        return message.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

/// `a, b, c and 4 more`: a list for a message, bounded by count.
pub fn named(items: &[String], shown: usize) -> String {
    if items.len() <= shown {
        return items.join(", ");
    }
    format!("{} and {} more", items[..shown].join(", "), items.len() - shown)
}

/// Things to name in a message: the first few of them, and how many there are. As many as objects can be wrong at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    shown: Vec<String>,
    total: usize,
}

impl Tally {
    /// How many are named.
    const SHOWN: usize = 5;

    /// One more.
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        self.total += 1;
        if self.shown.len() < Tally::SHOWN {
            self.shown.push(what());
        }
    }

    /// Those of another one after ours.
    pub fn append(&mut self, other: Tally) {
        self.total += other.total;
        self.shown.extend(other.shown);
        self.shown.truncate(Tally::SHOWN);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }
}

/// As [`named`].
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown.join(", "))?;
        match self.total - self.shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = bounded(&"ü".repeat(600), 1000);
        assert!(cut.len() <= 1000);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn a_store_that_cannot_be_used_has_a_reason_of_its_own() {
        let unavailable = |cause: &str| StoreError::Unavailable {
            place: "bucket b".into(),
            act: "list".into(),
            tries: 3,
            cause: cause.into(),
        };
        let reason = |error: StoreError| EngineError::from(error).reason();
        let unknown_host = "dns error: failed to lookup address information: Name or service not known";
        assert_eq!(reason(unavailable(unknown_host)), "DNSFailure");
        assert_eq!(reason(unavailable("connection refused")), "StoreUnavailable");
        assert_eq!(reason(StoreError::Setup("the server's certificate is not trusted (x)".into())), "TLSFailure");
    }

    #[test]
    fn a_tally_names_as_few_as_a_list_does_and_holds_no_more() {
        let items: Vec<String> = (1..=9).map(|i| format!("c{i}")).collect();
        for count in 1..=9 {
            let mut tally = Tally::default();
            items[..count].iter().for_each(|item| tally.add(|| item.clone()));
            assert_eq!((tally.to_string(), tally.total()), (named(&items[..count], 5), count));
            assert!(tally.shown.len() <= 5);
            let mut twice = tally.clone();
            twice.append(tally);
            assert_eq!(twice.to_string(), named(&[&items[..count], &items[..count]].concat(), 5));
        }
    }

    #[test]
    fn a_long_list_tells_how_many_are_left_out() {
        let items: Vec<String> = (1..=5).map(|i| format!("c{i}")).collect();
        assert_eq!(named(&items, 2), "c1, c2 and 3 more");
        assert_eq!(named(&items[..2], 2), "c1, c2");
    }
}
