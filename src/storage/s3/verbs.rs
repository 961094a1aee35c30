//! The verbs of [`Store`] in S3 requests.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::{PAGE, S3Store, copy_source, etag_of};
use crate::storage::failure::{Failure, Kind};
use crate::storage::listing::names_below;
use crate::storage::reading::byte_range;
use crate::storage::sender::{COPY, UploadPage};
use crate::storage::{Condition, ObjectRef, Page, Part, Place, Store, StoreError, Traffic, Upload, Written};

#[async_trait]
impl Store for S3Store {
    fn place(&self) -> &Place {
        &self.sender.place
    }

    fn traffic(&self) -> Traffic {
        self.sender.meter.read()
    }

    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.list(prefix, after, PAGE).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        names_below(prefix, |after| async move {
            let answer = self.list_raw(prefix, after.as_deref(), PAGE, Some("/")).await?;
            let next = self.next_page(&answer)?;
            let folders = answer.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix);
            // A service that overlooks the delimiter lists the objects instead.
            let objects = answer.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
            Ok((folders.chain(objects).collect(), next))
        })
        .await
    }

    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        self.sender.get(key, most, || self.open_object(key, None)).await
    }

    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        let open = |start, missing| self.open_object(key, Some((start, missing)));
        let found = self.sender.read(key, etag, (offset, length), open).await;
        match (&found, etag) {
            (Err(StoreError::Replaced { .. }), Some(etag)) if self.still_lists(key, etag).await? => {
                self.sender.read(key, None, (offset, length), open).await
            }
            _ => found,
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError> {
        self.sender.put(key, &body, || self.write(key, &body, None)).await
    }

    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError> {
        let (write, open) = (|| self.write(key, &body, Some(&condition)), || self.open_object(key, None));
        self.sender.put_if(key, &body, &condition, write, open).await
    }

    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError> {
        let source = &copy_source(from);
        let copy = || async move {
            let request = self.client.copy_object().bucket(self.bucket()).key(to).copy_source(source);
            let answer = request.send().await?;
            etag_of(answer.copy_object_result().and_then(|result| result.e_tag()))
        };
        self.sender.copy(COPY, self.sender.policy.copy_limit, from, copy).await
    }

    async fn begin_upload(&self, key: &str) -> Result<String, StoreError> {
        self.sender
            .control("begin a multipart write", key, || async move {
                let answer = self.client.create_multipart_upload().bucket(self.bucket()).key(key).send().await?;
                answer.upload_id.ok_or_else(|| Failure::incomplete_answer("upload id"))
            })
            .await
    }

    async fn upload_part(&self, upload: &Upload, number: i32, _: u64, body: Bytes) -> Result<Part, StoreError> {
        let body = &body;
        let write = || async move {
            let request = self.client.upload_part().bucket(self.bucket()).key(&upload.key);
            let request = request.upload_id(&upload.id).part_number(number);
            etag_of(request.body(ByteStream::from(body.clone())).send().await?.e_tag())
        };
        Ok(Part { number, etag: self.sender.write("write a part", &upload.key, body.len(), write).await? })
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: i32,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<Part, StoreError> {
        let (source, range) = (&copy_source(from), &byte_range(offset, length));
        let copy = || async move {
            let request = self.client.upload_part_copy().bucket(self.bucket()).key(&upload.key);
            let request = request.upload_id(&upload.id).part_number(number);
            let request = request.copy_source(source).copy_source_range(range);
            let version = from.etag.as_ref().map(|etag| format!("\"{etag}\""));
            let answer = request.set_copy_source_if_match(version).send().await?;
            etag_of(answer.copy_part_result().and_then(|result| result.e_tag()))
        };
        Ok(Part { number, etag: self.sender.copy("copy a part", self.sender.policy.copy_limit, from, copy).await? })
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
            .sender
            .send(act, self.sender.policy.copy_limit, || async move {
                let request = self.client.complete_multipart_upload().bucket(self.bucket()).key(&upload.key);
                let answer = request.upload_id(&upload.id).multipart_upload(whole.clone()).send().await?;
                etag_of(answer.e_tag())
            })
            .await;
        let vanished = matches!(&outcome.result, Err(failure) if matches!(failure.kind, Kind::NoUpload | Kind::NoKey));
        if vanished
            && outcome.doubtful
            && let Some(etag) = self.finished_already(&upload.key, parts.len()).await?
        {
            return Ok(etag);
        }
        self.sender.settle(outcome, act, &upload.key)
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        self.sender
            .control("abort a multipart write", &upload.key, || async move {
                let request = self.client.abort_multipart_upload().bucket(self.bucket()).key(&upload.key);
                match request.upload_id(&upload.id).send().await.map_err(Failure::from) {
                    Err(failure) if matches!(failure.kind, Kind::NoUpload | Kind::NoKey) => Ok(()),
                    answer => answer.map(|_| ()),
                }
            })
            .await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.sender
            .uploads(prefix, |mark| async move {
                let (key, id) = mark.map_or((None, None), |(key, id)| (Some(key), id));
                let request = self.client.list_multipart_uploads().bucket(self.bucket()).prefix(prefix);
                let answer = request.set_key_marker(key).set_upload_id_marker(id).send().await?;
                let more = answer.is_truncated().unwrap_or(false);
                let next = answer.next_key_marker.filter(|_| more).map(|key| (key, answer.next_upload_id_marker));
                let uploads = answer.uploads.unwrap_or_default().into_iter();
                let uploads = uploads.filter_map(|upload| Some(Upload { key: upload.key?, id: upload.upload_id? }));
                Ok(UploadPage { uploads: uploads.collect(), next })
            })
            .await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let act = "delete objects";
        for batch in keys.chunks(PAGE) {
            let outcome = self.sender.send(act, self.sender.policy.control_limit, || self.delete_batch(batch)).await;
            match &outcome.result {
                Err(failure) if failure.kind == Kind::Unsupported => {
                    self.sender.delete(batch, |key| self.delete_one(key)).await?;
                }
                _ => self.sender.settle(outcome, act, "")?,
            }
        }
        Ok(())
    }
}
