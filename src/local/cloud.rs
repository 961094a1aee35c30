//! The two calls of Zilliz Cloud that carry a backup over: ask for a place to upload to, and start the migration.
//!
//! Owns requests, their retries, and what answers mean. Must never show the API key or the temporary keys of an answer.
//!
//! Source: milvus-backup 0.6, `internal/client/cloud/api.go` and `core/migrate/task.go`. The volume's name of the first
//! answer is called `stageName` in the second request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Cloud;
use crate::engine::error::bounded;
use crate::engine::secret::Secret;
use crate::engine::task::{Checksums, Credentials, StoreTarget};
use crate::exit::Class;

const APPLY: &str = "/v2/volumes/apply";
const START: &str = "/v2/migrations/startByRemote";
/// Both answers are a few hundred bytes.
const ANSWER_LIMIT: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request with its answer: giving out a volume takes about 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
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
            CloudError::Unavailable { .. } => "CloudUnavailable",
            CloudError::Refused { .. } => "CloudRefused",
            CloudError::Unusable { .. } => "CloudAnswerUnusable",
            CloudError::Unknown { .. } => "MigrationUnknown",
        }
    }
}

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

/// Zilliz Cloud, by its API.
pub struct ZillizCloud {
    host: String,
    port: u16,
    /// Comes before every path; without a slash at its end.
    base: String,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    key: Secret,
}

impl fmt::Debug for ZillizCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZillizCloud({})", self.place())
    }
}

/// Whether a request may be sent again that the service may have carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Unsafe,
}

/// One attempt that failed.
struct Failure {
    cause: Cause,
    text: String,
}

enum Cause {
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
    fn new(cause: Cause, text: impl fmt::Display) -> Failure {
        Failure { cause, text: text.to_string() }
    }
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
        let Address { encrypted, host, port, base } =
            Address::parse(&settings.endpoint).map_err(|why| setup(format!("zillizCloud.endpoint {why}")))?;
        let tls = match encrypted {
            true => Some(encryption(&host).map_err(|why| setup(format!("zillizCloud.endpoint {why}")))?),
            false => None,
        };
        Ok(ZillizCloud { host, port, base, tls, key: settings.api_key.clone() })
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
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
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
        let not_done = |text: String| Failure { cause: Cause::NotDone(None), text };
        let request = self.request(path, body).map_err(|text| Failure::new(Cause::Refused, text))?;
        let connected = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            Ok::<_, std::io::Error>(match &self.tls {
                None => Connection::Plain(stream),
                Some((config, name)) => {
                    let connector = TlsConnector::from(config.clone());
                    Connection::Encrypted(Box::new(connector.connect(name.clone(), stream).await?))
                }
            })
        };
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, connected)
            .await
            .map_err(|_| not_done("no connection in time".into()))?
            .map_err(|error| match is_about_trust(&error) {
                true => Failure::new(Cause::Untrusted, error),
                false => not_done(error.to_string()),
            })?;
        let answered = async {
            match connection {
                Connection::Plain(stream) => exchange(stream, request).await,
                Connection::Encrypted(stream) => exchange(stream, request).await,
            }
        };
        let (status, headers, body) = tokio::time::timeout(REQUEST_TIMEOUT, answered)
            .await
            .map_err(|_| Failure::new(Cause::Doubtful, format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())))?
            .map_err(|text| Failure::new(Cause::Doubtful, text))?;
        understood(status, &headers, &body)
    }

    fn request(&self, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        Request::post(format!("{}{path}", self.base))
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

enum Connection {
    Plain(TcpStream),
    Encrypted(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| error.to_string())?;
        Ok((head.status, head.headers, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    // The connection works only while it is asked to; it may end before the answer has been picked up.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// Pure: what an answer means. Every body is `{code, message, data}`, and a code other than 0 is a refusal.
fn understood<T: DeserializeOwned>(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<T, Failure> {
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

fn is_about_trust(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

fn bearer(key: &Secret) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| "zillizCloud.apiKey has a line end or another character that no API key has".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL taken apart.
struct Address {
    encrypted: bool,
    host: String,
    port: u16,
    base: String,
}

impl Address {
    /// Takes `http://` only for this machine: keys and rows must not travel unencrypted.
    fn parse(url: &str) -> Result<Address, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{url:?} does not begin with https://")),
        };
        let host = uri.host().ok_or_else(|| format!("{url:?} names no host"))?.trim_matches(['[', ']']).to_owned();
        if !encrypted && !is_loopback(&host) {
            return Err(format!("{url:?} is not encrypted: use https://"));
        }
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Address { encrypted, host, port, base: uri.path().trim_end_matches('/').to_owned() })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn encryption(host: &str) -> Result<(Arc<rustls::ClientConfig>, ServerName<'static>), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("names {host:?}: {error}"))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(config), name))
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
struct StartAnswer {
    #[serde(default)]
    job_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApplyAnswer {
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
    /// Pure: the answer as a place that can be opened, or what it lacks.
    fn volume(self) -> Result<Volume, String> {
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

#[cfg(test)]
#[path = "cloud_tests.rs"]
mod tests;
