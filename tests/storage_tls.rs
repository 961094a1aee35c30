//! Certificates: an S3 endpoint whose authority is one's own. Talks over loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use milvus_backup_operator::storage::{Checksums, Keys, RetryPolicy, S3Config, S3Store, Store, StoreError};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const NO_SUCH_KEY: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 57\r\nConnection: close\r\n\r\n\
                           <Error><Code>NoSuchKey</Code><Message>m</Message></Error>";

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// Answers every request that gets through the handshake with NoSuchKey; ends with the set it runs in.
async fn serve(certificate: &CertifiedKey<rcgen::KeyPair>, tasks: &mut JoinSet<()>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let Ok(mut connection) = acceptor.accept(connection).await else {
                continue;
            };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await.is_ok_and(|read| read > 0)
            {
            }
            let _ = connection.write_all(NO_SUCH_KEY.as_bytes()).await;
            let _ = connection.shutdown().await;
        }
    });
    port
}

async fn get(port: u16, ca: &CertifiedKey<rcgen::KeyPair>) -> StoreError {
    let config = S3Config {
        endpoint: Some(format!("https://localhost:{port}")),
        region: String::new(),
        bucket: "b".into(),
        path_style: true,
        keys: Keys::Static { access_key: "a".into(), secret_key: "s".into(), session_token: None },
        ca_pem: Some(ca.cert.pem().into_bytes()),
        checksums: Checksums::default(),
    };
    let policy = RetryPolicy { tries: 1, ..RetryPolicy::default() };
    let store = S3Store::open(config).await.unwrap().with_retry(policy);
    store.get("k").await.unwrap_err()
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_no_other() {
    let (own, other) = (certificate(), certificate());
    let mut tasks = JoinSet::new();
    let port = serve(&own, &mut tasks).await;
    let error = get(port, &own).await;
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    let error = get(port, &other).await;
    assert!(matches!(&error, StoreError::Setup(cause) if cause.contains("not trusted")), "{error}");
}
