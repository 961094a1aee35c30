//! What is written is read: whole, in ranges, in one version, on conditions.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use super::{Desk, content, object};
use crate::storage::{Condition, Store, StoreError, Written, list_all};

impl Desk<'_> {
    pub(in crate::storage) async fn whole_objects(&self) -> Result<()> {
        let body = content(100_000, 1);
        let etag = self.store.put(&self.key("a"), body.clone()).await?;
        ensure!(!etag.is_empty() && !etag.contains('"'), "ETag {etag:?}");
        self.holds("a", &body).await
    }

    pub(in crate::storage) async fn bounded_reading(&self) -> Result<()> {
        let (key, body) = (self.key("a"), content(1000, 3));
        self.store.put(&key, body.clone()).await?;
        ensure!(self.store.get_within(&key, 1000).await? == body, "other content");
        match self.store.get_within(&key, 999).await {
            Err(StoreError::TooLarge { key: named, size: 1000, most: 999, .. }) if named == key => Ok(()),
            other => bail!("one byte too many: {other:?}"),
        }
    }

    pub(in crate::storage) async fn ranges(&self) -> Result<()> {
        let (key, body) = (self.key("a"), content(1000, 2));
        self.store.put(&key, body.clone()).await?;
        for (offset, length, expected) in [
            (0, 1, 0..1),
            (10, 20, 10..30),
            (999, 1, 999..1000),
            (0, 1000, 0..1000),
            (990, 50, 990..1000),
            (5, 0, 0..0),
        ] {
            let found =
                self.store.get_range(&key, offset, length).await.with_context(|| format!("{length} at {offset}"))?;
            ensure!(found == body[expected], "{length} bytes at {offset}: other content");
        }
        for offset in [1000, 1001, 5000] {
            let found =
                self.store.get_range(&key, offset, 10).await.with_context(|| format!("behind the end, {offset}"))?;
            ensure!(found.is_empty(), "{} bytes behind the end", found.len());
        }
        Ok(())
    }

    pub(in crate::storage) async fn empty_objects(&self) -> Result<()> {
        self.put("a", b"").await?;
        self.holds("a", b"").await?;
        let range = self.store.get_range(&self.key("a"), 0, 10).await.context("a range of it")?;
        ensure!(range.is_empty(), "a range of nothing has {} bytes", range.len());
        self.store.copy(&object(self.store, self.key("a")), &self.key("b")).await.context("a copy of it")?;
        let listed = list_all(self.store, &self.prefix).await?;
        ensure!(listed.len() == 2 && listed.iter().all(|object| object.size == 0), "listed as {listed:?}");
        Ok(())
    }

    pub(in crate::storage) async fn not_found(&self) -> Result<()> {
        let key = self.key("none");
        let missing = |what: &str, error: Option<StoreError>| match error {
            Some(StoreError::NotFound { key: named, .. }) if named == key => Ok(()),
            other => bail!("{what}: {other:?}"),
        };
        missing("get", self.store.get(&key).await.err())?;
        missing("get_range", self.store.get_range(&key, 0, 10).await.err())?;
        missing("copy", self.store.copy(&object(self.store, key.clone()), &self.key("b")).await.err())
    }

    pub(in crate::storage) async fn overwriting(&self) -> Result<()> {
        let first = self.put("a", b"one").await?;
        let second = self.put("a", b"two").await?;
        ensure!(first != second, "the ETag stays {first}");
        self.holds("a", b"two").await
    }

    pub(in crate::storage) async fn one_version(&self) -> Result<()> {
        let (key, from) = (self.key("a"), self.key("from"));
        let old = self.put("a", b"12345").await?;
        let read = |etag: String| async move { self.store.read_range(&self.key("a"), Some(&etag), 1, 2).await };
        ensure!(read(old.clone()).await? == "23"[..], "the known version is not read");
        self.store.put(&key, Bytes::from_static(b"67890")).await?;
        let replaced = read(old).await;
        ensure!(matches!(&replaced, Err(StoreError::Replaced { key: named, .. }) if *named == key), "{replaced:?}");
        let gone = self.store.read_range(&from, Some("none"), 0, 1).await;
        ensure!(matches!(gone, Err(StoreError::NotFound { .. })), "an object that is not there: {gone:?}");
        Ok(())
    }

    pub(in crate::storage) async fn put_if_absent(&self) -> Result<()> {
        let key = self.key("a");
        let first = self.store.put_if(&key, Bytes::from_static(b"1"), Condition::Absent).await?;
        ensure!(matches!(&first, Written::Yes(etag) if !etag.is_empty()), "the first is {first:?}");
        let second = self.store.put_if(&key, Bytes::from_static(b"2"), Condition::Absent).await?;
        ensure!(second == Written::Refused, "the second is {second:?}");
        self.holds("a", b"1").await
    }

    pub(in crate::storage) async fn put_if_matches(&self) -> Result<()> {
        let key = self.key("a");
        let put = |body: &'static [u8], etag: &str| {
            self.store.put_if(&key, Bytes::from_static(body), Condition::Matches(etag.to_owned()))
        };
        let old = self.put("a", b"1").await?;
        let Written::Yes(new) = put(b"2", &old).await? else { bail!("the known ETag is refused") };
        ensure!(put(b"3", &old).await? == Written::Refused, "an old ETag is taken");
        self.holds("a", b"2").await?;
        self.store.delete(std::slice::from_ref(&key)).await?;
        ensure!(put(b"4", &new).await? == Written::Refused, "an ETag of nothing is taken");
        self.names_are(&[]).await
    }
}

pub(in crate::storage) async fn bucket_not_found(absent: Option<&dyn Store>) -> Result<()> {
    let Some(store) = absent else { return Ok(()) };
    let missing = |what: &str, error: Option<StoreError>| match error {
        Some(StoreError::BucketNotFound { .. }) => Ok(()),
        other => bail!("{what}: {other:?}"),
    };
    missing("list_page", store.list_page("", None).await.err())?;
    missing("get", store.get("a").await.err())
}
