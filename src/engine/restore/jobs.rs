//! The import jobs of a collection: asked for together, judged by what they say they imported, started over when lost.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{self, StreamExt};

use super::import::{self, Ended, Request};
use super::plan::{self, Action, BatchKind, Item, Route};
use super::rows::{self, Expected};
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

    /// All import jobs; answers the rows the collection has then by what the server says, or why it gave a job up.
    pub(super) async fn import(
        &self,
        item: &Item<'_>,
        expected: &Expected,
    ) -> Result<Result<u64, String>, EngineError> {
        if let Some(reason) = self.planned_otherwise(item).await {
            return Ok(Err(reason));
        }
        if self.origin.staged && !item.batches.is_empty() {
            let prefix = self.origin.prefix.clone();
            self.ledger.change(|record| record.staging = Some(prefix)).await?;
            staging::stage(self.artifact, self.origin, item, &self.copier, self.ledger).await?;
        }
        let mut total = 0;
        for kind in [BatchKind::Rows, BatchKind::Deletes, BatchKind::DeletesOfAll] {
            match self.import_kind(item, expected, kind).await? {
                Err(reason) => return Ok(Err(reason)),
                Ok(rows) if kind == BatchKind::Rows => total += rows,
                Ok(_) => {}
            }
        }
        let deletes = item.batches.iter().any(|batch| batch.kind != BatchKind::Rows);
        // The deletes are all in, as their jobs have told: what they leave is known from the files.
        Ok(Ok(if deletes { *expected.live.end() } else { total }))
    }

    /// Jobs of one kind at once; answers what the server says it imported, or why it gave one up.
    async fn import_kind(
        &self,
        item: &Item<'_>,
        expected: &Expected,
        kind: BatchKind,
    ) -> Result<Result<u64, String>, EngineError> {
        let at_once = if self.route == Route::Partitions { JOBS } else { LATER_JOBS };
        let given_up = &AtomicBool::new(false);
        let jobs: Vec<Result<(&plan::Batch, Ended), EngineError>> =
            stream::iter(item.batches.iter().filter(|batch| batch.kind == kind))
                .map(|batch| async move {
                    let ended = self.job(item, batch, given_up).await;
                    if !matches!(ended, Ok(Ended::Rows(_))) {
                        given_up.store(true, Ordering::Relaxed);
                    }
                    Ok((batch, ended?))
                })
                .buffer_unordered(at_once)
                .collect()
                .await;
        let mut total = 0;
        let mut lost = None;
        for job in jobs {
            match job? {
                // The first is the one that the others were given up for.
                (_, Ended::Failed(reason)) => lost = lost.or(Some(reason)),
                (batch, Ended::Rows(rows)) => {
                    let wanted = expected.of(&batch.segments);
                    if !wanted.contains(&rows) && self.answers_count(kind) {
                        return Err(EngineError::RowCountMismatch(format!(
                            "{rows} {} were imported into {} of {}, the backup has {}",
                            if kind == BatchKind::Rows { "rows" } else { "deletes" },
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
        self.task.verify == VerifyRestore::RowCounts
            && (kind == BatchKind::Rows || self.milvus.version().since((2, 5, 0)))
    }

    /// Jobs of an earlier attempt that this one would cut otherwise (the server was upgraded, or REST came or went): none of
    /// them can be told from ours, so the collection is made anew.
    async fn planned_otherwise(&self, item: &Item<'_>) -> Option<String> {
        let begun = self.ledger.entry(&item.target).await?.imports;
        let planned: HashSet<String> = item.batches.iter().map(|batch| self.identity(batch)).collect();
        let strange = begun.iter().find(|import| !planned.contains(&import.directory))?;
        Some(format!("an earlier attempt began to import {} in another way", strange.directory))
    }

    fn identity(&self, batch: &plan::Batch) -> String {
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
        import::carry(self.milvus, self.ledger, &request, self.counters).await
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

    /// The server lost an import (it restarted, or gave up): its rows may be half there, so the collection is made anew.
    pub(super) async fn start_over(&self, item: &Item<'_>, reason: &str) -> Result<(), EngineError> {
        if item.action == Action::Append {
            return Err(EngineError::Rejected(format!(
                "milvus could not import into {}, which was there before and is not made anew, so that a part of the rows may be \
                 in it: {reason}",
                item.target
            )));
        }
        let restarts = self.ledger.entry(&item.target).await.map_or(0, |entry| entry.restarts);
        if restarts >= RESTARTS {
            return Err(EngineError::Rejected(format!("milvus could not import into {}: {reason}", item.target)));
        }
        tracing::warn!(collection = %item.target, reason, "import lost, starting the collection over");
        create::drop(self.milvus, &item.target).await?;
        self.ledger
            .change(|record| {
                let entry = record.entry_mut(&item.target);
                entry.make_anew();
                entry.restarts += 1;
            })
            .await
    }
}
