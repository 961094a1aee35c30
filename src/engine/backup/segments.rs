//! Which objects belong to which segment: one listing per collection and log kind, matched with the server's segments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::logs::{self, Log, Logs};
use crate::engine::error::{EngineError, named};
use crate::engine::patience::patient;
use crate::engine::select::Name;
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::layout;
use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, LogKey, LogKind, SegmentBackupInfo};
use crate::milvus::{FlushTicket, Gate, Milvus, Missing, Segment, SegmentFiles, SegmentLevel, SegmentState};
use crate::storage::{Store, Tag};

/// Looks again this often when compaction replaced a segment between the two questions.
const TRIES: usize = 5;

/// A segment with its objects.
#[derive(Debug, Clone)]
pub struct Found {
    /// Collection.
    pub collection: i64,
    /// As the server listed it.
    pub segment: Segment,
    /// Virtual channel, empty where the server tells none.
    pub channel: String,
    /// Deletes only.
    pub deletes_only: bool,
    /// Its objects.
    pub logs: Vec<Log>,
}

impl Found {
    /// The ids of one of its logs.
    pub fn key(&self, log: &Log) -> LogKey {
        let Segment { id: segment, partition_id: partition, .. } = self.segment;
        LogKey { collection: self.collection, partition, segment, field: log.field, log: log.id }
    }
}

/// From this storage version on a file holds a group of columns instead of one field.
const COLUMN_GROUPS: i64 = 2;
/// Highest storage version this program can copy and bring back: column groups.
pub const STORAGE_VERSION: i64 = 2;

/// Asks for the segments of a collection and finds their objects. `with_deltas` are the collections that have delta logs,
/// where that is known; those of others are not listed.
///
/// # Errors
/// [`EngineError::StoragePathMismatch`] when segments with rows have no objects even after looking again.
pub async fn of(
    milvus: &Milvus,
    store: &dyn Store,
    root_path: &str,
    info: &CollectionBackupInfo,
    ticket: Option<&FlushTicket>,
    with_deltas: Option<&BTreeSet<i64>>,
) -> Result<Vec<Found>, EngineError> {
    let name = Name::new(&info.db_name, &info.collection_name);
    let mut pauses =
        crate::engine::patience::Pauses::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(2));
    let mut missing = Vec::new();
    // From 2.4.0 on there are delete-only segments, from 2.4.7 on they are told as such.
    let untold = milvus.version().has(Gate::DeleteSegments) && !milvus.version().has(Gate::SegmentLevel);
    for number in 0..TRIES {
        let segments = patient(|| milvus.segments(&name.database, &name.collection)).await?;
        let segments = consistent(segments, ticket, untold);
        let segments = of_known_partitions(milvus, &name, info, segments).await?;
        if let Some(segment) = segments.iter().find(|segment| segment.storage_version > STORAGE_VERSION) {
            return Err(crate::engine::preflight::unsupported(format!(
                "segment {} of collection {name} has storage version {}, which this version does not copy",
                segment.id, segment.storage_version
            )));
        }
        let files = exact(milvus, &name, info.collection_id, &segments).await?;
        let wanted: BTreeSet<(i64, i64)> = segments.iter().map(Logs::place).collect();
        let deltas = match &files {
            Exact::Known(files) => files.iter().any(|files| !files.deltas.is_empty()),
            // Looking again means that something has changed since all were listed.
            _ => number > 0 || with_deltas.is_none_or(|known| known.contains(&info.collection_id)),
        };
        let kinds: &[LogKind] = if deltas { &[LogKind::Insert, LogKind::Delta] } else { &[LogKind::Insert] };
        let logs = logs::of(store, root_path, info.collection_id, &wanted, kinds).await?;
        let assigned = match files {
            // Compaction took a segment between the two questions.
            Exact::Vanished(segments) => Err(segments),
            Exact::Known(files) => named_files(segments, logs, files),
            Exact::Unknown => assign(segments, logs, untold, &fields_of_every_segment(info)),
        };
        match assigned {
            Ok(found) => return Ok(found),
            Err(segments) => missing = segments,
        }
        tokio::time::sleep(pauses.next()).await;
    }
    let missing: Vec<String> = missing.iter().map(i64::to_string).collect();
    Err(EngineError::StoragePathMismatch(format!(
        "{} has no complete set of insert logs for segment {} of {name} below {}: either bucket or rootPath is not \
         the one Milvus writes to, or objects were removed from it",
        store.place(),
        named(&missing, 5),
        layout::milvus_log_prefix(root_path, LogKind::Insert)
    )))
}

/// The segments that belong to the recovery point: flushed ones, and of these only the flush's own as long as they are all
/// there. A segment that was filled and flushed since holds the new half of upserts whose old half is still in the others;
/// with it a key would come back twice. Where compaction has replaced some of the flush's segments, everything flushed is
/// taken, because nothing tells the successor from a newcomer. A flush names no delete-only segments: they are all kept,
/// and what came later is left out of them by its timestamps.
fn consistent(segments: Vec<Segment>, ticket: Option<&FlushTicket>, untold_deletes: bool) -> Vec<Segment> {
    let flushed: Vec<Segment> = segments.into_iter().filter(|segment| segment.state == SegmentState::Flushed).collect();
    let Some(ticket) = ticket else { return flushed };
    let deletes = |segment: &Segment| says_deletes_only(segment) || (untold_deletes && segment.rows == 0);
    let own: BTreeSet<i64> = ticket.segment_ids.iter().chain(&ticket.flushed_segment_ids).copied().collect();
    let there: BTreeSet<i64> = flushed.iter().map(|segment| segment.id).collect();
    if own.is_subset(&there) {
        return flushed.into_iter().filter(|one| own.contains(&one.id) || deletes(one)).collect();
    }
    flushed
}

/// What the server says about the files of segments.
enum Exact {
    /// Nothing: the listing has to do.
    Unknown,
    /// Every file.
    Known(Vec<SegmentFiles>),
    /// These segments are gone.
    Vanished(Vec<i64>),
}

async fn exact(milvus: &Milvus, name: &Name, collection: i64, segments: &[Segment]) -> Result<Exact, EngineError> {
    if !milvus.version().has(Gate::SegmentFiles) || segments.is_empty() {
        return Ok(Exact::Unknown);
    }
    let ids: Vec<i64> = segments.iter().map(|segment| segment.id).collect();
    match milvus.segment_files(&name.database, (&name.collection, collection), &ids).await {
        Ok(Some(files)) => Ok(Exact::Known(files)),
        Ok(None) => {
            tracing::warn!(collection = %name, "REST does not answer for milvus: files are taken by listing");
            Ok(Exact::Unknown)
        }
        Err(error) if error.is_missing(Missing::Segment) => Ok(Exact::Vanished(ids)),
        // A balancer that lets only gRPC through, or a REST port of its own: the listing has the same files and more.
        Err(error) => {
            tracing::warn!(collection = %name, "files are taken by listing: {error}");
            Ok(Exact::Unknown)
        }
    }
}

/// Segments of partitions that were dropped meanwhile go with them.
///
/// # Errors
/// A partition that was made after the collection was described: another attempt sees it.
async fn of_known_partitions(
    milvus: &Milvus,
    name: &Name,
    info: &CollectionBackupInfo,
    segments: Vec<Segment>,
) -> Result<Vec<Segment>, EngineError> {
    let known = |segment: &Segment| {
        segment.partition_id == ALL_PARTITIONS
            || info.partition_backups.iter().any(|partition| partition.partition_id == segment.partition_id)
    };
    let (kept, strange): (Vec<Segment>, Vec<Segment>) = segments.into_iter().partition(known);
    if strange.is_empty() {
        return Ok(kept);
    }
    let now = patient(|| milvus.list_partitions(&name.database, &name.collection)).await?;
    match now.iter().find(|partition| strange.iter().any(|segment| segment.partition_id == partition.id)) {
        None => Ok(kept),
        Some(partition) => Err(EngineError::Interrupted(format!(
            "partition {} of collection {name} was made while the collection was backed up; another attempt will take it",
            partition.name
        ))),
    }
}

/// Matches segments with objects by listing; segments without rows and without objects are left out.
///
/// # Errors
/// The segments that have rows but no insert log, or not the same number of files for every field.
pub(super) fn assign(
    segments: Vec<Segment>,
    mut listed: Logs,
    untold_deletes: bool,
    fields: &BTreeSet<i64>,
) -> Result<Vec<Found>, Vec<i64>> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for segment in segments {
        let logs = listed.take(&segment);
        if logs.is_empty() && segment.rows == 0 {
            continue;
        }
        let deltas_only = logs.iter().all(|log| log.kind() == LogKind::Delta);
        let deletes_only = says_deletes_only(&segment) || (untold_deletes && segment.rows == 0 && deltas_only);
        // Column groups have names of their own; there the count is all that can be told.
        let by_field = segment.storage_version < COLUMN_GROUPS;
        let present = |field: &i64| logs.iter().any(|log| log.field == Some(*field));
        if !deletes_only && (!complete(&logs) || (by_field && !fields.iter().all(present))) {
            missing.push(segment.id);
        }
        found.push(Found { collection: listed.collection, segment, channel: String::new(), deletes_only, logs });
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// Takes exactly the files the server names; what else lies in the directory of a segment belongs to nobody.
///
/// # Errors
/// The segments the server tells nothing about, or of which a file is not there.
fn named_files(segments: Vec<Segment>, mut logs: Logs, files: Vec<SegmentFiles>) -> Result<Vec<Found>, Vec<i64>> {
    let mut files: BTreeMap<i64, SegmentFiles> = files.into_iter().map(|files| (files.segment, files)).collect();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for segment in segments {
        let Some(files) = files.remove(&segment.id) else {
            missing.push(segment.id);
            continue;
        };
        let mut listed = logs.take(&segment);
        let inserts = files.inserts.iter().map(|(field, log)| (Some(*field), *log));
        let wanted: BTreeSet<(Option<i64>, i64)> = inserts.chain(files.deltas.iter().map(|log| (None, *log))).collect();
        listed.retain(|log| wanted.contains(&(log.field, log.id)));
        let deletes_only = says_deletes_only(&segment);
        let no_rows = files.inserts.is_empty() && !deletes_only;
        if listed.len() != wanted.len() || (no_rows && segment.rows > 0) {
            missing.push(segment.id);
        } else if !listed.is_empty() && !no_rows {
            found.push(Found {
                collection: logs.collection,
                segment,
                channel: files.channel,
                deletes_only,
                logs: listed,
            });
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

fn says_deletes_only(segment: &Segment) -> bool {
    segment.level == SegmentLevel::L0 || segment.partition_id == ALL_PARTITIONS
}

/// The fields that every segment has files of: row id and timestamp (0 and 1), and of the schema those that cannot have been
/// added later, for an added field is nullable and a dynamic one may be switched on (2.6).
fn fields_of_every_segment(info: &CollectionBackupInfo) -> BTreeSet<i64> {
    let original = info.schema.fields.iter().filter(|field| !field.nullable && !field.is_dynamic);
    original.map(|field| field.field_id).chain([0, 1]).collect()
}

/// Every field has the same number of files, and at least one.
fn complete(logs: &[Log]) -> bool {
    let mut files: BTreeMap<i64, usize> = BTreeMap::new();
    for log in logs.iter().filter(|log| log.kind() == LogKind::Insert) {
        *files.entry(log.field.unwrap_or_default()).or_default() += 1;
    }
    let mut counts = files.values();
    counts.next().is_some_and(|first| counts.all(|count| count == first))
}

/// Adds segments to the metadata of their collection; answers the tags of their objects in its order, which is that of an
/// `Inventory`.
pub fn record(info: &mut CollectionBackupInfo, root_path: &str, mut segments: Vec<Found>) -> Vec<Tag> {
    let root: Arc<str> = root_path.trim_matches('/').into();
    let order: BTreeMap<i64, usize> =
        info.partition_backups.iter().enumerate().map(|(at, partition)| (partition.partition_id, at)).collect();
    // Those of no partition come last.
    let partition = |segment: &Segment| order.get(&segment.partition_id).copied().unwrap_or(usize::MAX);
    segments.sort_by_key(|found| partition(&found.segment));
    let mut tags = Vec::with_capacity(segments.iter().map(|found| found.logs.len()).sum());
    for Found { collection: _, segment, channel, deletes_only, logs } in segments {
        let group = (segment.partition_id != ALL_PARTITIONS).then_some(segment.id);
        let recorded = SegmentBackupInfo {
            segment_id: segment.id,
            collection_id: info.collection_id,
            partition_id: segment.partition_id,
            num_of_rows: segment.rows,
            binlogs: fields(&logs),
            deltalogs: deltas(&logs),
            size: logs.iter().map(size).sum(),
            group_id: group.unwrap_or_default(),
            is_l0: deletes_only,
            v_channel: channel,
            storage_version: segment.storage_version,
            root: (!logs.is_empty()).then(|| root.clone()),
            ..SegmentBackupInfo::default()
        };
        tags.extend(logs.into_iter().map(|log| log.tag));
        match info.partition_backups.get_mut(partition(&segment)) {
            Some(partition) => {
                partition.size += recorded.size;
                partition.segment_backups.push(recorded);
            }
            None => info.l0_segments.push(recorded),
        }
    }
    info.size = info.partition_backups.iter().map(|partition| partition.size).sum::<i64>()
        + info.l0_segments.iter().map(|segment| segment.size).sum::<i64>();
    tags
}

/// The logs are in ascending order of fields and ids.
fn fields(logs: &[Log]) -> Vec<FieldBinlog> {
    let fields = logs.chunk_by(|one, next| one.field == next.field);
    let insert_logs = fields.filter_map(|logs| {
        let field_id = logs.first()?.field?;
        Some(FieldBinlog { field_id, binlogs: logs.iter().map(binlog).collect() })
    });
    let mut fields: Vec<FieldBinlog> = insert_logs.collect();
    fields.shrink_to_fit();
    fields
}

/// One element even when there is none: the Go tool's list path writes it so (milvus-backup.md 3.3).
fn deltas(logs: &[Log]) -> Vec<FieldBinlog> {
    let mut binlogs: Vec<Binlog> = logs.iter().filter(|log| log.kind() == LogKind::Delta).map(binlog).collect();
    binlogs.shrink_to_fit();
    vec![FieldBinlog { field_id: 0, binlogs }]
}

fn binlog(log: &Log) -> Binlog {
    Binlog { log_size: size(log), log_id: log.id, more: None }
}

fn size(log: &Log) -> i64 {
    i64::try_from(log.size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::inventory::Inventory;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::schema::{CollectionSchema, FieldSchema};

    fn segment(id: i64, rows: i64) -> Segment {
        Segment {
            id,
            partition_id: 2,
            rows,
            state: SegmentState::Flushed,
            level: SegmentLevel::Legacy,
            sorted: false,
            storage_version: 0,
        }
    }

    type Listed = ((i64, i64), Log);

    fn log(segment: i64, field: Option<i64>, id: i64) -> Listed {
        ((segment, 2), Log { field, id, size: 10, tag: Tag::from(id.to_string().as_str()) })
    }

    fn listed(logs: &[Listed]) -> Logs {
        let mut by_segment: BTreeMap<(i64, i64), Vec<Log>> = BTreeMap::new();
        for (place, log) in logs {
            by_segment.entry(*place).or_default().push(log.clone());
        }
        Logs { collection: 1, by_segment }
    }

    fn ids(segments: &[Segment]) -> Vec<i64> {
        segments.iter().map(|segment| segment.id).collect()
    }

    #[test]
    fn a_segment_that_was_filled_after_the_flush_is_left_out() {
        let ticket = FlushTicket { segment_ids: vec![7], flushed_segment_ids: vec![8], ..FlushTicket::default() };
        let now = vec![segment(7, 5), segment(8, 5), segment(9, 5)];
        assert_eq!(ids(&consistent(now, Some(&ticket), false)), [7, 8]);
    }

    #[test]
    fn after_a_compaction_everything_flushed_is_taken() {
        let ticket = FlushTicket { segment_ids: vec![7], flushed_segment_ids: vec![8], ..FlushTicket::default() };
        let growing = Segment { state: SegmentState::Growing, ..segment(10, 5) };
        let now = vec![segment(8, 5), segment(9, 5), growing];
        assert_eq!(ids(&consistent(now, Some(&ticket), false)), [8, 9]);
    }

    #[test]
    fn a_segment_with_rows_and_no_objects_is_missing() {
        assert_eq!(assign(vec![segment(7, 5)], listed(&[]), false, &BTreeSet::new()).unwrap_err(), [7]);
    }

    #[test]
    fn a_segment_whose_fields_have_different_numbers_of_files_is_missing() {
        let logs = vec![log(7, Some(0), 1), log(7, Some(1), 2), log(7, Some(1), 3)];
        assert_eq!(assign(vec![segment(7, 5)], listed(&logs), false, &BTreeSet::new()).unwrap_err(), [7]);
    }

    #[test]
    fn a_segment_without_any_file_of_a_field_is_missing() {
        let field = |id, nullable| FieldSchema { field_id: id, nullable, ..FieldSchema::default() };
        let schema = CollectionSchema { fields: vec![field(100, false), field(101, true)], ..Default::default() };
        let info = CollectionBackupInfo { schema, ..Default::default() };
        let fields = fields_of_every_segment(&info);
        let logs = |of: &[i64]| of.iter().map(|field| log(7, Some(*field), 10 + field)).collect::<Vec<Listed>>();
        assert!(assign(vec![segment(7, 5)], listed(&logs(&[0, 1, 100])), false, &fields).is_ok());
        for lost in [&[1, 100][..], &[0, 100], &[0, 1], &[0, 1, 101]] {
            assert_eq!(assign(vec![segment(7, 5)], listed(&logs(lost)), false, &fields).unwrap_err(), [7], "{lost:?}");
        }
        let groups = Segment { storage_version: 2, ..segment(7, 5) };
        assert!(assign(vec![groups], listed(&logs(&[0, 102])), false, &fields).is_ok());
    }

    #[test]
    fn objects_of_segments_the_server_no_longer_names_are_left_out() {
        let logs = vec![log(7, Some(0), 1), log(8, Some(0), 2)];
        let found = assign(vec![segment(7, 5), segment(9, 0)], listed(&logs), false, &BTreeSet::new()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].logs.len(), 1);
    }

    fn deletes(id: i64, level: SegmentLevel) -> Segment {
        Segment { partition_id: ALL_PARTITIONS, level, ..segment(id, 0) }
    }

    #[test]
    fn delete_only_segments_are_kept_although_no_flush_names_them() {
        let ticket = FlushTicket { segment_ids: vec![7], ..FlushTicket::default() };
        let now = vec![segment(7, 5), segment(9, 5), deletes(10, SegmentLevel::L0)];
        assert_eq!(ids(&consistent(now, Some(&ticket), false)), [7, 10]);
    }

    #[test]
    fn a_segment_without_rows_is_kept_where_levels_are_not_told() {
        let ticket = FlushTicket { segment_ids: vec![7], ..FlushTicket::default() };
        let now = vec![segment(7, 5), segment(9, 5), Segment { level: SegmentLevel::Legacy, ..segment(10, 0) }];
        assert_eq!(ids(&consistent(now.clone(), Some(&ticket), true)), [7, 10]);
        assert_eq!(ids(&consistent(now, Some(&ticket), false)), [7]);
    }

    #[test]
    fn a_server_that_does_not_tell_levels_has_its_delete_only_segments_found_by_their_files() {
        let quiet = Segment { level: SegmentLevel::Legacy, ..segment(7, 0) };
        let logs = vec![log(7, None, 1)];
        let found = assign(vec![quiet.clone()], listed(&logs), true, &BTreeSet::new()).unwrap();
        assert!(found[0].deletes_only);
        assert_eq!(assign(vec![quiet], listed(&logs), false, &BTreeSet::new()).unwrap_err(), [7]);
    }

    #[test]
    fn of_the_files_in_a_segments_directory_only_the_named_ones_are_taken() {
        let logs = vec![log(7, Some(0), 1), log(7, Some(100), 2), log(7, Some(100), 3), log(7, None, 4)];
        let files =
            SegmentFiles { segment: 7, channel: "ch_0v0".into(), inserts: vec![(0, 1), (100, 2)], deltas: vec![4] };
        let found = named_files(vec![segment(7, 5)], listed(&logs), vec![files.clone()]).unwrap();
        assert_eq!((found[0].logs.len(), found[0].channel.as_str()), (3, "ch_0v0"));
        let absent = SegmentFiles { inserts: vec![(0, 1), (100, 9)], ..files };
        assert_eq!(named_files(vec![segment(7, 5)], listed(&logs), vec![absent]).unwrap_err(), [7]);
        assert_eq!(named_files(vec![segment(7, 5)], listed(&logs), vec![]).unwrap_err(), [7]);
    }

    #[test]
    fn metadata_and_tags_are_in_one_order_and_give_the_keys_of_the_layout() {
        let partition = |partition_id| PartitionBackupInfo { partition_id, ..Default::default() };
        let mut info = CollectionBackupInfo {
            collection_id: 1,
            partition_backups: vec![partition(2), partition(3)],
            ..Default::default()
        };
        let found = |id, partition_id, logs: &[Listed]| Found {
            collection: 1,
            segment: Segment { partition_id, ..segment(id, 5) },
            channel: "ch_0v0".into(),
            deletes_only: partition_id == ALL_PARTITIONS,
            logs: logs.iter().map(|(_, log)| log.clone()).collect(),
        };
        let segments = vec![
            found(9, ALL_PARTITIONS, &[log(9, None, 6)]),
            found(8, 3, &[log(8, Some(0), 5)]),
            found(7, 2, &[log(7, Some(0), 1), log(7, Some(100), 2), log(7, Some(100), 4), log(7, None, 3)]),
        ];
        let tags = record(&mut info, "/files/", segments);
        let artifact = layout::Artifact::new("backup", "a").unwrap();
        let collections = [info];
        let inventory = Inventory::of(&collections);
        let keys: Vec<String> = inventory.logs().map(|log| artifact.log(&log.key, log.group)).collect();
        assert_eq!(
            keys,
            [
                "backup/a/binlogs/insert_log/1/2/7/7/0/1",
                "backup/a/binlogs/insert_log/1/2/7/7/100/2",
                "backup/a/binlogs/insert_log/1/2/7/7/100/4",
                "backup/a/binlogs/delta_log/1/2/7/7/3",
                "backup/a/binlogs/insert_log/1/3/8/8/0/5",
                "backup/a/binlogs/delta_log/1/-1/9/6"
            ]
        );
        for log in inventory.logs() {
            assert_eq!(tags[log.place].to_string(), log.key.log.to_string());
        }
        let [info] = &collections;
        let recorded = &info.partition_backups[0].segment_backups[0];
        assert_eq!((recorded.group_id, recorded.size, info.size), (7, 40, 60));
        let (field, last) = recorded.insert_logs().last().unwrap();
        assert_eq!(recorded.log_path(Some(field), last), "files/insert_log/1/2/7/100/4");
        assert_eq!(recorded.deltalogs[0].binlogs[0].log_id, 3);
        assert_eq!(info.l0_segments[0].group(), None);
    }
}
