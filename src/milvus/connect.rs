//! Opening the connection: address, TLS, keep-alive.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::error::{CallSite, MilvusError, words};
use super::options::{ConnectOptions, Tls};
use super::transport::not_connected;

/// For one try to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Servers drop clients that ping more often than every 5 s (milvus-wire.md 1.6).
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Opens the connection; tries an unreachable server again for [`ConnectOptions::connect_patience`].
pub(super) async fn connect(options: &ConnectOptions) -> Result<Channel, MilvusError> {
    let endpoint = endpoint(options)?;
    let started = Instant::now();
    let attempt = || async { endpoint.connect().await.map_err(|error| not_connected(&error, connect_site(options))) };
    attempt
        .retry(backoff())
        .when(|error| matches!(error, MilvusError::Unreachable { .. }))
        .adjust(|_, pause| pause.filter(|pause| started.elapsed() + *pause <= options.connect_patience))
        .await
}

fn endpoint(options: &ConnectOptions) -> Result<Endpoint, MilvusError> {
    let server = options.server();
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{server}"))
        .map_err(|error| MilvusError::Setup { server, cause: words(&error.to_string()) })?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    match &options.tls {
        None => Ok(endpoint),
        Some(tls) => endpoint
            .tls_config(tls_config(tls))
            .map_err(|error| not_connected(&error, connect_site(options)))
            .map_err(as_tls),
    }
}

/// Certificates that cannot be read are at fault, not the network.
fn as_tls(error: MilvusError) -> MilvusError {
    match error {
        MilvusError::Unreachable { site, cause } => MilvusError::Tls { site, cause },
        other => other,
    }
}

fn tls_config(tls: &Tls) -> ClientTlsConfig {
    let mut config = match &tls.ca_pem {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    if let Some((certificate, key)) = &tls.client {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    config
}

fn connect_site(options: &ConnectOptions) -> Box<CallSite> {
    Box::new(CallSite { server: options.server(), call: "connect", subject: String::new() })
}

/// A connection that opens and ends at the first call is, unless the server is just stopping, the other side's refusal
/// to speak to us: tell what that usually is.
pub(super) fn closed_at_once(error: MilvusError, tls: Option<&Tls>) -> MilvusError {
    let MilvusError::Unreachable { site, cause } = error else {
        return error;
    };
    let hint = match tls {
        None => "a server that demands TLS does this, and a port that is not gRPC",
        Some(Tls { client: None, .. }) => "a server that demands a client certificate does this",
        Some(_) => "a server that does not accept the client certificate does this",
    };
    MilvusError::Unreachable { site, cause: format!("{cause} ({hint})") }
}

/// Pauses between tries, without an end of their own.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(4))
        .with_jitter()
        .without_max_times()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Class;

    #[test]
    fn a_host_that_is_none_is_refused_by_name() {
        let error = endpoint(&ConnectOptions::new("not a host", 19530)).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(error.to_string().contains("not a host:19530"), "{error}");
    }

    #[test]
    fn an_unreadable_client_key_is_a_setting() {
        let tls = Tls { client: Some((b"no pem".to_vec(), b"no pem".to_vec())), ..Tls::default() };
        let error = endpoint(&ConnectOptions { tls: Some(tls), ..ConnectOptions::new("milvus", 19530) }).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("TLSUnresolved", Class::Configuration), "{error}");
    }
}
