//! Snapshot format, Milvus 3.0: the server itself copies what belongs to a collection into the artifact.
//!
//! Source: milvus-backup.md 2.9, milvus-wire.md 2.13. A snapshot pins files in the server's store until it is dropped, so it
//! is held in [`Pause`] and dropped on every orderly exit.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::Backup;
use super::pause::Pause;
use super::verify::Verified;
use crate::engine::artifact::Artifact;
use crate::engine::bundle::{BUNDLE, path_digest, speaks_s3};
use crate::engine::error::EngineError;
use crate::engine::patience::{patient, until};
use crate::engine::preflight::unsupported;
use crate::engine::select::Name;
use crate::engine::task::BackupTask;
use crate::manifest::backup_info::SnapshotBackup;
use crate::manifest::objects::ObjectsWriter;
use crate::manifest::{CollectionBackupInfo, ObjectRecord};
use crate::milvus::{Export, JobState, ServerVersion};
use crate::storage::{Listing, Place};

/// Exports at once. The server copies by itself, with bounds of its own.
const EXPORTS: usize = 4;
/// One collection; the server has no bound of its own.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

impl Backup<'_> {
    /// Whether the server can write into the artifact: it copies within one service only, with its own keys.
    ///
    /// # Errors
    /// `UnsupportedVersion` where it cannot.
    pub(super) fn reachable_by_server(&self) -> Result<(), EngineError> {
        let places = (self.source.place(), self.artifact.store().place());
        unreachable(self.task, places, self.milvus.version()).map_or(Ok(()), |why| Err(unsupported(why)))
    }

    /// Lets the server copy every collection into the artifact, and records where it is.
    ///
    /// # Errors
    /// The server's; a copy it gave up or put elsewhere.
    pub(super) async fn export(
        &self,
        collections: &mut [CollectionBackupInfo],
        pause: &Pause,
    ) -> Result<(), EngineError> {
        let done: Vec<(u64, SnapshotBackup)> = stream::iter(collections.iter())
            .map(|info| self.export_one(info, pause))
            .buffered(EXPORTS)
            .try_collect()
            .await?;
        for (info, (moment, bundle)) in collections.iter_mut().zip(done) {
            info.backup_timestamp = moment;
            info.size = bundle.total_bytes;
            info.snapshot_backup = Some(bundle);
            // The bundle has them.
            info.partition_backups.clear();
        }
        Ok(())
    }

    async fn export_one(
        &self,
        info: &CollectionBackupInfo,
        pause: &Pause,
    ) -> Result<(u64, SnapshotBackup), EngineError> {
        let name = Name::new(&info.db_name, &info.collection_name);
        let (database, collection) = (info.db_name.as_str(), info.collection_name.as_str());
        let snapshot = format!("mbk_{}", self.task.artifact);
        // One of an attempt that was killed holds an older moment.
        patient(|| self.milvus.drop_snapshot(database, collection, &snapshot)).await.map_err(too_old)?;
        pause.pin(&self.milvus, &name, &snapshot);
        patient(|| self.milvus.create_snapshot(database, collection, &snapshot)).await.map_err(too_old)?;
        let moment = patient(|| self.milvus.snapshot_time(database, collection, &snapshot)).await?;
        let place = self.artifact.store().place();
        let root = format!("s3://{}/{}bundle", place.bucket, self.artifact.keys.dir());
        let job = {
            // Broken off, it would leave a job nobody knows of.
            let _call = self.counters.unbroken();
            self.milvus.export_snapshot(database, collection, &snapshot, &root).await.map_err(EngineError::from)
        };
        let job = job.map_err(too_old)?;
        let export = self.exported(&name, job).await?;
        pause.unpin(&name).await;
        self.counters.collections(1);
        let home = format!("s3://{}/{}", place.bucket, self.artifact.keys.dir());
        let Some(path) = export.metadata_uri.strip_prefix(&home).filter(|path| path.starts_with(BUNDLE)) else {
            return Err(EngineError::Rejected(format!(
                "milvus put the snapshot of {name} at {}, which is not in {root}",
                export.metadata_uri
            )));
        };
        let bundle =
            SnapshotBackup { metadata_path: path.to_owned(), total_files: export.files.0, total_bytes: export.bytes };
        Ok((hybrid(moment), bundle))
    }

    /// Waits for a job.
    async fn exported(&self, name: &Name, job: i64) -> Result<Export, EngineError> {
        let seen = std::sync::Mutex::new(None);
        until(&format!("the export of {name}"), DEADLINE, || async {
            let export = patient(|| self.milvus.export_state(job)).await?;
            match &export.state {
                JobState::Running(_) => Ok(false),
                JobState::Failed(reason) => {
                    Err(EngineError::Interrupted(format!("milvus could not export the snapshot of {name}: {reason}")))
                }
                JobState::Completed => {
                    if let Ok(mut seen) = seen.lock() {
                        *seen = Some(export);
                    }
                    Ok(true)
                }
            }
        })
        .await?;
        let done = seen.into_inner().ok().flatten();
        done.ok_or_else(|| EngineError::Interrupted(format!("the export of {name} was not answered")))
    }
}

/// Why the server cannot write into the artifact, none where it can.
fn unreachable(task: &BackupTask, (from, to): (&Place, &Place), version: &ServerVersion) -> Option<String> {
    if !(speaks_s3(&task.milvus.store) && speaks_s3(&task.destination)) {
        return Some(format!(
            "Milvus {version} copies its data by snapshots only, which can be backed up where its own store and the location \
             are S3 and not from {from} to {to}: a backup of the schema only is possible"
        ));
    }
    (!from.same_service(to)).then(|| {
        format!(
            "Milvus {version} copies its snapshots within its own store only, and {to} is not in the same service as {from}: \
             use a location there"
        )
    })
}

/// A snapshot's moment as a hybrid timestamp: unix milliseconds are below 2^42 until the year 2109, hybrid ones above since
/// 1970 (milvus-wire.md 2.13 leaves the unit open).
fn hybrid(moment: i64) -> u64 {
    let moment = u64::try_from(moment).unwrap_or_default();
    if moment < 1 << 42 { moment << 18 } else { moment }
}

/// A server that knows the call and has nothing behind it yet.
fn too_old(error: EngineError) -> EngineError {
    match error {
        EngineError::Milvus(error) if error.is_unimplemented() => {
            unsupported(format!("this Milvus cannot export snapshots, which 3.0.1 and later can: upgrade it ({error})"))
        }
        error => error,
    }
}

/// Records what the server has put into the artifact, page by page, and proves that the metadata of every collection is
/// among it.
///
/// # Errors
/// [`EngineError::Damaged`], naming what is missing; the store's.
pub async fn artifact(artifact: &Artifact, collections: &[CollectionBackupInfo]) -> Result<Verified, EngineError> {
    let path = |info: &CollectionBackupInfo| info.snapshot_backup.as_ref().map(|bundle| bundle.metadata_path.clone());
    let mut missing: BTreeMap<String, &CollectionBackupInfo> =
        collections.iter().map(|info| (path(info).unwrap_or_default(), info)).collect();
    let mut records = ObjectsWriter::new()?;
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut listing = Listing::new(artifact.store(), artifact.keys.key(BUNDLE));
    while let Some(page) = listing.next().await? {
        for object in page {
            let Some(key) = artifact.keys.relative(&object.key).map(str::to_owned) else { continue };
            if !seen.insert(path_digest(&key)) {
                continue;
            }
            if object.size > 0 {
                missing.remove(&key);
            }
            bytes += object.size;
            records.push(&ObjectRecord { key, size: object.size, etag: object.etag, source_key: None, rows: None })?;
        }
    }
    if let Some((path, info)) = missing.first_key_value() {
        return Err(EngineError::Damaged(format!(
            "milvus says that {}.{} is exported, and {path} is not in the backup",
            info.db_name, info.collection_name
        )));
    }
    Ok(Verified { objects: records.finish()?.into(), count: seen.len() as u64, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::task::Service;

    #[test]
    fn a_snapshot_goes_to_s3_of_the_same_service_only() {
        let place = |service: &str| Place { service: service.into(), region: "r".into(), bucket: "b".into() };
        let (here, there) = (place("https://s3"), place("https://other"));
        let version = ServerVersion::parse("v3.0.1");
        let task: BackupTask = serde_json::from_str(
            r#"{"artifact":"a","milvus":{"host":"h","port":1,"store":{"bucket":"b"}},"destination":{"bucket":"b"}}"#,
        )
        .unwrap();
        let said = |task: &BackupTask, to: &Place| unreachable(task, (&here, to), &version);
        assert_eq!(said(&task, &here), None);
        assert!(said(&task, &there).unwrap().contains("within its own store only"));
        for service in [Service::Azure, Service::Gcs] {
            let (mut own, mut location) = (task.clone(), task.clone());
            own.milvus.store.service = service;
            location.destination.service = service;
            for task in [own, location] {
                assert!(said(&task, &here).unwrap().contains("are S3 and not"), "{service:?}");
            }
        }
        let mut folder = task;
        folder.destination.folder = Some("/backups".into());
        assert!(said(&folder, &here).is_some());
    }

    #[test]
    fn a_moment_is_hybrid_whatever_the_server_writes() {
        let millis = 1_790_000_000_000_i64;
        assert_eq!(hybrid(millis), (millis as u64) << 18);
        assert_eq!(hybrid((millis << 18) | 5), ((millis as u64) << 18) | 5);
        assert_eq!(hybrid(-1), 0);
    }
}
