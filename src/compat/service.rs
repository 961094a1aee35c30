//! What the routes ask for, as one trait, and what they share.
//!
//! Two stand behind it: [`super::own_tasks`] carries requests out in this process; `crate::compat_cluster` has a cluster carry
//! them out.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::errors::{OperationError, Refusal};
use super::guard::Token;
use super::limits::Limits;
use super::wire::{BackupBrief, BackupSummary, CreateRequest, RestoreRequest, RestoreTask, StoppedTask};

/// What the routes ask for.
#[async_trait]
pub trait Service: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a backup; answers it once it is made, or nothing where the request does not wait.
    ///
    /// # Errors
    /// A wrong parameter, a name that is taken, too many tasks, or whatever the backup failed by.
    async fn create(&self, request: &CreateRequest, id: &str) -> Result<Option<BackupBrief>, OperationError>;
    /// Brings a backup back; answers how it ended, or that it began where the request does not wait. It goes on when the
    /// client leaves.
    ///
    /// # Errors
    /// A wrong parameter, no such backup, too many tasks, or whatever the restore failed by.
    async fn restore(&self, request: &RestoreRequest) -> Result<RestoreTask, OperationError>;
    /// Finished backups, whoever made them.
    ///
    /// # Errors
    /// They cannot be looked for.
    async fn list(&self) -> Result<Vec<BackupSummary>, OperationError>;
    /// A backup by id or name, id first.
    ///
    /// # Errors
    /// Neither is given, or there is none and none was tried.
    async fn get_backup(&self, name: &str, id: &str, path: &str) -> Result<BackupBrief, OperationError>;
    /// A restore by its id.
    ///
    /// # Errors
    /// There is none.
    async fn get_restore(&self, id: &str) -> Result<RestoreTask, OperationError>;
    /// Stops a running task, and waits a while for its end.
    ///
    /// # Errors
    /// There is none, it has ended, or it runs elsewhere.
    async fn stop_task(&self, id: &str) -> Result<StoppedTask, OperationError>;
    /// Removes a backup, finished or not. One that is not there is removed already.
    ///
    /// # Errors
    /// A wrong name, a task that works with it, whatever keeps the data.
    async fn delete(&self, name: &str) -> Result<(), OperationError>;
    /// Tries what all of this needs; the text says what was found.
    ///
    /// # Errors
    /// Something is missing.
    async fn check(&self) -> Result<String, OperationError>;
    /// Whatever goes on beside requests, until `stop`, and what is to be done then.
    async fn tend(&self, stop: CancellationToken);
}

/// What the routes share.
#[derive(Debug)]
pub struct Api {
    /// Who carries requests out.
    pub service: Arc<dyn Service>,
    /// Bounds.
    pub limits: Limits,
    /// Token a client has to send.
    pub token: Option<Token>,
    /// Requests that may be answered now.
    pub turns: Semaphore,
    /// Requests with large bodies among them.
    pub large_turns: Semaphore,
}

impl Api {
    /// With every turn free.
    pub fn new(service: Arc<dyn Service>, token: Option<Token>, limits: Limits) -> Api {
        let (turns, large_turns) = (Semaphore::new(limits.requests), Semaphore::new(limits.large_requests));
        Api { service, limits, token, turns, large_turns }
    }

    /// Waits until a request with a body of this length may be looked at; the turn is held until it is answered.
    ///
    /// # Errors
    /// It took too long.
    pub async fn turn_for(&self, body: usize) -> Result<Option<SemaphorePermit<'_>>, Refusal> {
        if body <= self.limits.small_body {
            return Ok(None);
        }
        let patience = self.limits.queue_time;
        match tokio::time::timeout(patience, self.large_turns.acquire()).await {
            Ok(turn) => Ok(turn.ok()),
            Err(_) => Err(Refusal::busy(patience.as_secs())),
        }
    }
}
