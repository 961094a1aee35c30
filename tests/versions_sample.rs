//! Rows of a restored collection are compared with the backup, and what differs is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use fake_milvus::site::{Site, Version, done, refused, schema};
use fake_milvus::world::Lies;
use milvus_backup_operator::engine::task::{Load, OnConflict, Report, VerifyRestore, Work};
use rstest::rstest;

/// A site with a finished backup.
async fn backed_up(version: Version) -> Site {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    site
}

async fn restore(site: &Site, load: Load) -> Report {
    let mut task = site.restore_task();
    task.verify = VerifyRestore::Sample;
    task.load = load;
    site.run(Work::Restore(Box::new(task)), 1).await
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 4, 15))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn rows_that_came_back_as_they_were_are_counted_and_nothing_stays_loaded(
    #[case] version: Version,
    #[values(Load::Original, Load::None, Load::All)] load: Load,
) {
    let site = backed_up(version).await;
    let report = restore(&site, load).await;
    done(&report);
    // 90 rows less 8 deleted, some of them twice upserted; those of `plain` have no index to be loaded by.
    let compared = report.compared_rows.unwrap();
    assert!((60..=82).contains(&compared), "{compared} rows: {:?}", report.summary.warnings);
    let warned = report.summary.warnings.join("\n");
    assert!(warned.contains("rows of default.plain were counted and not compared"), "{warned}");
    assert!(warned.contains("fields of shop.docs that were not compared: vec"), "{warned}");
    let world = site.target.world().await;
    let docs = world.find("shop", "docs").unwrap();
    let partitions: Vec<&str> = docs.loaded_partitions.iter().map(String::as_str).collect();
    match load {
        Load::None => assert!(!docs.loaded),
        Load::Original => assert!(docs.loaded && partitions == ["eu"], "{partitions:?}"),
        Load::All => assert!(docs.loaded),
    }
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_row_that_comes_back_with_another_value_is_named_without_it(#[case] version: Version) {
    let site = backed_up(version).await;
    site.target.world().await.lies = Lies { changed_field: Some("body"), ..Lies::default() };
    let report = restore(&site, Load::Original).await;
    refused(&report, "ContentMismatch", "of shop.docs has another value in field body than in the backup");
    assert!(
        report.message.starts_with("the row with key ") && report.message.contains("; 1 of "),
        "{}",
        report.message
    );
    assert!(!report.message.contains("text of"), "{}", report.message);
}

#[tokio::test]
async fn a_row_that_does_not_come_back_is_named() {
    let site = backed_up((2, 3, 5)).await;
    site.target.world().await.lies = Lies { lost_rows: true, ..Lies::default() };
    let report = restore(&site, Load::All).await;
    refused(&report, "ContentMismatch", "is not in shop.docs");
}

#[tokio::test]
async fn a_key_that_is_there_twice_may_come_back_as_either_of_its_rows() {
    let site = Site::new((2, 3, 5), (2, 3, 5)).await;
    {
        let mut world = site.source.world().await;
        world.create_collection("default", "twice", schema(false), (1, 0, 0), vec![]).unwrap();
        let twice = world.find_mut("default", "twice").unwrap();
        twice.loaded = true;
        twice.indexes.push(milvus_backup_operator::milvus::proto::milvus::IndexDescription {
            index_name: "vec".into(),
            field_name: "vec".into(),
            ..Default::default()
        });
        for _ in 0..2 {
            world.insert("default", "twice", "_default", 0..30);
            world.flush("default", "twice").await;
        }
    }
    let rows = site.source.rows("default", "twice").await;
    let bodies: std::collections::BTreeSet<_> = rows.values().map(|fields| &fields["body"]).collect();
    assert!(bodies.len() > 30, "the rows of a key have to differ for this test");
    done(&site.backup().await);
    let report = restore(&site, Load::Original).await;
    done(&report);
    assert_eq!(report.compared_rows, Some(60));
    site.target.world().await.lies = Lies { changed_field: Some("body"), ..Lies::default() };
    let mut task = site.restore_task();
    task.verify = VerifyRestore::Sample;
    task.on_conflict = OnConflict::Replace;
    let report = site.run_as("restore-2", Work::Restore(Box::new(task)), 1).await;
    refused(&report, "ContentMismatch", "has another value in field body");
}

#[tokio::test]
async fn snapshots_are_counted_and_told_not_to_be_compared() {
    let site = backed_up((3, 0, 1)).await;
    let report = restore(&site, Load::Original).await;
    done(&report);
    assert_eq!(report.compared_rows, Some(0));
    let warned = report.summary.warnings.join("\n");
    let words = "rows of shop.docs were not compared with the backup: it is a snapshot, which only a Milvus can read";
    assert!(warned.contains(words), "{warned}");
}

#[tokio::test]
async fn rows_beside_those_of_others_are_not_compared_and_why_is_told() {
    let site = backed_up((2, 5, 27)).await;
    done(&restore(&site, Load::None).await);
    site.target.world().await.lies = Lies { changed_field: Some("body"), ..Lies::default() };
    let mut task = site.restore_task();
    (task.verify, task.on_conflict, task.load) = (VerifyRestore::Sample, OnConflict::Append, Load::None);
    let report = site.run_as("restore-2", Work::Restore(Box::new(task)), 1).await;
    done(&report);
    assert_eq!(report.compared_rows, Some(0));
    let warned = report.summary.warnings.join("\n");
    assert!(
        warned.contains("shop.docs were counted and not compared with the backup: it was there before"),
        "{warned}"
    );
}
