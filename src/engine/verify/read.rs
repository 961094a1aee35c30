//! Reads one object: its hash, and what is inside.

use md5::{Digest, Md5};

use crate::engine::artifact::Artifact;
use crate::engine::copy::is_digest;
use crate::engine::error::EngineError;
use crate::engine::inventory::Named;
use crate::manifest::binlog::{self, Expected};
use crate::manifest::layout::MetaFile;
use crate::storage::StoreError;

/// Bytes held of an object that is only hashed.
const PIECE: u64 = 4 << 20;

/// What reading an object has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Bytes read.
    pub bytes: u64,
    /// Whether its MD5 is its ETag; none where the ETag is no MD5.
    pub matches: Option<bool>,
    /// Rows in it, or what is wrong inside; none where nobody but a server can look into it.
    pub inside: Option<Result<u64, String>>,
}

/// Reads a log and looks inside; none where it is gone.
///
/// # Errors
/// The store's.
pub async fn log(artifact: &Artifact, log: &Named, etag: &str) -> Result<Option<Look>, EngineError> {
    let body = match artifact.store().get(&artifact.keys.log(&log.key, log.group)).await {
        Err(StoreError::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let matches = is_digest(etag).then(|| is_md5(etag, Md5::new_with_prefix(&body)));
    let found = binlog::inspect(&body, &Expected::from(&log.key));
    let inside = Some(found.map(|inside| inside.rows).map_err(|error| error.to_string()));
    Ok(Some(Look { bytes: body.len() as u64, matches, inside }))
}

/// Reads an object of `size` bytes piece by piece, for its hash only; none where it is gone.
///
/// # Errors
/// The store's.
pub async fn opaque(artifact: &Artifact, key: &str, size: u64, etag: &str) -> Result<Option<Look>, EngineError> {
    let (mut hash, mut bytes) = (Md5::new(), 0);
    while bytes < size {
        let piece = match artifact.store().get_range(key, bytes, PIECE.min(size - bytes)).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        if piece.is_empty() {
            break;
        }
        hash.update(&piece);
        bytes += piece.len() as u64;
    }
    Ok(Some(Look { bytes, matches: is_digest(etag).then(|| is_md5(etag, hash)), inside: None }))
}

/// Whether this store's tags are digests, by a small file of the metadata. They are none where the store encrypts with a key of
/// its own (see `tags`); false also says that nobody knows.
///
/// # Errors
/// The store's.
pub async fn tags_are_digests(artifact: &Artifact) -> Result<bool, EngineError> {
    let key = artifact.keys.meta(MetaFile::Backup);
    let page = artifact.store().list_page(&key, None).await?;
    match page.objects.into_iter().find(|object| object.key == key) {
        Some(object) if is_digest(&object.etag) => {
            let look = opaque(artifact, &key, object.size, &object.etag).await?;
            Ok(look.is_some_and(|look| look.matches == Some(true)))
        }
        _ => Ok(false),
    }
}

fn is_md5(etag: &str, hash: Md5) -> bool {
    let found = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    etag.eq_ignore_ascii_case(&found)
}
