//! A store that fails on demand, for tests of everything that uses a store.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Traffic, Upload, Written};

/// The verbs of [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum Verb {
    ListPage,
    Folders,
    Get,
    GetRange,
    Put,
    PutIf,
    Copy,
    BeginUpload,
    UploadPart,
    CopyPart,
    FinishUpload,
    AbortUpload,
    Uploads,
    Delete,
}

/// One call, as the plan of faults sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub verb: Verb,
    /// The key it is about: the target of a write or copy, the prefix of a listing, the first key of a deletion.
    pub key: String,
    /// Counts the calls of this verb with this key, from 1.
    pub nth: usize,
    /// Counts the calls of this verb, from 1.
    pub total: usize,
}

/// What happens to a call.
#[derive(Debug)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It fails and nothing is done.
    Fail(StoreError),
    /// It is done, but the caller gets this error.
    LoseAnswer(StoreError),
    /// It is done, but of what a read brings one bit is another: for content that rots under its ETag.
    Flip,
    /// It is done, and the answer comes so much later; what a read brings is in memory meanwhile.
    Late(Duration),
    /// It never ends and nothing is done: for tests that drop the caller in the middle.
    Hang,
}

/// Bytes that reads have brought and nobody has dropped yet.
#[derive(Debug, Default)]
struct Scales {
    now: AtomicU64,
    most: AtomicU64,
}

/// A body on the scales.
struct Weighed {
    body: Bytes,
    scales: Arc<Scales>,
}

impl Weighed {
    fn put(body: Bytes, scales: &Arc<Scales>) -> Bytes {
        let weight = body.len() as u64;
        let now = scales.now.fetch_add(weight, Ordering::Relaxed) + weight;
        scales.most.fetch_max(now, Ordering::Relaxed);
        Bytes::from_owner(Weighed { body, scales: scales.clone() })
    }
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.scales.now.fetch_sub(self.body.len() as u64, Ordering::Relaxed);
    }
}

type Plan = Box<dyn Fn(&Call) -> Fault + Send + Sync>;

/// Wraps a store; a plan decides what happens to each call. Keeps a list of the calls.
pub struct FaultStore {
    inner: Arc<dyn Store>,
    plan: Plan,
    log: Mutex<Log>,
    scales: Arc<Scales>,
}

#[derive(Default)]
struct Log {
    calls: Vec<Call>,
    by_verb: HashMap<Verb, usize>,
    by_key: HashMap<(Verb, String), usize>,
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl FaultStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Store>, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> FaultStore {
        FaultStore { inner, plan: Box::new(plan), log: Mutex::default(), scales: Arc::default() }
    }

    /// Wraps `inner` only to keep a list of the calls.
    pub fn watching(inner: Arc<dyn Store>) -> FaultStore {
        FaultStore::new(inner, |_| Fault::Pass)
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).calls.clone()
    }

    /// How many calls of a verb there were.
    pub fn count(&self, verb: Verb) -> usize {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).by_verb.get(&verb).copied().unwrap_or(0)
    }

    /// The most bytes that reads have brought and that were not dropped, at any one time.
    pub fn most_held(&self) -> u64 {
        self.scales.most.load(Ordering::Relaxed)
    }

    fn enter(&self, verb: Verb, key: &str) -> Fault {
        let call = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let total = count_up(log.by_verb.entry(verb).or_default());
            let nth = count_up(log.by_key.entry((verb, key.to_owned())).or_default());
            let call = Call { verb, key: key.to_owned(), nth, total };
            log.calls.push(call.clone());
            call
        };
        (self.plan)(&call)
    }

    async fn apply<T>(
        &self,
        verb: Verb,
        key: &str,
        act: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        meet(self.enter(verb, key), act).await
    }

    async fn read(
        &self,
        verb: Verb,
        key: &str,
        act: impl Future<Output = Result<Bytes, StoreError>> + Send,
    ) -> Result<Bytes, StoreError> {
        let weighed = |body| Weighed::put(body, &self.scales);
        match self.enter(verb, key) {
            Fault::Flip => act.await.map(flipped).map(weighed),
            fault => meet(fault, async { act.await.map(weighed) }).await,
        }
    }
}

async fn meet<T>(fault: Fault, act: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
    match fault {
        Fault::Pass | Fault::Flip => act.await,
        Fault::Fail(error) => Err(error),
        Fault::LoseAnswer(error) => {
            act.await?;
            Err(error)
        }
        Fault::Late(by) => {
            let answer = act.await;
            tokio::time::sleep(by).await;
            answer
        }
        Fault::Hang => std::future::pending().await,
    }
}

fn flipped(body: Bytes) -> Bytes {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
    body.into()
}

fn count_up(count: &mut usize) -> usize {
    *count += 1;
    *count
}

#[async_trait]
impl Store for FaultStore {
    fn place(&self) -> &Place {
        self.inner.place()
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    fn largest_copy(&self) -> Option<u64> {
        self.inner.largest_copy()
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.apply(Verb::ListPage, prefix, self.inner.list_page(prefix, after)).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.apply(Verb::Folders, prefix, self.inner.folders(prefix)).await
    }

    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        self.read(Verb::Get, key, self.inner.get_within(key, most)).await
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.read(Verb::GetRange, key, self.inner.read_range(key, etag, offset, length)).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        self.apply(Verb::Put, key, self.inner.put(key, body)).await
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        self.apply(Verb::PutIf, key, self.inner.put_if(key, body, condition)).await
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        self.apply(Verb::Copy, to, self.inner.copy(from, to)).await
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        self.apply(Verb::BeginUpload, key, self.inner.begin_upload(key)).await
    }

    async fn upload_part(&self, upload: &Upload, number: i32, offset: u64, body: Bytes) -> Result<Part, StoreError> {
        self.apply(Verb::UploadPart, &upload.key, self.inner.upload_part(upload, number, offset, body)).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: i32,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<Part, StoreError> {
        let act = self.inner.copy_part(upload, number, from, offset, length);
        self.apply(Verb::CopyPart, &upload.key, act).await
    }

    async fn finish_upload(&self, upload: &Upload, parts: Vec<Part>) -> Result<String, StoreError> {
        self.apply(Verb::FinishUpload, &upload.key, self.inner.finish_upload(upload, parts)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        self.apply(Verb::AbortUpload, &upload.key, self.inner.abort_upload(upload)).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.apply(Verb::Uploads, prefix, self.inner.uploads(prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let first = keys.first().map(String::as_str).unwrap_or_default();
        self.apply(Verb::Delete, first, self.inner.delete(keys)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryService;

    fn denied() -> StoreError {
        StoreError::Denied { place: "p".into(), act: "a".into(), code: "AccessDenied".into() }
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_work_done_and_a_failure_does_not() {
        let bucket = MemoryService::new("m").bucket("b");
        let store = FaultStore::new(Arc::new(bucket.clone()), |call| match (call.key.as_str(), call.nth) {
            ("lost", 1) => Fault::LoseAnswer(denied()),
            ("failed", 1) => Fault::Fail(denied()),
            _ => Fault::Pass,
        });
        for key in ["lost", "failed"] {
            store.put(key, Bytes::from_static(b"x")).await.unwrap_err();
        }
        assert!(bucket.get("lost").await.is_ok());
        assert!(bucket.get("failed").await.is_err());
        store.put("failed", Bytes::new()).await.unwrap();
        assert_eq!(store.count(Verb::Put), 3);
        assert_eq!(store.calls()[2], Call { verb: Verb::Put, key: "failed".into(), nth: 2, total: 3 });
    }
}
