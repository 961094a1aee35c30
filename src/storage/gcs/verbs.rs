//! The verbs of [`Store`] in requests to Google.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;

use super::json::{self, FIELDS, Listing, Object, Rewrite};
use super::{Ask, GcsStore};
use crate::storage::failure::{Failure, Kind};
use crate::storage::listing::names_below;
use crate::storage::reading::{Opened, byte_range};
use crate::storage::sender::COPY;
use crate::storage::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Traffic, Upload, Written};

const PAGE: &str = "1000";
/// The generation of what does not exist.
const ABSENT: &str = "0";

impl GcsStore {
    async fn list(&self, prefix: &str, after: Option<&str>, delimiter: Option<&str>) -> Result<Listing, StoreError> {
        self.sender
            .control("list objects", "", || async move {
                let mut query = vec![("maxResults", PAGE), ("fields", FIELDS), ("prefix", prefix)];
                query.extend(after.map(|after| ("pageToken", after)));
                query.extend(delimiter.map(|delimiter| ("delimiter", delimiter)));
                match self.ask(Ask::object(Method::GET, self.bucket(), None, &query)).await {
                    Ok(answer) => json::read(&answer.text(self.limit()).await?),
                    // Only the bucket can be missing.
                    Err(failure) if failure.kind == Kind::NoKey => Err(Failure { kind: Kind::NoBucket, ..failure }),
                    Err(failure) => Err(failure),
                }
            })
            .await
    }

    fn limit(&self) -> Duration {
        self.sender.policy.control_limit
    }

    async fn open_object(&self, key: &str, range: Option<(u64, u64)>) -> Result<Opened, Failure> {
        // Content that is stored compressed is wanted as it is stored.
        let ask = Ask::object(Method::GET, self.bucket(), Some(key), &[("alt", "media")])
            .header("accept-encoding", "gzip".to_owned());
        let ask = match range {
            Some((offset, length)) => ask.header("range", byte_range(offset, length)),
            None => ask,
        };
        Ok(self.ask(ask).await?.opened("x-goog-generation"))
    }

    async fn write(&self, key: &str, body: &Bytes, generation: Option<&str>) -> Result<String, Failure> {
        let mut query = vec![("uploadType", "media"), ("name", key), ("fields", "generation")];
        query.extend(generation.map(|generation| ("ifGenerationMatch", generation)));
        let answer = self.ask(Ask::upload(self.bucket(), &query, body.clone())).await;
        // Only the bucket can be missing, but for a generation of what is gone.
        let answer = answer.map_err(|failure| match failure.kind {
            Kind::NoKey if generation.is_none_or(|generation| generation == ABSENT) => {
                Failure { kind: Kind::NoBucket, ..failure }
            }
            _ => failure,
        });
        json::read::<Object>(&answer?.text(self.limit()).await?)?.generation()
    }

    /// The generation of an object that is there.
    pub(super) async fn generation(&self, key: &str) -> Result<String, StoreError> {
        self.sender
            .control("look at an object", key, || async move {
                let ask = Ask::object(Method::GET, self.bucket(), Some(key), &[("fields", "generation")]);
                json::read::<Object>(&self.ask(ask).await?.text(self.limit()).await?)?.generation()
            })
            .await
    }

    /// One attempt: the service answers now and then how to go on, until it is done.
    async fn copy_once(&self, from: &ObjectRef, to: &str) -> Result<String, Failure> {
        let mut token = String::new();
        loop {
            let mut query = Vec::new();
            query.extend(from.etag.as_deref().map(|generation| ("ifSourceGenerationMatch", generation)));
            if !token.is_empty() {
                query.push(("rewriteToken", token.as_str()));
            }
            let ask = Ask::rewrite((&from.bucket, &from.key), (self.bucket(), to), &query);
            let answer: Rewrite = json::read(&self.ask(ask).await?.text(self.limit()).await?)?;
            if answer.done {
                return answer.resource.unwrap_or_default().generation();
            }
            if answer.rewrite_token.is_empty() {
                return Err(Failure::incomplete_answer("rewriteToken"));
            }
            token = answer.rewrite_token;
        }
    }
}

#[async_trait]
impl Store for GcsStore {
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
        let listing = self.list(prefix, after, None).await?;
        let next = listing.next();
        Ok(Page { objects: listing.objects(), next })
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        names_below(prefix, |after| async move {
            let listing = self.list(prefix, after.as_deref(), Some("/")).await?;
            let next = listing.next();
            Ok((listing.prefixes, next))
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
        let generation = match &condition {
            Condition::Absent => ABSENT,
            Condition::Matches(etag) => etag,
        };
        let (write, open) = (|| self.write(key, &body, Some(generation)), || self.open_object(key, None));
        self.sender.put_if(key, &body, &condition, write, open).await
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        self.sender.copy(COPY, self.sender.policy.copy_limit, from, || self.copy_once(from, to)).await
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        self.begin(key).await
    }

    async fn upload_part(&self, upload: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        self.write_part(upload, number, body).await
    }

    async fn copy_part(&self, _: &Upload, _: i32, from: &ObjectRef, _: u64, _: u64) -> Result<Part, StoreError> {
        Err(self.sender.copies_whole(from))
    }

    async fn finish_upload(&self, upload: &Upload, parts: Vec<Part>) -> Result<String, StoreError> {
        self.finish(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        self.abort(upload).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.open_uploads(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        self.sender
            .delete(keys, |key| async move {
                self.ask(Ask::object(Method::DELETE, self.bucket(), Some(key), &[])).await.map(|_| ())
            })
            .await
    }
}
