//! The storage contract on Azurite, the vendor's emulator of Azure Blob Storage.
//!
//! Built with `--features real`, by the test environment, which starts the servers and names them by environment variables:
//! `AZURE_TEST_ENDPOINT`, `AZURE_TEST_ACCOUNT`, `AZURE_TEST_KEY`, and those of the S3 server (`tests/storage_real.rs`), to
//! and from which objects are moved. The containers `storage-contract-1` and `-2` are made where they are missing.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use milvus_backup_operator::storage::contract::{self, Fixture, Promise};
use milvus_backup_operator::storage::{
    AzureConfig, AzureStore, Checksums, Keys, ObjectMeta, S3Config, S3Store, Store, StoreError, TransferOptions,
    delete_prefix, transfer,
};

/// A copy is one request of any size, so that there are no copied parts; and the ETag is no count of parts.
const MISSING: &[Promise] = &[Promise::PartsCounted, Promise::CopyPart];

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need running servers, the test environment starts them and sets it")
    })
}

fn open(container: &str, key: &str) -> AzureStore {
    AzureStore::open(AzureConfig {
        endpoint: variable("AZURE_TEST_ENDPOINT"),
        container: container.into(),
        keys: Keys::Static { access_key: variable("AZURE_TEST_ACCOUNT"), secret_key: key.into(), session_token: None },
        ca_pem: None,
    })
    .unwrap()
}

async fn container(name: &str) -> AzureStore {
    let store = open(name, &variable("AZURE_TEST_KEY"));
    store.make_container().await.unwrap();
    store
}

async fn s3() -> S3Store {
    S3Store::open(S3Config {
        endpoint: Some(variable("S3_TEST_ENDPOINT")),
        region: String::new(),
        bucket: variable("MILVUS_TEST_BUCKET"),
        path_style: true,
        keys: Keys::Static {
            access_key: variable("S3_TEST_ACCESS_KEY"),
            secret_key: variable("S3_TEST_SECRET_KEY"),
            session_token: None,
        },
        ca_pem: None,
        checksums: Checksums::default(),
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn azurite_keeps_its_promises_and_moves_objects_to_and_from_s3() {
    let (first, second) = (container("storage-contract-1").await, container("storage-contract-2").await);
    let (nowhere, foreign) = (open("storage-contract-none", &variable("AZURE_TEST_KEY")), s3().await);
    let fixture = Fixture {
        store: &first,
        twin: &second,
        foreign: &foreign,
        absent: Some(&nowhere),
        prefix: format!("contract-{}", std::process::id()),
        smallest_part: 5 << 20,
    };
    if let Err(broken) = contract::prove(&fixture, MISSING).await {
        panic!("{broken}");
    }
}

#[tokio::test]
async fn a_large_object_goes_from_s3_to_azure_inside_azure_and_back_and_stays_the_same() {
    let (first, second, s3) =
        (container("storage-contract-1").await, container("storage-contract-2").await, s3().await);
    let prefix = format!("large-{}/", std::process::id());
    let body: bytes::Bytes = (0..20_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let key = |name: &str| format!("{prefix}{name} é");
    s3.put(&key("a"), body.clone()).await.unwrap();
    let listed = |name: &str| ObjectMeta { key: key(name), size: body.len() as u64, etag: String::new() };
    let options = TransferOptions::default();
    let steps: [(&dyn Store, &dyn Store, &str, &str, bool); 3] =
        [(&s3, &first, "a", "b", false), (&first, &second, "b", "c", true), (&second, &s3, "c", "d", false)];
    for (from, to, source, target, by_service) in steps {
        let moved = transfer(from, to, &listed(source), &key(target), &options).await.unwrap();
        assert_eq!(moved.server_side, by_service, "{source} to {target}");
        let found = to.list_page(&key(target), None).await.unwrap().objects;
        assert_eq!((found[0].size, found[0].etag.as_str()), (body.len() as u64, moved.etag.as_str()));
    }
    assert!(s3.get(&key("d")).await.unwrap() == body, "other content");
    for store in [&first as &dyn Store, &second, &s3] {
        delete_prefix(store, &prefix).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_in_blocks_of_a_killed_process_is_found_and_given_up() {
    let store = container("storage-contract-1").await;
    let prefix = format!("killed-{}/", std::process::id());
    let key = format!("{prefix}a");
    let id = store.begin_upload(&key).await.unwrap();
    assert!(store.list_page(&prefix, None).await.unwrap().objects.is_empty());
    let again = store.clone();
    let found = again.uploads(&prefix).await.unwrap();
    assert_eq!((found.len(), &found[0].id), (1, &id));
    again.abort_upload(&found[0]).await.unwrap();
    assert!(again.uploads(&prefix).await.unwrap().is_empty());
    assert!(store.list_page(&prefix, None).await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_wrong_key_is_denied_at_once_and_not_shown() {
    container("storage-contract-1").await;
    let wrong = "bm90LXRoZS1rZXk=";
    let store = open("storage-contract-1", wrong);
    let error = store.list_page("", None).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(!format!("{error} {error:?} {store:?}").contains(wrong));
    assert_eq!(store.traffic().requests, 1);
}
