//! What a backup and a proof hold in memory for very many objects, on a store that holds none of them.
//!
//! The measure is that of a whole process, so each is run in one of its own: this test binary, which is asked for one test
//! and told by its environment how large that is to be.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::engine::computed::{Computed, FIELDS, ID, NAME, Open, PREFIX, ROOT, peak};
use crate::engine::proof;
use crate::engine::reader::Reader;
use crate::engine::task::Limits;
use crate::manifest::backup_info::PartitionBackupInfo;
use crate::manifest::operator_manifest::{FORMAT_VERSION, Source, Totals, digest};
use crate::manifest::{BackupInfo, LogKind, OperatorManifest};
use crate::milvus::{Segment, SegmentLevel, SegmentState};

const MIB: u64 = 1 << 20;
const OBJECTS: &str = "MEASURED_OBJECTS";
const DIRECTORY: &str = "MEASURED_DIRECTORY";
const PEAK: &str = "at most resident: ";

/// Where a measurement is, on standard error with `--nocapture`.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, what: &str) {
        eprintln!("{what}: {} ms, up to {} MiB", self.0.elapsed().as_millis(), peak() / MIB);
        self.0 = Instant::now();
    }
}

/// A bucket with so many logs of one collection; what is written of its artifact lies in a directory.
fn bucket(directory: &Path, objects: u64) -> (Arc<Computed>, Artifact) {
    let store = Arc::new(Computed::new("computed:", objects, 1000, directory));
    let artifact = Artifact::at(store.clone(), PREFIX, NAME).unwrap();
    (store, artifact)
}

/// What a server says of the collection and of its segments.
fn described(objects: u64) -> (CollectionBackupInfo, Vec<Segment>) {
    let partition = PartitionBackupInfo { partition_id: ID + 1, collection_id: ID, ..Default::default() };
    let info = CollectionBackupInfo {
        collection_id: ID,
        collection_name: "docs".into(),
        partition_backups: vec![partition],
        ..Default::default()
    };
    let segment = |at| Segment {
        id: ID + at,
        partition_id: ID + 1,
        rows: 1000,
        state: SegmentState::Flushed,
        level: SegmentLevel::L1,
        sorted: true,
        storage_version: 0,
    };
    (info, (0..objects as i64 / FIELDS).map(segment).collect())
}

/// All that a backup does with logs: lists, plans, copies, proves and writes them down.
async fn back_up(directory: &Path, objects: u64) {
    let mut steps = Steps(Instant::now());
    let (store, artifact) = bucket(directory, objects);
    let counters = Counters::default();
    let (mut info, segments) = described(objects);
    steps.done("begun");
    let wanted = segments.iter().map(logs::Logs::place).collect();
    let listed = logs::of(store.as_ref(), ROOT, ID, &wanted, &[LogKind::Insert, LogKind::Delta]).await.unwrap();
    drop(wanted);
    let found = segments::assign(segments, listed, false, &BTreeSet::new()).unwrap();
    steps.done("listed");
    let tags = segments::record(&mut info, ROOT, found);
    let collections = vec![info];
    let logs = Inventory::of(&collections);
    steps.done("planned");
    let copies = Copies { source: store.as_ref(), root_path: ROOT, artifact: &artifact, logs: &logs, tags: &tags };
    let there = there::look(&copies).await.unwrap();
    assert!(there.copied.iter().all(|copied| !copied) && !there.strays);
    let todo = logs.logs().map(|log| copies.copy(&log));
    let copier = copy::Copier::new(&Limits::default(), &counters);
    copier.all(store.as_ref(), store.as_ref(), todo, &counters, &Open).await.unwrap();
    steps.done("copied");
    let there = there::look(&copies).await.unwrap();
    assert!(there.copied.iter().all(|copied| *copied) && !there.strays);
    drop(there);
    steps.done("looked at again, as by a second attempt");
    let verified = verify::artifact(&copies, VerifyBackup::Manifest).await.unwrap();
    assert_eq!((verified.count, verified.bytes), (objects, 1000 * objects));
    drop((logs, tags));
    steps.done(&format!("verified ({} MiB of records)", verified.objects.len() as u64 / MIB));
    let info = Arc::new(BackupInfo { collection_backups: collections, ..BackupInfo::default() });
    let full_meta_sha256 = commit::metadata(&artifact, &info, &counters).await.unwrap();
    let manifest = OperatorManifest {
        format_version: FORMAT_VERSION,
        artifact: NAME.into(),
        engine_version: String::new(),
        milvus_version: String::new(),
        created: Timestamp::UNIX_EPOCH,
        recovery_point: None,
        source: Source::default(),
        full_meta_sha256,
        objects_sha256: digest(&verified.objects),
        totals: Totals::default(),
        partial: false,
        failed_collections: Vec::new(),
    };
    store.put(&artifact.keys.operator(OperatorFile::Objects), verified.objects).await.unwrap();
    let manifest = manifest.encode().unwrap().into();
    store.put(&artifact.keys.operator(OperatorFile::Manifest), manifest).await.unwrap();
    steps.done("written");
}

/// All that a restore does with logs before it touches anything.
async fn prove(directory: &Path, objects: u64) {
    let mut steps = Steps(Instant::now());
    let (store, artifact) = bucket(directory, objects);
    store.copied.store(objects, std::sync::atomic::Ordering::Relaxed);
    steps.done("begun");
    let contents = artifact.read().await.unwrap();
    steps.done("read");
    let logs = Inventory::of(&contents.info.collection_backups);
    assert_eq!(logs.logs().count() as u64, objects);
    let compared = proof::compare(&artifact, &contents, &logs).await.unwrap();
    assert!(compared.strays.is_empty());
    steps.done("compared");
    let reader = Reader::new(&Limits::default());
    compared.prove(&artifact, &contents, &logs, &[ID].into(), &reader).await.unwrap();
    steps.done("proven");
}

fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[tokio::test]
async fn what_is_backed_up_page_by_page_is_proven_page_by_page() {
    let objects = told(OBJECTS).map_or(3000, |objects| objects.parse().unwrap());
    match told(DIRECTORY) {
        Some(directory) if directory.ends_with("/proof") => {
            prove(Path::new(&directory).parent().unwrap(), objects).await
        }
        Some(directory) => back_up(Path::new(&directory), objects).await,
        None => {
            let directory = tempfile::tempdir().unwrap();
            back_up(directory.path(), objects).await;
            prove(directory.path(), objects).await;
        }
    }
    eprintln!("{PEAK}{}", peak());
}

/// Measures a backup, and then a proof of it, each in a process of its own; answers the most each had resident.
fn measured(objects: u64) -> [u64; 2] {
    let directory = tempfile::tempdir().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::what_is_backed_up_page_by_page_is_proven_page_by_page");
    [directory.path().to_owned(), directory.path().join("proof")].map(|path| {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "--nocapture", &test]).env(OBJECTS, objects.to_string()).env(DIRECTORY, path);
        let output = alone.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("{said}");
        assert!(output.status.success(), "{said}");
        let peak = said.lines().find_map(|line| line.split_once(PEAK)).unwrap().1;
        peak.trim().parse().unwrap()
    })
}

#[test]
fn a_backup_and_a_proof_of_a_hundred_thousand_objects_each_take_less_than_64_mib() {
    let peaks = measured(100_000);
    assert!(peaks.iter().all(|peak| *peak < 64 * MIB), "{:?} MiB", peaks.map(|peak| peak / MIB));
}

#[test]
#[ignore = "takes minutes without optimisation"]
fn a_backup_and_a_proof_of_a_million_objects_each_take_less_than_256_mib() {
    let peaks = measured(1_000_000);
    assert!(peaks.iter().all(|peak| *peak < 256 * MIB), "{:?} MiB", peaks.map(|peak| peak / MIB));
}
