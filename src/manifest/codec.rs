//! The five metadata files: written as the Go tool writes them, read with its tolerances.
//!
//! Source: milvus-backup.md 3.2, 3.4 and 11.1.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::backup_info::{ALL_PARTITIONS, BackupFormat, BackupInfo, CollectionBackupInfo, PartitionBackupInfo};
use super::error::ManifestError;
use super::go_json;
use super::layout::MetaFile;
use super::segment::SegmentBackupInfo;

/// Database that an empty name stands for.
pub const DEFAULT_DATABASE: &str = "default";

/// The five files in the order they have to be written: the full one, whose presence tells that the metadata is complete,
/// comes last.
pub const FILES: [MetaFile; 5] =
    [MetaFile::Backup, MetaFile::Collection, MetaFile::Partition, MetaFile::Segment, MetaFile::Full];

/// Writes one of the [`FILES`], a few bytes at a time: it is never whole in memory.
pub fn write_meta(file: MetaFile, info: &BackupInfo, out: &mut dyn Write) -> Result<(), ManifestError> {
    let partitions = || info.collection_backups.iter().flat_map(|collection| &collection.partition_backups);
    let written = match file {
        MetaFile::Backup => {
            let head = BackupInfo {
                id: info.id.clone(),
                state_code: info.state_code,
                name: info.name.clone(),
                backup_timestamp: info.backup_timestamp,
                size: info.size,
                milvus_version: info.milvus_version.clone(),
                format: info.format.clone(),
                ..BackupInfo::default()
            };
            go_json::to_writer(&head, out)
        }
        MetaFile::Collection => {
            let infos = info.collection_backups.iter().map(CollectionBackupInfo::without_segments).collect();
            go_json::to_writer(&Infos { infos }, out)
        }
        MetaFile::Partition => {
            let infos = partitions().map(PartitionBackupInfo::without_segments).collect();
            go_json::to_writer(&Infos { infos }, out)
        }
        MetaFile::Segment => {
            let infos: Vec<&SegmentBackupInfo> =
                partitions().flat_map(|partition| &partition.segment_backups).collect();
            go_json::to_writer(&Infos { infos }, out)
        }
        MetaFile::Full => go_json::to_writer(info, out),
    };
    written.map_err(|error| ManifestError::Encode { file: file.name(), cause: error.to_string() })
}

/// All of the [`FILES`] at once with their names below `meta/`, for small backups and tests.
pub fn encode_meta(info: &BackupInfo) -> Result<[(&'static str, Vec<u8>); 5], ManifestError> {
    let mut files = FILES.map(|file| (file.name(), Vec::new()));
    for (file, (_, bytes)) in FILES.into_iter().zip(&mut files) {
        write_meta(file, info, bytes)?;
    }
    Ok(files)
}

/// Reads `full_meta.json`. An empty database name becomes [`DEFAULT_DATABASE`]; an unknown `format` is refused.
pub fn decode_full(bytes: &[u8]) -> Result<BackupInfo, ManifestError> {
    let info: BackupInfo = decode(MetaFile::Full, bytes)?;
    accept(info)
}

/// As [`decode_full`] and without all of the bytes at hand, but for one tolerance: it gives up where a `null` stands for a
/// zero value. [`decode_full`] decides then.
pub fn read_full(reader: impl Read) -> Result<BackupInfo, ManifestError> {
    let read = serde_json::from_reader(BufReader::new(reader));
    accept(read.map_err(|error| ManifestError::Json { file: MetaFile::Full.name(), cause: error.to_string() })?)
}

/// Rebuilds the metadata from the four level files where `full_meta.json` is missing.
///
/// Sizes become sums. Databases, access rules, channels and delete-only segments of all partitions are not in these
/// files: the caller has to say so, or to look for `delta_log/<collection>/-1/` in the artifact.
pub fn join_levels(
    backup: &[u8],
    collection: &[u8],
    partition: &[u8],
    segment: &[u8],
) -> Result<BackupInfo, ManifestError> {
    let mut info: BackupInfo = decode(MetaFile::Backup, backup)?;
    let collections: Infos<CollectionBackupInfo> = decode(MetaFile::Collection, collection)?;
    let partitions: Infos<PartitionBackupInfo> = decode(MetaFile::Partition, partition)?;
    let segments: Infos<SegmentBackupInfo> = decode(MetaFile::Segment, segment)?;

    let mut by_partition: HashMap<(i64, i64), Vec<SegmentBackupInfo>> = HashMap::new();
    let mut l0_by_collection: HashMap<i64, Vec<SegmentBackupInfo>> = HashMap::new();
    for segment in segments.infos {
        if segment.partition_id == ALL_PARTITIONS {
            l0_by_collection.entry(segment.collection_id).or_default().push(segment);
        } else {
            by_partition.entry((segment.collection_id, segment.partition_id)).or_default().push(segment);
        }
    }
    let mut by_collection: HashMap<i64, Vec<PartitionBackupInfo>> = HashMap::new();
    for mut partition in partitions.infos {
        partition.segment_backups =
            by_partition.remove(&(partition.collection_id, partition.partition_id)).unwrap_or_default();
        partition.size = sum(partition.segment_backups.iter().map(|segment| segment.size));
        by_collection.entry(partition.collection_id).or_default().push(partition);
    }
    if let Some(segment) = by_partition.into_values().flatten().next() {
        return Err(ManifestError::Orphan { segment: segment.segment_id, partition: segment.partition_id });
    }
    info.collection_backups = collections.infos;
    for collection in &mut info.collection_backups {
        collection.partition_backups = by_collection.remove(&collection.collection_id).unwrap_or_default();
        let l0 = l0_by_collection.remove(&collection.collection_id).unwrap_or_default();
        collection.l0_segments.extend(l0);
        collection.size = sum(collection.segments().map(|segment| segment.size));
    }
    if let Some(collection) = by_collection.into_keys().chain(l0_by_collection.into_keys()).min() {
        return Err(ManifestError::Value {
            object: format!("collection {collection}"),
            what: "partition or segment",
            cause: "collection_meta.json does not list it".to_owned(),
        });
    }
    info.size = sum(info.collection_backups.iter().map(|collection| collection.size));
    accept(info)
}

/// What the level files wrap their lists in.
#[derive(Serialize, Deserialize)]
struct Infos<T> {
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    infos: Vec<T>,
}

/// Parses; where that fails, once more without `null`s, which Go reads as zero values.
fn decode<T: DeserializeOwned>(file: MetaFile, bytes: &[u8]) -> Result<T, ManifestError> {
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if error.is_data()
        && let Ok(mut value) = serde_json::from_slice::<Value>(bytes)
    {
        drop_nulls(&mut value);
        if let Ok(value) = serde_json::from_value(value) {
            return Ok(value);
        }
    }
    Err(ManifestError::Json { file: file.name(), cause: error.to_string() })
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// Of numbers that nobody has judged yet.
fn sum(numbers: impl Iterator<Item = i64>) -> i64 {
    numbers.fold(0, i64::saturating_add)
}

/// Sizes and rows that can be added up in any order by all who read on.
fn countable(info: &BackupInfo) -> Result<(), ManifestError> {
    let too_many = |what| {
        let cause = "those of its segments add up to more than 64 bits hold".to_owned();
        Err(ManifestError::Value { object: format!("backup {}", info.name), what, cause })
    };
    let (mut sizes, mut rows) = (Some(0_i64), Some(0_i64));
    let add = |sum: Option<i64>, number: i64| sum?.checked_add(number.checked_abs()?);
    for segment in info.segments() {
        rows = add(rows, segment.num_of_rows);
        sizes = add(sizes, segment.size);
    }
    for (sum, what) in [(sizes, "size"), (rows, "number of rows")] {
        if sum.is_none() {
            return too_many(what);
        }
    }
    Ok(())
}

/// What holds for every reader of metadata.
fn accept(mut info: BackupInfo) -> Result<BackupInfo, ManifestError> {
    let Some(format) = info.format() else {
        return Err(ManifestError::UnknownFormat { name: info.name, found: info.format });
    };
    countable(&info)?;
    for collection in &mut info.collection_backups {
        if collection.db_name.is_empty() {
            collection.db_name = DEFAULT_DATABASE.to_owned();
        }
    }
    if format == BackupFormat::Binlog
        && let Some(collection) = info.collection_backups.iter().find(|collection| collection.snapshot_backup.is_some())
    {
        return Err(ManifestError::Value {
            object: format!("collection {}", collection.collection_name),
            what: "snapshot_backup",
            cause: "the backup's format is binlog".to_owned(),
        });
    }
    Ok(info)
}
