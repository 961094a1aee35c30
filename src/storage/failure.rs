//! A failed request of any service: whether it may pass by itself, and which error of ours it is.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStreamError;

use super::{Place, StoreError};

/// In every message about a key file, so that a missing one is told from a lost connection.
pub(super) const UNREADABLE: &str = "cannot read the key file";

/// The code of an attempt that was not answered in time.
pub(super) const TIMEOUT: &str = "Timeout";

/// What a caller does about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Throttled, overloaded, unreachable, broken off: send it again.
    Passing,
    /// The keys are unknown, wrong or may not do this.
    Denied,
    /// The bucket does not exist.
    NoBucket,
    /// The object does not exist.
    NoKey,
    /// The multipart write does not exist.
    NoUpload,
    /// The condition of a write did not hold.
    ConditionFailed,
    /// The object is not the version that is being read any more.
    Replaced,
    /// The range begins behind the object's end.
    BehindEnd,
    /// The service does not know this request.
    Unsupported,
    /// A setting is wrong: region, certificate, clock.
    Setup,
    /// More bytes come than may.
    TooLong,
    /// The object has, or is said to have, at least so many bytes, and at most so many are read into memory.
    TooLarge {
        /// Bytes it has.
        size: u64,
        /// Bytes it may have.
        most: u64,
    },
    /// Anything else that sending it again does not change.
    Rejected,
}

/// A failed attempt.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// The service's error code, or a word for what happened before there was one.
    pub(super) code: String,
    /// For people; holds no secret.
    pub(super) cause: String,
    /// How long the service asks not to be asked again.
    pub(super) after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(kind: Kind, code: &str, cause: impl Into<String>) -> Failure {
        Failure { kind, code: code.into(), cause: cause.into(), after: None }
    }

    /// What the service put in words; without a code its status is one.
    pub(super) fn answered(kind: Kind, status: u16, code: Option<&str>, message: Option<&str>) -> Failure {
        let status = status.to_string();
        let code = code.unwrap_or(&status);
        let cause = match message {
            Some(message) => format!("{message} ({code})"),
            None => format!("answer {code}"),
        };
        Failure::new(kind, code, cause)
    }

    pub(super) fn timed_out(limit: Duration) -> Failure {
        Failure::new(Kind::Passing, TIMEOUT, format!("no answer within {} s", limit.as_secs()))
    }

    /// The answer is about another version than `expected`.
    pub(super) fn replaced(expected: &str, found: &str) -> Failure {
        Failure::new(Kind::Replaced, "Replaced", format!("its ETag is {found} and was {expected}"))
    }

    /// The object has at least `size` bytes and may have `most`.
    pub(super) fn too_large(size: u64, most: u64) -> Failure {
        Failure::new(Kind::TooLarge { size, most }, "TooLarge", format!("it has at least {size} bytes"))
    }

    /// An answer that lacks what the caller needs.
    pub(super) fn incomplete_answer(what: &str) -> Failure {
        Failure::new(Kind::Rejected, "IncompleteAnswer", format!("the answer has no {what}"))
    }

    /// The service asks to be spared, or does not keep up.
    pub(super) fn throttles(&self) -> bool {
        const CODES: [&str; 15] = [
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "TooManyRequests",
            "ServiceUnavailable",
            "RequestThrottled",
            "RequestTimeout",
            "RequestTimeoutException",
            // Azure
            "ServerBusy",
            "OperationTimedOut",
            // Google
            "rateLimitExceeded",
            "userRateLimitExceeded",
            "503",
            "429",
            TIMEOUT,
        ];
        CODES.contains(&self.code.as_str()) || self.code.starts_with("Throttl")
    }

    /// Other keys might be taken: these have run out, were changed, or signed something that the service cannot check.
    pub(super) fn doubts_keys(&self) -> bool {
        const CODES: [&str; 12] = [
            "ExpiredToken",
            "ExpiredTokenException",
            "SecurityTokenExpired",
            "InvalidToken",
            "InvalidTokenId",
            "TokenRefreshRequired",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidClientTokenId",
            // Azure
            "AuthenticationFailed",
            "InvalidAuthenticationInfo",
            // Google
            "authError",
        ];
        self.kind == Kind::Denied && CODES.contains(&self.code.as_str())
    }

    /// The error of a request about `key` (empty for requests about no single object) in `place`.
    pub(super) fn into_error(self, place: &Place, act: &str, key: &str, tries: u32) -> StoreError {
        let (place, act) = (place.to_string(), act.to_owned());
        match self.kind {
            Kind::Passing => StoreError::Unavailable { place, act, tries, cause: self.cause },
            Kind::Denied => StoreError::Denied { place, act, code: self.code },
            Kind::NoBucket => StoreError::BucketNotFound { place },
            Kind::NoKey => StoreError::NotFound { key: key.into(), place },
            Kind::Replaced => StoreError::Replaced { key: key.into(), place },
            Kind::Setup => StoreError::Setup(format!("{place}: {}", self.cause)),
            Kind::TooLarge { size, most } => StoreError::TooLarge { key: key.into(), place, size, most },
            Kind::NoUpload
            | Kind::ConditionFailed
            | Kind::BehindEnd
            | Kind::TooLong
            | Kind::Unsupported
            | Kind::Rejected => StoreError::Rejected { place, act, cause: self.cause },
        }
    }
}

impl From<ByteStreamError> for Failure {
    fn from(error: ByteStreamError) -> Failure {
        Failure::new(Kind::Passing, "BrokenBody", chain(&error))
    }
}

/// The request never got an answer: mostly a matter of the network, sometimes of certificates or keys.
pub(super) fn dispatch_failure(cause: String) -> Failure {
    if cause.contains("invalid peer certificate") {
        return Failure::new(
            Kind::Setup,
            "Certificate",
            format!(
                "the server's certificate is not trusted ({cause}): give the certificate authority of the endpoint"
            ),
        );
    }
    if cause.contains("no credentials found in chain") {
        return Failure::new(Kind::Setup, "NoCredentials", format!("nothing in the environment gives keys: {cause}"));
    }
    if cause.contains(UNREADABLE) {
        return Failure::new(Kind::Setup, "NoCredentials", cause);
    }
    Failure::new(Kind::Passing, "Connection", cause)
}

pub(super) fn is_passing_status(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// The messages of an error and of what caused it, without repetitions.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_without_keys_is_a_matter_of_settings() {
        // As said by the default chain of aws-config 1.13.
        let cause = "dispatch failure: other: the credential provider was not enabled: no credentials found in chain.";
        assert_eq!(dispatch_failure(cause.into()).kind, Kind::Setup);
    }

    #[test]
    fn an_untrusted_certificate_is_a_matter_of_settings_and_a_lost_connection_is_not() {
        assert_eq!(dispatch_failure("io error: invalid peer certificate: UnknownIssuer".into()).kind, Kind::Setup);
        assert_eq!(dispatch_failure("tcp connect error: Connection refused".into()).kind, Kind::Passing);
    }
}
