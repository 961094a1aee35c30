//! Servers that do not do what they say, or not at once: the engine waits, asks again, makes anew, or tells.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use std::time::Duration;

use fake_milvus::site::{Site, Version, done, refused, same, schema};
use fake_milvus::world::Lies;
use milvus_backup_operator::engine::progress::Counters;
use milvus_backup_operator::engine::task::{Pattern, Run, TASK_VERSION, Task, Work};
use milvus_backup_operator::exit::Class;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

/// A site with a finished backup whose target lies.
async fn lying(version: Version, lies: Lies) -> Site {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    site.target.world().await.lies = lies;
    site
}

async fn restored_whole(site: &Site) {
    let (docs, plain) = (site.source.rows("shop", "docs").await, site.source.rows("default", "plain").await);
    same(&site.target.rows("shop", "docs").await, &docs);
    same(&site.target.rows("default", "plain").await, &plain);
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 4, 15))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn an_import_that_completes_without_a_row_is_no_success(#[case] version: Version) {
    let site = lying(version, Lies { empty_imports: 1, ..Lies::default() }).await;
    refused(&site.restore().await, "RowCountMismatch", "0 rows were imported");
}

#[rstest]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn deletes_that_were_imported_without_one_are_no_success(#[case] version: Version) {
    let site = lying(version, Lies { empty_delete_imports: 1, ..Lies::default() }).await;
    refused(&site.restore().await, "RowCountMismatch", "0 deletes were imported");
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 4, 15))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_failed_import_starts_its_collection_over(#[case] version: Version) {
    let lies = Lies { failing_imports: vec!["task marked failed as service restarted"], ..Lies::default() };
    let site = lying(version, lies).await;
    done(&site.restore().await);
    restored_whole(&site).await;
}

#[tokio::test]
async fn imports_that_stand_in_line_behind_a_lost_one_are_not_waited_for() {
    let failing_imports = vec!["the server restarted, and nobody works on it"];
    let site = lying((2, 3, 5), Lies { failing_imports, failed_import_blocks: true, ..Lies::default() }).await;
    let mut task = site.restore_task();
    task.selection.include = vec![Pattern { database: "shop".into(), collections: vec!["docs".into()] }];
    let report = tokio::time::timeout(Duration::from_secs(60), site.run(Work::Restore(Box::new(task)), 1)).await;
    done(&report.expect("the restore waits for imports that nobody will ever work on"));
    same(&site.target.rows("shop", "docs").await, &site.source.rows("shop", "docs").await);
}

#[tokio::test]
async fn an_import_that_always_fails_ends_with_the_servers_words_and_nothing_half_made() {
    let site =
        lying((2, 6, 18), Lies { failing_imports: vec!["no binlog for field:body"; 20], ..Lies::default() }).await;
    let report = site.restore().await;
    refused(&report, "Rejected", "no binlog for field:body");
    assert!(site.target.world().await.collections.is_empty());
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_job_the_server_has_forgotten_starts_its_collection_over(#[case] version: Version) {
    let site = lying(version, Lies { forgotten_jobs: 1, ..Lies::default() }).await;
    done(&site.restore().await);
    restored_whole(&site).await;
}

#[rstest]
#[case((2, 3, 5), false)]
#[case((2, 4, 15), false)]
#[case((2, 4, 15), true)]
#[case((2, 5, 27), false)]
#[case((2, 6, 18), false)]
#[tokio::test]
async fn an_import_whose_answer_was_lost_is_not_made_twice(#[case] version: Version, #[case] no_rest: bool) {
    let site = lying(version, Lies { lost_import_answers: 1, no_rest, ..Lies::default() }).await;
    done(&site.restore().await);
    // The fake panics on a row that is there twice.
    restored_whole(&site).await;
}

#[rstest]
#[case((2, 4, 15))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_server_whose_rest_is_kept_out_is_backed_up_by_listing_and_restored_by_grpc(#[case] version: Version) {
    let site = Site::filled(version).await;
    site.source.world().await.lies.no_rest = true;
    site.target.world().await.lies.no_rest = true;
    done(&site.backup().await);
    done(&site.restore().await);
    restored_whole(&site).await;
    assert!(site.target.calls("Import").await > 0);
}

#[tokio::test]
async fn a_server_that_is_full_of_jobs_is_asked_again() {
    let site = lying((2, 6, 18), Lies { full: 1, ..Lies::default() }).await;
    done(&site.restore().await);
    restored_whole(&site).await;
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_flush_that_is_limited_is_waited_for(#[case] version: Version) {
    let site = Site::filled(version).await;
    site.source.world().await.lies.throttled_flushes = 2;
    done(&site.backup().await);
    assert!(site.source.calls("Flush").await >= 4);
}

#[tokio::test]
async fn segments_that_vanish_between_two_questions_are_asked_for_again() {
    let site = Site::filled((2, 6, 18)).await;
    site.source.world().await.lies.vanished = 2;
    done(&site.backup().await);
    done(&site.restore().await);
    restored_whole(&site).await;
}

#[tokio::test]
async fn a_file_that_is_named_and_not_there_is_looked_for_again_and_then_told() {
    let site = Site::filled((2, 5, 27)).await;
    site.source.world().await.lies.phantom_files = 1;
    done(&site.backup().await);
    let site = Site::filled((2, 5, 27)).await;
    site.source.world().await.lies.phantom_files = 100;
    let report = site.backup().await;
    refused(&report, "StoragePathMismatch", "no complete set of insert logs");
}

#[rstest]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_restart_in_between_is_waited_for(#[case] version: Version) {
    let site = Site::filled(version).await;
    site.source.world().await.lies.away = 3;
    done(&site.backup().await);
    site.target.world().await.lies.away = 3;
    done(&site.restore().await);
    restored_whole(&site).await;
}

#[tokio::test]
async fn a_garbage_collection_that_cannot_be_paused_is_a_warning() {
    let site = Site::filled((2, 6, 18)).await;
    site.source.world().await.lies.gc_refused = true;
    let report = site.backup().await;
    done(&report);
    assert!(report.summary.warnings.iter().any(|warning| warning.contains("not ready")), "{:?}", report.summary);
}

#[tokio::test]
async fn a_stopped_backup_lets_garbage_collection_go_on() {
    let site = Site::filled((2, 6, 18)).await;
    let (cancel, counters) = (CancellationToken::new(), Counters::default());
    let run = Run { uid: "backup-1".into(), namespace: String::new(), name: String::new(), attempt: 1 };
    let task = Task { version: TASK_VERSION, run, work: Work::Backup(Box::new(site.backup_task())) };
    // The server is away from the pause on, so that the run is in the middle when it is stopped.
    let stop = async {
        while site.source.calls("gc/pause").await == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        site.source.world().await.lies.away = 1_000_000;
        cancel.cancel();
    };
    let work = milvus_backup_operator::engine::run(&task, &counters, &cancel);
    let (report, ()) = tokio::join!(work, stop);
    assert_eq!(report.class, Some(Class::Cancelled), "{}", report.message);
    let world = site.source.world().await;
    assert!(world.gc_tickets.is_empty() && !world.gc_paused);
}

#[rstest]
#[case((2, 3, 5), "Import", 3)]
#[case((2, 4, 15), "jobs/import/create", 6)]
#[case((2, 6, 18), "jobs/import/create", 5)]
#[tokio::test]
async fn a_restore_that_was_stopped_goes_on_and_asks_for_no_job_twice(
    #[case] version: Version,
    #[case] call: &str,
    #[case] jobs: usize,
) {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    let (cancel, counters) = (CancellationToken::new(), Counters::default());
    let run = Run { uid: "restore-1".into(), namespace: String::new(), name: String::new(), attempt: 1 };
    let task = Task { version: TASK_VERSION, run, work: Work::Restore(Box::new(site.restore_task())) };
    let stop = async {
        while site.target.calls(call).await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cancel.cancel();
    };
    let work = milvus_backup_operator::engine::run(&task, &counters, &cancel);
    let (report, ()) = tokio::join!(work, stop);
    assert_eq!(report.class, Some(Class::Cancelled), "{}", report.message);
    done(&site.run(Work::Restore(Box::new(site.restore_task())), 2).await);
    restored_whole(&site).await;
    assert_eq!(site.target.calls(call).await, jobs);
}

#[tokio::test]
async fn an_attempt_that_finds_jobs_of_another_cut_makes_the_collection_anew() {
    let site = Site::filled((2, 6, 18)).await;
    done(&site.backup().await);
    // The first attempt has no REST, and is stopped in the middle of its imports.
    site.target.world().await.lies.no_rest = true;
    let (cancel, counters) = (CancellationToken::new(), Counters::default());
    let run = Run { uid: "restore-1".into(), namespace: String::new(), name: String::new(), attempt: 1 };
    let task = Task { version: TASK_VERSION, run, work: Work::Restore(Box::new(site.restore_task())) };
    let stop = async {
        while site.target.calls("GetImportState").await == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cancel.cancel();
    };
    let work = milvus_backup_operator::engine::run(&task, &counters, &cancel);
    let (report, ()) = tokio::join!(work, stop);
    assert_eq!(report.class, Some(Class::Cancelled), "{}", report.message);
    site.target.world().await.lies = Lies::default();
    done(&site.run(Work::Restore(Box::new(site.restore_task())), 2).await);
    restored_whole(&site).await;
}

#[tokio::test]
async fn a_damaged_delete_is_found_before_anything_is_made() {
    let site = Site::new((2, 5, 27), (2, 5, 27)).await;
    {
        let mut world = site.source.world().await;
        world.create_collection("default", "plain", schema(false), (1, 0, 0), vec![]).unwrap();
        world.insert("default", "plain", "_default", 0..9);
        world.delete("default", "plain", None, 0..4);
    }
    done(&site.backup().await);
    use milvus_backup_operator::storage::{Store, list_all};
    let store = site.buckets.bucket(fake_milvus::site::BACKUPS);
    let deltas = list_all(&store, "prod/nightly/binlogs/delta_log/").await.unwrap();
    let mut body = store.get(&deltas[0].key).await.unwrap().to_vec();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    store.put(&deltas[0].key, body.into()).await.unwrap();
    refused(&site.restore().await, "Damaged", "was replaced");
    assert!(site.target.world().await.collections.is_empty());
}

#[rstest]
#[case((2, 4, 15))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn upserts_after_the_flush_are_not_in_the_backup_though_segments_were_sorted_meanwhile(#[case] version: Version) {
    let site = Site::filled(version).await;
    let docs = site.source.rows("shop", "docs").await;
    site.source.world().await.lies.busy_writer = Some(("shop", "docs", 20..30));
    let report = site.backup().await;
    done(&report);
    assert!(report.summary.warnings.is_empty(), "{:?}", report.summary.warnings);
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &docs);
}

#[tokio::test]
async fn rows_that_compaction_mixed_with_later_ones_are_told_and_can_be_cut_off() {
    let site = Site::new((2, 6, 18), (2, 6, 18)).await;
    {
        let mut world = site.source.world().await;
        world.create_collection("default", "plain", schema(false), (1, 0, 0), vec![]).unwrap();
        world.insert("default", "plain", "_default", 0..40);
        world.lies.busy_writer = Some(("default", "plain", 20..30));
        world.lies.joined = true;
    }
    let plain = site.source.rows("default", "plain").await;
    let report = site.backup().await;
    done(&report);
    let warnings = &report.summary.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("newer than the recovery point")), "{warnings:?}");
    let mut task = site.restore_task();
    task.cut_to_recovery_point = true;
    done(&site.run(Work::Restore(Box::new(task)), 1).await);
    same(&site.target.rows("default", "plain").await, &plain);
}
