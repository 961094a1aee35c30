//! Removes an artifact: commit marks first, so that no catalogue shows a half-deleted backup, then everything.

use jiff::Timestamp;

use super::artifact::Artifact;
use super::connect;
use super::error::EngineError;
use super::progress::Counters;
use super::task::{DeleteTask, Report, Stage, TASK_VERSION};
use crate::manifest::layout::{MetaFile, OperatorFile};
use crate::storage::{delete_prefix, sweep_uploads};

/// Deletes; a second time finds nothing and is content.
///
/// # Errors
/// The store's. A bucket that is gone holds no data: that is success.
pub async fn run(task: &DeleteTask, counters: &Counters) -> Result<Report, EngineError> {
    counters.enter(Stage::CopyingData);
    let artifact = Artifact::at(connect::store(&task.location).await?, &task.location.prefix, &task.artifact)?;
    let deleted = match everything(&artifact).await {
        Err(EngineError::Store(crate::storage::StoreError::BucketNotFound { place })) => {
            return Ok(report(counters, "BucketGone", format!("{place} does not exist any more: its data is gone")));
        }
        other => other?,
    };
    let name = artifact.keys.name();
    Ok(report(counters, "Deleted", format!("deleted {deleted} objects of {name} from {}", artifact.store().place())))
}

async fn everything(artifact: &Artifact) -> Result<u64, EngineError> {
    let marks = [
        artifact.keys.operator(OperatorFile::Manifest),
        artifact.keys.meta(MetaFile::Backup),
        artifact.keys.meta(MetaFile::Full),
    ];
    artifact.store().delete(&marks).await?;
    sweep_uploads(artifact.store(), &artifact.keys.dir()).await?;
    Ok(delete_prefix(artifact.store(), &artifact.keys.dir()).await?)
}

fn report(counters: &Counters, reason: &str, message: String) -> Report {
    Report {
        version: TASK_VERSION,
        ok: true,
        reason: reason.into(),
        message,
        progress: counters.read(Timestamp::now()),
        ..Report::default()
    }
}
