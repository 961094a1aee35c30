//! The seam: what the API asks for, as one trait.
//!
//! The engine stands behind it in [`super::engine_operations`]; tests put their own there.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::errors::OperationError;
use super::wire::BackupSummary;
use crate::engine::progress::Counters;
use crate::engine::select::Name;
use crate::local::operations::{BackupId, CreateRequest, RestoreRequest};
use crate::manifest::BackupInfo;
use crate::storage::Store;

/// A task as the operation sees it that carries it out: it counts here, and looks here whether to stop.
#[derive(Debug)]
pub struct Running {
    /// Id of the run.
    pub id: String,
    /// What is done so far.
    pub counters: Counters,
    /// Cancelled when the run has to stop.
    pub cancel: CancellationToken,
    targets: Mutex<Vec<Name>>,
}

impl Running {
    /// A run that has not begun.
    pub fn new(id: String) -> Running {
        Running { id, counters: Counters::default(), cancel: CancellationToken::new(), targets: Mutex::default() }
    }

    /// Makes known which collections a restore makes.
    pub fn plan(&self, targets: Vec<Name>) {
        if let Ok(mut current) = self.targets.lock() {
            *current = targets;
        }
    }

    /// The collections a restore makes; none until they are known.
    pub fn targets(&self) -> Vec<Name> {
        self.targets.lock().map(|targets| targets.clone()).unwrap_or_default()
    }
}

/// A backup in the bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its metadata.
    pub info: BackupInfo,
    /// Bytes of the metadata files.
    pub meta_size: u64,
    /// When it was committed; none where the Go tool made it.
    pub created: Option<Timestamp>,
}

/// Where backups are looked for, in place of what is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Bucket.
    pub bucket: Option<String>,
    /// Path in it.
    pub root: Option<String>,
}

/// What the API asks of the engine. Every call may take as long as Milvus and the store do; dropping one ends it.
#[async_trait]
pub trait Operations: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a backup. Ends early, with [`OperationError::Cancelled`], when `run` is cancelled.
    async fn create(&self, request: CreateRequest, run: Arc<Running>) -> Result<(), OperationError>;
    /// Brings a backup back; cancelled as [`Operations::create`] is.
    async fn restore(&self, request: RestoreRequest, run: Arc<Running>) -> Result<(), OperationError>;
    /// Finished backups, whoever made them.
    async fn list(&self) -> Result<Vec<BackupSummary>, OperationError>;
    /// A finished backup, or none. One that was begun and never ended is an error.
    async fn get(&self, backup: &BackupId, at: &Place) -> Result<Option<Stored>, OperationError>;
    /// Removes a backup, finished or not; one that is not there is removed already.
    async fn delete(&self, name: &str) -> Result<(), OperationError>;
    /// Tries Milvus and both stores; the text says what was found.
    async fn check(&self) -> Result<String, OperationError>;
    /// Where backups live: the bucket, and the path in it.
    async fn store(&self) -> Result<(Arc<dyn Store>, String), OperationError>;
}
