//! The checks behind [`contract`](super::contract), one function per promise.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::{
    Condition, ObjectMeta, ObjectRef, Store, StoreError, TransferOptions, Upload, Written, delete_prefix, list_all,
    sweep_uploads, transfer,
};

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

    pub(super) async fn whole_objects(&self) -> Result<()> {
        let body = content(100_000, 1);
        let etag = self.store.put(&self.key("a"), body.clone()).await?;
        ensure!(!etag.is_empty() && !etag.contains('"'), "ETag {etag:?}");
        self.holds("a", &body).await
    }

    pub(super) async fn bounded_reading(&self) -> Result<()> {
        let (key, body) = (self.key("a"), content(1000, 3));
        self.store.put(&key, body.clone()).await?;
        ensure!(self.store.get_within(&key, 1000).await? == body, "other content");
        match self.store.get_within(&key, 999).await {
            Err(StoreError::TooLarge { key: named, size: 1000, most: 999, .. }) if named == key => Ok(()),
            other => bail!("one byte too many: {other:?}"),
        }
    }

    pub(super) async fn ranges(&self) -> Result<()> {
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

    pub(super) async fn empty_objects(&self) -> Result<()> {
        self.put("a", b"").await?;
        self.holds("a", b"").await?;
        let range = self.store.get_range(&self.key("a"), 0, 10).await.context("a range of it")?;
        ensure!(range.is_empty(), "a range of nothing has {} bytes", range.len());
        self.store.copy(&object(self.store, self.key("a")), &self.key("b")).await.context("a copy of it")?;
        let listed = list_all(self.store, &self.prefix).await?;
        ensure!(listed.len() == 2 && listed.iter().all(|object| object.size == 0), "listed as {listed:?}");
        Ok(())
    }

    pub(super) async fn not_found(&self) -> Result<()> {
        let key = self.key("none");
        let missing = |what: &str, error: Option<StoreError>| match error {
            Some(StoreError::NotFound { key: named, .. }) if named == key => Ok(()),
            other => bail!("{what}: {other:?}"),
        };
        missing("get", self.store.get(&key).await.err())?;
        missing("get_range", self.store.get_range(&key, 0, 10).await.err())?;
        missing("copy", self.store.copy(&object(self.store, key.clone()), &self.key("b")).await.err())
    }

    pub(super) async fn overwriting(&self) -> Result<()> {
        let first = self.put("a", b"one").await?;
        let second = self.put("a", b"two").await?;
        ensure!(first != second, "the ETag stays {first}");
        self.holds("a", b"two").await
    }

    pub(super) async fn listed_meta(&self) -> Result<()> {
        let etag = self.put("a", b"12345").await?;
        let listed = list_all(self.store, &self.prefix).await?;
        let [only] = listed.as_slice() else { bail!("listed {listed:?}") };
        ensure!(only.size == 5 && only.etag == etag, "listed {only:?}, written as {etag}");
        Ok(())
    }

    pub(super) async fn prefix_inside_name(&self) -> Result<()> {
        for name in ["name-1", "name-2", "nothing", "other"] {
            self.put(name, b"x").await?;
        }
        let found = list_all(self.store, &self.key("name")).await?;
        ensure!(found.len() == 2, "listed {found:?}");
        let found = list_all(self.store, &self.key("nobody")).await?;
        ensure!(found.is_empty(), "listed {found:?}");
        Ok(())
    }

    pub(super) async fn paging(&self) -> Result<()> {
        let mut keys = self.fill(1001).await?;
        keys.sort();
        let first = self.store.list_page(&self.prefix, None).await?;
        ensure!(first.objects.len() == 1000, "the first page has {} objects", first.objects.len());
        let second = self.store.list_page(&self.prefix, first.next.as_deref()).await?;
        ensure!(second.next.is_none(), "there is a third page");
        let listed: Vec<&String> = first.objects.iter().chain(&second.objects).map(|object| &object.key).collect();
        ensure!(listed.iter().copied().eq(&keys), "{} of 1001 listed, or in another order", listed.len());
        Ok(())
    }

    async fn related_names(&self) -> Result<()> {
        for name in RELATED {
            self.put(name, b"x").await?;
        }
        Ok(())
    }

    pub(super) async fn byte_order(&self) -> Result<()> {
        self.related_names().await?;
        let page = self.store.list_page(&self.prefix, None).await?;
        let found: Vec<&str> = page.objects.iter().filter_map(|object| object.key.strip_prefix(&self.prefix)).collect();
        ensure!(found == RELATED, "listed {found:?}, not {RELATED:?}");
        Ok(())
    }

    /// The first page ends between a name and what is below it.
    pub(super) async fn complete_paging(&self) -> Result<()> {
        let before: Vec<String> = (0..999).map(|at| self.key(&format!("a{at:03}"))).collect();
        self.put_all(&before).await?;
        self.related_names().await?;
        let listed = list_all(self.store, &self.prefix).await?.len();
        let expected = before.len() + RELATED.len();
        ensure!(listed == expected, "listed {listed} of {expected}");
        Ok(())
    }

    pub(super) async fn folders(&self) -> Result<()> {
        for name in ["b/1", "b/2/3", "a", "c-1/x", "c/y", "é/z"] {
            self.put(name, b"x").await?;
        }
        let found = self.store.folders(&self.prefix).await?;
        ensure!(found == ["b", "c", "c-1", "é"], "found {found:?}");
        let found = self.store.folders(&self.key("none/")).await?;
        ensure!(found.is_empty(), "found {found:?}");
        Ok(())
    }

    pub(super) async fn odd_names(&self) -> Result<()> {
        let names = ["a b", "a%41", "a%b", "a&b=c", "a'b", "a(b)", "a+b", "a=b", "a@b:c", "aé/ü", "a日本"];
        for name in names {
            self.put(name, b"x").await.with_context(|| name.to_owned())?;
            self.holds(name, b"x").await.with_context(|| name.to_owned())?;
        }
        self.names_are(&names).await?;
        for name in names {
            let copied = self.store.copy(&object(self.store, self.key(name)), &self.key(&format!("copy/{name}"))).await;
            copied.with_context(|| format!("copy of {name}"))?;
        }
        let found = self.names().await?;
        let copies: Vec<&str> = found.iter().filter_map(|name| name.strip_prefix("copy/")).collect();
        ensure!(copies == names, "copied {copies:?}");
        self.store.delete(&names.map(|name| self.key(name))).await?;
        ensure!(self.names().await?.len() == names.len(), "not all of {names:?} were removed");
        Ok(())
    }

    pub(super) async fn name_and_below(&self) -> Result<()> {
        self.put("a", b"1").await?;
        self.put("a/b", b"2").await?;
        self.holds("a", b"1").await?;
        self.holds("a/b", b"2").await?;
        self.names_are(&["a", "a/b"]).await?;
        self.store.delete(&[self.key("a")]).await?;
        self.names_are(&["a/b"]).await
    }

    pub(super) async fn put_if_absent(&self) -> Result<()> {
        let key = self.key("a");
        let first = self.store.put_if(&key, Bytes::from_static(b"1"), Condition::Absent).await?;
        ensure!(matches!(&first, Written::Yes(etag) if !etag.is_empty()), "the first is {first:?}");
        let second = self.store.put_if(&key, Bytes::from_static(b"2"), Condition::Absent).await?;
        ensure!(second == Written::Refused, "the second is {second:?}");
        self.holds("a", b"1").await
    }

    pub(super) async fn put_if_matches(&self) -> Result<()> {
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

    pub(super) async fn copy_from(&self, source: &dyn Store) -> Result<()> {
        let body = content(300_000, 3);
        source.put(&self.key("from"), body.clone()).await?;
        let etag = self.store.copy(&object(source, self.key("from")), &self.key("to")).await?;
        ensure!(!etag.is_empty(), "no ETag");
        self.holds("to", &body).await
    }

    pub(super) async fn multipart(&self) -> Result<()> {
        let (key, whole) = (self.key("a"), content(self.part * 2 + 100, 4));
        let upload = self.begin("a").await?;
        let mut parts = Vec::new();
        for number in [3, 1, 2] {
            let from = (number as usize - 1) * self.part;
            let to = if number == 3 { whole.len() } else { from + self.part };
            let body = whole.slice(from..to);
            parts.push(self.store.upload_part(&upload, number, from as u64, body).await?);
        }
        ensure!(self.names().await?.is_empty(), "it is there before its end");
        let etag = self.store.finish_upload(&upload, parts).await?;
        ensure!(!etag.is_empty(), "no ETag");
        self.holds("a", &whole).await?;
        let range = self.store.get_range(&key, self.part as u64 - 5, 10).await?;
        ensure!(range == whole[self.part - 5..self.part + 5], "a range over two parts differs");
        Ok(())
    }

    pub(super) async fn parts_counted(&self) -> Result<()> {
        let upload = self.begin("a").await?;
        let mut parts = Vec::new();
        for number in 1..=2 {
            let offset = (number as usize - 1) * self.part;
            parts.push(self.store.upload_part(&upload, number, offset as u64, content(self.part, 9)).await?);
        }
        let etag = self.store.finish_upload(&upload, parts).await?;
        ensure!(etag.ends_with("-2"), "ETag {etag} of two parts");
        Ok(())
    }

    pub(super) async fn one_version(&self) -> Result<()> {
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

    pub(super) async fn copy_part(&self, source: &dyn Store) -> Result<()> {
        let part = self.part as u64;
        let whole = content(self.part * 2 + 100, 5);
        source.put(&self.key("from"), whole.clone()).await?;
        let (from, upload) = (object(source, self.key("from")), self.begin("to").await?);
        let mut parts = Vec::new();
        for (number, offset, length) in [(1, 0, part), (2, part, part), (3, part * 2, 100)] {
            parts.push(self.store.copy_part(&upload, number, &from, offset, length).await?);
        }
        self.store.finish_upload(&upload, parts).await?;
        self.holds("to", &whole).await
    }

    pub(super) async fn abort(&self) -> Result<()> {
        let upload = self.begin("a").await?;
        let part = self.store.upload_part(&upload, 1, 0, content(self.part, 6)).await?;
        self.store.abort_upload(&upload).await?;
        ensure!(self.names().await?.is_empty(), "something is left");
        ensure!(self.store.finish_upload(&upload, vec![part]).await.is_err(), "it can still be finished");
        Ok(())
    }

    pub(super) async fn abort_unknown(&self) -> Result<()> {
        let upload = self.begin("a").await?;
        self.store.abort_upload(&upload).await?;
        Ok(self.store.abort_upload(&upload).await?)
    }

    pub(super) async fn list_uploads(&self) -> Result<()> {
        let (kept, other) = (self.begin("x/a").await?, self.begin("y/a").await?);
        let found = self.store.uploads(&self.key("x/")).await?;
        ensure!(found == [kept.clone()], "listed {found:?}, not {kept:?}");
        ensure!(sweep_uploads(self.store, &self.key("x/")).await? == 1, "swept another number");
        let left = self.store.uploads(&self.prefix).await?;
        ensure!(left == [other], "left {left:?}");
        Ok(())
    }

    pub(super) async fn batch_delete(&self) -> Result<()> {
        let keys = self.fill(1001).await?;
        self.put("stays", b"x").await?;
        self.store.delete(&keys).await?;
        self.names_are(&["stays"]).await
    }

    pub(super) async fn delete_missing(&self) -> Result<()> {
        self.put("a", b"x").await?;
        self.store.delete(&[self.key("none"), self.key("a"), self.key("none/either")]).await?;
        self.store.delete(&[self.key("none")]).await?;
        self.store.delete(&[]).await?;
        self.names_are(&[]).await
    }

    pub(super) async fn transfer_by_service(&self, source: &dyn Store) -> Result<()> {
        for (size, name) in [(0, "empty"), (1000, "small"), (self.part * 2 + 10, "large")] {
            let body = content(size, 7);
            source.put(&self.key(name), body.clone()).await?;
            let to = format!("moved/{name}");
            let from = meta(self.key(name), size);
            let moved = transfer(source, self.store, &from, &self.key(&to), &self.options()).await;
            let moved = moved.with_context(|| name.to_owned())?;
            ensure!(moved.server_side, "{name} went through here");
            self.holds(&to, &body).await?;
        }
        Ok(())
    }

    pub(super) async fn transfer_by_stream(&self, foreign: &dyn Store) -> Result<()> {
        for (size, name) in [(0, "empty"), (1000, "small"), (self.part * 2 + 10, "large")] {
            let body = content(size, 8);
            let (there, back) = (self.key(name), self.key(&format!("back/{name}")));
            self.store.put(&there, body.clone()).await?;
            for (from, to, source, target) in
                [(&there, &there, self.store, foreign), (&there, &back, foreign, self.store)]
            {
                let moved = transfer(source, target, &meta(from.clone(), size), to, &self.options()).await;
                ensure!(!moved.with_context(|| name.to_owned())?.server_side, "{name} did not go through here");
            }
            self.holds(&format!("back/{name}"), &body).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_prefix(&self) -> Result<()> {
        for name in ["x/1", "x/2/3", "xy"] {
            self.put(name, b"x").await?;
        }
        let deleted = delete_prefix(self.store, &self.key("x/")).await?;
        ensure!(deleted == 2, "{deleted} deleted");
        self.names_are(&["xy"]).await
    }

    async fn begin(&self, name: &str) -> Result<Upload> {
        let key = self.key(name);
        let id = self.store.begin_upload(&key).await?;
        Ok(Upload { key, id })
    }

    fn options(&self) -> TransferOptions {
        let part = self.part as u64;
        TransferOptions {
            part_size: part,
            multipart_threshold: part,
            copy_part_size: part,
            ..TransferOptions::default()
        }
    }
}

pub(super) async fn bucket_not_found(absent: Option<&dyn Store>) -> Result<()> {
    let Some(store) = absent else { return Ok(()) };
    let missing = |what: &str, error: Option<StoreError>| match error {
        Some(StoreError::BucketNotFound { .. }) => Ok(()),
        other => bail!("{what}: {other:?}"),
    };
    missing("list_page", store.list_page("", None).await.err())?;
    missing("get", store.get("a").await.err())
}

/// In byte order. Services that keep directories list `x/…` at the place of `x`.
const RELATED: [&str; 9] = ["x", "x!", "x-1/a", "x-1/b", "x.b", "x/a", "x/b/c", "x0", "y"];

fn object(store: &dyn Store, key: String) -> ObjectRef {
    ObjectRef { bucket: store.place().bucket.clone(), key, etag: None }
}

/// As a service lists it that knows no ETags.
fn meta(key: String, size: usize) -> ObjectMeta {
    ObjectMeta { key, size: size as u64, etag: String::new() }
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
