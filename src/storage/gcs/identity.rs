//! Tokens for Google: by the key file of a service account, or from the metadata service of a machine or pod.
//!
//! Sources: "Using OAuth 2.0 for server to server applications" (the signed claim), "Application default credentials" (the
//! order), "Authenticate workloads using service accounts" (the metadata service).

use std::path::PathBuf;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::storage::StoreError;
use crate::storage::failure::{Failure, Kind};
use crate::storage::login::{Login, Source, form, read, token};
use crate::storage::transport::{Proxy, Wire};

const METADATA: &str = "metadata.google.internal";
const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// A claim holds for an hour at most.
const SECONDS: i64 = 3600;

/// How a token is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// By a service account's key.
    KeyFile(PathBuf),
    /// From this host.
    Metadata(String),
    /// Not at all.
    None,
}

impl Way {
    pub(super) fn of_environment() -> Way {
        Way::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Way {
        if variable("STORAGE_EMULATOR_HOST").is_some() {
            return Way::None;
        }
        match variable("GOOGLE_APPLICATION_CREDENTIALS") {
            Some(path) => Way::KeyFile(path.into()),
            None => Way::Metadata(variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned())),
        }
    }
}

/// The identity that a way leads to.
#[derive(Debug)]
pub(super) struct Identity {
    way: Way,
    wire: Wire,
}

impl Identity {
    pub(super) fn by(way: Way) -> Result<Identity, StoreError> {
        let wire = match way {
            Way::Metadata(_) => Wire::open(None, false, Proxy::None)?,
            Way::KeyFile(_) | Way::None => Wire::open(None, true, Proxy::Environment)?,
        };
        Ok(Identity { way, wire })
    }
}

#[async_trait]
impl Source for Identity {
    async fn login(&self) -> Result<Login, Failure> {
        let request = match &self.way {
            Way::None => return Ok(Login::Anonymous),
            Way::Metadata(host) => {
                let request = http::Request::get(format!("http://{host}{TOKEN}"));
                request.header("metadata-flavor", "Google").body(Bytes::new())
            }
            Way::KeyFile(path) => {
                let account = Account::parse(&read(path).await?)
                    .map_err(|what| unusable(format!("the key file {} {what}", path.display())))?;
                let claim = account
                    .claim(Timestamp::now().as_second())
                    .map_err(|what| unusable(format!("the key file {} {what}", path.display())))?;
                http::Request::post(&account.token_uri)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(Bytes::from(form(&[("grant_type", GRANT), ("assertion", &claim)])))
            }
        };
        let request = request.map_err(|error| unusable(format!("the identity service cannot be asked: {error}")))?;
        token(&self.wire, "the identity service of Google", request).await
    }
}

fn unusable(cause: String) -> Failure {
    Failure::new(Kind::Setup, "NoCredentials", cause)
}

/// A service account's key file, as far as it matters here.
#[derive(Deserialize)]
struct Account {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    token_uri: String,
}

impl Account {
    fn parse(text: &str) -> Result<Account, String> {
        // Not the parser's words: they can repeat what stands there.
        let account: Account = serde_json::from_str(text).map_err(|_| "is no JSON of a service account".to_owned())?;
        if account.kind != "service_account" {
            return Err(format!("is of type {:?}: only that of a service_account can be used", account.kind));
        }
        let fields = [&account.client_email, &account.private_key, &account.token_uri];
        if fields.iter().any(|field| field.is_empty()) {
            return Err("lacks client_email, private_key or token_uri".to_owned());
        }
        Ok(account)
    }

    /// The signed claim (JWT, RS256) that is exchanged for a token.
    fn claim(&self, now: i64) -> Result<String, String> {
        let encode = |json: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = serde_json::json!({
            "iss": self.client_email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now + SECONDS,
        });
        let text = format!("{}.{}", encode(header), encode(claims));
        let unusable = || "has a private_key that cannot sign".to_owned();
        let key = PrivateKeyDer::from_pem_slice(self.private_key.as_bytes()).map_err(|_| unusable())?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| unusable())?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(unusable)?;
        let signature = signer.sign(text.as_bytes()).map_err(|_| unusable())?;
        Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Way {
        Way::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_decides_who_is_asked() {
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json");
        assert_eq!(of(&[file]), Way::KeyFile("/key.json".into()));
        assert_eq!(of(&[]), Way::Metadata(METADATA.into()));
        assert_eq!(of(&[("GCE_METADATA_HOST", "h:1")]), Way::Metadata("h:1".into()));
        assert_eq!(of(&[file, ("STORAGE_EMULATOR_HOST", "h")]), Way::None);
    }

    #[test]
    fn a_key_file_that_cannot_be_used_is_refused_without_repeating_it() {
        for text in [
            "hunter2",
            r#"{"type": "authorized_user", "refresh_token": "hunter2"}"#,
            r#"{"type": "service_account", "private_key": "hunter2"}"#,
        ] {
            let said = Account::parse(text).err().unwrap();
            assert!(!said.contains("hunter2"), "{said}");
        }
        let bad = r#"{"type": "service_account", "client_email": "e", "token_uri": "u", "private_key": "hunter2"}"#;
        let said = Account::parse(bad).unwrap().claim(0).unwrap_err();
        assert!(said.contains("private_key") && !said.contains("hunter2"), "{said}");
    }
}
