//! What the answers of Zilliz Cloud mean. Pure.
//!
//! Source of the fields: milvus-backup 0.6, `internal/client/cloud/api.go`.

use std::fmt;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http::Address;
use crate::engine::secret::Secret;
use crate::engine::task::{Checksums, Credentials, StoreTarget};

/// A place to upload to, with keys for a while. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct Volume {
    /// What the migration calls it by.
    pub name: String,
    /// Prefix of everything that is uploaded, with a slash at its end.
    pub prefix: String,
    /// The bucket with its temporary keys.
    pub store: StoreTarget,
    /// When the keys run out.
    pub expires: Timestamp,
    /// Most bytes that may be uploaded, where the service says so.
    pub most_bytes: Option<u64>,
}

impl Volume {
    /// Whether both are one place: same bucket, same prefix, same name.
    pub fn same_place(&self, other: &Volume) -> bool {
        let place = |volume: &Volume| (volume.store.endpoint.clone(), volume.store.bucket.clone());
        self.name == other.name && self.prefix == other.prefix && place(self) == place(other)
    }
}

/// One attempt that failed.
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) text: String,
}

/// How sure it is that nothing was done.
pub(super) enum Cause {
    /// The service has not seen the request, or says that it did nothing; what it asks to wait.
    NotDone(Option<Duration>),
    /// Nobody knows.
    Doubtful,
    Refused,
    Unusable,
    /// The certificate is nobody's that is trusted here.
    Untrusted,
}

impl Failure {
    pub(super) fn new(cause: Cause, text: impl fmt::Display) -> Failure {
        Failure { cause, text: text.to_string() }
    }
}

/// What an answer means. Every body is `{code, message, data}`, and a code other than 0 is a refusal.
pub(super) fn understood<T: DeserializeOwned>(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, Failure> {
    let verdict: Option<Verdict> = serde_json::from_slice(body).ok();
    let said = || match &verdict {
        Some(Verdict { code, message }) if !message.is_empty() => format!("{message} (HTTP {status}, code {code})"),
        _ => format!("HTTP {status}"),
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::new(Cause::NotDone(seconds.map(Duration::from_secs)), said()))
        }
        StatusCode::REQUEST_TIMEOUT => Err(Failure::new(Cause::Doubtful, said())),
        status if status.is_server_error() => Err(Failure::new(Cause::Doubtful, said())),
        status if status.is_client_error() => Err(Failure::new(Cause::Refused, said())),
        status if !status.is_success() => Err(Failure::new(Cause::Unusable, said())),
        _ => match verdict {
            None => Err(Failure::new(Cause::Unusable, "it is no JSON object with a code")),
            Some(Verdict { code, .. }) if code != 0 => Err(Failure::new(Cause::Refused, said())),
            Some(_) => match serde_json::from_slice::<Answered<T>>(body) {
                Ok(answered) => Ok(answered.data),
                // Not the parser's words: they can repeat what stands there.
                Err(error) => Err(Failure::new(
                    Cause::Unusable,
                    format!("a field is missing or of another kind at line {} column {}", error.line(), error.column()),
                )),
            },
        },
    }
}

#[derive(Deserialize)]
struct Verdict {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Answered<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartAnswer {
    #[serde(default)]
    pub(super) job_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApplyAnswer {
    volume_name: String,
    bucket_name: String,
    cloud: String,
    endpoint: String,
    #[serde(default)]
    region: String,
    upload_path: String,
    credentials: TemporaryKeys,
    #[serde(default)]
    condition: Upper,
}

#[derive(Deserialize)]
struct TemporaryKeys {
    #[serde(rename = "expireTime")]
    expires: String,
    #[serde(rename = "sessionToken")]
    session_token: String,
    #[serde(rename = "tmpAK")]
    access_key: String,
    #[serde(rename = "tmpSK")]
    secret_key: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upper {
    #[serde(default)]
    max_content_length: i64,
}

impl ApplyAnswer {
    /// The answer as a place that can be opened, or what it lacks.
    pub(super) fn volume(self) -> Result<Volume, String> {
        if self.cloud != "aws" {
            // Google's volumes are opened with an OAuth token in place of keys, which the S3 protocol here has no place for.
            return Err(format!(
                "the cluster is in the cloud {:?}, and only uploads to aws are supported: use milvus-backup 0.6 for it",
                self.cloud
            ));
        }
        let TemporaryKeys { expires, session_token, access_key, secret_key } = self.credentials;
        let prefix = self.upload_path.trim_end_matches('/');
        for (name, text) in [
            ("volumeName", self.volume_name.as_str()),
            ("bucketName", &self.bucket_name),
            ("endpoint", &self.endpoint),
            ("uploadPath", prefix),
            ("credentials.tmpAK", &access_key),
            ("credentials.tmpSK", &secret_key),
        ] {
            if text.is_empty() {
                return Err(format!("its {name} is empty"));
            }
        }
        let expires: Timestamp = expires.parse().map_err(|_| "credentials.expireTime is no time".to_owned())?;
        // A host without scheme, which is spoken to by https.
        let endpoint = match self.endpoint.contains("://") {
            true => self.endpoint,
            false => format!("https://{}", self.endpoint),
        };
        let amazon =
            Address::parse(&endpoint).map_err(|why| format!("the endpoint {why}"))?.host.ends_with(".amazonaws.com");
        Ok(Volume {
            name: self.volume_name,
            prefix: format!("{prefix}/"),
            store: StoreTarget {
                endpoint: Some(endpoint),
                region: Some(self.region).filter(|region| !region.is_empty()),
                bucket: self.bucket_name,
                path_style: !amazon,
                credentials: Credentials::Values {
                    access_key: Secret::new(access_key),
                    secret_key: Secret::new(secret_key),
                    session_token: Some(Secret::new(session_token)).filter(|token| !token.is_empty()),
                },
                checksums: if amazon { Checksums::WhenSupported } else { Checksums::WhenRequired },
                ..StoreTarget::default()
            },
            expires,
            most_bytes: u64::try_from(self.condition.max_content_length).ok().filter(|bytes| *bytes > 0),
        })
    }
}
