//! Milvus 3.0: the server exports and restores snapshots by itself. Only modelled: no such server was to be had.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use fake_milvus::site::{BACKUPS, SOURCE, Site, done, refused, same};
use milvus_backup_operator::engine::task::{Format, OnConflict, Override, Rename, RestoreTask, Work};
use milvus_backup_operator::manifest::decode_full;
use milvus_backup_operator::storage::{Store, list_all};
use rstest::rstest;

const VERSION: (u64, u64, u64) = (3, 0, 1);

/// No snapshot pins files any more.
async fn nothing_pinned(site: &Site) {
    assert!(site.source.world().await.snapshots.is_empty());
}

#[tokio::test]
async fn a_snapshot_goes_there_and_back_with_all_that_was_flushed() {
    let site = Site::filled(VERSION).await;
    let (docs, plain) = (site.source.rows("shop", "docs").await, site.source.rows("default", "plain").await);
    let report = site.backup().await;
    done(&report);
    assert_eq!((report.summary.collections, report.recovery_point.is_some()), (2, true));
    nothing_pinned(&site).await;
    assert_eq!(site.source.calls("gc/pause").await, 0, "a snapshot pins its files");
    let bucket = site.buckets.bucket(BACKUPS);
    let info = decode_full(&bucket.get("prod/nightly/meta/full_meta.json").await.unwrap()).unwrap();
    assert_eq!(info.format, "snapshot");
    for collection in &info.collection_backups {
        let path = &collection.snapshot_backup.as_ref().unwrap().metadata_path;
        assert!(path.starts_with(&format!("bundle/snapshots/{}/metadata/", collection.collection_id)), "{path}");
    }
    assert!(list_all(&bucket, "prod/nightly/meta/").await.unwrap().len() == 3, "levels of binlogs are not written");

    let report = site.restore().await;
    done(&report);
    same(&site.target.rows("shop", "docs").await, &docs);
    same(&site.target.rows("default", "plain").await, &plain);
    assert!(report.summary.warnings.iter().any(|warning| warning.contains("not compared with anything")));
    let world = site.target.world().await;
    let docs = world.find("shop", "docs").unwrap();
    assert_eq!(
        (docs.indexes.len(), docs.partitions.len(), docs.aliases.as_slice()),
        (1, 2, ["docs_live".to_owned()].as_slice())
    );
    assert!(docs.loaded);
    assert!(!world.calls.iter().any(|call| ["CreateCollection", "CreateIndex", "Import"].contains(&call.as_str())));
}

#[tokio::test]
async fn a_snapshot_comes_back_under_another_name_with_another_description() {
    let site = Site::filled(VERSION).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    let mut task = site.restore_task();
    task.mapping.collections = vec![Rename { from: "shop.docs".into(), to: "shop.papers".into() }];
    task.mapping.overrides =
        vec![Override { collection: "shop.papers".into(), shards: None, description: Some("copied".into()) }];
    done(&site.run(Work::Restore(Box::new(task)), 1).await);
    same(&site.target.rows("shop", "papers").await, &docs);
    let world = site.target.world().await;
    let papers = world.find("shop", "papers").unwrap();
    assert!(papers.properties.contains(&fake_milvus::site::pair("collection.description", "copied")));
    assert!(papers.aliases.is_empty());
}

#[tokio::test]
async fn existing_collections_are_dropped_first_where_that_is_asked_for() {
    let site = Site::filled(VERSION).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    fake_milvus::site::fill(&site.target).await;
    refused(&site.restore().await, "ConflictFound", "2 of 2");
    let task = RestoreTask { on_conflict: OnConflict::Replace, ..site.restore_task() };
    done(&site.run(Work::Restore(Box::new(task)), 2).await);
    same(&site.target.rows("shop", "docs").await, &docs);
}

#[tokio::test]
async fn a_restore_that_is_tried_again_makes_nothing_twice() {
    let site = Site::filled(VERSION).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    done(&site.restore().await);
    done(&site.run(Work::Restore(Box::new(site.restore_task())), 2).await);
    same(&site.target.rows("shop", "docs").await, &docs);
    assert_eq!(site.target.calls("RestoreExternalSnapshot").await, 2);
}

#[tokio::test]
async fn a_restore_that_the_server_gives_up_leaves_nothing_half_made() {
    let site = Site::filled(VERSION).await;
    done(&site.backup().await);
    site.target.world().await.lies.failing_restores = 2;
    refused(&site.restore().await, "Rejected", "of its snapshot: copy failed");
    assert!(site.target.world().await.collections.is_empty());
}

#[tokio::test]
async fn an_export_that_fails_commits_nothing_and_pins_nothing() {
    let site = Site::filled(VERSION).await;
    site.source.world().await.lies.failing_exports = vec!["no space"];
    refused(&site.backup().await, "Interrupted", "no space");
    nothing_pinned(&site).await;
    assert!(list_all(&site.buckets.bucket(BACKUPS), "prod/nightly/meta/").await.unwrap().is_empty());
    done(&site.run(Work::Backup(Box::new(site.backup_task())), 2).await);
}

#[tokio::test]
async fn a_server_that_says_done_and_wrote_nothing_is_not_believed() {
    let site = Site::filled(VERSION).await;
    site.source.world().await.lies.lost_bundle = true;
    refused(&site.backup().await, "Damaged", "is exported, and bundle/snapshots/");
    nothing_pinned(&site).await;
}

#[tokio::test]
async fn a_bundle_that_lost_a_file_is_found_before_anything_is_made() {
    let site = Site::filled(VERSION).await;
    done(&site.backup().await);
    let bucket = site.buckets.bucket(BACKUPS);
    let files = list_all(&bucket, "prod/nightly/bundle/files/").await.unwrap();
    bucket.delete(&[files[0].key.clone()]).await.unwrap();
    refused(&site.restore().await, "Damaged", "is missing");
    assert!(site.target.world().await.collections.is_empty());
}

#[tokio::test]
async fn the_first_release_only_knows_the_calls_and_is_told_to_be_upgraded() {
    let site = Site::filled((3, 0, 0)).await;
    refused(&site.backup().await, "UnsupportedVersion", "3.0.1 and later can");
    nothing_pinned(&site).await;
}

#[rstest]
#[case(VERSION, Format::Binlog, "can only be copied by its own snapshots")]
#[case((2, 6, 18), Format::Snapshot, "has no snapshots")]
#[tokio::test]
async fn a_format_that_the_server_does_not_have_is_refused(
    #[case] version: (u64, u64, u64),
    #[case] format: Format,
    #[case] words: &str,
) {
    let site = Site::filled(version).await;
    let mut task = site.backup_task();
    task.format = format;
    refused(&site.run(Work::Backup(Box::new(task)), 1).await, "UnsupportedVersion", words);
    assert_eq!(site.source.calls("Flush").await, 0);
}

#[tokio::test]
async fn a_snapshot_does_not_go_into_an_older_server() {
    let site = Site::new(VERSION, (2, 6, 18)).await;
    fake_milvus::site::fill(&site.source).await;
    done(&site.backup().await);
    refused(&site.restore().await, "UnsupportedVersion", "a snapshot of Milvus 3.0");
}

#[tokio::test]
async fn a_backup_beside_the_data_of_milvus_is_exported_there_too() {
    let site = Site::filled(VERSION).await;
    let mut task = site.backup_task();
    task.destination.bucket = SOURCE.into();
    done(&site.run(Work::Backup(Box::new(task)), 1).await);
    assert!(!list_all(&site.buckets.bucket(SOURCE), "prod/nightly/bundle/").await.unwrap().is_empty());
}
