//! The storage contract on fake-gcs-server, an emulator of Google Cloud Storage; its name by `GCS_TEST_ENDPOINT`.
//!
//! It does not know writes in parts by the XML API. That API is S3's protocol with another log-in: those requests go to an S3
//! service in this process here, and what it has put together is handed to the emulator.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod storage_servers;

use std::path::PathBuf;

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use milvus_backup_operator::storage::contract::Promise;
use milvus_backup_operator::storage::{GcsConfig, GcsLogin, GcsStore, Store, StoreError};
use percent_encoding::percent_decode_str;
use s3s::service::S3ServiceBuilder;

use storage_servers::{BUCKETS, NOWHERE, prove, s3, variable};

/// A copy is one request of any size, so that there are no copied parts; the generation is no count of parts. The emulator
/// does not say whether bucket or object is missing, and takes no condition of a copy. The stand-in for writes in parts
/// cannot list them and does not know those that are gone.
const MISSING: &[Promise] =
    &[Promise::PartsCounted, Promise::CopyPart, Promise::BucketNotFound, Promise::AbortUnknown, Promise::ListUploads];

fn config(bucket: &str) -> GcsConfig {
    let endpoint = Some(variable("GCS_TEST_ENDPOINT"));
    GcsConfig { endpoint, bucket: bucket.into(), login: GcsLogin::Anonymous, ca_pem: None }
}

fn network() -> SharedHttpConnector {
    let builder = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    SharedHttpConnector::new(builder.build())
}

async fn make_buckets() {
    for bucket in BUCKETS {
        let request = http::Request::post(format!("{}/storage/v1/b?project=test", variable("GCS_TEST_ENDPOINT")))
            .header("content-type", "application/json")
            .body(SdkBody::from(format!(r#"{{"name": "{bucket}"}}"#)))
            .unwrap();
        let answer = network().call(HttpRequest::try_from(request).unwrap()).await.unwrap();
        assert!([200, 409].contains(&answer.status().as_u16()), "{answer:?}");
    }
}

/// The emulator, with an S3 service for what it lacks.
#[derive(Debug, Clone)]
struct Front {
    network: SharedHttpConnector,
    parts: SharedHttpConnector,
    folder: PathBuf,
}

impl Front {
    fn new(folder: PathBuf) -> Front {
        for bucket in BUCKETS {
            std::fs::create_dir(folder.join(bucket)).unwrap();
        }
        let service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(&folder).unwrap()).build();
        let parts = SharedHttpConnector::new(s3s_aws::Connector::from(service));
        Front { network: network(), parts, folder }
    }
}

impl HttpConnector for Front {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri: http::Uri = request.uri().parse().unwrap();
        let query = uri.query().unwrap_or_default();
        if !query.contains("uploadId=") && !query.contains("uploads=") {
            return self.network.call(request);
        }
        let finishes = request.method() == "POST" && query.contains("uploadId=");
        let done = self.parts.call(request);
        let folder = self.folder.clone();
        HttpConnectorFuture::new(async move {
            let answer: HttpResponse = done.await?;
            if finishes && answer.status().is_success() {
                let path = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8().unwrap().into_owned();
                let (bucket, key) = path.split_once('/').unwrap();
                let body = std::fs::read(folder.join(&path)).unwrap();
                GcsStore::open(config(bucket)).unwrap().put(key, body.into()).await.unwrap();
            }
            Ok(answer)
        })
    }
}

#[tokio::test]
async fn the_emulator_keeps_its_promises_and_moves_objects_to_and_from_s3() {
    make_buckets().await;
    let folder = tempfile::tempdir().unwrap();
    let front = Front::new(folder.path().to_owned());
    let open = |bucket| GcsStore::open_over(config(bucket), SharedHttpConnector::new(front.clone())).unwrap();
    let (first, second, nowhere) = (open(BUCKETS[0]), open(BUCKETS[1]), open(NOWHERE));
    prove([&first, &second, &nowhere], &s3(&variable("MILVUS_TEST_BUCKET")).await, MISSING).await;
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_by_a_listing() {
    let error = GcsStore::open(config(NOWHERE)).unwrap().list_page("", None).await.unwrap_err();
    assert!(matches!(error, StoreError::BucketNotFound { .. }), "{error}");
}
