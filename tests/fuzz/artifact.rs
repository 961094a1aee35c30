//! A whole artifact in a bucket of which one object is damaged, or the listing lies.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use milvus_backup_operator::engine::artifact::Artifact;
use milvus_backup_operator::manifest::objects::encode_objects;
use milvus_backup_operator::manifest::operator_manifest::digest;
use milvus_backup_operator::manifest::{ObjectRecord, OperatorManifest, decode_full, encode_meta};
use milvus_backup_operator::storage::memory::{MemoryService, MemoryStore};
use milvus_backup_operator::storage::{ObjectMeta, Store, list_all};

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
    for (name, body) in encode_meta(&decode_full(FULL).unwrap()).unwrap() {
        put(&format!("meta/{name}"), body).await;
    }
    if ours {
        let objects = encode_objects(&records).unwrap();
        put("operator/manifest.json", manifest(&objects).encode().unwrap()).await;
        put("operator/objects.jsonl.zst", objects).await;
    }
    store
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
    let mut listed = artifact.listed().await.map_err(|error| error.to_string())?;
    let all: HashSet<i64> =
        contents.info.collection_backups.iter().map(|collection| collection.collection_id).collect();
    let _ = artifact.strays(&contents, &listed);
    if let Err(error) = artifact.prove(&contents, &all, &listed).await {
        named(error.to_string())?;
    }
    // A listing may say anything, too.
    listed.push(ObjectMeta { key: damaged.to_owned(), size: u64::MAX, etag: String::new() });
    let _ = artifact.strays(&contents, &listed);
    let paths: Vec<String> =
        listed.iter().filter_map(|one| artifact.keys.relative(&one.key)).map(str::to_owned).collect();
    let _ = artifact.inspect(&paths).await.map(|inspected| inspected.of_whole_segments());
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
