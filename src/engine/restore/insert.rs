//! Rows read from binlogs and inserted: the fast way for partitions so small that an import task takes longer.
//!
//! Rows inserted twice are there twice, and nobody can tell which rows of a request without an answer are in. So that a
//! partition is being inserted stands in the ledger before its first row; whoever finds it there, or loses an answer, makes
//! the collection anew.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};

use super::columns::{self, Column};
use super::ledger::{Import, Job, Step};
use super::pace::{LARGEST, Way};
use super::plan::{Batch, Item};
use super::rows::{self, Expected, TIMESTAMP_FIELD};
use super::{Restore, fields, ways::Chosen};
use crate::engine::error::EngineError;
use crate::engine::lock::Fence;
use crate::engine::patience::{patient, until};
use crate::engine::task::{RestorePath, VerifyRestore};
use crate::exit::Class;
use crate::manifest::SegmentBackupInfo;
use crate::manifest::binlog::{BinlogError, Series};
use crate::milvus::{DataType, Insert, SegmentState};

/// Bytes of one request: servers take 64 MiB (milvus-wire.md 1.6), and one message of their queue 2 MiB or more.
const REQUEST_BYTES: usize = 4 << 20;
/// Requests in flight over all collections.
pub const REQUESTS: usize = 4;
/// Partitions of one collection inserted at once.
const PARTITIONS: usize = 4;
/// KiB of unpacked rows in memory, over all collections: as much as the largest partition that is inserted unasked.
pub const HELD_KIB: u32 = (LARGEST >> 10) as u32;
/// Rows of a sealed segment are counted within a second.
const COUNT_DEADLINE: Duration = Duration::from_secs(60);

/// Why a collection is made anew.
#[derive(Debug, PartialEq, Eq)]
pub enum Again {
    /// The server lost work: tried a few times.
    Lost(String),
    /// What was inserted of it is not known, or cannot be completed: always made anew.
    Unfinished(String),
}

/// Why a partition was not inserted.
enum Broken {
    /// Make the collection anew.
    Again(Again),
    /// End the attempt.
    Error(EngineError),
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Broken {
        Broken::Error(error)
    }
}

impl Restore<'_> {
    /// Inserts partitions, seals them, and counts what the server has then; answers the rows.
    pub(super) async fn insert(
        &self,
        item: &Item<'_>,
        expected: &Expected,
        chosen: &[&Chosen<'_>],
    ) -> Result<Result<u64, Again>, EngineError> {
        if chosen.is_empty() {
            return Ok(Ok(0));
        }
        let columns = columns::columns(item, &self.server())
            .map_err(|why| EngineError::Rejected(format!("collection {} {why}", item.source)))?;
        let columns = columns.as_slice();
        let todo: Vec<&&Chosen<'_>> = chosen.iter().filter(|one| one.rows.is_none()).collect();
        let state = |job| todo.iter().map(|one| Import { directory: self.identity(one.batch), job }).collect();
        if !todo.is_empty() {
            self.ledger.jobs(&item.target, state(Job::Inserting)).await?;
        }
        let parts: Vec<Result<(String, u64), Broken>> = stream::iter(&todo)
            .map(|one| async move {
                let rows = self.partition(item, one.batch, columns).await;
                self.pace(|pace| pace.ended(Way::Insert, one.planned));
                rows.map(|rows| (self.identity(one.batch), rows))
            })
            .buffer_unordered(PARTITIONS)
            .collect()
            .await;
        let mut done = Vec::new();
        for part in parts {
            match part {
                Ok((directory, rows)) => done.push((directory, rows)),
                Err(Broken::Again(again)) => return Ok(Err(again)),
                Err(Broken::Error(error)) => return Err(error),
            }
        }
        let total: u64 = chosen.iter().filter_map(|one| one.rows).chain(done.iter().map(|(_, rows)| *rows)).sum();
        let inserted = |(directory, rows)| {
            let rows = i64::try_from(rows).unwrap_or(i64::MAX);
            Import { directory, job: Job::Inserted { rows } }
        };
        if !done.is_empty() {
            self.ledger.jobs(&item.target, done.into_iter().map(inserted).collect()).await?;
        }
        let segments: Vec<i64> = chosen.iter().flat_map(|one| one.batch.segments.iter().copied()).collect();
        let wanted = expected.live_of(&segments);
        let counts = self.task.verify != VerifyRestore::None;
        if counts && !wanted.contains(&total) {
            return Err(EngineError::RowCountMismatch(format!(
                "{total} rows were inserted into {}, the backup has {}",
                item.target,
                rows::told(&wanted)
            )));
        }
        let step = self.ledger.entry(&item.target).await.map(|entry| entry.step);
        if step.is_some_and(|step| step >= Step::Imported) {
            // Sealed and counted by an earlier attempt; since then its owner may have written to it.
            return Ok(Ok(total));
        }
        // Sealed is enough: the server has the rows in its log since it answered, writes sealed segments by itself, and a
        // 2.3 does so 2 s after the last insert at the earliest (`dataCoord.segment.assignmentExpiration`).
        match patient(|| self.milvus.flush(&item.target.database, &item.target.collection)).await {
            // A login may import and not flush: then it is imported.
            Err(EngineError::Milvus(error)) if error.class() == Class::Configuration => {
                let why = error.to_string();
                let broken = chosen.iter().map(|one| self.refused(item, one.batch, &why)).last();
                return match broken {
                    Some(Broken::Again(again)) => Ok(Err(again)),
                    Some(Broken::Error(error)) => Err(error),
                    None => Err(error.into()),
                };
            }
            answered => drop(answered?),
        }
        if counts {
            self.sealed(item, chosen, total).await?;
        }
        Ok(Ok(total))
    }

    /// Whether an earlier attempt was stopped while it inserted.
    pub(super) async fn insert_begun(&self, item: &Item<'_>) -> bool {
        let entry = self.ledger.entry(&item.target).await;
        entry.is_some_and(|entry| entry.imports.iter().any(|import| import.job == Job::Inserting))
    }

    /// One partition; answers its rows.
    async fn partition(&self, item: &Item<'_>, batch: &Batch, columns: &[Column]) -> Result<u64, Broken> {
        let kib = u32::try_from(columns::estimate(item, batch) >> 10).unwrap_or(HELD_KIB).clamp(1, HELD_KIB);
        // Never closed; without a permit the work goes on unbounded rather than not at all.
        let _held = self.held.acquire_many(kib).await.ok();
        let begun = self.began.elapsed();
        let (mut rows, mut bytes) = (0, 0);
        for segment in columns::segments(item, batch) {
            let deletes = rows::all_deletes(self.artifact, &item.info, segment, self.counted_to(item)).await?;
            let timed = !deletes.is_empty() || self.cut(item).is_some();
            let ids = columns.iter().map(|column| column.id);
            for at in 0..fields::places(segment, ids.chain([TIMESTAMP_FIELD])).unwrap_or_default() {
                let (values, stamps) = match self.values(segment, columns, at, timed).await {
                    Err(EngineError::Binlog { key, source: source @ BinlogError::Unsupported { .. } }) => {
                        return Err(self.refused(item, batch, &format!("{key}: {source}")));
                    }
                    values => values?,
                };
                let kept = columns::kept(columns, &values, stamps.as_ref(), &deletes, self.counted_to(item)).map_err(
                    |why| EngineError::Damaged(format!("segment {} of {}: {why}", segment.segment_id, item.source)),
                )?;
                for range in columns::requests(&values, &kept, REQUEST_BYTES) {
                    let some = &kept[range];
                    self.request(item, batch, columns, &values, some).await?;
                    rows += some.len() as u64;
                    bytes += columns::bytes(&values, some);
                }
            }
        }
        let ended = self.began.elapsed();
        self.pace(|pace| pace.inserted(bytes, begun, ended));
        self.counters.objects(batch.objects, batch.bytes);
        tracing::info!(
            collection = %item.target, partition = batch.partition, rows, bytes, took = ?(ended - begun), "inserted"
        );
        Ok(rows)
    }

    /// The values of all columns in the files that hold the same rows, and where they are wanted the times of the rows.
    pub(super) async fn values(
        &self,
        segment: &SegmentBackupInfo,
        columns: &[Column],
        at: usize,
        timed: bool,
    ) -> Result<(Vec<Series>, Option<Series>), EngineError> {
        let _permit = self.readers.acquire().await.ok();
        let typed = columns.iter().map(|column| (column.id, column.data_type.into()));
        let wanted: Vec<(i64, i32)> = typed.chain(timed.then_some((TIMESTAMP_FIELD, INT64))).collect();
        let mut values = fields::series(self.artifact, segment, &wanted, at).await?;
        let stamps = if timed { values.pop() } else { None };
        Ok((values, stamps))
    }

    async fn request(
        &self,
        item: &Item<'_>,
        batch: &Batch,
        columns: &[Column],
        values: &[Series],
        rows: &[usize],
    ) -> Result<(), Broken> {
        let data = columns.iter().zip(values).map(|(column, values)| columns::inserted(column, values, rows));
        let data = match data.collect::<Result<Vec<_>, String>>() {
            Ok(data) => data,
            Err(why) => return Err(self.refused(item, batch, &why)),
        };
        let keyed = item.info.schema.fields.iter().any(|field| field.is_partition_key);
        let insert = Insert {
            database: item.target.database.clone(),
            collection: item.target.collection.clone(),
            partition: if keyed { String::new() } else { batch.partition.clone() },
            columns: data,
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        };
        let _turn = self.requests.acquire().await.ok();
        // An attempt that slept meanwhile must not put rows into the collection of a newer one.
        self.ledger.hold().await?;
        let lost = |why: String| Err(Broken::Again(Again::Lost(why)));
        match self.milvus.insert(insert).await {
            Ok(taken) if taken == rows.len() as u64 => Ok(()),
            Ok(taken) => lost(format!("the server took {taken} of {} rows", rows.len())),
            Err(error) if error.class() == Class::Retry => {
                lost(format!("rows were inserted without an answer: {error}"))
            }
            Err(error) => Err(self.refused(item, batch, &error.to_string())),
        }
    }

    /// The partition is imported after all, where that is allowed.
    fn refused(&self, item: &Item<'_>, batch: &Batch, why: &str) -> Broken {
        if self.task.restore_path == RestorePath::Insert {
            return Broken::Error(EngineError::Rejected(format!(
                "partition {} of collection {} cannot be restored by insert ({why}): leave the way to us, or import it",
                batch.partition, item.source
            )));
        }
        if let Ok(mut all) = self.refused.lock() {
            all.insert((item.target.clone(), self.identity(batch)));
        }
        Broken::Again(Again::Unfinished(format!("partition {} cannot be inserted ({why})", batch.partition)))
    }

    /// That the sealed segments hold the rows that were inserted.
    async fn sealed(&self, item: &Item<'_>, chosen: &[&Chosen<'_>], rows: u64) -> Result<(), EngineError> {
        let keyed = item.info.schema.fields.iter().any(|field| field.is_partition_key);
        if keyed && chosen.len() < item.batches.len() {
            // Inserted rows are where the key puts them, among imported ones.
            return Ok(());
        }
        let (database, collection) = (item.target.database.as_str(), item.target.collection.as_str());
        let ours = |name: &str| keyed || chosen.iter().any(|one| one.batch.partition == name);
        let partitions: BTreeSet<i64> = patient(|| self.milvus.list_partitions(database, collection))
            .await?
            .into_iter()
            .filter(|partition| ours(&partition.name))
            .map(|partition| partition.id)
            .collect();
        let (seen, partitions) = (AtomicU64::new(0), &partitions);
        let look = || async {
            let segments = patient(|| self.milvus.segments(database, collection)).await?;
            let there = segments
                .iter()
                .filter(|segment| partitions.contains(&segment.partition_id) && segment.state != SegmentState::Dropped);
            let found = there.map(|segment| u64::try_from(segment.rows).unwrap_or_default()).sum();
            seen.store(found, Ordering::Relaxed);
            Ok(found == rows)
        };
        match until(&format!("counting {}", item.target), COUNT_DEADLINE, look).await {
            Err(EngineError::Deadline { .. }) => Err(EngineError::RowCountMismatch(format!(
                "the segments of {} hold {} of {rows} rows that were inserted",
                item.target,
                seen.into_inner()
            ))),
            outcome => outcome,
        }
    }
}

/// Data type of timestamps.
const INT64: i32 = DataType::Int64 as i32;
