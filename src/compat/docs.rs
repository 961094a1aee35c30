//! The pages under `/api/v1/docs/`: Swagger UI from the binary, nothing from elsewhere.
//!
//! Links are relative, so that the pages work behind any path of a proxy. The files are those of Swagger UI 5 (Apache-2.0),
//! carried by the crate `swagger-ui-redist`; the build compresses them, and so they are sent.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;

use super::errors::Refusal;
use super::openapi;

/// Name of the document, as the Go tool's page knows it.
const DOCUMENT: &str = "doc.json";
/// Where the pages are.
pub const FOLDER: &str = "/api/v1/docs";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>milvus-backup API</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</body>
</html>
"#;

const START: &str = r##"window.ui = SwaggerUIBundle({
  url: "doc.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"##;

/// Nothing may be loaded from, or sent to, anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page itself, for those who ask for the folder; relative, as all links are.
pub async fn index(uri: Uri) -> Redirect {
    Redirect::permanent(if uri.path().ends_with('/') { "index.html" } else { "docs/index.html" })
}

/// Compressed by the build.
macro_rules! packed {
    ($name:literal) => {
        Body::Packed(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")))
    };
}

/// What is sent.
enum Body {
    Plain(Bytes),
    /// By gzip, whatever the client says it takes: there is no browser that does not.
    Packed(&'static [u8]),
}

/// A file of the pages.
pub async fn file(axum::extract::Path(name): axum::extract::Path<String>) -> Response {
    let plain = |text: &'static str| Body::Plain(Bytes::from_static(text.as_bytes()));
    let found = match name.as_str() {
        "index.html" => Some(("text/html; charset=utf-8", plain(PAGE))),
        "start.js" => Some(("text/javascript; charset=utf-8", plain(START))),
        DOCUMENT => Some(("application/json; charset=utf-8", Body::Plain(openapi::document().to_string().into()))),
        "swagger-ui.css" => Some(("text/css; charset=utf-8", packed!("swagger-ui.css"))),
        "swagger-ui-bundle.js" => Some(("text/javascript; charset=utf-8", packed!("swagger-ui-bundle.js"))),
        "favicon-32x32.png" => Some(("image/png", packed!("favicon-32x32.png"))),
        _ => None,
    };
    let Some((kind, body)) = found else {
        return Refusal::no_route("GET", &format!("{FOLDER}/{name}")).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    match body {
        Body::Plain(bytes) => (StatusCode::OK, headers, bytes).into_response(),
        Body::Packed(bytes) => {
            let packed = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            (StatusCode::OK, headers, packed, bytes).into_response()
        }
    }
}
