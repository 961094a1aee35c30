//! Where the keys come from that sign requests to S3. How long they are used is a matter of their ring (`login`).

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, ProvideCredentials, Region, SharedCredentialsProvider};

use crate::storage::failure::{Failure, Kind, chain};
use crate::storage::login::{Login, Ring, Source, read};

/// Where the keys of a bucket come from.
#[derive(Clone)]
pub enum Keys {
    /// Given.
    Static {
        /// Access key id.
        access_key: String,
        /// Secret key.
        secret_key: String,
        /// Session token of temporary keys.
        session_token: Option<String>,
    },
    /// Files with one value each; read before the first request, and again when the service refuses what they held.
    Files {
        /// File with the access key id.
        access_key: PathBuf,
        /// File with the secret key.
        secret_key: PathBuf,
        /// File with the session token of temporary keys.
        session_token: Option<PathBuf>,
    },
    /// The environment's own identity: variables, web identity (IRSA), pod identity, instance role. Renewed by itself
    /// before it expires, and when the service refuses it.
    Ambient,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::Static { session_token, .. } => f
                .debug_struct("Static")
                .field("secret_key", &"redacted")
                .field("temporary", &session_token.is_some())
                .finish_non_exhaustive(),
            Keys::Files { access_key, secret_key, session_token } => f
                .debug_struct("Files")
                .field("access_key", access_key)
                .field("secret_key", secret_key)
                .field("session_token", session_token)
                .finish(),
            Keys::Ambient => f.write_str("Ambient"),
        }
    }
}

/// The ring of these keys; only for ambient ones it is looked which source there is.
pub(super) async fn ring(keys: &Keys, region: &str) -> Ring {
    match keys.clone() {
        Keys::Static { access_key, secret_key, session_token } => {
            Ring::fixed(Login::AccessKeys(Credentials::new(access_key, secret_key, session_token, None, "static")))
        }
        Keys::Files { access_key, secret_key, session_token } => {
            Ring::of(KeyFiles { access_key, secret_key, session_token })
        }
        Keys::Ambient => {
            // The identity services are not the bucket's endpoint: they get the library's own transport.
            let ambient = aws_config::defaults(BehaviorVersion::v2026_01_12());
            let ambient = ambient.region(Region::new(region.to_owned())).load().await;
            ambient.credentials_provider().map_or_else(|| Ring::fixed(Login::Anonymous), |keys| Ring::of(Ambient(keys)))
        }
    }
}

struct KeyFiles {
    access_key: PathBuf,
    secret_key: PathBuf,
    session_token: Option<PathBuf>,
}

#[async_trait]
impl Source for KeyFiles {
    async fn login(&self) -> Result<Login, Failure> {
        let token = match &self.session_token {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let (access_key, secret_key) = (read(&self.access_key).await?, read(&self.secret_key).await?);
        Ok(Login::AccessKeys(Credentials::new(access_key, secret_key, token, None, "files")))
    }
}

struct Ambient(SharedCredentialsProvider);

#[async_trait]
impl Source for Ambient {
    async fn login(&self) -> Result<Login, Failure> {
        let keys = self.0.provide_credentials().await;
        keys.map(Login::AccessKeys).map_err(|error| Failure::new(Kind::Passing, "NoCredentials", chain(&error)))
    }
}

/// For the library that signs. Its cache would keep keys until they expire; the ring lets go of refused ones.
impl ProvideCredentials for Ring {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            match self.login().await {
                Ok(Login::AccessKeys(keys)) => Ok(keys),
                Ok(_) => Err(CredentialsError::not_loaded("there are no keys")),
                // What it means is told by its words again (`failure::dispatch_failure`).
                Err(failure) if failure.kind == Kind::Setup => {
                    Err(CredentialsError::invalid_configuration(failure.cause))
                }
                Err(failure) => Err(CredentialsError::provider_error(failure.cause)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::storage::failure::UNREADABLE;

    async fn files(folder: &Path) -> Ring {
        let keys = Keys::Files {
            access_key: folder.join("access"),
            secret_key: folder.join("secret"),
            session_token: Some(folder.join("token")),
        };
        ring(&keys, "us-east-1").await
    }

    async fn keys(ring: &Ring) -> Credentials {
        ring.provide_credentials().await.unwrap()
    }

    fn write(folder: &Path, secret: &str) {
        for (name, value) in [("access", "AKIDEXAMPLE"), ("secret", secret), ("token", "t")] {
            std::fs::write(folder.join(name), format!("{value}\n")).unwrap();
        }
    }

    #[tokio::test]
    async fn files_are_read_once_and_again_only_after_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one");
        let ring = files(folder.path()).await;
        assert_eq!(keys(&ring).await.secret_access_key(), "one");
        write(folder.path(), "two");
        let still = keys(&ring).await;
        assert_eq!((still.secret_access_key(), still.session_token()), ("one", Some("t")));
        let seen = ring.changes().await;
        assert!(ring.renew(seen).await);
        assert_eq!(keys(&ring).await.secret_access_key(), "two");
        // Another request that was signed with the old keys needs no further look.
        std::fs::remove_file(folder.path().join("secret")).unwrap();
        assert!(ring.renew(seen).await);
        assert!(!ring.renew(seen + 1).await);
    }

    #[tokio::test]
    async fn keys_that_did_not_change_are_not_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one");
        let ring = files(folder.path()).await;
        keys(&ring).await;
        assert!(!ring.renew(ring.changes().await).await);
        let given = Keys::Static { access_key: "a".into(), secret_key: "s".into(), session_token: None };
        assert!(!super::ring(&given, "r").await.renew(0).await);
    }

    /// Keys k0, k1, ... of so long a life.
    #[derive(Debug)]
    struct Short(AtomicU64, Duration);

    impl ProvideCredentials for Short {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let nth = self.0.fetch_add(1, Ordering::SeqCst);
            let expiry = SystemTime::now() + self.1;
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("k{nth}"), "s", None, Some(expiry), "test")))
        }
    }

    #[tokio::test]
    async fn keys_of_the_environment_are_renewed_before_they_expire() {
        for (hours, expected) in [(1, "k0"), (0, "k1")] {
            let short = Short(AtomicU64::default(), Duration::from_secs(60 + hours * 3600));
            let ring = Ring::of(Ambient(SharedCredentialsProvider::new(short)));
            keys(&ring).await;
            assert_eq!(keys(&ring).await.access_key_id(), expected);
        }
    }

    #[derive(Debug)]
    struct Nobody;

    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("no credentials found in chain")))
        }
    }

    #[tokio::test]
    async fn an_environment_without_keys_is_told_in_the_words_of_its_source() {
        let ring = Ring::of(Ambient(SharedCredentialsProvider::new(Nobody)));
        let error = ring.provide_credentials().await.unwrap_err();
        assert!(chain(&error).contains("no credentials found in chain"), "{}", chain(&error));
    }

    #[tokio::test]
    async fn a_missing_file_is_named_and_nothing_of_the_others_shown() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "very-secret");
        std::fs::remove_file(folder.path().join("token")).unwrap();
        let ring = files(folder.path()).await;
        let error = format!("{:?}", ring.provide_credentials().await.unwrap_err());
        assert!(error.contains(UNREADABLE) && error.contains("token") && !error.contains("very-secret"), "{error}");
        assert!(!format!("{ring:?}").contains("secret"));
    }
}
