//! What came after the flush does not belong to the recovery point: segments and deletes are judged by their times.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::logs::Log;
use super::segments::{Found, STORAGE_VERSION};
use crate::engine::error::EngineError;
use crate::engine::reader::{Held, Reader};
use crate::manifest::{LogKind, binlog};
use crate::storage::Store;

/// Field of the row timestamps (milvus-backup.md 3.1).
const TIMESTAMP_FIELD: i64 = 1;
/// A delta log larger than this was not written in the seconds since the flush; it is not read.
const DELTA_LIMIT: u64 = 8 << 20;

/// Milvus' bucket.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The bucket.
    pub store: &'a dyn Store,
    /// Milvus' rootPath in it.
    pub root_path: &'a str,
    /// What all collections share.
    pub reader: &'a Reader,
}

impl Source<'_> {
    async fn get(&self, found: &Found, log: &Log) -> Result<Held, EngineError> {
        Ok(self.reader.whole(self.store, &found.key(log).in_milvus(self.root_path), log.size).await?)
    }
}

/// Leaves out delta logs whose deletes all came after the flush: with them a backup would hold the old half of an upsert
/// as deleted and not have its new half, and the row would be gone.
///
/// # Errors
/// The store's. A delta log that cannot be understood is kept: the proof of a restore judges it.
pub async fn without_later_deletes(
    source: &Source<'_>,
    segments: Vec<Found>,
    flush_ts: u64,
) -> Result<Vec<Found>, EngineError> {
    let kept: Vec<Found> = stream::iter(segments)
        .map(|mut found| async move {
            let mut dropped = BTreeSet::new();
            for log in found.logs.iter().filter(|log| log.kind() == LogKind::Delta) {
                if later(source, &found, log, flush_ts).await? {
                    dropped.insert(log.id);
                }
            }
            found.logs.retain(|log| log.kind() == LogKind::Insert || !dropped.contains(&log.id));
            Ok::<_, EngineError>(found)
        })
        .buffered(source.reader.at_once())
        .try_collect()
        .await?;
    Ok(kept.into_iter().filter(|found| !found.deletes_only || !found.logs.is_empty()).collect())
}

/// A timestamp log larger than this was not filled in the seconds since the flush; it is not read.
const TIMES_LIMIT: u64 = 64 << 20;

/// What came after the flush.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Segments without those that hold later rows only.
    pub segments: Vec<Found>,
    /// Segments of earlier and later rows, which only an import can part.
    pub mixed: Vec<i64>,
}

/// Leaves out segments whose rows all came after the flush. Only those not `known` from the flush or
/// from before it are looked into: from 2.5 on
/// each segment is sorted into another one within seconds of its flush (milvus-newer.md 1), so that names alone do not tell
/// a successor from a newcomer.
///
/// # Errors
/// The store's. A file that cannot be understood is kept: the proof of a restore judges it.
pub async fn without_later_rows(
    source: &Source<'_>,
    segments: Vec<Found>,
    known: &BTreeSet<i64>,
    flush_ts: u64,
) -> Result<Recovered, EngineError> {
    let looked: Vec<(Found, Option<(u64, u64)>)> = stream::iter(segments)
        .map(|found| async move {
            let strange = !found.deletes_only && !known.contains(&found.segment.id);
            let span = if strange { span(source, &found).await? } else { None };
            Ok::<_, EngineError>((found, span))
        })
        .buffered(source.reader.at_once())
        .try_collect()
        .await?;
    let mut recovered = Recovered::default();
    for (found, span) in looked {
        match span {
            Some((first, _)) if first > flush_ts => continue,
            Some((_, last)) if last > flush_ts => recovered.mixed.push(found.segment.id),
            _ => {}
        }
        recovered.segments.push(found);
    }
    Ok(recovered)
}

/// Times of the first and the last row; none where they cannot be known at little cost.
async fn span(source: &Source<'_>, found: &Found) -> Result<Option<(u64, u64)>, EngineError> {
    let mut span: Option<(u64, u64)> = None;
    let mut group = (found.segment.storage_version < STORAGE_VERSION).then_some(TIMESTAMP_FIELD);
    for log in found.logs.iter().filter(|log| log.kind() == LogKind::Insert) {
        if log.size > TIMES_LIMIT || group.is_some_and(|group| log.field != Some(group)) {
            continue;
        }
        let body = source.get(found, log).await?;
        let times = if found.segment.storage_version < STORAGE_VERSION {
            binlog::timestamps(&body)
        } else {
            if group.is_none() && !binlog::group_fields(&body).is_ok_and(|fields| fields.contains(&TIMESTAMP_FIELD)) {
                continue;
            }
            group = log.field;
            binlog::group_timestamps(&body)
        };
        let Ok(times) = times else { return Ok(None) };
        for time in times {
            let (first, last) = span.unwrap_or((time, time));
            span = Some((first.min(time), last.max(time)));
        }
    }
    Ok(span)
}

async fn later(source: &Source<'_>, found: &Found, log: &Log, flush_ts: u64) -> Result<bool, EngineError> {
    if log.size > DELTA_LIMIT {
        return Ok(false);
    }
    let body = source.get(found, log).await?;
    // The deletes themselves are asked: 2.5 leaves the timestamps of the file's events without meaning.
    Ok(binlog::deletes(&body).is_ok_and(|all| !all.is_empty() && all.iter().all(|one| one.timestamp > flush_ts)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::engine::task::Limits;
    use crate::milvus::{Segment, SegmentLevel, SegmentState};
    use crate::storage::Tag;
    use crate::storage::fault::{Fault, FaultStore};
    use crate::storage::memory::MemoryService;

    const SIZE: u64 = 7 << 20;

    /// A segment with one delta log.
    fn segment(id: i64) -> Found {
        let segment = Segment {
            id,
            partition_id: 2,
            rows: 5,
            state: SegmentState::Flushed,
            level: SegmentLevel::Legacy,
            sorted: false,
            storage_version: 0,
        };
        let logs = vec![Log { field: None, id: 3, size: SIZE, tag: Tag::from("") }];
        Found { collection: 1, segment, channel: String::new(), deletes_only: false, logs }
    }

    #[tokio::test(start_paused = true)]
    async fn deletes_are_read_within_the_memory_and_the_limits_of_the_run_and_kept_where_they_make_no_sense() {
        let bucket = MemoryService::new("m").bucket("b");
        let segments: Vec<Found> = (0..8).map(segment).collect();
        for found in &segments {
            let key = found.key(&found.logs[0]).in_milvus("files");
            bucket.put(&key, vec![0; usize::try_from(SIZE).unwrap()].into()).await.unwrap();
        }
        let store = FaultStore::new(Arc::new(bucket), |_| Fault::Late(Duration::from_secs(1)));
        for (limits, seconds) in [
            (Limits::default(), 2),
            (Limits { concurrency: Some(1), ..Limits::default() }, 8),
            (Limits { requests_per_second: Some(1), ..Limits::default() }, 8),
        ] {
            let (reader, began) = (Reader::new(&limits), Instant::now());
            let source = Source { store: &store, root_path: "files", reader: &reader };
            let kept = without_later_deletes(&source, segments.clone(), 1).await.unwrap();
            assert!(kept.len() == 8 && kept.iter().all(|found| found.logs.len() == 1));
            assert_eq!(began.elapsed(), Duration::from_secs(seconds), "{limits:?}");
        }
        assert_eq!(store.most_held(), 4 * SIZE);
    }
}
