//! What a restore can be asked to make otherwise, against a Milvus of several lines.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use fake_milvus::site::{BACKUPS, Site, Version, done, pair, refused, same, schema};
use fake_milvus::world::Lies;
use milvus_backup_operator::compat::{body, translate, wire};
use milvus_backup_operator::config::Settings;
use milvus_backup_operator::engine::task::{
    Indexes, Load, OnConflict, Override, Rename, Report, RestorePath, RestoreTask, SkipParams, Work,
};
use milvus_backup_operator::local::tasks;
use milvus_backup_operator::manifest::decode_full;
use milvus_backup_operator::milvus::proto::milvus::IndexDescription;
use milvus_backup_operator::milvus::proto::schema::FieldSchema;
use milvus_backup_operator::storage::Store;
use rstest::rstest;

/// A site with a finished backup, whose target has a `shop.docs` of the same fields with ten rows of its own.
async fn with_rows_there(version: Version) -> Site {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    let mut world = site.target.world().await;
    world.databases.insert("shop".into(), (7, vec![]));
    let dynamic = world.since(2, 6, 0);
    world.create_collection("shop", "docs", schema(dynamic), (1, 2, 0), vec![]).unwrap();
    if dynamic {
        let late = FieldSchema { name: "late".into(), data_type: 5, nullable: true, ..FieldSchema::default() };
        world.add_field("shop", "docs", late).unwrap();
    }
    world.insert("shop", "docs", "_default", 1000..1010);
    world.flush("shop", "docs").await;
    drop(world);
    site
}

/// By import: this server knows no insert, and the new collection that it refuses one for would be dropped and made anew.
fn appending(site: &Site) -> RestoreTask {
    RestoreTask { on_conflict: OnConflict::Append, restore_path: RestorePath::Import, ..site.restore_task() }
}

async fn restore(site: &Site, task: RestoreTask, attempt: u32) -> Report {
    site.run(Work::Restore(Box::new(task)), attempt).await
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn rows_are_added_to_a_collection_that_exists_and_once_only(#[case] version: Version) {
    let site = with_rows_there(version).await;
    let mut both = site.target.rows("shop", "docs").await;
    both.extend(site.source.rows("shop", "docs").await);
    for attempt in 1..=2 {
        let report = restore(&site, appending(&site), attempt).await;
        done(&report);
        same(&site.target.rows("shop", "docs").await, &both);
        // The other collection was not there.
        assert_eq!((report.created_collections, report.summary.collections), (1, 2));
    }
    let world = site.target.world().await;
    let docs = world.find("shop", "docs").unwrap();
    assert!(docs.aliases.is_empty() && !docs.loaded, "its owner decides about aliases and loading");
    assert_eq!((docs.indexes.len(), docs.partitions.len()), (1, 2));
    assert!(!world.calls.iter().any(|call| call == "DropCollection"));
}

#[tokio::test]
async fn a_collection_that_is_missing_is_told_where_none_is_to_be_made() {
    let site = with_rows_there((2, 6, 18)).await;
    let report = restore(&site, RestoreTask { create_missing: false, ..appending(&site) }, 1).await;
    refused(&report, "ConflictFound", "1 of 2 target collections do not exist");
    assert_eq!(site.target.calls("Import").await + site.target.calls("jobs/import/create").await, 0);
}

#[tokio::test]
async fn rows_do_not_go_where_another_field_would_get_their_values() {
    let site = Site::filled((2, 5, 27)).await;
    done(&site.backup().await);
    {
        let mut world = site.target.world().await;
        let mut other = schema(false);
        other.fields.swap(1, 2);
        world.create_collection("default", "plain", other, (1, 0, 0), vec![]).unwrap();
    }
    let report = restore(&site, appending(&site), 1).await;
    refused(&report, "Rejected", "default.plain cannot go into default.plain: its field body has another id");
    assert!(site.target.world().await.find("shop", "docs").is_none());
}

#[rstest]
#[case(true, false, "deletes that only a released collection takes")]
#[case(false, true, "indexes of a loaded collection cannot be dropped")]
#[tokio::test]
async fn a_loaded_collection_is_left_alone_where_milvus_would_refuse_halfway(
    #[case] deletes: bool,
    #[case] drop_indexes: bool,
    #[case] words: &str,
) {
    let version = if deletes { (2, 6, 18) } else { (2, 3, 5) };
    let site = with_rows_there(version).await;
    site.target.world().await.find_mut("shop", "docs").unwrap().loaded = true;
    refused(&restore(&site, RestoreTask { drop_indexes, ..appending(&site) }, 1).await, "Rejected", words);
    assert!(site.target.world().await.find("default", "plain").is_none());
}

#[rstest]
#[case(Lies { failing_imports: vec!["disk is full"], ..Lies::default() }, "disk is full")]
#[case(Lies { forgotten_jobs: 1, ..Lies::default() }, "a part of the rows may be in it")]
#[tokio::test]
async fn an_import_that_fails_never_costs_the_rows_that_were_there(#[case] lies: Lies, #[case] words: &str) {
    let site = with_rows_there((2, 5, 27)).await;
    site.target.world().await.lies = lies;
    let mut task = appending(&site);
    task.selection.include = vec![milvus_backup_operator::engine::task::Pattern {
        database: "shop".into(),
        collections: vec!["docs".into()],
    }];
    refused(&restore(&site, task, 1).await, "Rejected", words);
    let rows = site.target.rows("shop", "docs").await;
    assert!((1000..1010).all(|own| rows.keys().any(|(_, key, _)| *key == own)), "{}", rows.len());
}

#[tokio::test]
async fn indexes_of_an_existing_collection_can_make_way() {
    for (drop_indexes, expected) in [(false, "mine"), (true, "vec")] {
        let site = with_rows_there((2, 6, 18)).await;
        {
            let mut world = site.target.world().await;
            let docs = world.find_mut("shop", "docs").unwrap();
            let index = IndexDescription { index_name: "mine".into(), field_name: "vec".into(), ..Default::default() };
            docs.indexes.push(index);
        }
        done(&restore(&site, RestoreTask { drop_indexes, ..appending(&site) }, 1).await);
        let world = site.target.world().await;
        let names: Vec<&str> =
            world.find("shop", "docs").unwrap().indexes.iter().map(|index| index.index_name.as_str()).collect();
        assert_eq!(names, [expected]);
    }
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_collection_can_be_made_otherwise_than_it_was_and_holds_the_same_rows(#[case] version: Version) {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    let docs = site.source.rows("shop", "docs").await;
    let mut task = site.restore_task();
    task.indexes = Indexes::Rebuild;
    task.mapping.collections = vec![Rename { from: "shop.docs".into(), to: "shop.papers".into() }];
    task.mapping.overrides =
        vec![Override { collection: "shop.papers".into(), shards: Some(3), description: Some("copied".into()) }];
    let key = |key: &str| vec![key.to_owned()];
    task.mapping.skip_params = SkipParams {
        collection_properties: key("collection.ttl.seconds"),
        field_type_params: key("max_length"),
        field_index_params: vec![],
        index_params: key("metric_type"),
    };
    done(&restore(&site, task, 1).await);
    same(&site.target.rows("shop", "papers").await, &docs);
    let world = site.target.world().await;
    let papers = world.find("shop", "papers").unwrap();
    assert_eq!((papers.shards, papers.schema.description.as_str()), (3, "copied"));
    assert!(!papers.properties.iter().any(|property| property.key == "collection.ttl.seconds"));
    let body = papers.schema.fields.iter().find(|field| field.name == "body").unwrap();
    let vec = papers.schema.fields.iter().find(|field| field.name == "vec").unwrap();
    assert_eq!((body.type_params.len(), vec.type_params.as_slice()), (0, [pair("dim", "2")].as_slice()));
    assert_eq!(papers.indexes[0].params, [pair("index_type", "HNSW")]);
}

#[tokio::test]
async fn a_change_to_a_collection_that_is_not_restored_is_refused_before_anything_is_made() {
    let site = Site::filled((2, 6, 18)).await;
    done(&site.backup().await);
    let mut task = site.restore_task();
    task.mapping.overrides = vec![Override { collection: "shop.gone".into(), shards: Some(1), description: None }];
    refused(&restore(&site, task, 1).await, "Rejected", "shop.gone is to be made otherwise");
    assert!(site.target.world().await.collections.is_empty());
}

/// A source with an empty database beside the others.
async fn with_an_empty_database() -> Site {
    let site = Site::filled((2, 6, 18)).await;
    site.source.world().await.databases.insert("empty".into(), (9, vec![pair("database.replica.number", "3")]));
    site
}

#[tokio::test]
async fn an_empty_database_comes_back_where_everything_does() {
    let site = with_an_empty_database().await;
    done(&site.backup().await);
    let mut task = site.restore_task();
    task.mapping.databases = vec![Rename { from: "empty".into(), to: "void".into() }];
    done(&restore(&site, task, 1).await);
    let world = site.target.world().await;
    assert_eq!(world.databases["void"].1, [pair("database.replica.number", "3")]);
    assert_eq!(world.collections.len(), 2);
}

#[tokio::test]
async fn databases_are_backed_up_and_restored_without_their_collections() {
    let site = with_an_empty_database().await;
    let mut task = site.backup_task();
    task.selection.databases = vec!["shop".into(), "empty".into()];
    let report = site.run(Work::Backup(Box::new(task)), 1).await;
    done(&report);
    assert_eq!((report.summary.databases, report.summary.collections), (2, 0));
    let mut task = site.restore_task();
    task.selection.databases = vec!["shop".into()];
    task.load = Load::None;
    done(&restore(&site, task, 1).await);
    let world = site.target.world().await;
    assert_eq!(world.databases.keys().collect::<Vec<_>>(), ["default", "shop"]);
    assert!(world.collections.is_empty());
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let site = with_an_empty_database().await;
    let mut task = site.backup_task();
    task.selection.databases = vec!["gone".into()];
    refused(&site.run(Work::Backup(Box::new(task)), 1).await, "Rejected", "there is no database gone");
}

#[tokio::test]
async fn a_body_of_the_rest_api_becomes_all_of_that() {
    let site = Site::filled((2, 6, 18)).await;
    done(&site.backup().await);
    let body = br#"{"backup_name": "nightly", "maxShardNum": 2, "skipParams": {"indexParams": ["metric_type"]}, "restorePlan": {
        "filter": {"shop": {"colls": ["papers"]}}, "mapping": [{"source": "shop", "target": "shop", "colls": [
            {"source": "docs", "target": "papers", "override": {"shardNum": 3, "description": "copied"}}]}]}}"#;
    let asked: wire::RestoreRequest = body::read(body).unwrap();
    let request = translate::restore(&asked, "r_1").unwrap();
    let meta = site.buckets.bucket(BACKUPS).get("prod/nightly/meta/full_meta.json").await.unwrap();
    let planned = tasks::restore(&Settings::default(), &request, &decode_full(&meta).unwrap()).unwrap().task;
    let RestoreTask { source, target, .. } = site.restore_task();
    done(&restore(&site, RestoreTask { source, target, ..planned }, 1).await);
    let world = site.target.world().await;
    let papers = world.find("shop", "papers").unwrap();
    assert_eq!((papers.shards, papers.schema.description.as_str()), (3, "copied"));
    assert_eq!((papers.indexes[0].params.len(), world.collections.len()), (1, 1));
}
