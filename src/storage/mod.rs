//! Objects in buckets: one trait, its stores, and the one way to move an object between two of them.
//!
//! Owns keys, sizes, ETags, retries of single requests and the choice between server-side copy and streaming. Must never
//! know what an object means (binlog, manifest) or that Milvus exists.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

mod azure;
pub mod contract;
mod contract_checks;
mod error;
mod failure;
pub mod fault;
mod folder;
mod gcs;
mod listing;
mod login;
pub mod memory;
mod pace;
pub mod pieces;
mod reading;
mod retry;
mod s3;
#[cfg(test)]
mod script;
mod sender;
mod tag;
mod transfer;
mod transport;
mod window;
mod xml;

pub use azure::{AzureConfig, AzureStore};
pub use error::StoreError;
pub use folder::FolderStore;
pub use gcs::{GcsConfig, GcsLogin, GcsStore};
pub use listing::{Listing, list_all};
pub use pace::Pace;
pub use retry::RetryPolicy;
pub use s3::{Checksums, Keys, S3Config, S3Store};
pub use tag::Tag;
pub use transfer::{
    MemoryBudget, OpenUploads, Room, TransferOptions, Transferred, delete_prefix, sweep_uploads, transfer,
};
pub use window::{Admission, Window};

/// The most bytes of an object that [`Store::get`] holds in memory.
pub const LARGEST_WHOLE: u64 = 2 << 30;

/// One listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Full key in the bucket.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Entity tag without quotes; in Google the generation. Equal tags mean equal content; after a multipart write it is no
    /// digest of the content.
    /// Empty where a service lists none.
    pub etag: String,
}

/// One page of a listing. In ascending byte order of keys where the service keeps to S3; SeaweedFS lists `x/…` before
/// `x-1`. [`list_all`] sorts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// Pass to the next call; none on the last page. A mark of the service's own, no key.
    pub next: Option<String>,
}

/// An object by bucket and key, as the source of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectRef {
    /// Bucket; the path of a directory.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Where given, nothing but the version of this ETag is copied in parts, so that no two are mixed.
    pub etag: Option<String>,
}

/// Where a store is: enough to tell whether one request can copy between two stores, and for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Scheme, host and port of the service, of Azure with the account, `memory:<name>`, or `file:` for directories.
    pub service: String,
    /// Region.
    pub region: String,
    /// Bucket, container, or the path of the directory.
    pub bucket: String,
}

impl Place {
    /// Whether a server-side copy from `other` into this place is possible.
    pub fn same_service(&self, other: &Place) -> bool {
        self.service == other.service && self.region == other.region
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service.as_str() {
            folder::SERVICE => write!(f, "folder {}", self.bucket),
            service => write!(f, "bucket {} at {service}", self.bucket),
        }
    }
}

/// Condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Only where the key does not exist (`If-None-Match: *`).
    Absent,
    /// Only where the object still has this ETag (`If-Match`).
    Matches(String),
}

/// Answer to a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Done; the new ETag.
    Yes(String),
    /// The condition did not hold; nothing was written.
    Refused,
}

/// A part of a multipart write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: i32,
    /// ETag of the part.
    pub etag: String,
}

/// A multipart write that was begun and neither finished nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upload {
    /// Key being written.
    pub key: String,
    /// Id of the upload.
    pub id: String,
}

/// Requests a store has made since it was opened; the engine steers its concurrency by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent, retried ones included.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Answers by which the service asked to be spared (503 SlowDown, 429), and attempts it did not answer in time.
    pub throttled: u64,
}

/// A bucket. Calls are safe to repeat; single requests are retried inside with bounded back-off, permission errors never.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Where this is.
    fn place(&self) -> &Place;
    /// Counts of requests so far; all zero where a store makes none.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
    /// How large an object one [`copy`](Self::copy) takes, in bytes; larger ones are copied in parts. None where there is no
    /// bound, and no copy in parts either.
    fn largest_copy(&self) -> Option<u64> {
        Some(5 << 30)
    }
    /// Up to 1,000 objects whose keys start with `prefix`; `after` continues from [`Page::next`].
    async fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;
    /// The names right below `prefix` under which there are objects: with `a/b/1` and `a/c`, `a/` has the folder `b`.
    /// Ascending, without slashes. `prefix` is empty or ends in a slash.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        listing::names_below(prefix, |after| async move {
            let page = self.list_page(prefix, after.as_deref()).await?;
            Ok((page.objects.into_iter().map(|object| object.key).collect(), page.next))
        })
        .await
    }
    /// A whole object of at most [`LARGEST_WHOLE`] bytes. Only for small ones: it is held in memory.
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.get_within(key, LARGEST_WHOLE).await
    }
    /// A whole object of at most `most` bytes, for who knows how many it should have. A larger one is
    /// [`StoreError::TooLarge`]: by what the service announces, before a byte of it is read, or once more bytes have come.
    async fn get_within(&self, key: &str, most: u64) -> Result<Bytes, StoreError>;
    /// `length` bytes from `offset`; fewer where the object ends before, none where it ends before `offset`.
    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.read_range(key, None, offset, length).await
    }
    /// As [`get_range`](Self::get_range), of the version with this ETag only: else [`StoreError::Replaced`]. A stream that
    /// breaks is resumed where it broke, from the same version.
    async fn read_range(&self, key: &str, etag: Option<&str>, offset: u64, length: u64) -> Result<Bytes, StoreError>;
    /// Writes an object, answers its ETag.
    async fn put(&self, key: &str, body: Bytes) -> Result<String, StoreError>;
    /// Writes an object if the condition holds. A store that ignores conditions writes always; the probe finds out.
    /// Where an answer was lost on the way and the object then holds exactly `body`, that counts as written: give bodies
    /// that two writers fight over something of their own.
    async fn put_if(&self, key: &str, body: Bytes, condition: Condition) -> Result<Written, StoreError>;
    /// One server-side copy request from another bucket of the same service (or this one); answers the new ETag.
    /// The credentials of this store must be able to read the source. Where [`ObjectRef::etag`] is given, a store may refuse
    /// to copy another version with [`StoreError::Replaced`].
    async fn copy(&self, from: &ObjectRef, to: &str) -> Result<String, StoreError>;
    /// Begins a multipart write, answers its id.
    async fn begin_upload(&self, key: &str) -> Result<String, StoreError>;
    /// Writes one part, which begins at `offset` of the object.
    async fn upload_part(&self, upload: &Upload, number: i32, offset: u64, body: Bytes) -> Result<Part, StoreError>;
    /// Writes one part by server-side copy of a range; it begins at the same offset of the object.
    async fn copy_part(
        &self,
        upload: &Upload,
        number: i32,
        from: &ObjectRef,
        offset: u64,
        length: u64,
    ) -> Result<Part, StoreError>;
    /// Ends a multipart write, answers the ETag.
    async fn finish_upload(&self, upload: &Upload, parts: Vec<Part>) -> Result<String, StoreError>;
    /// Gives a multipart write up; unknown uploads are fine.
    async fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError>;
    /// Unfinished multipart writes below a prefix.
    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError>;
    /// Removes objects in batches; missing ones are fine.
    async fn delete(&self, keys: &[String]) -> Result<(), StoreError>;
}
