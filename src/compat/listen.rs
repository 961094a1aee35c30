//! Connections: accepted, encrypted where asked for, bounded in number and in patience, ended in order.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;

/// Pause after a failed accept: the process has no file handles left.
const BREATH: Duration = Duration::from_millis(100);
/// How much longer than the tasks they may wait for open connections have for their last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Largest head of a request.
const HEAD: usize = 32 << 10;

/// Certificate and key, PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain, the server's first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {cause}; name another with --port and --address")]
    Bind {
        /// Address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("{path}: {cause}")]
    Tls {
        /// File.
        path: String,
        /// Why.
        cause: String,
    },
}

impl ListenError {
    /// A person has to change something.
    pub fn class(&self) -> crate::exit::Class {
        match self {
            ListenError::Bind { .. } | ListenError::Tls { .. } => crate::exit::Class::Configuration,
        }
    }
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsFiles>,
    acceptor: Option<Acceptor>,
}

/// Hides what has no `Debug`.
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl Listening {
    /// Takes the address and reads the certificate.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn on(address: SocketAddr, tls: Option<TlsFiles>) -> Result<Listening, ListenError> {
        let acceptor = tls.as_ref().map(acceptor).transpose()?.map(Acceptor);
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(|cause| ListenError::Bind { address, cause })?;
        Ok(Listening { listener, address, tls, acceptor })
    }

    /// The address, with the port the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Answers until `stop`, then lets answers under way end.
    pub async fn serve(self, router: Router, limits: Limits, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let permit = permits.clone().acquire_owned().await.ok();
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accepted => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let (router, stop) = (router.clone(), stop.clone());
            let acceptor = self.acceptor.as_ref().map(|acceptor| acceptor.0.clone());
            connections.spawn(async move {
                match acceptor {
                    None => answer(stream, router, limits, stop).await,
                    Some(acceptor) => {
                        let shaken = tokio::time::timeout(limits.handshake_time, acceptor.accept(stream)).await;
                        if let Ok(Ok(stream)) = shaken {
                            answer(stream, router, limits, stop).await;
                        }
                    }
                }
                drop(permit);
            });
        }
        drop(self.listener);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limits.stop_time + LAST_ANSWERS, all).await;
    }
}

/// Serves one connection to its end. A client that misbehaves harms its own connection only.
async fn answer<S>(stream: S, router: Router, limits: Limits, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ListenError> {
    let fault = |path: &Path, cause: String| ListenError::Tls { path: path.display().to_string(), cause };
    let (certificate, key) = (files.certificate.as_path(), files.key.as_path());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(certificate, format!("no certificate can be read from it: {error}")))?;
    // The cause of a bad key could quote it.
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| fault(key, "no private key can be read from it: name a PEM file the server may read".into()))?;
    let unusable = |error: rustls::Error| fault(certificate, format!("it cannot be used with the key: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
