//! One collection of a backup under several names in one restore, against a Milvus of several lines.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use std::collections::BTreeSet;
use std::time::Duration;

use fake_milvus::site::{BACKUPS, Site, TARGET, Version, done, refused, same, schema};
use fake_milvus::weather::{Asked, Mishap};
use fake_milvus::world::Lies;
use milvus_backup_operator::compat::{body, translate, wire};
use milvus_backup_operator::config::Settings;
use milvus_backup_operator::engine::progress::Counters;
use milvus_backup_operator::engine::task::{
    OnConflict, Override, Pattern, Rename, Report, RestorePath, RestoreTask, Run, TASK_VERSION, Task, Work,
};
use milvus_backup_operator::exit::Class;
use milvus_backup_operator::local::tasks;
use milvus_backup_operator::manifest::decode_full;
use milvus_backup_operator::storage::Store;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

/// What `shop.docs` becomes: itself, the same in another database, and another name there.
const TARGETS: [(&str, &str); 3] = [("shop", "docs"), ("archive", "docs"), ("archive", "papers")];

/// `shop.docs` alone, by import, under some names.
fn task(site: &Site, targets: &[(&str, &str)]) -> RestoreTask {
    let mut task = RestoreTask { restore_path: RestorePath::Import, ..site.restore_task() };
    task.selection.include = vec![Pattern { database: "shop".into(), collections: vec!["docs".into()] }];
    let rename =
        |(database, name): &(&str, &str)| Rename { from: "shop.docs".into(), to: format!("{database}.{name}") };
    task.mapping.collections = targets.iter().map(rename).collect();
    task
}

async fn restore(site: &Site, task: RestoreTask, attempt: u32) -> Report {
    site.run(Work::Restore(Box::new(task)), attempt).await
}

async fn backed_up(version: Version) -> Site {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    site
}

/// Every target has the rows of the source; one that was imported twice would have them twice, which the fake refuses to read.
async fn all_rows_are_there(site: &Site) {
    let docs = site.source.rows("shop", "docs").await;
    for (database, name) in TARGETS {
        same(&site.target.rows(database, name).await, &docs);
    }
}

/// The call that asks for an import, and how many of them `shop.docs` needs.
fn imports(version: Version) -> (&'static str, usize) {
    match version {
        (2, 3, _) => ("Import", 2),
        (2, 6, _) => ("jobs/import/create", 4),
        _ => ("jobs/import/create", 5),
    }
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 4, 15))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_collection_comes_back_under_every_name_made_as_each_asks(#[case] version: Version) {
    let site = backed_up(version).await;
    let alone = restore(&site, RestoreTask { preflight_only: true, ..task(&site, &TARGETS[..1]) }, 1).await;
    done(&alone);
    let mut many = task(&site, &TARGETS);
    let made = |name: &str, shards, description: Option<&str>| Override {
        collection: name.into(),
        shards: Some(shards),
        description: description.map(str::to_owned),
    };
    many.mapping.overrides = vec![made("archive.docs", 3, None), made("archive.papers", 1, Some("copied"))];
    let report = restore(&site, many, 1).await;
    done(&report);
    all_rows_are_there(&site).await;

    let docs = site.source.rows("shop", "docs").await.len() as u64;
    let counts = report.row_counts.unwrap();
    assert_eq!((counts.expected, counts.actual), (3 * docs, 3 * docs));
    assert_eq!((report.created_collections, report.summary.collections, report.summary.databases), (3, 3, 2));
    let plan = report.plan.unwrap();
    let to: Vec<&str> = plan.mappings.iter().map(|pair| pair.to.as_str()).collect();
    assert_eq!((plan.create, to), (3, vec!["shop.docs", "archive.docs", "archive.papers"]));
    assert!(plan.mappings.iter().all(|pair| pair.from == "shop.docs"));
    assert_eq!(report.paths.unwrap().collections.len(), 3);
    let (one, all) = (alone.progress, report.progress);
    assert!(one.bytes_total > 0 && one.objects_total > 0);
    assert_eq!((all.bytes_total, all.objects_total), (3 * one.bytes_total, 3 * one.objects_total), "each name counts");
    assert_eq!((all.bytes_done, all.objects_done), (all.bytes_total, all.objects_total));
    assert_eq!((all.collections_done, all.collections_total), (3, 3));

    let (call, each) = imports(version);
    assert_eq!(site.target.calls(call).await, 3 * each);
    let world = site.target.world().await;
    let shards = TARGETS.map(|(database, name)| world.find(database, name).unwrap().shards);
    assert_eq!(shards, [world.find("shop", "docs").unwrap().shards, 3, 1]);
    assert_eq!(world.find("archive", "papers").unwrap().schema.description, "copied");
    // A collection with its old name has its aliases, each in its own database.
    let aliases = TARGETS.map(|(database, name)| world.find(database, name).unwrap().aliases.len());
    assert_eq!(aliases, [1, 1, 0]);
}

#[tokio::test]
async fn files_that_several_names_need_are_staged_once() {
    let site = backed_up((2, 5, 27)).await;
    let staging = format!("/{TARGET}/milvus-backup-staging/");
    let is_copy = move |asked: &Asked| asked.method == "PUT" && asked.target.starts_with(&staging);
    // One slow copy after the other, so that all names come to their turn while the first still copies.
    let slow = is_copy.clone();
    site.weather.turn(0, move |asked| if slow(asked) { Mishap::Slow } else { Mishap::Pass });
    let mut one_by_one = task(&site, &TARGETS);
    one_by_one.limits.concurrency = Some(1);
    done(&restore(&site, one_by_one, 1).await);
    let asked = site.weather.asked();
    let written: Vec<&str> = asked.iter().filter(|one| is_copy(one)).map(|one| one.target.as_str()).collect();
    assert!(!written.is_empty());
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), written.len(), "{written:?}");
    all_rows_are_there(&site).await;
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 4, 15))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_restore_that_is_stopped_halfway_goes_on_and_imports_nothing_twice(#[case] version: Version) {
    let (call, each) = imports(version);
    for after in [1, 3 * each / 2, 3 * each - 1] {
        let site = backed_up(version).await;
        let (cancel, counters) = (CancellationToken::new(), Counters::default());
        let run = Run { uid: "restore-1".into(), namespace: String::new(), name: String::new(), attempt: 1 };
        let first = Task { version: TASK_VERSION, run, work: Work::Restore(Box::new(task(&site, &TARGETS))) };
        let stop = async {
            while site.target.calls(call).await < after {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            cancel.cancel();
        };
        let work = milvus_backup_operator::engine::run(&first, &counters, &cancel);
        let (report, ()) = tokio::join!(work, stop);
        assert_eq!(report.class, Some(Class::Cancelled), "{}", report.message);
        let report = restore(&site, task(&site, &TARGETS), 2).await;
        done(&report);
        all_rows_are_there(&site).await;
        assert_eq!(site.target.calls(call).await, 3 * each, "stopped after {after}");
        assert_eq!((report.created_collections, report.plan.unwrap().mappings.len()), (3, 3));
        // A third attempt finds all of it done.
        done(&restore(&site, task(&site, &TARGETS), 3).await);
        assert_eq!(site.target.calls(call).await, 3 * each);
        all_rows_are_there(&site).await;
    }
}

#[rstest]
#[case((2, 3, 5), false)]
#[case((2, 4, 15), true)]
#[case((2, 5, 27), false)]
#[case((2, 6, 18), false)]
#[tokio::test]
async fn an_import_without_an_answer_is_not_taken_for_that_of_another_name(
    #[case] version: Version,
    #[case] no_rest: bool,
) {
    let site = backed_up(version).await;
    // All names ask for imports of the same directories.
    site.target.world().await.lies = Lies { lost_import_answers: 4, no_rest, ..Lies::default() };
    done(&restore(&site, task(&site, &TARGETS), 1).await);
    all_rows_are_there(&site).await;
}

#[tokio::test]
async fn a_lost_import_starts_over_its_own_name_only() {
    let site = backed_up((2, 3, 5)).await;
    site.target.world().await.lies.failing_imports = vec!["task marked failed as service restarted"];
    done(&restore(&site, task(&site, &TARGETS), 1).await);
    all_rows_are_there(&site).await;
    assert_eq!(site.target.calls("DropCollection").await, 1);
}

/// A backup of `shop.docs`, and a target in which it exists with ten rows of its own.
async fn with_one_there() -> Site {
    let site = backed_up((2, 3, 5)).await;
    let mut world = site.target.world().await;
    world.databases.insert("shop".into(), (7, vec![]));
    world.create_collection("shop", "docs", schema(false), (1, 2, 0), vec![]).unwrap();
    world.insert("shop", "docs", "_default", 1000..1010);
    world.flush("shop", "docs").await;
    drop(world);
    site
}

#[rstest]
#[case(OnConflict::Replace, (2, 1, 0, 0))]
#[case(OnConflict::Skip, (2, 0, 1, 0))]
#[case(OnConflict::Append, (2, 0, 0, 1))]
#[tokio::test]
async fn what_exists_is_treated_as_asked_and_the_other_names_are_made(
    #[case] on_conflict: OnConflict,
    #[case] (create, replace, skip, append): (u64, u64, u64, u64),
) {
    let site = with_one_there().await;
    let docs = site.source.rows("shop", "docs").await;
    let mut there = site.target.rows("shop", "docs").await;
    match on_conflict {
        OnConflict::Replace => there = docs.clone(),
        OnConflict::Append => there.extend(docs.clone()),
        _ => {}
    }
    for attempt in 1..=2 {
        let report = restore(&site, RestoreTask { on_conflict, ..task(&site, &TARGETS) }, attempt).await;
        done(&report);
        let plan = report.plan.unwrap();
        if attempt == 1 {
            assert_eq!((plan.create, plan.replace, plan.skip, plan.append), (create, replace, skip, append));
        }
        same(&site.target.rows("shop", "docs").await, &there);
        same(&site.target.rows("archive", "docs").await, &docs);
        same(&site.target.rows("archive", "papers").await, &docs);
    }
    let drops = usize::from(on_conflict == OnConflict::Replace);
    assert_eq!(site.target.calls("DropCollection").await, drops);
}

#[tokio::test]
async fn one_name_that_exists_is_a_conflict_before_any_other_is_made() {
    let site = with_one_there().await;
    refused(&restore(&site, task(&site, &TARGETS), 1).await, "ConflictFound", "1 of 3 target collections exist");
    let world = site.target.world().await;
    assert!(world.collections.len() == 1 && !world.databases.contains_key("archive"));
}

#[tokio::test]
async fn a_name_that_is_given_twice_is_refused_before_anything_is_made() {
    let site = backed_up((2, 6, 18)).await;
    let mut twice = task(&site, &TARGETS);
    twice.mapping.collections.push(Rename { from: "shop.docs".into(), to: "archive.papers".into() });
    refused(&restore(&site, twice, 1).await, "Rejected", "shop.docs is to become archive.papers twice");
    assert!(site.target.world().await.collections.is_empty());
}

#[tokio::test]
async fn a_snapshot_is_restored_once_for_each_name() {
    let site = backed_up((3, 0, 1)).await;
    let many = || RestoreTask { restore_path: RestorePath::Auto, ..task(&site, &TARGETS) };
    for attempt in 1..=2 {
        done(&restore(&site, many(), attempt).await);
        all_rows_are_there(&site).await;
        assert_eq!(site.target.calls("RestoreExternalSnapshot").await, 3);
    }
}

#[tokio::test]
async fn an_empty_database_comes_back_under_every_name() {
    let site = Site::filled((2, 6, 18)).await;
    site.source.world().await.databases.insert("empty".into(), (9, vec![]));
    done(&site.backup().await);
    let mut all = site.restore_task();
    all.mapping.databases = ["void", "empty"].map(|to| Rename { from: "empty".into(), to: to.into() }).into();
    done(&restore(&site, all, 1).await);
    let world = site.target.world().await;
    assert!(world.databases.contains_key("void") && world.databases.contains_key("empty"));
}

#[tokio::test]
async fn a_plan_of_the_rest_api_becomes_all_of_that() {
    let site = backed_up((2, 6, 18)).await;
    let body = br#"{"backup_name": "nightly", "restorePlan": {
        "filter": {"shop": {"colls": ["docs"]}, "archive": {"colls": ["docs", "papers"]}},
        "mapping": [
            {"source": "shop", "target": "shop", "colls": [{"source": "docs", "target": "docs"}]},
            {"source": "shop", "target": "archive", "colls": [
                {"source": "docs", "target": "docs", "override": {"shardNum": 3}},
                {"source": "docs", "target": "papers", "override": {"description": "copied"}},
                {"source": "docs", "target": "left_out"}]}]}}"#;
    let asked: wire::RestoreRequest = body::read(body).unwrap();
    let request = translate::restore(&asked, "r_1").unwrap();
    let meta = site.buckets.bucket(BACKUPS).get("prod/nightly/meta/full_meta.json").await.unwrap();
    let planned = tasks::restore(&Settings::default(), &request, &decode_full(&meta).unwrap()).unwrap().task;
    let RestoreTask { source, target, .. } = site.restore_task();
    done(&restore(&site, RestoreTask { source, target, ..planned }, 1).await);
    all_rows_are_there(&site).await;
    let world = site.target.world().await;
    assert_eq!(world.collections.len(), 3);
    assert_eq!(world.find("archive", "docs").unwrap().shards, 3);
    assert_eq!(world.find("archive", "papers").unwrap().schema.description, "copied");
}
