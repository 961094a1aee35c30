//! The servers that the test environment has started, by its variables, and the contract on two buckets of one of them.

use milvus_backup_operator::storage::contract::{self, Fixture, Promise};
use milvus_backup_operator::storage::{Checksums, Keys, S3Config, S3Store, Store};

/// Buckets that the contract is proven on; made where they are missing.
pub const BUCKETS: [&str; 2] = ["storage-contract-1", "storage-contract-2"];
/// A bucket that nobody makes.
pub const NOWHERE: &str = "storage-contract-none";

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need running servers, the test environment starts them and sets it")
    })
}

pub fn keys(access_key: impl Into<String>, secret_key: impl Into<String>) -> Keys {
    Keys::Static { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
}

/// The S3 server: `S3_TEST_ENDPOINT`, `S3_TEST_ACCESS_KEY`, `S3_TEST_SECRET_KEY`.
pub fn s3_config(bucket: &str) -> S3Config {
    S3Config {
        endpoint: Some(variable("S3_TEST_ENDPOINT")),
        region: String::new(),
        bucket: bucket.into(),
        path_style: true,
        keys: keys(variable("S3_TEST_ACCESS_KEY"), variable("S3_TEST_SECRET_KEY")),
        ca_pem: None,
        checksums: Checksums::default(),
    }
}

/// A bucket of the S3 server.
pub async fn s3(bucket: &str) -> S3Store {
    S3Store::open(s3_config(bucket)).await.unwrap()
}

/// Proves the contract on two buckets of a service and one that is not there, next to a bucket of another service.
pub async fn prove([store, twin, absent]: [&dyn Store; 3], foreign: &dyn Store, missing: &[Promise]) {
    let prefix = format!("contract-{}", std::process::id());
    let fixture = Fixture { store, twin, foreign, absent: Some(absent), prefix, smallest_part: 5 << 20 };
    if let Err(broken) = contract::prove(&fixture, missing).await {
        panic!("{broken}");
    }
}
