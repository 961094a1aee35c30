use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::engine::task::StoreTarget;
use crate::manifest::backup_info::{DatabaseBackupInfo, PartitionBackupInfo};
use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, LogKey, SegmentBackupInfo, encode_meta};
use crate::storage::Store;
use crate::storage::fault::{Call, Fault, FaultStore, Verb};
use crate::storage::memory::{MemoryService, MemoryStore};

/// A collection of the golden files with its partition, its segment, and the rows in it.
const IDS: [i64; 3] = [470_614_391_995_112_724, 470_614_391_995_112_725, 470_614_391_995_112_732];
const ROWS: i64 = 200;

/// An artifact as the Go tool makes it, of files that Milvus has written.
struct Golden {
    store: MemoryStore,
    info: BackupInfo,
    /// What happens to requests.
    plan: fn(&Call) -> Fault,
}

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/milvus-2.3.5");
    let of = |kind: &str| root.join(format!("{kind}/{}/{}/{}", IDS[0], IDS[1], IDS[2]));
    let list = |folder: PathBuf| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    };
    list(of("insert_log")).into_iter().flat_map(list).chain(list(of("delta_log"))).collect()
}

impl Golden {
    async fn new(service: MemoryService) -> Golden {
        let store = service.bucket("b");
        let artifact = Artifact::at(Arc::new(store.clone()), "p", "nightly").unwrap();
        let [collection, partition, segment] = IDS;
        let mut backup = SegmentBackupInfo {
            segment_id: segment,
            collection_id: collection,
            partition_id: partition,
            num_of_rows: ROWS,
            ..SegmentBackupInfo::default()
        };
        for path in files() {
            let number =
                |at: usize| path.iter().rev().nth(at).and_then(|part| part.to_str()?.parse::<i64>().ok()).unwrap();
            let is_delta = path.iter().any(|part| part == "delta_log");
            let field = (!is_delta).then(|| number(1));
            let body = std::fs::read(&path).unwrap();
            let binlogs = vec![Binlog { log_id: number(0), log_size: body.len() as i64, more: None }];
            let of = if is_delta { &mut backup.deltalogs } else { &mut backup.binlogs };
            of.push(FieldBinlog { field_id: field.unwrap_or_default(), binlogs });
            let key = LogKey { collection, partition, segment, field, log: number(0) };
            store.put(&artifact.keys.log(&key, None), body.into()).await.unwrap();
        }
        let partition =
            PartitionBackupInfo { partition_id: partition, segment_backups: vec![backup], ..Default::default() };
        let collection = CollectionBackupInfo {
            collection_id: collection,
            db_name: "default".into(),
            collection_name: "texts".into(),
            partition_backups: vec![partition],
            ..CollectionBackupInfo::default()
        };
        let info = BackupInfo { collection_backups: vec![collection], ..BackupInfo::default() };
        Golden { store, info, plan: |_| Fault::Pass }
    }

    fn segment(&mut self) -> &mut SegmentBackupInfo {
        &mut self.info.collection_backups[0].partition_backups[0].segment_backups[0]
    }

    async fn verify(&self, level: VerifyLevel, sample_percent: u8) -> (Report, Vec<Call>) {
        for (file, body) in encode_meta(&self.info).unwrap() {
            self.store.put(&format!("p/nightly/meta/{}", file), body.into()).await.unwrap();
        }
        let watched = Arc::new(FaultStore::new(Arc::new(self.store.clone()), self.plan));
        let artifact = Artifact::at(watched.clone(), "p", "nightly").unwrap();
        let location = StoreTarget::default();
        let task = VerifyTask { artifact: "nightly".into(), location, level, sample_percent, seed: 1 };
        let report = verify(&artifact, &task, &Counters::default(), Instant::now()).await.unwrap();
        (report, watched.calls())
    }

    async fn checksum(&self) -> (bool, Verification, Vec<String>) {
        let (report, _) = self.verify(VerifyLevel::Checksum, 100).await;
        (report.ok, report.verification.unwrap(), report.summary.warnings)
    }
}

fn is_log(call: &Call) -> bool {
    call.key.contains("/binlogs/")
}

#[tokio::test]
async fn a_whole_backup_is_read_and_nothing_is_written() {
    let golden = Golden::new(MemoryService::new("m")).await;
    let (report, calls) = golden.verify(VerifyLevel::Checksum, 100).await;
    assert!(report.ok, "{}", report.message);
    let found = report.verification.unwrap();
    assert_eq!((found.objects_total, found.objects_checked, found.objects_hashed, found.objects_parsed), (5, 5, 5, 5));
    assert_eq!(found.bytes_read, files().iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());
    let reads = [Verb::ListPage, Verb::Get, Verb::GetRange];
    assert!(calls.iter().all(|call| reads.contains(&call.verb)), "{calls:?}");
}

#[tokio::test]
async fn a_comparison_with_the_listing_reads_no_log() {
    let golden = Golden::new(MemoryService::new("m")).await;
    let (report, calls) = golden.verify(VerifyLevel::Manifest, 100).await;
    assert!(report.ok && report.verification.unwrap().objects_checked == 5);
    assert!(!calls.iter().any(|call| is_log(call) && call.verb != Verb::ListPage), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.verb == Verb::ListPage).count(), 1);
}

#[tokio::test]
async fn a_share_reads_one_object_of_a_collection_at_least() {
    let golden = Golden::new(MemoryService::new("m")).await;
    let (report, calls) = golden.verify(VerifyLevel::Checksum, 1).await;
    let found = report.verification.unwrap();
    assert_eq!((report.ok, found.objects_checked, found.objects_total), (true, 1, 5));
    assert_eq!(calls.iter().filter(|call| is_log(call) && call.verb == Verb::Get).count(), 1);
}

#[tokio::test]
async fn content_that_rots_under_its_etag_is_named() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.plan = |call| match is_log(call) && call.verb == Verb::Get && call.key.contains("/101/") {
        true => Fault::Flip,
        false => Fault::Pass,
    };
    let (ok, found, _) = golden.checksum().await;
    assert!(!ok && found.corrupt.total == 1, "{found:?}");
    assert!(found.corrupt.first[0].starts_with(&format!("binlogs/insert_log/{}", IDS[0])), "{found:?}");
    assert!(found.corrupt.first[0].contains("/101/"), "{found:?}");
}

#[tokio::test]
async fn rot_that_nothing_inside_contradicts_is_told_by_the_hash() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.info.database_backups =
        vec![DatabaseBackupInfo { db_name: "default".into(), ezk: "k".into(), ..DatabaseBackupInfo::default() }];
    // Encrypted as far as the metadata says: only the hash is left.
    let (ok, found, _) = golden.checksum().await;
    assert_eq!((ok, found.objects_hashed, found.objects_parsed), (true, 5, 0));
    golden.plan = |call| match is_log(call) && call.verb == Verb::GetRange && call.key.contains("/1/") {
        true => Fault::Flip,
        false => Fault::Pass,
    };
    let (ok, found, _) = golden.checksum().await;
    assert!(!ok && found.corrupt.first[0].contains("has not the MD5 that is its ETag"), "{found:?}");
}

#[tokio::test]
async fn tags_that_are_no_digests_accuse_nobody() {
    let golden = Golden::new(MemoryService::new("m").with_opaque_tags()).await;
    let (ok, found, warnings) = golden.checksum().await;
    assert_eq!((ok, found.objects_hashed, found.objects_parsed), (true, 0, 5));
    assert!(warnings.iter().any(|warning| warning.contains("no hash was compared")), "{warnings:?}");
}

#[tokio::test]
async fn rows_that_the_metadata_does_not_know_of_are_named() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.segment().num_of_rows = ROWS + 1;
    let (ok, found, _) = golden.checksum().await;
    assert!(!ok && found.corrupt.total == 4, "{found:?}");
    assert!(found.corrupt.first[0].contains("has 200 rows, its segment 201"), "{found:?}");
}

#[tokio::test]
async fn an_object_that_goes_while_others_are_read_is_missing() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.plan = |call| match is_log(call) && call.verb == Verb::Get && call.key.contains("/100/") {
        true => Fault::Fail(crate::storage::StoreError::NotFound { place: "b".into(), key: call.key.clone() }),
        false => Fault::Pass,
    };
    let (ok, found, _) = golden.checksum().await;
    assert_eq!((ok, found.missing.total, found.corrupt.total), (false, 1, 0), "{found:?}");
}

#[tokio::test]
async fn each_kind_of_damage_is_told_apart_and_a_listing_is_enough_for_it() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    let missing = LogKey { collection: IDS[0], partition: IDS[1], segment: IDS[2], field: Some(7), log: 8 };
    golden
        .segment()
        .binlogs
        .push(FieldBinlog { field_id: 7, binlogs: vec![Binlog { log_id: 8, ..Binlog::default() }] });
    let text = golden.segment().binlogs[0].binlogs[0].log_id;
    let field = golden.segment().binlogs[0].field_id;
    let artifact = Artifact::at(Arc::new(golden.store.clone()), "p", "nightly").unwrap();
    let cut = LogKey { field: Some(field), log: text, ..missing };
    golden.store.put(&artifact.keys.log(&cut, None), "cut".into()).await.unwrap();
    let stray = LogKey { log: 9, ..missing };
    golden.store.put(&artifact.keys.log(&stray, None), "stray".into()).await.unwrap();
    let (report, _) = golden.verify(VerifyLevel::Manifest, 100).await;
    assert_eq!((report.ok, report.class, report.reason.as_str()), (false, Some(Class::Data), "Damaged"));
    let found = report.verification.unwrap();
    assert_eq!((found.missing.total, found.corrupt.total, found.stray.total), (1, 1, 1), "{found:?}");
    assert_eq!(found.missing.first[0], format!("{} is missing", log_path(&missing, None)));
    assert!(found.corrupt.first[0].starts_with(&format!("{} has 3 bytes instead of", log_path(&cut, None))));
    assert!(found.stray.first[0].starts_with(&log_path(&stray, None)));
    assert!(report.message.starts_with("backup nightly is damaged: "), "{}", report.message);
}
