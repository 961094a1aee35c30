//! What the shell commands and the REST server do, by settings and requests.
//!
//! `create`, `restore` and `delete` never fail to say how they ended: what went wrong is in the report, with its class and a
//! sentence. Must not print.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::catalog::{self, Ground};
pub use super::catalog::{BackupSummary, StoredBackup};
pub use super::request::{BackupId, CreateRequest, ListRequest, RestoreRequest, VerifyRequest};
use super::tasks::{self, Planned, default_name};
use crate::config::Settings;
use crate::engine::error::EngineError;
use crate::engine::progress::Counters;
use crate::engine::select::Name;
use crate::engine::task::{DeleteTask, ProbeTask, Report, Run, StoreTarget, TASK_VERSION, Task, VerifyTask, Work};
use crate::engine::{self, connect};
use crate::storage::Store;

/// Makes a backup; the report says how it ended. A second request with the same id goes on
/// with a backup that was begun and has not ended.
pub async fn create(
    settings: &Settings,
    request: CreateRequest,
    counters: &Counters,
    cancel: &CancellationToken,
) -> Report {
    let planned = match tasks::backup(settings, &request, Timestamp::now()) {
        Ok(planned) => planned,
        Err(error) => return engine::failure(&error, counters),
    };
    let ready = async {
        make_folder(&planned.task.destination).await?;
        free(&planned.task.destination, &planned.task.artifact).await
    };
    if let Err(error) = ready.await {
        return engine::failure(&error, counters);
    }
    let Planned { task, warnings } = planned;
    let run = run(request.id.unwrap_or_else(new_id), &task.artifact);
    carry_out(Work::Backup(Box::new(task)), run, warnings, counters, cancel).await
}

/// A directory of backups is made where there is none, as the Go tool does; a volume that is not mounted is the Job's to find.
async fn make_folder(destination: &StoreTarget) -> Result<(), EngineError> {
    let Some(folder) = &destination.folder else { return Ok(()) };
    tokio::fs::create_dir_all(folder).await.map_err(|error| {
        EngineError::Rejected(format!("could not make the directory of backups {}: {error}", folder.display()))
    })
}

/// A name must be free. What was begun under it and has not ended belongs to the run whose id is in its lock; the engine
/// looks at that.
async fn free(destination: &StoreTarget, artifact: &str) -> Result<(), EngineError> {
    let store = connect::store(destination).await?;
    match catalog::ground(&store, &destination.prefix, artifact).await? {
        Ground::Free | Ground::Unfinished => Ok(()),
        Ground::Taken => Err(EngineError::Rejected(format!(
            "there is already something named {artifact} in {}: choose another name or delete it first",
            store.place()
        ))),
    }
}

/// Brings a backup back; the report says how it ended.
pub async fn restore(
    settings: &Settings,
    request: RestoreRequest,
    counters: &Counters,
    cancel: &CancellationToken,
) -> Report {
    let planned = match plan(settings, &request).await {
        Ok(planned) => planned,
        Err(error) => return engine::failure(&error, counters),
    };
    let Planned { task, warnings } = planned;
    let id = request.id.unwrap_or_else(|| default_name("restore", Timestamp::now()));
    let run = run(id, &task.artifact);
    carry_out(Work::Restore(Box::new(task)), run, warnings, counters, cancel).await
}

async fn plan(
    settings: &Settings,
    request: &RestoreRequest,
) -> Result<Planned<engine::task::RestoreTask>, EngineError> {
    let backup = backup_of(settings, request).await?;
    tasks::restore(settings, request, &backup.info)
}

async fn backup_of(settings: &Settings, request: &RestoreRequest) -> Result<StoredBackup, EngineError> {
    let settings = settings.with_backups_at(request.bucket_name.as_deref(), request.path.as_deref());
    get(&settings, &BackupId::Name(request.name.clone())).await
}

/// Which collection of the backup a restore would make which in the target. Nothing is touched.
///
/// # Errors
/// As those of a restore before it begins.
pub async fn restored_names(settings: &Settings, request: &RestoreRequest) -> Result<Vec<(Name, Name)>, EngineError> {
    let backup = backup_of(settings, request).await?;
    tasks::names(request, &backup.info)
}

/// All backups, by name.
///
/// # Errors
/// The store's, or settings that cannot be used.
pub async fn list(settings: &Settings, request: &ListRequest) -> Result<Vec<BackupSummary>, EngineError> {
    let (store, target) = backups(&settings.with_backups_at(None, request.path.as_deref())).await?;
    catalog::list(&store, &target.prefix).await
}

/// One backup with all its metadata.
///
/// # Errors
/// There is none ([`catalog::is_missing`]), damaged metadata, the store's.
pub async fn get(settings: &Settings, id: &BackupId) -> Result<StoredBackup, EngineError> {
    let (store, target) = backups(settings).await?;
    catalog::get(&store, &target.prefix, id).await
}

/// Sees whether a backup is whole; the report says what is wrong with it. Writes nothing.
pub async fn verify(
    settings: &Settings,
    request: VerifyRequest,
    counters: &Counters,
    cancel: &CancellationToken,
) -> Report {
    let VerifyRequest { name, level, sample_percent, seed } = request;
    match settings.backup_target() {
        Ok(location) => {
            let run = run(new_id(), &name);
            let limits = settings.transfer.limits();
            let work = Work::Verify(VerifyTask { artifact: name, location, level, sample_percent, seed, limits });
            carry_out(work, run, Vec::new(), counters, cancel).await
        }
        Err(error) => engine::failure(&error.into(), counters),
    }
}

/// Removes a backup, whole or half made; the report says how it ended. Where there is nothing of that name it says so, with
/// the reason [`NOTHING_THERE`], and that is no failure: a second delete finds what the first one left.
pub async fn delete(settings: &Settings, name: &str, counters: &Counters, cancel: &CancellationToken) -> Report {
    let found = async {
        let (store, target) = backups(settings).await?;
        let ground = catalog::ground(&store, &target.prefix, name).await?;
        Ok::<_, EngineError>((ground, target, store.place().to_string()))
    };
    match found.await {
        Ok((Ground::Free, _, place)) => Report {
            version: TASK_VERSION,
            ok: true,
            reason: NOTHING_THERE.to_owned(),
            message: format!("there is nothing named {name} in {place}"),
            ..Report::default()
        },
        Ok((_, location, _)) => {
            let work = Work::Delete(DeleteTask { artifact: name.to_owned(), location });
            carry_out(work, run(new_id(), name), Vec::new(), counters, cancel).await
        }
        Err(error) => engine::failure(&error, counters),
    }
}

/// Reason of a deletion that found nothing.
pub const NOTHING_THERE: &str = "NothingThere";

/// What a look at everything the settings name has found.
#[derive(Debug, Default)]
pub struct Check {
    /// Version of the server.
    pub milvus_version: Option<String>,
    /// What cannot be used, each with why. Empty means that backups and restores have what they need.
    pub problems: Vec<(&'static str, EngineError)>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

impl Check {
    /// The lines the Go tool prints (milvus-backup 0.5.16, `internal/check`).
    pub fn storages(&self, settings: &Settings) -> String {
        let (milvus, backup) = (&settings.milvus_storage, &settings.backup_storage);
        format!(
            "Milvus version: {}\nStorage:\n  milvus-storage-type: {}\n  milvus-bucket: {}\n  milvus-rootpath: {}\n  \
             backup-storage-type: {}\n  backup-bucket: {}\n  backup-rootpath: {}\n",
            self.milvus_version.as_deref().unwrap_or("unknown"),
            milvus.provider,
            milvus.bucket,
            milvus.root_path,
            backup.provider,
            backup.bucket,
            backup.root_path,
        )
    }
}

/// Looks whether Milvus answers, its store can be listed, and the place of backups be listed and written. Writes nothing into
/// the bucket of Milvus and lists no more than one page.
pub async fn check(settings: &Settings) -> Check {
    let mut check = Check::default();
    let (version, milvus_storage, backup_storage) =
        tokio::join!(server_version(settings), milvus_storage_is_empty(settings), try_backup_storage(settings));
    match version {
        Ok(version) => check.milvus_version = Some(version),
        Err(error) => check.problems.push(("milvus", error)),
    }
    match milvus_storage {
        Ok(false) => {}
        Ok(true) => check.warnings.push(format!(
            "there is nothing below {:?} in bucket {}: see that milvus.storage names the bucket and rootPath of this Milvus, \
             unless it holds no data yet",
            settings.milvus_storage.root_path, settings.milvus_storage.bucket
        )),
        Err(error) => check.problems.push(("milvus.storage", error)),
    }
    check.problems.extend(backup_storage.err().map(|error| ("backup.storage", error)));
    check
}

async fn server_version(settings: &Settings) -> Result<String, EngineError> {
    let milvus = connect::milvus(&settings.milvus_target()?).await?;
    Ok(milvus.version().text.clone())
}

async fn milvus_storage_is_empty(settings: &Settings) -> Result<bool, EngineError> {
    let target = settings.milvus_storage_target()?;
    let store = connect::store(&target).await?;
    let below = if target.prefix.is_empty() { String::new() } else { format!("{}/", target.prefix) };
    Ok(store.list_page(&below, None).await?.objects.is_empty())
}

async fn try_backup_storage(settings: &Settings) -> Result<(), EngineError> {
    let work = Work::Probe(ProbeTask { location: settings.backup_target()?, write: true });
    let task = Task { version: TASK_VERSION, run: run(new_id(), "check"), work };
    engine::attempt(&task, &Counters::default()).await.map(|_| ())
}

async fn backups(settings: &Settings) -> Result<(Arc<dyn Store>, StoreTarget), EngineError> {
    let target = settings.backup_target()?;
    Ok((connect::store(&target).await?, target))
}

async fn carry_out(
    work: Work,
    run: Run,
    warnings: Vec<String>,
    counters: &Counters,
    cancel: &CancellationToken,
) -> Report {
    let task = Task { version: TASK_VERSION, run, work };
    let mut report = engine::run(&task, counters, cancel).await;
    report.summary.warnings.extend(warnings);
    report
}

fn run(uid: String, name: &str) -> Run {
    Run { uid, namespace: String::new(), name: name.to_owned(), attempt: 1 }
}

/// A choice of objects for who leaves it to chance.
pub fn new_seed() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

/// The id of a run that was given none.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
