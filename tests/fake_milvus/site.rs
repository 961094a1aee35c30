//! Two servers, one store, and runs of the engine between them.

use std::collections::BTreeMap;

use milvus_backup_operator::engine;
use milvus_backup_operator::engine::progress::Counters;
use milvus_backup_operator::engine::secret::KeyMapping;
use milvus_backup_operator::engine::task::{
    BackupTask, Content, Credentials, Flush, Format, Indexes, Limits, Load, Mapping, MilvusTarget, OnCollectionError,
    OnConflict, Report, RestorePath, RestoreTask, Run, Selection, StoreTarget, TASK_VERSION, Task, VerifyBackup,
    VerifyLevel, VerifyRestore, VerifyTask, Work,
};
use milvus_backup_operator::milvus::proto::common::KeyValuePair;
use milvus_backup_operator::milvus::proto::milvus::IndexDescription;
use milvus_backup_operator::milvus::proto::schema::{CollectionSchema, FieldSchema};
use milvus_backup_operator::storage::memory::MemoryService;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::weather::Weather;
use super::world::ROOT;
use super::{FakeMilvus, s3};

/// Version of a server.
pub type Version = (u64, u64, u64);

/// Bucket of the source, of the target, and of backups.
pub const SOURCE: &str = "source-data";
pub const TARGET: &str = "target-data";
pub const BACKUPS: &str = "backups";

pub struct Site {
    pub source: FakeMilvus,
    pub target: FakeMilvus,
    pub buckets: MemoryService,
    /// Of the way to all buckets.
    pub weather: Weather,
    endpoint: String,
    /// Of the bucket of backups; another service where objects cannot be copied from one to the other.
    backups: String,
    keys: TempDir,
}

impl Site {
    pub async fn new(source: Version, target: Version) -> Site {
        Site::on(MemoryService::new("site"), source, target).await
    }

    /// On buckets of a kind.
    pub async fn on(buckets: MemoryService, source: Version, target: Version) -> Site {
        buckets.bucket(BACKUPS);
        let weather = Weather::fair();
        let endpoint = s3::serve(buckets.clone(), weather.clone()).await;
        let site = Site {
            source: FakeMilvus::start(source, &buckets, SOURCE).await,
            target: FakeMilvus::start(target, &buckets, TARGET).await,
            backups: endpoint.clone(),
            endpoint,
            buckets,
            weather,
            keys: tempfile::tempdir().unwrap(),
        };
        site.write_keys(s3::ACCESS_KEY, s3::SECRET_KEY);
        site
    }

    /// The same with backups at another service: every byte flows through the engine.
    pub async fn with_backups_elsewhere(self) -> Site {
        Site { backups: s3::serve(self.buckets.clone(), self.weather.clone()).await, ..self }
    }

    /// Folder of the key files, `access` and `secret`.
    pub fn keys(&self) -> std::path::PathBuf {
        self.keys.path().to_owned()
    }

    pub fn write_keys(&self, access: &str, secret: &str) {
        write_keys(self.keys.path(), access, secret);
    }

    /// Both of one version, with the usual data in the source.
    pub async fn filled(version: Version) -> Site {
        let site = Site::new(version, version).await;
        fill(&site.source).await;
        site
    }

    fn store(&self, bucket: &str, prefix: &str) -> StoreTarget {
        StoreTarget {
            endpoint: Some(if bucket == BACKUPS { self.backups.clone() } else { self.endpoint.clone() }),
            region: None,
            bucket: bucket.into(),
            prefix: prefix.into(),
            path_style: true,
            credentials: Credentials::Files {
                access_key: self.keys.path().join("access"),
                secret_key: self.keys.path().join("secret"),
                session_token: None,
            },
            ca_file: None,
            ..StoreTarget::default()
        }
    }

    fn milvus(&self, server: &FakeMilvus, bucket: &str) -> MilvusTarget {
        MilvusTarget {
            host: "127.0.0.1".into(),
            port: server.port,
            tls: None,
            auth: None,
            store: self.store(bucket, ROOT),
            rest: None,
            management: Some(format!("http://127.0.0.1:{}", server.port)),
            live_config: None,
        }
    }

    pub fn backup_task(&self) -> BackupTask {
        BackupTask {
            artifact: "nightly".into(),
            milvus: self.milvus(&self.source, SOURCE),
            destination: self.store(BACKUPS, "prod"),
            selection: Selection::default(),
            content: Content::Full,
            index_metadata: true,
            etcd: None,
            flush: Flush::Auto,
            format: Format::Auto,
            on_collection_error: OnCollectionError::Fail,
            verify: VerifyBackup::Checksum,
            rbac: false,
            pause_gc: true,
            limits: Limits::default(),
        }
    }

    pub fn restore_task(&self) -> RestoreTask {
        RestoreTask {
            artifact: "nightly".into(),
            manifest_digest: None,
            source: self.store(BACKUPS, "prod"),
            target: self.milvus(&self.target, TARGET),
            selection: Selection::default(),
            mapping: Mapping::default(),
            on_conflict: OnConflict::Fail,
            create_missing: true,
            drop_indexes: false,
            content: Content::Full,
            indexes: Indexes::Rebuild,
            load: Load::Original,
            verify: VerifyRestore::RowCounts,
            restore_path: RestorePath::Auto,
            rbac: false,
            keys: KeyMapping::default(),
            cut_to_recovery_point: false,
            preflight_only: false,
            cleanup_on_failure: true,
            last_attempt: false,
            limits: Limits::default(),
        }
    }

    pub async fn run(&self, work: Work, attempt: u32) -> Report {
        let uid = if matches!(work, Work::Backup(_)) { "backup-1" } else { "restore-1" };
        self.run_as(uid, work, attempt).await
    }

    /// A run that is another than the usual one of its kind.
    pub async fn run_as(&self, uid: &str, work: Work, attempt: u32) -> Report {
        let run = Run { uid: uid.into(), namespace: String::new(), name: String::new(), attempt };
        let task = Task { version: TASK_VERSION, run, work };
        engine::run(&task, &Counters::default(), &CancellationToken::new()).await
    }

    pub async fn backup(&self) -> Report {
        self.run(Work::Backup(Box::new(self.backup_task())), 1).await
    }

    pub async fn verify(&self, level: VerifyLevel, sample_percent: u8) -> Report {
        let task = self.restore_task();
        let RestoreTask { artifact, source: location, limits, .. } = task;
        let task = VerifyTask { artifact, location, level, sample_percent, seed: 1, limits };
        self.run(Work::Verify(task), 1).await
    }

    pub async fn restore(&self) -> Report {
        self.run(Work::Restore(Box::new(self.restore_task())), 1).await
    }
}

/// Keys as a mounted Secret has them.
pub fn write_keys(folder: &std::path::Path, access: &str, secret: &str) {
    std::fs::write(folder.join("access"), access).unwrap();
    std::fs::write(folder.join("secret"), secret).unwrap();
}

/// That a run is done, with its own words where it is not.
pub fn done(report: &Report) {
    assert!(report.ok, "{}: {}", report.reason, report.message);
}

/// That a run failed for this reason with these words.
pub fn refused(report: &Report, reason: &str, words: &str) {
    assert!(!report.ok, "it should have been refused: {}", report.message);
    assert!(report.reason == reason && report.message.contains(words), "{}: {}", report.reason, report.message);
}

/// That two servers hold the same rows, with few words where they do not.
pub fn same<K: Ord + std::fmt::Debug, V: PartialEq>(found: &BTreeMap<K, V>, wanted: &BTreeMap<K, V>) {
    let missing: Vec<&K> = wanted.keys().filter(|key| !found.contains_key(key)).take(5).collect();
    let extra: Vec<&K> = found.keys().filter(|key| !wanted.contains_key(key)).take(5).collect();
    let changed: Vec<&K> = found
        .iter()
        .filter(|(key, row)| wanted.get(key).is_some_and(|other| other != *row))
        .map(|(key, _)| key)
        .take(5)
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && changed.is_empty(),
        "{} rows instead of {}: missing {missing:?}, too many {extra:?}, changed {changed:?}",
        found.len(),
        wanted.len()
    );
}

pub fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}

pub fn schema(dynamic: bool) -> CollectionSchema {
    let field = |name: &str, data_type: i32| FieldSchema { name: name.into(), data_type, ..FieldSchema::default() };
    let mut key = field("id", 5);
    key.is_primary_key = true;
    let mut vector = field("vec", 101);
    vector.type_params = vec![pair("dim", "2")];
    let mut body = field("body", 21);
    body.type_params = vec![pair("max_length", "256")];
    CollectionSchema { fields: vec![key, body, vector], enable_dynamic_field: dynamic, ..CollectionSchema::default() }
}

/// Database `shop`, if it is not there yet, with `docs` (two partitions, deletes in one and in all, upserts, an index, an alias, one partition loaded)
/// and `default.plain` with nothing but rows.
pub async fn fill(server: &FakeMilvus) {
    let mut world = server.world().await;
    let properties = if world.since(2, 4, 6) { vec![pair("database.replica.number", "1")] } else { vec![] };
    let id = world.id();
    world.databases.entry("shop".into()).or_insert((id, properties));
    let ttl = vec![pair("collection.ttl.seconds", "86400")];
    let dynamic = world.since(2, 6, 0);
    world.create_collection("shop", "docs", schema(dynamic), (1, 2, 0), ttl).unwrap();
    world.create_collection("default", "plain", schema(false), (1, 0, 0), vec![]).unwrap();
    let partition = world.id();
    let docs = world.find_mut("shop", "docs").unwrap();
    docs.partitions.push(("eu".into(), partition));
    docs.aliases.push("docs_live".into());
    docs.indexes.push(IndexDescription {
        index_name: "vec".into(),
        field_name: "vec".into(),
        index_id: 9,
        params: vec![pair("index_type", "HNSW"), pair("metric_type", "L2")],
        ..Default::default()
    });
    docs.loaded = true;
    docs.loaded_partitions.insert("eu".into());
    if dynamic {
        // Behind the dynamic field, which has id 103.
        let late = FieldSchema { name: "late".into(), data_type: 5, nullable: true, ..FieldSchema::default() };
        world.add_field("shop", "docs", late).unwrap();
    }
    for (partition, keys) in [("_default", 0..40), ("eu", 100..130), ("_default", 40..60)] {
        world.insert("shop", "docs", partition, keys);
        world.flush("shop", "docs").await;
    }
    world.delete("shop", "docs", None, 0..5);
    world.delete("shop", "docs", Some("eu"), 100..103);
    world.flush("shop", "docs").await;
    // An upsert: the old row goes, the new one comes later.
    world.delete("shop", "docs", None, 50..52);
    world.insert("shop", "docs", "_default", 50..52);
    world.insert("default", "plain", "_default", 0..25);
}
