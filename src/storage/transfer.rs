//! The one way to move an object between two buckets, and what is done to whole prefixes.
//!
//! Between buckets of one service the service copies by itself; else the bytes flow through here in pieces of bounded size.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pace::Pace;
use super::{ObjectMeta, ObjectRef, Part, Store, StoreError, Upload, list_all};

const MIB: u64 = 1 << 20;
/// S3: a multipart write has at most so many parts.
const MOST_PARTS: u64 = 10_000;
/// How often [`delete_prefix`] looks again before it says that somebody is writing there.
const DELETE_ROUNDS: usize = 3;
/// Multipart writes aborted at a time.
const ABORTS: usize = 8;

/// Bytes that all who share it may hold at a time. Clones share.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    /// One permit per KiB.
    permits: Arc<Semaphore>,
    total: u32,
}

impl MemoryBudget {
    /// A budget of so many bytes, at least 1 KiB.
    pub fn new(bytes: u64) -> MemoryBudget {
        let total = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
        MemoryBudget { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits until so many bytes are free; more than the whole budget counts as the whole budget, so that it is held alone.
    /// Who comes first is served first. Hold one at a time: two could wait for each other.
    pub async fn take(&self, bytes: u64) -> Room {
        let permits = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.total);
        Room { _permits: self.permits.clone().acquire_many_owned(permits).await.ok() }
    }
}

/// Bytes of a [`MemoryBudget`], free again when this is dropped.
#[derive(Debug)]
pub struct Room {
    _permits: Option<OwnedSemaphorePermit>,
}

/// How objects are moved.
#[derive(Debug, Clone)]
pub struct TransferOptions {
    /// Bytes of a piece where bytes flow through here; larger objects are written in parts of this size. S3 wants at least
    /// 5 MiB. Grows by itself where 10,000 parts would not do.
    pub part_size: u64,
    /// From this size on the service copies in parts, where it can.
    pub multipart_threshold: u64,
    /// Bytes of such a part: one request, so small enough to end soon and large enough to be few.
    pub copy_part_size: u64,
    /// Parts of one object in the works at a time.
    pub part_concurrency: usize,
    /// `false` never asks the service to copy. Set it once [`Transferred::server_side`] came back `false` between two
    /// buckets of one service: it saves a refused request per object.
    pub server_side: bool,
    /// What all transfers together may hold in memory. Share one among all options of a process.
    pub memory: MemoryBudget,
    /// How fast all transfers together may go. Share one among all options of a run.
    pub pace: Pace,
    /// The multipart writes under way, for those who drop transfers.
    pub open: OpenUploads,
}

/// The multipart writes that were begun and not ended: whoever drops transfers in the middle aborts these. Clones share.
#[derive(Debug, Clone, Default)]
pub struct OpenUploads(Arc<Mutex<Vec<Upload>>>);

impl OpenUploads {
    pub(super) fn enter(&self, upload: &Upload) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(upload.clone());
    }

    pub(super) fn leave(&self, upload: &Upload) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| open != upload);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Aborts all of them. To be called when the transfers were dropped; what cannot be aborted is left to
    /// [`sweep_uploads`] of the next attempt, and logged.
    pub async fn abort(&self, store: &dyn Store) {
        let open = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        futures::stream::iter(&open)
            .for_each_concurrent(ABORTS, |upload| async move { give_up(store, upload).await })
            .await;
    }
}

pub(super) async fn give_up(store: &dyn Store, upload: &Upload) {
    if let Err(error) = store.abort_upload(upload).await {
        let Upload { key, id } = upload;
        tracing::warn!(key, id, %error, "an unfinished multipart write stays in the bucket until the next attempt");
    }
}

impl Default for TransferOptions {
    fn default() -> Self {
        TransferOptions {
            part_size: 8 * MIB,
            multipart_threshold: 500 * MIB,
            copy_part_size: 64 * MIB,
            part_concurrency: 4,
            server_side: true,
            memory: MemoryBudget::new(48 * MIB),
            pace: Pace::unlimited(),
            open: OpenUploads::default(),
        }
    }
}

/// A moved object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Its ETag where it is now. Not always that of the source: a copy in parts has one of its own.
    pub etag: String,
    /// Whether the service copied by itself.
    pub server_side: bool,
}

/// Copies the listed object `from` of `source` to `to` in `destination`.
///
/// One service copies by itself if the credentials of the destination may read the source; where they may not, or the
/// service cannot copy, the bytes flow through here. An object that has not the size or, where the listing knew one, the
/// ETag it was listed with is an error, never a cut or mixed copy. A multipart write that fails is aborted; one that is
/// dropped half-way stays in [`TransferOptions::open`].
pub async fn transfer(
    source: &dyn Store,
    destination: &dyn Store,
    from: &ObjectMeta,
    to: &str,
    options: &TransferOptions,
) -> Result<Transferred, StoreError> {
    let job = Job { source, destination, from, to, options };
    if options.server_side && destination.place().same_service(source.place()) {
        match job.copy().await {
            Ok(etag) => {
                return Ok(Transferred { etag, server_side: true });
            }
            Err(error) if !may_stream_instead(&error) => return Err(error),
            Err(error) => {
                tracing::debug!(key = from.key, %error, "no server-side copy, streaming instead")
            }
        }
    }
    let etag = job.stream().await?;
    Ok(Transferred { etag, server_side: false })
}

/// Everything that can be the other bucket's credentials or the service's ability. What is missing to one tenant of a
/// service can be there for another; if it is missing indeed, reading it says so.
fn may_stream_instead(error: &StoreError) -> bool {
    match error {
        StoreError::Denied { .. }
        | StoreError::NotFound { .. }
        | StoreError::BucketNotFound { .. }
        | StoreError::Rejected { .. }
        // Some services give an object one ETag in listings and another here; reading can tell that from a new version.
        | StoreError::Replaced { .. } => true,
        StoreError::Setup(_) | StoreError::Unavailable { .. } | StoreError::TooLarge { .. } => false,
    }
}

struct Job<'a> {
    source: &'a dyn Store,
    destination: &'a dyn Store,
    from: &'a ObjectMeta,
    to: &'a str,
    options: &'a TransferOptions,
}

#[derive(Clone, Copy)]
enum By {
    Service,
    Stream,
}

/// One part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    number: i32,
    offset: u64,
    length: u64,
}

impl Job<'_> {
    async fn copy(&self) -> Result<String, StoreError> {
        let parts_from = self.destination.largest_copy().map(|largest| self.options.multipart_threshold.min(largest));
        if parts_from.is_none_or(|threshold| self.from.size < threshold) {
            self.options.pace.request(self.from.size).await;
            return self.destination.copy(&self.origin(), self.to).await;
        }
        self.in_parts(self.options.copy_part_size, By::Service).await
    }

    async fn stream(&self) -> Result<String, StoreError> {
        let size = self.from.size;
        if size > self.options.part_size {
            return self.in_parts(self.options.part_size, By::Stream).await;
        }
        let _held = self.options.memory.take(size).await;
        let body = self.read(Piece { number: 1, offset: 0, length: size }).await?;
        self.options.pace.request(0).await;
        self.destination.put(self.to, body).await
    }

    async fn in_parts(&self, part_size: u64, by: By) -> Result<String, StoreError> {
        self.options.pace.request(0).await;
        let id = self.destination.begin_upload(self.to).await?;
        let upload = Upload { key: self.to.to_owned(), id };
        self.options.open.enter(&upload);
        let finished = match self.write_parts(&upload, part_size, by).await {
            Ok(parts) => {
                self.options.pace.request(0).await;
                self.destination.finish_upload(&upload, parts).await
            }
            Err(error) => Err(error),
        };
        if finished.is_err() {
            give_up(self.destination, &upload).await;
        }
        self.options.open.leave(&upload);
        finished
    }

    async fn write_parts(&self, upload: &Upload, part_size: u64, by: By) -> Result<Vec<Part>, StoreError> {
        futures::stream::iter(pieces(self.from.size, part_size))
            .map(|piece| self.write_part(upload, piece, by))
            .buffer_unordered(self.options.part_concurrency.max(1))
            .try_collect()
            .await
    }

    async fn write_part(&self, upload: &Upload, piece: Piece, by: By) -> Result<Part, StoreError> {
        match by {
            By::Service => {
                let Piece { number, offset, length } = piece;
                self.options.pace.request(length).await;
                self.destination.copy_part(upload, number, &self.origin(), offset, length).await
            }
            By::Stream => {
                let _held = self.options.memory.take(piece.length).await;
                let body = self.read(piece).await?;
                self.options.pace.request(0).await;
                self.destination.upload_part(upload, piece.number, piece.offset, body).await
            }
        }
    }

    /// Reads a piece. Of the last one a byte more is asked for, so that an object that grew is noticed.
    async fn read(&self, piece: Piece) -> Result<Bytes, StoreError> {
        let last = piece.offset + piece.length == self.from.size;
        self.options.pace.request(piece.length).await;
        let length = piece.length + u64::from(last);
        let body = self.source.read_range(&self.from.key, self.version(), piece.offset, length).await?;
        if body.len() as u64 == piece.length {
            return Ok(body);
        }
        Err(StoreError::Rejected {
            place: self.source.place().to_string(),
            act: format!("read object {}", self.from.key),
            cause: format!(
                "{} bytes at {} where {} should be: it is not the {} bytes long that were listed",
                body.len(),
                piece.offset,
                piece.length,
                self.from.size
            ),
        })
    }

    fn origin(&self) -> ObjectRef {
        let (bucket, key) = (self.source.place().bucket.clone(), self.from.key.clone());
        ObjectRef { bucket, key, etag: self.version().map(str::to_owned) }
    }

    /// Some services list no ETags.
    fn version(&self) -> Option<&str> {
        Some(self.from.etag.as_str()).filter(|etag| !etag.is_empty())
    }
}

/// Cuts an object into parts of `preferred` bytes, or larger ones where there would be too many. At least one.
fn pieces(size: u64, preferred: u64) -> impl Iterator<Item = Piece> {
    let part_size = preferred.max(size.div_ceil(MOST_PARTS)).max(1);
    (0..size.div_ceil(part_size).max(1)).zip(1..).map(move |(index, number)| {
        let offset = index * part_size;
        Piece { number, offset, length: part_size.min(size - offset) }
    })
}

/// Removes every object whose key starts with `prefix` and looks again that none is left; answers how many there were.
///
/// The prefix is text: without a slash at its end it takes longer names with it. An empty one is refused.
pub async fn delete_prefix(store: &dyn Store, prefix: &str) -> Result<u64, StoreError> {
    let act = format!("delete everything below {prefix:?}");
    if prefix.is_empty() {
        let cause = "an empty prefix means the whole bucket".into();
        return Err(StoreError::Rejected { place: store.place().to_string(), act, cause });
    }
    let mut deleted = 0;
    for _ in 0..DELETE_ROUNDS {
        let keys: Vec<String> = list_all(store, prefix).await?.into_iter().map(|object| object.key).collect();
        if keys.is_empty() {
            return Ok(deleted);
        }
        store.delete(&keys).await?;
        deleted += keys.len() as u64;
    }
    if list_all(store, prefix).await?.is_empty() {
        return Ok(deleted);
    }
    let cause = "there are objects again after each deletion: somebody writes there".into();
    let tries = DELETE_ROUNDS as u32;
    Err(StoreError::Unavailable { place: store.place().to_string(), act, tries, cause })
}

/// Aborts all unfinished multipart writes whose keys start with `prefix`; answers how many. A service that cannot list
/// them has none as far as anybody can tell: that is logged and no error.
pub async fn sweep_uploads(store: &dyn Store, prefix: &str) -> Result<u64, StoreError> {
    let uploads = match store.uploads(prefix).await {
        Ok(uploads) => uploads,
        Err(error @ StoreError::Rejected { .. }) => {
            tracing::warn!(prefix, %error, "unfinished multipart writes cannot be looked for");
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    for upload in &uploads {
        store.abort_upload(upload).await?;
    }
    Ok(uploads.len() as u64)
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
