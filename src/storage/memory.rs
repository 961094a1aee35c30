//! Buckets in memory, for tests: behaves as a good S3 service does, without a network.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

use super::{Condition, ObjectMeta, ObjectRef, Page, Part, Place, Store, StoreError, Upload, Written};

const PAGE: usize = 1000;

/// A service with buckets. Cheap to clone; clones are the same service.
#[derive(Debug, Clone, Default)]
pub struct MemoryService {
    name: String,
    buckets: Arc<Mutex<BTreeMap<String, Bucket>>>,
    /// Where tags are no digests: counts what was written.
    opaque: Option<Arc<AtomicU64>>,
}

/// A bucket of a [`MemoryService`].
#[derive(Debug, Clone)]
pub struct MemoryStore {
    service: MemoryService,
    place: Place,
    page_size: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Unfinished>,
    uploads_begun: u64,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    etag: String,
}

#[derive(Debug)]
struct Unfinished {
    key: String,
    parts: BTreeMap<i32, Object>,
}

impl Object {
    fn new(body: Bytes) -> Object {
        Object { etag: hex(&Md5::digest(&body)), body }
    }

    /// With a tag that looks like a digest and is none, another one for each write.
    fn sealed(body: Bytes, write: u64) -> Object {
        let sealed = Md5::new().chain_update(write.to_le_bytes()).chain_update(&body);
        Object { etag: hex(&sealed.finalize()), body }
    }

    fn is(&self, etag: Option<&str>, key: &str, place: &Place) -> Result<(), StoreError> {
        match etag {
            Some(etag) if etag != self.etag => Err(StoreError::Replaced { key: key.into(), place: place.to_string() }),
            _ => Ok(()),
        }
    }
}

impl MemoryService {
    /// A service without buckets. Two services of one name still share nothing.
    pub fn new(name: &str) -> MemoryService {
        MemoryService { name: name.into(), buckets: Arc::default(), opaque: None }
    }

    /// The same service as one that encrypts with keys of its own (SSE-KMS) tags what is written from now on: 32 hexadecimal
    /// digits that are no digest of the content, so that a copy has another tag than its source.
    pub fn with_opaque_tags(self) -> MemoryService {
        MemoryService { opaque: Some(Arc::default()), ..self }
    }

    fn object_of(&self, body: Bytes) -> Object {
        match &self.opaque {
            None => Object::new(body),
            Some(writes) => Object::sealed(body, writes.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Opens a bucket, made where it is missing.
    pub fn bucket(&self, name: &str) -> MemoryStore {
        self.lock().entry(name.into()).or_default();
        self.absent_bucket(name)
    }

    /// Opens a bucket without making it: what a wrong name in a setting gives.
    pub fn absent_bucket(&self, name: &str) -> MemoryStore {
        let service = format!("memory:{}", self.name);
        let place = Place { service, region: String::new(), bucket: name.into() };
        MemoryStore { service: self.clone(), place, page_size: PAGE }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: &ObjectRef) -> Result<Object, StoreError> {
        self.absent_bucket(&from.bucket).object(&from.key)
    }
}

impl MemoryStore {
    /// The same bucket, listed in pages of another size.
    pub fn with_page_size(self, page_size: usize) -> MemoryStore {
        MemoryStore { page_size, ..self }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bucket) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.service.lock().get_mut(&self.place.bucket) {
            Some(bucket) => act(bucket),
            None => Err(StoreError::BucketNotFound { place: self.place.to_string() }),
        }
    }

    fn object(&self, key: &str) -> Result<Object, StoreError> {
        self.with(|bucket| bucket.objects.get(key).cloned().ok_or_else(|| self.not_found(key)))
    }

    fn write(&self, key: &str, object: Object) -> Result<String, StoreError> {
        let etag = object.etag.clone();
        self.with(|bucket| {
            bucket.objects.insert(key.into(), object);
            Ok(etag)
        })
    }

    fn write_part(&self, upload: &Upload, number: i32, body: Bytes) -> Result<Part, StoreError> {
        let part = self.service.object_of(body);
        let etag = part.etag.clone();
        self.with(|bucket| {
            let unfinished = bucket.uploads.get_mut(&upload.id).filter(|unfinished| unfinished.key == upload.key);
            let unfinished =
                unfinished.ok_or_else(|| self.rejected("write a part", "the multipart write does not exist"))?;
            unfinished.parts.insert(number, part);
            Ok(Part { number, etag })
        })
    }

    fn not_found(&self, key: &str) -> StoreError {
        StoreError::NotFound { key: key.into(), place: self.place.to_string() }
    }

    fn rejected(&self, act: &str, cause: &str) -> StoreError {
        StoreError::Rejected { place: self.place.to_string(), act: act.into(), cause: cause.into() }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.with(|bucket| {
            let mut keys = bucket
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
            let objects: Vec<ObjectMeta> = keys
                .by_ref()
                .take(self.page_size)
                .map(|(key, object)| ObjectMeta {
                    key: key.clone(),
                    size: object.body.len() as u64,
                    etag: object.etag.clone(),
                })
                .collect();
            let more = keys.next().is_some();
            let next = if more { objects.last().map(|object| object.key.clone()) } else { None };
            Ok(Page { objects, next })
        })
    }

    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        let body = self.object(key)?.body;
        StoreError::unless_within(most, body.len() as u64, key, &self.place)?;
        Ok(body)
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let object = self.object(key)?;
        object.is(etag, key, &self.place)?;
        Ok(range(&object.body, offset, length))
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        self.write(key, self.service.object_of(body))
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        let object = self.service.object_of(body);
        self.with(|bucket| {
            let present = bucket.objects.get(key);
            let holds = match &condition {
                Condition::Absent => present.is_none(),
                Condition::Matches(etag) => present.is_some_and(|present| present.etag == *etag),
            };
            if !holds {
                return Ok(Written::Refused);
            }
            let etag = object.etag.clone();
            bucket.objects.insert(key.into(), object);
            Ok(Written::Yes(etag))
        })
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let object = self.service.read(from)?;
        self.write(to, self.service.object_of(object.body))
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        self.with(|bucket| {
            bucket.uploads_begun += 1;
            let id = format!("upload-{}", bucket.uploads_begun);
            bucket.uploads.insert(id.clone(), Unfinished { key: key.into(), parts: BTreeMap::new() });
            Ok(id)
        })
    }

    async fn upload_part(&self, upload: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        self.write_part(upload, number, body)
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: i32,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<Part, StoreError> {
        let source = self.service.read(from)?;
        source.is(from.etag.as_deref(), &from.key, &self.place)?;
        let body = source.body;
        if length == 0 || offset.saturating_add(length) > body.len() as u64 {
            return Err(self.rejected("copy a part", "the range is not inside the object"));
        }
        self.write_part(upload, number, range(&body, offset, length))
    }

    async fn finish_upload(&self, upload: &Upload, mut parts: Vec<Part>) -> Result<String, StoreError> {
        let act = "finish a multipart write";
        parts.sort_by_key(|part| part.number);
        self.with(|bucket| {
            let unfinished = bucket.uploads.get(&upload.id).filter(|unfinished| unfinished.key == upload.key);
            let unfinished = unfinished.ok_or_else(|| self.rejected(act, "it does not exist"))?;
            if parts.is_empty() {
                return Err(self.rejected(act, "it has no parts"));
            }
            let (mut body, mut digests) = (BytesMut::new(), Md5::new());
            for part in &parts {
                let written = unfinished.parts.get(&part.number).filter(|written| written.etag == part.etag);
                let written = written.ok_or_else(|| self.rejected(act, "a part was not written"))?;
                body.extend_from_slice(&written.body);
                digests.update(Md5::digest(&written.body));
            }
            let etag = format!("{}-{}", hex(&digests.finalize()), parts.len());
            bucket.uploads.remove(&upload.id);
            bucket.objects.insert(upload.key.clone(), Object { body: body.freeze(), etag: etag.clone() });
            Ok(etag)
        })
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        self.with(|bucket| {
            bucket.uploads.remove(&upload.id);
            Ok(())
        })
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.with(|bucket| {
            let below = bucket.uploads.iter().filter(|(_, unfinished)| unfinished.key.starts_with(prefix));
            Ok(below.map(|(id, unfinished)| Upload { key: unfinished.key.clone(), id: id.clone() }).collect())
        })
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.with(|bucket| {
            keys.iter().for_each(|key| {
                bucket.objects.remove(key);
            });
            Ok(())
        })
    }
}

fn range(body: &Bytes, offset: u64, length: u64) -> Bytes {
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    body.slice(clamp(offset)..clamp(offset.saturating_add(length)))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::contract::{self, Fixture};

    #[tokio::test]
    async fn memory_keeps_every_promise() {
        let (service, other) = (MemoryService::new("one"), MemoryService::new("two"));
        let fixture = Fixture {
            store: &service.bucket("first"),
            twin: &service.bucket("second"),
            foreign: &other.bucket("first"),
            absent: Some(&service.absent_bucket("nowhere")),
            prefix: "contract".into(),
            smallest_part: 16,
        };
        if let Err(broken) = contract::prove(&fixture, &[]).await {
            panic!("{broken}");
        }
    }

    #[tokio::test]
    async fn tags_that_are_no_digests_differ_from_copy_to_copy_and_keep_every_other_promise() {
        let (service, other) = (MemoryService::new("one").with_opaque_tags(), MemoryService::new("two"));
        let store = service.bucket("first");
        let etag = store.put("a", Bytes::from_static(b"x")).await.unwrap();
        let from = ObjectRef { bucket: "first".into(), key: "a".into(), etag: None };
        let copied = store.copy(&from, "b").await.unwrap();
        assert!(etag.len() == 32 && copied.len() == 32 && etag != copied);
        let fixture = Fixture {
            store: &store,
            twin: &service.bucket("second"),
            foreign: &other.bucket("first"),
            absent: Some(&service.absent_bucket("nowhere")),
            prefix: "contract".into(),
            smallest_part: 16,
        };
        if let Err(broken) = contract::prove(&fixture, &[]).await {
            panic!("{broken}");
        }
    }

    #[tokio::test]
    async fn pages_have_the_size_asked_for() {
        let store = MemoryService::new("pages").bucket("b").with_page_size(2);
        for key in ["a", "b", "c"] {
            store.put(key, Bytes::new()).await.unwrap();
        }
        let first = store.list_page("", None).await.unwrap();
        assert_eq!(first.next.as_deref(), Some("b"));
        let second = store.list_page("", first.next.as_deref()).await.unwrap();
        assert_eq!((second.objects.len(), second.next), (1, None));
    }
}
