//! Reads one object: its hash, and what is inside.

use md5::{Digest, Md5};

use crate::engine::artifact::Artifact;
use crate::engine::copy::is_digest;
use crate::engine::error::EngineError;
use crate::engine::inventory::Named;
use crate::engine::reader::Reader;
use crate::manifest::binlog::{self, Expected};
use crate::manifest::layout::MetaFile;
use crate::storage::StoreError;

/// Bytes held of an object that is only hashed.
const PIECE: u64 = 4 << 20;

/// The objects of an artifact, and how they are read.
#[derive(Debug, Clone, Copy)]
pub struct Objects<'o> {
    /// The artifact.
    pub artifact: &'o Artifact,
    /// Bounds all reads.
    pub reader: &'o Reader,
}

/// What reading an object has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes it has; none of them are read where they are more than are listed.
    pub found: u64,
    /// Whether its MD5 is its ETag; none where the ETag is no MD5.
    pub matches: Option<bool>,
    /// Rows in it, or what is wrong inside; none where nobody but a server can look into it.
    pub inside: Option<Result<u64, String>>,
}

impl Objects<'_> {
    /// Reads a log and looks inside; none where it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn log(self, log: &Named, etag: &str) -> Result<Option<Look>, EngineError> {
        let key = self.artifact.keys.log(&log.key, log.group);
        let body = match self.reader.whole(self.artifact.store(), &key, log.size).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(StoreError::TooLarge { size, .. }) => return Ok(Some(Look { found: size, ..Look::default() })),
            other => other?,
        };
        let matches = is_digest(etag).then(|| is_md5(etag, Md5::new_with_prefix(&*body)));
        let inside = binlog::inspect(&body, &Expected::from(&log.key));
        let inside = Some(inside.map(|inside| inside.rows).map_err(|error| error.to_string()));
        let bytes = body.len() as u64;
        Ok(Some(Look { bytes, found: bytes, matches, inside }))
    }

    /// Reads an object of `size` bytes piece by piece, for its hash only; none where it is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn opaque(self, key: &str, size: u64, etag: &str) -> Result<Option<Look>, EngineError> {
        let (mut hash, mut bytes) = (Md5::new(), 0);
        while bytes < size {
            let piece = match self.reader.piece(self.artifact.store(), key, bytes, PIECE.min(size - bytes)).await {
                Err(StoreError::NotFound { .. }) => return Ok(None),
                other => other?,
            };
            if piece.is_empty() {
                break;
            }
            hash.update(&*piece);
            bytes += piece.len() as u64;
        }
        let matches = is_digest(etag).then(|| is_md5(etag, hash));
        Ok(Some(Look { bytes, found: bytes, matches, inside: None }))
    }

    /// Whether this store's tags are digests, by a small file of the metadata. They are none where the store encrypts with a key
    /// of its own (see `tags`); false also says that nobody knows.
    ///
    /// # Errors
    /// The store's.
    pub async fn tags_are_digests(self) -> Result<bool, EngineError> {
        let key = self.artifact.keys.meta(MetaFile::Backup);
        let page = self.artifact.store().list_page(&key, None).await?;
        match page.objects.into_iter().find(|object| object.key == key) {
            Some(object) if is_digest(&object.etag) => {
                let look = self.opaque(&key, object.size, &object.etag).await?;
                Ok(look.is_some_and(|look| look.matches == Some(true)))
            }
            _ => Ok(false),
        }
    }
}

fn is_md5(etag: &str, hash: Md5) -> bool {
    let found = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    etag.eq_ignore_ascii_case(&found)
}
