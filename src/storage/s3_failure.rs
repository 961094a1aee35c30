//! What a failed S3 request means: whether it may pass by itself, and which error of ours it is.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStreamError;

use super::s3_keys::UNREADABLE;
use super::{Place, StoreError};

/// The code of an attempt that was not answered in time.
const TIMEOUT: &str = "Timeout";

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
}

impl Failure {
    pub(super) fn new(kind: Kind, code: &str, cause: impl Into<String>) -> Failure {
        Failure { kind, code: code.into(), cause: cause.into() }
    }

    pub(super) fn timed_out(limit: Duration) -> Failure {
        Failure::new(Kind::Passing, TIMEOUT, format!("no answer within {} s", limit.as_secs()))
    }

    /// The answer is about another version than `expected`.
    pub(super) fn replaced(expected: &str, found: &str) -> Failure {
        Failure::new(Kind::Replaced, "Replaced", format!("its ETag is {found} and was {expected}"))
    }

    /// An answer that lacks what the caller needs.
    pub(super) fn incomplete_answer(what: &str) -> Failure {
        Failure::new(Kind::Rejected, "IncompleteAnswer", format!("the answer has no {what}"))
    }

    /// The service asks to be spared, or does not keep up.
    pub(super) fn throttles(&self) -> bool {
        const CODES: [&str; 11] = [
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "TooManyRequests",
            "ServiceUnavailable",
            "RequestThrottled",
            "RequestTimeout",
            "RequestTimeoutException",
            "503",
            "429",
            TIMEOUT,
        ];
        CODES.contains(&self.code.as_str()) || self.code.starts_with("Throttl")
    }

    /// Other keys might be taken: these have run out, were changed, or signed something that the service cannot check.
    pub(super) fn doubts_keys(&self) -> bool {
        const CODES: [&str; 9] = [
            "ExpiredToken",
            "ExpiredTokenException",
            "SecurityTokenExpired",
            "InvalidToken",
            "InvalidTokenId",
            "TokenRefreshRequired",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidClientTokenId",
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
            Kind::NoUpload | Kind::ConditionFailed | Kind::BehindEnd | Kind::Unsupported | Kind::Rejected => {
                StoreError::Rejected { place, act, cause: self.cause }
            }
        }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Failure {
        match &error {
            SdkError::ServiceError(answered) => {
                let status = answered.raw().status().as_u16();
                answered_failure(status, answered.err().code(), answered.err().message())
            }
            SdkError::TimeoutError(_) => Failure::new(Kind::Passing, TIMEOUT, chain(&error)),
            // The connection ended inside an answer, be it a refusal: nobody has heard which. Or no S3 answered.
            SdkError::ResponseError(answered) => {
                Failure::new(Kind::Passing, &answered.raw().status().as_u16().to_string(), chain(&error))
            }
            SdkError::ConstructionFailure(_) => Failure::new(Kind::Rejected, "Construction", chain(&error)),
            SdkError::DispatchFailure(_) => dispatch_failure(chain(&error)),
            _ => Failure::new(Kind::Passing, "Unknown", chain(&error)),
        }
    }
}

impl From<ByteStreamError> for Failure {
    fn from(error: ByteStreamError) -> Failure {
        Failure::new(Kind::Passing, "BrokenBody", chain(&error))
    }
}

/// The request never got an answer: mostly a matter of the network, sometimes of certificates or keys.
fn dispatch_failure(cause: String) -> Failure {
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

fn is_passing_status(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// An error the service put in words. Some arrive with status 200 after a long copy, so the code counts before the status.
pub(super) fn answered_failure(status: u16, code: Option<&str>, message: Option<&str>) -> Failure {
    let kind = match (code.unwrap_or_default(), status) {
        (
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "InternalError"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "TooManyRequests"
            | "OperationAborted"
            | "BadDigest"
            | "IncompleteBody"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled",
            _,
        ) => Kind::Passing,
        ("NoSuchBucket", _) => Kind::NoBucket,
        ("NoSuchKey", _) => Kind::NoKey,
        ("NoSuchUpload", _) => Kind::NoUpload,
        ("PreconditionFailed" | "ConditionalRequestConflict", _) | (_, 412) => Kind::ConditionFailed,
        ("InvalidRange", _) | (_, 416) => Kind::BehindEnd,
        ("NotImplemented" | "MethodNotAllowed", _) | (_, 405 | 501) => Kind::Unsupported,
        ("RequestTimeTooSkewed", _) => {
            let cause = "the clocks of this machine and of the service are too far apart (RequestTimeTooSkewed): set them right";
            return Failure::new(Kind::Setup, "RequestTimeTooSkewed", cause);
        }
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307 | 308) => {
            let said = message.unwrap_or("the bucket is elsewhere");
            let code = code.unwrap_or("Redirect");
            let cause = format!("{said} ({code}): correct the region or the endpoint");
            return Failure::new(Kind::Setup, code, cause);
        }
        (
            "ExpiredToken"
            | "ExpiredTokenException"
            | "SecurityTokenExpired"
            | "InvalidTokenId"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "AccessDenied",
            _,
        )
        | (_, 401 | 403) => Kind::Denied,
        (_, 404) => Kind::NoKey,
        (_, status) if is_passing_status(status) => Kind::Passing,
        // An error in an answer that began well, without a code we know: the service broke off.
        (_, 200..=299) => Kind::Passing,
        _ => Kind::Rejected,
    };
    let status = status.to_string();
    let code = code.unwrap_or(&status);
    let cause = match message {
        Some(message) => format!("{message} ({code})"),
        None => format!("answer {code}"),
    };
    Failure::new(kind, code, cause)
}

/// The messages of an error and of what caused it, without repetitions.
fn chain(error: &(dyn Error + 'static)) -> String {
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

    fn kind(status: u16, code: &str) -> Kind {
        answered_failure(status, Some(code), None).kind
    }

    #[test]
    fn an_overloaded_service_is_asked_again() {
        for (status, code) in
            [(503, "SlowDown"), (500, "InternalError"), (502, "x"), (504, "x"), (429, "x"), (400, "RequestTimeout")]
        {
            assert_eq!(kind(status, code), Kind::Passing, "{status} {code}");
        }
        assert!(answered_failure(503, Some("SlowDown"), None).throttles());
        assert!(answered_failure(503, None, None).throttles());
        assert!(!answered_failure(500, Some("InternalError"), None).throttles());
        assert!(answered_failure(503, Some("ServiceUnavailable"), None).throttles());
        assert!(Failure::timed_out(Duration::from_secs(1)).throttles());
    }

    #[test]
    fn refused_keys_are_never_asked_again() {
        for code in ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"] {
            assert_eq!(kind(403, code), Kind::Denied, "{code}");
        }
        assert_eq!(kind(400, "ExpiredToken"), Kind::Denied);
        assert_eq!(answered_failure(401, None, None).kind, Kind::Denied);
    }

    #[test]
    fn other_keys_may_help_where_these_are_unknown_and_not_where_they_lack_a_permission() {
        for code in ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidTokenId"] {
            assert!(answered_failure(403, Some(code), None).doubts_keys(), "{code}");
        }
        assert!(!answered_failure(403, Some("AccessDenied"), None).doubts_keys());
        assert!(!answered_failure(503, Some("SlowDown"), None).doubts_keys());
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        assert_eq!(kind(404, "NoSuchBucket"), Kind::NoBucket);
        assert_eq!(kind(404, "NoSuchKey"), Kind::NoKey);
        assert_eq!(kind(404, "NoSuchUpload"), Kind::NoUpload);
        assert_eq!(answered_failure(404, None, None).kind, Kind::NoKey);
    }

    #[test]
    fn an_error_inside_a_good_answer_is_an_error() {
        assert_eq!(kind(200, "InternalError"), Kind::Passing);
        assert_eq!(kind(200, "AccessDenied"), Kind::Denied);
        assert_eq!(kind(200, "NoSuchKey"), Kind::NoKey);
    }

    #[test]
    fn a_wrong_clock_or_region_is_a_matter_of_settings() {
        for (status, code) in
            [(403, "RequestTimeTooSkewed"), (400, "AuthorizationHeaderMalformed"), (301, "PermanentRedirect")]
        {
            let failure = answered_failure(status, Some(code), Some("expecting 'eu-central-1'"));
            assert_eq!(failure.kind, Kind::Setup, "{code}");
            assert!(failure.cause.contains(code), "{}", failure.cause);
        }
    }

    #[test]
    fn conditions_and_ranges_are_told_from_other_refusals() {
        assert_eq!(kind(412, "PreconditionFailed"), Kind::ConditionFailed);
        assert_eq!(kind(409, "ConditionalRequestConflict"), Kind::ConditionFailed);
        assert_eq!(kind(416, "InvalidRange"), Kind::BehindEnd);
        assert_eq!(kind(501, "NotImplemented"), Kind::Unsupported);
        assert_eq!(kind(400, "EntityTooSmall"), Kind::Rejected);
    }

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
