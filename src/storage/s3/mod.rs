//! A bucket behind the S3 protocol: its state, and what its verbs (`verbs`) have in common.
//!
//! No verb sends HEAD: some policies allow reading and listing but not that, and nothing here needs it.

mod client;
mod codes;
mod keys;
mod verbs;

pub use self::client::{Checksums, S3Config};
pub(super) use self::codes::answered_failure;
pub use self::keys::Keys;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::{Failure, Kind};
use super::login::Ring;
use super::reading::{Opened, bare_etag, byte_range, collect};
use super::retry::{Meter, Outcome, RetryPolicy, send};
use super::{ObjectMeta, ObjectRef, Page, Place, StoreError};

/// The most objects one listing answers and one batch deletion takes.
pub(super) const PAGE: usize = 1000;
const LIST: &str = "list objects";
/// Deletions sent at a time where the service knows no batches.
const SINGLE_DELETIONS: usize = 16;
/// What of a copy source stays as it is; everything else is percent-encoded. The service decodes it once.
const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A bucket of an S3 service. Cheap to clone.
#[derive(Clone)]
pub struct S3Store {
    pub(super) client: Client,
    pub(super) place: Place,
    ring: Arc<Ring>,
    pub(super) policy: RetryPolicy,
    pub(super) meter: Arc<Meter>,
}

/// A whole object with its ETag.
pub(super) struct Fetched {
    pub(super) body: Bytes,
    pub(super) etag: String,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.place).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Opens a bucket. Nothing is sent yet, except for ambient keys, which are looked for.
    pub async fn open(config: S3Config) -> Result<S3Store, StoreError> {
        let transport = config.transport()?;
        S3Store::open_over(config, transport).await
    }

    /// As [`open`](Self::open), over connections of the caller's: tests answer in process with it.
    pub async fn open_over(config: S3Config, transport: SharedHttpClient) -> Result<S3Store, StoreError> {
        let place = config.place()?;
        let ring = Arc::new(keys::ring(&config.keys, config.region()).await);
        let client = config.client(transport, ring.clone());
        Ok(S3Store { client, place, ring, policy: RetryPolicy::default(), meter: Arc::default() })
    }

    /// The same store with other limits.
    pub fn with_retry(self, policy: RetryPolicy) -> S3Store {
        S3Store { policy, ..self }
    }

    /// Sends a request as often as the policy says, and once more where its keys were refused and there are others.
    pub(super) async fn send<T, F, Sent>(&self, act: &str, limit: Duration, mut request: F) -> Outcome<T>
    where
        F: FnMut() -> Sent,
        Sent: Future<Output = Result<T, Failure>>,
    {
        let changes = self.ring.changes().await;
        let first = send(&self.policy, &self.meter, act, limit, &mut request).await;
        match &first.result {
            Err(failure) if failure.doubts_keys() && self.ring.renew(changes).await => {}
            _ => return first,
        }
        let second = send(&self.policy, &self.meter, act, limit, &mut request).await;
        Outcome { tries: first.tries + second.tries, doubtful: first.doubtful || second.doubtful, ..second }
    }

    /// Sends a request that moves no content and has nothing special about its failures.
    pub(super) async fn control<T, F, Sent>(&self, act: &str, key: &str, request: F) -> Result<T, StoreError>
    where
        F: FnMut() -> Sent,
        Sent: Future<Output = Result<T, Failure>>,
    {
        let limit = self.policy.control_limit;
        self.settle(self.send(act, limit, request).await, act, key)
    }

    pub(super) fn settle<T>(&self, outcome: Outcome<T>, act: &str, key: &str) -> Result<T, StoreError> {
        outcome.result.map_err(|failure| failure.into_error(&self.place, act, key, outcome.tries))
    }

    /// A failed copy can be about either bucket: the message names both where it cannot know.
    pub(super) fn settle_copy<T>(&self, outcome: Outcome<T>, act: &str, from: &ObjectRef) -> Result<T, StoreError> {
        outcome.result.map_err(|failure| {
            let mut place = self.place.clone();
            match failure.kind {
                Kind::NoKey => place.bucket.clone_from(&from.bucket),
                Kind::NoBucket if from.bucket != place.bucket => {
                    place.bucket = format!("{} or {}", from.bucket, place.bucket);
                }
                _ => {}
            }
            failure.into_error(&place, act, &from.key, outcome.tries)
        })
    }

    /// Asks for so many bytes of an object from an offset on.
    pub(super) async fn open_range(&self, key: &str, offset: u64, length: u64) -> Result<Opened, Failure> {
        let request = self.client.get_object().bucket(&self.place.bucket).key(key);
        let answer = request.range(byte_range(offset, length)).send().await?;
        Ok(Opened {
            announced: answer.content_length.and_then(|bytes| u64::try_from(bytes).ok()),
            etag: answer.e_tag.as_deref().map(bare_etag),
            range: answer.content_range,
            body: answer.body,
        })
    }

    /// Whether a listing still has this ETag: some services give an object one in listings and another in answers.
    pub(super) async fn still_lists(&self, key: &str, etag: &str) -> Result<bool, StoreError> {
        let page = self.list(key, None, 1).await?;
        Ok(page.objects.iter().any(|object| object.key == key && object.etag == etag))
    }

    pub(super) async fn fetch(&self, key: &str) -> Outcome<Fetched> {
        // The limit of the whole attempt is open: `collect` watches over each piece, this over the answer's beginning.
        let begin = self.policy.control_limit;
        self.send("read an object", Duration::MAX, || async move {
            let request = self.client.get_object().bucket(&self.place.bucket).key(key).send();
            let answer = tokio::time::timeout(begin, request).await.map_err(|_| Failure::timed_out(begin))??;
            let etag = answer.e_tag().map(bare_etag).unwrap_or_default();
            let mut body = BytesMut::new();
            let announced = answer.content_length.and_then(|bytes| u64::try_from(bytes).ok());
            collect(begin, answer.body, announced, None, &mut body).await?;
            Ok(Fetched { body: body.freeze(), etag })
        })
        .await
    }

    /// After a lost answer: whether the object is what was to be written.
    pub(super) async fn holds(&self, key: &str, body: &Bytes) -> Result<Option<String>, StoreError> {
        match self.settle(self.fetch(key).await, "read an object", key) {
            Ok(found) if found.body == *body => Ok(Some(found.etag)),
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// After a lost answer: the ETag of the object if it is one made of so many parts.
    pub(super) async fn finished_already(&self, key: &str, parts: usize) -> Result<Option<String>, StoreError> {
        let page = self.list(key, None, 1).await?;
        let made_of = format!("-{parts}");
        Ok(page.objects.into_iter().find(|object| object.key == key && object.etag.ends_with(&made_of)).map(|o| o.etag))
    }

    pub(super) async fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Page, StoreError> {
        let answer = self.list_raw(prefix, after, most, None).await?;
        let next = self.next_page(&answer)?;
        let objects = answer.contents.unwrap_or_default().into_iter().filter_map(|object| {
            Some(ObjectMeta {
                key: object.key?,
                size: object.size.and_then(|size| u64::try_from(size).ok())?,
                etag: object.e_tag.as_deref().map(bare_etag).unwrap_or_default(),
            })
        });
        Ok(Page { objects: objects.collect(), next })
    }

    /// Continues by the service's own mark: SeaweedFS skips `x/a` where a page is to begin after the key `x`.
    pub(super) async fn list_raw(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
        delimiter: Option<&str>,
    ) -> Result<ListObjectsV2Output, StoreError> {
        self.control(LIST, "", || async move {
            let request = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(prefix).max_keys(most as i32);
            let request = request.set_delimiter(delimiter.map(str::to_owned));
            Ok(request.set_continuation_token(after.map(str::to_owned)).send().await?)
        })
        .await
    }

    pub(super) fn next_page(&self, answer: &ListObjectsV2Output) -> Result<Option<String>, StoreError> {
        if !answer.is_truncated().unwrap_or(false) {
            return Ok(None);
        }
        let Some(next) = answer.next_continuation_token() else {
            return Err(Failure::incomplete_answer("mark of the next page").into_error(&self.place, LIST, "", 1));
        };
        Ok(Some(next.to_owned()))
    }

    /// One batch. Objects that could not be removed for a passing reason make it fail as a whole: it is sent again, and
    /// removing what is gone already does no harm.
    pub(super) async fn delete_batch(&self, keys: &[String]) -> Result<(), Failure> {
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(key).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::new(Kind::Rejected, "Construction", error.to_string()))?;
        let batch = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(|error| Failure::new(Kind::Rejected, "Construction", error.to_string()))?;
        let answer = self
            .client
            .delete_objects()
            .bucket(&self.place.bucket)
            .delete(batch)
            .customize()
            // Older and lesser services insist on this header here and do not know the checksum that AWS takes in its place.
            .mutate_request(|request| {
                let digest = request.body().bytes().map(|body| BASE64_STANDARD.encode(Md5::digest(body)));
                if let Some(digest) = digest {
                    request.headers_mut().insert("content-md5", digest);
                }
            })
            .send()
            .await?;
        for error in answer.errors.unwrap_or_default() {
            let failure = answered_failure(200, error.code(), error.message());
            if failure.kind != Kind::NoKey {
                let cause = format!("{}: {}", error.key.unwrap_or_default(), failure.cause);
                return Err(Failure { cause, ..failure });
            }
        }
        Ok(())
    }

    pub(super) async fn delete_singly(&self, keys: &[String]) -> Result<(), StoreError> {
        futures::stream::iter(keys.to_vec())
            .map(|key| async move {
                let key = &key;
                let gone = self
                    .control("delete an object", key, || async move {
                        Ok(self.client.delete_object().bucket(&self.place.bucket).key(key).send().await?)
                    })
                    .await;
                match gone {
                    Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(SINGLE_DELETIONS)
            .try_collect()
            .await
    }
}

pub(super) fn copy_source(from: &ObjectRef) -> String {
    format!("{}/{}", from.bucket, utf8_percent_encode(&from.key, COPY_SOURCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_source_is_encoded_once_and_keeps_its_slashes() {
        let from = ObjectRef { bucket: "b".into(), key: "a b/c+d/é/%41/x.y-z_~".into(), etag: None };
        assert_eq!(copy_source(&from), "b/a%20b/c%2Bd/%C3%A9/%2541/x.y-z_~");
    }
}
