//! /metrics, /healthz and /readyz.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{health::Health, metrics::Metrics};

/// What the server shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Probes.
    pub health: Arc<Health>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// The routes.
pub fn routes(shown: Shown) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(shown)
}

/// Serves until `stop`.
pub async fn serve(listen: SocketAddr, shown: Shown, stop: CancellationToken) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, routes(shown)).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn metrics(State(shown): State<Shown>) -> Response {
    match shown.metrics.render() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn alive(State(shown): State<Shown>) -> Response {
    answer(shown.health.alive(Timestamp::now()))
}

async fn ready(State(shown): State<Shown>) -> Response {
    answer(shown.health.ready())
}

fn answer(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => "ok\n".into_response(),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::Service as _;

    use super::*;

    async fn get(path: &str, health: Health) -> (StatusCode, String) {
        let shown = Shown { health: Arc::new(health), metrics: Arc::default() };
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes(shown).call(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_is_waited_for() {
        let health = Health::new(Timestamp::now(), ["list of MilvusBackup".to_owned()]);
        let (status, body) = get("/readyz", health).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "waiting for: list of MilvusBackup\n");
        let (status, _) = get("/readyz", Health::new(Timestamp::now(), [])).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn liveness_does_not_wait_for_readiness() {
        let health = Health::new(Timestamp::now(), ["anything".to_owned()]);
        assert_eq!(get("/healthz", health).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics_text() {
        let (status, body) = get("/metrics", Health::new(Timestamp::now(), [])).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.ends_with("# EOF\n"));
    }
}
