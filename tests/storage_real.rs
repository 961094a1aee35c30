//! The storage contract on a real S3 server.
//!
//! Built with `--features real`, by the test environment, which starts the server and names it by environment variables:
//! `S3_TEST_ENDPOINT`, `S3_TEST_ACCESS_KEY`, `S3_TEST_SECRET_KEY`, and `S3_TEST_KIND` (see [`missing`]). The buckets
//! `storage-contract-1` and `storage-contract-2` are made where they are missing.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod storage_servers;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use bytes::Bytes;
use milvus_backup_operator::storage::contract::Promise;
use milvus_backup_operator::storage::memory::MemoryService;
use milvus_backup_operator::storage::{RetryPolicy, S3Config, S3Store, Store, StoreError};

use storage_servers::{BUCKETS, NOWHERE, keys, prove, s3, s3_config, variable};

/// What a server is known to lack.
fn missing(kind: &str) -> &'static [Promise] {
    match kind {
        // It lists folder by folder: `x/a` before `x-1`.
        "seaweed" => &[Promise::ByteOrder],
        other => panic!("S3_TEST_KIND is {other:?}: say in this file what that server lacks"),
    }
}

/// The store itself makes no buckets.
async fn make_buckets() {
    let keys = Credentials::new(variable("S3_TEST_ACCESS_KEY"), variable("S3_TEST_SECRET_KEY"), None, None, "test");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(variable("S3_TEST_ENDPOINT"))
        .force_path_style(true)
        .credentials_provider(keys)
        .build();
    let client = Client::from_conf(config);
    for bucket in BUCKETS {
        if let Err(error) = client.create_bucket().bucket(bucket).send().await {
            let error = error.into_service_error();
            assert!(error.is_bucket_already_owned_by_you() || error.is_bucket_already_exists(), "{bucket}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_real_server_keeps_its_promises() {
    let kind = variable("S3_TEST_KIND");
    make_buckets().await;
    let (first, second, nowhere) = (s3(BUCKETS[0]).await, s3(BUCKETS[1]).await, s3(NOWHERE).await);
    prove([&first, &second, &nowhere], &MemoryService::new("elsewhere").bucket("b"), missing(&kind)).await;
    assert_eq!(first.traffic().retries, 0, "{:?}", first.traffic());
}

#[tokio::test]
async fn wrong_keys_are_denied_at_once() {
    make_buckets().await;
    let known = variable("S3_TEST_ACCESS_KEY");
    for access_key in [known.as_str(), "nobody"] {
        let config = S3Config { keys: keys(access_key, "wrong-secret-key"), ..s3_config(BUCKETS[0]) };
        let store = S3Store::open(config).await.unwrap();
        let error = store.list_page("", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        assert!(!error.to_string().contains("wrong-secret"), "{error}");
        assert_eq!(store.traffic().requests, 1);
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unavailable_after_bounded_tries() {
    let policy = RetryPolicy { tries: 3, first_delay: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    let nobody = S3Config { endpoint: Some("http://127.0.0.1:1".into()), ..s3_config("b") };
    let store = S3Store::open(nobody).await.unwrap().with_retry(policy);
    let error = store.put("k", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { tries: 3, .. }), "{error}");
}
