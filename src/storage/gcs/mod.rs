//! A bucket of Google Cloud Storage by its own protocol: its state, and how a request is built.
//!
//! What is called ETag here is the generation of an object: it changes with every write, is in every answer, and is what
//! the service takes conditions on. Source: the reference of the JSON API v1; of the XML API for writes in parts
//! (`parts`), which the JSON API does not have.

mod identity;
mod json;
mod parts;
mod verbs;

use std::fmt;
use std::path::PathBuf;

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::identity::{Identity, Way};
use super::failure::Failure;
use super::login::{Login, Ring, encoded, form};
use super::retry::RetryPolicy;
use super::s3::answered_failure;
use super::sender::Sender;
use super::transport::{Answer, Proxy, Wire, request, service_of, without_usual_port};
use super::{Place, StoreError, xml};

const GOOGLE: &str = "https://storage.googleapis.com";
/// What stays as it is in a path of the XML API.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// All it takes to open a bucket. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct GcsConfig {
    /// `http(s)://host[:port]`; none for Google itself.
    pub endpoint: Option<String>,
    /// Bucket name.
    pub bucket: String,
    /// Who asks.
    pub login: GcsLogin,
    /// Certificates (PEM) of the authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Who asks for what is in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcsLogin {
    /// The service account of this key file (JSON), which is read again when its token is refused.
    KeyFile(PathBuf),
    /// As the environment says: `GOOGLE_APPLICATION_CREDENTIALS` names a key file, or the metadata service of the machine
    /// or pod is asked (workload identity). With `STORAGE_EMULATOR_HOST`, nobody.
    Ambient,
    /// Nobody: emulators.
    Anonymous,
}

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub struct GcsStore {
    pub(super) sender: Sender,
    wire: Wire,
    /// Scheme, host and port.
    base: String,
}

/// A request before it is authorized.
pub(super) struct Ask {
    method: Method,
    /// Path and query, encoded.
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Ask {
    fn new(method: Method, path: String, query: &[(&str, &str)]) -> Ask {
        let question = if query.is_empty() { "" } else { "?" };
        Ask { method, target: format!("{path}{question}{}", form(query)), headers: Vec::new(), body: Bytes::new() }
    }

    /// About an object, or about all of them.
    pub(super) fn object(method: Method, bucket: &str, key: Option<&str>, query: &[(&str, &str)]) -> Ask {
        Ask::new(method, object_path(bucket, key), query)
    }

    /// Writes an object.
    pub(super) fn upload(bucket: &str, query: &[(&str, &str)], body: Bytes) -> Ask {
        let ask = Ask::new(Method::POST, format!("/upload/storage/v1/b/{}/o", encoded(bucket)), query);
        ask.header("content-type", "application/octet-stream".to_owned()).body(body)
    }

    /// Copies an object.
    pub(super) fn rewrite(from: (&str, &str), to: (&str, &str), query: &[(&str, &str)]) -> Ask {
        let target = format!("b/{}/o/{}", encoded(to.0), encoded(to.1));
        Ask::new(Method::POST, format!("{}/rewriteTo/{target}", object_path(from.0, Some(from.1))), query)
    }

    /// By the XML API.
    pub(super) fn xml(method: Method, bucket: &str, key: &str, query: &[(&str, &str)]) -> Ask {
        Ask::new(method, format!("/{}/{}", encoded(bucket), utf8_percent_encode(key, PATH)), query)
    }

    pub(super) fn header(mut self, name: &'static str, value: String) -> Ask {
        self.headers.push((name, value));
        self
    }

    pub(super) fn body(self, body: Bytes) -> Ask {
        Ask { body, ..self }
    }
}

fn object_path(bucket: &str, key: Option<&str>) -> String {
    let key = key.map(|key| format!("/{}", encoded(key))).unwrap_or_default();
    format!("/storage/v1/b/{}/o{key}", encoded(bucket))
}

impl fmt::Debug for GcsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsStore").field("place", &self.sender.place).finish_non_exhaustive()
    }
}

impl GcsStore {
    /// Opens a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// An endpoint that is no URL, certificates that are none.
    pub fn open(config: GcsConfig) -> Result<GcsStore, StoreError> {
        let encrypted = !config.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let wire = Wire::open(config.ca_pem.as_deref(), encrypted, Proxy::Environment)?;
        GcsStore::over(config, wire)
    }

    /// As [`open`](Self::open), over connections of the caller's: tests answer in process with it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_over(config: GcsConfig, connector: SharedHttpConnector) -> Result<GcsStore, StoreError> {
        GcsStore::over(config, Wire::over(connector))
    }

    fn over(config: GcsConfig, wire: Wire) -> Result<GcsStore, StoreError> {
        if config.bucket.is_empty() {
            return Err(StoreError::Setup("no bucket is named".into()));
        }
        let way = match config.login {
            GcsLogin::KeyFile(path) => Way::KeyFile(path),
            GcsLogin::Ambient => Way::of_environment(),
            GcsLogin::Anonymous => Way::None,
        };
        let ring = match way {
            Way::None => Ring::fixed(Login::Anonymous),
            way => Ring::of(Identity::by(way)?),
        };
        let service = service_of(config.endpoint.as_deref().unwrap_or(GOOGLE))?;
        let base = without_usual_port(&service).to_owned();
        let place = Place { service, region: String::new(), bucket: config.bucket };
        Ok(GcsStore { sender: Sender::new(place, ring), wire, base })
    }

    /// The same store with other limits.
    pub fn with_retry(mut self, policy: RetryPolicy) -> GcsStore {
        self.sender.policy = policy;
        self
    }

    pub(super) fn bucket(&self) -> &str {
        &self.sender.place.bucket
    }

    /// Sends one request of the JSON API; an answer that is no success is a failure.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        self.call(ask).await?.success(self.sender.policy.control_limit, json::failure).await
    }

    /// Sends one request of the XML API, whose failures are those of S3.
    pub(super) async fn ask_xml(&self, ask: Ask) -> Result<Answer, Failure> {
        let judge = |status, text: &[u8]| {
            let (code, message) = xml::error(text);
            answered_failure(status, code.as_deref(), message.as_deref())
        };
        self.call(ask).await?.success(self.sender.policy.control_limit, judge).await
    }

    async fn call(&self, ask: Ask) -> Result<Answer, Failure> {
        let Ask { method, target, mut headers, body } = ask;
        if let Login::Bearer { token, .. } = self.sender.ring.login().await? {
            headers.push(("authorization", format!("Bearer {token}")));
        }
        self.wire.call(request(method, format!("{}{target}", self.base), headers, body)?).await
    }
}

#[cfg(test)]
mod tests;
