//! Snapshots of 3.0: names, states and the layout of a bundle from the contract and from server source (milvus-wire.md 2.13).
//! What stands inside the files of a bundle is this server's own affair and differs from a real one's.

use bytes::Bytes;
use milvus_backup_operator::milvus::proto::milvus as wire;
use milvus_backup_operator::milvus::proto::schema::CollectionSchema;
use milvus_backup_operator::storage::memory::MemoryStore;
use milvus_backup_operator::storage::{Store, list_all};
use prost::Message;
use serde_json::{Value, json};

use super::world::{Collection, ROOT, Refused, Segment, World, take};

/// An export or a restore.
#[derive(Debug, Clone, Default)]
pub struct SnapshotJob {
    pub polls: u32,
    pub failed: Option<String>,
    pub files: i64,
    pub bytes: i64,
    pub uri: String,
}

fn missing(name: &str) -> Refused {
    (2600, format!("snapshot not found[snapshot={name}]"))
}

/// A call that 3.0.0 knows and does not do (seen in its source).
fn stub(world: &World) -> Result<(), Refused> {
    match world.since(3, 0, 1) {
        true => Ok(()),
        false => Err((10, "snapshot export is not implemented".to_owned())),
    }
}

impl World {
    fn snapshot_key(&self, database: &str, collection: &str, name: &str) -> Result<(i64, String), Refused> {
        let found = self.find(database, collection);
        let missing = (100, format!("collection not found[database={database}][collection={collection}]"));
        Ok((found.ok_or(missing)?.id, name.to_owned()))
    }

    /// Unique by collection; takes what is flushed only.
    pub fn create_snapshot(&mut self, asked: &wire::CreateSnapshotRequest) -> Result<(), Refused> {
        let key = self.snapshot_key(&asked.db_name, &asked.collection_name, &asked.name)?;
        if self.snapshots.contains_key(&key) {
            return Err((1100, format!("snapshot {} already exists", asked.name)));
        }
        let mut collection = self.find(&asked.db_name, &asked.collection_name).unwrap().clone();
        collection.growing.clear();
        collection.growing_deletes.clear();
        let moment = self.tick();
        self.snapshots.insert(key, (moment, collection));
        Ok(())
    }

    /// A missing one is dropped already.
    pub fn drop_snapshot(&mut self, asked: &wire::DropSnapshotRequest) -> Result<(), Refused> {
        let key = self.snapshot_key(&asked.db_name, &asked.collection_name, &asked.name)?;
        self.snapshots.remove(&key);
        Ok(())
    }

    pub fn snapshot_moment(&self, asked: &wire::DescribeSnapshotRequest) -> Result<i64, Refused> {
        let key = self.snapshot_key(&asked.db_name, &asked.collection_name, &asked.name)?;
        let (moment, _) = self.snapshots.get(&key).ok_or_else(|| missing(&asked.name))?;
        Ok(moment.cast_signed())
    }

    /// A bucket and the key in it.
    fn place(&self, uri: &str) -> (MemoryStore, String) {
        let (bucket, key) = uri.strip_prefix("s3://").unwrap().split_once('/').unwrap();
        (self.service.bucket(bucket), key.to_owned())
    }

    pub async fn export_snapshot(&mut self, asked: &wire::ExportSnapshotRequest) -> Result<i64, Refused> {
        stub(self)?;
        let key = self.snapshot_key(&asked.db_name, &asked.collection_name, &asked.name)?;
        let (_, collection) = self.snapshots.get(&key).cloned().ok_or_else(|| missing(&asked.name))?;
        let (store, root) = self.place(&asked.target_s3_path);
        let (id, number) = (self.id(), self.id());
        let mut job = SnapshotJob::default();
        if let Some(reason) = self.lies.failing_exports.pop() {
            job.failed = Some(reason.to_owned());
            self.snapshot_jobs.insert(id, job);
            return Ok(id);
        }
        for kind in ["insert_log", "delta_log"] {
            for object in list_all(&self.store, &format!("{ROOT}/{kind}/{}/", collection.id)).await.unwrap() {
                let body = self.store.get(&object.key).await.unwrap();
                job.files += 1;
                job.bytes += body.len() as i64;
                store.put(&format!("{root}/{}", object.key), body).await.unwrap();
            }
        }
        let path = format!("snapshots/{}/metadata/{number}.json", collection.id);
        let body = if std::mem::take(&mut self.lies.lost_bundle) { None } else { Some(described(&collection)) };
        if let Some(body) = body {
            store.put(&format!("{root}/{path}"), body).await.unwrap();
        }
        job.uri = format!("{}/{path}", asked.target_s3_path);
        self.snapshot_jobs.insert(id, job);
        Ok(id)
    }

    /// First seen at work, then done.
    pub fn export_state(&mut self, id: i64) -> wire::ExportSnapshotInfo {
        let Some(job) = self.snapshot_jobs.get_mut(&id) else { return wire::ExportSnapshotInfo::default() };
        job.polls += 1;
        let state = if job.polls < 2 { 2 } else { 3 };
        wire::ExportSnapshotInfo {
            state: if job.failed.is_some() { 4 } else { state },
            reason: job.failed.clone().unwrap_or_default(),
            total_files: job.files,
            copied_files: job.files,
            total_bytes: job.bytes,
            snapshot_metadata_uri: if state == 3 { job.uri.clone() } else { String::new() },
            ..Default::default()
        }
    }

    pub async fn restore_snapshot(&mut self, asked: &wire::RestoreExternalSnapshotRequest) -> Result<i64, Refused> {
        stub(self)?;
        if self.find(&asked.db_name, &asked.target_collection_name).is_some() {
            return Err((1100, format!("collection {} already exists", asked.target_collection_name)));
        }
        let (store, key) = self.place(&asked.snapshot_metadata_uri);
        let id = self.id();
        let mut job = SnapshotJob::default();
        match store.get(&key).await {
            Err(_) => return Err((1000, format!("key not found[key={key}]"))),
            Ok(_) if take(&mut self.lies.failing_restores) => job.failed = Some("copy failed".to_owned()),
            Ok(body) => {
                let root = key.split_once("snapshots/").unwrap().0.to_owned();
                self.make_of(&store, &root, &body, asked).await;
            }
        }
        self.snapshot_jobs.insert(id, job);
        Ok(id)
    }

    async fn make_of(
        &mut self,
        store: &MemoryStore,
        root: &str,
        body: &Bytes,
        asked: &wire::RestoreExternalSnapshotRequest,
    ) {
        let read: Value = serde_json::from_slice(body).unwrap();
        let id = self.id();
        let old = read["id"].as_i64().unwrap();
        for kind in ["insert_log", "delta_log"] {
            let from = format!("{root}{ROOT}/{kind}/{old}/");
            for object in list_all(store, &from).await.unwrap() {
                let body = store.get(&object.key).await.unwrap();
                let to = format!("{ROOT}/{kind}/{id}/{}", &object.key[from.len()..]);
                self.store.put(&to, body).await.unwrap();
            }
        }
        let collection = Collection {
            id,
            database: asked.db_name.clone(),
            name: asked.target_collection_name.clone(),
            ..read_back(&read)
        };
        self.collections.push(collection);
    }

    pub fn restore_state(&mut self, id: i64) -> wire::RestoreSnapshotInfo {
        let Some(job) = self.snapshot_jobs.get_mut(&id) else { return wire::RestoreSnapshotInfo::default() };
        job.polls += 1;
        let state = if job.polls < 2 { 2 } else { 3 };
        wire::RestoreSnapshotInfo {
            state: if job.failed.is_some() { 4 } else { state },
            reason: job.failed.clone().unwrap_or_default(),
            progress: if state == 3 { 100 } else { 50 },
        }
    }
}

fn described(collection: &Collection) -> Bytes {
    let segments: Vec<Value> = collection
        .segments
        .iter()
        .map(|one| {
            json!([
                one.id,
                one.partition,
                one.deletes_only,
                one.rows,
                one.storage_version,
                one.channel,
                one.inserts,
                one.deltas
            ])
        })
        .collect();
    let indexes: Vec<Vec<u8>> = collection.indexes.iter().map(Message::encode_to_vec).collect();
    let body = json!({
        "id": collection.id, "schema": collection.schema.encode_to_vec(), "dynamic": collection.dynamic,
        "next_field": collection.next_field, "shards": collection.shards, "consistency": collection.consistency,
        "partitions": collection.partitions, "segments": segments, "indexes": indexes,
        "properties": collection.properties.iter().map(|pair| [&pair.key, &pair.value]).collect::<Vec<_>>(),
    });
    body.to_string().into()
}

fn read_back(read: &Value) -> Collection {
    let of = |value: &Value| value.clone();
    let bytes = |value: &Value| serde_json::from_value::<Vec<u8>>(of(value)).unwrap();
    let segment = |value: &Value| Segment {
        id: value[0].as_i64().unwrap(),
        partition: value[1].as_i64().unwrap(),
        deletes_only: value[2].as_bool().unwrap(),
        rows: value[3].as_i64().unwrap(),
        storage_version: value[4].as_i64().unwrap(),
        channel: value[5].as_str().unwrap().to_owned(),
        inserts: serde_json::from_value(of(&value[6])).unwrap(),
        deltas: serde_json::from_value(of(&value[7])).unwrap(),
    };
    let pairs: Vec<(String, String)> = serde_json::from_value(of(&read["properties"])).unwrap();
    Collection {
        id: 0,
        database: String::new(),
        name: String::new(),
        schema: CollectionSchema::decode(bytes(&read["schema"]).as_slice()).unwrap(),
        dynamic: read["dynamic"].as_i64(),
        next_field: read["next_field"].as_i64().unwrap(),
        shards: read["shards"].as_i64().unwrap() as i32,
        consistency: read["consistency"].as_i64().unwrap() as i32,
        properties: pairs.iter().map(|(key, value)| super::site::pair(key, value)).collect(),
        partitions: serde_json::from_value(of(&read["partitions"])).unwrap(),
        segments: read["segments"].as_array().unwrap().iter().map(segment).collect(),
        growing: Vec::new(),
        growing_deletes: Vec::new(),
        indexes: read["indexes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|index| wire::IndexDescription::decode(bytes(index).as_slice()).unwrap())
            .collect(),
        aliases: Vec::new(),
        loaded: false,
        loaded_partitions: Default::default(),
    }
}
