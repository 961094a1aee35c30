//! Restore: read, prove, plan, create, import or insert, index, load, count.
//!
//! Nothing is created before every object of the backup is proven and every name is free. Each step that cannot be
//! repeated is in the ledger before it is taken. A collection is done when its rows are counted.

mod adjust;
mod append;
mod columns;
mod create;
mod databases;
mod fields;
mod finish;
mod fit;
mod import;
mod insert;
mod jobs;
mod judge;
mod ledger;
mod mapping;
mod pace;
mod plan;
mod report;
mod rows;
mod sample;
mod sealed;
mod snapshot;
mod staging;
mod ways;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::jobs::Brought;
use self::ledger::{Ledger, Step};
use self::pace::Pace;
use self::plan::{Action, Item, Route};
use self::rows::Expected;
use super::artifact::{Artifact, Contents};
use super::error::EngineError;
use super::inventory::Inventory;
use super::patience::patient;
use super::progress::Counters;
use super::proof::{self, Compared};
use super::select::Name;
use super::task::{Content, Report, RestoreTask, Run, Stage, VerifyRestore};
use super::{access, connect, copy, preflight};
use crate::exit::Class;
use crate::milvus::{Gate, Milvus};

/// Collections restored at once: enough to keep a server busy with imports while others are created, indexed or loaded ...
const COLLECTIONS: usize = 8;
/// ... and more where jobs wait for sorting most of their time.
const LATER_COLLECTIONS: usize = 16;
/// Segments read at once to know their rows, over all collections. Each holds its keys and timestamps in memory.
const READERS: usize = 4;
/// A server that is there answers sooner; one that took longer was just starting.
const CONNECTS: Duration = Duration::from_secs(2);

/// Everything a restore needs at hand.
struct Restore<'a> {
    task: &'a RestoreTask,
    counters: &'a Counters,
    milvus: &'a Milvus,
    artifact: &'a Artifact,
    origin: &'a staging::Origin,
    ledger: &'a Ledger<'a>,
    copier: copy::Copier<'a>,
    turns: staging::Turns,
    route: Route,
    readers: Semaphore,
    /// Bounds what inserts hold in memory, in KiB, ...
    held: Semaphore,
    /// ... and the requests in flight.
    requests: Semaphore,
    /// When this attempt began.
    began: Instant,
    /// What imports and inserts have taken so far.
    pace: std::sync::Mutex<Pace>,
    /// Batches that turned out to be no matter for an insert, by their targets and their names in the ledger.
    refused: std::sync::Mutex<BTreeSet<(Name, String)>>,
    /// Users and the like that could not be restored, and properties of databases.
    warnings: std::sync::Mutex<Vec<String>>,
}

/// What a restored collection amounted to.
#[derive(Debug, Default)]
struct Outcome {
    expected: u64,
    actual: u64,
    brought: Option<Brought>,
    /// Rows compared with the backup field by field.
    compared: u64,
    warnings: Vec<String>,
}

/// Carries a restore out.
///
/// # Errors
/// See [`EngineError`].
pub async fn run(task: &RestoreTask, run: &Run, counters: &Counters) -> Result<Report, EngineError> {
    counters.enter(Stage::Preflight);
    let artifact = Artifact::at(connect::store(&task.source).await?, &task.source.prefix, &task.artifact)?;
    let contents = artifact.read().await?;
    judge::pinned(task, &contents)?;
    if let Some(live) = preflight::live_config(task.target.live_config.as_deref()).await {
        preflight::config_drift(&live, &task.target.store)?;
    }
    let asked = Instant::now();
    let milvus = super::restarts(|| connect::milvus(&task.target)).await?;
    if asked.elapsed() > CONNECTS {
        milvus.note_away();
    }
    counters.saw_version(&milvus.version().text);
    let target_store = connect::store(&task.target.store).await?;
    target_store.list_page(&preflight::root(&task.target.store.prefix), None).await?;
    let origin = staging::origin(&artifact, target_store, &run.uid);
    let ledger = Ledger::open(artifact.store(), artifact.keys.restore_ledger(&run.uid), run).await?;
    preflight::version(milvus.version())?;
    let route = route(&milvus).await;
    let restore = Restore {
        task,
        counters,
        milvus: &milvus,
        artifact: &artifact,
        origin: &origin,
        ledger: &ledger,
        copier: copy::Copier::new(&task.limits, counters),
        turns: staging::Turns::default(),
        route,
        readers: Semaphore::new(READERS),
        held: Semaphore::new(insert::HELD_KIB as usize),
        requests: Semaphore::new(insert::REQUESTS),
        began: Instant::now(),
        pace: std::sync::Mutex::default(),
        refused: std::sync::Mutex::default(),
        warnings: std::sync::Mutex::default(),
    };
    let logs = Inventory::of(&contents.info.collection_backups);
    let compared = match task.content {
        Content::Full => proof::compare(&artifact, &contents, &logs).await?,
        Content::SchemaOnly => Compared::default(),
    };
    let items = restore.plan(&contents, &compared.strays).await?;
    let bare = databases::bare(task, &contents.info).map_err(EngineError::Rejected)?;
    restore.prove(&contents, &logs, &items, compared).await?;
    restore.storage_path().await?;
    if task.preflight_only {
        return Ok(restore.preflight_report(&items));
    }
    match restore.carry_out(&contents, &items, bare).await {
        Ok(report) => Ok(report),
        Err(error) => {
            if error.class() != Class::LostLock && (task.last_attempt || error.class() != Class::Retry) {
                restore.give_up().await;
            }
            Err(error)
        }
    }
}

/// The fastest import this server has.
async fn route(milvus: &Milvus) -> Route {
    if !milvus.version().has(Gate::ImportJobs) {
        return Route::Partitions;
    }
    if milvus.has_import_jobs().await { Route::Jobs } else { Route::Segments }
}

impl Restore<'_> {
    async fn carry_out(
        &self,
        contents: &Contents,
        items: &[Item<'_>],
        bare: databases::Wanted<'_>,
    ) -> Result<Report, EngineError> {
        self.ledger.take().await?;
        self.databases(databases::wanted(&contents.info, items, bare)).await?;
        self.warn(sealed::in_clear(self.milvus, items).await?);
        self.warn(snapshot::warnings(self.task, items));
        self.warn(self.unproven_inserts());
        if let Some(recorded) = contents.info.rbac_meta.as_ref().filter(|_| self.task.rbac) {
            self.counters.touched();
            self.warn(access::restore(self.milvus, recorded).await?);
        }
        self.counters.enter(Stage::CopyingData);
        let outcomes: Vec<(&Item<'_>, Result<Outcome, EngineError>)> = stream::iter(items)
            .map(|item| async move { (item, self.collection(item).await) })
            .buffer_unordered(if self.route == Route::Jobs { LATER_COLLECTIONS } else { COLLECTIONS })
            .collect()
            .await;
        let mut done = Vec::new();
        let mut failed = Vec::new();
        for (item, outcome) in outcomes {
            match outcome {
                Ok(outcome) => done.push((item, outcome)),
                Err(error) => failed.push((item, error)),
            }
        }
        self.counters.enter(Stage::Finalizing);
        // A failure that another attempt may cure must not hide behind one that it cannot, and the other way round.
        failed.sort_by_key(|(_, error)| error.class() == Class::Retry);
        if let Some((item, error)) = failed.into_iter().next() {
            tracing::error!(collection = %item.target, "{error}");
            return Err(error);
        }
        staging::clear(self.origin).await?;
        Ok(self.report(items, done).await)
    }

    async fn databases(&self, mut wanted: databases::Wanted<'_>) -> Result<(), EngineError> {
        let existing = patient(|| self.milvus.list_databases()).await?;
        wanted.retain(|name, _| !existing.contains(name));
        if wanted.is_empty() {
            return Ok(());
        }
        self.counters.touched();
        self.ledger.change(|record| record.databases.extend(wanted.keys().cloned())).await?;
        self.warn(create::databases(self.milvus, &wanted).await?);
        Ok(())
    }

    fn warn(&self, warnings: Vec<String>) {
        if let Ok(mut all) = self.warnings.lock() {
            all.extend(warnings);
        }
    }

    /// One collection from wherever the ledger says it is, to its counted rows.
    async fn collection(&self, item: &Item<'_>) -> Result<Outcome, EngineError> {
        if item.action == Action::Skip {
            self.counters.collections(1);
            return Ok(Outcome::default());
        }
        if let Some(bundle) = &item.info.snapshot_backup {
            return self.take_bundle(item, bundle).await;
        }
        let full = self.task.content == Content::Full;
        let expected = match full {
            true => rows::expected(self.artifact, item, self.counted_to(item), &self.readers).await?,
            false => Expected::default(),
        };
        loop {
            self.prepare(item).await?;
            let brought = match self.bring(item, &expected).await? {
                Ok(brought) => brought,
                Err(again) => {
                    self.start_over(item, &again).await?;
                    continue;
                }
            };
            let outcome = self.finish(item, &expected, brought).await?;
            self.ledger.step(&item.target, Step::Done).await?;
            self.counters.collections(1);
            return Ok(outcome);
        }
    }

    /// Makes the empty collection, unless an earlier attempt did.
    async fn prepare(&self, item: &Item<'_>) -> Result<(), EngineError> {
        let mut step = self.ledger.entry(&item.target).await.map(|entry| entry.step);
        self.counters.touched();
        if item.action == Action::Append {
            return append::prepare(self.milvus, self.ledger, item, self.task.drop_indexes).await;
        }
        match step {
            // The clean-up of an attempt that gave up has dropped it; whoever lost the end of that attempt begins another one.
            Some(Step::Created | Step::Imported) if !create::exists(self.milvus, &item.target).await? => {
                tracing::info!(collection = %item.target, "an earlier attempt has dropped it, making it anew");
                self.ledger.change(|record| record.entry_mut(&item.target).make_anew()).await?;
                step = Some(Step::Creating);
            }
            None if item.action == Action::Replace => {
                self.ledger.step(&item.target, Step::Dropping).await?;
                create::drop(self.milvus, &item.target).await?;
            }
            // An attempt was stopped here. What it made has no rows and may lack partitions, and a 2.3.5 refuses to
            // create it again.
            Some(Step::Dropping | Step::Creating) => create::drop(self.milvus, &item.target).await?,
            _ => {}
        }
        if step.is_none_or(|step| step <= Step::Creating) {
            self.ledger.step(&item.target, Step::Creating).await?;
            create::collection(self.milvus, &item.target, &item.info).await?;
            self.ledger.step(&item.target, Step::Created).await?;
        }
        Ok(())
    }

    async fn finish(&self, item: &Item<'_>, expected: &Expected, brought: Brought) -> Result<Outcome, EngineError> {
        self.ledger.step(&item.target, Step::Imported).await?;
        finish::indexes(self.milvus, item, self.task.indexes).await?;
        let mut warnings = finish::aliases(self.milvus, item).await?;
        let whole = finish::load(self.milvus, item, self.task).await?;
        let wanted = &expected.live;
        if self.task.verify == VerifyRestore::None || self.task.content == Content::SchemaOnly {
            let (expected, actual) = (*wanted.end(), brought.rows);
            return Ok(Outcome { expected, actual, brought: Some(brought), compared: 0, warnings });
        }
        // What else is in a collection that was there before is not known: what its jobs told is the proof.
        let actual = match whole && item.action != Action::Append {
            true => finish::count(self.milvus, item, wanted).await?,
            false => brought.rows,
        };
        if !wanted.contains(&actual) {
            return Err(EngineError::RowCountMismatch(format!(
                "{} has {actual} rows after the restore, the backup has {}",
                item.target,
                rows::told(wanted)
            )));
        }
        let mut compared = 0;
        if self.task.verify == VerifyRestore::Sample {
            let found = self.compare_sample(item, whole, wanted).await?;
            compared = found.rows;
            warnings.extend(found.warnings);
        }
        // Within a range, what was counted is what is known.
        let expected = if wanted.start() == wanted.end() { *wanted.end() } else { actual };
        Ok(Outcome { expected, actual, brought: Some(brought), compared, warnings })
    }

    /// After a failure that no attempt will cure: takes away what this run left half-done. Finished collections stay, they
    /// are counted and good.
    async fn give_up(&self) {
        if let Err(error) = staging::clear(self.origin).await {
            tracing::warn!("staged copies remain: {error}");
        }
        if !self.task.cleanup_on_failure {
            return;
        }
        let unfinished = |entry: &ledger::Entry| !entry.kept && entry.step >= Step::Creating && entry.step < Step::Done;
        for entry in self.ledger.read().await.entries.into_iter().filter(unfinished) {
            match create::drop(self.milvus, &entry.name()).await {
                Ok(()) => {
                    tracing::info!(collection = %entry.name(), "dropped the unfinished collection")
                }
                Err(error) => {
                    tracing::warn!(collection = %entry.name(), "unfinished collection remains: {error}")
                }
            }
        }
        for database in self.ledger.read().await.databases {
            if let Err(error) = create::drop_if_empty(self.milvus, &database).await {
                tracing::warn!(database, "the database this restore made remains: {error}");
            }
        }
    }
}
