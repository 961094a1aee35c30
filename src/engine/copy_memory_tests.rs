//! What plan, copy and proof hold in memory, measured on a store that holds nothing.
//!
//! Ignored, because the measure is that of the whole process: each is run alone.
//!
//! ```text
//! cargo test --release --lib engine::copy::memory_tests -- --ignored --exact --nocapture \
//!     engine::copy::memory_tests::a_hundred_thousand_objects_are_planned_copied_and_proven
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::manifest::layout::{self, LogKey};
use crate::manifest::objects::ObjectsWriter;
use crate::manifest::{Binlog, ObjectRecord};
use crate::storage::{Condition, ObjectRef, Page, Part, Place, Upload, Written, list_all};

const MIB: u64 = 1 << 20;
const PAGE: u64 = 1000;
const ROOT: &str = "files";
/// As long as ids of a real server are.
const ID: i64 = 450_000_000_000_000_000;

/// A bucket whose listings are computed: Milvus' logs below [`ROOT`], their copies in the artifact.
#[derive(Debug)]
struct Computed {
    place: Place,
    artifact: layout::Artifact,
    objects: u64,
    /// Bytes of each.
    size: u64,
    copied: AtomicU64,
}

impl Computed {
    fn new(service: &str, objects: u64, size: u64) -> Computed {
        let place = Place { service: service.into(), region: String::new(), bucket: "b".into() };
        let artifact = layout::Artifact::new("backup", "production_nightly_20260101_0123abcd").unwrap();
        Computed { place, artifact, objects, size, copied: AtomicU64::new(0) }
    }

    /// Twenty fields a segment, one file each.
    fn key(&self, at: u64) -> LogKey {
        let at = at as i64;
        let (segment, field) = (ID + at / 20, 100 + at % 20);
        LogKey { collection: ID, partition: ID + 1, segment, field: Some(field), log: ID + at }
    }

    fn meta(&self, at: u64, key: String) -> ObjectMeta {
        ObjectMeta { key, size: self.size, etag: format!("{at:032x}") }
    }

    fn copy(&self, at: u64) -> Copy {
        let key = self.key(at);
        Copy { source: self.meta(at, key.in_milvus(ROOT)), to: self.artifact.log(&key, Some(key.segment)) }
    }
}

#[async_trait]
impl Store for Computed {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let in_milvus = prefix.starts_with(ROOT);
        let count = if in_milvus { self.objects } else { self.copied.load(Ordering::Relaxed) };
        let from: u64 = after.map_or(0, |after| after.parse().unwrap());
        let to = count.min(from + PAGE);
        let named = |at| match (in_milvus, self.key(at)) {
            (true, key) => key.in_milvus(ROOT),
            (false, key) => self.artifact.log(&key, Some(key.segment)),
        };
        let objects = (from..to).map(|at| self.meta(at, named(at))).collect();
        Ok(Page { objects, next: (to < count).then(|| to.to_string()) })
    }

    async fn copy(&self, _: &ObjectRef, _: &str) -> Result<String, StoreError> {
        tokio::task::yield_now().await;
        self.copied.fetch_add(1, Ordering::Relaxed);
        Ok(String::new())
    }

    async fn get(&self, _: &str) -> Result<Bytes, StoreError> {
        unreachable!()
    }

    async fn read_range(&self, _: &str, _: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let length = length.min(self.size - offset);
        Ok(vec![1; usize::try_from(length).unwrap()].into())
    }

    async fn put(&self, _: &str, _: Bytes) -> Result<String, StoreError> {
        unreachable!()
    }

    async fn put_if(&self, _: &str, _: Bytes, _: Condition) -> Result<Written, StoreError> {
        unreachable!()
    }

    async fn begin_upload(&self, _: &str) -> Result<String, StoreError> {
        Ok("upload".into())
    }

    async fn upload_part(&self, _: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        // Others read meanwhile.
        tokio::task::yield_now().await;
        self.copied.fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(Part { number, etag: String::new() })
    }

    async fn copy_part(&self, _: &Upload, _: i32, _: &ObjectRef, _: u64, _: u64) -> Result<Part, StoreError> {
        unreachable!()
    }

    async fn finish_upload(&self, _: &Upload, _: Vec<Part>) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn abort_upload(&self, _: &Upload) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn uploads(&self, _: &str) -> Result<Vec<Upload>, StoreError> {
        unreachable!()
    }

    async fn delete(&self, _: &[String]) -> Result<(), StoreError> {
        unreachable!()
    }
}

struct Open;

#[async_trait]
impl Fence for Open {
    async fn hold(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// The most that was resident so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn say(what: &str) {
    eprintln!("{what}: {} MiB at most", peak() / MIB);
}

/// The copy engine alone: copies are made up as they begin.
async fn copied(objects: u64) {
    let store = Computed::new("computed:", objects, 1000);
    let counters = Counters::default();
    let copies = (0..objects).map(|at| store.copy(at));
    Copier::new(&Limits::default(), &counters).all(&store, &store, copies, &counters, &Open).await.unwrap();
    assert_eq!(store.copied.load(Ordering::Relaxed), objects);
    say("copied");
}

/// As a backup does it: the logs as listed with their keys, the copies, the metadata of each log, the proof, the record.
async fn backed_up(objects: u64) {
    let store = Computed::new("computed:", objects, 1000);
    say("begun");
    let listed = list_all(&store, ROOT).await.unwrap();
    let logs: Vec<(LogKey, ObjectMeta)> =
        listed.into_iter().map(|object| (LogKey::parse_in_milvus(ROOT, &object.key).unwrap(), object)).collect();
    say("listed");
    let copies: Vec<Copy> = logs
        .iter()
        .map(|(key, object)| Copy { source: object.clone(), to: store.artifact.log(key, Some(key.segment)) })
        .collect();
    let described: Vec<Binlog> = logs
        .iter()
        .map(|(key, object)| Binlog { log_path: object.key.clone(), log_id: key.log, ..Binlog::default() })
        .collect();
    drop(logs);
    say("planned");
    let there = list_all(&store, "backup").await.unwrap();
    let todo = missing(&copies, &there);
    assert_eq!(todo.len() as u64, objects);
    let counters = Counters::default();
    let todo = todo.into_iter().cloned();
    Copier::new(&Limits::default(), &counters).all(&store, &store, todo, &counters, &Open).await.unwrap();
    say("copied");
    let there = list_all(&store, "backup").await.unwrap();
    assert_eq!(missing(&copies, &there), Vec::<&Copy>::new());
    say("proven");
    let mut records = ObjectsWriter::new().unwrap();
    for object in &there {
        let key = store.artifact.relative(&object.key).unwrap().to_owned();
        records
            .push(&ObjectRecord { key, size: object.size, etag: object.etag.clone(), ..ObjectRecord::default() })
            .unwrap();
    }
    records.finish().unwrap();
    let written = serde_json::to_vec(&described).unwrap();
    say(&format!("recorded ({} MiB of metadata)", written.len() as u64 / MIB));
}

#[tokio::test]
#[ignore = "measures the whole process: run it alone"]
async fn copying_alone_takes_no_more_memory_for_a_million_objects_than_for_a_few() {
    copied(1_000_000).await;
    assert!(peak() < 32 * MIB, "{} MiB", peak() / MIB);
}

#[tokio::test]
#[ignore = "measures the whole process: run it alone"]
async fn streams_between_stores_hold_no_more_than_their_budget() {
    let size = 64 * MIB;
    let (source, target) = (Computed::new("one:", 100, size), Computed::new("two:", 100, size));
    let counters = Counters::default();
    let copies = (0..100).map(|at| source.copy(at));
    Copier::new(&Limits::default(), &counters).all(&source, &target, copies, &counters, &Open).await.unwrap();
    assert_eq!(target.copied.load(Ordering::Relaxed), 100 * size);
    say("streamed 6.25 GiB");
    assert!(peak() < 100 * MIB, "{} MiB", peak() / MIB);
}

#[tokio::test]
#[ignore = "measures the whole process: run it alone"]
async fn a_hundred_thousand_objects_are_planned_copied_and_proven() {
    backed_up(100_000).await;
    assert!(peak() < 128 * MIB, "{} MiB", peak() / MIB);
}

#[tokio::test]
#[ignore = "measures the whole process: run it alone"]
async fn a_million_objects_are_planned_copied_and_proven() {
    backed_up(1_000_000).await;
    assert!(peak() < 1200 * MIB, "{} MiB", peak() / MIB);
}
