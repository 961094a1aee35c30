//! The checks behind [`contract`](super::contract), one function per promise.
//!
//! - `objects`: what is written is read, whole, in ranges and on conditions.
//! - `names`: what is listed, and removed.
//! - `moves`: copies, writes in parts, transfers.

mod moves;
mod names;
mod objects;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

pub(super) use self::objects::bucket_not_found;
use super::{ObjectRef, Store, list_all};

/// One check's place: a store and the prefix to stay below.
pub(super) struct Desk<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) prefix: String,
    pub(super) part: usize,
}

impl Desk<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn put(&self, name: &str, body: &'static [u8]) -> Result<String> {
        Ok(self.store.put(&self.key(name), Bytes::from_static(body)).await?)
    }

    async fn holds(&self, name: &str, body: &[u8]) -> Result<()> {
        let found = self.store.get(&self.key(name)).await?;
        ensure!(found == body, "{name} holds {} bytes other than the {} expected", found.len(), body.len());
        Ok(())
    }

    async fn names(&self) -> Result<Vec<String>> {
        let objects = list_all(self.store, &self.prefix).await?;
        Ok(objects.into_iter().filter_map(|object| object.key.strip_prefix(&self.prefix).map(str::to_owned)).collect())
    }

    async fn names_are(&self, expected: &[&str]) -> Result<()> {
        let found = self.names().await?;
        ensure!(found == expected, "listed {found:?}, not {expected:?}");
        Ok(())
    }

    async fn fill(&self, count: usize) -> Result<Vec<String>> {
        let keys: Vec<String> = (0..count).map(|at| self.key(&format!("{}/{at:05}", at % 3))).collect();
        self.put_all(&keys).await?;
        Ok(keys)
    }

    async fn put_all(&self, keys: &[String]) -> Result<()> {
        futures::stream::iter(keys)
            .map(|key| self.store.put(key, Bytes::from_static(b"many")))
            .buffer_unordered(16)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(())
    }
}

fn object(store: &dyn Store, key: String) -> ObjectRef {
    ObjectRef { bucket: store.place().bucket.clone(), key, etag: None }
}

/// Bytes that differ from place to place and from seed to seed.
fn content(size: usize, seed: u64) -> Bytes {
    let mut state = seed;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}
