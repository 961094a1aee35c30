//! What can go wrong with Milvus, by what the caller does about it.

use std::fmt;
use std::time::Duration;

use crate::exit::Class;

/// Which call about which thing at which server; the middle of every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSite {
    /// `host:port`.
    pub server: String,
    /// Name of the call.
    pub call: &'static str,
    /// `collection db.name` or the like; empty where the call is about the server.
    pub subject: String,
}

impl CallSite {
    /// The call and its subject, without the server.
    pub fn act(&self) -> String {
        match self.subject.as_str() {
            "" => self.call.to_owned(),
            subject => format!("{} of {subject}", self.call),
        }
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at milvus {}", self.act(), self.server)
    }
}

/// What was looked for and is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A database.
    Database,
    /// A collection.
    Collection,
    /// A partition.
    Partition,
    /// A segment; compaction replaces segments at any time.
    Segment,
    /// An index.
    Index,
    /// An alias.
    Alias,
    /// An import job; servers forget finished ones after some hours.
    ImportJob,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Database => "database",
            Missing::Collection => "collection",
            Missing::Partition => "partition",
            Missing::Segment => "segment",
            Missing::Index => "index",
            Missing::Alias => "alias",
            Missing::ImportJob => "import job",
        })
    }
}

/// A failed call to Milvus. Retries are spent when a caller sees one. Messages name the server, the call and its object,
/// never a credential.
#[derive(Debug, thiserror::Error)]
pub enum MilvusError {
    /// The connection cannot be described: a bad host name, unreadable certificates.
    #[error("cannot set up the connection to milvus {server}: {cause}")]
    Setup {
        /// `host:port`.
        server: String,
        /// Why.
        cause: String,
    },
    /// The two sides do not agree on TLS.
    #[error("no TLS connection to milvus {}: {cause}; check certificates and the server name", .site.server)]
    Tls {
        /// The call.
        site: Box<CallSite>,
        /// Why.
        cause: String,
    },
    /// Something answers, but it does not speak Milvus' gRPC.
    #[error("{server} answers, but not as milvus does ({cause}): check host and port (gRPC is 19530 by default)")]
    NotMilvus {
        /// `host:port`.
        server: String,
        /// What it said.
        cause: String,
    },
    /// No connection, or it broke off.
    #[error("milvus {} cannot be reached for {}: {cause}", .site.server, .site.act())]
    Unreachable {
        /// The call.
        site: Box<CallSite>,
        /// Why.
        cause: String,
    },
    /// The server is starting, stopping or overloaded.
    #[error("{site} is not served at the moment (code {code}): {cause}")]
    Busy {
        /// The call.
        site: Box<CallSite>,
        /// Milvus' code.
        code: i32,
        /// Its words.
        cause: String,
    },
    /// The server allows fewer calls of this kind.
    #[error("{site} is limited by the server: {cause}; raise quotaAndLimits there or wait")]
    RateLimited {
        /// The call.
        site: Box<CallSite>,
        /// Its words.
        cause: String,
    },
    /// No answer within the deadline of the call.
    #[error("{site} gave no answer within {} s", .after.as_secs())]
    TimedOut {
        /// The call.
        site: Box<CallSite>,
        /// The deadline.
        after: Duration,
    },
    /// A call that must not be repeated blindly was sent, and no answer tells whether it took effect.
    #[error(
        "{site} broke off and its outcome is unknown ({cause}): look whether it took effect before it is sent again"
    )]
    OutcomeUnknown {
        /// The call.
        site: Box<CallSite>,
        /// Why.
        cause: String,
    },
    /// The server wants a login and none was given.
    #[error("{site} needs a login and none was given: name a secret with user and password, or a token")]
    AuthRequired {
        /// The call.
        site: Box<CallSite>,
    },
    /// The login was not accepted.
    #[error("{site} did not accept the login: {cause}")]
    AuthFailed {
        /// The call.
        site: Box<CallSite>,
        /// Its words.
        cause: String,
    },
    /// The user may not do this.
    #[error("{site} is not permitted to this user: {cause}; grant the privilege or use another login")]
    PermissionDenied {
        /// The call.
        site: Box<CallSite>,
        /// Its words.
        cause: String,
    },
    /// Something named in the call is not there.
    #[error("{site}: {missing} not found ({cause})")]
    NotFound {
        /// The call.
        site: Box<CallSite>,
        /// What is not there.
        missing: Missing,
        /// Its words.
        cause: String,
    },
    /// Something to be created is there already, in another shape or under that name.
    #[error("{site}: already there ({cause})")]
    AlreadyExists {
        /// The call.
        site: Box<CallSite>,
        /// Its words.
        cause: String,
    },
    /// This server does not have the call.
    #[error("{site}: this server does not have the call ({cause})")]
    Unimplemented {
        /// The call.
        site: Box<CallSite>,
        /// Its words.
        cause: String,
    },
    /// Refused for another reason.
    #[error("{site} was refused (code {code}): {cause}")]
    Refused {
        /// The call.
        site: Box<CallSite>,
        /// Milvus' code, or 0 where gRPC itself refused.
        code: i32,
        /// Its words.
        cause: String,
    },
    /// The answer lacks what it must have.
    #[error("{site} was answered in a way that makes no sense: {cause}")]
    Malformed {
        /// The call.
        site: Box<CallSite>,
        /// What is wrong with it.
        cause: String,
    },
}

impl MilvusError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            MilvusError::Unreachable { .. }
            | MilvusError::Busy { .. }
            | MilvusError::RateLimited { .. }
            | MilvusError::TimedOut { .. }
            | MilvusError::OutcomeUnknown { .. } => Class::Retry,
            // Segments come and go with compaction; a second look finds the new ones.
            MilvusError::NotFound { missing: Missing::Segment, .. } => Class::Retry,
            MilvusError::Refused { code, .. } if may_pass_by_itself(*code) => Class::Retry,
            MilvusError::Malformed { .. } => Class::Data,
            MilvusError::Setup { .. }
            | MilvusError::Tls { .. }
            | MilvusError::NotMilvus { .. }
            | MilvusError::AuthRequired { .. }
            | MilvusError::AuthFailed { .. }
            | MilvusError::PermissionDenied { .. }
            | MilvusError::NotFound { .. }
            | MilvusError::AlreadyExists { .. }
            | MilvusError::Unimplemented { .. }
            | MilvusError::Refused { .. } => Class::Configuration,
        }
    }

    /// CamelCase reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            MilvusError::Setup { .. } => "InvalidConnection",
            MilvusError::Tls { .. } => "TLSUnresolved",
            MilvusError::NotMilvus { .. } => "NotMilvus",
            MilvusError::Unreachable { .. } => "Unreachable",
            MilvusError::Busy { .. } => "NotReady",
            MilvusError::RateLimited { .. } => "RateLimited",
            MilvusError::TimedOut { .. } => "TimedOut",
            MilvusError::OutcomeUnknown { .. } => "OutcomeUnknown",
            MilvusError::AuthRequired { .. } => "AuthRequired",
            MilvusError::AuthFailed { .. } | MilvusError::PermissionDenied { .. } => "AuthFailed",
            MilvusError::NotFound { .. } => "NotFound",
            MilvusError::AlreadyExists { .. } => "AlreadyExists",
            MilvusError::Unimplemented { .. } => "UnsupportedVersion",
            MilvusError::Refused { .. } => "Refused",
            MilvusError::Malformed { .. } => "MalformedAnswer",
        }
    }

    /// How long the server asks to be left alone with this call; nothing for errors other than a rate limit.
    pub fn asked_pause(&self) -> Duration {
        super::call::asked_pause(self)
    }

    /// Whether something named in the call is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, MilvusError::NotFound { .. })
    }

    /// Whether this particular thing is not there.
    pub fn is_missing(&self, what: Missing) -> bool {
        matches!(self, MilvusError::NotFound { missing, .. } if *missing == what)
    }

    /// Whether the thing to be created is there already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, MilvusError::AlreadyExists { .. })
    }

    /// Whether the server does not have the call.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, MilvusError::Unimplemented { .. })
    }

    /// Whether the call may have taken effect although it failed.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, MilvusError::OutcomeUnknown { .. })
    }
}

/// Unclassified and internal errors, and calls the server itself gave up: a later attempt may well pass.
fn may_pass_by_itself(code: i32) -> bool {
    matches!(code, 1 | 5 | 10000 | 10001 | 65535)
}

/// A server's words, shortened to what fits a condition.
pub(super) fn words(text: &str) -> String {
    const LIMIT: usize = 400;
    let text = text.trim();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None if text.is_empty() => "no reason given".to_owned(),
        None => text.to_owned(),
    }
}
