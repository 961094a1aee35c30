//! Whether a backup would be lost together with the Milvus it is of.

use super::store::place_of_url;
use super::{DiscoveryError, Resolved};
use crate::api::conditions::{Status, reason};

/// Where backups go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination<'a> {
    /// `http(s)://host:port`; none for AWS.
    pub endpoint: Option<&'a str>,
    /// Bucket.
    pub bucket: &'a str,
    /// Parent of the artifacts, without slashes at the ends.
    pub prefix: &'a str,
}

/// How much a backup shares with its Milvus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedFate {
    /// Nothing.
    Separate,
    /// The bucket: one mistake, one lost key, one deleted bucket takes both.
    SameBucket,
    /// A store that Milvus Operator removes when the Milvus resource is deleted.
    SameStoreDeletedWithCluster,
}

impl SharedFate {
    /// Status, reason and message of the condition `SharedFate`.
    pub fn condition(self) -> (Status, &'static str, &'static str) {
        match self {
            SharedFate::Separate => (Status::False, reason::SEPARATE, "the backup lies apart from Milvus' own data"),
            SharedFate::SameBucket => (
                Status::True,
                reason::SAME_BUCKET,
                "the backup lies in Milvus' own bucket: what destroys the one destroys the other. Name a MilvusBackupLocation with another bucket",
            ),
            SharedFate::SameStoreDeletedWithCluster => (
                Status::True,
                reason::SAME_STORE_DELETED_WITH_CLUSTER,
                "the backup lies in the store that is deleted together with the Milvus resource (deletionPolicy Delete). Name a MilvusBackupLocation on another store",
            ),
        }
    }
}

/// Compares a destination with Milvus' own store. A destination inside Milvus' data is an error: its garbage collection
/// may take what it does not know.
pub fn shared_fate(resolved: &Resolved, destination: Destination<'_>) -> Result<SharedFate, DiscoveryError> {
    let store = &resolved.store;
    let own = store.endpoint.as_ref().map(|endpoint| endpoint.value.as_str());
    let there = destination.endpoint.and_then(|url| place_of_url(url).endpoint);
    if own != there.as_deref() {
        return Ok(SharedFate::Separate);
    }
    let same_bucket = store.bucket.value == destination.bucket;
    let root = store.root_path.value.as_str();
    let prefix = destination.prefix.trim_matches('/');
    let inside =
        !root.is_empty() && prefix.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if same_bucket && inside {
        return Err(DiscoveryError::Invalid {
            milvus: resolved.name(),
            what: format!(
                "backups under {prefix}/ would lie inside its own data ({root}/ in bucket {}), where it may remove them: \
                 choose a prefix outside of {root}/",
                destination.bucket
            ),
        });
    }
    Ok(match (same_bucket, store.deleted_with_milvus) {
        (_, true) => SharedFate::SameStoreDeletedWithCluster,
        (true, false) => SharedFate::SameBucket,
        (false, false) => SharedFate::Separate,
    })
}

impl Resolved {
    /// `namespace/name`, or the address of a connection.
    pub fn name(&self) -> String {
        match &self.milvus {
            Some(milvus) => format!("{}/{}", milvus.namespace, milvus.name),
            None => format!("{}:{}", self.grpc_host.value, self.grpc_port.value),
        }
    }
}
