//! Copies many objects at once: bounded, counted, stopped at the first failure.

use std::collections::HashMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::error::EngineError;
use super::lock::Fence;
use super::progress::Counters;
use crate::storage::{ObjectMeta, Store, TransferOptions, transfer};

/// Objects in flight at once where the task sets no bound. Small server-side copies wait mostly for the store.
pub const DEFAULT_CONCURRENCY: usize = 32;

/// One object to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Object in the source, as listed.
    pub source: ObjectMeta,
    /// Key in the destination.
    pub to: String,
}

/// Copies all; answers the bytes that were moved.
///
/// # Errors
/// The first failure, or [`EngineError::LostLock`] from the fence; copies in flight are dropped.
pub async fn all(
    source: &dyn Store,
    destination: &dyn Store,
    copies: &[Copy],
    concurrency: usize,
    counters: &Counters,
    fence: &dyn Fence,
) -> Result<u64, EngineError> {
    let options = TransferOptions::default();
    let options = &options;
    stream::iter(copies)
        .map(|copy| async move {
            fence.hold().await?;
            transfer(source, destination, &copy.source.key, &copy.to, copy.source.size, options).await?;
            counters.objects(1, copy.source.size);
            Ok::<u64, EngineError>(copy.source.size)
        })
        .buffer_unordered(concurrency.max(1))
        .try_fold(0u64, |sum, bytes| async move { Ok(sum + bytes) })
        .await
}

/// Whether a listed destination object is the source object: same size, and the same tag where both tags are digests
/// (a tag with a dash comes from a multipart write and says nothing about the content).
pub fn same(source: &ObjectMeta, destination: &ObjectMeta) -> bool {
    source.size == destination.size
        && (source.etag == destination.etag || !is_digest(&source.etag) || !is_digest(&destination.etag))
}

/// Whether an ETag is the plain MD5 of the content.
pub fn is_digest(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Compares copies with a listing of the destination; answers the keys that are missing or differ.
pub fn differing(copies: &[Copy], listed: &[ObjectMeta]) -> Vec<String> {
    let found: HashMap<&str, &ObjectMeta> = listed.iter().map(|object| (object.key.as_str(), object)).collect();
    copies
        .iter()
        .filter(|copy| !found.get(copy.to.as_str()).is_some_and(|object| same(&copy.source, object)))
        .map(|copy| copy.to.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::storage::list_all;
    use crate::storage::memory::MemoryService;

    fn object(key: &str, size: u64, etag: &str) -> ObjectMeta {
        ObjectMeta { key: key.into(), size, etag: etag.into() }
    }

    #[test]
    fn equal_size_is_not_enough_where_both_tags_are_digests() {
        let (a, b) = ("a".repeat(32), "b".repeat(32));
        assert!(same(&object("x", 3, &a), &object("y", 3, &a)));
        assert!(!same(&object("x", 3, &a), &object("y", 3, &b)));
        assert!(same(&object("x", 3, &a), &object("y", 3, "0123-2")));
        assert!(!same(&object("x", 3, &a), &object("y", 4, &a)));
    }

    struct Open;

    #[async_trait::async_trait]
    impl Fence for Open {
        async fn hold(&self) -> Result<(), EngineError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn all_objects_arrive_and_are_counted() {
        let store = MemoryService::new("test").bucket("b");
        let mut copies = Vec::new();
        for i in 0..50u64 {
            let key = format!("in/{i}");
            let body = Bytes::from(vec![i as u8; i as usize]);
            let etag = store.put(&key, body).await.unwrap();
            copies.push(Copy { source: object(&key, i, &etag), to: format!("out/{i}") });
        }
        let counters = Counters::default();
        let moved = all(&store, &store, &copies, 4, &counters, &Open).await.unwrap();
        assert_eq!(moved, (0..50).sum::<u64>());
        assert_eq!(counters.bytes_done(), moved);
        assert_eq!(differing(&copies, &list_all(&store, "out/").await.unwrap()), Vec::<String>::new());
        store.put("out/7", Bytes::from_static(b"1234567")).await.unwrap();
        assert_eq!(differing(&copies, &list_all(&store, "out/").await.unwrap()), ["out/7"]);
    }
}
