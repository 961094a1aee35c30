//! Pure: the import jobs of a collection, as few as the server can take.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::layout::Artifact;
use crate::manifest::operator_manifest::digest;
use crate::manifest::{CollectionBackupInfo, LogKind, SegmentBackupInfo};
use crate::milvus::{Gate, ServerVersion};

/// Partitions larger than this are imported segment by segment: a 2.3 server gives one task 900 s
/// (`rootCoord.importTaskExpiration`).
const PARTITION_LIMIT: i64 = 4 << 30;
/// Segments of one REST job, below the server's default bound of 1,024 files a request
/// (`dataCoord.import.maxImportFileNumPerReq`), and its value in older configurations, 256.
const SEGMENTS_OF_JOB: usize = 256;
/// Bytes of one REST job: what is lost when a server gives one up.
const BYTES_OF_JOB: u64 = 32 << 30;

/// How the server is asked to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// gRPC Import, one task for a whole partition: 2.2 and 2.3, which work tasks off one after another.
    Partitions,
    /// gRPC Import, one job for each segment: later servers whose REST cannot be reached.
    Segments,
    /// REST jobs with many segments each.
    Jobs,
}

/// Directories of one segment, or of several that share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Insert directory inside the artifact; of a delete-only segment its delta directory.
    pub first: String,
    /// Delta directory inside the artifact, none where there are no deletes.
    pub deletes: Option<String>,
}

/// One import job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Target partition; empty for deletes of all partitions.
    pub partition: String,
    /// What is imported.
    pub kind: BatchKind,
    /// Directories.
    pub directories: Vec<Directory>,
    /// 0 or 1 for one file per field, 2 for column groups.
    pub storage_version: i64,
    /// Segments in it.
    pub segments: Vec<i64>,
    /// Bytes of it.
    pub bytes: u64,
    /// Objects of it.
    pub objects: u64,
}

/// What a job imports; jobs of a kind are done before the next kind begins, because deletes only meet rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BatchKind {
    /// Rows.
    Rows,
    /// Deletes of one partition.
    Deletes,
    /// Deletes of all partitions.
    DeletesOfAll,
}

impl Batch {
    /// Names the job in the ledger: the same directories give the same name.
    pub fn identity(&self) -> String {
        let mut names = self.directories.iter().map(|directory| directory.first.as_str());
        let first = names.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = names.collect();
        match rest.len() {
            0 => first,
            more => format!("{first} and {more} more, {}", digest(rest.join(" ").as_bytes())),
        }
    }
}

/// The import jobs of a collection, in the order of their kinds: as few as the server can take. 2.3 works tasks off one after
/// another at about 2 s each, and takes a whole partition in one; a partition with strays is imported segment by segment
/// there, because its directory holds more than the backup. Later servers take many directories a job, each of which must be
/// that of a group, and all of one channel and storage version (milvus-backup.md 4.7).
pub fn batches(
    info: &CollectionBackupInfo,
    keys: &Artifact,
    (route, version): (Route, &ServerVersion),
    strays: &BTreeSet<i64>,
) -> Vec<Batch> {
    let mut batches = Vec::new();
    for partition in &info.partition_backups {
        let segments = partition.segment_backups.iter().filter(|segment| !segment.is_l0);
        let small = partition.size <= PARTITION_LIMIT && !strays.contains(&partition.partition_id);
        let whole = route == Route::Partitions && small;
        let mut groups: BTreeMap<(String, i64, Option<i64>), Batch> = BTreeMap::new();
        for segment in segments.filter(|segment| segment.insert_logs().next().is_some()) {
            let group = if whole { None } else { segment.group() };
            let dir = |kind| relative(keys, keys.import_dir(kind, info.collection_id, partition.partition_id, group));
            // Old layouts have no channel and share directories.
            let channel = if whole || group.is_none() { String::new() } else { segment.v_channel.clone() };
            let batch = groups.entry((channel, segment.storage_version, group)).or_insert_with(|| Batch {
                partition: partition.partition_name.clone(),
                kind: BatchKind::Rows,
                directories: vec![Directory { first: dir(LogKind::Insert), deletes: None }],
                storage_version: segment.storage_version,
                segments: Vec::new(),
                bytes: 0,
                objects: 0,
            });
            add(batch, segment);
            if batch.directories[0].deletes.is_none() && segment.delta_logs().next().is_some() {
                batch.directories[0].deletes = Some(dir(LogKind::Delta));
            }
        }
        let together = if route == Route::Jobs { SEGMENTS_OF_JOB } else { 1 };
        let mut jobs: BTreeMap<(String, i64), Vec<Batch>> = BTreeMap::new();
        for ((channel, storage_version, _), batch) in groups {
            jobs.entry((channel, storage_version)).or_default().push(batch);
        }
        batches.extend(jobs.into_values().flat_map(|batches| joined(batches, together)));
    }
    batches.extend(deletes(info, keys, route, version));
    batches.sort_by_key(|batch| batch.kind);
    batches
}

/// Jobs for delete-only segments.
fn deletes(info: &CollectionBackupInfo, keys: &Artifact, route: Route, version: &ServerVersion) -> Vec<Batch> {
    let together = if route == Route::Jobs && version.has(Gate::ManyDeletesPerJob) { SEGMENTS_OF_JOB } else { 1 };
    let batch = |partition: &str, kind, segment: &SegmentBackupInfo| {
        let directory = keys.l0_dir(info.collection_id, segment.partition_id, segment.segment_id);
        let mut batch = Batch {
            partition: partition.to_owned(),
            kind,
            directories: vec![Directory { first: relative(keys, directory), deletes: None }],
            storage_version: 0,
            segments: Vec::new(),
            bytes: 0,
            objects: 0,
        };
        add(&mut batch, segment);
        batch
    };
    let has_deletes = |segment: &&SegmentBackupInfo| segment.is_l0 && segment.delta_logs().next().is_some();
    let mut batches = Vec::new();
    for partition in &info.partition_backups {
        let segments = partition.segment_backups.iter().filter(has_deletes);
        let jobs = segments.map(|segment| batch(&partition.partition_name, BatchKind::Deletes, segment)).collect();
        batches.extend(joined(jobs, together));
    }
    let everywhere = info.l0_segments.iter().filter(has_deletes).filter(|one| one.partition_id == ALL_PARTITIONS);
    batches.extend(joined(everywhere.map(|one| batch("", BatchKind::DeletesOfAll, one)).collect(), together));
    batches
}

fn add(batch: &mut Batch, segment: &SegmentBackupInfo) {
    batch.segments.push(segment.segment_id);
    batch.bytes += u64::try_from(segment.size).unwrap_or_default();
    batch.objects += (segment.insert_logs().count() + segment.delta_logs().count()) as u64;
}

/// Joins batches of one sort, at most `together` directories each.
fn joined(batches: Vec<Batch>, together: usize) -> Vec<Batch> {
    let mut jobs: Vec<Batch> = Vec::new();
    for batch in batches {
        match jobs.last_mut() {
            Some(job) if job.directories.len() < together && job.bytes + batch.bytes <= BYTES_OF_JOB => {
                job.directories.extend(batch.directories);
                job.segments.extend(batch.segments);
                job.bytes += batch.bytes;
                job.objects += batch.objects;
            }
            _ => jobs.push(batch),
        }
    }
    jobs
}

fn relative(keys: &Artifact, full: String) -> String {
    keys.relative(&full).map(str::to_owned).unwrap_or(full)
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "batches_properties.rs"]
mod properties;
