//! The verbs of [`Store`] in requests to Azure.
//!
//! A write in parts is blocks that are committed at its end, each named after the upload. The service has no word for an
//! upload: it is begun by a block of one byte that is never committed, so that it can be found, and given up by a commit
//! of nothing. What is never given up the service drops by itself after a week. A copy is one request of any size.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::Method;

use super::lists::{Listing, block, block_list, waiting};
use super::{Ask, AzureStore};
use crate::storage::failure::{Failure, Kind};
use crate::storage::listing::names_below;
use crate::storage::reading::{Opened, bare_etag, byte_range};
use crate::storage::sender::COPY;
use crate::storage::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Traffic, Upload, Written};

/// The most objects one listing answers.
const PAGE: &str = "1000";
/// Between two looks at a copy that goes on.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Lists of blocks asked for at a time.
const LOOKUPS: usize = 16;
const ABORT: &str = "abort a write in blocks";

impl AzureStore {
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        extra: &[(&'static str, &str)],
    ) -> Result<Listing, StoreError> {
        self.sender
            .control("list objects", "", || async move {
                let mut ask = Ask::new(Method::GET, None).query("restype", "container").query("comp", "list");
                ask = ask.query("maxresults", PAGE);
                let given = [("prefix", Some(prefix).filter(|prefix| !prefix.is_empty())), ("marker", after)];
                for (name, value) in given.into_iter().chain(extra.iter().map(|(name, value)| (*name, Some(*value)))) {
                    ask = match value {
                        Some(value) => ask.query(name, value),
                        None => ask,
                    };
                }
                Listing::read(&self.ask(ask).await?.text(self.sender.policy.control_limit).await?)
            })
            .await
    }

    async fn open_object(&self, key: &str, range: Option<(u64, u64)>) -> Result<Opened, Failure> {
        let mut ask = Ask::new(Method::GET, Some(key));
        if let Some((offset, length)) = range {
            ask = ask.header("x-ms-range", byte_range(offset, length));
        }
        Ok(self.ask(ask).await?.opened("etag"))
    }

    async fn write(&self, key: &str, body: &Bytes, condition: Option<&Condition>) -> Result<String, Failure> {
        let ask = Ask::new(Method::PUT, Some(key)).header("x-ms-blob-type", "BlockBlob");
        let ask = match condition {
            None => ask,
            Some(Condition::Absent) => ask.header("if-none-match", "*"),
            Some(Condition::Matches(etag)) => ask.header("if-match", quoted(etag)),
        };
        let ask = ask.header("content-type", "application/octet-stream").body(body.clone());
        self.ask(ask).await?.etag()
    }

    async fn write_block(&self, upload: &Upload, number: i32, body: Bytes) -> Result<String, Failure> {
        let name = block(&upload.id, number);
        let ask = Ask::new(Method::PUT, Some(&upload.key)).query("comp", "block").query("blockid", name.clone());
        self.ask(ask.body(body)).await?;
        Ok(name)
    }

    /// Waits until the service has copied. Mostly it has when it answers the request.
    async fn copied(&self, to: &str) -> Result<String, Failure> {
        let mut pause = LOOKS.0;
        loop {
            let found = self.ask(Ask::new(Method::HEAD, Some(to))).await?;
            match found.header("x-ms-copy-status") {
                Some("pending") => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOOKS.1);
                }
                Some("success") => return found.etag(),
                other => {
                    let said = found.header("x-ms-copy-status-description").or(other).unwrap_or("no copy");
                    return Err(Failure::new(Kind::Rejected, "CopyFailed", format!("the copy ended: {said}")));
                }
            }
        }
    }

    /// One attempt. A copy that does not end in time is stopped, lest it go on behind our back.
    async fn copy_once(&self, from: &ObjectRef, to: &str) -> Result<String, Failure> {
        let source = self.url(&from.bucket, &from.key);
        let ask = Ask::new(Method::PUT, Some(to)).header("x-ms-copy-source", source);
        let ask = match &from.etag {
            Some(etag) => ask.header("x-ms-source-if-match", quoted(etag)),
            None => ask,
        };
        let answer = self.ask(ask).await?;
        if answer.header("x-ms-copy-status") == Some("success") {
            return answer.etag();
        }
        let id = answer.header("x-ms-copy-id").unwrap_or_default().to_owned();
        let limit = self.sender.policy.copy_limit;
        if let Ok(ended) = tokio::time::timeout(limit, self.copied(to)).await {
            return ended;
        }
        let stop = Ask::new(Method::PUT, Some(to)).query("comp", "copy").query("copyid", id);
        let stopped = self.ask(stop.header("x-ms-copy-action", "abort")).await;
        tracing::warn!(key = to, stopped = stopped.is_ok(), "a copy took too long");
        Err(Failure::timed_out(limit))
    }

    async fn remove(&self, key: &str, etag: Option<&str>) -> Result<(), Failure> {
        let mut ask = Ask::new(Method::DELETE, Some(key));
        match etag {
            Some(etag) => ask = ask.header("if-match", quoted(etag)),
            None => ask = ask.header("x-ms-delete-snapshots", "include"),
        }
        match self.ask(ask).await {
            Err(failure) if failure.kind == Kind::NoKey => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    /// Drops the blocks of a blob that was never committed. Where there is a blob of that name its blocks stay until it is
    /// written again, or for a week.
    async fn drop_blocks(&self, key: &str) -> Result<(), Failure> {
        let ask = Ask::new(Method::PUT, Some(key)).query("comp", "blocklist").header("if-none-match", "*");
        match self.ask(ask.body(block_list(&[]).into())).await {
            Ok(answer) => self.remove(key, Some(&answer.etag()?)).await,
            Err(failure) if failure.kind == Kind::ConditionFailed => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The uploads of a blob that was never committed.
    async fn uploads_of(&self, key: &str) -> Result<Vec<Upload>, StoreError> {
        let found = self.sender.control("list blocks", key, || async move {
            let ask = Ask::new(Method::GET, Some(key)).query("comp", "blocklist").query("blocklisttype", "uncommitted");
            match self.ask(ask).await {
                Ok(answer) => waiting(&answer.text(self.sender.policy.control_limit).await?),
                Err(failure) if failure.kind == Kind::NoKey => Ok(Vec::new()),
                Err(failure) => Err(failure),
            }
        });
        let upload = |id| Upload { key: key.to_owned(), id };
        Ok(found.await?.into_iter().map(upload).collect())
    }
}

#[async_trait]
impl Store for AzureStore {
    fn place(&self) -> &Place {
        &self.sender.place
    }

    fn traffic(&self) -> Traffic {
        self.sender.meter.read()
    }

    fn largest_copy(&self) -> Option<u64> {
        None
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let listing = self.list(prefix, after, &[]).await?;
        let next = listing.next();
        Ok(Page { objects: listing.objects(), next })
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        names_below(prefix, |after| async move {
            let listing = self.list(prefix, after.as_deref(), &[("delimiter", "/")]).await?;
            let next = listing.next();
            Ok((listing.prefixes(), next))
        })
        .await
    }

    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        self.sender.get(key, most, || self.open_object(key, None)).await
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let open = |start, missing| self.open_object(key, Some((start, missing)));
        self.sender.read(key, etag, (offset, length), open).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        self.sender.put(key, &body, || self.write(key, &body, None)).await
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        let (write, open) = (|| self.write(key, &body, Some(&condition)), || self.open_object(key, None));
        self.sender.put_if(key, &body, &condition, write, open).await
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let policy = &self.sender.policy;
        let limit = policy.copy_limit + policy.control_limit * 2;
        self.sender.copy(COPY, limit, from, || self.copy_once(from, to)).await
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        let upload = &Upload { key: key.to_owned(), id: uuid::Uuid::new_v4().simple().to_string() };
        let mark = || self.write_block(upload, 0, Bytes::from_static(b" "));
        self.sender.control("begin a write in blocks", key, mark).await?;
        Ok(upload.id.clone())
    }

    async fn upload_part(&self, upload: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        let write = || self.write_block(upload, number, body.clone());
        Ok(Part { number, etag: self.sender.write("write a block", &upload.key, body.len(), write).await? })
    }

    async fn copy_part(&self, _: &Upload, _: i32, from: &ObjectRef, _: u64, _: u64) -> Result<Part, StoreError> {
        Err(self.sender.copies_whole(from))
    }

    async fn finish_upload(&self, upload: &Upload, mut parts: Vec<Part>) -> Result<String, StoreError> {
        let act = "commit a write in blocks";
        parts.sort_by_key(|part| part.number);
        let list = &Bytes::from(block_list(&parts));
        let outcome = self
            .sender
            .send(act, self.sender.policy.copy_limit, || async move {
                let ask = Ask::new(Method::PUT, Some(&upload.key)).query("comp", "blocklist");
                let ask = ask.header("x-ms-blob-content-type", "application/octet-stream");
                self.ask(ask.body(list.clone())).await?.etag()
            })
            .await;
        self.sender.settle(outcome, act, &upload.key)
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        let open = self.uploads_of(&upload.key).await?;
        // Only our own: another's blocks are dropped by the same act.
        if open.iter().all(|other| other != upload) {
            return Ok(());
        }
        self.sender.control(ABORT, &upload.key, || self.drop_blocks(&upload.key)).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let mut empty = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let listing = self.list(prefix, after.as_deref(), &[("include", "uncommittedblobs")]).await?;
            let next = listing.next();
            empty.extend(listing.objects().into_iter().filter(|object| object.size == 0).map(|object| object.key));
            if next.is_none() || next == after {
                break;
            }
            after = next;
        }
        let found: Vec<Vec<Upload>> = futures::stream::iter(empty)
            .map(|key| async move { self.uploads_of(&key).await })
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.sender.delete(keys, |key| self.remove(key, None)).await
    }
}

fn quoted(etag: &str) -> String {
    format!("\"{}\"", bare_etag(etag))
}
