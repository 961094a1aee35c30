use super::*;
use crate::manifest::backup_info::PartitionBackupInfo;
use crate::manifest::{Binlog, FieldBinlog};

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
    let jobs = |info: &CollectionBackupInfo| batches(info, &keys, (Route::Jobs, &version("2.6.18")), &BTreeSet::new());
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
