//! The rows of a collection: inserted or imported, judged by what the server says it took, started over when lost. Import jobs
//! are asked for together.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{self, StreamExt};

use super::import::{self, Ended, Request};
use super::insert::Again;
use super::pace::Way;
use super::plan::{self, Action, BatchKind, Item, Route};
use super::rows::{self, Expected};
use super::ways::Chosen;
use super::{Restore, create, staging};
use crate::engine::error::EngineError;
use crate::engine::task::VerifyRestore;
use crate::milvus::Gate;

/// Import jobs of one collection asked for at once; a 2.3 server queues at most 32 in all ...
const JOBS: usize = 4;
/// ... and later ones 1,024, which wait for sorting most of their time (milvus-newer.md 3).
const LATER_JOBS: usize = 32;
/// How often a collection of ours is dropped and started over when the server lost its imports.
const RESTARTS: u32 = 3;

/// What a collection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brought {
    /// Rows by what the server says.
    pub rows: u64,
    /// Partitions inserted.
    pub inserted: u64,
    /// Partitions imported.
    pub imported: u64,
}

impl Restore<'_> {
    /// The recovery point of a collection, where rows beyond it are to be left out.
    pub(super) fn cut(&self, item: &Item<'_>) -> Option<u64> {
        Some(item.info.backup_timestamp).filter(|timestamp| self.task.cut_to_recovery_point && *timestamp != 0)
    }

    /// The same as the server draws the line: where it wants milliseconds, everything of the last one is in.
    pub(super) fn counted_to(&self, item: &Item<'_>) -> Option<u64> {
        let exact = self.milvus.version().has(Gate::HybridImportBounds);
        self.cut(item).map(|cut| if exact { cut } else { cut | ((1 << 18) - 1) })
    }

    /// Brings all rows in; answers how many the collection has then by what the server says, or why it is to be made anew.
    pub(super) async fn bring(
        &self,
        item: &Item<'_>,
        expected: &Expected,
    ) -> Result<Result<Brought, Again>, EngineError> {
        if let Some(reason) = self.planned_otherwise(item).await {
            return Ok(Err(Again::Lost(reason)));
        }
        if self.insert_begun(item).await {
            return Ok(Err(Again::Unfinished("an earlier attempt was stopped while it inserted rows".to_owned())));
        }
        let ways = self.ways(item).await;
        let (inserts, imports): (Vec<_>, Vec<_>) = ways.iter().partition(|one| one.way == Way::Insert);
        // What was inserted was live: no delete of the backup concerns it.
        let concerned = inserts.is_empty() || !imports.is_empty();
        let deletes = move |kind| item.batches.iter().filter(move |batch| concerned && batch.kind == kind);
        let apart = || deletes(BatchKind::Deletes).chain(deletes(BatchKind::DeletesOfAll));
        let read = || imports.iter().map(|one| one.batch).chain(apart());
        if self.origin.staged && read().next().is_some() {
            let prefix = self.origin.prefix.clone();
            self.ledger.change(|record| record.staging = Some(prefix)).await?;
            let _turn = self.turns.of(item.info.collection_id).await;
            staging::stage(self.artifact, self.origin, read(), &self.copier, self.ledger).await?;
        }
        // Inserts use the time in which imports wait for each other.
        let given_up = AtomicBool::new(false);
        let inserted = async {
            let inserted = self.insert(item, expected, &inserts).await;
            if !matches!(inserted, Ok(Ok(_))) {
                given_up.store(true, Ordering::Relaxed);
            }
            inserted
        };
        let imported = self.import_rows(item, expected, &imports, &given_up);
        let (inserted, imported) = futures::future::join(inserted, imported).await;
        let (inserted, imported) = match (inserted?, imported?) {
            (Ok(inserted), Ok(imported)) => (inserted, imported),
            // Why the inserts ended is what the imports were given up for, if they were.
            (Err(again), _) | (_, Err(again)) => return Ok(Err(again)),
        };
        let mut rows = inserted + imported;
        // Deletes of rows that were inserted are not there any more, and do no harm.
        for kind in [BatchKind::Deletes, BatchKind::DeletesOfAll] {
            let batches: Vec<&plan::Batch> = deletes(kind).collect();
            if batches.is_empty() {
                continue;
            }
            if let Err(again) = self.import_kind(item, expected, &batches, &given_up).await? {
                return Ok(Err(again));
            }
            // The deletes are all in, as their jobs have told: what they leave is known from the files.
            rows = *expected.live.end();
        }
        let partitions = |chosen: &[&Chosen<'_>]| {
            chosen.iter().map(|one| one.batch.partition.as_str()).collect::<HashSet<_>>().len() as u64
        };
        Ok(Ok(Brought { rows, inserted: partitions(&inserts), imported: partitions(&imports) }))
    }

    async fn import_rows(
        &self,
        item: &Item<'_>,
        expected: &Expected,
        chosen: &[&Chosen<'_>],
        given_up: &AtomicBool,
    ) -> Result<Result<u64, Again>, EngineError> {
        let batches: Vec<&plan::Batch> = chosen.iter().map(|one| one.batch).collect();
        let imported = self.import_kind(item, expected, &batches, given_up).await;
        self.pace(|pace| chosen.iter().for_each(|one| pace.ended(Way::Import, one.planned)));
        imported
    }

    /// Jobs of one kind at once; answers what the server says it imported, or why it gave one up.
    async fn import_kind(
        &self,
        item: &Item<'_>,
        expected: &Expected,
        batches: &[&plan::Batch],
        given_up: &AtomicBool,
    ) -> Result<Result<u64, Again>, EngineError> {
        let at_once = if self.route == Route::Partitions { JOBS } else { LATER_JOBS };
        let jobs: Vec<Result<(&plan::Batch, Ended), EngineError>> = stream::iter(batches)
            .map(|batch| async move {
                let ended = self.job(item, batch, given_up).await;
                if !matches!(ended, Ok(Ended::Rows(_))) {
                    given_up.store(true, Ordering::Relaxed);
                }
                Ok((*batch, ended?))
            })
            .buffer_unordered(at_once)
            .collect()
            .await;
        let mut total = 0;
        let mut lost = None;
        for job in jobs {
            match job? {
                // The first is the one that the others were given up for.
                (_, Ended::Failed(reason)) => lost = lost.or(Some(Again::Lost(reason))),
                (batch, Ended::Rows(rows)) => {
                    let wanted = expected.of(&batch.segments);
                    if !wanted.contains(&rows) && self.answers_count(batch.kind) {
                        return Err(EngineError::RowCountMismatch(format!(
                            "{rows} {} were imported into {} of {}, the backup has {}",
                            if batch.kind == BatchKind::Rows { "rows" } else { "deletes" },
                            match batch.partition.as_str() {
                                "" => "all partitions".to_owned(),
                                partition => format!("partition {partition}"),
                            },
                            item.target,
                            rows::told(&wanted)
                        )));
                    }
                    total += rows;
                }
            }
        }
        Ok(lost.map_or(Ok(total), Err))
    }

    /// Whether a job's count is proof. What 2.4 answers for deletes has not been seen.
    fn answers_count(&self, kind: BatchKind) -> bool {
        self.task.verify != VerifyRestore::None && (kind == BatchKind::Rows || self.milvus.version().since((2, 5, 0)))
    }

    /// Jobs of an earlier attempt that this one would cut otherwise (the server was upgraded, or REST came or went): none of
    /// them can be told from ours, so the collection is made anew.
    async fn planned_otherwise(&self, item: &Item<'_>) -> Option<String> {
        let begun = self.ledger.entry(&item.target).await?.imports;
        let planned: HashSet<String> = item.batches.iter().map(|batch| self.identity(batch)).collect();
        let strange = begun.iter().find(|import| !planned.contains(&import.directory))?;
        Some(format!("an earlier attempt began to import {} in another way", strange.directory))
    }

    pub(super) fn identity(&self, batch: &plan::Batch) -> String {
        format!("{}{}", self.origin.prefix, batch.identity())
    }

    async fn job(&self, item: &Item<'_>, batch: &plan::Batch, given_up: &AtomicBool) -> Result<Ended, EngineError> {
        let key = |path: &String| format!("{}{path}", self.origin.prefix);
        let directories = batch.directories.iter().map(|directory| {
            let mut paths = vec![key(&directory.first)];
            match (&directory.deletes, self.route) {
                (Some(deletes), _) => paths.push(key(deletes)),
                // gRPC wants both paths, REST only those that are there.
                (None, Route::Partitions | Route::Segments) if batch.kind == BatchKind::Rows => {
                    paths.push(String::new());
                }
                (None, _) => {}
            }
            paths
        });
        let request = Request {
            name: &item.target,
            route: self.route,
            partition: &batch.partition,
            identity: self.identity(batch),
            files: directories.collect(),
            options: self.options(item, batch),
            bytes: batch.bytes,
            objects: batch.objects,
            given_up,
        };
        let known = self
            .ledger
            .entry(&item.target)
            .await
            .is_some_and(|entry| entry.imports.iter().any(|import| import.directory == request.identity));
        let asked = self.began.elapsed();
        let ended = import::carry(self.milvus, self.ledger, &request, self.counters).await?;
        if !known && matches!(ended, Ended::Rows(_)) {
            let now = self.began.elapsed();
            self.pace(|pace| pace.imported(batch.bytes, asked, now));
        }
        Ok(ended)
    }

    /// Options of a job (milvus-backup.md 4.7, milvus-newer.md 2).
    fn options(&self, item: &Item<'_>, batch: &plan::Batch) -> Vec<(String, String)> {
        let sort = if batch.kind == BatchKind::Rows { "backup" } else { "l0_import" };
        let mut options =
            vec![(sort.to_owned(), "true".to_owned()), ("skip_disk_quota_check".to_owned(), "true".to_owned())];
        if batch.storage_version > 1 {
            options.push(("storage_version".to_owned(), batch.storage_version.to_string()));
        }
        if let Some(key) = &item.key {
            options.push(("ezk".to_owned(), key.expose().to_owned()));
        }
        if let Some(cut) = self.cut(item) {
            options.push(("end_ts".to_owned(), self.milvus.version().import_bound(cut).to_string()));
        }
        options
    }

    /// What there is of the collection may be half of it (the server lost an import, an insert was broken off), so it is made
    /// anew.
    pub(super) async fn start_over(&self, item: &Item<'_>, again: &Again) -> Result<(), EngineError> {
        let (Again::Lost(reason) | Again::Unfinished(reason)) = again;
        let counts = matches!(again, Again::Lost(_));
        if item.action == Action::Append {
            return Err(EngineError::Rejected(format!(
                "milvus could not import into {}, which was there before and is not made anew, so that a part of the rows may be \
                 in it: {reason}",
                item.target
            )));
        }
        let restarts = self.ledger.entry(&item.target).await.map_or(0, |entry| entry.restarts);
        if counts && restarts >= RESTARTS {
            return Err(EngineError::Rejected(format!("milvus could not take the rows of {}: {reason}", item.target)));
        }
        tracing::warn!(collection = %item.target, reason, "starting the collection over");
        create::drop(self.milvus, &item.target).await?;
        self.ledger
            .change(|record| {
                let entry = record.entry_mut(&item.target);
                entry.make_anew();
                entry.restarts += u32::from(counts);
            })
            .await
    }
}
