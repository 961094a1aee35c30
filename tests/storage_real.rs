//! The storage contract on a real S3 server.
//!
//! Built with `--features real`, by the test environment, which starts the server and names it by environment variables:
//! `S3_TEST_ENDPOINT`, `S3_TEST_ACCESS_KEY`, `S3_TEST_SECRET_KEY`, and `S3_TEST_KIND` (see [`missing`]). The buckets
//! `storage-contract-1` and `storage-contract-2` are made where they are missing.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use bytes::Bytes;
use milvus_backup_operator::storage::contract::{self, Fixture, Promise};
use milvus_backup_operator::storage::memory::MemoryService;
use milvus_backup_operator::storage::{Checksums, Keys, RetryPolicy, S3Config, S3Store, Store, StoreError};

const BUCKETS: [&str; 2] = ["storage-contract-1", "storage-contract-2"];

/// What a server is known to lack.
fn missing(kind: &str) -> &'static [Promise] {
    match kind {
        // It lists folder by folder: `x/a` before `x-1`.
        "seaweed" => &[Promise::ByteOrder],
        other => panic!("S3_TEST_KIND is {other:?}: say in this file what that server lacks"),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need a running S3 server, the test environment starts one and sets it")
    })
}

fn config(bucket: &str, access_key: String, secret_key: String) -> S3Config {
    S3Config {
        endpoint: Some(variable("S3_TEST_ENDPOINT")),
        region: String::new(),
        bucket: bucket.into(),
        path_style: true,
        keys: Keys::Static { access_key, secret_key, session_token: None },
        ca_pem: None,
        checksums: Checksums::default(),
    }
}

async fn open(bucket: &str) -> S3Store {
    S3Store::open(config(bucket, variable("S3_TEST_ACCESS_KEY"), variable("S3_TEST_SECRET_KEY"))).await.unwrap()
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
    let (first, second, nowhere) =
        (open(BUCKETS[0]).await, open(BUCKETS[1]).await, open("storage-contract-none").await);
    let foreign = MemoryService::new("elsewhere").bucket("b");
    let fixture = Fixture {
        store: &first,
        twin: &second,
        foreign: &foreign,
        absent: Some(&nowhere),
        prefix: format!("contract-{}", std::process::id()),
        smallest_part: 5 << 20,
    };
    if let Err(broken) = contract::prove(&fixture, missing(&kind)).await {
        panic!("{broken}");
    }
    assert_eq!(first.traffic().retries, 0, "{:?}", first.traffic());
}

#[tokio::test]
async fn wrong_keys_are_denied_at_once() {
    make_buckets().await;
    let known = variable("S3_TEST_ACCESS_KEY");
    for (access_key, secret_key) in [(known, "wrong-secret-key"), ("nobody".into(), "wrong-secret-key")] {
        let store = S3Store::open(config(BUCKETS[0], access_key, secret_key.into())).await.unwrap();
        let error = store.list_page("", None).await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        assert!(!error.to_string().contains("wrong-secret"), "{error}");
        assert_eq!(store.traffic().requests, 1);
    }
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unavailable_after_bounded_tries() {
    let policy = RetryPolicy { tries: 3, first_delay: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    let nobody = S3Config { endpoint: Some("http://127.0.0.1:1".into()), ..config("b", "a".into(), "s".into()) };
    let store = S3Store::open(nobody).await.unwrap().with_retry(policy);
    let error = store.put("k", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { tries: 3, .. }), "{error}");
}
