use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::golden::{Golden, IDS, ROWS, files};
use crate::engine::task::{Limits, StoreTarget};
use crate::exit::Class;
use crate::manifest::backup_info::DatabaseBackupInfo;
use crate::manifest::layout::log_path;
use crate::manifest::{Binlog, FieldBinlog, LogKey};
use crate::storage::Store;
use crate::storage::fault::{Call, Fault, FaultStore, Verb};
use crate::storage::memory::MemoryService;

impl Golden {
    async fn watch(&self, level: VerifyLevel, sample_percent: u8) -> (Report, Arc<FaultStore>) {
        let (artifact, watched) = self.artifact().await;
        let (location, limits) = (StoreTarget::default(), self.limits.clone());
        let task = VerifyTask { artifact: "nightly".into(), location, level, sample_percent, seed: 1, limits };
        let report = verify(&artifact, &task, &Counters::default(), Instant::now()).await.unwrap();
        (report, watched)
    }

    async fn verify(&self, level: VerifyLevel, sample_percent: u8) -> (Report, Vec<Call>) {
        let (report, watched) = self.watch(level, sample_percent).await;
        (report, watched.calls())
    }

    async fn checksum(&self) -> (bool, Verification, Vec<String>) {
        let (report, _) = self.verify(VerifyLevel::Checksum, 100).await;
        (report.ok, report.verification.unwrap(), report.summary.warnings)
    }

    /// How long it takes to read all of it, and what is said of it.
    async fn timed(&self) -> (Duration, Verification) {
        let began = Instant::now();
        let (report, _) = self.verify(VerifyLevel::Checksum, 100).await;
        assert!(report.ok, "{}", report.message);
        (began.elapsed(), report.verification.unwrap())
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

#[tokio::test(start_paused = true)]
async fn no_more_requests_and_bytes_are_asked_for_in_a_second_than_the_limits_say() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    let (free, found) = golden.timed().await;
    assert_eq!(free, Duration::ZERO);
    // Each log, and a file of the metadata that shows what the ETags of this store are.
    let requests = found.objects_checked + 1;
    golden.limits = Limits { requests_per_second: Some(2), ..Limits::default() };
    assert_eq!(golden.timed().await.0, Duration::from_secs(1) * (requests as u32 - 2) / 2);
    let slow = found.bytes_read / 10;
    golden.limits = Limits { bytes_per_second: Some(slow), ..Limits::default() };
    let took = golden.timed().await.0;
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_encrypted_is_read_under_the_limits_too() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.info.database_backups =
        vec![DatabaseBackupInfo { db_name: "default".into(), ezk: "k".into(), ..DatabaseBackupInfo::default() }];
    golden.limits = Limits { requests_per_second: Some(2), ..Limits::default() };
    let (took, found) = golden.timed().await;
    assert_eq!((took, found.objects_parsed), (Duration::from_secs(2), 0));
}

#[tokio::test(start_paused = true)]
async fn as_many_objects_are_read_at_once_as_the_limits_say() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.plan = |call| match is_log(call) && call.verb == Verb::Get {
        true => Fault::Late(Duration::from_secs(1)),
        false => Fault::Pass,
    };
    let mut held = Vec::new();
    for (concurrency, seconds) in [(None, 1), (Some(2), 3), (Some(1), 5)] {
        golden.limits = Limits { concurrency, ..Limits::default() };
        let began = Instant::now();
        let (report, watched) = golden.watch(VerifyLevel::Checksum, 100).await;
        assert!(report.ok && began.elapsed() == Duration::from_secs(seconds), "{:?}", began.elapsed());
        held.push(watched.most_held());
    }
    let sizes = files().iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>();
    // All at once, some at once, one at a time: nothing is kept of what was looked into.
    assert!(held[0] >= sizes.iter().sum() && held[2] >= *sizes.iter().max().unwrap());
    assert!(held[0] > held[1] && held[1] > held[2] && held[2] < sizes.iter().sum(), "{held:?} of {sizes:?}");
}

/// Makes the first log `size` bytes long as far as its metadata says, and in the bucket.
async fn grown(golden: &mut Golden, size: usize) -> String {
    let [collection, partition, segment] = IDS;
    let field = &mut golden.segment().binlogs[0];
    field.binlogs[0].log_size = size as i64;
    let key = LogKey { collection, partition, segment, field: Some(field.field_id), log: field.binlogs[0].log_id };
    let (artifact, _) = golden.artifact().await;
    golden.store.put(&artifact.keys.log(&key, None), vec![7; size].into()).await.unwrap();
    log_path(&key, None)
}

#[tokio::test(start_paused = true)]
async fn a_log_larger_than_all_that_may_be_held_is_read_alone() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    let size = 40 << 20;
    let large = grown(&mut golden, size).await;
    golden.plan = |call| match is_log(call) && call.verb == Verb::Get {
        true => Fault::Late(Duration::from_secs(1)),
        false => Fault::Pass,
    };
    let began = Instant::now();
    let (report, watched) = golden.watch(VerifyLevel::Checksum, 100).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(watched.most_held(), size as u64);
    let found = report.verification.unwrap();
    assert!(found.corrupt.total == 1 && found.corrupt.first[0].starts_with(&large), "{found:?}");
}

#[tokio::test]
async fn an_object_that_grows_after_it_was_listed_is_not_read_and_named() {
    let mut golden = Golden::new(MemoryService::new("m")).await;
    golden.plan = |call| match is_log(call) && call.verb == Verb::Get && call.key.contains("/100/") {
        true => {
            let (place, key) = ("b".into(), call.key.clone());
            Fault::Fail(crate::storage::StoreError::TooLarge { key, place, size: 1 << 40, most: 10 })
        }
        false => Fault::Pass,
    };
    let (ok, found, _) = golden.checksum().await;
    assert_eq!((ok, found.missing.total, found.corrupt.total), (false, 0, 1), "{found:?}");
    assert!(found.corrupt.first[0].contains(" has 1099511627776 bytes instead of "), "{found:?}");
}
