//! Connections to a service: certificates, proxies, and one request at a time with its answer.
//!
//! Retries and time limits are those of `retry`. The same library carries the requests to S3.

use std::time::Duration;

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector};
use bytes::{Bytes, BytesMut};
use http::Method;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::StoreError;
use super::failure::{Failure, Kind, chain, dispatch_failure};
use super::reading::{Opened, bare_etag, collect};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an answer that moves no content, and of one that says why something failed.
const LONGEST_CONTROL: u64 = 16 << 20;

/// Whom to trust: these certificates (PEM) or the system's. Without encryption the image need not even have certificates.
pub(super) fn trust(ca_pem: Option<&[u8]>, encrypted: bool) -> Result<TlsContext, StoreError> {
    let trust = match ca_pem {
        Some(pem) => {
            check_certificates(pem)?;
            TrustStore::empty().with_pem_certificate(pem)
        }
        None if !encrypted => TrustStore::empty(),
        None => TrustStore::default(),
    };
    TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| StoreError::Setup(format!("the certificates cannot be used: {error}")))
}

/// The transport panics on certificates it cannot read, so they are read here first.
fn check_certificates(pem: &[u8]) -> Result<(), StoreError> {
    let unreadable =
        |cause: String| StoreError::Setup(format!("the certificate authority is no PEM certificate: {cause}"));
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unreadable("nothing in it".into()));
    }
    let mut roots = RootCertStore::empty();
    certificates
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate))
        .map_err(|error| unreadable(error.to_string()))
}

/// Scheme, host in lower case and port. The endpoint is not repeated in errors: it could hold a password.
pub(super) fn service_of(endpoint: &str) -> Result<String, StoreError> {
    let bad = |what: &str| StoreError::Setup(format!("the endpoint {what}: write it as https://host:port"));
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(|| bad("has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => "80",
        "https" => "443",
        _ => return Err(bad("is neither http nor https")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() {
        return Err(bad("names no host"));
    }
    if authority.contains('@') {
        return Err(bad("carries a user"));
    }
    if authority.contains(|c: char| matches!(c, '/' | '?' | '#') || c.is_whitespace()) {
        return Err(bad("is more than scheme, host and port"));
    }
    let host = authority.to_ascii_lowercase();
    // An IPv6 address has colons of its own, inside brackets.
    let has_port =
        host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty());
    Ok(if has_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") })
}

/// A service as it is written in addresses: without a port that goes without saying, which some services sign otherwise.
pub(super) fn without_usual_port(service: &str) -> &str {
    let usual = if service.starts_with("https://") { ":443" } else { ":80" };
    service.strip_suffix(usual).unwrap_or(service)
}

/// Whether the connection goes by a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    /// As `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
    Environment,
    /// Never: the identity services of a machine are on the machine.
    None,
}

/// Connections to one service. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    connector: SharedHttpConnector,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(super) struct Answer(HttpResponse);

impl Wire {
    /// Connections to be opened when the first request is sent.
    pub(super) fn open(ca_pem: Option<&[u8]>, encrypted: bool, proxy: Proxy) -> Result<Wire, StoreError> {
        let mut builder: ConnectorBuilder<_> = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(trust(ca_pem, encrypted)?)
            .proxy_config(match proxy {
                Proxy::Environment => ProxyConfig::from_env(),
                Proxy::None => ProxyConfig::disabled(),
            });
        builder.set_connector_settings(Some(HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build()));
        builder.set_sleep_impl(default_async_sleep());
        Ok(Wire::over(SharedHttpConnector::new(builder.build())))
    }

    /// Connections of the caller's.
    pub(super) fn over(connector: SharedHttpConnector) -> Wire {
        Wire { connector }
    }

    /// Sends a request; an answer of any status is an answer.
    pub(super) async fn call(&self, request: http::Request<Bytes>) -> Result<Answer, Failure> {
        let request = HttpRequest::try_from(request.map(SdkBody::from))
            .map_err(|error| Failure::new(Kind::Rejected, "Construction", chain(&error)))?;
        match self.connector.call(request).await {
            Ok(answer) => Ok(Answer(answer)),
            Err(error) => Err(dispatch_failure(chain(&error))),
        }
    }
}

/// A request as it is sent.
pub(super) fn request(
    method: Method,
    uri: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
) -> Result<http::Request<Bytes>, Failure> {
    // Writes without content have to say so.
    let mut request = http::Request::builder().method(method).uri(uri).header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(body).map_err(|error| Failure::new(Kind::Rejected, "Construction", error.to_string()))
}

impl Answer {
    /// This, if it is a success. What else it says is judged by its status and its body.
    pub(super) async fn success(
        self,
        limit: Duration,
        judge: impl FnOnce(u16, &[u8]) -> Failure,
    ) -> Result<Answer, Failure> {
        let (status, after) = (self.status(), self.after());
        if status < 300 {
            return Ok(self);
        }
        // The body only says it in other words.
        let text = self.text(limit).await.unwrap_or_default();
        Err(Failure { after, ..judge(status, &text) })
    }

    pub(super) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        self.0.headers().get(name)
    }

    /// How long the service asks not to be asked again (`Retry-After` in seconds).
    pub(super) fn after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }

    /// The `ETag` header.
    pub(super) fn etag(&self) -> Result<String, Failure> {
        self.header("etag").map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
    }

    /// The answer to a request for a range. `version` names the header that tells the version.
    pub(super) fn opened(self, version: &'static str) -> Opened {
        Opened {
            announced: self.header("content-length").and_then(|length| length.parse().ok()),
            etag: self.header(version).map(bare_etag),
            range: self.header("content-range").map(str::to_owned),
            body: ByteStream::new(self.0.into_body()),
        }
    }

    /// The whole body of an answer that moves no content.
    pub(super) async fn text(self, limit: Duration) -> Result<Bytes, Failure> {
        let mut text = BytesMut::new();
        collect(limit, ByteStream::new(self.0.into_body()), 0, LONGEST_CONTROL, &mut text).await?;
        Ok(text.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_goes_without_saying_is_left_out() {
        assert_eq!(without_usual_port("https://h:443"), "https://h");
        assert_eq!(without_usual_port("http://h:443"), "http://h:443");
        assert_eq!(without_usual_port("http://h:80"), "http://h");
    }

    #[test]
    fn a_certificate_that_is_none_is_refused() {
        let broken = b"-----BEGIN CERTIFICATE-----\naGFsbG8=\n-----END CERTIFICATE-----\n".to_vec();
        for pem in [b"hallo".to_vec(), Vec::new(), broken] {
            assert!(matches!(Wire::open(Some(&pem), true, Proxy::None), Err(StoreError::Setup(_))));
        }
    }
}
