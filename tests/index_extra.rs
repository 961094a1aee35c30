//! Backups with what only etcd knows, against a Milvus and an etcd in this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use fake_milvus::etcd::{ETCD_ROOT, FakeEtcd, definition, index_key};
use fake_milvus::site::{BACKUPS, Site, Version, done, refused, same};
use milvus_backup_operator::engine::task::{BackupTask, Content, EtcdTarget, Report, Work};
use milvus_backup_operator::exit::Class;
use milvus_backup_operator::manifest::{BackupInfo, decode_full};
use milvus_backup_operator::milvus::proto::index::FieldIndex;
use milvus_backup_operator::storage::{Store, list_all};
use prost::Message as _;
use rstest::rstest;

const NEWEST: Version = (2, 6, 18);

/// A filled server with its etcd.
async fn filled() -> (Site, FakeEtcd) {
    let site = Site::filled(NEWEST).await;
    let etcd = FakeEtcd::of(&site.source).await;
    (site, etcd)
}

async fn backup(site: &Site, endpoints: &[&str], root_path: &str, content: Content) -> Report {
    let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
    let target = Some(EtcdTarget { endpoints, root_path: root_path.to_owned() });
    site.run(Work::Backup(Box::new(BackupTask { etcd: target, content, ..site.backup_task() })), 1).await
}

async fn full(site: &Site, etcd: &FakeEtcd) -> Report {
    backup(site, &[&etcd.endpoint], ETCD_ROOT, Content::Full).await
}

async fn full_meta(site: &Site) -> BackupInfo {
    decode_full(&site.buckets.bucket(BACKUPS).get("prod/nightly/meta/full_meta.json").await.unwrap()).unwrap()
}

/// That neither rows nor metadata are in the bucket.
async fn nothing_copied(site: &Site) {
    let there = list_all(&site.buckets.bucket(BACKUPS), "prod/nightly/").await.unwrap();
    let keys: Vec<String> =
        there.into_iter().map(|object| object.key).filter(|key| !key.contains("/operator/")).collect();
    assert_eq!(keys, Vec::<String>::new());
}

async fn id_of_docs(site: &Site) -> i64 {
    site.source.world().await.find("shop", "docs").unwrap().id
}

#[rstest]
#[case(Content::Full)]
#[case(Content::SchemaOnly)]
#[tokio::test]
async fn a_backup_has_the_definitions_of_its_indexes_and_the_hidden_field(#[case] content: Content) {
    let (site, etcd) = filled().await;
    done(&backup(&site, &[&etcd.endpoint], ETCD_ROOT, content).await);
    let info = full_meta(&site).await;
    let docs = info.collection_backups.iter().find(|one| one.collection_name == "docs").unwrap();
    let index = &docs.index_infos[0];
    assert_eq!((index.index_id, index.field_id, index.create_time), (9, 102, 446_000_000_000_000_000));
    let pairs = |list: &[milvus_backup_operator::manifest::KeyValuePair]| {
        list.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pairs(&index.type_params), "dim=2");
    assert_eq!(pairs(&index.index_params), "index_type=HNSW metric_type=L2");
    assert_eq!(pairs(&index.user_index_params), "index_type=HNSW metric_type=L2");
    assert_eq!((index.is_auto_index, index.min_index_version, index.max_index_version), (false, 0, 6));
    let hidden = docs.schema.fields.last().unwrap();
    assert_eq!((hidden.name.as_str(), hidden.field_id, hidden.is_dynamic, hidden.nullable), ("$meta", 103, true, true));
    let plain = info.collection_backups.iter().find(|one| one.collection_name == "plain").unwrap();
    assert!(plain.schema.fields.iter().all(|field| !field.is_dynamic));
}

#[tokio::test]
async fn such_a_backup_comes_back_with_the_same_rows_fields_and_indexes() {
    let (site, etcd) = filled().await;
    done(&full(&site, &etcd).await);
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &site.source.rows("shop", "docs").await);
    same(&site.target.rows("default", "plain").await, &site.source.rows("default", "plain").await);
    let (source, target) = (site.source.world().await, site.target.world().await);
    let (wanted, made) = (source.find("shop", "docs").unwrap(), target.find("shop", "docs").unwrap());
    // The hidden field was the server's to make: a listed one would be a field of that name beside it.
    assert_eq!((made.stored_fields(), made.dynamic), (wanted.stored_fields(), Some(103)));
    assert_eq!(made.indexes.len(), 1);
}

#[tokio::test]
async fn without_being_asked_etcd_is_left_alone() {
    let (site, etcd) = filled().await;
    done(&site.backup().await);
    assert!(etcd.kept().await.asked.is_empty());
    assert_eq!(
        full_meta(&site).await.collection_backups[0].index_infos.iter().map(|index| index.field_id).sum::<i64>(),
        0
    );
}

#[tokio::test]
async fn many_dropped_indexes_are_passed_over_page_by_page_at_one_revision() {
    let (site, etcd) = filled().await;
    let id = id_of_docs(&site).await;
    for index in 1000..1250 {
        let dropped = FieldIndex { index_info: Some(definition(id, index, 102, &[])), deleted: true, create_time: 1 };
        etcd.kept().await.keys.insert(index_key(id, index), dropped.encode_to_vec());
    }
    // The revision of the first page is compacted before the second one is asked for.
    etcd.kept().await.compacted = 1;
    done(&full(&site, &etcd).await);
    let kept = etcd.kept().await;
    let prefix = index_key(id, 0);
    let prefix = prefix.trim_end_matches('0');
    let pages: Vec<i64> = kept
        .asked
        .iter()
        .filter(|asked| asked.key.starts_with(prefix.as_bytes()))
        .map(|asked| asked.revision)
        .collect();
    let pinned = pages[3];
    assert!(pinned > pages[1] && pages[1] > 0, "{pages:?}");
    assert_eq!(pages, [0, pages[1], 0, pinned, pinned]);
    assert!(kept.asked.iter().all(|asked| asked.limit > 0 && asked.limit <= 100));
}

#[tokio::test]
async fn endpoints_are_tried_in_turn_and_an_election_is_waited_for() {
    let (site, etcd) = filled().await;
    etcd.kept().await.away = 2;
    done(&backup(&site, &["127.0.0.1:1", &etcd.endpoint], ETCD_ROOT, Content::SchemaOnly).await);
}

#[tokio::test]
async fn an_etcd_that_is_away_ends_the_attempt_before_anything_is_flushed() {
    let site = Site::filled(NEWEST).await;
    let report = backup(&site, &["127.0.0.1:1"], ETCD_ROOT, Content::Full).await;
    refused(&report, "EtcdUnreachable", "127.0.0.1:1");
    assert_eq!(report.class, Some(Class::Retry));
    assert_eq!(site.source.calls("Flush").await, 0);
    nothing_copied(&site).await;
}

#[tokio::test]
async fn another_root_path_is_a_setting_to_change_and_found_before_anything_is_flushed() {
    let (site, etcd) = filled().await;
    let report = backup(&site, &[&etcd.endpoint], "prod", Content::Full).await;
    refused(&report, "EtcdMismatch", "no key below prod/meta/");
    assert_eq!(report.class, Some(Class::Configuration));
    assert_eq!(site.source.calls("Flush").await, 0);
}

#[tokio::test]
async fn an_etcd_with_a_login_is_refused_in_its_own_words() {
    let (site, etcd) = filled().await;
    etcd.kept().await.login = true;
    refused(&full(&site, &etcd).await, "EtcdMismatch", "user name is empty");
}

#[tokio::test]
async fn an_index_that_milvus_does_not_describe_ends_the_run_before_anything_is_copied() {
    let (site, etcd) = filled().await;
    let id = id_of_docs(&site).await;
    let unknown = FieldIndex { index_info: Some(definition(id, 77, 101, &[])), deleted: false, create_time: 1 };
    etcd.kept().await.keys.insert(index_key(id, 77), unknown.encode_to_vec());
    refused(&full(&site, &etcd).await, "Interrupted", "index of 101 (77) of collection shop.docs");
    nothing_copied(&site).await;
}

#[tokio::test]
async fn an_index_of_another_collection_under_this_ones_key_is_damage() {
    let (site, etcd) = filled().await;
    let id = id_of_docs(&site).await;
    let strange = FieldIndex { index_info: Some(definition(id + 1, 9, 102, &[])), deleted: false, create_time: 1 };
    etcd.kept().await.keys.insert(index_key(id, 9), strange.encode_to_vec());
    let report = full(&site, &etcd).await;
    refused(&report, "EtcdUnreadable", &format!("key {} that cannot be understood", index_key(id, 9)));
    assert_eq!(report.class, Some(Class::Data));
}

#[rstest]
#[case("field-index", "index vec (9) of collection shop.docs is not in etcd")]
#[case("root-coord/fields", "collection shop.docs takes undeclared keys")]
#[tokio::test]
async fn what_etcd_does_not_have_is_named(#[case] kind: &str, #[case] words: &str) {
    let (site, etcd) = filled().await;
    etcd.kept().await.keys.retain(|key, _| !key.contains(kind));
    let report = full(&site, &etcd).await;
    refused(&report, "Rejected", words);
    assert!(
        report.message.contains(&etcd.endpoint) && report.message.contains(&format!("{ETCD_ROOT}/meta/{kind}/")),
        "{}",
        report.message
    );
    nothing_copied(&site).await;
}
