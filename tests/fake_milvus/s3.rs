//! An S3 service on 127.0.0.1 over buckets in memory, which the test and the fake Milvus see from inside. What happens to
//! requests on their way is [`Weather`].

use bytes::Bytes;
use futures::TryStreamExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use milvus_backup_operator::storage::memory::MemoryService;
use milvus_backup_operator::storage::{Condition, ObjectRef, Part, Store, StoreError, Upload, Written};
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;

use super::weather::{self, Weather};

/// The first login, and another one for keys that were changed.
pub const ACCESS_KEY: &str = "AKEXAMPLE";
pub const SECRET_KEY: &str = "secret-example";
pub const LATER_ACCESS_KEY: &str = "AKLATER";
pub const LATER_SECRET_KEY: &str = "secret-of-later";

/// Starts serving; answers `http://127.0.0.1:port`. Ends with the runtime of the test.
pub async fn serve(buckets: MemoryService, weather: Weather) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut builder = S3ServiceBuilder::new(Buckets(buckets));
    let mut logins = SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY);
    logins.register(LATER_ACCESS_KEY.into(), LATER_SECRET_KEY.into());
    builder.set_auth(logins);
    let service = builder.build();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (service, weather) = (service.clone(), weather.clone());
            let through = service_fn(move |request| weather::through(weather.clone(), service.clone(), request));
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), through).await;
            });
        }
    });
    endpoint
}

struct Buckets(MemoryService);

fn said(error: StoreError) -> s3s::S3Error {
    match error {
        StoreError::NotFound { .. } => s3_error!(NoSuchKey),
        StoreError::BucketNotFound { .. } => s3_error!(NoSuchBucket),
        other => s3_error!(InternalError, "{other}"),
    }
}

fn tag(etag: String) -> Option<ETag> {
    Some(ETag::Strong(etag))
}

#[async_trait::async_trait]
impl S3 for Buckets {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let bucket = self.0.absent_bucket(&req.input.bucket);
        let body = bucket.get(&req.input.key).await.map_err(said)?;
        let (body, content_range) = match req.input.range {
            None => (body, None),
            Some(range) => {
                let of = range.check(body.len() as u64)?;
                let text = format!("bytes {}-{}/{}", of.start, of.end - 1, body.len());
                (body.slice(of.start as usize..of.end as usize), Some(text))
            }
        };
        let listed = bucket.list_page(&req.input.key, None).await.map_err(said)?.objects;
        let found = listed.into_iter().find(|object| object.key == req.input.key);
        Ok(S3Response::new(GetObjectOutput {
            e_tag: found.and_then(|object| tag(object.etag)),
            content_length: Some(body.len() as i64),
            content_range,
            body: Some(StreamingBlob::from(s3s::Body::from(body))),
            ..Default::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let bucket = self.0.absent_bucket(&input.bucket);
        let chunks: Vec<Bytes> = match input.body {
            Some(body) => body.try_collect().await.map_err(|error| s3_error!(InternalError, "{error}"))?,
            None => Vec::new(),
        };
        let body = Bytes::from(chunks.concat());
        let condition = match (input.if_none_match, input.if_match) {
            (Some(_), _) => Some(Condition::Absent),
            (None, Some(ETagCondition::ETag(etag))) => Some(Condition::Matches(etag.into_value())),
            _ => None,
        };
        let etag = match condition {
            None => bucket.put(&input.key, body).await.map_err(said)?,
            Some(condition) => match bucket.put_if(&input.key, body, condition).await.map_err(said)? {
                Written::Yes(etag) => etag,
                Written::Refused => return Err(s3_error!(PreconditionFailed)),
            },
        };
        Ok(S3Response::new(PutObjectOutput { e_tag: tag(etag), ..Default::default() }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopySource::Bucket { bucket, key, .. } = req.input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let from = ObjectRef { bucket: bucket.to_string(), key: key.to_string(), etag: None };
        let to = self.0.absent_bucket(&req.input.bucket);
        let etag = to.copy(&from, &req.input.key).await.map_err(said)?;
        let result = CopyObjectResult { e_tag: tag(etag), ..Default::default() };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let bucket = self.0.absent_bucket(&input.bucket);
        let after = input.continuation_token.or(input.start_after);
        let page =
            bucket.list_page(input.prefix.as_deref().unwrap_or_default(), after.as_deref()).await.map_err(said)?;
        let contents = page.objects.into_iter().map(|object| Object {
            key: Some(object.key),
            size: Some(object.size as i64),
            e_tag: tag(object.etag),
            ..Default::default()
        });
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(contents.collect()),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            ..Default::default()
        }))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.0.absent_bucket(&req.input.bucket);
        let keys: Vec<String> = req.input.delete.objects.into_iter().map(|object| object.key).collect();
        bucket.delete(&keys).await.map_err(said)?;
        Ok(S3Response::new(DeleteObjectsOutput::default()))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let bucket = self.0.absent_bucket(&req.input.bucket);
        bucket.delete(&[req.input.key]).await.map_err(said)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let id = self.0.absent_bucket(&req.input.bucket).begin_upload(&req.input.key).await.map_err(said)?;
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let chunks: Vec<Bytes> = match input.body {
            Some(body) => body.try_collect().await.map_err(|error| s3_error!(InternalError, "{error}"))?,
            None => Vec::new(),
        };
        let upload = Upload { key: input.key, id: input.upload_id };
        let bucket = self.0.absent_bucket(&input.bucket);
        let part = bucket.upload_part(&upload, input.part_number, 0, chunks.concat().into()).await;
        let part = part.map_err(|_| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(UploadPartOutput { e_tag: tag(part.etag), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let part = |part: CompletedPart| Some(Part { number: part.part_number?, etag: part.e_tag?.into_value() });
        let upload = Upload { key: input.key, id: input.upload_id };
        let bucket = self.0.absent_bucket(&input.bucket);
        let etag = bucket.finish_upload(&upload, parts.into_iter().filter_map(part).collect()).await;
        let etag = etag.map_err(|_| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag: tag(etag), ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let upload = Upload { key: req.input.key, id: req.input.upload_id };
        self.0.absent_bucket(&req.input.bucket).abort_upload(&upload).await.map_err(said)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let open = self.0.absent_bucket(&req.input.bucket).uploads(&prefix).await.map_err(said)?;
        let uploads = open.into_iter().map(|upload| MultipartUpload {
            key: Some(upload.key),
            upload_id: Some(upload.id),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput { uploads: Some(uploads.collect()), ..Default::default() }))
    }
}
