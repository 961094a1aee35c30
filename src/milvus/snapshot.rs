//! Snapshots that the server copies to a place in its store and back by itself: Milvus 3.0. The working calls are expected
//! from 3.0.1 on; 3.0.0 answers that it does not implement them (milvus-wire.md 2.13).

use std::time::Duration;

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError};

/// The server reads or writes metadata in its store before it answers.
const DEADLINE: Duration = Duration::from_secs(120);

/// How far a job of the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// At work, in percent.
    Running(i32),
    /// Done.
    Completed,
    /// Given up, with its reason.
    Failed(String),
}

/// An export as the server tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// How far it is.
    pub state: JobState,
    /// Files in all, and copied ones.
    pub files: (i64, i64),
    /// Bytes in all.
    pub bytes: i64,
    /// Where the metadata of the copy lies, once it is there.
    pub metadata_uri: String,
}

impl Milvus {
    /// Makes a snapshot of what is flushed. One of the name is [`MilvusError::AlreadyExists`].
    pub async fn create_snapshot(&self, database: &str, collection: &str, name: &str) -> Result<(), MilvusError> {
        let call = Call::collection("CreateSnapshot", database, collection).within(DEADLINE);
        let request = wire::CreateSnapshotRequest {
            name: name.to_owned(),
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        };
        self.session.call(call, request, |mut c, r| async move { c.create_snapshot(r).await }).await?;
        Ok(())
    }

    /// Moment of a snapshot as the server writes it; whether hybrid or in milliseconds is not known.
    pub async fn snapshot_time(&self, database: &str, collection: &str, name: &str) -> Result<i64, MilvusError> {
        let call = Call::collection("DescribeSnapshot", database, collection);
        let request = wire::DescribeSnapshotRequest {
            name: name.to_owned(),
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        };
        let answer = self.session.call(call, request, |mut c, r| async move { c.describe_snapshot(r).await }).await?;
        Ok(answer.create_ts)
    }

    /// Drops a snapshot, which pins its files until then; a missing one is fine.
    pub async fn drop_snapshot(&self, database: &str, collection: &str, name: &str) -> Result<(), MilvusError> {
        let call = Call::collection("DropSnapshot", database, collection).within(DEADLINE);
        let request = wire::DropSnapshotRequest {
            name: name.to_owned(),
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        };
        self.session.call(call, request, |mut c, r| async move { c.drop_snapshot(r).await }).await?;
        Ok(())
    }

    /// Starts to copy a snapshot to `root`, a URI in the server's own store; answers the job.
    pub async fn export_snapshot(
        &self,
        database: &str,
        collection: &str,
        name: &str,
        root: &str,
    ) -> Result<i64, MilvusError> {
        let call = Call::collection("ExportSnapshot", database, collection).within(DEADLINE).once();
        let request = wire::ExportSnapshotRequest {
            name: name.to_owned(),
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
            target_s3_path: root.to_owned(),
        };
        let site = call.clone();
        let answer = self.session.call(call, request, |mut c, r| async move { c.export_snapshot(r).await }).await?;
        match answer.job_id {
            0 => Err(self.session.malformed(&site, "the answer names no job")),
            job => Ok(job),
        }
    }

    /// How far an export is.
    pub async fn export_state(&self, job: i64) -> Result<Export, MilvusError> {
        let call = Call::server("GetExportSnapshotState").about(format!("job {job}"));
        let request = wire::GetExportSnapshotStateRequest { job_id: job };
        let answer =
            self.session.call(call, request, |mut c, r| async move { c.get_export_snapshot_state(r).await }).await?;
        let info = answer.info.unwrap_or_default();
        Ok(Export {
            state: state(info.state, info.progress, &info.reason),
            files: (info.total_files, info.copied_files),
            bytes: info.total_bytes,
            metadata_uri: info.snapshot_metadata_uri,
        })
    }

    /// Starts to make a collection of an exported snapshot, with its rows, indexes and partitions; answers the job. The
    /// collection must not exist.
    pub async fn restore_snapshot(
        &self,
        database: &str,
        collection: &str,
        metadata_uri: &str,
    ) -> Result<i64, MilvusError> {
        let call = Call::collection("RestoreExternalSnapshot", database, collection).within(DEADLINE).once();
        let request = wire::RestoreExternalSnapshotRequest {
            db_name: database.to_owned(),
            target_collection_name: collection.to_owned(),
            snapshot_metadata_uri: metadata_uri.to_owned(),
        };
        let site = call.clone();
        let answer =
            self.session.call(call, request, |mut c, r| async move { c.restore_external_snapshot(r).await }).await?;
        match answer.job_id {
            0 => Err(self.session.malformed(&site, "the answer names no job")),
            job => Ok(job),
        }
    }

    /// How far a restore of a snapshot is.
    pub async fn restore_state(&self, job: i64) -> Result<JobState, MilvusError> {
        let call = Call::server("GetRestoreSnapshotState").about(format!("job {job}"));
        let request = wire::GetRestoreSnapshotStateRequest { job_id: job };
        let answer =
            self.session.call(call, request, |mut c, r| async move { c.get_restore_snapshot_state(r).await }).await?;
        let info = answer.info.unwrap_or_default();
        Ok(state(info.state, info.progress, &info.reason))
    }
}

/// The numbers of both kinds of jobs: 1 pending, 2 at work, 3 completed, 4 failed (milvus-wire.md 2.13). 0 is what a server
/// answers for a job it does not know.
fn state(number: i32, progress: i32, reason: &str) -> JobState {
    match number {
        3 => JobState::Completed,
        4 => JobState::Failed(reason.to_owned()),
        0 => JobState::Failed("the server does not know the job any more".to_owned()),
        _ => JobState::Running(progress),
    }
}
