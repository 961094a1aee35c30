//! Pure: how a request to Azure is signed with the key of its account.
//!
//! Source: "Authorize with Shared Key" of the Azure Storage REST documentation, the form of version 2015-02-21 and later.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What of a request is signed.
pub(super) struct Signed<'a> {
    /// Method.
    pub(super) method: &'a str,
    /// Path as it is sent.
    pub(super) path: &'a str,
    /// Parameters of the query, not encoded.
    pub(super) query: &'a [(&'static str, String)],
    /// Headers, names in lower case.
    pub(super) headers: &'a [(&'static str, String)],
    /// Bytes of the body.
    pub(super) length: usize,
}

/// The `Authorization` header.
pub(super) fn authorization(account: &str, key: &[u8], request: &Signed<'_>) -> String {
    // An HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(string_to_sign(account, request).as_bytes());
    format!("SharedKey {account}:{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn string_to_sign(account: &str, request: &Signed<'_>) -> String {
    let Signed { method, path, query, headers, length } = request;
    let header = |name: &str| headers.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value.as_str());
    let length = if *length == 0 { String::new() } else { length.to_string() };
    let mut lines = vec![
        (*method).to_owned(),
        header("content-encoding").to_owned(),
        header("content-language").to_owned(),
        length,
        header("content-md5").to_owned(),
        header("content-type").to_owned(),
        // The date is in x-ms-date, the range in x-ms-range.
        String::new(),
        header("if-modified-since").to_owned(),
        header("if-match").to_owned(),
        header("if-none-match").to_owned(),
        header("if-unmodified-since").to_owned(),
        String::new(),
    ];
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort();
    lines.extend(own.into_iter().map(|(name, value)| format!("{name}:{}", value.trim())));
    lines.push(format!("/{account}{path}"));
    let mut query: Vec<_> = query.iter().collect();
    query.sort();
    lines.extend(query.into_iter().map(|(name, value)| format!("{name}:{value}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_in_the_order_of_the_documentation() {
        let headers = [
            ("x-ms-version", "2022-11-02".to_owned()),
            ("if-none-match", "*".to_owned()),
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT".to_owned()),
            ("content-type", "text/plain".to_owned()),
        ];
        let query = [("restype", "container".to_owned()), ("comp", "list".to_owned())];
        let request = Signed { method: "PUT", path: "/c/a%20b", query: &query, headers: &headers, length: 11 };
        let expected = "PUT\n\n\n11\n\ntext/plain\n\n\n\n*\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n\
                        x-ms-version:2022-11-02\n/acc/c/a%20b\ncomp:list\nrestype:container";
        assert_eq!(string_to_sign("acc", &request), expected);
        let authorization = authorization("acc", b"key", &request);
        assert!(authorization.starts_with("SharedKey acc:") && authorization.ends_with('='), "{authorization}");
    }
}
