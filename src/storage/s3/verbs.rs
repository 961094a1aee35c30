//! The verbs of [`Store`] in S3 requests.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::sync::Mutex;

use super::{PAGE, S3Store, copy_source};
use crate::storage::failure::{Failure, Kind};
use crate::storage::reading::{Reading, bare_etag, byte_range};
use crate::storage::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Traffic, Upload, Written};

#[async_trait]
impl Store for S3Store {
    fn place(&self) -> &Place {
        &self.place
    }

    fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.list(prefix, after, PAGE).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let answer = self.list_raw(prefix, after.as_deref(), PAGE, Some("/")).await?;
            let next = self.next_page(&answer)?;
            let below = answer.common_prefixes().iter().filter_map(|folder| folder.prefix()?.strip_prefix(prefix));
            names.extend(below.map(|name| name.trim_end_matches('/').to_owned()));
            if next.is_none() || next == after {
                return Ok(names.into_iter().collect());
            }
            after = next;
        }
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        Ok(self.settle(self.fetch(key).await, "read an object", key)?.body)
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let act = "read a part of an object";
        // What earlier attempts have brought stays; attempts come one after another.
        let reading = &Mutex::new(Reading::of(etag));
        let outcome = self
            .send(act, Duration::MAX, || async move {
                let mut reading = reading.lock().await;
                let open = |start, missing| self.open_range(key, start, missing);
                reading.go_on(self.policy.control_limit, offset, length, open).await?;
                Ok(std::mem::take(&mut reading.body).freeze())
            })
            .await;
        match (&outcome.result, etag) {
            (Err(failure), _) if failure.kind == Kind::BehindEnd => Ok(Bytes::new()),
            (Err(failure), Some(etag)) if failure.kind == Kind::Replaced && self.still_lists(key, etag).await? => {
                self.read_range(key, None, offset, length).await
            }
            _ => self.settle(outcome, act, key),
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        let act = "write an object";
        let (limit, body) = (self.policy.upload_limit(body.len()), &body);
        let outcome = self
            .send(act, limit, || async move {
                let request = self.client.put_object().bucket(&self.place.bucket).key(key);
                let answer = request.body(ByteStream::from(body.clone())).send().await?;
                answer.e_tag().map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
            })
            .await;
        self.settle(outcome, act, key)
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        let act = "write an object on a condition";
        let (limit, body, condition) = (self.policy.upload_limit(body.len()), &body, &condition);
        let outcome = self
            .send(act, limit, || async move {
                let request = self.client.put_object().bucket(&self.place.bucket).key(key);
                let request = match condition {
                    Condition::Absent => request.if_none_match("*"),
                    Condition::Matches(etag) => request.if_match(format!("\"{etag}\"")),
                };
                let answer = request.body(ByteStream::from(body.clone())).send().await?;
                answer.e_tag().map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
            })
            .await;
        let refused = match &outcome.result {
            Err(failure) if failure.kind == Kind::ConditionFailed => true,
            // An object that is gone matches no ETag.
            Err(failure) if failure.kind == Kind::NoKey => {
                matches!(condition, Condition::Matches(_))
            }
            _ => false,
        };
        if !refused {
            return Ok(Written::Yes(self.settle(outcome, act, key)?));
        }
        if !outcome.doubtful {
            return Ok(Written::Refused);
        }
        // An attempt whose answer was lost may be what stands in the way now.
        Ok(self.holds(key, body).await?.map_or(Written::Refused, Written::Yes))
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let act = "copy an object";
        let source = &copy_source(from);
        let outcome = self
            .send(act, self.policy.copy_limit, || async move {
                let request = self.client.copy_object().bucket(&self.place.bucket).key(to).copy_source(source);
                let answer = request.send().await?;
                let etag = answer.copy_object_result().and_then(|result| result.e_tag());
                etag.map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
            })
            .await;
        self.settle_copy(outcome, act, from)
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        self.control("begin a multipart write", key, || async move {
            let answer = self.client.create_multipart_upload().bucket(&self.place.bucket).key(key).send().await?;
            answer.upload_id.ok_or_else(|| Failure::incomplete_answer("upload id"))
        })
        .await
    }

    async fn upload_part(&self, upload: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        let act = "write a part";
        let (limit, body) = (self.policy.upload_limit(body.len()), &body);
        let outcome = self
            .send(act, limit, || async move {
                let request = self.client.upload_part().bucket(&self.place.bucket).key(&upload.key);
                let request = request.upload_id(&upload.id).part_number(number);
                let answer = request.body(ByteStream::from(body.clone())).send().await?;
                answer.e_tag().map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
            })
            .await;
        Ok(Part { number, etag: self.settle(outcome, act, &upload.key)? })
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: i32,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<Part, StoreError> {
        let act = "copy a part";
        let (source, range) = (&copy_source(from), &byte_range(offset, length));
        let outcome = self
            .send(act, self.policy.copy_limit, || async move {
                let request = self.client.upload_part_copy().bucket(&self.place.bucket).key(&upload.key);
                let request = request.upload_id(&upload.id).part_number(number);
                let request = request.copy_source(source).copy_source_range(range);
                let version = from.etag.as_ref().map(|etag| format!("\"{etag}\""));
                let answer = request.set_copy_source_if_match(version).send().await?;
                let etag = answer.copy_part_result().and_then(|result| result.e_tag());
                etag.map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
            })
            .await;
        match &outcome.result {
            Err(failure) if failure.kind == Kind::ConditionFailed => {
                Err(StoreError::Replaced { key: from.key.clone(), place: self.place.to_string() })
            }
            _ => Ok(Part { number, etag: self.settle_copy(outcome, act, from)? }),
        }
    }

    async fn finish_upload(&self, upload: &Upload, mut parts: Vec<Part>) -> Result<String, StoreError> {
        let act = "finish a multipart write";
        parts.sort_by_key(|part| part.number);
        let completed = parts
            .iter()
            .map(|part| CompletedPart::builder().part_number(part.number).e_tag(format!("\"{}\"", part.etag)).build())
            .collect();
        let whole = &CompletedMultipartUpload::builder().set_parts(Some(completed)).build();
        // The service puts the parts together while we wait: as silent as a copy.
        let outcome = self
            .send(act, self.policy.copy_limit, || async move {
                let request = self.client.complete_multipart_upload().bucket(&self.place.bucket).key(&upload.key);
                let answer = request.upload_id(&upload.id).multipart_upload(whole.clone()).send().await?;
                answer.e_tag().map(bare_etag).ok_or_else(|| Failure::incomplete_answer("ETag"))
            })
            .await;
        let vanished = matches!(&outcome.result, Err(failure) if matches!(failure.kind, Kind::NoUpload | Kind::NoKey));
        if vanished
            && outcome.doubtful
            && let Some(etag) = self.finished_already(&upload.key, parts.len()).await?
        {
            return Ok(etag);
        }
        self.settle(outcome, act, &upload.key)
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        let act = "abort a multipart write";
        let limit = self.policy.control_limit;
        let outcome = self
            .send(act, limit, || async move {
                let request = self.client.abort_multipart_upload().bucket(&self.place.bucket).key(&upload.key);
                Ok(request.upload_id(&upload.id).send().await?)
            })
            .await;
        match &outcome.result {
            Err(failure) if matches!(failure.kind, Kind::NoUpload | Kind::NoKey) => Ok(()),
            _ => self.settle(outcome, act, &upload.key).map(|_| ()),
        }
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let mut found = Vec::new();
        let mut marker: (Option<String>, Option<String>) = (None, None);
        loop {
            let at = &marker;
            let answer = self
                .control("list multipart writes", "", || async move {
                    let request = self.client.list_multipart_uploads().bucket(&self.place.bucket).prefix(prefix);
                    let request = request.set_key_marker(at.0.clone()).set_upload_id_marker(at.1.clone());
                    Ok(request.send().await?)
                })
                .await?;
            let more = answer.is_truncated().unwrap_or(false);
            let next = (answer.next_key_marker, answer.next_upload_id_marker);
            found.extend(answer.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
                let upload = Upload { key: upload.key?, id: upload.upload_id? };
                upload.key.starts_with(prefix).then_some(upload)
            }));
            // The second half catches services that say there is more and do not move on.
            if !more || next == marker || next.0.is_none() {
                return Ok(found);
            }
            marker = next;
        }
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let act = "delete objects";
        for batch in keys.chunks(PAGE) {
            let outcome = self.send(act, self.policy.control_limit, || self.delete_batch(batch)).await;
            match &outcome.result {
                Err(failure) if failure.kind == Kind::Unsupported => self.delete_singly(batch).await?,
                _ => self.settle(outcome, act, "")?,
            }
        }
        Ok(())
    }
}
