//! The keys that sign requests: where they come from, how long they are used, and what happens when they are refused.
//!
//! The library's own cache keeps keys until they expire. A Secret that was changed and a session that was ended early are
//! noticed only when the service refuses what was signed; then the source is asked again, at most once per refusal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, ProvideCredentials, Region, SharedCredentialsProvider};
use tokio::sync::Mutex;

use crate::storage::failure::UNREADABLE;

/// Keys are renewed so long before they expire.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long an identity service or a file may take.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// The keys in use and their source.
pub(super) struct Keyring {
    source: Source,
    held: Mutex<Held>,
}

enum Source {
    Fixed,
    Files { access_key: PathBuf, secret_key: PathBuf, session_token: Option<PathBuf> },
    Environment(SharedCredentialsProvider),
}

#[derive(Default)]
struct Held {
    keys: Option<Credentials>,
    /// Counts how often other keys were found.
    changes: u64,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    /// Keys from this source; only for ambient ones it is looked which source there is.
    pub(super) async fn of(keys: &Keys, region: &str) -> Keyring {
        let mut held = Held::default();
        let source = match keys.clone() {
            Keys::Static { access_key, secret_key, session_token } => {
                held.keys = Some(Credentials::new(access_key, secret_key, session_token, None, "static"));
                Source::Fixed
            }
            Keys::Files { access_key, secret_key, session_token } => {
                Source::Files { access_key, secret_key, session_token }
            }
            Keys::Ambient => {
                // The identity services are not the bucket's endpoint: they get the library's own transport.
                let ambient = aws_config::defaults(BehaviorVersion::v2026_01_12())
                    .region(Region::new(region.to_owned()))
                    .load()
                    .await;
                ambient.credentials_provider().map_or(Source::Fixed, Source::Environment)
            }
        };
        Keyring { source, held: Mutex::new(held) }
    }

    /// How often other keys were found so far.
    pub(super) async fn changes(&self) -> u64 {
        self.held.lock().await.changes
    }

    /// Asks the source again after the service has refused keys that were taken when there had been `changes`. Answers
    /// whether there are others now.
    pub(super) async fn renew(&self, changes: u64) -> bool {
        let mut held = self.held.lock().await;
        if held.changes != changes {
            return true;
        }
        match self.fetch().await {
            Ok(keys) if held.keys.as_ref().is_none_or(|old| !is_same(old, &keys)) => {
                tracing::info!("the store refused the keys; there are others now");
                *held = Held { keys: Some(keys), changes: changes + 1 };
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(%error, "the store refused the keys, and others cannot be had");
                false
            }
        }
    }

    async fn keys(&self) -> Result<Credentials, CredentialsError> {
        let mut held = self.held.lock().await;
        let lasts = |keys: &Credentials, margin: Duration| {
            keys.expiry().is_none_or(|expiry| expiry > SystemTime::now() + margin)
        };
        if let Some(keys) = held.keys.as_ref().filter(|keys| lasts(keys, MARGIN)) {
            return Ok(keys.clone());
        }
        match (self.fetch().await, &held.keys) {
            (Ok(keys), _) => {
                held.keys = Some(keys.clone());
                Ok(keys)
            }
            // The last minutes of the old ones may be enough for the identity service to come back.
            (Err(error), Some(keys)) if lasts(keys, Duration::ZERO) => {
                tracing::warn!(%error, "the keys expire soon and cannot be renewed yet");
                Ok(keys.clone())
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn fetch(&self) -> Result<Credentials, CredentialsError> {
        match tokio::time::timeout(PATIENCE, self.ask()).await {
            Ok(keys) => keys,
            Err(_) => Err(CredentialsError::provider_timed_out(PATIENCE)),
        }
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        match &self.source {
            Source::Fixed => Err(CredentialsError::not_loaded("there are no other keys")),
            Source::Files { access_key, secret_key, session_token } => {
                let token = match session_token {
                    Some(path) => Some(read(path).await?),
                    None => None,
                };
                Ok(Credentials::new(read(access_key).await?, read(secret_key).await?, token, None, "files"))
            }
            Source::Environment(chain) => chain.provide_credentials().await,
        }
    }
}

impl ProvideCredentials for Keyring {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    one.access_key_id() == other.access_key_id()
        && one.secret_access_key() == other.secret_access_key()
        && one.session_token() == other.session_token()
}

/// A value, without the line end that editors add.
async fn read(path: &Path) -> Result<String, CredentialsError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        CredentialsError::invalid_configuration(format!("{UNREADABLE} {}: {error}", path.display()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn files(folder: &Path) -> Keyring {
        let keys = Keys::Files {
            access_key: folder.join("access"),
            secret_key: folder.join("secret"),
            session_token: Some(folder.join("token")),
        };
        Keyring::of(&keys, "us-east-1").await
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
        assert_eq!(ring.keys().await.unwrap().secret_access_key(), "one");
        write(folder.path(), "two");
        let keys = ring.keys().await.unwrap();
        assert_eq!((keys.secret_access_key(), keys.session_token()), ("one", Some("t")));
        let seen = ring.changes().await;
        assert!(ring.renew(seen).await);
        assert_eq!(ring.keys().await.unwrap().secret_access_key(), "two");
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
        ring.keys().await.unwrap();
        assert!(!ring.renew(ring.changes().await).await);
        let given = Keys::Static { access_key: "a".into(), secret_key: "s".into(), session_token: None };
        assert!(!Keyring::of(&given, "r").await.renew(0).await);
    }

    #[derive(Debug)]
    struct Short(std::sync::atomic::AtomicU64, Duration);

    impl ProvideCredentials for Short {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let nth = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let expiry = SystemTime::now() + self.1;
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("k{nth}"), "s", None, Some(expiry), "test")))
        }
    }

    #[tokio::test]
    async fn keys_are_renewed_before_they_expire() {
        for (lasts, expected) in [(MARGIN * 2, "k0"), (MARGIN / 2, "k1")] {
            let source = Source::Environment(SharedCredentialsProvider::new(Short(Default::default(), lasts)));
            let ring = Keyring { source, held: Mutex::default() };
            ring.keys().await.unwrap();
            assert_eq!(ring.keys().await.unwrap().access_key_id(), expected);
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named_and_nothing_of_the_others_shown() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "very-secret");
        std::fs::remove_file(folder.path().join("token")).unwrap();
        let ring = files(folder.path()).await;
        let error = format!("{:?}", ring.keys().await.unwrap_err());
        assert!(error.contains(UNREADABLE) && error.contains("token") && !error.contains("very-secret"), "{error}");
        assert!(!format!("{ring:?}").contains("secret"));
    }
}
