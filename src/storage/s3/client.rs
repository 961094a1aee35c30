//! From settings to a client: endpoint, keys, certificates, timeouts.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, IdentityCache, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};

use super::keys::Keys;
use crate::storage::login::Ring;
use crate::storage::transport::{CONNECT_TIMEOUT, service_of, trust};
use crate::storage::{Place, StoreError};

/// Where nothing says which region; every service but AWS takes it for any.
const DEFAULT_REGION: &str = "us-east-1";

/// All it takes to open a bucket. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// `http(s)://host[:port]`; none for AWS itself.
    pub endpoint: Option<String>,
    /// Region; empty means `us-east-1`.
    pub region: String,
    /// Bucket name.
    pub bucket: String,
    /// `true` addresses `endpoint/bucket/key`, `false` `bucket.endpoint/key`.
    pub path_style: bool,
    /// Where the keys come from.
    pub keys: Keys,
    /// Certificates (PEM) of the authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Checksums of requests and answers.
    pub checksums: Checksums,
}

/// When requests carry checksums (CRC32, in trailers) and answers are checked against theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checksums {
    /// Only where S3 asks for them: trailers are unknown to many services that speak S3.
    #[default]
    WhenRequired,
    /// Wherever S3 knows them.
    WhenSupported,
}

impl S3Config {
    pub(super) fn region(&self) -> &str {
        if self.region.is_empty() { DEFAULT_REGION } else { &self.region }
    }

    /// Where the bucket is. The service is spelled one way, so that two settings of one service compare equal.
    pub(super) fn place(&self) -> Result<Place, StoreError> {
        if self.bucket.is_empty() {
            return Err(StoreError::Setup("no bucket is named".into()));
        }
        let service = match &self.endpoint {
            Some(endpoint) => service_of(endpoint)?,
            None => format!("https://s3.{}.amazonaws.com:443", self.region()),
        };
        Ok(Place { service, region: self.region().into(), bucket: self.bucket.clone() })
    }

    /// A client that speaks over `transport`. Retries, time limits of attempts and the watch over stalled bodies are the
    /// caller's: the library's own would repeat what must not be repeated and cut long silent copies.
    pub(super) fn client(&self, transport: SharedHttpClient, ring: Arc<Ring>) -> Client {
        let (sent, checked) = match self.checksums {
            Checksums::WhenRequired => {
                (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
            }
            Checksums::WhenSupported => {
                (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
            }
        };
        let keys: Arc<dyn ProvideCredentials> = ring;
        let mut builder = Config::builder()
            .http_client(transport)
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region().to_owned()))
            .force_path_style(self.path_style)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(sent)
            .response_checksum_validation(checked)
            // The ring keeps the keys itself, and lets go of refused ones.
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(SharedCredentialsProvider::new(keys));
        builder.set_endpoint_url(self.endpoint.clone());
        Client::from_conf(builder.build())
    }

    /// Connections to the endpoint. Obeys `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    pub(super) fn transport(&self) -> Result<SharedHttpClient, StoreError> {
        let plain = self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let tls = trust(self.ca_pem.as_deref(), !plain)?;
        Ok(Builder::new().build_with_connector_fn(move |settings, components| {
            let mut builder = ConnectorBuilder::default()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .tls_context(tls.clone())
                .proxy_config(ProxyConfig::from_env());
            builder.set_connector_settings(settings.cloned());
            builder.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
            builder.build()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: Option<&str>) -> S3Config {
        S3Config {
            endpoint: endpoint.map(str::to_owned),
            region: String::new(),
            bucket: "b".into(),
            path_style: true,
            keys: Keys::Static {
                access_key: "AKIDEXAMPLE".into(),
                secret_key: "very-secret".into(),
                session_token: Some("token-secret".into()),
            },
            ca_pem: None,
            checksums: Checksums::default(),
        }
    }

    #[test]
    fn one_service_is_spelled_one_way() {
        let service = |endpoint| config(Some(endpoint)).place().unwrap().service;
        assert_eq!(service("HTTP://MinIO.example/"), "http://minio.example:80");
        assert_eq!(service("https://s3.example"), "https://s3.example:443");
        assert_eq!(service("http://[::1]:9000"), "http://[::1]:9000");
        assert_eq!(service("http://[::1]"), "http://[::1]:80");
        assert_eq!(config(None).place().unwrap().service, "https://s3.us-east-1.amazonaws.com:443");
    }

    #[test]
    fn an_endpoint_that_cannot_be_one_is_refused_without_repeating_it() {
        for endpoint in ["minio:9000", "ftp://h", "http://", "http://user:pw@h", "http://h/path", "http://a b"] {
            let error = config(Some(endpoint)).place().unwrap_err();
            assert!(matches!(error, StoreError::Setup(_)), "{endpoint}: {error}");
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }

    #[test]
    fn settings_show_no_secret() {
        let shown = format!("{:?}", config(None));
        assert!(!shown.contains("secret-") && !shown.contains("very-") && !shown.contains("token-"), "{shown}");
        assert!(!shown.contains("AKID"), "{shown}");
    }

    #[test]
    fn a_certificate_that_is_none_is_refused() {
        let broken = b"-----BEGIN CERTIFICATE-----\naGFsbG8=\n-----END CERTIFICATE-----\n".to_vec();
        for pem in [b"hallo".to_vec(), Vec::new(), broken] {
            let config = S3Config { ca_pem: Some(pem), ..config(Some("https://h")) };
            assert!(matches!(config.transport(), Err(StoreError::Setup(_))));
        }
    }
}
