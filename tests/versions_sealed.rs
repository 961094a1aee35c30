//! Encrypted databases: their files go round without anybody but the server looking inside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use fake_milvus::site::{BACKUPS, Site, Version, done, fill, pair, refused, same};
use milvus_backup_operator::engine::task::{Content, Pattern, Work};
use milvus_backup_operator::storage::{Store, list_all};
use rstest::rstest;

const KEY: &str = "c2VjcmV0";

/// A site whose database `shop` is encrypted, with the usual data.
async fn sealed(from: Version, to: Version) -> Site {
    let site = Site::new(from, to).await;
    {
        let mut world = site.source.world().await;
        let cipher = [pair("cipher.enabled", "true"), pair("cipher.ezID", "3"), pair("cipher.key", "root")];
        world.databases.insert("shop".into(), (7, cipher.into()));
        world.keys.insert("shop".into(), KEY.into());
    }
    fill(&site.source).await;
    site
}

#[tokio::test]
async fn rows_of_an_encrypted_database_come_back_by_its_key() {
    let site = sealed((2, 6, 18), (2, 6, 18)).await;
    let docs = site.source.rows("shop", "docs").await;
    let report = site.backup().await;
    done(&report);
    let warned = report.summary.warnings.join("\n");
    assert!(warned.contains("encrypted databases: shop") && !warned.contains(KEY), "{warned}");
    let meta = site.buckets.bucket(BACKUPS).get("prod/nightly/meta/full_meta.json").await.unwrap();
    assert!(String::from_utf8_lossy(&meta).contains(&format!(r#""ezk":"{KEY}""#)));
    let report = site.restore().await;
    done(&report);
    same(&site.target.rows("shop", "docs").await, &docs);
    let world = site.target.world().await;
    assert!(!world.databases["shop"].1.iter().any(|property| property.key.starts_with("cipher.")));
    let warned = report.summary.warnings.join("\n");
    assert!(warned.contains("shop is not: its rows are stored there in clear") && !warned.contains(KEY), "{warned}");
}

#[tokio::test]
async fn a_target_that_is_encrypted_itself_keeps_its_own_key() {
    let site = sealed((2, 6, 18), (2, 6, 18)).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    {
        let mut world = site.target.world().await;
        world.databases.insert("shop".into(), (7, vec![pair("cipher.ezID", "9"), pair("cipher.key", "other")]));
        world.keys.insert("shop".into(), "b3RoZXI=".into());
    }
    let report = site.restore().await;
    done(&report);
    same(&site.target.rows("shop", "docs").await, &docs);
    assert!(report.summary.warnings.is_empty(), "{:?}", report.summary.warnings);
}

/// Takes our own files out of an artifact: what is left is one of milvus-backup.
async fn without_our_files(site: &Site) {
    let store = site.buckets.bucket(BACKUPS);
    let ours = list_all(&store, "prod/nightly/operator/").await.unwrap();
    store.delete(&ours.into_iter().map(|object| object.key).collect::<Vec<_>>()).await.unwrap();
}

#[tokio::test]
async fn a_key_can_be_replaced_by_another_one() {
    let site = sealed((2, 6, 18), (2, 6, 18)).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    // The metadata has the key under an old name.
    let store = site.buckets.bucket(BACKUPS);
    without_our_files(&site).await;
    let meta = store.get("prod/nightly/meta/full_meta.json").await.unwrap();
    let old = String::from_utf8(meta.to_vec()).unwrap().replace(KEY, "b2xk");
    store.put("prod/nightly/meta/full_meta.json", old.into()).await.unwrap();

    let mut task = site.restore_task();
    task.selection.include = vec![Pattern { database: "shop".into(), collections: vec![] }];
    let wrong = site.run(Work::Restore(Box::new(task.clone())), 1).await;
    refused(&wrong, "Rejected", "the file cannot be read");
    // As another restore does, which has a ledger of its own.
    without_our_files(&site).await;
    task.keys = [("b2xk".to_owned(), KEY.to_owned())].into_iter().collect();
    done(&site.run(Work::Restore(Box::new(task)), 2).await);
    same(&site.target.rows("shop", "docs").await, &docs);
    let mut task = site.restore_task();
    task.keys = [("bm9uZQ==".to_owned(), KEY.to_owned())].into_iter().collect();
    let report = site.run(Work::Restore(Box::new(task)), 3).await;
    refused(&report, "Rejected", "1 of the keys that are to be replaced");
    assert!(!report.message.contains("bm9uZQ=="));
}

#[rstest]
#[case((2, 6, 18), (2, 6, 7))]
#[case((2, 6, 18), (2, 6, 0))]
#[tokio::test]
async fn a_target_that_takes_no_keys_is_refused_before_anything_is_made(#[case] from: Version, #[case] to: Version) {
    let site = sealed(from, to).await;
    done(&site.backup().await);
    refused(&site.restore().await, "UnsupportedVersion", "database shop of the backup is encrypted");
    assert!(site.target.world().await.collections.is_empty());
}

#[tokio::test]
async fn without_its_key_an_encrypted_database_is_not_backed_up() {
    let site = sealed((2, 6, 18), (2, 6, 18)).await;
    site.source.world().await.keys.clear();
    refused(&site.backup().await, "Rejected", "without its key a backup is of no use");
    assert_eq!(site.source.calls("Flush").await, 0);
    let mut task = site.backup_task();
    task.milvus.management = Some("http://127.0.0.1:9".into());
    let report = site.run(Work::Backup(Box::new(task)), 1).await;
    refused(&report, "Interrupted", "database shop is encrypted, and its key could not be asked for");
    let old = sealed((2, 6, 7), (2, 6, 18)).await;
    refused(&old.backup().await, "UnsupportedVersion", "upgrade to 2.6.8");
}

#[tokio::test]
async fn schemas_of_an_encrypted_database_need_no_key() {
    let site = sealed((2, 6, 18), (2, 6, 0)).await;
    site.source.world().await.keys.clear();
    let mut task = site.backup_task();
    task.content = Content::SchemaOnly;
    done(&site.run(Work::Backup(Box::new(task)), 1).await);
    assert_eq!(site.source.calls("ez/backup").await, 0);
    let mut task = site.restore_task();
    task.content = Content::SchemaOnly;
    done(&site.run(Work::Restore(Box::new(task)), 1).await);
    assert!(site.target.world().await.databases["shop"].1.iter().all(|one| !one.key.starts_with("cipher.")));
}
