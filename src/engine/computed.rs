//! A bucket for measurements: listings are computed and copies are counted, so that it holds nothing in memory; what is
//! written as a whole or in parts lies in a directory.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::copy::Copy;
use super::error::EngineError;
use super::lock::Fence;
use crate::manifest::layout::{self, LogKey};
use crate::storage::{
    Condition, FolderStore, ObjectMeta, ObjectRef, Page, Part, Place, Store, StoreError, Upload, Written,
};

/// Milvus' rootPath in it.
pub const ROOT: &str = "files";
/// Where its artifact is.
pub const PREFIX: &str = "backup";
/// Its artifact.
pub const NAME: &str = "production_nightly_20260101_0123abcd";
/// As long as ids of a real server are.
pub const ID: i64 = 450_000_000_000_000_000;
/// Logs of a segment, each of a field of its own.
pub const FIELDS: i64 = 20;
const PAGE: u64 = 1000;

/// Milvus' logs below [`ROOT`], all of one partition, and their copies in an artifact.
#[derive(Debug)]
pub struct Computed {
    place: Place,
    artifact: layout::Artifact,
    objects: u64,
    /// Bytes of each.
    size: u64,
    /// Objects or, of streams, bytes.
    pub copied: AtomicU64,
    metadata: FolderStore,
}

impl Computed {
    /// With so many logs; what is written lies in `directory`.
    pub fn new(service: &str, objects: u64, size: u64, directory: &Path) -> Computed {
        let place = Place { service: service.into(), region: String::new(), bucket: "b".into() };
        Computed {
            place,
            artifact: layout::Artifact::new(PREFIX, NAME).unwrap(),
            objects,
            size,
            copied: AtomicU64::new(0),
            metadata: FolderStore::open(directory).unwrap(),
        }
    }

    fn key(&self, at: u64) -> LogKey {
        let at = at as i64;
        let (segment, field) = (ID + at / FIELDS, 100 + at % FIELDS);
        LogKey { collection: ID, partition: ID + 1, segment, field: Some(field), log: ID + at }
    }

    /// As little alike as digests are.
    fn meta(&self, at: u64, key: String) -> ObjectMeta {
        let high = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let low = (high ^ (high >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ObjectMeta { key, size: self.size, etag: format!("{high:016x}{low:016x}") }
    }

    /// One of its logs, to be copied.
    pub fn copy(&self, at: u64) -> Copy {
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
        let in_milvus = prefix.starts_with(&format!("{ROOT}/insert_log"));
        let in_artifact = prefix == self.artifact.binlogs();
        let count = match (in_milvus, in_artifact) {
            (true, _) => self.objects,
            (_, true) => self.copied.load(Ordering::Relaxed),
            _ => return Ok(Page::default()),
        };
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

    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        self.metadata.get_within(key, most).await
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        if !key.starts_with(ROOT) {
            return self.metadata.read_range(key, etag, offset, length).await;
        }
        let length = length.min(self.size - offset);
        Ok(vec![1; usize::try_from(length).unwrap()].into())
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        self.metadata.put(key, body).await
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        self.metadata.put_if(key, body, condition).await
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        match self.artifact.parse_log(key) {
            Some(_) => Ok("upload".into()),
            None => self.metadata.begin_upload(key).await,
        }
    }

    async fn upload_part(&self, upload: &Upload, number: i32, offset: u64, body: Bytes) -> Result<Part, StoreError> {
        if self.artifact.parse_log(&upload.key).is_none() {
            return self.metadata.upload_part(upload, number, offset, body).await;
        }
        // Others read meanwhile.
        tokio::task::yield_now().await;
        self.copied.fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(Part { number, etag: String::new() })
    }

    async fn copy_part(&self, _: &Upload, _: i32, _: &ObjectRef, _: u64, _: u64) -> Result<Part, StoreError> {
        unreachable!()
    }

    async fn finish_upload(&self, upload: &Upload, parts: Vec<Part>) -> Result<String, StoreError> {
        match self.artifact.parse_log(&upload.key) {
            Some(_) => Ok(String::new()),
            None => self.metadata.finish_upload(upload, parts).await,
        }
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

/// Keeps nobody from writing.
pub struct Open;

#[async_trait]
impl Fence for Open {
    async fn hold(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// The most that was resident so far, in bytes.
pub fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
