//! Snapshot format, Milvus 3.0: the server itself makes a collection of what it exported, with its indexes and partitions.
//!
//! Source: milvus-backup.md 4.9, milvus-wire.md 2.13. How many rows a snapshot holds stands nowhere, so rows are reported and
//! compared with nothing.

use std::time::Duration;

use super::ledger::{Job, Step};
use super::mapping::parse;
use super::plan::{Action, Item};
use super::{Outcome, Restore, create, finish};
use crate::engine::bundle::speaks_s3;
use crate::engine::error::EngineError;
use crate::engine::patience::{patient, until};
use crate::engine::select::Name;
use crate::engine::task::{Content, Indexes, OnConflict, Override, RestoreTask, VerifyRestore};
use crate::manifest::CollectionBackupInfo;
use crate::manifest::backup_info::SnapshotBackup;
use crate::milvus::JobState;
use crate::storage::Place;

/// One collection; the server has no bound of its own.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// Property that holds the description of a collection (milvus-backup.md 4.9).
const DESCRIPTION: &str = "collection.description";

/// Why what a restore is asked for cannot be done with a snapshot that becomes `target`, none where it can.
pub fn refusal(
    (info, target): (&CollectionBackupInfo, &Name),
    task: &RestoreTask,
    (from, to): (&Place, &Place),
) -> Option<String> {
    let mapping = &task.mapping;
    let otherwise = |change: &Override| change.shards.is_some() && parse(&change.collection) == *target;
    let bound = mapping.max_shards.is_some_and(|bound| bound < info.shards_num);
    let asked = [
        (task.on_conflict == OnConflict::Append, "rows added to an existing collection"),
        (task.content == Content::SchemaOnly, "a schema without rows"),
        (task.cut_to_recovery_point, "rows cut off at the recovery point"),
        (bound || mapping.overrides.iter().any(otherwise), "another number of shards"),
        (!mapping.skip_params.is_empty(), "parameters left out"),
    ];
    if let Some((_, what)) = asked.into_iter().find(|(asked, _)| *asked) {
        return Some(format!("was exported by Milvus as a snapshot, of which {what} cannot be had: leave that out"));
    }
    if !(speaks_s3(&task.source) && speaks_s3(&task.target.store)) {
        return Some(format!(
            "was exported by Milvus as a snapshot, which can be restored where its own store and the backup's are S3, and not \
             from {from} into the Milvus of {to}"
        ));
    }
    if !from.same_service(to) {
        return Some(format!(
            "was exported by Milvus as a snapshot, which it reads in its own store only: copy the backup from {from} to the \
             service of {to}"
        ));
    }
    None
}

/// What a person should know about a restore of snapshots.
pub fn warnings(task: &RestoreTask, items: &[Item<'_>]) -> Vec<String> {
    let snapshots = |item: &&Item<'_>| item.info.snapshot_backup.is_some() && item.action != Action::Skip;
    if !items.iter().any(|item| snapshots(&item)) {
        return Vec::new();
    }
    let mut warnings = vec![
        "the rows of snapshots were not compared with anything: the backup does not tell how many there are".to_owned(),
    ];
    if task.indexes != Indexes::Rebuild {
        warnings.push("indexes come with a snapshot as they were".to_owned());
    }
    warnings
}

impl Restore<'_> {
    /// A collection from its bundle, from wherever the ledger says it is.
    pub(super) async fn take_bundle(&self, item: &Item<'_>, bundle: &SnapshotBackup) -> Result<Outcome, EngineError> {
        let entry = self.ledger.entry(&item.target).await;
        self.counters.touched();
        let step = entry.as_ref().map(|entry| entry.step);
        if step.is_none_or(|step| step <= Step::Creating) {
            let begun = entry.iter().flat_map(|entry| &entry.imports).find_map(|import| match import.job {
                Job::Started { task } => Some(task),
                Job::Intended | Job::Done { .. } | Job::Inserting | Job::Inserted { .. } => None,
            });
            self.make(item, bundle, begun).await?;
            self.ledger.step(&item.target, Step::Imported).await?;
        }
        self.describe(item).await?;
        let mut warnings = finish::aliases(self.milvus, item).await?;
        let whole = finish::load(self.milvus, item, self.task).await?;
        let (database, collection) = (&item.target.database, &item.target.collection);
        let rows = match whole {
            true => patient(|| self.milvus.count_rows(database, collection, None)).await?,
            false => 0,
        };
        self.ledger.step(&item.target, Step::Done).await?;
        self.counters.collections(1);
        if self.task.verify == VerifyRestore::Sample {
            let why = "it is a snapshot, which only a Milvus can read";
            warnings.push(format!("rows of {} were not compared with the backup: {why}", item.target));
        }
        Ok(Outcome { expected: rows, actual: rows, brought: None, compared: 0, warnings })
    }

    /// Asks the server for the collection, once: a job that an earlier attempt began is waited for.
    async fn make(&self, item: &Item<'_>, bundle: &SnapshotBackup, begun: Option<i64>) -> Result<(), EngineError> {
        if let Some(job) = begun
            && self.ended(&item.target, job).await?.is_ok()
        {
            return Ok(());
        }
        if item.action == Action::Replace || begun.is_some() || self.ledger.entry(&item.target).await.is_some() {
            self.ledger.step(&item.target, Step::Dropping).await?;
            create::drop(self.milvus, &item.target).await?;
        }
        self.ledger
            .change(|record| {
                record.entry_mut(&item.target).make_anew();
            })
            .await?;
        self.ledger.job(&item.target, &bundle.metadata_path, Job::Intended).await?;
        let place = self.artifact.store().place();
        let uri = format!("s3://{}/{}", place.bucket, self.artifact.keys.key(&bundle.metadata_path));
        let job = {
            // Broken off, it would leave a job nobody knows of.
            let _call = self.counters.unbroken();
            self.milvus.restore_snapshot(&item.target.database, &item.target.collection, &uri).await?
        };
        self.ledger.job(&item.target, &bundle.metadata_path, Job::Started { task: job }).await?;
        self.ended(&item.target, job).await?.map_err(|reason| {
            EngineError::Rejected(format!("milvus could not make {} of its snapshot: {reason}", item.target))
        })
    }

    /// Waits for a job; answers why it was given up.
    async fn ended(&self, name: &Name, job: i64) -> Result<Result<(), String>, EngineError> {
        let failed = std::sync::Mutex::new(None);
        until(&format!("restoring the snapshot of {name}"), DEADLINE, || async {
            Ok(match patient(|| self.milvus.restore_state(job)).await? {
                JobState::Running(_) => false,
                JobState::Completed => true,
                JobState::Failed(reason) => {
                    if let Ok(mut failed) = failed.lock() {
                        *failed = Some(reason);
                    }
                    true
                }
            })
        })
        .await?;
        Ok(failed.into_inner().ok().flatten().map_or(Ok(()), Err))
    }

    /// Another description, where one is asked for.
    async fn describe(&self, item: &Item<'_>) -> Result<(), EngineError> {
        let named = |name: &str| parse(name) == item.target;
        let mut changes = self.task.mapping.overrides.iter().filter(|change| named(&change.collection));
        let Some(description) = changes.find_map(|change| change.description.clone()) else { return Ok(()) };
        let properties = [(DESCRIPTION.to_owned(), description)];
        let (database, collection) = (&item.target.database, &item.target.collection);
        patient(|| self.milvus.alter_collection(database, collection, &properties)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::task::{Mapping, Service};

    fn place(service: &str) -> Place {
        Place { service: service.into(), region: "r".into(), bucket: "b".into() }
    }

    fn task() -> RestoreTask {
        serde_json::from_str(
            r#"{"artifact":"a","source":{"bucket":"b"},"target":{"host":"h","port":1,"store":{"bucket":"b"}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_a_snapshot_cannot_give_is_refused_by_name() {
        let info = CollectionBackupInfo { shards_num: 2, ..CollectionBackupInfo::default() };
        let (here, there) = (place("http://s3"), place("http://other"));
        let target = Name::new("default", "c");
        let said = |task: &RestoreTask| refusal((&info, &target), task, (&here, &here));
        assert_eq!(said(&task()), None);
        let change = |name: &str| Override { collection: name.into(), shards: Some(1), description: None };
        let shards = change("c");
        let with = |mapping| RestoreTask { mapping, ..task() };
        assert_eq!(said(&with(Mapping { max_shards: Some(2), ..Mapping::default() })), None);
        let of_another = with(Mapping { overrides: vec![change("d")], ..Mapping::default() });
        assert_eq!(said(&of_another), None, "another collection is made otherwise, which may be of the same snapshot");
        for (task, words) in [
            (RestoreTask { on_conflict: OnConflict::Append, ..task() }, "rows added"),
            (RestoreTask { content: Content::SchemaOnly, ..task() }, "a schema without rows"),
            (RestoreTask { cut_to_recovery_point: true, ..task() }, "cut off"),
            (with(Mapping { max_shards: Some(1), ..Mapping::default() }), "number of shards"),
            (with(Mapping { overrides: vec![shards], ..Mapping::default() }), "number of shards"),
        ] {
            assert!(said(&task).unwrap().contains(words), "{words}");
        }
        assert!(refusal((&info, &target), &task(), (&there, &here)).unwrap().contains("in its own store only"));
        for service in [Service::Azure, Service::Gcs] {
            let (mut source, mut target) = (task(), task());
            source.source.service = service;
            target.target.store.service = service;
            for task in [source, target] {
                assert!(said(&task).unwrap().contains("are S3, and not"), "{service:?}");
            }
        }
        let mut folder = task();
        folder.source.folder = Some("/backups".into());
        assert!(said(&folder).is_some());
    }
}
