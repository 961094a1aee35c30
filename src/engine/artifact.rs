//! An artifact in its bucket: reading what a backup is. `proof` tells whether it is whole.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::error::EngineError;
use crate::manifest::layout::{self, MetaFile, OperatorFile};
use crate::manifest::objects::ObjectsReader;
use crate::manifest::operator_manifest::{Digested, digest};
use crate::manifest::{BackupInfo, ManifestError, OperatorManifest, decode_full, join_levels, read_full};
use crate::storage::pieces::{PIECE, PieceReader, read_pieces};
use crate::storage::{Store, StoreError};

/// Largest decompressed object list: 4 million objects of 256 bytes a line.
const OBJECTS_LIMIT: u64 = 1 << 30;

/// Most bytes of a lock, a ledger, a manifest, or what is said of a backup as a whole. The longest is the ledger of a restore,
/// which notes collections and import jobs: 100,000 in 600 bytes each.
pub const BRIEF: u64 = 64 << 20;
/// Most bytes of metadata that is read whole. Of a million objects `segment_meta.json` has 200 to 250 MB, the list of
/// objects 30 MB as it is packed.
const WHOLE: u64 = 512 << 20;
/// Most bytes of `full_meta.json`, which is understood as it is read: 4 million objects, as [`OBJECTS_LIMIT`].
const FULL: u64 = 2 << 30;

/// An artifact by its place.
#[derive(Debug, Clone)]
pub struct Artifact {
    store: Arc<dyn Store>,
    /// Its keys.
    pub keys: layout::Artifact,
}

/// The metadata of an artifact.
#[derive(Debug, Clone)]
pub struct Contents {
    /// What the Go tool's metadata says.
    pub info: BackupInfo,
    /// Ours, with the digest of its bytes; none for the Go tool's artifacts.
    pub manifest: Option<(OperatorManifest, String)>,
    /// `operator/objects.jsonl.zst` as stored, which the manifest vouches for.
    pub objects: Option<Bytes>,
}

impl Contents {
    /// Every object by our own list; none for the Go tool's artifacts.
    ///
    /// # Errors
    /// A list that cannot be unpacked.
    pub fn records(&self) -> Result<Option<ObjectsReader>, ManifestError> {
        self.objects.clone().map(|body| ObjectsReader::new(body, OBJECTS_LIMIT)).transpose()
    }
}

impl Artifact {
    /// The artifact `name` below `prefix`.
    ///
    /// # Errors
    /// A name the format does not allow.
    pub fn at(store: Arc<dyn Store>, prefix: &str, name: &str) -> Result<Artifact, EngineError> {
        layout::validate_artifact_name(name)?;
        Ok(Artifact { store, keys: layout::Artifact::new(prefix, name)? })
    }

    /// Its bucket.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// A [brief](BRIEF) object, none where it does not exist.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, key: &str) -> Result<Option<bytes::Bytes>, EngineError> {
        match self.store.get_within(key, BRIEF).await {
            Ok(body) => Ok(Some(body)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Our manifest with the digest of its bytes, none where the Go tool made the artifact or the run never ended.
    ///
    /// # Errors
    /// The store's, or a manifest of a newer version.
    pub async fn manifest(&self) -> Result<Option<(OperatorManifest, String)>, EngineError> {
        match self.find(&self.keys.operator(OperatorFile::Manifest)).await? {
            Some(body) => Ok(Some((OperatorManifest::decode(&body)?, digest(&body)))),
            None => Ok(None),
        }
    }

    /// What the Go tool's metadata says, checked against our manifest where there is one.
    ///
    /// # Errors
    /// Nothing there, a run that never ended, damaged metadata, an unknown version.
    pub async fn describe(&self) -> Result<(BackupInfo, Option<(OperatorManifest, String)>), EngineError> {
        let manifest = self.manifest().await?;
        if manifest.is_none() && self.find(&self.keys.operator(OperatorFile::Lock)).await?.is_some() {
            return Err(EngineError::Damaged(format!(
                "{} in {} was never finished: it has no operator/manifest.json; restore another backup",
                self.keys,
                self.store.place()
            )));
        }
        let info = match (self.full(manifest.as_ref().map(|(manifest, _)| manifest)).await?, &manifest) {
            (Some(info), _) => info,
            (None, Some(_)) => {
                return Err(EngineError::Damaged(format!(
                    "{} is missing in {}",
                    self.keys.meta(MetaFile::Full),
                    self.store.place()
                )));
            }
            (None, None) => self.join().await?,
        };
        Ok((info, manifest))
    }

    /// `full_meta.json`, none where it does not exist. A long one is understood as it is read.
    async fn full(&self, manifest: Option<&OperatorManifest>) -> Result<Option<BackupInfo>, EngineError> {
        let key = self.keys.meta(MetaFile::Full);
        let first = match self.store.get_range(&key, 0, PIECE as u64).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let check = |digest: String| manifest.map_or(Ok(()), |manifest| manifest.check_full_meta(digest));
        if first.len() < PIECE {
            check(digest(&first))?;
            return Ok(Some(decode_full(&first)?));
        }
        let (info, digest) = read_pieces(self.store(), &key, first, FULL, read_digested).await?;
        check(digest)?;
        match info {
            // As old backups have it; or damage, which is told better by the whole.
            Err(ManifestError::Json { .. }) => Ok(Some(decode_full(&self.store.get_within(&key, WHOLE).await?)?)),
            other => Ok(Some(other?)),
        }
    }

    /// Reads all metadata and checks it against itself.
    ///
    /// # Errors
    /// As [`Artifact::describe`]; an object list that is not the one of the manifest.
    pub async fn read(&self) -> Result<Contents, EngineError> {
        let (info, manifest) = self.describe().await?;
        let objects = match &manifest {
            None => None,
            Some((manifest, _)) => {
                let body = self.store.get_within(&self.keys.operator(OperatorFile::Objects), WHOLE).await?;
                manifest.check_objects(&body)?;
                Some(body)
            }
        };
        Ok(Contents { info, manifest, objects })
    }

    /// Metadata from the four level files, for artifacts whose `full_meta.json` is gone.
    async fn join(&self) -> Result<BackupInfo, EngineError> {
        let backup = match self.find(&self.keys.meta(MetaFile::Backup)).await? {
            Some(body) => body,
            None => {
                return Err(EngineError::Setup {
                    reason: "ArtifactMissing",
                    message: format!(
                        "there is no backup {} in {}: correct the name, the bucket or the prefix",
                        self.keys,
                        self.store.place()
                    ),
                });
            }
        };
        let collection = self.store.get_within(&self.keys.meta(MetaFile::Collection), WHOLE).await?;
        let partition = self.store.get_within(&self.keys.meta(MetaFile::Partition), WHOLE).await?;
        let segment = self.store.get_within(&self.keys.meta(MetaFile::Segment), WHOLE).await?;
        Ok(join_levels(&backup, &collection, &partition, &segment)?)
    }
}

/// The metadata with the digest of all bytes.
fn read_digested(reader: &mut PieceReader) -> (Result<BackupInfo, ManifestError>, String) {
    let mut reader = Digested::new(reader);
    let info = read_full(&mut reader);
    // What is damaged has a digest, too. Reading pieces from memory does not fail.
    let _ = io::copy(&mut reader, &mut io::sink());
    (info, reader.digest())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::exit::Class;
    use crate::manifest::{CollectionBackupInfo, encode_meta};
    use crate::storage::FolderStore;
    use crate::storage::memory::MemoryService;

    /// Metadata of more than one piece.
    fn long() -> BackupInfo {
        let collection = CollectionBackupInfo { db_name: "default".into(), size: 7, ..Default::default() };
        let milvus_version = "v".repeat(PIECE + 10);
        BackupInfo { collection_backups: vec![collection], milvus_version, ..BackupInfo::default() }
    }

    async fn artifact(full: &[u8], manifest: Option<String>) -> Artifact {
        let store = MemoryService::new("s").bucket("b");
        let artifact = Artifact::at(Arc::new(store), "p", "nightly").unwrap();
        artifact.store().put(&artifact.keys.meta(MetaFile::Full), full.to_vec().into()).await.unwrap();
        if let Some(full_meta_sha256) = manifest {
            let manifest = serde_json::json!({
                "formatVersion": 1, "artifact": "nightly", "engineVersion": "", "milvusVersion": "",
                "created": "2026-11-21T08:00:00Z", "source": {}, "fullMetaSha256": full_meta_sha256, "objectsSha256": "",
                "totals": {"objects": 0, "bytes": 0, "rows": 0, "collections": 0, "databases": 0},
            });
            let key = artifact.keys.operator(OperatorFile::Manifest);
            artifact.store().put(&key, manifest.to_string().into()).await.unwrap();
        }
        artifact
    }

    /// In a directory, where a file can be long without taking room.
    fn with_a_long(file: &str, size: u64) -> (tempfile::TempDir, Artifact) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p/nightly").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(size).unwrap();
        let store = FolderStore::open(folder.path()).unwrap();
        (folder, Artifact::at(Arc::new(store), "p", "nightly").unwrap())
    }

    #[rstest]
    #[case("operator/manifest.json", BRIEF)]
    #[case("operator/lock.json", BRIEF)]
    #[case("meta/backup_meta.json", BRIEF)]
    #[case("meta/segment_meta.json", WHOLE)]
    #[tokio::test]
    async fn metadata_that_could_fill_the_memory_is_refused_by_name(#[case] file: &str, #[case] most: u64) {
        let (_folder, artifact) = with_a_long(file, most + 1);
        if most == WHOLE {
            for meta in [MetaFile::Backup, MetaFile::Collection, MetaFile::Partition] {
                artifact.store().put(&artifact.keys.meta(meta), Bytes::from_static(b"{}")).await.unwrap();
            }
        }
        let error = artifact.describe().await.unwrap_err();
        assert_eq!((error.class(), error.reason()), (Class::Data, "Damaged"), "{error}");
        let said = error.to_string();
        assert!(said.contains(&format!("object p/nightly/{file} ")), "{said}");
        assert!(said.contains(&(most + 1).to_string()) && said.contains(&format!("at most {most} ")), "{said}");
    }

    #[tokio::test]
    async fn metadata_of_several_pieces_is_read_whole_and_held_against_its_digest() {
        let [.., (_, mut full)] = encode_meta(&long()).unwrap();
        let (info, _) = artifact(&full, None).await.describe().await.unwrap();
        assert_eq!(info, long());
        let (info, _) = artifact(&full, Some(digest(&full))).await.describe().await.unwrap();
        assert_eq!(info, long());
        let good = digest(&full);
        for (at, byte) in [(PIECE, b'w'), (0, b'[')] {
            let was = std::mem::replace(&mut full[at], byte);
            let error = artifact(&full, Some(good.clone())).await.describe().await.unwrap_err();
            assert!(error.to_string().contains("was changed after the backup"), "{error}");
            full[at] = was;
        }
        full.pop();
        let error = artifact(&full, None).await.describe().await.unwrap_err();
        assert!(error.to_string().starts_with("full_meta.json is damaged"), "{error}");
    }

    #[tokio::test]
    async fn long_metadata_may_have_nulls_as_short_metadata_may() {
        let [.., (_, full)] = encode_meta(&long()).unwrap();
        let text = String::from_utf8(full).unwrap().replacen(r#""size":7"#, r#""size":7,"aliases":null"#, 1);
        let (info, _) = artifact(text.as_bytes(), None).await.describe().await.unwrap();
        assert_eq!(info, long());
    }
}
