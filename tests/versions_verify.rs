//! A backup is verified by itself: of every supported line, encrypted ones, snapshots, and as the Go tool leaves them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use fake_milvus::site::{BACKUPS, Site, Version, done, fill, pair, refused};
use milvus_backup_operator::engine::task::{Limits, Report, RestoreTask, Verification, VerifyLevel, VerifyTask, Work};
use milvus_backup_operator::exit::Class;
use milvus_backup_operator::storage::{ObjectMeta, Store, delete_prefix, list_all};
use rstest::rstest;

use VerifyLevel::{Checksum, Manifest};

async fn backed_up(version: Version) -> Site {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    site
}

async fn objects(site: &Site) -> Vec<ObjectMeta> {
    list_all(&site.buckets.bucket(BACKUPS), "").await.unwrap()
}

fn found(report: &Report) -> &Verification {
    report.verification.as_ref().unwrap()
}

#[rstest]
#[case((2, 2, 9))]
#[case((2, 3, 5))]
#[case((2, 4, 15))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[case((3, 0, 1))]
#[tokio::test]
async fn a_whole_backup_is_whole_at_every_level_and_stays_as_it_was(
    #[case] version: Version,
    #[values(false, true)] of_the_go_tool: bool,
) {
    let site = backed_up(version).await;
    if of_the_go_tool {
        delete_prefix(&site.buckets.bucket(BACKUPS), "prod/nightly/operator/").await.unwrap();
    }
    let before = objects(&site).await;
    let compared = site.verify(Manifest, 100).await;
    done(&compared);
    let data = before.iter().filter(|one| one.key.contains("/binlogs/") || one.key.contains("/bundle/"));
    let (count, bytes) = data.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.size));
    assert_eq!((found(&compared).objects_total, found(&compared).bytes_read), (count, 0));
    let read = site.verify(Checksum, 100).await;
    done(&read);
    let figures = found(&read);
    assert_eq!((figures.objects_total, figures.objects_checked, figures.bytes_read), (count, count, bytes));
    let parsed = if version >= (3, 0, 0) { 0 } else { count };
    assert_eq!((figures.objects_hashed, figures.objects_parsed), (count, parsed));
    assert_eq!((read.progress.objects_done, read.progress.objects_total), (count, count));
    assert_eq!((read.progress.bytes_done, read.progress.bytes_total), (bytes, bytes));
    let sample = site.verify(Checksum, 1).await;
    done(&sample);
    assert!((1..count).contains(&found(&sample).objects_checked), "{:?}", sample.verification);
    assert_eq!(objects(&site).await, before);
}

#[tokio::test]
async fn what_only_the_server_can_read_is_hashed() {
    let site = Site::new((2, 6, 18), (2, 6, 18)).await;
    {
        let mut world = site.source.world().await;
        world.databases.insert("shop".into(), (7, vec![pair("cipher.ezID", "3"), pair("cipher.key", "root")]));
        world.keys.insert("shop".into(), "c2VjcmV0".into());
    }
    fill(&site.source).await;
    done(&site.backup().await);
    let report = site.verify(Checksum, 100).await;
    done(&report);
    let figures = found(&report);
    assert!(figures.objects_parsed > 0 && figures.objects_parsed < figures.objects_checked, "{figures:?}");
    assert_eq!(figures.objects_hashed, figures.objects_checked);
}

#[rstest]
#[case(Manifest)]
#[case(Checksum)]
#[tokio::test]
async fn damage_ends_with_the_class_of_damaged_data_and_every_object_by_name(#[case] level: VerifyLevel) {
    let site = backed_up((2, 5, 27)).await;
    let bucket = site.buckets.bucket(BACKUPS);
    let logs = list_all(&bucket, "prod/nightly/binlogs/insert_log/").await.unwrap();
    let deltas = list_all(&bucket, "prod/nightly/binlogs/delta_log/").await.unwrap();
    let path = |object: &ObjectMeta| object.key.strip_prefix("prod/nightly/").unwrap().to_owned();
    let (flipped, cut, swapped) = (&logs[0], &logs[1], &logs[2]);
    let mut body = bucket.get(&flipped.key).await.unwrap().to_vec();
    body[20] ^= 1;
    bucket.put(&flipped.key, body.into()).await.unwrap();
    bucket.put(&cut.key, bucket.get(&cut.key).await.unwrap().slice(..10)).await.unwrap();
    bucket.put(&swapped.key, vec![b'x'; usize::try_from(swapped.size).unwrap()].into()).await.unwrap();
    bucket.delete(&[deltas[0].key.clone()]).await.unwrap();
    bucket.put(&format!("{}1", logs[3].key), "stray".into()).await.unwrap();
    let report = site.verify(level, 100).await;
    assert!(!report.ok && report.class == Some(Class::Data) && report.reason == "Damaged", "{}", report.message);
    let figures = found(&report);
    assert_eq!((figures.missing.total, figures.corrupt.total, figures.stray.total), (1, 3, 1), "{figures:?}");
    assert!(figures.missing.first[0].starts_with(&path(&deltas[0])));
    for object in [flipped, cut, swapped] {
        assert!(figures.corrupt.first.iter().any(|said| said.starts_with(&path(object))), "{figures:?}");
    }
    assert!(figures.stray.first[0].starts_with(&format!("{}1", path(&logs[3]))), "{figures:?}");
}

#[tokio::test]
async fn what_is_no_backup_is_not_verified() {
    let site = backed_up((2, 3, 5)).await;
    let bucket = site.buckets.bucket(BACKUPS);
    refused(&site.verify(Checksum, 0).await, "Rejected", "0 % is no share");
    bucket.delete(&["prod/nightly/operator/manifest.json".to_owned()]).await.unwrap();
    refused(&site.verify(Manifest, 100).await, "Damaged", "was never finished");
    delete_prefix(&bucket, "prod/nightly/").await.unwrap();
    refused(&site.verify(Manifest, 100).await, "ArtifactMissing", "there is no backup");
}

#[tokio::test]
async fn rows_that_all_fields_of_a_segment_lack_end_a_backup_that_is_read() {
    let site = Site::filled((2, 3, 5)).await;
    let rows = {
        let mut world = site.source.world().await;
        let segment = &mut world.find_mut("shop", "docs").unwrap().segments[0];
        segment.rows += 1;
        segment.rows
    };
    refused(&site.backup().await, "Damaged", &format!("has {} rows, its segment {rows}", rows - 1));
    assert!(objects(&site).await.iter().all(|object| !object.key.ends_with("manifest.json")));
}

#[tokio::test]
async fn a_backup_is_made_read_and_verified_under_limits() {
    let site = Site::filled((2, 5, 27)).await;
    let limits = Limits { concurrency: Some(1), bytes_per_second: Some(1 << 30), requests_per_second: Some(100_000) };
    let mut backup = site.backup_task();
    backup.limits = limits.clone();
    done(&site.run(Work::Backup(Box::new(backup)), 1).await);
    let RestoreTask { artifact, source: location, .. } = site.restore_task();
    let task = VerifyTask { artifact, location, level: Checksum, sample_percent: 100, seed: 1, limits };
    done(&site.run(Work::Verify(task), 1).await);
}
