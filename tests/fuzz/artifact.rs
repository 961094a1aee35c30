//! A whole artifact in a bucket of which one object is damaged, or the listing lies.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use milvus_backup_operator::engine::artifact::Artifact;
use milvus_backup_operator::engine::inspect::inspect;
use milvus_backup_operator::engine::inventory::{Inventory, Named};
use milvus_backup_operator::engine::proof;
use milvus_backup_operator::engine::reader::Reader;
use milvus_backup_operator::engine::task::Limits;
use milvus_backup_operator::manifest::layout::parse_log_path;
use milvus_backup_operator::manifest::objects::encode_objects;
use milvus_backup_operator::manifest::operator_manifest::digest;
use milvus_backup_operator::manifest::{
    BackupInfo, Binlog, FieldBinlog, ObjectRecord, OperatorManifest, SegmentBackupInfo, decode_full, encode_meta,
};
use milvus_backup_operator::storage::memory::{MemoryService, MemoryStore};
use milvus_backup_operator::storage::{Store, list_all};

use super::harness::{Memory, Target, explore};
use super::logs::golden;
use super::metadata::{FULL, manifest};
use super::mutate::{self, Dice};

/// Objects of an artifact with their paths inside it; ours, or as of the Go tool without our files.
async fn artifact(ours: bool) -> MemoryStore {
    let store = MemoryService::new("m").bucket("b");
    let mut records = Vec::new();
    let put = async |path: &str, body: Vec<u8>| store.put(&format!("prod/nightly/{path}"), body.into()).await.unwrap();
    for file in golden(6000) {
        let path = milvus_backup_operator::manifest::layout::log_path(&file.key, Some(file.key.segment));
        let size = file.bytes.len() as u64;
        let etag = put(&path, file.bytes).await;
        records.push(ObjectRecord { key: path, size, etag, ..ObjectRecord::default() });
    }
    for (name, body) in encode_meta(&described(&records)).unwrap() {
        put(&format!("meta/{name}"), body).await;
    }
    if ours {
        let objects = encode_objects(&records).unwrap();
        put("operator/manifest.json", manifest(&objects).encode().unwrap()).await;
        put("operator/objects.jsonl.zst", objects).await;
    }
    store
}

/// Metadata that names these objects beside what real metadata has of a collection.
fn described(records: &[ObjectRecord]) -> BackupInfo {
    let mut info = decode_full(FULL).unwrap();
    let mut segments: BTreeMap<(i64, i64, i64), SegmentBackupInfo> = BTreeMap::new();
    for record in records {
        let (key, group) = parse_log_path(&record.key).unwrap();
        let segment = segments.entry((key.collection, key.partition, key.segment)).or_insert(SegmentBackupInfo {
            segment_id: key.segment,
            collection_id: key.collection,
            partition_id: key.partition,
            group_id: group.unwrap_or_default(),
            ..SegmentBackupInfo::default()
        });
        let log = Binlog { log_id: key.log, log_size: record.size as i64, ..Binlog::default() };
        let field = FieldBinlog { field_id: key.field.unwrap_or_default(), binlogs: vec![log] };
        if key.field.is_some() { segment.binlogs.push(field) } else { segment.deltalogs.push(field) }
    }
    let mut collection = info.collection_backups.remove(0);
    collection.partition_backups.clear();
    collection.l0_segments = segments.into_values().collect();
    collection.collection_id = collection.l0_segments[0].collection_id;
    info.collection_backups = vec![collection];
    info
}

/// The first two bytes say which object is damaged; the rest is what becomes of it.
fn damage(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let which = dice.below(seeds.len());
    let seed = [seeds[which].clone()];
    let body = if seed[0].starts_with(b"{") { mutate::json(dice, &seed) } else { mutate::bytes(dice, &seed) };
    [(which as u16).to_le_bytes().to_vec(), body].concat()
}

/// Reads and proves all of it; digests in the manifest are made to fit, as somebody would who wants to deceive.
async fn read(store: &MemoryStore, damaged: &str) -> Result<(), String> {
    let key = |path: &str| format!("prod/nightly/{path}");
    if let Ok(body) = store.get(&key("operator/manifest.json")).await
        && let Ok(mut manifest) = OperatorManifest::decode(&body)
    {
        for (path, digest_of) in [
            ("meta/full_meta.json", &mut manifest.full_meta_sha256),
            ("operator/objects.jsonl.zst", &mut manifest.objects_sha256),
        ] {
            *digest_of = digest(&store.get(&key(path)).await.map_err(|error| error.to_string())?);
        }
        let body = Bytes::from(manifest.encode().map_err(|error| error.to_string())?);
        store.put(&key("operator/manifest.json"), body).await.map_err(|error| error.to_string())?;
    }
    let artifact = Artifact::at(Arc::new(store.clone()), "prod", "nightly").map_err(|error| error.to_string())?;
    let named = |said: String| {
        let file = damaged.rsplit('/').next().unwrap_or_default();
        let names = [file, "prod/nightly", "backup ", "collection ", "_meta.json"];
        if names.iter().any(|name| said.contains(name)) { Ok(()) } else { Err(format!("names nothing: {said}")) }
    };
    let contents = match artifact.read().await {
        Ok(contents) => contents,
        Err(error) => return named(error.to_string()),
    };
    let logs = Inventory::of(&contents.info.collection_backups);
    let reader = Reader::new(&Limits::default());
    let all: HashSet<i64> = logs.logs().map(|log| log.key.collection).collect();
    let proven = match proof::compare(&artifact, &contents, &logs).await {
        Ok(compared) => compared.prove(&artifact, &contents, &logs, &all, &reader).await,
        Err(error) => Err(error),
    };
    if let Err(error) = proven {
        named(error.to_string())?;
    }
    // What is listed is looked into, whatever else the metadata says of it.
    let there: HashSet<String> = list_all(store, "prod/nightly/binlogs/")
        .await
        .map_err(|error| error.to_string())?
        .into_iter()
        .map(|object| object.key)
        .collect();
    let listed = |log: &Named| there.contains(&artifact.keys.log(&log.key, log.group));
    let _ = inspect(&artifact, &logs, listed, &reader).await;
    Ok(())
}

fn explored(name: &'static str, ours: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let objects: Vec<(String, Vec<u8>)> = runtime.block_on(async {
        let store = artifact(ours).await;
        let mut objects = Vec::new();
        for object in list_all(&store, "").await.unwrap() {
            objects.push((object.key.clone(), store.get(&object.key).await.unwrap().to_vec()));
        }
        objects
    });
    let bodies: Vec<Vec<u8>> = objects.iter().map(|(_, body)| body.clone()).collect();
    let seeds = bodies;
    let memory = Memory { fixed: 128 << 20, per_byte: 1500 };
    explore(Target { name, seeds, damage, memory }, move |input| {
        let Some((which, body)) = input.split_first_chunk::<2>() else { return Ok(()) };
        let Some((damaged, _)) = objects.get(u16::from_le_bytes(*which) as usize) else { return Ok(()) };
        runtime.block_on(async {
            let store = MemoryService::new("m").bucket("b");
            for (key, good) in &objects {
                let body = if key == damaged { Bytes::copy_from_slice(body) } else { Bytes::copy_from_slice(good) };
                store.put(key, body).await.map_err(|error| error.to_string())?;
            }
            read(&store, damaged).await
        })
    });
}

#[test]
fn an_artifact_of_ours_with_one_damaged_object_is_read_or_refused_by_name() {
    explored("own_artifact", true);
}

#[test]
fn an_artifact_of_the_go_tool_with_one_damaged_object_is_read_or_refused_by_name() {
    explored("go_artifact", false);
}
