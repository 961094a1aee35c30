//! How to reach a server, and as whom.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tonic::metadata::{Ascii, MetadataValue};

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Host name or address of a proxy; IPv6 addresses with or without brackets.
    pub host: String,
    /// gRPC port, 19530 by default.
    pub port: u16,
    /// Encryption; none for plain text.
    pub tls: Option<Tls>,
    /// Login; none where the server asks for none.
    pub credentials: Option<Credentials>,
    /// `http(s)://host:port` of the REST API; none for the port of gRPC, which serves it too by default.
    pub rest: Option<String>,
    /// `http(s)://host:port` of the management port; none for port 9091 of the host.
    pub management: Option<String>,
    /// Version of this client, shown in the server's list of clients.
    pub client_version: String,
    /// Longest wait for the answer to one try of a call; some calls that are known to be slow get more.
    pub deadline: Duration,
    /// How long a call is repeated while the server is unreachable, busy or limits its rate.
    pub patience: Duration,
    /// The same for the first connection.
    pub connect_patience: Duration,
}

impl ConnectOptions {
    /// Plain text, no login, a deadline of 30 s, a patience of 60 s (10 s for the first connection).
    pub fn new(host: impl Into<String>, port: u16) -> ConnectOptions {
        ConnectOptions {
            host: host.into(),
            port,
            tls: None,
            credentials: None,
            rest: None,
            management: None,
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            deadline: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            connect_patience: Duration::from_secs(10),
        }
    }

    /// `host:port`, IPv6 addresses in brackets.
    pub fn server(&self) -> String {
        if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// How the server's certificate is checked, and ours is shown.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificate authority in PEM; none for the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Name in the server's certificate where it is not the host.
    pub server_name: Option<String>,
    /// Certificate and key in PEM for mutual TLS.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_ca", &self.ca_pem.is_some())
            .field("server_name", &self.server_name)
            .field("mutual", &self.client.is_some())
            .finish()
    }
}

/// A login.
#[derive(Clone)]
pub enum Credentials {
    /// User name and password.
    UserPassword {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// `user:password` in one, or an API key.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::UserPassword { user, .. } => write!(f, "UserPassword({user}, redacted)"),
            Credentials::Token(_) => f.write_str("Token(redacted)"),
        }
    }
}

impl Credentials {
    /// User name as far as it is known; a token without a colon is a key.
    pub(super) fn user(&self) -> &str {
        match self {
            Credentials::UserPassword { user, .. } => user,
            Credentials::Token(token) => token.split_once(':').map_or("", |(user, _)| user),
        }
    }

    /// Value of the `authorization` metadata: padded base64 without a scheme in front (milvus-wire.md 1.2).
    pub(super) fn authorization(&self) -> Option<MetadataValue<Ascii>> {
        let encoded = match self {
            Credentials::UserPassword { user, password } => STANDARD.encode(format!("{user}:{password}")),
            Credentials::Token(token) => STANDARD.encode(token),
        };
        let mut value = MetadataValue::try_from(encoded).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Value of the `Authorization` header of the REST API: plain, not base64 (milvus-wire.md 4.1).
    pub(super) fn bearer(&self) -> Option<http::HeaderValue> {
        let text = match self {
            Credentials::UserPassword { user, password } => format!("Bearer {user}:{password}"),
            Credentials::Token(token) => format!("Bearer {token}"),
        };
        let mut value = http::HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_login_is_sent_as_bare_base64_marked_sensitive() {
        let login = Credentials::UserPassword { user: "root".into(), password: "Milvus".into() };
        let value = login.authorization().unwrap();
        assert_eq!(value.to_str().unwrap(), "cm9vdDpNaWx2dXM=");
        assert!(value.is_sensitive());
    }

    #[test]
    fn a_token_is_sent_as_it_is() {
        let value = Credentials::Token("root:Milvus".into()).authorization().unwrap();
        assert_eq!(value.to_str().unwrap(), "cm9vdDpNaWx2dXM=");
        assert_eq!(Credentials::Token("key".into()).user(), "");
    }

    #[test]
    fn no_secret_is_in_the_debug_output_of_the_options() {
        let options = ConnectOptions {
            tls: Some(Tls { client: Some((b"cert".to_vec(), b"hidden-key".to_vec())), ..Tls::default() }),
            credentials: Some(Credentials::UserPassword { user: "root".into(), password: "hidden-word".into() }),
            ..ConnectOptions::new("milvus", 19530)
        };
        let printed = format!("{options:?} {:?}", Credentials::Token("hidden-token".into()));
        assert!(printed.contains("root"));
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(!printed.contains(&format!("{:?}", b"hidden-key")), "{printed}");
    }

    #[rstest]
    #[case("milvus.db.svc", "milvus.db.svc:19530")]
    #[case("10.0.0.1", "10.0.0.1:19530")]
    #[case("fd00::1", "[fd00::1]:19530")]
    #[case("[fd00::1]", "[fd00::1]:19530")]
    fn an_ipv6_address_gets_brackets(#[case] host: &str, #[case] server: &str) {
        assert_eq!(ConnectOptions::new(host, 19530).server(), server);
    }
}
