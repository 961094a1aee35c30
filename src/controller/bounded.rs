//! A bound on how long the API server may take to begin its answer.
//!
//! A request whose connection died without a word would otherwise hold its pass until the pass' own limit, and with it the
//! object: passes over one object never run side by side. Watches are long by nature and have bounds of their own.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use axum::http;
use futures::future::{BoxFuture, FutureExt as _};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

/// Longest wait for the head of an answer.
const CALL_LIMIT: Duration = Duration::from_secs(15);

/// The API server did not answer in time; the pass is done again.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {CALL_LIMIT:?}")]
pub struct NoAnswer;

/// Bounds every request that is no watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounded;

impl<S> Layer<S> for Bounded {
    type Service = BoundedService<S>;

    fn layer(&self, inner: S) -> BoundedService<S> {
        BoundedService { inner }
    }
}

/// A client's service behind [`Bounded`].
#[derive(Debug, Clone)]
pub struct BoundedService<S> {
    inner: S,
}

fn is_watch(uri: &http::Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

impl<S, R> Service<http::Request<Body>> for BoundedService<S>
where
    S: Service<http::Request<Body>, Response = R>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = R;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<R, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let watch = is_watch(request.uri());
        let answer = self.inner.call(request);
        async move {
            if watch {
                return answer.await.map_err(Into::into);
            }
            match tokio::time::timeout(CALL_LIMIT, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(NoAnswer.into()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that never answers.
    fn mute()
    -> BoundedService<impl Service<http::Request<Body>, Response = (), Error = BoxError, Future: Send + 'static>> {
        let never = tower::service_fn(|_: http::Request<Body>| std::future::pending::<Result<(), BoxError>>());
        Bounded.layer(never)
    }

    fn request(uri: &str) -> http::Request<Body> {
        http::Request::get(uri).body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_is_given_up() {
        let error = mute().call(request("/apis/batch/v1/namespaces/a/jobs/j")).await.unwrap_err();
        assert!(error.is::<NoAnswer>(), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_be_silent_for_long() {
        let watch = mute().call(request("/apis/batch/v1/jobs?labelSelector=x&watch=true&timeoutSeconds=200"));
        assert!(tokio::time::timeout(Duration::from_secs(600), watch).await.is_err());
    }
}
