//! What every store promises, as checks that run against any of them: in memory, in process, on a real service.
//!
//! For tests. A service that is known to break a promise is run with that promise in `missing`; then the check must fail, so
//! that the list stays true.

use anyhow::{Context, Result};

use super::contract_checks::{Desk, bucket_not_found};
use super::{Store, delete_prefix, sweep_uploads};

/// What the checks run on.
#[derive(Debug, Clone)]
pub struct Fixture<'a> {
    /// The store in question.
    pub store: &'a dyn Store,
    /// Another bucket of the same service.
    pub twin: &'a dyn Store,
    /// A bucket of another service, known to be good.
    pub foreign: &'a dyn Store,
    /// A bucket of the same service that does not exist.
    pub absent: Option<&'a dyn Store>,
    /// All keys are below it, in all buckets; must not be empty.
    pub prefix: String,
    /// Bytes of the smallest part of a multipart write that the service takes (5 MiB by the book).
    pub smallest_part: usize,
}

/// A promise of [`Store`], or of what is built on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// What was written is read, whole.
    WholeObjects,
    /// An object of more bytes than the reader allows is [`StoreError::TooLarge`].
    ///
    /// [`StoreError::TooLarge`]: super::StoreError::TooLarge
    BoundedReading,
    /// Ranges are read; behind the end is nothing.
    Ranges,
    /// Objects without content are objects.
    EmptyObjects,
    /// What is not there is [`StoreError::NotFound`].
    NotFound,
    /// Reading from a bucket that is not there is [`StoreError::BucketNotFound`]. Writing is not checked: some services
    /// make the bucket.
    BucketNotFound,
    /// Writing again replaces content and ETag.
    Overwriting,
    /// A listing knows size and ETag of what was written.
    ListedMeta,
    /// A prefix may end inside a name.
    PrefixInsideName,
    /// 1,001 objects come in two pages, ascending.
    Paging,
    /// Names of which one is the beginning of another come in byte order all the same.
    ByteOrder,
    /// Such names are all listed, also where a page ends between them.
    CompletePaging,
    /// The names one level below a prefix.
    Folders,
    /// Names with spaces, signs, percent and other scripts.
    OddNames,
    /// The keys `a` and `a/b` at a time.
    NameAndBelow,
    /// A write only where nothing is.
    PutIfAbsent,
    /// A write only over a known ETag.
    PutIfMatches,
    /// A copy inside the bucket.
    CopyWithin,
    /// A copy from another bucket.
    CopyAcross,
    /// A range of the version asked for, and of no other.
    OneVersion,
    /// A write in parts.
    Multipart,
    /// The ETag of such a write tells the number of parts.
    PartsCounted,
    /// Parts copied by the service.
    CopyPart,
    /// A write in parts that is given up leaves nothing.
    Abort,
    /// Giving up a write that is not there is fine.
    AbortUnknown,
    /// Unfinished writes are listed.
    ListUploads,
    /// 1,001 objects are removed.
    BatchDelete,
    /// Removing what is not there is fine.
    DeleteMissing,
    /// Objects move between buckets of the service by its own copy.
    TransferByService,
    /// Objects move between services through memory, both ways.
    TransferByStream,
    /// A prefix is emptied.
    DeletePrefix,
}

use Promise::*;

/// Every promise.
pub const ALL: &[Promise] = &[
    WholeObjects,
    BoundedReading,
    Ranges,
    EmptyObjects,
    NotFound,
    BucketNotFound,
    Overwriting,
    ListedMeta,
    PrefixInsideName,
    Paging,
    ByteOrder,
    CompletePaging,
    Folders,
    OddNames,
    NameAndBelow,
    PutIfAbsent,
    PutIfMatches,
    CopyWithin,
    CopyAcross,
    OneVersion,
    Multipart,
    PartsCounted,
    CopyPart,
    Abort,
    AbortUnknown,
    ListUploads,
    BatchDelete,
    DeleteMissing,
    TransferByService,
    TransferByStream,
    DeletePrefix,
];

/// Checks every promise; those in `missing` must be broken. The error names all that are not as they should be.
pub async fn prove(fixture: &Fixture<'_>, missing: &[Promise]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for promise in ALL {
        match (check(fixture, *promise).await, missing.contains(promise)) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => wrong.push(format!("{promise:?} is kept: take it from the missing ones")),
            (Err(error), false) => wrong.push(format!("{promise:?}: {error:#}")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Checks one promise, and removes what that left behind.
pub async fn check(fixture: &Fixture<'_>, promise: Promise) -> Result<()> {
    let Fixture { store, twin, foreign, absent, prefix, smallest_part } = fixture;
    let at = Desk { store: *store, prefix: format!("{prefix}/{promise:?}/"), part: *smallest_part };
    let result = match promise {
        WholeObjects => at.whole_objects().await,
        BoundedReading => at.bounded_reading().await,
        Ranges => at.ranges().await,
        EmptyObjects => at.empty_objects().await,
        NotFound => at.not_found().await,
        BucketNotFound => bucket_not_found(*absent).await,
        Overwriting => at.overwriting().await,
        ListedMeta => at.listed_meta().await,
        PrefixInsideName => at.prefix_inside_name().await,
        Paging => at.paging().await,
        ByteOrder => at.byte_order().await,
        CompletePaging => at.complete_paging().await,
        Folders => at.folders().await,
        OddNames => at.odd_names().await,
        NameAndBelow => at.name_and_below().await,
        PutIfAbsent => at.put_if_absent().await,
        PutIfMatches => at.put_if_matches().await,
        CopyWithin => at.copy_from(*store).await,
        CopyAcross => at.copy_from(*twin).await,
        OneVersion => at.one_version().await,
        Multipart => at.multipart().await,
        PartsCounted => at.parts_counted().await,
        CopyPart => at.copy_part(*twin).await,
        Abort => at.abort().await,
        AbortUnknown => at.abort_unknown().await,
        ListUploads => at.list_uploads().await,
        BatchDelete => at.batch_delete().await,
        DeleteMissing => at.delete_missing().await,
        TransferByService => at.transfer_by_service(*twin).await,
        TransferByStream => at.transfer_by_stream(*foreign).await,
        DeletePrefix => at.delete_prefix().await,
    };
    for store in [store, twin, foreign] {
        sweep_uploads(*store, &at.prefix).await?;
        delete_prefix(*store, &at.prefix).await.context("cleaning up")?;
    }
    result
}
