//! The pages under `/api/v1/docs/`: Swagger UI from the binary, nothing from elsewhere.
//!
//! Links are relative, so that the pages work behind any path of a proxy. The files are those of Swagger UI 5 (Apache-2.0),
//! carried by the crate `swagger-ui-redist`.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile as File};

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

/// A file of the pages.
pub async fn file(axum::extract::Path(name): axum::extract::Path<String>) -> Response {
    let found: Option<(&str, Bytes)> = match name.as_str() {
        "index.html" => Some(("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()))),
        "start.js" => Some(("text/javascript; charset=utf-8", Bytes::from_static(START.as_bytes()))),
        DOCUMENT => Some(("application/json; charset=utf-8", Bytes::from(openapi::document().to_string()))),
        "swagger-ui.css" => carried(File::Css).map(|bytes| ("text/css; charset=utf-8", bytes)),
        "swagger-ui-bundle.js" => carried(File::Js).map(|bytes| ("text/javascript; charset=utf-8", bytes)),
        "favicon-32x32.png" => carried(File::Favicon32).map(|bytes| ("image/png", bytes)),
        _ => None,
    };
    let Some((kind, bytes)) = found else {
        return Refusal::no_route("GET", &format!("{FOLDER}/{name}")).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (StatusCode::OK, headers, bytes).into_response()
}

fn carried(wanted: File) -> Option<Bytes> {
    SwaggerUi::static_files().iter().find(|(file, _)| *file == wanted).map(|(_, bytes)| Bytes::from_static(bytes))
}
