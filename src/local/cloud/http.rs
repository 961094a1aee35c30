//! One request over HTTP/1.1 on a connection of its own, encrypted unless the service is on this machine; bounded in time and size.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::answer::{Cause, Failure};

/// Both answers are a few hundred bytes.
const ANSWER_LIMIT: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request with its answer: giving out a volume takes about 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Where requests go.
pub(super) struct Service {
    address: Address,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
}

impl fmt::Display for Service {
    /// `host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port, .. } = &self.address;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl Service {
    /// At a URL. Nothing is sent yet.
    pub(super) fn at(url: &str) -> Result<Service, String> {
        let address = Address::parse(url)?;
        let tls = match address.encrypted {
            true => Some(encryption(&address.host)?),
            false => None,
        };
        Ok(Service { address, tls })
    }

    /// Comes before every path; without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.address.base
    }

    /// Sends one request and reads the whole answer.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
        let not_done = |text: String| Failure { cause: Cause::NotDone(None), text };
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, self.connect())
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
        tokio::time::timeout(REQUEST_TIMEOUT, answered)
            .await
            .map_err(|_| Failure::new(Cause::Doubtful, format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())))?
            .map_err(|text| Failure::new(Cause::Doubtful, text))
    }

    async fn connect(&self) -> std::io::Result<Connection> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        Ok(match &self.tls {
            None => Connection::Plain(stream),
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                Connection::Encrypted(Box::new(connector.connect(name.clone(), stream).await?))
            }
        })
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

fn is_about_trust(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// A URL taken apart.
pub(super) struct Address {
    encrypted: bool,
    pub(super) host: String,
    port: u16,
    base: String,
}

impl Address {
    /// Takes `http://` only for this machine: keys and rows must not travel unencrypted.
    pub(super) fn parse(url: &str) -> Result<Address, String> {
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
