//! Everything that knows Kubernetes.
//!
//! Owns reconciling, Jobs, status, Events, the lock per Milvus. Must never touch Milvus, a bucket or a Secret's content.
//!
//! A pass over an object is five calls: [`fetch`], [`validate`], build ([`task`] and [`job`]), apply and status. Only fetch, apply
//! and status use the client, and only by [`cluster`]. What to do next is decided by the pure [`decide`] from what the pure
//! [`observe`] makes of a Job; what it means for status is in the pure [`record`].

mod bounded;
pub mod cluster;
pub mod config;
pub mod context;
pub mod decide;
pub mod deletion;
pub mod discovery;
pub mod fetch;
pub mod health;
pub mod job;
pub mod leader;
pub mod lease;
pub mod line;
pub mod location;
pub mod metrics;
pub mod mounts;
pub mod news;
pub mod observe;
mod process;
pub mod publish;
pub mod rbac;
pub mod reconcile;
pub mod record;
pub mod run;
pub mod server;
mod tail;
pub mod task;
pub mod text;
pub mod validate;

pub use config::Config;
pub use process::{run, run_until};
