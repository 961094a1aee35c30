//! What the failure of an S3 request means.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::storage::failure::{Failure, Kind, TIMEOUT, chain, dispatch_failure, is_passing_status};

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

/// An error the service put in words. Some arrive with status 200 after a long copy, so the code counts before the status.
pub(in crate::storage) fn answered_failure(status: u16, code: Option<&str>, message: Option<&str>) -> Failure {
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
    Failure::answered(kind, status, code, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
