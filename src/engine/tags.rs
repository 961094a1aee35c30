//! Whether the tags of copies can be believed.
//!
//! Where an object is encrypted with a key of the service (SSE-KMS, SSE-C), its ETag has the shape of a digest and is none: a
//! copy has another one than its source (AWS, "Checking object integrity": only plain and SSE-S3 objects have their MD5 as
//! ETag). Services that emulate S3 make up such tags, too. No header tells it on all of them, so a few of the copies that
//! differ by nothing but their tags are read: if their content is that of their sources, these tags say nothing, and sizes
//! have to do, as they do after a multipart write.

use super::copy::{self, Copy};
use super::error::EngineError;
use crate::storage::{ObjectMeta, Store, StoreError};

/// Copies that are read; the smallest ones.
pub const SAMPLE: usize = 4;
/// Bytes held of each side.
const PIECE: u64 = 4 << 20;

/// The copies that are missing or differ; `listed` as [`copy::missing`] wants it.
///
/// # Errors
/// The stores'.
pub async fn missing<'c>(
    source: &dyn Store,
    destination: &dyn Store,
    copies: &'c [Copy],
    listed: &[ObjectMeta],
) -> Result<Vec<&'c Copy>, EngineError> {
    let missing = copy::missing(copies, listed);
    let mut doubted: Vec<&Copy> = missing.iter().copied().filter(|copy| only_tags_differ(copy, listed)).collect();
    doubted.sort_by_key(|copy| copy.source.size);
    doubted.truncate(SAMPLE);
    match are_no_digests(source, destination, &doubted).await? {
        true => Ok(missing.into_iter().filter(|copy| !only_tags_differ(copy, listed)).collect()),
        false => Ok(missing),
    }
}

/// Whether tags say nothing, by some of the copies that differ by their tags alone: at most [`SAMPLE`], which are read.
///
/// # Errors
/// The stores'.
pub async fn are_no_digests(
    source: &dyn Store,
    destination: &dyn Store,
    sample: &[&Copy],
) -> Result<bool, EngineError> {
    for copy in sample {
        if !same_content(source, destination, copy).await? {
            return Ok(false);
        }
    }
    if !sample.is_empty() {
        tracing::info!(
            "the tags of copies are no digests of their content (it may be encrypted with a key of the store): their sizes count"
        );
    }
    Ok(!sample.is_empty())
}

/// The keys of what is [`missing`].
///
/// # Errors
/// The stores'.
pub async fn differing(
    source: &dyn Store,
    destination: &dyn Store,
    copies: &[Copy],
    listed: &[ObjectMeta],
) -> Result<Vec<String>, EngineError> {
    Ok(missing(source, destination, copies, listed).await?.into_iter().map(|copy| copy.to.clone()).collect())
}

/// Of a copy that is missing or differs: whether it is there with the right size.
fn only_tags_differ(copy: &Copy, listed: &[ObjectMeta]) -> bool {
    let at = listed.binary_search_by(|object| object.key.as_str().cmp(&copy.to));
    at.ok().and_then(|at| listed.get(at)).is_some_and(|object| object.size == copy.source.size)
}

/// Reads both. An object that is gone meanwhile has no content to compare.
async fn same_content(source: &dyn Store, destination: &dyn Store, copy: &Copy) -> Result<bool, EngineError> {
    let mut at = 0;
    while at < copy.source.size {
        let length = PIECE.min(copy.source.size - at);
        let (one, other) =
            tokio::join!(source.get_range(&copy.source.key, at, length), destination.get_range(&copy.to, at, length));
        match (one, other) {
            (Ok(one), Ok(other)) if one == other && one.len() as u64 == length => at += length,
            (Ok(_), Ok(_)) | (Err(StoreError::NotFound { .. }), _) | (_, Err(StoreError::NotFound { .. })) => {
                return Ok(false);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::storage::ObjectRef;
    use crate::storage::fault::{FaultStore, Verb};
    use crate::storage::list_all;
    use crate::storage::memory::{MemoryService, MemoryStore};

    async fn copied(store: &MemoryStore, count: u8) -> Vec<Copy> {
        let mut copies = Vec::new();
        for at in 0..count {
            let key = format!("in/{at:02}");
            let etag = store.put(&key, Bytes::from(vec![at; 10])).await.unwrap();
            let to = format!("out/{at:02}");
            store.copy(&ObjectRef { bucket: "b".into(), key: key.clone(), etag: None }, &to).await.unwrap();
            copies.push(Copy { source: ObjectMeta { key, size: 10, etag }, to });
        }
        copies
    }

    async fn judged(store: &MemoryStore, copies: &[Copy]) -> (Vec<String>, usize) {
        let watched = FaultStore::watching(Arc::new(store.clone()));
        let listed = list_all(store, "out/").await.unwrap();
        let wrong = differing(&watched, &watched, copies, &listed).await.unwrap();
        (wrong, watched.count(Verb::GetRange))
    }

    #[tokio::test]
    async fn copies_whose_tags_are_no_digests_are_believed_by_a_few_of_them_and_their_sizes() {
        let store = MemoryService::new("m").with_opaque_tags().bucket("b");
        let copies = copied(&store, 20).await;
        assert_eq!(copy::missing(&copies, &list_all(&store, "out/").await.unwrap()).len(), 20);
        assert_eq!(judged(&store, &copies).await, (vec![], 2 * SAMPLE));
        store.put("out/07", Bytes::from_static(b"short")).await.unwrap();
        store.delete(&["out/09".to_owned()]).await.unwrap();
        assert_eq!(judged(&store, &copies).await.0, ["out/07", "out/09"]);
    }

    #[tokio::test]
    async fn other_content_is_found_where_tags_are_digests_and_nothing_is_read_where_all_agree() {
        let store = MemoryService::new("m").bucket("b");
        let copies = copied(&store, 20).await;
        assert_eq!(judged(&store, &copies).await, (vec![], 0));
        store.put("out/07", Bytes::from(vec![9; 10])).await.unwrap();
        assert_eq!(judged(&store, &copies).await, (vec!["out/07".to_owned()], 2));
    }

    #[tokio::test]
    async fn tags_are_not_forgiven_where_one_of_the_copies_read_has_other_content() {
        let store = MemoryService::new("m").with_opaque_tags().bucket("b");
        let copies = copied(&store, 3).await;
        store.put("out/01", Bytes::from(vec![9; 10])).await.unwrap();
        assert_eq!(judged(&store, &copies).await.0.len(), 3);
    }

    #[tokio::test]
    async fn a_source_that_is_gone_proves_nothing() {
        let store = MemoryService::new("m").with_opaque_tags().bucket("b");
        let copies = copied(&store, 2).await;
        store.delete(&["in/00".to_owned()]).await.unwrap();
        assert_eq!(judged(&store, &copies).await.0.len(), 2);
    }
}
