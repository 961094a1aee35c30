//! An artifact in its bucket: reading what a backup is, and proving that it is whole.
//!
//! Our own artifacts are proven by one listing against `operator/objects.jsonl.zst`. Those of the Go tool carry no tags, so
//! every object is read and looked into: a flipped bit would kill the Milvus that is asked to import it (real-milvus.md 6).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::copy::{Copy, is_digest};
use super::error::{EngineError, named};
use crate::manifest::binlog::{self, Expected};
use crate::manifest::layout::{self, MetaFile, OperatorFile};
use crate::manifest::objects::decode_objects;
use crate::manifest::operator_manifest::digest;
use crate::manifest::{BackupInfo, LogKey, LogKind, ObjectRecord, OperatorManifest, decode_full, join_levels};
use crate::storage::{ObjectMeta, Store, StoreError, list_all};

/// Largest decompressed object list: 4 million objects of 256 bytes a line.
const OBJECTS_LIMIT: u64 = 1 << 30;
/// Objects read at once while their content is looked into.
const READERS: usize = 8;
/// Damaged objects named in a message.
const SHOWN: usize = 5;

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
    /// Every object by ours.
    pub records: Vec<ObjectRecord>,
}

/// A whole log with its path and rows, or what is wrong with it.
type Verdict = Result<(LogKey, String, u64), String>;

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

    /// An object, none where it does not exist.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, key: &str) -> Result<Option<bytes::Bytes>, EngineError> {
        match self.store.get(key).await {
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
        let full = self.find(&self.keys.meta(MetaFile::Full)).await?;
        let info = match (&full, &manifest) {
            (Some(body), Some((manifest, _))) => {
                manifest.check_full_meta(body)?;
                decode_full(body)?
            }
            (Some(body), None) => decode_full(body)?,
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

    /// Reads all metadata and checks it against itself.
    ///
    /// # Errors
    /// As [`Artifact::describe`]; an object list that is not the one of the manifest.
    pub async fn read(&self) -> Result<Contents, EngineError> {
        let (info, manifest) = self.describe().await?;
        let records = match &manifest {
            None => Vec::new(),
            Some((manifest, _)) => {
                let body = self.store.get(&self.keys.operator(OperatorFile::Objects)).await?;
                manifest.check_objects(&body)?;
                decode_objects(body, OBJECTS_LIMIT)?
            }
        };
        Ok(Contents { info, manifest, records })
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
        let collection = self.store.get(&self.keys.meta(MetaFile::Collection)).await?;
        let partition = self.store.get(&self.keys.meta(MetaFile::Partition)).await?;
        let segment = self.store.get(&self.keys.meta(MetaFile::Segment)).await?;
        Ok(join_levels(&backup, &collection, &partition, &segment)?)
    }

    /// Proves every object of the selected collections before anything is done with it.
    ///
    /// # Errors
    /// [`EngineError::Damaged`], naming what is missing, of another size, replaced or damaged inside.
    pub async fn prove(
        &self,
        contents: &Contents,
        collections: &HashSet<i64>,
        listed: &[ObjectMeta],
    ) -> Result<(), EngineError> {
        let expected = self.wanted(contents, |collection| collections.contains(&collection));
        let mut damage = self.intruders(&expected, listed);
        let listed: HashMap<&str, &ObjectMeta> = listed.iter().map(|object| (object.key.as_str(), object)).collect();
        let mut suspects = Vec::new();
        for object in &expected {
            let key = self.keys.key(&object.key);
            match (listed.get(key.as_str()), &object.etag) {
                (None, _) => damage.push(format!("{} is missing", object.key)),
                (Some(found), _) if found.size != object.size => {
                    damage.push(format!("{} has {} bytes instead of {}", object.key, found.size, object.size));
                }
                (Some(found), Some(etag)) if found.etag == *etag => {}
                (Some(found), Some(etag)) if is_digest(etag) && is_digest(&found.etag) => {
                    damage.push(format!("{} was replaced: its content is not what was backed up", object.key));
                }
                (Some(_), _) => suspects.push(object.key.clone()),
            }
        }
        let inspected = self.inspect(&suspects).await?;
        damage.extend(match contents.manifest {
            Some(_) => inspected.damage,
            None => inspected.of_whole_segments(),
        });
        if damage.is_empty() {
            return Ok(());
        }
        Err(EngineError::Damaged(format!(
            "backup {} is damaged, nothing was restored: {}",
            self.keys.name(),
            named(&damage, SHOWN)
        )))
    }

    /// All objects below `binlogs/`.
    ///
    /// # Errors
    /// The store's.
    pub async fn listed(&self) -> Result<Vec<ObjectMeta>, EngineError> {
        Ok(list_all(self.store(), &self.keys.binlogs()).await?)
    }

    /// Partitions in whose directories lie objects that are no part of the backup: an attempt that was stopped for long
    /// and woke up can leave some. An import of the directory would take them along.
    pub fn strays(&self, contents: &Contents, listed: &[ObjectMeta]) -> BTreeSet<i64> {
        let wanted = self.wanted(contents, |_| true);
        let wanted: HashSet<&str> = wanted.iter().map(|object| object.key.as_str()).collect();
        let paths = listed.iter().filter_map(|object| self.keys.relative(&object.key));
        paths
            .filter(|path| !wanted.contains(path))
            .filter_map(|path| Some(layout::parse_log_path(path)?.0.partition))
            .collect()
    }

    /// Foreign objects in the directory of a segment that is wanted: they cannot be left out of its import.
    fn intruders(&self, wanted: &[Wanted], listed: &[ObjectMeta]) -> Vec<String> {
        let keys: HashSet<&str> = wanted.iter().map(|object| object.key.as_str()).collect();
        let segment = |path: &str| layout::parse_log_path(path).map(|(key, _)| key.segment);
        let segments: HashSet<i64> = wanted.iter().filter_map(|object| segment(&object.key)).collect();
        let paths = listed.iter().filter_map(|object| self.keys.relative(&object.key));
        paths
            .filter(|path| !keys.contains(path) && segment(path).is_some_and(|segment| segments.contains(&segment)))
            .map(|path| format!("{path} is no part of it: remove it"))
            .collect()
    }

    fn wanted(&self, contents: &Contents, picked: impl Fn(i64) -> bool) -> Vec<Wanted> {
        match &contents.manifest {
            Some(_) => recorded(contents, picked),
            None => described(&contents.info, &self.keys, picked),
        }
    }

    /// Reads objects and looks inside; answers what is wrong with which.
    ///
    /// # Errors
    /// The store's.
    pub async fn inspect(&self, paths: &[String]) -> Result<Inspected, EngineError> {
        let found: Vec<Option<Verdict>> = stream::iter(paths)
            .map(|path| async move {
                let Some((key, _)) = layout::parse_log_path(path) else {
                    return Ok(None);
                };
                let body = self.store.get(&self.keys.key(path)).await?;
                Ok::<_, EngineError>(Some(match binlog::inspect(&body, &Expected::from(&key)) {
                    Ok(inspection) => Ok((key, path.clone(), inspection.rows)),
                    Err(error) => Err(format!("{path}: {error}")),
                }))
            })
            .buffer_unordered(READERS)
            .try_collect()
            .await?;
        let mut inspected = Inspected::default();
        for outcome in found.into_iter().flatten() {
            match outcome {
                Ok(rows) => inspected.rows.push(rows),
                Err(damage) => inspected.damage.push(damage),
            }
        }
        inspected.damage.sort();
        Ok(inspected)
    }

    /// Removes objects of segments that an earlier attempt copied and compaction has replaced since.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_strays(&self, copies: &[Copy], there: &[ObjectMeta]) -> Result<(), EngineError> {
        let wanted: HashSet<&str> = copies.iter().map(|copy| copy.to.as_str()).collect();
        let strays: Vec<String> =
            there.iter().filter(|object| !wanted.contains(object.key.as_str())).map(|o| o.key.clone()).collect();
        if !strays.is_empty() {
            tracing::info!(objects = strays.len(), "removing copies of segments that were compacted since");
            self.store.delete(&strays).await?;
        }
        Ok(())
    }
}

/// What a look inside objects has found.
#[derive(Debug, Default)]
pub struct Inspected {
    /// What is wrong with which object.
    pub damage: Vec<String>,
    /// Rows of the sound ones.
    rows: Vec<(LogKey, String, u64)>,
}

impl Inspected {
    /// The damage, where whole segments were looked at: a field that has not the rows of the others belongs to another
    /// state of its segment. Restored, its values would stand beside the wrong keys.
    pub fn of_whole_segments(self) -> Vec<String> {
        if !self.damage.is_empty() {
            return self.damage;
        }
        let mut segments: BTreeMap<i64, BTreeMap<i64, (u64, &str)>> = BTreeMap::new();
        for (key, path, rows) in &self.rows {
            if let Some(field) = key.field {
                let (sum, _) = segments.entry(key.segment).or_default().entry(field).or_insert((0, path));
                *sum = sum.saturating_add(*rows);
            }
        }
        let mut uneven = Vec::new();
        for mut fields in segments.into_values() {
            let Some((first, (expected, _))) = fields.pop_first() else { continue };
            uneven.extend(fields.into_iter().filter(|(_, (rows, _))| *rows != expected).map(
                |(field, (rows, path))| {
                    format!("{path}: field {field} of its segment has {rows} rows, field {first} has {expected}")
                },
            ));
        }
        uneven
    }
}

/// An object that must be there.
struct Wanted {
    /// Path inside the artifact.
    key: String,
    size: u64,
    /// None where no tag was recorded.
    etag: Option<String>,
}

fn recorded(contents: &Contents, picked: impl Fn(i64) -> bool) -> Vec<Wanted> {
    contents
        .records
        .iter()
        .filter(|record| layout::parse_log_path(&record.key).is_some_and(|(key, _)| picked(key.collection)))
        .map(|record| Wanted { key: record.key.clone(), size: record.size, etag: Some(record.etag.clone()) })
        .collect()
}

/// What the Go tool's metadata names: paths are built from ids, never from the recorded path (milvus-backup.md 11.1).
fn described(info: &BackupInfo, keys: &layout::Artifact, picked: impl Fn(i64) -> bool) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for segment in info.segments().filter(|segment| picked(segment.collection_id)) {
        let logs = segment.insert_logs().map(|(field, log)| (Some(field), log));
        for (field, log) in logs.chain(segment.delta_logs().map(|log| (None, log))) {
            let Some(id) = log.id() else { continue };
            let key = LogKey {
                collection: segment.collection_id,
                partition: segment.partition_id,
                segment: segment.segment_id,
                field,
                log: id,
            };
            debug_assert!(key.kind() == LogKind::Insert || field.is_none());
            let full = keys.log(&key, segment.group());
            let path = keys.relative(&full).map(str::to_owned).unwrap_or(full);
            wanted.push(Wanted { key: path, size: u64::try_from(log.log_size).unwrap_or_default(), etag: None });
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(segment: i64, field: Option<i64>, log: i64, rows: u64) -> (LogKey, String, u64) {
        (LogKey { collection: 1, partition: 2, segment, field, log }, format!("log {log}"), rows)
    }

    #[test]
    fn a_field_with_other_rows_than_the_rest_of_its_segment_is_named() {
        let mut inspected = Inspected {
            damage: vec![],
            rows: vec![rows(7, Some(0), 1, 5), rows(7, Some(100), 2, 2), rows(7, Some(100), 3, 2), rows(7, None, 4, 1)],
        };
        let said = inspected.of_whole_segments();
        assert_eq!(said, ["log 2: field 100 of its segment has 4 rows, field 0 has 5"]);
        inspected = Inspected { damage: vec![], rows: vec![rows(7, Some(0), 1, 5), rows(8, Some(0), 2, 6)] };
        assert_eq!(inspected.of_whole_segments(), Vec::<String>::new());
    }
}
