//! The routes: one list that router and document are both made from.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post};

use super::errors::Refusal;
use super::handlers;
use super::service::Api;
use super::{docs, guard};
use crate::engine::error::bounded;

/// Path before all routes.
pub const BASE: &str = "/api/v1";
/// Answer of `GET /hello` (milvus-backup 0.5.16).
const GREETING: &str = "Hello, This is backup service";

/// A route of the API (milvus-backup.md 1.2), and the one we added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Says that the server is up.
    Hello,
    /// Makes a backup.
    Create,
    /// Lists backups.
    List,
    /// Shows a backup, or how its making goes.
    GetBackup,
    /// Removes a backup.
    Delete,
    /// Brings a backup back.
    Restore,
    /// Brings a backup into a replica.
    RestoreSecondary,
    /// Shows how a restore goes.
    GetRestore,
    /// Tries Milvus and the stores.
    Check,
    /// Stops a running task. Ours.
    StopTask,
}

impl Route {
    /// Every route.
    pub const ALL: [Route; 10] = [
        Route::Hello,
        Route::Create,
        Route::List,
        Route::GetBackup,
        Route::Delete,
        Route::Restore,
        Route::RestoreSecondary,
        Route::GetRestore,
        Route::Check,
        Route::StopTask,
    ];

    /// Path below [`BASE`].
    pub fn path(self) -> &'static str {
        match self {
            Route::Hello => "/hello",
            Route::Create => "/create",
            Route::List => "/list",
            Route::GetBackup => "/get_backup",
            Route::Delete => "/delete",
            Route::Restore => "/restore",
            Route::RestoreSecondary => "/restore_secondary",
            Route::GetRestore => "/get_restore",
            Route::Check => "/check",
            Route::StopTask => "/task",
        }
    }

    /// Method.
    pub fn method(self) -> Method {
        match self {
            Route::Hello | Route::List | Route::GetBackup | Route::GetRestore | Route::Check => Method::GET,
            Route::Create | Route::Restore | Route::RestoreSecondary => Method::POST,
            Route::Delete | Route::StopTask => Method::DELETE,
        }
    }

    /// Whether it answers without the token.
    pub fn is_open(self) -> bool {
        self == Route::Hello
    }

    fn handler(self) -> MethodRouter<Arc<Api>> {
        match self {
            Route::Hello => get(hello),
            Route::Create => post(handlers::create),
            Route::List => get(handlers::list),
            Route::GetBackup => get(handlers::get_backup),
            Route::Delete => delete(handlers::delete),
            Route::Restore => post(handlers::restore),
            Route::RestoreSecondary => post(handlers::restore_secondary),
            Route::GetRestore => get(handlers::get_restore),
            Route::Check => get(handlers::check),
            Route::StopTask => delete(handlers::stop_task),
        }
    }
}

/// The whole server.
pub fn router(api: Arc<Api>) -> Router {
    let add = |router: Router<Arc<Api>>, route: &Route| {
        router.route(&format!("{BASE}{}", route.path()), route.handler().fallback(no_route))
    };
    let guarded = Route::ALL.iter().filter(|route| !route.is_open()).fold(Router::new(), add);
    let guarded = guarded
        .layer(middleware::from_fn_with_state(api.clone(), in_turn))
        .layer(middleware::from_fn_with_state(api.clone(), allowed));
    let open = Route::ALL.iter().filter(|route| route.is_open()).fold(Router::new(), add);
    open.merge(guarded)
        .route("/", any(hello))
        .route(docs::FOLDER, get(docs::index))
        .route(&format!("{}/", docs::FOLDER), get(docs::index))
        .route(&format!("{}/{{file}}", docs::FOLDER), get(docs::file))
        .fallback(no_route)
        .layer(middleware::from_fn(logged))
        .with_state(api)
}

async fn hello() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::OK, kind, GREETING).into_response()
}

async fn no_route(method: Method, uri: Uri) -> Refusal {
    Refusal::no_route(method.as_str(), uri.path())
}

/// The token, and no page of another site.
async fn allowed(State(api): State<Arc<Api>>, request: Request, next: Next) -> Result<Response, Refusal> {
    guard::own_origin(request.headers())?;
    guard::authorized(api.token.as_ref(), request.headers())?;
    Ok(next.run(request).await)
}

/// Waits until the server has a hand free, at most as long as it may.
async fn in_turn(State(api): State<Arc<Api>>, request: Request, next: Next) -> Result<Response, Refusal> {
    let patience = api.limits.queue_time;
    match tokio::time::timeout(patience, api.turns.acquire()).await {
        Ok(_turn) => Ok(next.run(request).await),
        Err(_) => Err(Refusal::busy(patience.as_secs())),
    }
}

/// One line for each request. Never headers or bodies: they may hold the token.
async fn logged(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), bounded(request.uri().path(), 200));
    let started = Instant::now();
    let response = next.run(request).await;
    let (status, millis) = (response.status().as_u16(), started.elapsed().as_millis());
    tracing::info!(%method, path, status, millis, "request");
    response
}
