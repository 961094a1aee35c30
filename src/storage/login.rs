//! What authorizes requests to Azure and Google: where it comes from, how long it is used, and what happens when it is
//! refused. The same rules as for the keys of S3 (`s3/keys.rs`), whose library has its own types.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::failure::{Failure, Kind, UNREADABLE, is_passing_status};
use super::transport::Wire;

/// Tokens are renewed so long before they expire.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long an identity service or a file may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of what an identity service says about a refusal.
const LONGEST_REASON: usize = 300;

/// Authorizes a request.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
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
            Login::AccountKey { .. } => "AccountKey",
            Login::Bearer { .. } => "Bearer",
            Login::Anonymous => "Anonymous",
        })
    }
}

impl Login {
    fn lasts(&self, margin: Duration) -> bool {
        match self {
            Login::Bearer { expires, .. } => *expires > SystemTime::now() + margin,
            Login::AccountKey { .. } | Login::Anonymous => true,
        }
    }
}

/// Where logins come from.
#[async_trait]
pub(super) trait Source: Send + Sync + fmt::Debug {
    /// A fresh one.
    async fn login(&self) -> Result<Login, Failure>;
}

/// The login in use and its source.
#[derive(Debug)]
pub(super) struct Ring {
    /// None where it was given and there is no other.
    source: Option<Box<dyn Source>>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    login: Option<Login>,
    /// Counts how often another login was found.
    changes: u64,
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
            Ok(login) if held.login.as_ref() != Some(&login) => {
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
    #[derive(Debug)]
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
