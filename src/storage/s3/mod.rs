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

use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::{Failure, Kind};
use super::reading::{Opened, bare_etag, byte_range};
use super::retry::RetryPolicy;
use super::sender::Sender;
use super::{Condition, ObjectMeta, ObjectRef, Page, StoreError};

/// The most objects one listing answers and one batch deletion takes.
const PAGE: usize = 1000;
const LIST: &str = "list objects";
/// What of a copy source stays as it is; everything else is percent-encoded. The service decodes it once.
const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A bucket of an S3 service. Cheap to clone.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    sender: Sender,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.sender.place).finish_non_exhaustive()
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
        let sender = Sender::new(place, keys::ring(&config.keys, config.region()).await);
        Ok(S3Store { client: config.client(transport, sender.ring.clone()), sender })
    }

    /// The same store with other limits.
    pub fn with_retry(mut self, policy: RetryPolicy) -> S3Store {
        self.sender.policy = policy;
        self
    }

    /// Asks for an object, or for so many bytes of it from an offset on.
    async fn open_object(&self, key: &str, range: Option<(u64, u64)>) -> Result<Opened, Failure> {
        let request = self.client.get_object().bucket(self.bucket()).key(key);
        let range = range.map(|(offset, length)| byte_range(offset, length));
        let answer = request.set_range(range).send().await?;
        Ok(Opened {
            announced: answer.content_length.and_then(|bytes| u64::try_from(bytes).ok()),
            etag: answer.e_tag.as_deref().map(bare_etag),
            range: answer.content_range,
            body: answer.body,
        })
    }

    fn bucket(&self) -> &str {
        &self.sender.place.bucket
    }

    /// Whether a listing still has this ETag: some services give an object one in listings and another in answers.
    async fn still_lists(&self, key: &str, etag: &str) -> Result<bool, StoreError> {
        let page = self.list(key, None, 1).await?;
        Ok(page.objects.iter().any(|object| object.key == key && object.etag == etag))
    }

    /// After a lost answer: the ETag of the object if it is one made of so many parts.
    async fn finished_already(&self, key: &str, parts: usize) -> Result<Option<String>, StoreError> {
        let page = self.list(key, None, 1).await?;
        let made_of = format!("-{parts}");
        Ok(page.objects.into_iter().find(|object| object.key == key && object.etag.ends_with(&made_of)).map(|o| o.etag))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Page, StoreError> {
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
    async fn list_raw(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
        delimiter: Option<&str>,
    ) -> Result<ListObjectsV2Output, StoreError> {
        self.sender
            .control(LIST, "", || async move {
                let request = self.client.list_objects_v2().bucket(self.bucket()).prefix(prefix).max_keys(most as i32);
                let request = request.set_delimiter(delimiter.map(str::to_owned));
                Ok(request.set_continuation_token(after.map(str::to_owned)).send().await?)
            })
            .await
    }

    fn next_page(&self, answer: &ListObjectsV2Output) -> Result<Option<String>, StoreError> {
        if !answer.is_truncated().unwrap_or(false) {
            return Ok(None);
        }
        let Some(next) = answer.next_continuation_token() else {
            return Err(Failure::incomplete_answer("mark of the next page").into_error(
                &self.sender.place,
                LIST,
                "",
                1,
            ));
        };
        Ok(Some(next.to_owned()))
    }

    /// One batch. Objects that could not be removed for a passing reason make it fail as a whole: it is sent again, and
    /// removing what is gone already does no harm.
    async fn delete_batch(&self, keys: &[String]) -> Result<(), Failure> {
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
            .bucket(self.bucket())
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

    async fn delete_one(&self, key: &str) -> Result<(), Failure> {
        self.client.delete_object().bucket(self.bucket()).key(key).send().await?;
        Ok(())
    }

    async fn write(&self, key: &str, body: &Bytes, condition: Option<&Condition>) -> Result<String, Failure> {
        let request = self.client.put_object().bucket(self.bucket()).key(key);
        let request = match condition {
            None => request,
            Some(Condition::Absent) => request.if_none_match("*"),
            Some(Condition::Matches(etag)) => request.if_match(format!("\"{etag}\"")),
        };
        etag_of(request.body(ByteStream::from(body.clone())).send().await?.e_tag())
    }
}

/// What writes and copies answer.
fn etag_of(answered: Option<&str>) -> Result<String, Failure> {
    answered.map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
}

fn copy_source(from: &ObjectRef) -> String {
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
