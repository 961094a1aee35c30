//! What can go wrong with a store, by what the caller does about it.

use super::Place;
use crate::exit::Class;

/// A failed call to a store. Messages name bucket and key, never a credential or a signed URL.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object is not there.
    #[error("object {key} does not exist in {place}")]
    NotFound {
        /// Key.
        key: String,
        /// The bucket.
        place: String,
    },
    /// The object is not the one that was listed any more.
    #[error("object {key} in {place} was replaced while it was read: another attempt lists it anew")]
    Replaced {
        /// Key.
        key: String,
        /// The bucket.
        place: String,
    },
    /// The bucket is not there.
    #[error("{place} does not exist: create it or correct its name")]
    BucketNotFound {
        /// The bucket.
        place: String,
    },
    /// Keys are wrong or may not do this.
    #[error("{place} refused to {act} ({code}): check the credentials and their permissions")]
    Denied {
        /// The bucket.
        place: String,
        /// What was tried.
        act: String,
        /// The store's error code.
        code: String,
    },
    /// The object is larger than what is read of it into memory.
    #[error(
        "object {key} in {place} has at least {size} bytes and is not read, because at most {most} are held in memory: it is \
         damaged, or another object of that name"
    )]
    TooLarge {
        /// Key.
        key: String,
        /// The bucket.
        place: String,
        /// Bytes it has, as far as is known.
        size: u64,
        /// Bytes it may have.
        most: u64,
    },
    /// The client could not be made: a missing file, a bad endpoint.
    #[error("cannot use the object store: {0}")]
    Setup(String),
    /// Throttled, unreachable, broken off; retries are spent.
    #[error("could not {act} in {place} after {tries} tries: {cause}")]
    Unavailable {
        /// The bucket.
        place: String,
        /// What was tried.
        act: String,
        /// How often.
        tries: u32,
        /// The last error.
        cause: String,
    },
    /// The store answered something that makes no sense to retry.
    #[error("{place} could not {act}: {cause}")]
    Rejected {
        /// The bucket.
        place: String,
        /// What was tried.
        act: String,
        /// The error.
        cause: String,
    },
}

impl StoreError {
    /// That an object of so many bytes may be read.
    pub(super) fn unless_within(most: u64, size: u64, key: &str, place: &Place) -> Result<(), StoreError> {
        match size <= most {
            true => Ok(()),
            false => Err(StoreError::TooLarge { key: key.into(), place: place.to_string(), size, most }),
        }
    }

    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            StoreError::NotFound { .. } | StoreError::TooLarge { .. } => Class::Data,
            StoreError::BucketNotFound { .. } | StoreError::Denied { .. } | StoreError::Setup(_) => {
                Class::Configuration
            }
            StoreError::Unavailable { .. } | StoreError::Replaced { .. } => Class::Retry,
            StoreError::Rejected { .. } => Class::Data,
        }
    }
}
