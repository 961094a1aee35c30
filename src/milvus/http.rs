//! Plain HTTP/1.1 to the server's REST and management ports: one connection for each request, one answer, bounded.
//!
//! Speaks of bytes only; what an answer means is `rest` and `management`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::options::Tls;

/// Largest answer read: a description of some hundred segments is far below.
const ANSWER_LIMIT: usize = 64 << 20;
/// For the connection itself.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where requests go.
#[derive(Clone)]
pub(super) struct Http {
    host: String,
    port: u16,
    /// Comes before every path; without a slash at its end.
    base: String,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Http({})", self.authority())
    }
}

/// A request without a whole answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// The server has not seen it.
    pub(super) never_sent: bool,
    /// Why.
    pub(super) cause: String,
}

impl Http {
    /// The port of gRPC, which serves REST too unless `proxy.http.port` sets another one.
    pub(super) fn beside_grpc(
        host: &str,
        port: u16,
        tls: Option<&Tls>,
        authorization: Option<HeaderValue>,
    ) -> Result<Http, String> {
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = match tls {
            None => None,
            Some(tls) => Some((client_config(tls)?, server_name(tls.server_name.as_deref().unwrap_or(&host))?)),
        };
        Ok(Http { host, port, base: String::new(), tls, authorization })
    }

    /// `http(s)://host:port/path`.
    pub(super) fn at(url: &str, tls: Option<&Tls>, authorization: Option<HeaderValue>) -> Result<Http, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url:?} is no URL: it begins with neither http:// nor https://")),
        };
        let host = uri.host().ok_or_else(|| format!("{url:?} names no host"))?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let default = Tls::default();
        let tls = match encrypted {
            false => None,
            true => {
                let tls = tls.unwrap_or(&default);
                Some((client_config(tls)?, server_name(&host)?))
            }
        };
        Ok(Http { host, port, base: uri.path().trim_end_matches('/').to_owned(), tls, authorization })
    }

    /// `host:port`.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Sends one request and reads the whole answer. A body makes it a POST of JSON.
    pub(super) async fn send(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Bytes>,
    ) -> Result<(StatusCode, Bytes), Broken> {
        let request = self.request(path, headers, body).map_err(|cause| Broken { never_sent: true, cause })?;
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .map_err(|_| Broken { never_sent: true, cause: "no connection in time".to_owned() })?
            .map_err(|error| Broken { never_sent: true, cause: error.to_string() })?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some((config, name)) => {
                let stream = TlsConnector::from(config.clone())
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| Broken { never_sent: true, cause: error.to_string() })?;
                exchange(stream, request).await
            }
        }
    }

    fn request(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(if body.is_some() { Method::POST } else { Method::GET })
            .uri(format!("{}{path}", self.base))
            .header(HOST, self.authority());
        if let Some(login) = &self.authorization {
            request = request.header(AUTHORIZATION, login);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(body.unwrap_or_default())).map_err(|error| error.to_string())
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Broken { never_sent: false, cause: error.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| Broken { never_sent: false, cause: error.to_string() })?;
        Ok((status, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    // The connection works only while it is asked to; it may end before the answer has been picked up.
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|error| format!("{name:?} is no server name: {error}"))
}

fn client_config(tls: &Tls) -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    match &tls.ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate =
                    certificate.map_err(|error| format!("the certificate authority is no PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("the certificate authority is unusable: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let chain = chain.map_err(|error| format!("the client certificate is no PEM: {error}"))?;
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the client key is no PEM: {error}"))?;
            config.with_client_auth_cert(chain, key).map_err(|error| format!("the client key does not fit: {error}"))?
        }
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("http://milvus:9091", "milvus:9091", "")]
    #[case("http://milvus", "milvus:80", "")]
    #[case("https://[fd00::1]:8443/milvus/", "[fd00::1]:8443", "/milvus")]
    fn an_address_is_taken_apart(#[case] url: &str, #[case] authority: &str, #[case] base: &str) {
        let http = Http::at(url, None, None).unwrap();
        assert_eq!((http.authority().as_str(), http.base.as_str()), (authority, base));
    }

    #[rstest]
    #[case("milvus:9091")]
    #[case("ftp://milvus")]
    #[case("http://")]
    fn what_is_no_address_is_refused_by_name(#[case] url: &str) {
        assert!(Http::at(url, None, None).unwrap_err().contains(url), "{url}");
    }

    #[tokio::test]
    async fn a_request_that_reached_nobody_is_known_not_to_be_sent() {
        let http = Http::at("http://127.0.0.1:1", None, None).unwrap();
        assert!(http.send("/x", &[], None).await.unwrap_err().never_sent);
    }
}
