//! The two calls of Zilliz Cloud that carry a backup over: ask for a place to upload to, and start the migration.
//!
//! Owns requests, their retries, and what answers mean. Must never show the API key or the temporary keys of an answer.
//!
//! Source: milvus-backup 0.6, `internal/client/cloud/api.go` and `core/migrate/task.go`. The volume's name of the first
//! answer is called `stageName` in the second request.

mod answer;
mod http;

use std::fmt;
use std::time::Duration;

use ::http::Request;
use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::answer::Volume;
use self::answer::{ApplyAnswer, Cause, Failure, StartAnswer, understood};
use self::http::Service;
use crate::config::Cloud;
use crate::engine::error::bounded;
use crate::engine::secret::Secret;
use crate::exit::Class;

const APPLY: &str = "/v2/volumes/apply";
const START: &str = "/v2/migrations/startByRemote";
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No longer pause, whatever the service asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Of what the service says, so much is passed on (bytes).
const SAID: usize = 300;

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The settings do not do for a call.
    #[error("{0}")]
    Setup(String),
    /// Unreachable, busy, or without an answer; tries are spent.
    #[error("could not {act} at {place} after {tries} tries: {cause}")]
    Unavailable {
        /// `host:port`.
        place: String,
        /// What was tried.
        act: &'static str,
        /// How often.
        tries: u32,
        /// Why the last one failed.
        cause: String,
    },
    /// Understood, and not done.
    #[error(
        "{place} refused to {act}: {cause}; check the id of the cluster, zillizCloud.apiKey and what that key may do"
    )]
    Refused {
        /// `host:port`.
        place: String,
        /// What was tried.
        act: &'static str,
        /// What the service said.
        cause: String,
    },
    /// An answer this program makes nothing of.
    #[error("{place} was asked to {act}, and this version cannot use its answer: {cause}")]
    Unusable {
        /// `host:port`.
        place: String,
        /// What was tried.
        act: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The request was sent and may have been carried out: repeating it could do it twice.
    #[error(
        "{place} was asked to {act}, and did not say whether it did ({cause}): look at the jobs of the cluster in its console \
         before you migrate again"
    )]
    Unknown {
        /// `host:port`.
        place: String,
        /// What was tried.
        act: &'static str,
        /// Why there is no answer.
        cause: String,
    },
}

impl CloudError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            CloudError::Unavailable { .. } => Class::Retry,
            CloudError::Setup(_)
            | CloudError::Refused { .. }
            | CloudError::Unusable { .. }
            | CloudError::Unknown { .. } => Class::Configuration,
        }
    }

    /// Its reason in a report.
    pub fn reason(&self) -> &'static str {
        match self {
            CloudError::Setup(_) => "CloudSettings",
            CloudError::Unavailable { .. } => "Interrupted",
            CloudError::Refused { .. } => "CloudRefused",
            CloudError::Unusable { .. } => "CloudAnswerUnusable",
            CloudError::Unknown { .. } => "MigrationUnknown",
        }
    }
}

/// Zilliz Cloud, by its API.
pub struct ZillizCloud {
    service: Service,
    key: Secret,
}

impl fmt::Debug for ZillizCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZillizCloud({})", self.service)
    }
}

/// Whether a request may be sent again that the service may have carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Unsafe,
}

impl ZillizCloud {
    /// By the settings. Nothing is sent yet.
    ///
    /// # Errors
    /// No key, an endpoint that is no URL, or one that would send the key unencrypted to another machine.
    pub fn new(settings: &Cloud) -> Result<ZillizCloud, CloudError> {
        let setup = |what: String| CloudError::Setup(what);
        if settings.api_key.is_empty() {
            return Err(setup(
                "there is no API key for Zilliz Cloud: set zillizCloud.apiKey or, with a file of schema 2, ZILLIZ_CLOUD_API_KEY; in \
                 a file of schema 1 it is cloud.apikey"
                    .into(),
            ));
        }
        // Says in time what the header would: only visible characters can be sent.
        bearer(&settings.api_key).map_err(setup)?;
        let service = Service::at(&settings.endpoint).map_err(|why| setup(format!("zillizCloud.endpoint {why}")))?;
        Ok(ZillizCloud { service, key: settings.api_key.clone() })
    }

    /// A volume that `cluster` can read, with keys to write below `path` of it. May be asked for again: it answers fresh keys.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn volume(&self, cluster: &str, path: &str) -> Result<Volume, CloudError> {
        let act = "give out a volume for the upload";
        let body = ApplyRequest { cluster_id: cluster, path };
        let answer: ApplyAnswer = self.call(APPLY, &body, act, Repeat::Safe).await?;
        answer.volume().map_err(|cause| CloudError::Unusable { place: self.place(), act, cause })
    }

    /// Starts the migration of what was uploaded; answers the id of the job. Sent once more only where the service cannot have
    /// seen it.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn start(&self, volume: &str, path: &str, cluster: &str) -> Result<String, CloudError> {
        let act = "start the migration";
        let body = StartRequest {
            source: Source { stage_name: volume, data_path: path },
            destination: Destination { cluster_id: cluster },
        };
        let answer: StartAnswer = self.call(START, &body, act, Repeat::Unsafe).await?;
        match answer.job_id.is_empty() {
            false => Ok(answer.job_id),
            true => Err(CloudError::Unknown { place: self.place(), act, cause: "its answer has no jobId".into() }),
        }
    }

    /// `host:port`, for messages.
    fn place(&self) -> String {
        self.service.to_string()
    }

    async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        act: &'static str,
        repeat: Repeat,
    ) -> Result<T, CloudError> {
        let place = self.place();
        let body = serde_json::to_vec(body).map_err(|error| CloudError::Setup(error.to_string()))?;
        let body = Bytes::from(body);
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            let Failure { cause, text } = match self.attempt(path, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let text = self.without_key(&text);
            let asked = match cause {
                Cause::Refused => return Err(CloudError::Refused { place, act, cause: text }),
                Cause::Untrusted => {
                    let what =
                        format!("{place} shows a certificate that is not trusted here, nothing was sent: {text}");
                    return Err(CloudError::Setup(what));
                }
                Cause::Doubtful | Cause::Unusable if repeat == Repeat::Unsafe => {
                    return Err(CloudError::Unknown { place, act, cause: text });
                }
                Cause::Unusable => return Err(CloudError::Unusable { place, act, cause: text }),
                Cause::Doubtful => None,
                Cause::NotDone(asked) => asked,
            };
            if tries == TRIES {
                return Err(CloudError::Unavailable { place, act, tries, cause: text });
            }
            tracing::warn!("could not {act} at {place}, trying again: {text}");
            tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, Failure> {
        let request = self.request(path, body).map_err(|text| Failure::new(Cause::Refused, text))?;
        let (status, headers, body) = self.service.send(request).await?;
        understood(status, &headers, &body)
    }

    fn request(&self, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        Request::post(format!("{}{path}", self.service.base()))
            .header(HOST, self.place())
            .header(AUTHORIZATION, bearer(&self.key)?)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())
    }

    /// A service may repeat what it was sent.
    fn without_key(&self, text: &str) -> String {
        bounded(&text.replace(self.key.expose(), "***"), SAID)
    }
}

fn bearer(key: &Secret) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| "zillizCloud.apiKey has a line end or another character that no API key has".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplyRequest<'r> {
    cluster_id: &'r str,
    path: &'r str,
}

#[derive(Serialize)]
struct StartRequest<'r> {
    source: Source<'r>,
    destination: Destination<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source<'r> {
    stage_name: &'r str,
    data_path: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Destination<'r> {
    cluster_id: &'r str,
}

#[cfg(test)]
mod tests;
