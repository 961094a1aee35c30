//! The storage contract on Azurite, the vendor's emulator of Azure Blob Storage.
//!
//! Built with `--features real`, by the test environment, which starts the servers and names them by environment variables:
//! `AZURE_TEST_ENDPOINT`, `AZURE_TEST_ACCOUNT`, `AZURE_TEST_KEY`, and those of the S3 server (`tests/storage_real.rs`), to
//! and from which objects are moved. The containers `storage-contract-1` and `-2` are made where they are missing.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod storage_servers;

use milvus_backup_operator::storage::contract::Promise;
use milvus_backup_operator::storage::{
    AzureConfig, AzureStore, ObjectMeta, S3Store, Store, StoreError, TransferOptions, delete_prefix, transfer,
};

use storage_servers::{BUCKETS, NOWHERE, keys, prove, s3, variable};

/// A copy is one request of any size, so that there are no copied parts; and the ETag is no count of parts.
const MISSING: &[Promise] = &[Promise::PartsCounted, Promise::CopyPart];

fn open(container: &str, key: &str) -> AzureStore {
    AzureStore::open(AzureConfig {
        endpoint: variable("AZURE_TEST_ENDPOINT"),
        container: container.into(),
        keys: keys(variable("AZURE_TEST_ACCOUNT"), key),
        ca_pem: None,
    })
    .unwrap()
}

async fn container(name: &str) -> AzureStore {
    let store = open(name, &variable("AZURE_TEST_KEY"));
    store.make_container().await.unwrap();
    store
}

/// Where Milvus has its files.
async fn bucket_of_milvus() -> S3Store {
    s3(&variable("MILVUS_TEST_BUCKET")).await
}

#[tokio::test]
async fn azurite_keeps_its_promises_and_moves_objects_to_and_from_s3() {
    let (first, second) = (container(BUCKETS[0]).await, container(BUCKETS[1]).await);
    let nowhere = open(NOWHERE, &variable("AZURE_TEST_KEY"));
    prove([&first, &second, &nowhere], &bucket_of_milvus().await, MISSING).await;
}

#[tokio::test]
async fn a_large_object_goes_from_s3_to_azure_inside_azure_and_back_and_stays_the_same() {
    let (first, second, s3) = (container(BUCKETS[0]).await, container(BUCKETS[1]).await, bucket_of_milvus().await);
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
    let store = container(BUCKETS[0]).await;
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
    container(BUCKETS[0]).await;
    let wrong = "bm90LXRoZS1rZXk=";
    let store = open(BUCKETS[0], wrong);
    let error = store.list_page("", None).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(!format!("{error} {error:?} {store:?}").contains(wrong));
    assert_eq!(store.traffic().requests, 1);
}
