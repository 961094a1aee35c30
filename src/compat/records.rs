//! What is known of tasks, kept in the bucket: state survives the process, and another process can answer.
//!
//! One small object for each task under `<root>/.milvus-backup/tasks/`, a name no backup can have, so listings pass it by.
//! It is written when the task begins, while it runs, and when it ends. A task whose record says that it runs and has not
//! been renewed for [`SILENCE`] has lost its process: it failed.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::errors::OperationError;
use super::wire::{self, NO_TIME, state};
use crate::engine::artifact::BRIEF;
use crate::manifest::operator_manifest::digest;
use crate::storage::{Store, StoreError};

/// Version of the object.
const VERSION: u32 = 1;
/// How often the record of a running task is renewed.
pub const BEAT: Duration = Duration::from_secs(5);
/// A record that was not renewed for this long belongs to a process that is gone.
pub const SILENCE: SignedDuration = SignedDuration::from_secs(30);
/// Records of ended tasks are removed after this.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Records looked at by one sweep.
const SWEPT: usize = 2000;
/// Longest wait for the store; a task does not end later for a record.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Makes a backup.
    Create,
    /// Brings one back.
    Restore,
}

/// A collection a restore makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Database.
    pub database: String,
    /// Collection.
    pub collection: String,
}

/// A task, as it is in memory and in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRecord {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Id.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// Name of the backup.
    pub backup: String,
    /// A number of [`state`].
    pub state: i32,
    /// Why it failed.
    #[serde(default)]
    pub error: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// Percent.
    pub progress: i32,
    /// Collections a restore makes.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// When this was written.
    pub updated: Timestamp,
}

impl TaskRecord {
    /// A task that was accepted.
    pub fn accepted(id: &str, kind: Kind, backup: &str, now: Timestamp) -> TaskRecord {
        TaskRecord {
            version: VERSION,
            id: id.to_owned(),
            kind,
            backup: backup.to_owned(),
            state: state::INITIAL,
            error: String::new(),
            started: now,
            ended: None,
            progress: 1,
            targets: Vec::new(),
            updated: now,
        }
    }

    /// As seen by a process that does not run it: silence is failure.
    pub fn judged(mut self, now: Timestamp) -> TaskRecord {
        if self.ended.is_none() && now.duration_since(self.updated) > SILENCE {
            self.state = state::FAIL;
            self.ended = Some(self.updated);
            self.error =
                format!("the server that ran it ended before it did, at about {}: ask for it again", self.updated);
            if self.kind == Kind::Create {
                self.progress = 0;
            }
        }
        self
    }

    /// Start in unix seconds.
    pub fn start_time(&self) -> i64 {
        self.started.as_second()
    }

    /// End in unix seconds, Go's zero time where there is none.
    pub fn end_time(&self) -> i64 {
        self.ended.map_or(NO_TIME, Timestamp::as_second)
    }

    /// As `get_restore` shows it.
    pub fn as_restore(&self) -> wire::RestoreTask {
        let collection = |target: &Target| wire::CollectionRestoreTask {
            state_code: self.state,
            error_message: String::new(),
            start_time: self.start_time(),
            end_time: self.end_time(),
            progress: self.progress,
            target_db_name: target.database.clone(),
            target_collection_name: target.collection.clone(),
        };
        wire::RestoreTask {
            id: self.id.clone(),
            state_code: self.state,
            error_message: self.error.clone(),
            start_time: self.start_time(),
            end_time: self.end_time(),
            progress: self.progress,
            collection_restore_tasks: self.targets.iter().map(collection).collect(),
        }
    }
}

/// An id as part of a key: itself where it is plain, else a digest.
pub fn in_key(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match id.len() <= 128 && !id.is_empty() && id.bytes().all(plain) {
        true => id.to_owned(),
        false => format!("sha256_{}", digest(id.as_bytes())),
    }
}

/// The records of a bucket.
#[derive(Debug)]
pub struct Records<'a> {
    store: &'a dyn Store,
    folder: String,
}

impl<'a> Records<'a> {
    /// Records below the path of backups.
    pub fn new(store: &'a dyn Store, root: &str) -> Records<'a> {
        let root = root.trim_matches('/');
        let slash = if root.is_empty() { "" } else { "/" };
        Records { store, folder: format!("{root}{slash}.milvus-backup/tasks/") }
    }

    fn task(&self, id: &str) -> String {
        format!("{}{}.json", self.folder, in_key(id))
    }

    /// The latest task that makes a backup of this name.
    fn name(&self, backup: &str) -> String {
        format!("{}backups/{}.json", self.folder, in_key(backup))
    }

    /// Writes a record.
    ///
    /// # Errors
    /// The store's, or it took too long.
    pub async fn write(&self, record: &TaskRecord) -> Result<(), OperationError> {
        let body = Bytes::from(serde_json::to_vec(record).map_err(|error| OperationError::failed(error.to_string()))?);
        let write = async {
            self.store.put(&self.task(&record.id), body.clone()).await?;
            if record.kind == Kind::Create {
                self.store.put(&self.name(&record.backup), body).await?;
            }
            Ok(())
        };
        in_time(write).await
    }

    /// A task by its id.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, id: &str) -> Result<Option<TaskRecord>, OperationError> {
        in_time(self.read(&self.task(id))).await
    }

    /// The latest task that made, or makes, a backup of this name.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_backup(&self, name: &str) -> Result<Option<TaskRecord>, OperationError> {
        in_time(self.read(&self.name(name))).await
    }

    /// A record nobody can read any more is as good as none.
    async fn read(&self, key: &str) -> Result<Option<TaskRecord>, StoreError> {
        let body = match self.store.get_within(key, BRIEF).await {
            Ok(body) => body,
            Err(error @ StoreError::TooLarge { .. }) => {
                tracing::warn!("unreadable record of a task: {error}");
                return Ok(None);
            }
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = serde_json::from_slice::<TaskRecord>(&body);
        Ok(read.inspect_err(|error| tracing::warn!(key, "unreadable record of a task: {error}")).ok())
    }

    /// Forgets the tasks that made a backup.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget(&self, backup: &str) -> Result<(), OperationError> {
        let made = self.of_backup(backup).await?.map(|record| self.task(&record.id));
        let keys: Vec<String> = made.into_iter().chain([self.name(backup)]).collect();
        in_time(self.store.delete(&keys)).await
    }

    /// Removes records of tasks that ended long ago; answers how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, OperationError> {
        let mut old = Vec::new();
        let (mut after, mut seen) = (None, 0);
        while seen < SWEPT {
            let page = in_time(self.store.list_page(&self.folder, after.as_deref())).await?;
            seen += page.objects.len();
            for object in page.objects {
                if let Some(record) = in_time(self.read(&object.key)).await?
                    && now.duration_since(record.updated) > KEPT
                {
                    old.push(object.key);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if !old.is_empty() {
            in_time(self.store.delete(&old)).await?;
        }
        Ok(old.len())
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, OperationError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome.map_err(|error| crate::engine::error::EngineError::from(error).into()),
        Err(_) => {
            let message =
                format!("the store of backups took more than {} s for the record of a task", PATIENCE.as_secs());
            Err(OperationError::Failed { class: crate::exit::Class::Retry, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryService;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn a_record_is_found_by_id_and_a_backup_by_name() {
        let store = MemoryService::new("s").bucket("b");
        let records = Records::new(&store, "backup/");
        let record = TaskRecord::accepted("req/1 ü", Kind::Create, "nightly", at(10));
        records.write(&record).await.unwrap();
        assert_eq!(records.find("req/1 ü").await.unwrap(), Some(record.clone()));
        assert_eq!(records.of_backup("nightly").await.unwrap(), Some(record));
        assert_eq!(records.find("other").await.unwrap(), None);
        records.forget("nightly").await.unwrap();
        assert_eq!(records.find("req/1 ü").await.unwrap(), None);
        assert_eq!(records.of_backup("nightly").await.unwrap(), None);
    }

    #[test]
    fn a_running_task_that_fell_silent_has_failed() {
        let record = TaskRecord::accepted("r", Kind::Restore, "b", at(1000));
        assert_eq!(record.clone().judged(at(1030)), record);
        let judged = record.judged(at(1031));
        assert_eq!((judged.state, judged.ended), (state::FAIL, Some(at(1000))));
        assert!(judged.error.contains("ask for it again"), "{}", judged.error);
    }

    #[test]
    fn an_ended_task_stays_what_it_is_for_ever() {
        let mut record = TaskRecord::accepted("r", Kind::Restore, "b", at(1000));
        record.state = state::SUCCESS;
        record.ended = Some(at(1001));
        assert_eq!(record.clone().judged(at(1_000_000)), record);
    }

    #[tokio::test]
    async fn old_records_are_swept_and_young_ones_stay() {
        let store = MemoryService::new("s").bucket("b");
        let records = Records::new(&store, "");
        let month = 31 * 24 * 3600;
        for (id, second) in [("old", 0), ("young", month)] {
            records.write(&TaskRecord::accepted(id, Kind::Restore, "b", at(second))).await.unwrap();
        }
        assert_eq!(records.sweep(at(month + 60)).await.unwrap(), 1);
        assert_eq!(records.find("old").await.unwrap(), None);
        assert!(records.find("young").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn bytes_that_are_no_record_are_as_good_as_none() {
        let store = MemoryService::new("s").bucket("b");
        let records = Records::new(&store, "backup");
        store.put("backup/.milvus-backup/tasks/r.json", Bytes::from_static(b"{")).await.unwrap();
        assert_eq!(records.find("r").await.unwrap(), None);
    }

    #[test]
    fn an_id_never_leaves_its_folder() {
        for id in ["../x", "a/b", "", ".", "ü", &"x".repeat(129)] {
            let key = in_key(id);
            assert!(key.starts_with("sha256_") && !key.contains(['/', '.']), "{id} {key}");
        }
        assert_eq!(in_key("restore_2026-a"), "restore_2026-a");
    }
}
