//! Backup: preflight, flush, list, plan, copy, verify, commit.
//!
//! The commit point is last: without `operator/manifest.json` the run never happened. An attempt that follows a killed one
//! lists what is there already and copies the rest; it never trusts a half-made artifact.

mod commit;
mod copies;
mod describe;
mod flush;
mod index_extra;
mod later;
mod logs;
mod pause;
mod plan;
mod record;
mod sealed;
mod segments;
mod snapshot;
mod there;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::artifact::Artifact;
use super::copy;
use super::error::EngineError;
use super::inventory::Inventory;
use super::patience::patient;
use super::progress::Counters;
use super::reader::Reader;
use super::secret::Secret;
use super::select::{Name, databases, select};
use super::task::{BackupTask, Content, Flush, Format, Report, Run, Stage, VerifyBackup};
use super::{access, connect, lock, preflight};
use crate::manifest::CollectionBackupInfo;
use crate::manifest::layout::OperatorFile;
use crate::milvus::etcd::Etcd;
use crate::milvus::{ClusterFlush, FlushTicket, Milvus};
use crate::storage::{Store, Tag, sweep_uploads};

use copies::Copies;
pub use pause::Pause;
use plan::Split;
use record::summary;
use there::There;
use verify::Verified;

/// Everything a backup needs at hand.
struct Backup<'a> {
    task: &'a BackupTask,
    run: &'a Run,
    counters: &'a Counters,
    milvus: Milvus,
    source: std::sync::Arc<dyn Store>,
    artifact: Artifact,
    /// Milvus' etcd, where it is to be read.
    etcd: Option<Etcd>,
    /// Of what is looked into.
    reader: Reader,
    /// Of encrypted databases; set before anything is flushed.
    keys: OnceLock<sealed::Keys>,
    /// Things a person should look at.
    warnings: std::sync::Mutex<Vec<String>>,
}

/// The moment all collections are made consistent to.
#[derive(Debug, Default)]
struct Flushed {
    /// By collection.
    tickets: BTreeMap<Name, FlushTicket>,
    /// Of the whole cluster.
    cluster: Option<ClusterFlush>,
    /// Segments that were there before a flush of the cluster, which names none.
    before: BTreeMap<Name, BTreeSet<i64>>,
}

impl Flushed {
    /// Segments whose rows are all from before the flush.
    fn known(&self, name: &Name) -> BTreeSet<i64> {
        let before = self.before.get(name).cloned().unwrap_or_default();
        let ticket = self.tickets.get(name).into_iter();
        before
            .into_iter()
            .chain(ticket.flat_map(|ticket| ticket.segment_ids.iter().chain(&ticket.flushed_segment_ids)).copied())
            .collect()
    }
}

/// Makes an artifact.
///
/// # Errors
/// See [`EngineError`]; nothing is committed then.
pub async fn run(task: &BackupTask, run: &Run, counters: &Counters, pause: &Pause) -> Result<Report, EngineError> {
    counters.enter(Stage::Preflight);
    if let Some(live) = preflight::live_config(task.milvus.live_config.as_deref()).await {
        preflight::config_drift(&live, &task.milvus.store)?;
    }
    let artifact = Artifact::at(connect::store(&task.destination).await?, &task.destination.prefix, &task.artifact)?;
    if let Some(report) = commit::already(&artifact, run, counters).await? {
        return Ok(report);
    }
    let source = connect::store(&task.milvus.store).await?;
    let milvus = patient_connect(task).await?;
    counters.saw_version(&milvus.version().text);
    preflight::version(milvus.version())?;
    preflight::readable(milvus.version(), task)?;
    let etcd = match &task.etcd {
        Some(target) => Some(Etcd::open(&target.endpoints, &target.root_path).await?),
        None => None,
    };
    let (keys, warnings) = (OnceLock::new(), std::sync::Mutex::default());
    let reader = Reader::new(&task.limits);
    let backup = Backup { task, run, counters, milvus, source, artifact, etcd, reader, keys, warnings };
    tokio::select! {
        outcome = backup.make(pause) => outcome,
        never = pause.keep(counters) => match never {},
    }
}

async fn patient_connect(task: &BackupTask) -> Result<Milvus, EngineError> {
    super::restarts(|| connect::milvus(&task.milvus)).await
}

impl Backup<'_> {
    async fn make(&self, pause: &Pause) -> Result<Report, EngineError> {
        let (names, databases) = self.selected().await?;
        let (store, key) = (self.artifact.store(), self.artifact.keys.operator(OperatorFile::Lock));
        let lock = lock::take(store, key, &self.task.artifact, self.run).await?;
        // Parts that an attempt which was killed left behind cost money for ever and belong to nobody.
        sweep_uploads(store, &self.artifact.keys.dir()).await?;
        let mut warnings = Vec::new();
        if self.task.pause_gc && self.task.content == Content::Full && !self.by_server() {
            warnings.extend(pause.begin(&self.milvus, self.counters).await);
        }
        let flushed = self.flush(&names).await?;
        let with_deltas = self.with_deltas(names.len()).await;
        let planned = self.plan(&names, &flushed, with_deltas.as_ref()).await;
        let Split { mut collections, tags, failed } = self.split(planned)?;
        if let Some(etcd) = &self.etcd {
            index_extra::add(etcd, &mut collections, self.task.index_metadata).await?;
        }
        let (verified, copied_bytes) = match self.by_server() {
            true => (self.by_snapshots(&mut collections, pause, &lock).await?, 0),
            false => self.by_copies(&collections, tags, &lock).await?,
        };
        self.counters.enter(Stage::Finalizing);
        let mut info = self.info(collections, databases, flushed.cluster).await?;
        if self.task.rbac {
            let (meta, warning) = access::read(&self.milvus).await?;
            info.rbac_meta = Some(meta);
            warnings.extend(warning);
        }
        if let Ok(mut noted) = self.warnings.lock() {
            warnings.append(&mut noted);
        }
        let summary = summary(&info, &verified, copied_bytes, self.task, warnings);
        lock.still_held().await?;
        let info = Arc::new(info);
        let digest = commit::write(&self.artifact, self, &info, verified, &failed).await?;
        Ok(self.report(&info, summary, digest, failed))
    }

    /// The collections that are meant, after a look at whether their objects are where we think they are, and the databases
    /// that are meant by themselves.
    async fn selected(&self) -> Result<(Vec<Name>, Vec<String>), EngineError> {
        let mut ids = HashMap::new();
        let there = patient(|| self.milvus.list_databases()).await?;
        for database in &there {
            for collection in patient(|| self.milvus.list_collections(database)).await? {
                ids.insert(Name::new(database, collection.name), collection.id);
            }
        }
        let databases = databases(&self.task.selection, &there).map_err(EngineError::Rejected)?;
        let mut existing: Vec<Name> = ids.keys().cloned().collect();
        existing.sort();
        let names = select(&self.task.selection, &existing).map_err(EngineError::Rejected)?;
        let sampled: Vec<(Name, i64)> =
            names.iter().filter_map(|name| ids.get(name).map(|id| (name.clone(), *id))).collect();
        self.counters.plan(names.len() as u64, 0, 0);
        let filled: BTreeSet<&str> = names.iter().map(|name| name.database.as_str()).collect();
        let keys = self.keys(filled).await?;
        if let (Some(warning), Ok(mut warnings)) =
            (sealed::warning(&keys, self.task.flush == Flush::Skip), self.warnings.lock())
        {
            warnings.push(warning);
        }
        // Set once: a run selects once.
        let _ = self.keys.set(keys);
        if self.by_server() {
            self.reachable_by_server()?;
        } else if self.task.content == Content::Full {
            preflight::storage_path(&self.milvus, self.source.as_ref(), &self.task.milvus, &sampled).await?;
        }
        Ok((names, databases))
    }

    /// Whether the server copies by itself.
    fn by_server(&self) -> bool {
        let wanted = match self.task.format {
            Format::Auto => preflight::by_snapshots(self.milvus.version()),
            Format::Binlog => false,
            Format::Snapshot => true,
        };
        wanted && self.task.content == Content::Full
    }

    /// The key of an encrypted database; none where it is open.
    fn key_of(&self, database: &str) -> Option<&Secret> {
        self.keys.get().and_then(|keys| keys.get(database))
    }

    async fn flush(&self, names: &[Name]) -> Result<Flushed, EngineError> {
        if self.task.flush == Flush::Skip || self.task.content == Content::SchemaOnly {
            return Ok(Flushed::default());
        }
        self.counters.enter(Stage::Flushing);
        if self.task.flush == Flush::Cluster {
            let before = flush::there(&self.milvus, names).await?;
            let cluster = Some(flush::cluster(&self.milvus).await?);
            return Ok(Flushed { cluster, before, ..Flushed::default() });
        }
        let tickets = flush::all(&self.milvus, names).await?;
        Ok(Flushed { tickets: names.iter().cloned().zip(tickets).collect(), ..Flushed::default() })
    }

    /// Lets the server copy.
    async fn by_snapshots(
        &self,
        collections: &mut [CollectionBackupInfo],
        pause: &Pause,
        lock: &lock::Lock<'_>,
    ) -> Result<Verified, EngineError> {
        self.counters.enter(Stage::CopyingData);
        self.export(collections, pause).await?;
        lock.still_held().await?;
        self.counters.enter(Stage::Verifying);
        snapshot::artifact(&self.artifact, collections).await
    }

    /// Copies and verifies the log files; answers the bytes moved by this attempt, too.
    async fn by_copies(
        &self,
        collections: &[CollectionBackupInfo],
        tags: Vec<Tag>,
        lock: &lock::Lock<'_>,
    ) -> Result<(Verified, u64), EngineError> {
        let logs = Inventory::of(collections);
        let copies = Copies {
            source: self.source.as_ref(),
            root_path: &self.task.milvus.store.prefix,
            artifact: &self.artifact,
            logs: &logs,
            tags: &tags,
        };
        let moved = self.copy(&copies, lock).await?;
        self.counters.enter(Stage::Verifying);
        let verified = verify::artifact(&copies, self.task.verify).await?;
        if self.task.verify == VerifyBackup::Checksum {
            let is_sealed = |one: &&CollectionBackupInfo| self.key_of(&one.db_name).is_some();
            let sealed = collections.iter().filter(is_sealed).map(|one| one.collection_id).collect();
            verify::content(&copies, &sealed, &self.reader).await?;
        }
        Ok((verified, moved))
    }

    /// Copies what is not there yet; answers the bytes moved by this attempt.
    async fn copy(&self, copies: &Copies<'_>, lock: &lock::Lock<'_>) -> Result<u64, EngineError> {
        let logs = copies.logs;
        let bytes = logs.logs().map(|log| log.size).sum();
        let objects = logs.places() as u64;
        self.counters.plan(self.counters.read(Timestamp::UNIX_EPOCH).collections_total, objects, bytes);
        self.counters.enter(Stage::CopyingData);
        let There { copied, strays } = there::look(copies).await?;
        let todo = || logs.logs().filter(|log| !copied[log.place]);
        let (count, left) = todo().fold((0, 0), |(count, left), log| (count + 1, left + log.size));
        self.counters.objects(objects - count, bytes - left);
        tracing::info!(objects, copy = count, bytes = left, "planned");
        let copier = copy::Copier::new(&self.task.limits, self.counters);
        let todo = todo().map(|log| copies.copy(&log));
        let moved = copier.all(self.source.as_ref(), self.artifact.store(), todo, self.counters, lock).await?;
        lock.still_held().await?;
        if strays {
            there::remove_strays(copies, lock).await?;
        }
        self.counters.collections(self.counters.read(Timestamp::UNIX_EPOCH).collections_total);
        Ok(moved)
    }
}

#[cfg(test)]
mod memory_tests;
