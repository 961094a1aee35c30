//! Whole backups and restores against a Milvus of every supported line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake_milvus;

use std::collections::{BTreeMap, BTreeSet};

use fake_milvus::site::{BACKUPS, Site, Version, done, fill, pair, refused, same, schema};
use milvus_backup_operator::engine::task::{Content, Flush, Load, Rename, RestorePath, Work};
use milvus_backup_operator::manifest::backup_info::PartitionBackupInfo;
use milvus_backup_operator::manifest::binlog::primary_keys;
use milvus_backup_operator::manifest::layout::parse_log_path;
use milvus_backup_operator::manifest::{
    BackupInfo, Binlog, CollectionBackupInfo, FieldBinlog, SegmentBackupInfo, decode_full, encode_meta,
};
use milvus_backup_operator::milvus::proto::milvus as wire;
use milvus_backup_operator::milvus::proto::schema::{FieldSchema, FunctionSchema};
use milvus_backup_operator::storage::{Store, list_all};
use rstest::rstest;

async fn full_meta(site: &Site) -> BackupInfo {
    decode_full(&site.buckets.bucket(BACKUPS).get("prod/nightly/meta/full_meta.json").await.unwrap()).unwrap()
}

#[rstest]
#[case((2, 2, 9))]
#[case((2, 3, 5))]
#[case((2, 4, 3))]
#[case((2, 4, 15))]
#[case((2, 5, 0))]
#[case((2, 5, 27))]
#[case((2, 6, 0))]
#[case((2, 6, 18))]
#[tokio::test]
async fn every_row_comes_back(#[case] version: Version) {
    let site = Site::filled(version).await;
    let (docs, plain) = (site.source.rows("shop", "docs").await, site.source.rows("default", "plain").await);
    let report = site.backup().await;
    done(&report);
    assert_eq!(report.recovery_point.is_some(), version >= (2, 3, 1));
    let report = site.restore().await;
    done(&report);
    same(&site.target.rows("shop", "docs").await, &docs);
    same(&site.target.rows("default", "plain").await, &plain);
    let counts = report.row_counts.unwrap();
    assert_eq!((counts.expected, counts.actual), (docs.len() as u64 + 25, docs.len() as u64 + 25));
    // 5 deleted everywhere, 3 in their partition.
    assert_eq!(docs.len(), 90 - 8);

    let world = site.target.world().await;
    let target = world.find("shop", "docs").unwrap();
    assert_eq!(target.aliases, ["docs_live"]);
    assert_eq!(target.indexes.len(), 1);
    assert_eq!(target.loaded_partitions.iter().collect::<Vec<_>>(), ["eu"]);
    assert!(target.properties.contains(&pair("collection.ttl.seconds", "86400")));
    assert_eq!(world.databases["shop"].1.len(), usize::from(version >= (2, 4, 6)));
    let staged = list_all(&world.store, "milvus-backup-staging").await.unwrap();
    assert!(staged.is_empty(), "{staged:?}");
}

#[rstest]
#[case((2, 3, 5), 0, 3)]
#[case((2, 4, 15), 6, 0)]
#[case((2, 5, 27), 6, 0)]
#[case((2, 6, 18), 5, 0)]
#[tokio::test]
async fn a_server_gets_as_few_jobs_as_it_can_take(#[case] version: Version, #[case] rest: usize, #[case] grpc: usize) {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    done(&site.restore().await);
    // Rows of two partitions of docs and of plain; then deletes of one partition, and two segments with those of all, which
    // 2.6.5 and later take in one job. Before 2.4 there are no jobs for deletes.
    let made = (site.target.calls("jobs/import/create").await, site.target.calls("Import").await);
    assert_eq!(made, (rest, grpc));
}

#[tokio::test]
async fn rows_are_not_inserted_on_a_server_that_nobody_has_seen_take_them() {
    let site = Site::filled((2, 2, 9)).await;
    done(&site.backup().await);
    let mut task = site.restore_task();
    task.restore_path = RestorePath::Insert;
    let report = site.run(Work::Restore(Box::new(task)), 1).await;
    refused(&report, "Rejected", "cannot be inserted on milvus");
    assert!(site.target.world().await.collections.is_empty());
}

#[tokio::test]
async fn rows_that_a_server_does_not_take_by_insert_are_imported() {
    let site = Site::filled((2, 3, 5)).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    let report = site.restore().await;
    done(&report);
    same(&site.target.rows("shop", "docs").await, &docs);
    let paths = report.paths.unwrap();
    assert_eq!((paths.imported, paths.inserted), (3, 0));
    assert_eq!(paths.collections.len(), 2);
}

#[rstest]
#[case((2, 5, 27), (2, 6, 18))]
#[case((2, 3, 5), (2, 6, 18))]
#[case((2, 2, 9), (2, 4, 15))]
#[tokio::test]
async fn a_backup_of_an_older_server_goes_into_a_newer_one(#[case] from: Version, #[case] to: Version) {
    let site = Site::new(from, to).await;
    fill(&site.source).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &docs);
}

#[rstest]
#[case((2, 6, 18), (2, 5, 27), "storage version 2, which needs Milvus 2.6.0")]
#[case((2, 5, 27), (2, 3, 5), "delete-only segments, which needs Milvus 2.4.0")]
#[tokio::test]
async fn what_an_older_target_cannot_take_is_refused_before_anything_is_made(
    #[case] from: Version,
    #[case] to: Version,
    #[case] words: &str,
) {
    let site = Site::new(from, to).await;
    fill(&site.source).await;
    done(&site.backup().await);
    let report = site.restore().await;
    refused(&report, "UnsupportedVersion", words);
    let world = site.target.world().await;
    assert!(world.collections.is_empty() && !world.databases.contains_key("shop"));
}

#[rstest]
#[case((2, 2, 8), "too old")]
#[tokio::test]
async fn a_server_of_a_version_that_cannot_be_backed_up_is_refused_with_a_sentence(
    #[case] version: Version,
    #[case] words: &str,
) {
    let site = Site::filled(version).await;
    refused(&site.backup().await, "UnsupportedVersion", words);
    assert_eq!(site.source.calls("Flush").await, 0);
    assert!(list_all(&site.buckets.bucket(BACKUPS), "").await.unwrap().is_empty());
}

#[tokio::test]
async fn exact_files_leave_out_what_lies_about_in_the_bucket() {
    let site = Site::filled((2, 5, 27)).await;
    let docs = site.source.rows("shop", "docs").await;
    {
        let world = site.source.world().await;
        let found = world.find("shop", "docs").unwrap();
        let segment = &found.segments[0];
        let stray = format!("files/insert_log/{}/{}/{}/100/7", found.id, segment.partition, segment.id);
        world.store.put(&stray, "half a file".into()).await.unwrap();
    }
    done(&site.backup().await);
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &docs);
    let channels = full_meta(&site).await;
    assert!(channels.segments().all(|segment| !segment.v_channel.is_empty()));
}

#[tokio::test]
async fn segments_that_compaction_replaced_after_the_flush_are_taken_under_their_new_ids() {
    let site = Site::filled((2, 6, 18)).await;
    site.source.world().await.flush("shop", "docs").await;
    site.source.world().await.compact("shop", "docs").await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &docs);
}

#[tokio::test]
async fn a_backup_in_milvus_own_bucket_is_imported_from_where_it_lies() {
    let site = Site::filled((2, 5, 27)).await;
    let docs = site.source.rows("shop", "docs").await;
    let mut task = site.backup_task();
    task.destination.bucket = fake_milvus::site::TARGET.into();
    done(&site.run(Work::Backup(Box::new(task)), 1).await);
    let mut task = site.restore_task();
    task.source.bucket = fake_milvus::site::TARGET.into();
    task.mapping.databases = vec![Rename { from: "shop".into(), to: "shop2".into() }];
    done(&site.run(Work::Restore(Box::new(task)), 1).await);
    same(&site.target.rows("shop2", "docs").await, &docs);
}

#[tokio::test]
async fn one_flush_of_the_cluster_is_recorded_with_its_messages() {
    let site = Site::filled((2, 6, 18)).await;
    let docs = site.source.rows("shop", "docs").await;
    let mut task = site.backup_task();
    task.flush = Flush::Cluster;
    let report = site.run(Work::Backup(Box::new(task)), 1).await;
    done(&report);
    assert!(report.recovery_point.is_some());
    assert_eq!((site.source.calls("FlushAll").await, site.source.calls("Flush").await), (1, 0));
    let info = full_meta(&site).await;
    assert_eq!(info.flush_all_msgs_base64.len(), 1);
    assert_eq!(info.control_channel_name, "by-dev-rootcoord-dml_0");
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &docs);
}

#[tokio::test]
async fn a_flush_of_the_cluster_is_refused_where_nothing_would_tell_its_end() {
    let site = Site::filled((2, 5, 27)).await;
    let mut task = site.backup_task();
    task.flush = Flush::Cluster;
    let report = site.run(Work::Backup(Box::new(task)), 1).await;
    refused(&report, "UnsupportedVersion", "leave the flush to Auto");
}

#[rstest]
#[case((2, 5, 3))]
#[case((2, 5, 27))]
#[case((2, 3, 5))]
#[tokio::test]
async fn rows_beyond_the_recovery_point_can_be_cut_off_in_the_unit_of_the_server(#[case] version: Version) {
    let site = Site::new(version, version).await;
    {
        let mut world = site.source.world().await;
        world.create_collection("default", "plain", schema(false), (1, 0, 0), vec![]).unwrap();
        world.insert("default", "plain", "_default", 0..25);
    }
    done(&site.backup().await);
    // The recovery point is moved to before the last five rows, as where a compaction mixed in what came later.
    let store = site.buckets.bucket(BACKUPS);
    let rows = site.source.rows("default", "plain").await;
    let mut times: Vec<u64> = rows.keys().map(|(_, _, ts)| *ts).collect();
    times.sort_unstable();
    let mut info = full_meta(&site).await;
    info.collection_backups[0].backup_timestamp = times[19];
    for (name, body) in encode_meta(&info).unwrap() {
        store.put(&format!("prod/nightly/meta/{name}"), body.into()).await.unwrap();
    }
    as_of_the_go_tool(&site).await;
    let mut task = site.restore_task();
    task.cut_to_recovery_point = true;
    let report = site.run(Work::Restore(Box::new(task)), 1).await;
    done(&report);
    assert_eq!(site.target.rows("default", "plain").await.len(), 20);
    assert_eq!(report.row_counts.unwrap().expected, 20);
}

#[tokio::test]
async fn functions_are_made_without_asking_their_provider_and_checked_again_afterwards() {
    let site = Site::new((2, 6, 18), (2, 6, 18)).await;
    {
        let mut world = site.source.world().await;
        let mut schema = schema(false);
        schema.functions = vec![FunctionSchema { name: "embed".into(), r#type: 2, ..FunctionSchema::default() }];
        world.create_collection("default", "plain", schema, (1, 0, 0), vec![]).unwrap();
        world.insert("default", "plain", "_default", 0..3);
    }
    done(&site.backup().await);
    done(&site.restore().await);
    let world = site.target.world().await;
    let target = world.find("default", "plain").unwrap();
    assert!(target.properties.contains(&pair("disable_func_runtime_check", "false")), "{:?}", target.properties);
    assert!(world.calls.iter().any(|call| call == "AlterCollection"));
}

#[tokio::test]
async fn schemas_alone_come_back_without_a_row_and_without_a_flush() {
    let site = Site::filled((2, 6, 18)).await;
    let mut task = site.backup_task();
    task.content = Content::SchemaOnly;
    done(&site.run(Work::Backup(Box::new(task)), 1).await);
    let mut task = site.restore_task();
    (task.content, task.load) = (Content::SchemaOnly, Load::None);
    done(&site.run(Work::Restore(Box::new(task)), 1).await);
    assert_eq!(site.source.calls("Flush").await + site.source.calls("gc/pause").await, 0);
    let world = site.target.world().await;
    let late = world.find("shop", "docs").unwrap().schema.fields.iter().find(|field| field.name == "late").cloned();
    assert_eq!(late.map(|field| field.field_id), Some(104));
}

#[rstest]
#[case((2, 6, 18))]
#[case((2, 5, 27))]
#[tokio::test]
async fn garbage_collection_is_paused_while_files_are_copied_and_goes_on_afterwards(#[case] version: Version) {
    let site = Site::filled(version).await;
    done(&site.backup().await);
    assert_eq!((site.source.calls("gc/pause").await, site.source.calls("gc/resume").await), (1, 1));
    let world = site.source.world().await;
    assert!(!world.gc_paused && world.gc_tickets.is_empty());
    let at = |name: &str| world.calls.iter().position(|call| call == name).unwrap();
    assert!(at("gc/pause") < at("Flush"));
}

fn access() -> wire::RbacMeta {
    let named = |name: &str| Some(wire::NamedEntity { name: name.into() });
    let role = wire::RoleEntity { name: "reader".into() };
    wire::RbacMeta {
        users: vec![wire::UserInfo { user: "ann".into(), password: "$2a$hash".into(), roles: vec![role.clone()] }],
        roles: vec![role.clone()],
        grants: vec![wire::GrantEntity {
            role: Some(role),
            object: named("Collection"),
            object_name: "docs".into(),
            grantor: Some(wire::GrantorEntity { user: named("root"), privilege: named("Query") }),
            db_name: "shop".into(),
        }],
        privilege_groups: vec![],
    }
}

async fn with_access(site: &Site) -> milvus_backup_operator::engine::task::Report {
    site.source.world().await.rbac = access();
    let mut task = site.backup_task();
    task.rbac = true;
    let report = site.run(Work::Backup(Box::new(task)), 1).await;
    done(&report);
    let mut task = site.restore_task();
    task.rbac = true;
    site.run(Work::Restore(Box::new(task)), 1).await
}

#[tokio::test]
async fn users_roles_and_grants_come_back_with_their_passwords() {
    let site = Site::filled((2, 5, 27)).await;
    let report = with_access(&site).await;
    done(&report);
    assert_eq!(site.target.world().await.rbac, access());
    assert!(report.summary.warnings.is_empty(), "{:?}", report.summary.warnings);
}

#[tokio::test]
async fn an_older_server_gets_roles_and_grants_one_by_one_and_users_are_named_in_a_warning() {
    let site = Site::filled((2, 3, 5)).await;
    let report = with_access(&site).await;
    done(&report);
    let world = site.target.world().await;
    assert_eq!((&world.rbac.roles, &world.rbac.grants), (&access().roles, &access().grants));
    assert!(report.summary.warnings.iter().any(|warning| warning.contains("user ann was not restored")));
    assert!(full_meta(&site).await.rbac_meta.unwrap().users[0].password.is_empty());
}

#[tokio::test]
async fn a_user_that_exists_keeps_its_password_and_gets_its_roles() {
    let site = Site::filled((2, 6, 18)).await;
    let there = wire::UserInfo { user: "ann".into(), password: "$2a$other".into(), roles: vec![] };
    site.target.world().await.rbac.users = vec![there];
    done(&with_access(&site).await);
    let world = site.target.world().await;
    assert_eq!(world.rbac.users.len(), 1);
    assert_eq!((world.rbac.users[0].password.as_str(), &world.rbac.users[0].roles), ("$2a$other", &access().roles));
}

#[tokio::test]
async fn a_field_no_server_would_number_so_is_refused() {
    let site = Site::new((2, 6, 18), (2, 6, 18)).await;
    {
        let mut world = site.source.world().await;
        world.create_collection("default", "plain", schema(false), (1, 0, 0), vec![]).unwrap();
        let late = FieldSchema { name: "late".into(), data_type: 5, nullable: true, ..FieldSchema::default() };
        world.add_field("default", "plain", late.clone()).unwrap();
        // A field between was dropped.
        world.find_mut("default", "plain").unwrap().next_field = 110;
        world.add_field("default", "plain", FieldSchema { name: "later".into(), ..late }).unwrap();
        world.insert("default", "plain", "_default", 0..3);
    }
    done(&site.backup().await);
    refused(&site.restore().await, "UnsupportedVersion", "field later");
}

#[rstest]
#[case((2, 4, 5), 1, true)]
#[case((2, 3, 5), 0, false)]
#[tokio::test]
async fn properties_of_a_database_come_back_on_older_servers_as_far_as_they_can(
    #[case] to: Version,
    #[case] kept: usize,
    #[case] quiet: bool,
) {
    let site = Site::new((2, 4, 15), to).await;
    {
        let mut world = site.source.world().await;
        world.databases.insert("shop".into(), (7, vec![pair("database.replica.number", "2")]));
        world.create_collection("shop", "plain", schema(false), (1, 0, 0), vec![]).unwrap();
        world.insert("shop", "plain", "_default", 0..3);
    }
    done(&site.backup().await);
    let report = site.restore().await;
    done(&report);
    assert_eq!(site.target.world().await.databases["shop"].1.len(), kept);
    assert_eq!(report.summary.warnings.is_empty(), quiet, "{:?}", report.summary.warnings);
}

/// Takes our own files out of an artifact: what is left is one of milvus-backup.
async fn as_of_the_go_tool(site: &Site) {
    let store = site.buckets.bucket(BACKUPS);
    let ours = list_all(&store, "prod/nightly/operator/").await.unwrap();
    store.delete(&ours.into_iter().map(|object| object.key).collect::<Vec<_>>()).await.unwrap();
}

#[rstest]
#[case((2, 3, 5))]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn a_backup_of_the_go_tool_comes_back_with_its_delete_only_segments(#[case] version: Version) {
    let site = Site::filled(version).await;
    let docs = site.source.rows("shop", "docs").await;
    done(&site.backup().await);
    as_of_the_go_tool(&site).await;
    done(&site.restore().await);
    same(&site.target.rows("shop", "docs").await, &docs);
}

#[rstest]
#[case((2, 5, 27))]
#[case((2, 6, 18))]
#[tokio::test]
async fn files_that_a_real_2_5_wrote_come_back_without_the_rows_its_delete_only_segments_take(#[case] to: Version) {
    let site = Site::new((2, 5, 27), to).await;
    let golden = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/milvus-2.5.27");
    let store = site.buckets.bucket(BACKUPS);
    let mut partitions: BTreeMap<i64, PartitionBackupInfo> = BTreeMap::new();
    let mut l0: BTreeMap<i64, SegmentBackupInfo> = BTreeMap::new();
    let mut collection = 0;
    for file in files_below(&golden) {
        let path = file.strip_prefix(&golden).unwrap().to_str().unwrap().to_owned();
        let (key, group) = parse_log_path(&format!("binlogs/{path}")).unwrap();
        // Keys and the system fields are what the golden files have of every segment.
        if key.field.is_some_and(|field| ![0, 1, 100].contains(&field)) {
            continue;
        }
        let body = bytes::Bytes::from(std::fs::read(&file).unwrap());
        collection = key.collection;
        let segment = match key.partition {
            -1 => l0.entry(key.segment).or_default(),
            id => {
                let partition = partitions.entry(id).or_default();
                (partition.partition_id, partition.partition_name) = (id, format!("p{id}"));
                match partition.segment_backups.iter().position(|segment| segment.segment_id == key.segment) {
                    Some(at) => &mut partition.segment_backups[at],
                    None => {
                        partition.segment_backups.push(SegmentBackupInfo::default());
                        partition.segment_backups.last_mut().unwrap()
                    }
                }
            }
        };
        (segment.segment_id, segment.collection_id, segment.partition_id) = (key.segment, collection, key.partition);
        (segment.group_id, segment.is_l0) = (group.unwrap_or_default(), key.partition == -1);
        let log = Binlog { log_id: key.log, log_size: body.len() as i64, ..Binlog::default() };
        let logs = FieldBinlog { field_id: key.field.unwrap_or_default(), binlogs: vec![log] };
        match key.field {
            None => segment.deltalogs.push(logs),
            Some(field) => {
                if field == 100 {
                    segment.num_of_rows = primary_keys(&body).unwrap().len() as i64;
                }
                segment.binlogs.push(logs);
            }
        }
        store.put(&format!("prod/nightly/binlogs/{path}"), body).await.unwrap();
    }
    let mut described = CollectionBackupInfo {
        collection_id: collection,
        db_name: "default".into(),
        collection_name: "golden".into(),
        partition_backups: partitions.into_values().collect(),
        l0_segments: l0.into_values().collect(),
        ..CollectionBackupInfo::default()
    };
    described.schema.fields = vec![milvus_backup_operator::manifest::FieldSchema {
        field_id: 100,
        name: "id".into(),
        is_primary_key: true,
        data_type: 5,
        ..Default::default()
    }];
    let info = BackupInfo { name: "nightly".into(), collection_backups: vec![described], ..BackupInfo::default() };
    for (name, body) in encode_meta(&info).unwrap() {
        store.put(&format!("prod/nightly/meta/{name}"), body.into()).await.unwrap();
    }
    let report = site.restore().await;
    done(&report);
    // 6,500 rows of which 500 were deleted.
    assert_eq!(report.row_counts.unwrap().actual, 6000);
    let keys: BTreeSet<i64> = site.target.rows("default", "golden").await.into_keys().map(|(_, key, _)| key).collect();
    assert_eq!(keys.len(), 6000);
    assert!(keys.iter().all(|key| (0..6000).contains(key) || (1_000_000..1_000_500).contains(key)));
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
