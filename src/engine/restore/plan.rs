//! Pure: what a restore will do, before it does anything.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::engine::error::EngineError;
use crate::engine::secret::Secret;
use crate::engine::select::Name;
use crate::engine::task::{OnConflict, PlanSummary, Rename};
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::layout::Artifact;
use crate::manifest::operator_manifest::digest;
use crate::manifest::{CollectionBackupInfo, LogKind, SegmentBackupInfo};
use crate::milvus::{Gate, ServerVersion};

/// Partitions larger than this are imported segment by segment: a 2.3 server gives one task 900 s
/// (`rootCoord.importTaskExpiration`).
const PARTITION_LIMIT: i64 = 4 << 30;
/// Mappings shown in status.
const SHOWN: usize = 20;

/// What happens to a target name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing of that name is there.
    Create,
    /// It exists and is dropped first.
    Replace,
    /// It exists and gets rows besides its own.
    Append,
    /// It exists and stays.
    Skip,
    /// An earlier attempt of this run began it.
    Continue,
}

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

/// One collection.
#[derive(Debug, Clone)]
pub struct Item<'b> {
    /// Name in the backup.
    pub source: Name,
    /// Name in the target.
    pub target: Name,
    /// What is done.
    pub action: Action,
    /// Metadata.
    pub info: Cow<'b, CollectionBackupInfo>,
    /// Import jobs.
    pub batches: Vec<Batch>,
    /// Key of its files, where they are encrypted.
    pub key: Option<Secret>,
}

/// What is done with each target name, by what exists and what earlier attempts of this run made.
///
/// # Errors
/// [`EngineError::ConflictFound`]: names that exist though nothing may touch them, or are missing though none may be made.
pub fn actions(
    pairs: &[(Name, Name)],
    existing: &BTreeSet<Name>,
    begun: &BTreeSet<Name>,
    (on_conflict, create_missing): (OnConflict, bool),
) -> Result<Vec<Action>, EngineError> {
    let (mut conflicts, mut lacking) = (Vec::new(), Vec::new());
    let actions = pairs
        .iter()
        .map(|(_, target)| match (begun.contains(target), existing.contains(target), on_conflict) {
            (true, ..) => Action::Continue,
            (false, false, _) => {
                if !create_missing {
                    lacking.push(target.to_string());
                }
                Action::Create
            }
            (false, true, OnConflict::Append) => Action::Append,
            (false, true, OnConflict::Skip) => Action::Skip,
            (false, true, OnConflict::Replace) => Action::Replace,
            (false, true, OnConflict::Fail) => {
                conflicts.push(target.to_string());
                Action::Skip
            }
        })
        .collect();
    if !lacking.is_empty() {
        return Err(EngineError::ConflictFound(format!(
            "{} of {} target collections do not exist and none is to be made, nothing was touched: {}",
            lacking.len(),
            pairs.len(),
            crate::engine::error::named(&lacking, 10)
        )));
    }
    if conflicts.is_empty() {
        return Ok(actions);
    }
    Err(EngineError::ConflictFound(format!(
        "{} of {} target collections exist already, nothing was touched: {}; rename them with spec.mapping, or set \
         spec.onConflict to Skip, Replace or Append",
        conflicts.len(),
        pairs.len(),
        crate::engine::error::named(&conflicts, 10)
    )))
}

/// Segments of one REST job, below the server's default bound of 1,024 files a request
/// (`dataCoord.import.maxImportFileNumPerReq`), and its value in older configurations, 256.
const SEGMENTS_OF_JOB: usize = 256;
/// Bytes of one REST job: what is lost when a server gives one up.
const BYTES_OF_JOB: u64 = 32 << 30;

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

/// The plan for status.
pub fn summary(items: &[Item<'_>]) -> PlanSummary {
    let count = |action| items.iter().filter(|item| item.action == action).count() as u64;
    PlanSummary {
        create: count(Action::Create) + count(Action::Continue),
        skip: count(Action::Skip),
        replace: count(Action::Replace),
        append: count(Action::Append),
        mappings: items
            .iter()
            .take(SHOWN)
            .map(|item| Rename { from: item.source.to_string(), to: item.target.to_string() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, FieldBinlog};

    fn pair(name: &str) -> (Name, Name) {
        (Name::new("default", name), Name::new("default", name))
    }

    fn set(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| Name::new("default", *name)).collect()
    }

    #[test]
    fn existing_targets_are_listed_and_nothing_is_planned() {
        let fail = (OnConflict::Fail, true);
        let said = actions(&[pair("a"), pair("b")], &set(&["b"]), &set(&[]), fail).unwrap_err().to_string();
        assert!(said.contains("1 of 2") && said.contains("default.b"), "{said}");
    }

    #[test]
    fn a_collection_an_earlier_attempt_began_is_no_conflict() {
        let replace = (OnConflict::Replace, true);
        let actions = actions(&[pair("a"), pair("b")], &set(&["a", "b"]), &set(&["a"]), replace).unwrap();
        assert_eq!(actions, [Action::Continue, Action::Replace]);
    }

    #[test]
    fn rows_go_into_what_exists_and_what_is_missing_is_made_or_told() {
        let pairs = [pair("a"), pair("b")];
        let of = |create_missing| actions(&pairs, &set(&["b"]), &set(&[]), (OnConflict::Append, create_missing));
        assert_eq!(of(true).unwrap(), [Action::Create, Action::Append]);
        let said = of(false).unwrap_err().to_string();
        assert!(said.contains("1 of 2") && said.contains("default.a"), "{said}");
    }

    fn collection() -> CollectionBackupInfo {
        let log = |id| FieldBinlog { field_id: 0, binlogs: vec![Binlog { log_id: id, ..Default::default() }] };
        let segment = |id, deltas: bool| SegmentBackupInfo {
            segment_id: id,
            group_id: id,
            partition_id: 2,
            size: 10,
            binlogs: vec![log(id * 10)],
            deltalogs: if deltas { vec![log(id * 10 + 1)] } else { vec![FieldBinlog::default()] },
            ..Default::default()
        };
        CollectionBackupInfo {
            collection_id: 1,
            partition_backups: vec![PartitionBackupInfo {
                partition_id: 2,
                partition_name: "p".into(),
                segment_backups: vec![segment(7, false), segment(8, true)],
                size: 20,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(text)
    }

    #[test]
    fn a_2_3_server_gets_one_job_per_partition() {
        let keys = Artifact::new("backup", "a").unwrap();
        let batches = batches(&collection(), &keys, (Route::Partitions, &version("v2.3.5-lite")), &BTreeSet::new());
        assert_eq!(batches.len(), 1);
        assert_eq!(directories(&batches[0]), [("binlogs/insert_log/1/2/", Some("binlogs/delta_log/1/2/"))]);
        assert_eq!((batches[0].bytes, batches[0].objects), (20, 3));
    }

    fn directories(batch: &Batch) -> Vec<(&str, Option<&str>)> {
        batch.directories.iter().map(|one| (one.first.as_str(), one.deletes.as_deref())).collect()
    }

    #[test]
    fn a_later_server_without_rest_gets_one_job_per_segment() {
        let keys = Artifact::new("backup", "a").unwrap();
        let batches = batches(&collection(), &keys, (Route::Segments, &version("2.4.10")), &BTreeSet::new());
        assert_eq!(batches.len(), 2);
        assert_eq!(directories(&batches[0]), [("binlogs/insert_log/1/2/7/", None)]);
        assert_eq!(directories(&batches[1]), [("binlogs/insert_log/1/2/8/", Some("binlogs/delta_log/1/2/8/"))]);
    }

    #[test]
    fn a_rest_job_takes_all_segments_of_a_channel_and_storage_version() {
        let keys = Artifact::new("backup", "a").unwrap();
        let mut info = collection();
        let jobs =
            |info: &CollectionBackupInfo| batches(info, &keys, (Route::Jobs, &version("2.6.18")), &BTreeSet::new());
        assert_eq!(jobs(&info).len(), 1);
        assert_eq!(directories(&jobs(&info)[0]).len(), 2);
        assert_eq!((jobs(&info)[0].bytes, jobs(&info)[0].segments.as_slice()), (20, [7, 8].as_slice()));
        info.partition_backups[0].segment_backups[1].storage_version = 2;
        assert_eq!(jobs(&info).iter().map(|job| job.storage_version).collect::<Vec<_>>(), [0, 2]);
        info.partition_backups[0].segment_backups[1].storage_version = 0;
        info.partition_backups[0].segment_backups[1].v_channel = "ch_1v1".into();
        assert_eq!(jobs(&info).len(), 2);
    }

    #[test]
    fn a_job_takes_no_more_segments_than_a_server_does() {
        let keys = Artifact::new("backup", "a").unwrap();
        let mut info = collection();
        let one = info.partition_backups[0].segment_backups[0].clone();
        let many = (1..=257).map(|id| SegmentBackupInfo { segment_id: id, group_id: id, ..one.clone() });
        info.partition_backups[0].segment_backups = many.collect();
        let jobs = batches(&info, &keys, (Route::Jobs, &version("2.5.27")), &BTreeSet::new());
        assert_eq!(jobs.iter().map(|job| job.directories.len()).collect::<Vec<_>>(), [256, 1]);
        assert_ne!(jobs[0].identity(), jobs[1].identity());
    }

    #[test]
    fn deletes_come_after_rows_and_those_of_all_partitions_last() {
        let keys = Artifact::new("backup", "a").unwrap();
        let mut info = collection();
        let log = |id| FieldBinlog { field_id: 0, binlogs: vec![Binlog { log_id: id, ..Default::default() }] };
        let l0 = |segment_id, partition_id, group_id| SegmentBackupInfo {
            segment_id,
            partition_id,
            group_id,
            is_l0: true,
            deltalogs: vec![log(segment_id * 10)],
            ..Default::default()
        };
        info.partition_backups[0].segment_backups.insert(0, l0(9, 2, 9));
        info.l0_segments = vec![l0(10, -1, 0), l0(11, -1, 0)];
        let jobs = |version_text: &str| batches(&info, &keys, (Route::Jobs, &version(version_text)), &BTreeSet::new());
        let early = jobs("2.5.27");
        let kinds: Vec<BatchKind> = early.iter().map(|job| job.kind).collect();
        use BatchKind::{Deletes, DeletesOfAll, Rows};
        assert_eq!(kinds, [Rows, Deletes, DeletesOfAll, DeletesOfAll]);
        assert_eq!(directories(&early[1]), [("binlogs/delta_log/1/2/9/", None)]);
        assert_eq!((early[1].partition.as_str(), early[2].partition.as_str()), ("p", ""));
        assert_eq!(directories(&early[2]), [("binlogs/delta_log/1/-1/10/", None)]);
        // From 2.6.5 on a job takes several.
        assert_eq!(jobs("2.6.18").len(), 3);
    }

    #[test]
    fn an_empty_partition_needs_no_job() {
        let mut info = collection();
        info.partition_backups[0].segment_backups.clear();
        let keys = Artifact::new("backup", "a").unwrap();
        assert_eq!(batches(&info, &keys, (Route::Partitions, &version("2.3.5")), &BTreeSet::new()), []);
    }

    #[test]
    fn a_partition_with_foreign_objects_is_imported_segment_by_segment() {
        let keys = Artifact::new("backup", "a").unwrap();
        let version = version("v2.3.5-lite");
        let asked = (Route::Partitions, &version);
        assert_eq!(batches(&collection(), &keys, asked, &BTreeSet::from([2])).len(), 2);
        assert_eq!(batches(&collection(), &keys, asked, &BTreeSet::from([3])).len(), 1);
    }
}

#[cfg(test)]
#[path = "plan_properties.rs"]
mod properties;
