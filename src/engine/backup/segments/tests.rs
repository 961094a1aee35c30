use std::collections::BTreeMap;

use super::*;
use crate::engine::inventory::Inventory;
use crate::manifest::backup_info::PartitionBackupInfo;
use crate::manifest::schema::{CollectionSchema, FieldSchema};
use crate::milvus::SegmentLevel;
use crate::storage::Tag;

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
    let files = SegmentFiles { segment: 7, channel: "ch_0v0".into(), inserts: vec![(0, 1), (100, 2)], deltas: vec![4] };
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
