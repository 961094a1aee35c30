//! The verbs of [`Store`] in requests to Google.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::Method;

use super::json::{self, FIELDS, Listing, Object, Rewrite};
use super::{Ask, GcsStore};
use crate::storage::failure::{Failure, Kind};
use crate::storage::reading::{Opened, byte_range};
use crate::storage::rest::{DELETIONS, GET};
use crate::storage::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Traffic, Upload, Written};

const PAGE: &str = "1000";
const COPY: &str = "copy an object";
/// The generation of what does not exist.
const ABSENT: &str = "0";

impl GcsStore {
    async fn list(&self, prefix: &str, after: Option<&str>, delimiter: Option<&str>) -> Result<Listing, StoreError> {
        self.rest
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
        self.rest.policy.control_limit
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
        self.rest
            .control("look at an object", key, || async move {
                let ask = Ask::object(Method::GET, self.bucket(), Some(key), &[("fields", "generation")]);
                json::read::<Object>(&self.ask(ask).await?.text(self.limit()).await?)?.generation()
            })
            .await
    }

    /// After a lost answer: the generation of the object if it is what was to be written.
    async fn holds(&self, key: &str, body: &Bytes) -> Result<Option<String>, StoreError> {
        let found = self.rest.fetch(|| self.open_object(key, None)).await;
        match self.rest.settle(found, GET, key) {
            Ok((found, generation)) if found == *body => Ok(Some(generation)),
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
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
        &self.rest.place
    }

    fn traffic(&self) -> Traffic {
        self.rest.meter.read()
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
        let mut names = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let listing = self.list(prefix, after.as_deref(), Some("/")).await?;
            let below = listing.prefixes.iter().filter_map(|folder| folder.strip_prefix(prefix));
            names.extend(below.map(|name| name.trim_end_matches('/').to_owned()));
            let next = listing.next();
            if next.is_none() || next == after {
                return Ok(names.into_iter().collect());
            }
            after = next;
        }
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let found = self.rest.fetch(|| self.open_object(key, None)).await;
        Ok(self.rest.settle(found, GET, key)?.0)
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let open = |start, missing| self.open_object(key, Some((start, missing)));
        self.rest.read(key, etag, (offset, length), open).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        let (act, body) = ("write an object", &body);
        let limit = self.rest.policy.upload_limit(body.len());
        let outcome = self.rest.send(act, limit, || self.write(key, body, None)).await;
        self.rest.settle(outcome, act, key)
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        let (act, body) = ("write an object on a condition", &body);
        let generation = match &condition {
            Condition::Absent => ABSENT,
            Condition::Matches(etag) => etag,
        };
        let limit = self.rest.policy.upload_limit(body.len());
        let outcome = self.rest.send(act, limit, || self.write(key, body, Some(generation))).await;
        match &outcome.result {
            Err(failure) if matches!(failure.kind, Kind::ConditionFailed | Kind::NoKey) => {}
            _ => return Ok(Written::Yes(self.rest.settle(outcome, act, key)?)),
        }
        if !outcome.doubtful {
            return Ok(Written::Refused);
        }
        // An attempt whose answer was lost may be what stands in the way now.
        Ok(self.holds(key, body).await?.map_or(Written::Refused, Written::Yes))
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let outcome = self.rest.send(COPY, self.rest.policy.copy_limit, || self.copy_once(from, to)).await;
        self.rest.settle_copy(outcome, COPY, from)
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        self.begin(key).await
    }

    async fn upload_part(&self, upload: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        self.write_part(upload, number, body).await
    }

    async fn copy_part(&self, _: &Upload, _: i32, from: &ObjectRef, _: u64, _: u64) -> Result<Part, StoreError> {
        let cause = "a copy is one request of any size here".to_owned();
        let act = format!("copy a part of {}", from.key);
        Err(StoreError::Rejected { place: self.rest.place.to_string(), act, cause })
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
        futures::stream::iter(keys.to_vec())
            .map(|key| async move {
                let key = &key;
                self.rest
                    .control("delete an object", key, || async move {
                        match self.ask(Ask::object(Method::DELETE, self.bucket(), Some(key), &[])).await {
                            Err(failure) if failure.kind == Kind::NoKey => Ok(()),
                            answer => answer.map(|_| ()),
                        }
                    })
                    .await
            })
            .buffer_unordered(DELETIONS)
            .try_collect()
            .await
    }
}
