//! Milvus over gRPC, REST and its management port: one thin function per call, one place that turns an answer into an error.
//!
//! Owns the wire (proto, metadata, deadlines, retries). Must never know about buckets or backups.
//!
//! [`Milvus`] is one connection with all its calls; they are grouped by subject in the files of this folder. Every call
//! goes through `session::Session::call`, which sets metadata and a deadline, repeats what is safe to repeat, and lets
//! `status::check` judge the answer: Milvus reports most failures inside an answer that is fine for gRPC.
//!
//! [`etcd`] is beside it and shares nothing with it: Milvus' own metadata, read where Milvus itself keeps it.

mod alias;
mod call;
mod collection;
mod connect;
mod database;
mod error;
pub mod etcd;
mod flush;
pub mod gates;
mod http;
mod import;
mod index;
mod insert;
mod load;
mod management;
mod options;
pub mod proto;
mod query;
mod rbac;
mod rest;
mod segment;
mod server;
mod session;
mod snapshot;
mod status;
mod transport;
mod version;

use std::sync::Arc;
use std::time::Duration;

pub use collection::{CollectionDescription, CollectionRef, NewCollection, Partition};
pub use database::DatabaseInfo;
pub use error::{CallSite, MilvusError, Missing};
pub use flush::{ClusterFlush, FlushTicket};
pub use gates::Gate;
pub use import::{Import, ImportState, ImportTask};
pub use index::{Index, IndexState};
pub use insert::Insert;
pub use load::LoadState;
pub use management::{GcPause, ManagementError};
pub use options::{ConnectOptions, Credentials, Tls};
pub use proto::common::ConsistencyLevel;
pub use proto::schema::{CollectionSchema, DataType, FieldSchema};
pub use rbac::Rbac;
pub use rest::SegmentFiles;
pub use segment::{Segment, SegmentLevel, SegmentState};
pub use server::Health;
pub use snapshot::{Export, JobState};
pub use version::ServerVersion;

/// Name of the database every server has.
pub const DEFAULT_DATABASE: &str = "default";

/// A connection to a Milvus server. Cheap to clone; clones share the connection, which mends itself.
#[derive(Debug, Clone)]
pub struct Milvus {
    session: Arc<session::Session>,
    version: Arc<ServerVersion>,
}

impl Milvus {
    /// Connects, logs in and asks for the version. Servers without the call Connect (before 2.2.9) are asked by
    /// GetVersion.
    ///
    /// Retries an unreachable server for [`ConnectOptions::connect_patience`], then answers
    /// [`MilvusError::Unreachable`]. Servers check the login here already (seen on 2.3.5).
    pub async fn connect(options: ConnectOptions) -> Result<Milvus, MilvusError> {
        let (session, version) = session::Session::open(options).await?;
        Ok(Milvus { session: Arc::new(session), version: Arc::new(version) })
    }

    /// What the server calls itself.
    pub fn version(&self) -> &ServerVersion {
        &self.version
    }

    /// How long ago the server was last found unreachable by this connection; none where it always answered.
    pub fn away_for(&self) -> Option<Duration> {
        self.session.away_for()
    }

    /// Notes that the server was unreachable until now, as seen by others.
    pub fn note_away(&self) {
        self.session.note_away();
    }

    /// `host:port`, for messages.
    pub fn server(&self) -> &str {
        self.session.server()
    }
}

/// Key/value lists of the contract as pairs, in the server's order.
fn pairs(list: Vec<proto::common::KeyValuePair>) -> Vec<(String, String)> {
    list.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// Pairs as a key/value list of the contract.
fn key_values(pairs: &[(String, String)]) -> Vec<proto::common::KeyValuePair> {
    pairs.iter().map(|(key, value)| proto::common::KeyValuePair { key: key.clone(), value: value.clone() }).collect()
}
