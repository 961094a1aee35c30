//! The routes carried out by this process: tasks begun and stopped, states found wherever they are.
//!
//! A state is looked for in this process, then in the backup itself, then in the records of the bucket: so an answer is the
//! same before and after a restart, and from another process.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::brief;
use super::errors::OperationError;
use super::limits::Limits;
use super::operations::{Operations, Place};
use super::records::{Kind, Records, TaskRecord};
use super::service::Service;
use super::tasks::{Tasks, Work};
use super::translate::{self, valid_id, valid_name};
use super::wire::{BackupBrief, BackupSummary, CreateRequest, RestoreRequest, RestoreTask, StoppedTask, state};
use crate::exit::Class;
use crate::local::operations::BackupId;
use crate::local::tasks::default_name;

/// Tasks of this process, with [`Operations`] behind them.
#[derive(Debug)]
pub struct OwnTasks {
    operations: Arc<dyn Operations>,
    tasks: Arc<Tasks>,
    limits: Limits,
}

impl OwnTasks {
    /// With no tasks yet.
    pub fn new(operations: Arc<dyn Operations>, limits: Limits) -> OwnTasks {
        OwnTasks { tasks: Tasks::new(operations.clone(), limits), operations, limits }
    }
}

#[async_trait]
impl Service for OwnTasks {
    /// A client that leaves while it waits stops the backup.
    async fn create(&self, request: &CreateRequest, id: &str) -> Result<Option<BackupBrief>, OperationError> {
        valid_id("request_id", id)?;
        let order = translate::create(request, id)?;
        let name = BackupId::Name(request.backup_name.clone());
        let at = Place { bucket: None, root: order.backup_root_path.clone() };
        match self.operations.get(&name, &at).await {
            Ok(None) => {}
            Ok(Some(_)) => {
                let name = &request.backup_name;
                return Err(OperationError::failed(format!(
                    "backup {name} exists already: choose another name, or delete it first"
                )));
            }
            // The rest of a backup that never ended: whether this run may go on with it is the engine's to say.
            Err(error) if error.class() == Class::Data => {}
            Err(error) => return Err(error),
        }
        let task = self.tasks.begin(id, Work::Create(Box::new(order)), Timestamp::now())?;
        if request.asynchronous {
            return Ok(None);
        }
        let client_left = task.stops_with_its_client();
        let outcome = task.wait().await;
        client_left.disarm();
        outcome?;
        let record = task.record(Timestamp::now());
        Ok(Some(match self.operations.get(&name, &at).await {
            Ok(Some(stored)) => brief::of_backup(stored, Some(&record)),
            Ok(None) | Err(_) => brief::of_task(&record),
        }))
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<RestoreTask, OperationError> {
        let now = Timestamp::now();
        let id = match request.id.as_str() {
            "" => default_name("restore", now),
            given => given.to_owned(),
        };
        valid_id("id", &id)?;
        let order = translate::restore(request, &id)?;
        let at = Place { bucket: order.bucket_name.clone(), root: order.path.clone() };
        let name = &request.backup_name;
        if self.operations.get(&BackupId::Name(name.clone()), &at).await?.is_none() {
            return Err(OperationError::Parameter(format!("backup {name} not found")));
        }
        let task = self.tasks.begin(&id, Work::Restore(Box::new(order)), now)?;
        if request.asynchronous {
            return Ok(TaskRecord::accepted(&id, Kind::Restore, name, now).as_restore());
        }
        task.wait().await?;
        Ok(task.record(Timestamp::now()).as_restore())
    }

    async fn get_backup(&self, name: &str, id: &str, path: &str) -> Result<BackupBrief, OperationError> {
        let at = Place { bucket: None, root: Some(path.to_owned()).filter(|path| !path.is_empty()) };
        let (wanted, task) = match (id, name) {
            ("", "") => {
                let sentence = "empty backup name and backup id, please set a backup name or id";
                return Err(OperationError::Parameter(sentence.to_owned()));
            }
            ("", name) => {
                valid_name(name)?;
                (BackupId::Name(name.to_owned()), self.tasks.of_backup(name))
            }
            (id, _) => (BackupId::Id(id.to_owned()), self.tasks.find(id)),
        };
        let known = task.map(|task| task.record(Timestamp::now())).filter(|record| record.kind == Kind::Create);
        if let Some(running) = known.as_ref().filter(|record| record.ended.is_none()) {
            return Ok(brief::of_task(running));
        }
        // What this process made it knows the name of; others are searched for.
        let wanted = match &known {
            Some(record) => BackupId::Name(record.backup.clone()),
            None => wanted,
        };
        let stored = self.operations.get(&wanted, &at).await;
        let recorded = match known {
            Some(record) => Some(record),
            None => self.recorded(&wanted, stored.as_ref().ok().and_then(|stored| stored.as_ref())).await,
        };
        match (stored, recorded) {
            (Ok(Some(stored)), recorded) if id.is_empty() || stored.info.id == id => {
                Ok(brief::of_backup(stored, recorded.as_ref()))
            }
            // The record says done, and the backup is not there or not readable: the bucket is the truth.
            (outcome, Some(record)) if record.state == state::SUCCESS => match outcome {
                Err(error) => Err(error),
                Ok(_) => Err(gone(&record.backup)),
            },
            (_, Some(record)) => Ok(brief::of_task(&record)),
            (Ok(_), None) if id.is_empty() => Err(gone(name)),
            (Ok(_), None) => Err(OperationError::failed("get backup task: task not found")),
            (Err(error), None) => Err(error),
        }
    }

    async fn get_restore(&self, id: &str) -> Result<RestoreTask, OperationError> {
        if id.is_empty() {
            return Err(OperationError::failed("empty restore id"));
        }
        let now = Timestamp::now();
        let record = match self.tasks.find(id) {
            Some(task) => Some(task.record(now)),
            None => self.find_record(id).await?.map(|record| record.judged(now)),
        };
        match record.filter(|record| record.kind == Kind::Restore) {
            Some(record) => Ok(record.as_restore()),
            None => Err(not_found()),
        }
    }

    /// Waits for the end of a stopped task as long as a call may take that must not be broken off.
    async fn stop_task(&self, id: &str) -> Result<StoppedTask, OperationError> {
        if id.is_empty() {
            return Err(OperationError::Parameter(
                "id is required: the id of a restore, or the request_id of a create".into(),
            ));
        }
        let Some(task) = self.tasks.find(id) else {
            let record = self.find_record(id).await?.map(|record| record.judged(Timestamp::now()));
            return Err(match record {
                None => not_found(),
                Some(record) if record.ended.is_some() => ended(id),
                Some(_) => {
                    OperationError::failed(format!("task {id} runs in another process: ask that one to stop it"))
                }
            });
        };
        if task.record(Timestamp::now()).ended.is_some() {
            return Err(ended(id));
        }
        task.stop();
        let _ = tokio::time::timeout(self.limits.stop_time, task.wait()).await;
        Ok(StoppedTask { id: id.to_owned(), state_code: task.record(Timestamp::now()).state })
    }

    async fn delete(&self, name: &str) -> Result<(), OperationError> {
        valid_name(name)?;
        if let Some(id) = self.tasks.busy_with(name) {
            let sentence =
                format!("task {id} works with backup {name}: wait for it, or stop it with DELETE /task?id={id}");
            return Err(OperationError::Failed { class: Class::Retry, message: sentence });
        }
        self.operations.delete(name).await?;
        self.tasks.forget(name);
        let forgotten = async {
            let (store, root) = self.operations.store().await?;
            Records::new(store.as_ref(), &root).forget(name).await
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(backup = name, "the record of the task that made it remains: {error}");
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<BackupSummary>, OperationError> {
        self.operations.list().await
    }

    async fn check(&self) -> Result<String, OperationError> {
        self.operations.check().await
    }

    /// Removes records of old tasks; at the end stops the running ones and waits for them.
    async fn tend(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { self.sweep_records().await; std::future::pending().await } => {}
        }
        self.tasks.shut_down(self.limits.stop_time).await;
    }
}

impl OwnTasks {
    /// The record of the task that made a backup, or tried to. A bucket that does not answer has already said so, or will.
    async fn recorded(&self, wanted: &BackupId, stored: Option<&super::operations::Stored>) -> Option<TaskRecord> {
        let found = async {
            let (store, root) = self.operations.store().await?;
            let records = Records::new(store.as_ref(), &root);
            match (stored, wanted) {
                (Some(stored), _) => records.find(&stored.info.id).await,
                (None, BackupId::Name(name)) => records.of_backup(name).await,
                (None, BackupId::Id(id)) => records.find(id).await,
            }
        };
        match found.await {
            Ok(record) => {
                record.filter(|record| record.kind == Kind::Create).map(|record| record.judged(Timestamp::now()))
            }
            Err(error) => {
                tracing::warn!("no record of a task could be read: {error}");
                None
            }
        }
    }

    /// Removes records of tasks that ended long ago.
    async fn sweep_records(&self) {
        let swept = async {
            let (store, root) = self.operations.store().await?;
            Records::new(store.as_ref(), &root).sweep(Timestamp::now()).await
        };
        match swept.await {
            Ok(0) => {}
            Ok(records) => tracing::info!(records, "removed records of old tasks"),
            Err(error) => tracing::warn!("records of old tasks remain: {error}"),
        }
    }

    async fn find_record(&self, id: &str) -> Result<Option<TaskRecord>, OperationError> {
        let (store, root) = self.operations.store().await?;
        Records::new(store.as_ref(), &root).find(id).await
    }
}

fn gone(name: &str) -> OperationError {
    OperationError::failed(format!("backup {name} not found"))
}

fn not_found() -> OperationError {
    OperationError::failed("task not found")
}

fn ended(id: &str) -> OperationError {
    OperationError::failed(format!("task {id} has ended already"))
}
