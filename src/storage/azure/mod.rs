//! A container of Azure Blob Storage: its state, how a request is built, and what its failures mean.
//!
//! Source: the REST documentation of the Blob service, version [`VERSION`]. The library of the vendor signs with tokens
//! only, not with the key of an account (docs/architecture.md).

mod identity;
mod lists;
mod sign;
mod verbs;

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::identity::Identity;
use self::sign::{Signed, authorization};
use super::failure::{Failure, Kind, is_passing_status};
use super::login::{Login, Ring, Source, read};
use super::retry::RetryPolicy;
use super::s3::Keys;
use super::sender::Sender;
use super::transport::{Answer, Proxy, Wire, request, service_of, without_usual_port};
use super::{Place, StoreError, xml};

/// Version of the protocol; services keep old ones.
const VERSION: &str = "2022-11-02";
/// What stays as it is in a path, and in a query.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// All it takes to open a container. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct AzureConfig {
    /// The account's address: `https://ACCOUNT.blob.core.windows.net`, or `http://host:port/ACCOUNT` of an emulator.
    pub endpoint: String,
    /// Container name.
    pub container: String,
    /// Access key means the account, secret key the account's key; ambient is workload identity, a client secret in the
    /// environment, or the managed identity of the machine.
    pub keys: Keys,
    /// Certificates (PEM) of the authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// A container. Cheap to clone.
#[derive(Clone)]
pub struct AzureStore {
    pub(super) sender: Sender,
    wire: Wire,
    /// Scheme, host and port.
    base: String,
    /// Path before the container: empty, or `/ACCOUNT` where the host is not the account's own.
    root: String,
}

/// A request before it is signed.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Blob; none for the container.
    pub(super) key: Option<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    /// Names in lower case.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, key: Option<&'a str>) -> Ask<'a> {
        Ask { method, key, query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Ask<'a> {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask<'a> {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(self, body: Bytes) -> Ask<'a> {
        Ask { body, ..self }
    }
}

impl fmt::Debug for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureStore").field("place", &self.sender.place).finish_non_exhaustive()
    }
}

impl AzureStore {
    /// Opens a container. Nothing is sent yet.
    ///
    /// # Errors
    /// An endpoint that is no URL, a key that is not base64, certificates that are none.
    pub fn open(config: AzureConfig) -> Result<AzureStore, StoreError> {
        let encrypted = !config.endpoint.starts_with("http://");
        let wire = Wire::open(config.ca_pem.as_deref(), encrypted, Proxy::Environment)?;
        AzureStore::over(config, wire)
    }

    /// As [`open`](Self::open), over connections of the caller's: tests answer in process with it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_over(config: AzureConfig, connector: SharedHttpConnector) -> Result<AzureStore, StoreError> {
        AzureStore::over(config, Wire::over(connector))
    }

    fn over(config: AzureConfig, wire: Wire) -> Result<AzureStore, StoreError> {
        let (base, root) = address(&config.endpoint)?;
        if config.container.is_empty() {
            return Err(StoreError::Setup("no container is named".into()));
        }
        let ring = match config.keys {
            Keys::Static { access_key, secret_key, .. } => {
                Ring::fixed(account_key(access_key, &secret_key).map_err(|failure| StoreError::Setup(failure.cause))?)
            }
            Keys::Files { access_key, secret_key, .. } => Ring::of(KeyFiles { account: access_key, key: secret_key }),
            Keys::Ambient => Ring::of(Identity::of_environment()?),
        };
        let place = Place { service: format!("{base}{root}"), region: String::new(), bucket: config.container };
        let base = without_usual_port(&base).to_owned();
        Ok(AzureStore { sender: Sender::new(place, ring), wire, base, root })
    }

    /// The same store with other limits.
    pub fn with_retry(mut self, policy: RetryPolicy) -> AzureStore {
        self.sender.policy = policy;
        self
    }

    /// Makes the container unless it is there; answers whether it was made. For tests: the engine makes none.
    ///
    /// # Errors
    /// The service's.
    pub async fn make_container(&self) -> Result<bool, StoreError> {
        let made = self.sender.control("make the container", "", || async move {
            let ask = Ask::new(Method::PUT, None).query("restype", "container");
            match self.ask(ask).await {
                Ok(_) => Ok(true),
                Err(failure) if failure.code == "ContainerAlreadyExists" => Ok(false),
                Err(failure) => Err(failure),
            }
        });
        made.await
    }

    /// Path of a blob as it is sent.
    fn path(&self, container: &str, key: Option<&str>) -> String {
        let key = key.map(|key| format!("/{}", utf8_percent_encode(key, PATH))).unwrap_or_default();
        format!("{}/{}{key}", self.root, utf8_percent_encode(container, PATH))
    }

    /// Address of a blob of this account.
    pub(super) fn url(&self, container: &str, key: &str) -> String {
        format!("{}{}", self.base, self.path(container, Some(key)))
    }

    /// Sends one request; an answer that is no success is a failure.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Failure> {
        let login = self.sender.ring.login().await?;
        let answer = self.wire.call(self.signed(ask, &login, Timestamp::now())?).await?;
        let code = answer.header("x-ms-error-code").map(str::to_owned);
        let judge = |status, text: &[u8]| {
            let (in_body, message) = xml::error(text);
            answered_failure(status, code.or(in_body).as_deref(), message.as_deref())
        };
        answer.success(self.sender.policy.control_limit, judge).await
    }

    fn signed(&self, ask: Ask<'_>, login: &Login, now: Timestamp) -> Result<http::Request<Bytes>, Failure> {
        let Ask { method, key, query, mut headers, body } = ask;
        let path = self.path(&self.sender.place.bucket, key);
        headers.push(("x-ms-version", VERSION.to_owned()));
        headers.push(("x-ms-date", now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
        match login {
            Login::AccountKey { account, key } => {
                let (method, length) = (method.as_str(), body.len());
                let signed = Signed { method, path: &path, query: &query, headers: &headers, length };
                let authorization = authorization(account, key, &signed);
                headers.push(("authorization", authorization));
            }
            Login::Bearer { token, .. } => headers.push(("authorization", format!("Bearer {token}"))),
            Login::Anonymous | Login::AccessKeys(_) => {}
        }
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY))).collect();
        let question = if query.is_empty() { "" } else { "?" };
        request(method, format!("{}{path}{question}{}", self.base, query.join("&")), headers, body)
    }
}

/// The account's address in its two parts: scheme, host and port; path.
fn address(endpoint: &str) -> Result<(String, String), StoreError> {
    let endpoint = endpoint.trim_end_matches('/');
    let (host, path) = match endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, path)) => (&endpoint[..endpoint.len() - path.len() - 1], path),
        None => (endpoint, ""),
    };
    let names_account = path.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !names_account {
        let said = "the endpoint is more than scheme, host, port and account: write it as https://ACCOUNT.blob.core.windows.net";
        return Err(StoreError::Setup(said.into()));
    }
    let root = if path.is_empty() { String::new() } else { format!("/{path}") };
    Ok((service_of(host)?, root))
}

fn account_key(account: String, key: &str) -> Result<Login, Failure> {
    let bad = |what: &str| Failure::new(Kind::Setup, "NoCredentials", format!("the key of the Azure account {what}"));
    let key = BASE64_STANDARD.decode(key.trim()).map_err(|_| bad("is not base64: copy it as the portal shows it"))?;
    if account.is_empty() || key.is_empty() {
        return Err(bad("or its name is empty"));
    }
    Ok(Login::AccountKey { account, key })
}

/// Files with the account's name and its key.
#[derive(Debug)]
struct KeyFiles {
    account: PathBuf,
    key: PathBuf,
}

#[async_trait]
impl Source for KeyFiles {
    async fn login(&self) -> Result<Login, Failure> {
        account_key(read(&self.account).await?.trim().to_owned(), &read(&self.key).await?)
    }
}

/// An error the service put in words; the code counts before the status.
///
/// Source: "Blob service error codes" and "Common REST API error codes".
fn answered_failure(status: u16, code: Option<&str>, message: Option<&str>) -> Failure {
    let kind = match (code.unwrap_or_default(), status) {
        (
            "ServerBusy"
            | "InternalError"
            | "OperationTimedOut"
            | "PendingCopyOperation"
            | "Md5Mismatch"
            | "ContainerBeingDeleted"
            | "TooManyRequests",
            _,
        ) => Kind::Passing,
        ("ContainerNotFound" | "ContainerDisabled", _) => Kind::NoBucket,
        ("BlobNotFound", _) | ("CannotVerifyCopySource", 404) => Kind::NoKey,
        ("InvalidBlockList" | "InvalidBlockId", _) => Kind::NoUpload,
        ("ConditionNotMet" | "TargetConditionNotMet" | "SourceConditionNotMet" | "BlobAlreadyExists", _) => {
            Kind::ConditionFailed
        }
        ("InvalidRange", _) | (_, 416) => Kind::BehindEnd,
        (_, 405 | 501) => Kind::Unsupported,
        (_, 401 | 403) => Kind::Denied,
        (_, 404) => Kind::NoKey,
        (_, status) if is_passing_status(status) => Kind::Passing,
        _ => Kind::Rejected,
    };
    Failure::answered(kind, status, code, message)
}

#[cfg(test)]
mod tests;
