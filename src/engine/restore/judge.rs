//! Before anything is touched: what comes back under which names, whether the server can have it, whether the backup is whole.

use std::collections::{BTreeSet, HashSet};

use super::plan::{Action, Item};
use super::{Restore, adjust, append, create, fit, ledger, mapping, plan, sealed, snapshot};
use crate::engine::artifact::Contents;
use crate::engine::error::EngineError;
use crate::engine::inventory::Inventory;
use crate::engine::patience::patient;
use crate::engine::preflight;
use crate::engine::proof::Compared;
use crate::engine::reader::Reader;
use crate::engine::select::{Name, select};
use crate::engine::task::{Content, OnConflict, RestoreTask};
use crate::exit::Class;
use crate::manifest::{BackupInfo, CollectionBackupInfo};

/// Collections of the target that are asked for flushed rows, to prove the settings of its bucket by them.
const LOOKED_AT: usize = 50;

impl Restore<'_> {
    /// Selection, mapping, conflicts: all names are known before anything is touched. From here on a collection is what it
    /// becomes: one of the backup is there as often as it has names, each with its own entry in the ledger, bytes and rows.
    pub(super) async fn plan<'c>(
        &self,
        contents: &'c Contents,
        strays: &BTreeSet<i64>,
    ) -> Result<Vec<Item<'c>>, EngineError> {
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
        let existing = self.existing(info, &pairs, &begun).await?;
        if let Some(gone) = kept.iter().map(|entry| entry.name()).find(|name| !existing.contains(name)) {
            return Err(EngineError::Rejected(format!("{gone} was dropped while rows were restored into it")));
        }
        let how = (self.task.on_conflict, self.task.create_missing);
        let actions = plan::actions(&pairs, &existing, &begun, how)?;
        let mut items = Vec::new();
        for (pair, action) in pairs.into_iter().zip(actions) {
            items.extend(self.item(info, strays, pair, action)?);
        }
        let sum = |count: fn(&plan::Batch) -> u64| {
            items.iter().filter(|item| item.action != Action::Skip).flat_map(|item| &item.batches).map(count).sum()
        };
        self.counters.plan(items.len() as u64, sum(|batch| batch.objects), sum(|batch| batch.bytes));
        Ok(items)
    }

    /// The targets that are there already; `begun` are those that an earlier attempt made.
    async fn existing(
        &self,
        info: &BackupInfo,
        pairs: &[(Name, Name)],
        begun: &BTreeSet<Name>,
    ) -> Result<BTreeSet<Name>, EngineError> {
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
                && let Some(info) = by_name(info, source)
            {
                append::judge(self.milvus, (source, target), info, &found, self.task).await?;
            }
            existing.insert(target.clone());
        }
        Ok(existing)
    }

    /// A collection of the backup under one of its names, if this server can have it.
    fn item<'c>(
        &self,
        backup: &'c BackupInfo,
        strays: &BTreeSet<i64>,
        (source, target): (Name, Name),
        action: Action,
    ) -> Result<Option<Item<'c>>, EngineError> {
        let Some(info) = by_name(backup, &source) else { return Ok(None) };
        let skipped = action == Action::Skip;
        let places = (self.artifact.store().place(), self.origin.store.place());
        if !skipped
            && info.snapshot_backup.is_some()
            && let Some(why) = snapshot::refusal((info, &target), self.task, places)
        {
            return Err(EngineError::Rejected(format!("collection {source} {why}; nothing was touched")));
        }
        let key = match skipped || info.snapshot_backup.is_some() {
            true => None,
            false => sealed::key_of(backup, &source, self.task, self.milvus.version())?,
        };
        if !skipped && let Some(why) = fit::refusal(info, self.milvus.version()) {
            return Err(preflight::unsupported(format!("collection {source} {why}; nothing was touched")));
        }
        let batches = match self.task.content {
            Content::Full => plan::batches(info, &self.artifact.keys, (self.route, self.milvus.version()), strays),
            Content::SchemaOnly => Vec::new(),
        };
        let info = adjust::adjusted(info, &target, &self.task.mapping);
        let item = Item { source, target, action, info, batches, key };
        if !skipped && self.task.content == Content::Full {
            self.may_insert(&item)?;
        }
        Ok(Some(item))
    }

    /// Whether Milvus' bucket is the one the settings name, as far as collections that are there already can show it.
    pub(super) async fn storage_path(&self) -> Result<(), EngineError> {
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

    pub(super) async fn prove(
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
        compared.prove(self.artifact, contents, logs, &collections, &Reader::new(&self.task.limits)).await
    }
}

/// The artifact must be the one that was pinned.
pub(super) fn pinned(task: &RestoreTask, contents: &Contents) -> Result<(), EngineError> {
    let found = contents.manifest.as_ref().map(|(_, digest)| digest.as_str()).unwrap_or_default();
    match &task.manifest_digest {
        Some(pinned) if pinned != found => Err(EngineError::Damaged(format!(
            "backup {} is not the one this restore was pinned to: its manifest has digest {found}, expected {pinned}",
            task.artifact
        ))),
        _ => Ok(()),
    }
}

fn by_name<'c>(info: &'c BackupInfo, name: &Name) -> Option<&'c CollectionBackupInfo> {
    info.collection_backups.iter().find(|one| Name::new(&one.db_name, &one.collection_name) == *name)
}
