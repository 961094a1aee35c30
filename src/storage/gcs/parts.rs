//! Writes in parts, by the XML API: the protocol of S3's multipart uploads, with Google's log-in. There is no copy of a
//! part; a copy is one request (`rewrite`) of any size.
//!
//! Source: "XML API multipart uploads" of the Cloud Storage documentation.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use super::{Ask, GcsStore};
use crate::storage::failure::{Failure, Kind};
use crate::storage::sender::UploadPage;
use crate::storage::{Part, StoreError, Upload, xml};

#[derive(Deserialize)]
struct Begun {
    #[serde(rename = "UploadId")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(rename = "Upload", default)]
    uploads: Vec<Listed>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    upload_id: String,
}

fn whole(parts: &[Part]) -> String {
    let part =
        |part: &Part| format!("<Part><PartNumber>{}</PartNumber><ETag>\"{}\"</ETag></Part>", part.number, part.etag);
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

impl GcsStore {
    pub(super) async fn begin(&self, key: &str) -> Result<String, StoreError> {
        self.sender
            .control("begin a multipart write", key, || async move {
                let ask = Ask::xml(Method::POST, self.bucket(), key, &[("uploads", "")]);
                let answer = self.ask_xml(ask.header("content-type", "application/octet-stream".to_owned())).await?;
                let begun: Begun = xml::parse(&answer.text(self.sender.policy.control_limit).await?)?;
                Ok(begun.id)
            })
            .await
    }

    pub(super) async fn write_part(&self, upload: &Upload, number: i32, body: Bytes) -> Result<Part, StoreError> {
        let write = || async {
            let (nth, id) = (number.to_string(), upload.id.as_str());
            let query = [("partNumber", nth.as_str()), ("uploadId", id)];
            let ask = Ask::xml(Method::PUT, self.bucket(), &upload.key, &query);
            self.ask_xml(ask.body(body.clone())).await?.etag()
        };
        Ok(Part { number, etag: self.sender.write("write a part", &upload.key, body.len(), write).await? })
    }

    pub(super) async fn finish(&self, upload: &Upload, mut parts: Vec<Part>) -> Result<String, StoreError> {
        let act = "finish a multipart write";
        parts.sort_by_key(|part| part.number);
        let list = &Bytes::from(whole(&parts));
        // The service puts the parts together while we wait: as silent as a copy.
        let outcome = self
            .sender
            .send(act, self.sender.policy.copy_limit, || async move {
                let ask = Ask::xml(Method::POST, self.bucket(), &upload.key, &[("uploadId", &upload.id)]);
                let answer = self.ask_xml(ask.body(list.clone())).await?;
                // As in S3, a failure can be the body of an answer that began well.
                match xml::error(&answer.text(self.sender.policy.control_limit).await?) {
                    (Some(code), message) => Err(Failure::new(Kind::Passing, &code, message.unwrap_or_default())),
                    (None, _) => Ok(()),
                }
            })
            .await;
        let vanished = matches!(&outcome.result, Err(failure) if failure.kind == Kind::NoUpload);
        // After a lost answer an upload that is gone is one that was finished, if there is the object.
        if !(vanished && outcome.doubtful) {
            self.sender.settle(outcome, act, &upload.key)?;
        }
        self.generation(&upload.key).await
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        self.sender
            .control("abort a multipart write", &upload.key, || async move {
                let ask = Ask::xml(Method::DELETE, self.bucket(), &upload.key, &[("uploadId", &upload.id)]);
                match self.ask_xml(ask).await {
                    Err(failure) if matches!(failure.kind, Kind::NoUpload | Kind::NoKey) => Ok(()),
                    answer => answer.map(|_| ()),
                }
            })
            .await
    }

    pub(super) async fn open_uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.sender
            .uploads(prefix, |mark| async move {
                let mut query = vec![("uploads", ""), ("prefix", prefix)];
                if let Some((key, id)) = &mark {
                    query.push(("key-marker", key));
                    query.extend(id.as_deref().map(|id| ("upload-id-marker", id)));
                }
                let answer = self.ask_xml(Ask::xml(Method::GET, self.bucket(), "", &query)).await?;
                let page: Uploads = xml::parse(&answer.text(self.sender.policy.control_limit).await?)?;
                let more = page.is_truncated && !page.next_key_marker.is_empty();
                let next = more.then_some((page.next_key_marker, Some(page.next_upload_id_marker)));
                let upload = |listed: Listed| Upload { key: listed.key, id: listed.upload_id };
                Ok(UploadPage { uploads: page.uploads.into_iter().map(upload).collect(), next })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_uploads_is_read() {
        let text = b"<?xml version='1.0' encoding='UTF-8'?><ListMultipartUploadsResult \
            xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Bucket>b</Bucket><NextKeyMarker>k</NextKeyMarker>\
            <NextUploadIdMarker>u</NextUploadIdMarker><MaxUploads>1000</MaxUploads><IsTruncated>true</IsTruncated>\
            <Upload><Key>a/b</Key><UploadId>ABg</UploadId><StorageClass>STANDARD</StorageClass></Upload>\
            </ListMultipartUploadsResult>";
        let page: Uploads = xml::parse(text).unwrap();
        assert_eq!((page.uploads[0].key.as_str(), page.uploads[0].upload_id.as_str()), ("a/b", "ABg"));
        assert!(page.is_truncated && page.next_key_marker == "k" && page.next_upload_id_marker == "u");
    }

    #[test]
    fn etags_are_quoted_again() {
        let part = Part { number: 2, etag: "x".into() };
        assert!(whole(&[part]).contains("<PartNumber>2</PartNumber><ETag>\"x\"</ETag>"));
    }
}
