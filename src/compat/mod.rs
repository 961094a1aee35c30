//! The REST API of milvus-backup, for clients that were written for it.
//!
//! Owns HTTP: routes, bodies, codes, limits, the token, and the tasks that requests begin. Must never know how a backup is
//! made: that is behind [`service::Service`], and there behind [`operations::Operations`]. What differs from the original is in docs/rest-api.md.
//!
//! - [`wire`], [`body`], [`translate`], [`brief`]: what goes over the wire, and what it means; pure.
//! - [`service`]: what the routes ask for. [`own_tasks`], [`tasks`], [`records`]: carried out by this process, what runs, what is
//!   kept of it in the bucket.
//! - [`routes`], [`handlers`], [`guard`], [`limits`], [`errors`], [`listen`]: HTTP.
//! - [`openapi`], [`docs`]: the document and the pages that show it.

pub mod body;
pub mod brief;
pub mod docs;
pub mod engine_operations;
pub mod errors;
pub mod guard;
pub mod handlers;
pub mod limits;
pub mod listen;
pub mod openapi;
pub mod operations;
pub mod own_tasks;
pub mod records;
pub mod routes;
pub mod service;
pub mod tasks;
pub mod translate;
pub mod wire;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use engine_operations::EngineOperations;
pub use guard::Token;
pub use limits::Limits;
pub use listen::{ListenError, Listening, TlsFiles};
pub use operations::Operations;
pub use own_tasks::OwnTasks;
use service::Api;
pub use service::Service;

/// Answers until `stop`, with the work done by this process. Then no request and no task is taken any more, running tasks are
/// stopped and waited for, and their last state is written.
pub async fn serve(
    listening: Listening,
    operations: Arc<dyn Operations>,
    token: Option<Token>,
    limits: Limits,
    stop: CancellationToken,
) {
    serve_for(listening, Arc::new(OwnTasks::new(operations, limits)), token, limits, stop).await;
}

/// Answers for a service until `stop`; then what it still has to do is waited for.
pub async fn serve_for(
    listening: Listening,
    service: Arc<dyn Service>,
    token: Option<Token>,
    limits: Limits,
    stop: CancellationToken,
) {
    let api = Arc::new(Api::new(service.clone(), token, limits));
    tokio::join!(listening.serve(routes::router(api), limits, stop.clone()), service.tend(stop));
}
