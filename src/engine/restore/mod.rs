//! Restore: read, prove, plan, create, import or insert, index, load, count.
//!
//! Nothing is created before every object of the backup is proven and every name is free. Each step that cannot be
//! repeated is in the ledger before it is taken. A collection is done when its rows are counted.

mod adjust;
mod append;
mod columns;
mod create;
mod databases;
mod finish;
mod fit;
mod import;
mod insert;
mod jobs;
mod ledger;
mod mapping;
mod pace;
mod plan;
mod rows;
mod sample;
mod sealed;
mod snapshot;
mod staging;
mod ways;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::jobs::Brought;
use self::ledger::{Ledger, Step};
use self::pace::Pace;
use self::plan::{Action, Item, Route};
use self::rows::Expected;
use super::artifact::{Artifact, Contents};
use super::error::{EngineError, bounded, named};
use super::inventory::Inventory;
use super::patience::patient;
use super::progress::Counters;
use super::proof::{self, Compared};
use super::select::{Name, select};
use super::task::{
    CollectionPaths, Content, OnConflict, Paths, Report, RestoreTask, RowCounts, Run, Stage, Summary, TASK_VERSION,
    VerifyRestore,
};
use super::{access, connect, copy, preflight};
use crate::exit::Class;
use crate::manifest::CollectionBackupInfo;
use crate::milvus::{Gate, Milvus};

/// Collections restored at once: enough to keep a server busy with imports while others are created, indexed or loaded ...
const COLLECTIONS: usize = 8;
/// ... and more where jobs wait for sorting most of their time.
const LATER_COLLECTIONS: usize = 16;
/// Segments read at once to know their rows, over all collections. Each holds its keys and timestamps in memory.
const READERS: usize = 4;
/// Collections of the target that are asked for flushed rows, to prove the settings of its bucket by them.
const LOOKED_AT: usize = 50;
/// Collections whose paths are in the report.
const PATHS_SHOWN: usize = 20;
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
    pinned(task, &contents)?;
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

/// The artifact must be the one that was pinned.
fn pinned(task: &RestoreTask, contents: &Contents) -> Result<(), EngineError> {
    let found = contents.manifest.as_ref().map(|(_, digest)| digest.as_str()).unwrap_or_default();
    match &task.manifest_digest {
        Some(pinned) if pinned != found => Err(EngineError::Damaged(format!(
            "backup {} is not the one this restore was pinned to: its manifest has digest {found}, expected {pinned}",
            task.artifact
        ))),
        _ => Ok(()),
    }
}

impl Restore<'_> {
    /// Selection, mapping, conflicts: all names are known before anything is touched. From here on a collection is what it
    /// becomes: one of the backup is there as often as it has names, each with its own entry in the ledger, bytes and rows.
    async fn plan<'c>(&self, contents: &'c Contents, strays: &BTreeSet<i64>) -> Result<Vec<Item<'c>>, EngineError> {
        let rejected = EngineError::Rejected;
        let info = &contents.info;
        let in_backup: Vec<Name> =
            info.collection_backups.iter().map(|c| Name::new(&c.db_name, &c.collection_name)).collect();
        let selected = select(&self.task.selection, &in_backup).map_err(rejected)?;
        let pairs = mapping::map(&self.task.mapping, &selected).map_err(rejected)?;
        adjust::check(&self.task.mapping, &pairs).map_err(rejected)?;
        sealed::check(self.task, info).map_err(rejected)?;
        let entries = self.ledger.read().await.entries;
        let (kept, begun): (Vec<&ledger::Entry>, Vec<&ledger::Entry>) = entries.iter().partition(|entry| entry.kept);
        let begun: BTreeSet<Name> = begun.into_iter().map(ledger::Entry::name).collect();
        let by_name = |source: &Name| {
            let of = |one: &&CollectionBackupInfo| Name::new(&one.db_name, &one.collection_name) == *source;
            info.collection_backups.iter().find(of)
        };
        let mut existing = BTreeSet::new();
        let databases = patient(|| self.milvus.list_databases()).await?;
        for (source, target) in pairs.iter().filter(|(_, target)| databases.contains(&target.database)) {
            let (database, collection) = (&target.database, &target.collection);
            let Some(found) = patient(|| self.milvus.describe_collection(database, collection)).await? else {
                continue;
            };
            if let Some(real) = create::aliased(&found, target)
                && self.task.on_conflict == OnConflict::Replace
            {
                return Err(EngineError::ConflictFound(format!(
                    "{target} is an alias of collection {real}, which is not replaced, nothing was touched: drop the alias \
                     or rename the target with spec.mapping"
                )));
            }
            if self.task.on_conflict == OnConflict::Append
                && !begun.contains(target)
                && let Some(info) = by_name(source)
            {
                append::judge(self.milvus, (source, target), info, &found, self.task).await?;
            }
            existing.insert(target.clone());
        }
        if let Some(gone) = kept.iter().map(|entry| entry.name()).find(|name| !existing.contains(name)) {
            return Err(EngineError::Rejected(format!("{gone} was dropped while rows were restored into it")));
        }
        let how = (self.task.on_conflict, self.task.create_missing);
        let actions = plan::actions(&pairs, &existing, &begun, how)?;
        let mut items = Vec::new();
        for ((source, target), action) in pairs.into_iter().zip(actions) {
            let Some(info) = by_name(&source) else { continue };
            let places = (self.artifact.store().place(), self.origin.store.place());
            if action != Action::Skip
                && info.snapshot_backup.is_some()
                && let Some(why) = snapshot::refusal((info, &target), self.task, places)
            {
                return Err(EngineError::Rejected(format!("collection {source} {why}; nothing was touched")));
            }
            let key = match action {
                Action::Skip => None,
                _ if info.snapshot_backup.is_some() => None,
                _ => sealed::key_of(&contents.info, &source, self.task, self.milvus.version())?,
            };
            if action != Action::Skip
                && let Some(why) = fit::refusal(info, self.milvus.version())
            {
                return Err(preflight::unsupported(format!("collection {source} {why}; nothing was touched")));
            }
            let batches = match self.task.content {
                Content::Full => plan::batches(info, &self.artifact.keys, (self.route, self.milvus.version()), strays),
                Content::SchemaOnly => Vec::new(),
            };
            let info = adjust::adjusted(info, &target, &self.task.mapping);
            let item = Item { source, target, action, info, batches, key };
            if action != Action::Skip && self.task.content == Content::Full {
                self.may_insert(&item)?;
            }
            items.push(item);
        }
        let sum = |count: fn(&plan::Batch) -> u64| {
            items.iter().filter(|item| item.action != Action::Skip).flat_map(|item| &item.batches).map(count).sum()
        };
        self.counters.plan(items.len() as u64, sum(|batch| batch.objects), sum(|batch| batch.bytes));
        Ok(items)
    }

    /// Whether Milvus' bucket is the one the settings name, as far as collections that are there already can show it.
    async fn storage_path(&self) -> Result<(), EngineError> {
        // Where 3.0 keeps its data has not been seen.
        if preflight::by_snapshots(self.milvus.version()) {
            return Ok(());
        }
        let mut there = Vec::new();
        for database in patient(|| self.milvus.list_databases()).await? {
            match patient(|| self.milvus.list_collections(&database)).await {
                Ok(found) => {
                    there.extend(found.into_iter().map(|found| (Name::new(&database, found.name), found.id)));
                }
                // A login may restore into its own database and not see the others.
                Err(error) if error.class() == Class::Configuration => {}
                Err(error) => return Err(error),
            }
            if there.len() >= LOOKED_AT {
                break;
            }
        }
        there.truncate(LOOKED_AT);
        match preflight::storage_path(self.milvus, self.origin.store.as_ref(), &self.task.target, &there).await {
            Err(EngineError::Milvus(error)) if error.class() == Class::Configuration => Ok(()),
            outcome => outcome,
        }
    }

    async fn prove(
        &self,
        contents: &Contents,
        logs: &Inventory<'_>,
        items: &[Item<'_>],
        compared: Compared,
    ) -> Result<(), EngineError> {
        if self.task.content == Content::SchemaOnly {
            return Ok(());
        }
        let wanted = items.iter().filter(|item| item.action != Action::Skip);
        let collections: HashSet<i64> = wanted.map(|item| item.info.collection_id).collect();
        compared.prove(self.artifact, contents, logs, &collections).await
    }

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

    fn preflight_report(&self, items: &[Item<'_>]) -> Report {
        let plan = plan::summary(items);
        Report {
            version: TASK_VERSION,
            ok: true,
            reason: "PreflightPassed".into(),
            message: format!(
                "{} collections would be created, {} replaced, {} appended to, {} skipped; nothing was touched",
                plan.create, plan.replace, plan.append, plan.skip
            ),
            milvus_version: Some(self.milvus.version().text.clone()),
            plan: Some(plan),
            progress: self.counters.read(Timestamp::now()),
            ..Report::default()
        }
    }

    async fn report(&self, items: &[Item<'_>], done: Vec<(&Item<'_>, Outcome)>) -> Report {
        let sum = |value: fn(&Outcome) -> u64| done.iter().map(|(_, outcome)| value(outcome)).sum();
        let counts = RowCounts { expected: sum(|o| o.expected), actual: sum(|o| o.actual), mismatched: Vec::new() };
        let entries = self.ledger.read().await.entries;
        let restored = entries.len() as u64;
        let created = entries.iter().filter(|entry| !entry.kept).count() as u64;
        let mut warnings: Vec<String> = self.warnings.lock().map(|all| all.clone()).unwrap_or_default();
        warnings.extend(done.iter().flat_map(|(_, outcome)| &outcome.warnings).map(|text| bounded(text, 300)));
        let skipped: Vec<String> =
            items.iter().filter(|item| item.action == Action::Skip).map(|item| item.target.to_string()).collect();
        if !skipped.is_empty() {
            warnings.push(format!("left as they were, because they exist: {}", named(&skipped, 10)));
        }
        let paths = paths(&done);
        let progress = self.counters.read(Timestamp::now());
        let databases: BTreeSet<&str> = items.iter().map(|item| item.target.database.as_str()).collect();
        Report {
            version: TASK_VERSION,
            ok: true,
            reason: "Completed".into(),
            message: match paths.inserted {
                0 => format!("restored {restored} collections, {} rows", counts.actual),
                inserted => format!(
                    "restored {restored} collections, {} rows; {inserted} of {} partitions by insert",
                    counts.actual,
                    inserted + paths.imported
                ),
            },
            milvus_version: Some(self.milvus.version().text.clone()),
            summary: Summary {
                size_bytes: progress.bytes_total,
                copied_bytes: progress.bytes_done,
                objects: progress.objects_total,
                collections: restored,
                databases: databases.len() as u64,
                rows: counts.actual,
                warnings,
            },
            plan: Some(plan::summary(items)),
            row_counts: (self.task.verify != VerifyRestore::None).then_some(counts),
            compared_rows: (self.task.verify == VerifyRestore::Sample).then(|| sum(|o| o.compared)),
            paths: (self.task.content == Content::Full).then_some(paths),
            created_collections: created,
            progress,
            ..Report::default()
        }
    }
}

/// How the rows of finished collections got in.
fn paths(done: &[(&Item<'_>, Outcome)]) -> Paths {
    let each = done.iter().filter_map(|(item, outcome)| {
        let Brought { imported, inserted, .. } = outcome.brought?;
        Some(CollectionPaths { name: item.target.to_string(), imported, inserted })
    });
    let all: Vec<CollectionPaths> = each.collect();
    Paths {
        imported: all.iter().map(|one| one.imported).sum(),
        inserted: all.iter().map(|one| one.inserted).sum(),
        collections: all.into_iter().take(PATHS_SHOWN).collect(),
    }
}
