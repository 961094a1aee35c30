//! What holds for the import jobs of every backup.

use proptest::prelude::*;

use super::*;
use crate::manifest::backup_info::PartitionBackupInfo;
use crate::manifest::{Binlog, FieldBinlog};

/// Partition, channel, storage version, whether it holds deletes only, whether it has deletes, GiB.
type Sketch = (i64, u8, i64, bool, bool, i64);

fn segment(id: i64, sketch: &Sketch) -> SegmentBackupInfo {
    let (partition, channel, storage_version, is_l0, deletes, gib) = *sketch;
    let logs = |log_id| vec![FieldBinlog { field_id: 0, binlogs: vec![Binlog { log_id, ..Default::default() }] }];
    SegmentBackupInfo {
        segment_id: id,
        collection_id: 1,
        partition_id: partition,
        group_id: id,
        binlogs: if is_l0 { Vec::new() } else { logs(id * 10) },
        deltalogs: if is_l0 || deletes { logs(id * 10 + 1) } else { Vec::new() },
        size: gib << 30,
        is_l0,
        v_channel: format!("ch{channel}"),
        storage_version,
        ..Default::default()
    }
}

fn collection(sketches: &[Sketch]) -> CollectionBackupInfo {
    let segments = || (100..).zip(sketches).map(|(id, sketch)| segment(id, sketch));
    let partition = |partition_id| {
        let segments: Vec<_> = segments().filter(|one| one.partition_id == partition_id).collect();
        PartitionBackupInfo {
            partition_id,
            partition_name: format!("p{partition_id}"),
            size: segments.iter().map(|segment| segment.size).sum(),
            segment_backups: segments,
            ..Default::default()
        }
    };
    CollectionBackupInfo {
        collection_id: 1,
        partition_backups: (1..4).map(partition).collect(),
        l0_segments: segments().filter(|one| one.partition_id == ALL_PARTITIONS).collect(),
        ..Default::default()
    }
}

fn any_sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let sketch =
        (1..4_i64, 0..3_u8, prop_oneof![Just(0_i64), Just(2)], any::<bool>(), any::<bool>(), 0..20_i64, any::<bool>());
    let sketch = sketch.prop_map(|(partition, channel, storage, is_l0, deletes, gib, everywhere)| {
        (if is_l0 && everywhere { ALL_PARTITIONS } else { partition }, channel, storage, is_l0, deletes, gib)
    });
    proptest::collection::vec(sketch, 0..40)
}

fn any_route() -> impl Strategy<Value = (Route, &'static str)> {
    prop_oneof![
        Just((Route::Partitions, "v2.3.5")),
        Just((Route::Segments, "v2.4.15")),
        Just((Route::Jobs, "v2.5.27")),
        Just((Route::Jobs, "v2.6.18")),
    ]
}

proptest! {
    #[test]
    fn every_segment_is_in_one_job_of_its_kind_and_no_directory_in_two(
        sketches in any_sketches(), (route, version) in any_route(), strays in proptest::collection::btree_set(1..4_i64, 0..3),
    ) {
        // Servers that take whole partitions know no other storage version.
        let known = |sketch: Sketch| if route == Route::Partitions { (sketch.0, sketch.1, 0, sketch.3, sketch.4, sketch.5) } else { sketch };
        let sketches: Vec<Sketch> = sketches.into_iter().map(known).collect();
        let info = collection(&sketches);
        let version = ServerVersion::parse(version);
        let keys = Artifact::new("backup", "a").unwrap();
        let plan = || batches(&info, &keys, (route, &version), &strays);
        let jobs = plan();
        prop_assert_eq!(&plan(), &jobs, "the next attempt plans otherwise");
        prop_assert!(jobs.is_sorted_by_key(|job| job.kind));

        let mut of_rows: Vec<i64> = Vec::new();
        let mut of_deletes: Vec<i64> = Vec::new();
        for job in &jobs {
            let segments = if job.kind == BatchKind::Rows { &mut of_rows } else { &mut of_deletes };
            segments.extend(&job.segments);
            prop_assert!(job.directories.len() <= SEGMENTS_OF_JOB);
            prop_assert!(job.directories.len() == 1 || job.bytes <= BYTES_OF_JOB);
            prop_assert_eq!(job.kind == BatchKind::DeletesOfAll, job.partition.is_empty());
            let versions: BTreeSet<i64> =
                info.segments().filter(|one| job.segments.contains(&one.segment_id)).map(|one| one.storage_version).collect();
            prop_assert!(job.kind != BatchKind::Rows || route != Route::Jobs || versions.len() == 1);
        }
        of_rows.sort_unstable();
        of_deletes.sort_unstable();
        let wanted = |is_l0| {
            let mut ids: Vec<i64> = info.segments().filter(|one| one.is_l0 == is_l0).map(|one| one.segment_id).collect();
            ids.sort_unstable();
            ids
        };
        prop_assert_eq!(of_rows, wanted(false));
        prop_assert_eq!(of_deletes, wanted(true));

        let directories: Vec<&String> = jobs.iter().flat_map(|job| &job.directories).map(|one| &one.first).collect();
        prop_assert_eq!(directories.iter().collect::<BTreeSet<_>>().len(), directories.len());
        let identities: BTreeSet<String> = jobs.iter().map(Batch::identity).collect();
        prop_assert_eq!(identities.len(), jobs.len());
        let bytes: u64 = jobs.iter().map(|job| job.bytes).sum();
        prop_assert_eq!(bytes, info.segments().map(|one| one.size.cast_unsigned()).sum::<u64>());
    }
}
