//! Flushes the selected collections together and waits until all that was inserted before is in the bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::engine::error::EngineError;
use crate::engine::patience::{patient, until};
use crate::engine::select::Name;
use crate::milvus::{ClusterFlush, FlushTicket, Milvus};

/// Flush calls in flight: enough to keep a server busy, few enough for its rate limit.
const CONCURRENCY: usize = 8;
/// How long one collection may take. A load of inserts needs seconds; minutes mean the server is in trouble.
const DEADLINE: Duration = Duration::from_secs(900);

/// Flushes all; answers the ticket of each collection in order.
///
/// # Errors
/// The server's, or the deadline.
pub async fn all(milvus: &Milvus, names: &[Name]) -> Result<Vec<FlushTicket>, EngineError> {
    stream::iter(names).map(|name| one(milvus, name)).buffered(CONCURRENCY).try_collect().await
}

/// The segments each collection has now.
///
/// # Errors
/// The server's.
pub async fn there(milvus: &Milvus, names: &[Name]) -> Result<BTreeMap<Name, BTreeSet<i64>>, EngineError> {
    stream::iter(names)
        .map(|name| async move {
            let segments = patient(|| milvus.segments(&name.database, &name.collection)).await?;
            Ok((name.clone(), segments.into_iter().map(|segment| segment.id).collect()))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}

/// One flush of the whole cluster.
///
/// # Errors
/// The server's, or the deadline.
pub async fn cluster(milvus: &Milvus) -> Result<ClusterFlush, EngineError> {
    let flush = patient(|| milvus.flush_all()).await?;
    let asked = &flush;
    until("flushing the cluster", DEADLINE, || async move { patient(|| milvus.is_all_flushed(asked)).await }).await?;
    Ok(flush)
}

async fn one(milvus: &Milvus, name: &Name) -> Result<FlushTicket, EngineError> {
    let (database, collection) = (name.database.as_str(), name.collection.as_str());
    let ticket = patient(|| milvus.flush(database, collection)).await?;
    let ticket_ref = &ticket;
    until(&format!("flushing {name}"), DEADLINE, || async move {
        patient(|| milvus.is_flushed(database, collection, ticket_ref)).await
    })
    .await?;
    Ok(ticket)
}
