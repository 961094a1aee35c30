//! Who may ask: the bearer token, and no page of another site in somebody's browser.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use super::errors::Refusal;

/// The token a client has to send. Debug output leaves it out.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// A token; surrounding white space is none of it.
    ///
    /// # Errors
    /// There is nothing, or what a header cannot hold.
    pub fn new(text: &str) -> Result<Token, String> {
        let text = text.trim();
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Token(digest(text))),
            false => {
                Err("the bearer token is empty, or has other characters than printable ASCII without spaces".into())
            }
        }
    }

    /// Whether this is the token. Digests are compared, so the time tells nothing about the token.
    fn is(&self, text: &str) -> bool {
        self.0 == digest(text)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Asks for the token, where there is one.
///
/// # Errors
/// It is missing or another.
pub fn authorized(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = token else { return Ok(()) };
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match sent {
        Some((_, sent)) if token.is(sent.trim()) => Ok(()),
        _ => Err(Refusal::unauthorized()),
    }
}

/// Refuses what a page of another origin makes a browser send: a form can post to a port of this machine without asking.
///
/// # Errors
/// The browser says that another site asks.
pub fn own_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
    // A proxy may call us by another name; only a proxy or a program sends the name it was called by itself.
    let called = |authority: &str| [text("host"), text("x-forwarded-host")].contains(&Some(authority));
    let foreign = text("origin").is_some_and(|origin| !origin.split_once("://").is_some_and(|(_, ours)| called(ours)));
    match cross_site || foreign {
        true => Err(Refusal::foreign_origin()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_token_itself_opens() {
        let token = Token::new("s3cret\n").unwrap();
        let may = |value: &str| authorized(Some(&token), &headers(&[("authorization", value)])).is_ok();
        assert!(may("Bearer s3cret") && may("bearer  s3cret"));
        assert!(
            !may("Bearer other") && !may("Bearer") && !may("Basic s3cret") && !may("s3cret") && !may("Bearer s3cret x")
        );
        assert!(authorized(Some(&token), &headers(&[])).is_err());
        assert!(authorized(None, &headers(&[])).is_ok());
    }

    #[test]
    fn an_empty_token_is_refused_and_none_is_shown() {
        assert!(Token::new(" \n").is_err());
        assert!(Token::new("two words").is_err());
        assert!(!format!("{:?}", Token::new("s3cret").unwrap()).contains("s3cret"));
    }

    #[test]
    fn a_page_of_another_origin_is_refused_and_a_program_is_not() {
        let may = |pairs: &[(&'static str, &str)]| own_origin(&headers(pairs)).is_ok();
        assert!(may(&[("host", "127.0.0.1:8080")]));
        assert!(may(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!may(&[("host", "127.0.0.1:8080"), ("origin", "https://evil.example")]));
        assert!(may(&[
            ("host", "b:8080"),
            ("x-forwarded-host", "backup.example"),
            ("origin", "https://backup.example")
        ]));
        assert!(!may(&[("host", "127.0.0.1:8080"), ("origin", "null")]));
        assert!(!may(&[("host", "127.0.0.1:8080"), ("sec-fetch-site", "cross-site")]));
    }
}
