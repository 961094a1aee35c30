//! Tries a location: list, write on condition, read back, remove.

use bytes::Bytes;
use jiff::Timestamp;

use super::connect;
use super::error::EngineError;
use super::preflight::root;
use super::progress::Counters;
use super::task::{ProbeTask, Report, Run, Stage, TASK_VERSION};
use crate::storage::{Condition, Store, Written};

/// Probes.
///
/// # Errors
/// The first thing that does not work.
pub async fn run(task: &ProbeTask, run: &Run, counters: &Counters) -> Result<Report, EngineError> {
    counters.enter(Stage::Preflight);
    let store = connect::store(&task.location).await?;
    let prefix = root(&task.location.prefix);
    store.list_page(&prefix, None).await?;
    let conditional = match task.write {
        true => Some(write(store.as_ref(), &format!("{prefix}.milvus-backup-probe-{}", run.uid)).await?),
        false => None,
    };
    Ok(Report {
        version: TASK_VERSION,
        ok: true,
        reason: "Available".into(),
        message: format!("{} answers", store.place()),
        conditional_put: conditional,
        progress: counters.read(Timestamp::now()),
        ..Report::default()
    })
}

/// Writes and removes a small object; answers whether the store keeps to conditions.
async fn write(store: &dyn Store, key: &str) -> Result<bool, EngineError> {
    let body = Bytes::from_static(b"milvus-backup");
    store.put(key, body.clone()).await?;
    let refused = store.put_if(key, Bytes::from_static(b"again"), Condition::Absent).await;
    store.delete(&[key.to_owned()]).await?;
    Ok(refused? == Written::Refused)
}
