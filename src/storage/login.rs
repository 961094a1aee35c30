//! What authorizes requests: where it comes from, how long it is used, and what happens when it is refused.
//!
//! A Secret that was changed and a session that was ended early are noticed only when the service refuses a request; then
//! the source is asked again, at most once per refusal.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::config::Credentials;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::failure::{Failure, Kind, UNREADABLE, is_passing_status};
use super::transport::Wire;

/// Logins are renewed so long before they expire.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long an identity service or a file may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of what an identity service says about a refusal.
const LONGEST_REASON: usize = 300;

/// Authorizes a request.
#[derive(Clone)]
pub(super) enum Login {
    /// Keys of S3: sign each request.
    AccessKeys(Credentials),
    /// Key of an Azure account: signs each request.
    AccountKey {
        /// Account.
        account: String,
        /// Its key, decoded.
        key: Vec<u8>,
    },
    /// Sent along with each request.
    Bearer {
        /// The token.
        token: String,
        /// When it ends.
        expires: SystemTime,
    },
    /// Nothing is sent along: emulators.
    Anonymous,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::AccessKeys(_) => "AccessKeys",
            Login::AccountKey { .. } => "AccountKey",
            Login::Bearer { .. } => "Bearer",
            Login::Anonymous => "Anonymous",
        })
    }
}

impl Login {
    fn lasts(&self, margin: Duration) -> bool {
        let expires = match self {
            Login::AccessKeys(keys) => keys.expiry(),
            Login::Bearer { expires, .. } => Some(*expires),
            Login::AccountKey { .. } | Login::Anonymous => None,
        };
        expires.is_none_or(|expires| expires > SystemTime::now() + margin)
    }

    /// Whether the service cannot tell one from the other. When they expire is no part of it.
    fn is(&self, other: &Login) -> bool {
        match (self, other) {
            (Login::AccessKeys(one), Login::AccessKeys(other)) => {
                one.access_key_id() == other.access_key_id()
                    && one.secret_access_key() == other.secret_access_key()
                    && one.session_token() == other.session_token()
            }
            (Login::AccountKey { account, key }, Login::AccountKey { account: other, key: others }) => {
                account == other && key == others
            }
            (Login::Bearer { token, .. }, Login::Bearer { token: other, .. }) => token == other,
            (Login::Anonymous, Login::Anonymous) => true,
            _ => false,
        }
    }
}

/// Where logins come from.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// A fresh one.
    async fn login(&self) -> Result<Login, Failure>;
}

/// The login in use and its source.
pub(super) struct Ring {
    /// None where it was given and there is no other.
    source: Option<Box<dyn Source>>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    login: Option<Login>,
    /// Counts how often another login was found.
    changes: u64,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// Of this login and no other.
    pub(super) fn fixed(login: Login) -> Ring {
        Ring { source: None, held: Mutex::new(Held { login: Some(login), changes: 0 }) }
    }

    /// Of what this source gives.
    pub(super) fn of(source: impl Source + 'static) -> Ring {
        Ring { source: Some(Box::new(source)), held: Mutex::default() }
    }

    /// How often another login was found so far.
    pub(super) async fn changes(&self) -> u64 {
        self.held.lock().await.changes
    }

    /// Asks the source again after the service has refused a login that was taken when there had been `changes`. Answers
    /// whether there is another now.
    pub(super) async fn renew(&self, changes: u64) -> bool {
        let mut held = self.held.lock().await;
        if held.changes != changes {
            return true;
        }
        if self.source.is_none() {
            return false;
        }
        match self.fetch().await {
            Ok(login) if held.login.as_ref().is_none_or(|old| !old.is(&login)) => {
                tracing::info!("the store refused the keys; there are others now");
                *held = Held { login: Some(login), changes: changes + 1 };
                true
            }
            Ok(_) => false,
            Err(failure) => {
                tracing::warn!(cause = failure.cause, "the store refused the keys, and others cannot be had");
                false
            }
        }
    }

    /// The login for a request that is sent now.
    pub(super) async fn login(&self) -> Result<Login, Failure> {
        let mut held = self.held.lock().await;
        if let Some(login) = held.login.as_ref().filter(|login| login.lasts(MARGIN)) {
            return Ok(login.clone());
        }
        match (self.fetch().await, &held.login) {
            (Ok(login), _) => {
                held.login = Some(login.clone());
                Ok(login)
            }
            // The last minutes of the old one may be enough for the identity service to come back.
            (Err(failure), Some(login)) if login.lasts(Duration::ZERO) => {
                tracing::warn!(cause = failure.cause, "the login expires soon and cannot be renewed yet");
                Ok(login.clone())
            }
            (Err(failure), _) => Err(failure),
        }
    }

    async fn fetch(&self) -> Result<Login, Failure> {
        let Some(source) = &self.source else {
            return Err(Failure::new(Kind::Setup, "NoCredentials", "there are no other keys"));
        };
        let asked = tokio::time::timeout(PATIENCE, source.login()).await;
        asked.unwrap_or_else(|_| Err(Failure::timed_out(PATIENCE)))
    }
}

/// The answer of an identity service (RFC 6749, 5.1 and 5.2). Azure's service of a machine writes seconds as text.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    expires_in: Option<Seconds>,
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// Asks an identity service for a token. `who` names it in messages.
pub(super) async fn token(wire: &Wire, who: &str, request: http::Request<Bytes>) -> Result<Login, Failure> {
    let answer = wire.call(request).await.map_err(|failure| {
        let cause = format!("{who} does not answer: {}", failure.cause);
        Failure { cause, ..failure }
    })?;
    let (status, after) = (answer.status(), answer.after());
    let text = answer.text(PATIENCE).await?;
    let said = serde_json::from_slice::<TokenAnswer>(&text).ok();
    let refused = |reason: String| {
        let kind = if is_passing_status(status) { Kind::Passing } else { Kind::Setup };
        let cause = format!("{who} gives no token ({status}): {reason}");
        Err(Failure { after, ..Failure::new(kind, "NoCredentials", cause) })
    };
    match said {
        Some(TokenAnswer { access_token: Some(token), expires_in, .. }) if status == 200 => {
            let seconds = match expires_in {
                Some(Seconds::Number(seconds)) => seconds,
                Some(Seconds::Text(text)) => text.parse().unwrap_or(0),
                None => 0,
            };
            Ok(Login::Bearer { token, expires: SystemTime::now() + Duration::from_secs(seconds) })
        }
        Some(TokenAnswer { error: Some(error), error_description, .. }) => {
            let reason = format!("{error} {}", error_description.unwrap_or_default());
            refused(reason.trim().chars().take(LONGEST_REASON).collect())
        }
        _ => refused("its answer says nothing".into()),
    }
}

/// Pairs as a form and a query have them.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// A value, without the line end that editors add.
pub(super) async fn read(path: &Path) -> Result<String, Failure> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        Failure::new(Kind::Setup, "NoCredentials", format!("{UNREADABLE} {}: {error}", path.display()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Tokens 0, 1, ... of so many seconds.
    struct Short(AtomicU64, Duration);

    #[async_trait]
    impl Source for Short {
        async fn login(&self) -> Result<Login, Failure> {
            let nth = self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Login::Bearer { token: nth.to_string(), expires: SystemTime::now() + self.1 })
        }
    }

    fn number(login: &Login) -> &str {
        match login {
            Login::Bearer { token, .. } => token,
            _ => "",
        }
    }

    #[tokio::test]
    async fn a_token_is_kept_until_shortly_before_its_end() {
        for (lasts, expected) in [(MARGIN * 2, "0"), (MARGIN / 2, "1")] {
            let ring = Ring::of(Short(AtomicU64::new(0), lasts));
            ring.login().await.unwrap();
            assert_eq!(number(&ring.login().await.unwrap()), expected);
        }
    }

    #[tokio::test]
    async fn a_refused_login_is_replaced_once_however_many_requests_were_refused() {
        let ring = Ring::of(Short(AtomicU64::new(0), MARGIN * 2));
        ring.login().await.unwrap();
        let seen = ring.changes().await;
        assert!(ring.renew(seen).await && ring.renew(seen).await);
        assert_eq!(number(&ring.login().await.unwrap()), "1");
        assert!(!Ring::fixed(Login::Anonymous).renew(0).await);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let key = Login::AccountKey { account: "a".into(), key: b"very-secret".to_vec() };
        let token = Login::Bearer { token: "very-secret".into(), expires: SystemTime::now() };
        assert_eq!(format!("{key:?} {token:?}"), "AccountKey Bearer");
    }
}
