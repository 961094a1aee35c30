//! Pure: the JSON of Google's answers.
//!
//! Source: "Objects", "Objects: rewrite" and "HTTP status and error codes for JSON" of the Cloud Storage documentation.

use serde::Deserialize;

use crate::storage::ObjectMeta;
use crate::storage::failure::{Failure, Kind, is_passing_status};

/// What is asked for of a listing.
pub(super) const FIELDS: &str = "nextPageToken,prefixes,items(name,size,generation)";

/// One page of a listing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing {
    #[serde(default)]
    items: Vec<Object>,
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
    #[serde(default)]
    next_page_token: Option<String>,
}

/// An object as far as it matters here. Numbers of 64 bits are text in JSON.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Object {
    #[serde(default)]
    name: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    pub(super) generation: String,
}

/// The answer to a rewrite: done, or how to go on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rewrite {
    #[serde(default)]
    pub(super) done: bool,
    #[serde(default)]
    pub(super) rewrite_token: String,
    #[serde(default)]
    pub(super) resource: Option<Object>,
}

impl Listing {
    /// Where the next page begins.
    pub(super) fn next(&self) -> Option<String> {
        self.next_page_token.clone().filter(|next| !next.is_empty())
    }

    pub(super) fn objects(self) -> Vec<ObjectMeta> {
        let object = |object: Object| {
            Some(ObjectMeta { key: object.name, size: object.size.parse().ok()?, etag: object.generation })
        };
        self.items.into_iter().filter_map(object).collect()
    }
}

impl Object {
    pub(super) fn generation(self) -> Result<String, Failure> {
        if self.generation.is_empty() { Err(Failure::incomplete_answer("generation")) } else { Ok(self.generation) }
    }
}

pub(super) fn read<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::new(Kind::Rejected, "NotJson", format!("the answer cannot be read: {error}")))
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

/// An error the service put in words. Downloads are refused in plain text.
pub(super) fn failure(status: u16, text: &[u8]) -> Failure {
    let (reason, message) = match serde_json::from_slice::<ErrorAnswer>(text) {
        Ok(ErrorAnswer { error }) => {
            (error.errors.into_iter().next().map(|first| first.reason).unwrap_or_default(), error.message)
        }
        Err(_) => (String::new(), String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned()),
    };
    let kind = match (reason.as_str(), status) {
        ("rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError", _) => Kind::Passing,
        (_, 401 | 403) => Kind::Denied,
        (_, 404) if message.contains("bucket does not exist") => Kind::NoBucket,
        (_, 404) => Kind::NoKey,
        (_, 412) => Kind::ConditionFailed,
        (_, 416) => Kind::BehindEnd,
        (_, 405 | 501) => Kind::Unsupported,
        (_, 408) => Kind::Passing,
        (_, status) if is_passing_status(status) => Kind::Passing,
        _ => Kind::Rejected,
    };
    let code = match (reason.is_empty(), status) {
        (_, 401) => "authError".to_owned(),
        (true, status) => status.to_string(),
        (false, _) => reason,
    };
    let message: String = message.chars().take(300).collect();
    Failure::answered(kind, status, Some(&code), Some(message.as_str()).filter(|message| !message.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_numbers_that_are_text() {
        let text = br#"{"kind":"storage#objects","items":[{"name":"a/b","size":"5","generation":"1700000000000001"}],
            "prefixes":["a/"],"nextPageToken":"CgNh"}"#;
        let listing: Listing = read(text).unwrap();
        assert_eq!((listing.next().as_deref(), listing.prefixes.as_slice()), (Some("CgNh"), &["a/".to_owned()][..]));
        let expected = ObjectMeta { key: "a/b".into(), size: 5, etag: "1700000000000001".into() };
        assert_eq!(listing.objects(), [expected]);
        assert!(read::<Listing>(b"{}").unwrap().objects().is_empty());
    }

    #[test]
    fn what_an_error_means_is_told_by_its_reason_before_its_status() {
        let of = |status: u16, reason: &str, message: &str| {
            let text =
                format!(r#"{{"error":{{"code":{status},"message":"{message}","errors":[{{"reason":"{reason}"}}]}}}}"#);
            failure(status, text.as_bytes())
        };
        assert_eq!(of(403, "rateLimitExceeded", "slow").kind, Kind::Passing);
        assert!(of(429, "rateLimitExceeded", "slow").throttles() && failure(503, b"").throttles());
        assert!(of(401, "authError", "Invalid Credentials").doubts_keys() && failure(401, b"").doubts_keys());
        assert!(!of(403, "forbidden", "no").doubts_keys());
        assert_eq!(of(404, "notFound", "The specified bucket does not exist.").kind, Kind::NoBucket);
        assert_eq!(failure(404, b"No such object: b/k").kind, Kind::NoKey);
        assert_eq!(of(412, "conditionNotMet", "no").kind, Kind::ConditionFailed);
        assert_eq!(failure(416, b"").kind, Kind::BehindEnd);
        assert_eq!(failure(400, b"").kind, Kind::Rejected);
    }
}
