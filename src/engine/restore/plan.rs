//! Pure: what a restore will do, before it does anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::select::Name;
use crate::engine::task::{OnConflict, PlanSummary, Rename};
use crate::manifest::layout::Artifact;
use crate::manifest::{CollectionBackupInfo, LogKind};
use crate::milvus::ServerVersion;

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
    /// It exists and stays.
    Skip,
    /// An earlier attempt of this run began it.
    Continue,
}

/// One import job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Target partition.
    pub partition: String,
    /// Insert directory inside the artifact.
    pub inserts: String,
    /// Delta directory inside the artifact, none where there are no deletes.
    pub deletes: Option<String>,
    /// Segments in it.
    pub segments: Vec<i64>,
    /// Bytes of it.
    pub bytes: u64,
    /// Objects of it.
    pub objects: u64,
}

/// One collection.
#[derive(Debug, Clone)]
pub struct Item {
    /// Name in the backup.
    pub source: Name,
    /// Name in the target.
    pub target: Name,
    /// What is done.
    pub action: Action,
    /// Metadata.
    pub info: CollectionBackupInfo,
    /// Import jobs.
    pub batches: Vec<Batch>,
}

/// Target names that exist though nothing may touch them.
///
/// # Errors
/// The sentence for `ConflictFound` when `on_conflict` is Fail.
pub fn actions(
    pairs: &[(Name, Name)],
    existing: &BTreeSet<Name>,
    begun: &BTreeSet<Name>,
    on_conflict: OnConflict,
) -> Result<Vec<Action>, String> {
    let mut conflicts = Vec::new();
    let actions = pairs
        .iter()
        .map(|(_, target)| match (begun.contains(target), existing.contains(target), on_conflict) {
            (true, ..) => Action::Continue,
            (false, false, _) => Action::Create,
            (false, true, OnConflict::Skip) => Action::Skip,
            (false, true, OnConflict::Replace) => Action::Replace,
            (false, true, OnConflict::Fail) => {
                conflicts.push(target.to_string());
                Action::Skip
            }
        })
        .collect();
    if conflicts.is_empty() {
        return Ok(actions);
    }
    Err(format!(
        "{} of {} target collections exist already, nothing was touched: {}; rename them with spec.mapping, or set \
         spec.onConflict to Skip or Replace",
        conflicts.len(),
        pairs.len(),
        crate::engine::error::named(&conflicts, 10)
    ))
}

/// The import jobs of a collection: as few as the server can take, because 2.3 works tasks off one after another at about
/// 2 s each (real-milvus.md 4). From 2.4 on a directory must hold exactly one segment's group. A partition with strays is
/// imported segment by segment: its directory holds more than the backup.
pub fn batches(
    info: &CollectionBackupInfo,
    keys: &Artifact,
    version: &ServerVersion,
    strays: &BTreeSet<i64>,
) -> Vec<Batch> {
    let whole_partitions = version.parsed.is_some_and(|version| version < (2, 4, 0));
    let mut batches = Vec::new();
    for partition in &info.partition_backups {
        let segments = partition.segment_backups.iter().filter(|segment| !segment.is_l0);
        let small = partition.size <= PARTITION_LIMIT && !strays.contains(&partition.partition_id);
        let mut groups: BTreeMap<Option<i64>, Batch> = BTreeMap::new();
        for segment in segments.filter(|segment| segment.insert_logs().next().is_some()) {
            let group = if whole_partitions && small { None } else { segment.group() };
            let dir = |kind| {
                let full = keys.import_dir(kind, info.collection_id, partition.partition_id, group);
                keys.relative(&full).map(str::to_owned).unwrap_or(full)
            };
            let batch = groups.entry(group).or_insert_with(|| Batch {
                partition: partition.partition_name.clone(),
                inserts: dir(LogKind::Insert),
                deletes: None,
                segments: Vec::new(),
                bytes: 0,
                objects: 0,
            });
            batch.segments.push(segment.segment_id);
            batch.bytes += u64::try_from(segment.size).unwrap_or_default();
            batch.objects += (segment.insert_logs().count() + segment.delta_logs().count()) as u64;
            if batch.deletes.is_none() && segment.delta_logs().next().is_some() {
                batch.deletes = Some(dir(LogKind::Delta));
            }
        }
        batches.extend(groups.into_values());
    }
    batches
}

/// The first field whose recorded id a new collection would not get: servers number fields in order from 100
/// (milvus-wire.md 2.3), and binlogs are found by field id. A dynamic field comes after all others.
pub fn misnumbered(info: &CollectionBackupInfo) -> Option<&str> {
    let fields = info.schema.fields.iter().filter(|field| !field.is_dynamic);
    fields.zip(100..).find(|(field, id)| field.field_id != *id).map(|(field, _)| field.name.as_str())
}

/// The plan for status.
pub fn summary(items: &[Item]) -> PlanSummary {
    let count = |action| items.iter().filter(|item| item.action == action).count() as u64;
    PlanSummary {
        create: count(Action::Create) + count(Action::Continue),
        skip: count(Action::Skip),
        replace: count(Action::Replace),
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
    use crate::manifest::{Binlog, FieldBinlog, FieldSchema, SegmentBackupInfo};

    fn pair(name: &str) -> (Name, Name) {
        (Name::new("default", name), Name::new("default", name))
    }

    fn set(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| Name::new("default", *name)).collect()
    }

    #[test]
    fn existing_targets_are_listed_and_nothing_is_planned() {
        let said = actions(&[pair("a"), pair("b")], &set(&["b"]), &set(&[]), OnConflict::Fail).unwrap_err();
        assert!(said.contains("1 of 2") && said.contains("default.b"), "{said}");
    }

    #[test]
    fn a_collection_an_earlier_attempt_began_is_no_conflict() {
        let actions = actions(&[pair("a"), pair("b")], &set(&["a", "b"]), &set(&["a"]), OnConflict::Replace).unwrap();
        assert_eq!(actions, [Action::Continue, Action::Replace]);
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
        let batches = batches(&collection(), &keys, &version("v2.3.5-lite"), &BTreeSet::new());
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].inserts, "binlogs/insert_log/1/2/");
        assert_eq!(batches[0].deletes.as_deref(), Some("binlogs/delta_log/1/2/"));
        assert_eq!((batches[0].bytes, batches[0].objects), (20, 3));
    }

    #[test]
    fn a_later_server_gets_one_job_per_segment() {
        let keys = Artifact::new("backup", "a").unwrap();
        let batches = batches(&collection(), &keys, &version("2.4.10"), &BTreeSet::new());
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].inserts, "binlogs/insert_log/1/2/7/");
        assert_eq!(batches[0].deletes, None);
        assert_eq!(batches[1].deletes.as_deref(), Some("binlogs/delta_log/1/2/8/"));
    }

    #[test]
    fn a_field_that_would_get_another_id_is_found() {
        let field = |id, name: &str| FieldSchema { field_id: id, name: name.into(), ..Default::default() };
        let mut info = collection();
        info.schema.fields = vec![field(100, "id"), field(101, "v")];
        assert_eq!(misnumbered(&info), None);
        info.schema.fields = vec![field(100, "id"), field(102, "late")];
        assert_eq!(misnumbered(&info), Some("late"));
    }

    #[test]
    fn an_empty_partition_needs_no_job() {
        let mut info = collection();
        info.partition_backups[0].segment_backups.clear();
        let keys = Artifact::new("backup", "a").unwrap();
        assert_eq!(batches(&info, &keys, &version("2.3.5"), &BTreeSet::new()), []);
    }

    #[test]
    fn a_partition_with_foreign_objects_is_imported_segment_by_segment() {
        let keys = Artifact::new("backup", "a").unwrap();
        let version = version("v2.3.5-lite");
        assert_eq!(batches(&collection(), &keys, &version, &BTreeSet::from([2])).len(), 2);
        assert_eq!(batches(&collection(), &keys, &version, &BTreeSet::from([3])).len(), 1);
    }
}
