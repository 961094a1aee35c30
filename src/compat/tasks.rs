//! Tasks of this process: begun, watched, stopped, remembered for a while.
//!
//! At most [`Limits::tasks`] run at once; each is one future in a set this owns, none is detached. Ended ones stay in memory
//! up to a bound; every task is in the bucket as well ([`super::records`]), where another process finds it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::errors::OperationError;
use super::limits::Limits;
use super::operations::{Operations, Running};
use super::records::{BEAT, Kind, Records, Target, TaskRecord};
use super::wire::state;
use crate::engine::task::{Progress, Stage};
use crate::local::operations::{CreateRequest, RestoreRequest};

/// What a task is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Make a backup.
    Create(Box<CreateRequest>),
    /// Bring one back.
    Restore(Box<RestoreRequest>),
}

impl Work {
    fn kind(&self) -> Kind {
        match self {
            Work::Create(_) => Kind::Create,
            Work::Restore(_) => Kind::Restore,
        }
    }

    fn backup(&self) -> &str {
        match self {
            Work::Create(request) => request.name.as_deref().unwrap_or_default(),
            Work::Restore(request) => &request.name,
        }
    }
}

/// One task.
#[derive(Debug)]
pub struct Task {
    record: Mutex<TaskRecord>,
    outcome: Mutex<Option<Result<(), OperationError>>>,
    running: Arc<Running>,
    ended: CancellationToken,
}

impl Task {
    /// What is known of it now.
    pub fn record(&self, now: Timestamp) -> TaskRecord {
        let mut record = lock(&self.record).clone();
        if record.ended.is_none() && record.state == state::EXECUTING {
            record.progress = percent(record.kind, &self.running.counters.read(now));
            record.targets = targets(&self.running);
        }
        record.updated = now;
        record
    }

    /// Waits until it has ended; answers how.
    pub async fn wait(&self) -> Result<(), OperationError> {
        self.ended.cancelled().await;
        lock(&self.outcome).clone().unwrap_or(Ok(()))
    }

    /// Tells it to stop.
    pub fn stop(&self) {
        self.running.cancel.cancel();
    }

    /// Stops it when the guard is dropped.
    pub fn stops_with_its_client(&self) -> tokio_util::sync::DropGuard {
        self.running.cancel.clone().drop_guard()
    }

    fn begin(&self, now: Timestamp) -> TaskRecord {
        lock(&self.record).state = state::EXECUTING;
        self.record(now)
    }

    /// The record it will have once it has ended.
    fn ending(&self, outcome: &Result<(), OperationError>, now: Timestamp) -> TaskRecord {
        let mut record = self.record(now);
        record.ended = Some(now);
        match outcome {
            Ok(()) => {
                record.state = state::SUCCESS;
                record.progress = 100;
            }
            Err(error) => {
                record.state = state::FAIL;
                record.error = error.message();
                if record.kind == Kind::Create {
                    record.progress = 0;
                }
            }
        }
        record
    }

    fn end(&self, outcome: Result<(), OperationError>, record: TaskRecord) {
        *lock(&self.record) = record;
        *lock(&self.outcome) = Some(outcome);
        self.ended.cancel();
    }
}

/// The tasks of this process.
#[derive(Debug)]
pub struct Tasks {
    operations: Arc<dyn Operations>,
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    running: Vec<Arc<Task>>,
    ended: VecDeque<Arc<Task>>,
    futures: JoinSet<()>,
    stopping: bool,
}

impl Tasks {
    /// None yet.
    pub fn new(operations: Arc<dyn Operations>, limits: Limits) -> Arc<Tasks> {
        Arc::new(Tasks { operations, limits, inner: Mutex::default() })
    }

    /// Begins a task.
    ///
    /// # Errors
    /// Too many run already, one of this id runs, a backup of this name is being made.
    pub fn begin(self: &Arc<Self>, id: &str, work: Work, now: Timestamp) -> Result<Arc<Task>, OperationError> {
        let mut inner = self.lock();
        while inner.futures.try_join_next().is_some() {}
        self.admit(&inner, id, &work)?;
        let task = Arc::new(Task {
            record: Mutex::new(TaskRecord::accepted(id, work.kind(), work.backup(), now)),
            outcome: Mutex::default(),
            running: Arc::new(Running::new(id.to_owned())),
            ended: CancellationToken::new(),
        });
        inner.running.push(task.clone());
        let leaves = Leaves { tasks: self.clone(), task: task.clone() };
        inner.futures.spawn(async move {
            let Leaves { tasks, task } = &leaves;
            tasks.carry_out(task, work).await;
            drop(leaves);
        });
        Ok(task)
    }

    fn admit(&self, inner: &Inner, id: &str, work: &Work) -> Result<(), OperationError> {
        if inner.stopping {
            return Err(busy("this server is stopping: ask again when it is back".into()));
        }
        if inner.running.iter().any(|task| task.running.id == id) {
            return Err(OperationError::failed(format!("a task with id {id} runs already")));
        }
        let made = |task: &Arc<Task>| {
            let record = lock(&task.record);
            record.kind == Kind::Create && record.backup == work.backup()
        };
        if inner.running.iter().any(made) {
            let name = work.backup();
            return Err(OperationError::failed(format!("backup {name} is being made: wait for it, or stop it first")));
        }
        if inner.running.len() >= self.limits.tasks {
            let bound = self.limits.tasks;
            return Err(busy(format!("{bound} tasks run already, no more are taken: ask again when one has ended")));
        }
        Ok(())
    }

    async fn carry_out(&self, task: &Task, work: Work) {
        let begun = task.begin(Timestamp::now());
        self.remember(&begun).await;
        let over = CancellationToken::new();
        let operation = async {
            let outcome = match work {
                Work::Create(request) => self.operations.create(*request, task.running.clone()).await,
                Work::Restore(request) => self.operations.restore(*request, task.running.clone()).await,
            };
            over.cancel();
            outcome
        };
        // A record that is being written when the work ends is waited for, so that it cannot arrive after the last one.
        let beats = async {
            while tokio::time::timeout(BEAT, over.cancelled()).await.is_err() {
                self.remember(&task.record(Timestamp::now())).await;
            }
        };
        let (outcome, ()) = tokio::join!(operation, beats);
        let record = task.ending(&outcome, Timestamp::now());
        match &outcome {
            Ok(()) => tracing::info!(id = record.id, backup = record.backup, kind = ?record.kind, "task done"),
            Err(error) => {
                tracing::error!(id = record.id, backup = record.backup, kind = ?record.kind, "task failed: {error}")
            }
        }
        self.remember(&record).await;
        task.end(outcome, record);
    }

    /// Writes a record; a bucket that does not take it is no reason to fail the work.
    async fn remember(&self, record: &TaskRecord) {
        let written = async {
            let (store, root) = self.operations.store().await?;
            Records::new(store.as_ref(), &root).write(record).await
        };
        if let Err(error) = written.await {
            tracing::warn!(id = record.id, "the state of the task is not in the bucket: {error}");
        }
    }

    /// A task of this process by its id.
    pub fn find(&self, id: &str) -> Option<Arc<Task>> {
        let inner = self.lock();
        let known = inner.running.iter().chain(inner.ended.iter().rev());
        known.into_iter().find(|task| task.running.id == id).cloned()
    }

    /// The task of this process that makes a backup of this name, or the latest that did.
    pub fn of_backup(&self, name: &str) -> Option<Arc<Task>> {
        let inner = self.lock();
        let made = |task: &&Arc<Task>| {
            let record = lock(&task.record);
            record.kind == Kind::Create && record.backup == name
        };
        inner.running.iter().chain(inner.ended.iter().rev()).find(made).cloned()
    }

    /// A running task that reads or writes this backup.
    pub fn busy_with(&self, backup: &str) -> Option<String> {
        let inner = self.lock();
        inner.running.iter().find(|task| lock(&task.record).backup == backup).map(|task| task.running.id.clone())
    }

    /// Forgets ended tasks that made a backup which is gone.
    pub fn forget(&self, backup: &str) {
        self.lock().ended.retain(|task| {
            let record = lock(&task.record);
            record.kind != Kind::Create || record.backup != backup
        });
    }

    /// How many run, and how many ended ones are in memory.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.running.len(), inner.ended.len())
    }

    /// Takes no more tasks, stops those that run and waits for their end, at most `patience`.
    pub async fn shut_down(&self, patience: Duration) {
        let mut futures = {
            let mut inner = self.lock();
            inner.stopping = true;
            inner.running.iter().for_each(|task| task.stop());
            std::mem::take(&mut inner.futures)
        };
        let all = async { while futures.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("tasks did not end in {} s and are broken off", patience.as_secs());
        }
    }

    fn leave(&self, task: &Arc<Task>) {
        let mut inner = self.lock();
        inner.running.retain(|other| !Arc::ptr_eq(other, task));
        inner.ended.push_back(task.clone());
        let kept = |inner: &Inner| -> usize { inner.ended.iter().map(|task| lock(&task.record).targets.len()).sum() };
        while inner.ended.len() > self.limits.ended_tasks || kept(&inner) > self.limits.ended_targets {
            inner.ended.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

/// Takes a task from the running ones however its future ends.
#[derive(Debug)]
struct Leaves {
    tasks: Arc<Tasks>,
    task: Arc<Task>,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        if !self.task.ended.is_cancelled() {
            let outcome = Err(OperationError::Cancelled("the task was broken off".into()));
            let record = self.task.ending(&outcome, Timestamp::now());
            self.task.end(outcome, record);
        }
        self.tasks.leave(&self.task);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn targets(running: &Running) -> Vec<Target> {
    let target = |name: crate::engine::select::Name| Target { database: name.database, collection: name.collection };
    running.targets().into_iter().map(target).collect()
}

fn busy(message: String) -> OperationError {
    OperationError::Failed { class: crate::exit::Class::Retry, message }
}

/// Percent of a running task; the steps of a backup are those of milvus-backup (milvus-backup.md 6). 100 is for the end.
pub fn percent(kind: Kind, progress: &Progress) -> i32 {
    let done = |from: u64, to: u64| {
        let total = progress.bytes_total.max(1);
        let share = u128::from(progress.bytes_done.min(total)) * u128::from(to - from) / u128::from(total);
        from + u64::try_from(share).unwrap_or_default()
    };
    let percent = match (kind, progress.stage) {
        (_, Stage::Preflight) => 1,
        (_, Stage::Flushing) => 5,
        (_, Stage::CopyingMetadata) => 10,
        (Kind::Create, Stage::CopyingData) => done(15, 95),
        (Kind::Restore, Stage::CopyingData) => done(1, 98),
        (_, Stage::Verifying) => 97,
        (_, Stage::Finalizing) => 99,
    };
    i32::try_from(percent).unwrap_or(99)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stage: Stage, done: u64, total: u64) -> Progress {
        Progress { stage, bytes_done: done, bytes_total: total, ..Progress::default() }
    }

    #[test]
    fn progress_grows_from_stage_to_stage_and_reaches_100_at_the_end_only() {
        for kind in [Kind::Create, Kind::Restore] {
            let line = [
                at(Stage::Preflight, 0, 0),
                at(Stage::CopyingData, 0, 100),
                at(Stage::CopyingData, 50, 100),
                at(Stage::CopyingData, 200, 100),
                at(Stage::Finalizing, 100, 100),
            ];
            let percents: Vec<i32> = line.iter().map(|progress| percent(kind, progress)).collect();
            assert!(percents.is_sorted() && percents[0] == 1 && percents[4] == 99, "{kind:?} {percents:?}");
            assert!(percents[2] > percents[1] && percents[3] > percents[2], "{kind:?} {percents:?}");
        }
    }

    #[test]
    fn sizes_beyond_all_bounds_do_not_overflow() {
        assert_eq!(percent(Kind::Create, &at(Stage::CopyingData, u64::MAX, u64::MAX)), 95);
        assert_eq!(percent(Kind::Create, &at(Stage::CopyingData, 0, 0)), 15);
    }
}
