//! What the fake server knows and does: databases, collections, segments with real log files in its bucket, imports.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milvus_backup_operator::milvus::proto::common::KeyValuePair;
use milvus_backup_operator::milvus::proto::milvus::{IndexDescription, RbacMeta};
use milvus_backup_operator::milvus::proto::schema::{CollectionSchema, FieldSchema};
use milvus_backup_operator::storage::memory::{MemoryService, MemoryStore};
use milvus_backup_operator::storage::{Store, list_all};

use super::files::{self, Column, Ids};
use super::snapshot::SnapshotJob;
use super::types;

/// rootPath of every fake server.
pub const ROOT: &str = "files";
/// All partitions.
pub const EVERYWHERE: i64 = -1;
/// Rows a column group of its own: wide fields (milvus-newer.md 1).
const WIDE: i32 = 101;

/// A row as the tests see it: key, insert time, value of every other field by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub pk: i64,
    pub ts: u64,
    pub fields: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct Segment {
    pub id: i64,
    pub partition: i64,
    pub deletes_only: bool,
    pub rows: i64,
    pub storage_version: i64,
    pub channel: String,
    /// Field or column group, and log.
    pub inserts: Vec<(i64, i64)>,
    pub deltas: Vec<i64>,
}

#[derive(Debug, Clone)]
pub struct Collection {
    pub id: i64,
    pub database: String,
    pub name: String,
    pub schema: CollectionSchema,
    /// Id of the hidden dynamic field.
    pub dynamic: Option<i64>,
    pub next_field: i64,
    pub shards: i32,
    pub consistency: i32,
    pub properties: Vec<KeyValuePair>,
    pub partitions: Vec<(String, i64)>,
    pub segments: Vec<Segment>,
    /// Rows that no flush has written yet, by partition.
    pub growing: Vec<(i64, Row)>,
    pub growing_deletes: Vec<(i64, i64, u64)>,
    pub indexes: Vec<IndexDescription>,
    pub aliases: Vec<String>,
    pub loaded: bool,
    pub loaded_partitions: BTreeSet<String>,
}

impl Collection {
    pub fn channel(&self) -> String {
        format!("by-dev-rootcoord-dml_0_{}v0", self.id)
    }

    pub fn partition(&self, name: &str) -> Option<i64> {
        self.partitions.iter().find(|(there, _)| there == name).map(|(_, id)| *id)
    }

    /// Every field that has binlogs but the system ones.
    pub fn stored_fields(&self) -> Vec<(i64, String, i32)> {
        let mut fields: Vec<(i64, String, i32)> =
            self.schema.fields.iter().map(|field| (field.field_id, field.name.clone(), field.data_type)).collect();
        // Hidden in DescribeCollection, present in the bucket (milvus-wire.md 2.3).
        fields.extend(self.dynamic.map(|id| (id, "$meta".to_owned(), 23)));
        fields
    }

    /// A field that is stored as its type is.
    pub fn typed(&self, id: i64) -> Option<&FieldSchema> {
        self.schema.fields.iter().find(|field| field.field_id == id && types::is_typed(field))
    }

    fn key_field(&self) -> i64 {
        self.schema.fields.iter().find(|field| field.is_primary_key).map_or(100, |field| field.field_id)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Job {
    pub id: i64,
    pub database: String,
    pub collection: i64,
    pub name: String,
    pub files: Vec<Vec<String>>,
    pub rows: i64,
    pub failed: Option<String>,
    pub polls: u32,
}

/// What the server does although it should not, or does not although it should; each as seen or documented.
#[derive(Debug, Clone, Default)]
pub struct Lies {
    /// Flush refused for its rate, that many times.
    pub throttled_flushes: u32,
    /// Imports that complete without a row (2.3.5 for a directory that is not there: real-milvus.md 4).
    pub empty_imports: u32,
    /// Imports of deletes that complete without one.
    pub empty_delete_imports: u32,
    /// Imports that fail with this reason.
    pub failing_imports: Vec<&'static str>,
    /// A failed import keeps all others of its collection waiting until that is dropped: the data node of a restarted 2.3.5
    /// is told again and again to flush a segment it does not know, and takes no other task.
    pub failed_import_blocks: bool,
    /// Import jobs that are forgotten as soon as they are asked for (a restart).
    pub forgotten_jobs: u32,
    /// Answers to the creation of an import that never arrive, although the job is made.
    pub lost_import_answers: u32,
    /// Creations of import jobs refused because there are too many.
    pub full: u32,
    /// Calls refused because the server restarts.
    pub away: u32,
    /// REST is not let through.
    pub no_rest: bool,
    /// Asked for files of segments, the server says they are gone (compaction), that many times.
    pub vanished: u32,
    /// It names a file that is not there, that many times.
    pub phantom_files: u32,
    /// Exports of snapshots that fail with this reason.
    pub failing_exports: Vec<&'static str>,
    /// An export that says it is done and has not written its metadata.
    pub lost_bundle: bool,
    /// Restores of snapshots that fail.
    pub failing_restores: u32,
    /// GC cannot be paused.
    pub gc_refused: bool,
    /// After the next flush of this collection the keys are upserted and flushed by somebody else, and segments sorted.
    pub busy_writer: Option<(&'static str, &'static str, std::ops::Range<i64>)>,
    /// ... and joined into one.
    pub joined: bool,
    /// Rows that are asked for come back with another value of this field.
    pub changed_field: Option<&'static str>,
    /// Rows that are asked for are not there.
    pub lost_rows: bool,
    /// Nulls of rows that are asked for come back as zeros and empty texts.
    pub emptied_nulls: bool,
    /// Columns of rows that are asked for have no values for nulls.
    pub compressed_nulls: bool,
}

pub fn take(lie: &mut u32) -> bool {
    let lies = *lie > 0;
    *lie = lie.saturating_sub(1);
    lies
}

#[derive(Debug)]
pub struct World {
    pub version: (u64, u64, u64),
    pub store: MemoryStore,
    /// Other buckets of its store, which it can read and write.
    pub service: MemoryService,
    /// By collection and name, with their moment.
    pub snapshots: BTreeMap<(i64, String), (u64, Collection)>,
    pub snapshot_jobs: BTreeMap<i64, SnapshotJob>,
    pub databases: BTreeMap<String, (i64, Vec<KeyValuePair>)>,
    pub collections: Vec<Collection>,
    pub jobs: BTreeMap<i64, Job>,
    pub rbac: RbacMeta,
    /// Of encrypted databases.
    pub keys: BTreeMap<String, String>,
    pub gc_tickets: BTreeSet<String>,
    pub gc_paused: bool,
    /// Names of calls in order.
    pub calls: Vec<String>,
    pub lies: Lies,
    /// Whether it takes rows by Insert.
    pub takes_inserts: bool,
    next_id: i64,
    clock: u64,
}

/// Refusal with Milvus' code and words.
pub type Refused = (i32, String);

impl World {
    pub fn new(version: (u64, u64, u64), service: &MemoryService, bucket: &str) -> World {
        World {
            version,
            store: service.bucket(bucket),
            service: service.clone(),
            snapshots: BTreeMap::new(),
            snapshot_jobs: BTreeMap::new(),
            databases: BTreeMap::from([("default".to_owned(), (1, Vec::new()))]),
            collections: Vec::new(),
            jobs: BTreeMap::new(),
            rbac: RbacMeta::default(),
            keys: BTreeMap::new(),
            gc_tickets: BTreeSet::new(),
            gc_paused: false,
            calls: Vec::new(),
            lies: Lies::default(),
            takes_inserts: false,
            // Beyond what a float can hold, as real ids are.
            next_id: 470_609_052_561_000_000,
            clock: 1_800_000_000_000 << 18,
        }
    }

    pub fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// A hybrid timestamp, each a millisecond later.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1 << 18;
        self.clock
    }

    pub fn since(&self, major: u64, minor: u64, patch: u64) -> bool {
        self.version >= (major, minor, patch)
    }

    /// Column groups by default from 2.6 on (milvus-newer.md 1).
    pub fn storage_version(&self) -> i64 {
        if self.since(2, 6, 0) { 2 } else { 0 }
    }

    /// Whether files of a database are encrypted: by its properties (milvus-backup.md 2.3).
    pub fn is_sealed(&self, database: &str) -> bool {
        let properties = self.databases.get(database).map(|(_, properties)| properties.as_slice());
        properties.unwrap_or_default().iter().any(|pair| pair.key == "cipher.ezID" && !pair.value.is_empty())
    }

    /// Encrypts or decrypts a file. How real files look has not been seen; no reader takes these for log files.
    fn sealed(&self, database: &str, body: Bytes) -> Bytes {
        match self.keys.get(database).filter(|_| self.is_sealed(database)) {
            Some(key) => mixed(&body, key),
            None => body,
        }
    }

    pub fn find(&self, database: &str, name: &str) -> Option<&Collection> {
        let database = if database.is_empty() { "default" } else { database };
        self.collections.iter().find(|collection| {
            collection.database == database && (collection.name == name || collection.aliases.iter().any(|a| a == name))
        })
    }

    pub fn find_mut(&mut self, database: &str, name: &str) -> Option<&mut Collection> {
        let id = self.find(database, name)?.id;
        self.collections.iter_mut().find(|collection| collection.id == id)
    }

    /// Numbers the fields as servers do: in order from 100, the ids in the request ignored, then the dynamic field
    /// (milvus-wire.md 2.3).
    pub fn create_collection(
        &mut self,
        database: &str,
        name: &str,
        mut schema: CollectionSchema,
        (shards, consistency, partitions): (i32, i32, i64),
        properties: Vec<KeyValuePair>,
    ) -> Result<(), Refused> {
        if !self.databases.contains_key(database) {
            return Err((800, format!("database not found[database={database}]")));
        }
        if self.find(database, name).is_some() {
            return Err((1100, "create duplicate collection with different parameters".to_owned()));
        }
        for (number, field) in schema.fields.iter_mut().enumerate() {
            field.field_id = 100 + number as i64;
        }
        let mut next_field = 100 + schema.fields.len() as i64;
        let dynamic = schema.enable_dynamic_field.then_some(next_field);
        next_field += i64::from(schema.enable_dynamic_field);
        let partitions = match partitions {
            0 => vec![("_default".to_owned(), self.id())],
            many => (0..many).map(|number| (format!("_default_{number}"), self.id())).collect(),
        };
        let id = self.id();
        self.collections.push(Collection {
            id,
            database: database.to_owned(),
            name: name.to_owned(),
            schema,
            dynamic,
            next_field,
            shards: shards.max(1),
            consistency,
            properties,
            partitions,
            segments: Vec::new(),
            growing: Vec::new(),
            growing_deletes: Vec::new(),
            indexes: Vec::new(),
            aliases: Vec::new(),
            loaded: false,
            loaded_partitions: BTreeSet::new(),
        });
        Ok(())
    }

    pub fn add_field(&mut self, database: &str, name: &str, mut field: FieldSchema) -> Result<(), Refused> {
        let missing = (100, format!("collection not found[database={database}][collection={name}]"));
        let collection = self.find_mut(database, name).ok_or(missing)?;
        if !field.nullable {
            return Err((1100, format!("added field must be nullable, please check it, field name = {}", field.name)));
        }
        field.field_id = collection.next_field;
        collection.next_field += 1;
        collection.schema.fields.push(field);
        Ok(())
    }

    /// Rows arrive in memory.
    pub fn insert(&mut self, database: &str, name: &str, partition: &str, keys: std::ops::Range<i64>) {
        for pk in keys {
            let ts = self.tick();
            let collection = self.find_mut(database, name).unwrap();
            let partition = collection.partition(partition).unwrap();
            let key = collection.key_field();
            let mut fields = BTreeMap::new();
            for (id, field, data_type) in collection.stored_fields() {
                if let Some(typed) = collection.typed(id) {
                    fields.extend(types::made(typed, pk).map(|value| (field, value)));
                } else if id != key {
                    let value = match data_type {
                        5 => (pk * 7).to_le_bytes().to_vec(),
                        _ => format!("{field} of {pk} at {ts}").into_bytes(),
                    };
                    fields.insert(field, value);
                }
            }
            collection.growing.push((partition, Row { pk, ts, fields }));
        }
    }

    /// Deletes arrive in memory; `partition` none for all of them.
    pub fn delete(&mut self, database: &str, name: &str, partition: Option<&str>, keys: std::ops::Range<i64>) {
        for pk in keys {
            let ts = self.tick();
            let collection = self.find_mut(database, name).unwrap();
            let partition = partition.map_or(EVERYWHERE, |partition| collection.partition(partition).unwrap());
            collection.growing_deletes.push((partition, pk, ts));
        }
    }

    /// Writes what is in memory; answers the segments of rows this made.
    pub async fn flush(&mut self, database: &str, name: &str) -> Vec<i64> {
        let mut collection = self.find(database, name).unwrap().clone();
        let mut made = Vec::new();
        let mut by_partition: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for (partition, row) in std::mem::take(&mut collection.growing) {
            by_partition.entry(partition).or_default().push(row);
        }
        for (partition, rows) in by_partition {
            let segment = self.write_rows(&collection, partition, &rows, &[]).await;
            made.push(segment.id);
            collection.segments.push(segment);
        }
        let mut deletes: BTreeMap<i64, Vec<(i64, u64)>> = BTreeMap::new();
        for (partition, pk, ts) in std::mem::take(&mut collection.growing_deletes) {
            deletes.entry(partition).or_default().push((pk, ts));
        }
        for (partition, deletes) in deletes {
            if self.since(2, 4, 0) {
                let segment = self.write_deletes(&collection, partition, &deletes).await;
                collection.segments.push(segment);
            } else {
                // Before 2.4 deletes hang on each segment (real-milvus.md 3).
                for number in 0..collection.segments.len() {
                    let mut segment = collection.segments[number].clone();
                    let log = self.write_delta(&collection, segment.partition, segment.id, &deletes).await;
                    segment.deltas.push(log);
                    collection.segments[number] = segment;
                }
            }
        }
        *self.find_mut(database, name).unwrap() = collection;
        made
    }

    async fn write_deletes(&mut self, collection: &Collection, partition: i64, deletes: &[(i64, u64)]) -> Segment {
        let id = self.id();
        let log = self.write_delta(collection, partition, id, deletes).await;
        Segment {
            id,
            partition,
            deletes_only: true,
            rows: 0,
            storage_version: 0,
            channel: collection.channel(),
            inserts: Vec::new(),
            deltas: vec![log],
        }
    }

    async fn write_delta(
        &mut self,
        collection: &Collection,
        partition: i64,
        segment: i64,
        deletes: &[(i64, u64)],
    ) -> i64 {
        let log = self.id();
        let ids = Ids { collection: collection.id, partition, segment, field: 0 };
        let key = format!("{ROOT}/delta_log/{}/{partition}/{segment}/{log}", collection.id);
        let body = self.sealed(&collection.database, files::delta_log(ids, deletes));
        self.store.put(&key, body).await.unwrap();
        log
    }

    pub async fn write_rows(
        &mut self,
        collection: &Collection,
        partition: i64,
        rows: &[Row],
        deletes: &[(i64, u64)],
    ) -> Segment {
        let id = self.id();
        let key = collection.key_field();
        let mut columns = vec![
            (0, 5, Column::Numbers((0..rows.len() as i64).collect())),
            (1, 5, Column::Numbers(rows.iter().map(|row| row.ts.cast_signed()).collect())),
        ];
        for (field, name, data_type) in collection.stored_fields() {
            let column = match data_type {
                _ if field == key => Column::Numbers(rows.iter().map(|row| row.pk).collect()),
                _ if collection.typed(field).is_some() => {
                    Column::Typed(data_type, rows.iter().map(|row| row.fields.get(&name).cloned()).collect())
                }
                5 => {
                    let number = |row: &Row| {
                        row.fields.get(&name).map_or(0, |value| i64::from_le_bytes(value[..8].try_into().unwrap()))
                    };
                    Column::Numbers(rows.iter().map(number).collect())
                }
                _ => Column::Texts(rows.iter().map(|row| row.fields.get(&name).cloned().unwrap_or_default()).collect()),
            };
            columns.push((field, data_type, column));
        }
        let storage_version = self.storage_version();
        let mut written: Vec<(i64, Bytes)> = Vec::new();
        if storage_version == 2 {
            let (wide, narrow): (Vec<_>, Vec<_>) =
                columns.into_iter().partition(|(_, data_type, _)| *data_type >= WIDE);
            let narrow: Vec<(i64, Column)> = narrow.into_iter().map(|(field, _, column)| (field, column)).collect();
            written.push((0, files::column_group(&narrow)));
            for (field, _, column) in wide {
                written.push((field, files::column_group(&[(field, column)])));
            }
        } else {
            for (field, data_type, column) in columns {
                let ids = Ids { collection: collection.id, partition, segment: id, field };
                written.push((field, files::insert_log(ids, data_type, &column)));
            }
        }
        let mut inserts = Vec::new();
        for (group, body) in written {
            let log = self.id();
            let key = format!("{ROOT}/insert_log/{}/{partition}/{id}/{group}/{log}", collection.id);
            self.store.put(&key, self.sealed(&collection.database, body)).await.unwrap();
            inserts.push((group, log));
        }
        let deltas = match deletes {
            [] => Vec::new(),
            deletes => vec![self.write_delta(collection, partition, id, deletes).await],
        };
        Segment {
            id,
            partition,
            deletes_only: false,
            rows: rows.len() as i64,
            storage_version,
            channel: collection.channel(),
            inserts,
            deltas,
        }
    }

    /// Puts every segment of rows into a new one with another id, as the sort after a flush does (milvus-newer.md 1).
    pub async fn compact(&mut self, database: &str, name: &str) {
        let mut collection = self.find(database, name).unwrap().clone();
        let (rows, deletes): (Vec<Segment>, Vec<Segment>) =
            collection.segments.drain(..).partition(|segment| !segment.deletes_only);
        let mut sorted = Vec::new();
        for segment in rows {
            let (rows, own) = self.read_segment(&collection, &segment).await;
            sorted.push(self.write_rows(&collection, segment.partition, &rows, &own).await);
        }
        collection.segments = sorted.into_iter().chain(deletes).collect();
        *self.find_mut(database, name).unwrap() = collection;
    }

    /// Joins all segments of rows into one, as a compaction of small ones does.
    pub async fn join(&mut self, database: &str, name: &str) {
        let mut collection = self.find(database, name).unwrap().clone();
        let (segments, deletes): (Vec<Segment>, Vec<Segment>) =
            collection.segments.drain(..).partition(|segment| !segment.deletes_only);
        let mut all = Vec::new();
        for segment in &segments {
            all.extend(self.read_segment(&collection, segment).await.0);
        }
        let joined = self.write_rows(&collection, segments[0].partition, &all, &[]).await;
        collection.segments = std::iter::once(joined).chain(deletes).collect();
        *self.find_mut(database, name).unwrap() = collection;
    }

    /// What others do right after a flush.
    pub async fn after_flush(&mut self, database: &str, name: &str) {
        let Some((_, _, keys)) = self.lies.busy_writer.take_if(|(db, coll, _)| (*db, *coll) == (database, name)) else {
            return;
        };
        self.delete(database, name, None, keys.clone());
        self.insert(database, name, "_default", keys);
        self.flush(database, name).await;
        match self.lies.joined {
            true => self.join(database, name).await,
            false => self.compact(database, name).await,
        }
    }

    async fn read_segment(&self, collection: &Collection, segment: &Segment) -> (Vec<Row>, Vec<(i64, u64)>) {
        let Segment { id, partition, .. } = segment;
        let mut columns = Vec::new();
        for (group, log) in &segment.inserts {
            let key = format!("{ROOT}/insert_log/{}/{partition}/{id}/{group}/{log}", collection.id);
            let body = self.sealed(&collection.database, self.store.get(&key).await.unwrap());
            columns.extend(by_field(*group, segment.storage_version, &body));
        }
        let mut deletes = Vec::new();
        for log in &segment.deltas {
            let key = format!("{ROOT}/delta_log/{}/{partition}/{id}/{log}", collection.id);
            let body = self.sealed(&collection.database, self.store.get(&key).await.unwrap());
            deletes.extend(files::deletes(&body));
        }
        (rows(collection, columns).unwrap(), deletes)
    }

    /// The live rows of a collection by key, read from its files: what a query would answer.
    pub async fn rows(&self, database: &str, name: &str) -> BTreeMap<(String, i64, u64), BTreeMap<String, Vec<u8>>> {
        let collection = self.find(database, name).unwrap();
        let mut apart: Vec<(i64, i64, u64)> = collection.growing_deletes.clone();
        let mut all = Vec::new();
        for segment in &collection.segments {
            if segment.deletes_only {
                let (_, deletes) = self.read_segment_deletes(collection, segment).await;
                apart.extend(deletes.into_iter().map(|(pk, ts)| (segment.partition, pk, ts)));
                continue;
            }
            let (rows, own) = self.read_segment(collection, segment).await;
            let live = rows.into_iter().filter(|row| !own.iter().any(|(pk, ts)| *pk == row.pk && row.ts < *ts));
            all.extend(live.map(|row| (segment.partition, row)));
        }
        all.extend(collection.growing.iter().cloned());
        let gone = |partition: i64, row: &Row| {
            apart
                .iter()
                .any(|(place, pk, ts)| (*place == partition || *place == EVERYWHERE) && *pk == row.pk && row.ts < *ts)
        };
        let mut live = BTreeMap::new();
        for (partition, row) in all.into_iter().filter(|(partition, row)| !gone(*partition, row)) {
            let name = &collection.partitions.iter().find(|(_, id)| *id == partition).unwrap().0;
            let before = live.insert((name.clone(), row.pk, row.ts), row.fields);
            assert!(before.is_none(), "row {} is there twice", row.pk);
        }
        live
    }

    async fn read_segment_deletes(&self, collection: &Collection, segment: &Segment) -> ((), Vec<(i64, u64)>) {
        let mut deletes = Vec::new();
        for log in &segment.deltas {
            let key = format!("{ROOT}/delta_log/{}/{}/{}/{log}", collection.id, segment.partition, segment.id);
            let body = self.sealed(&collection.database, self.store.get(&key).await.unwrap());
            deletes.extend(files::deletes(&body));
        }
        ((), deletes)
    }

    /// Takes an import as a server does; the answer is the job's id, or the refusal. Sources: milvus-newer.md 2 for 2.4 and
    /// later, real-milvus.md 4 for what is older.
    pub async fn import(
        &mut self,
        database: &str,
        name: &str,
        partition: &str,
        files: Vec<Vec<String>>,
        options: &BTreeMap<String, String>,
    ) -> Result<i64, Refused> {
        let later = self.since(2, 4, 0);
        let on = |key: &str| options.get(key).is_some_and(|value| value == "true");
        let missing = format!("collection not found[database={database}][collection={name}]");
        let Some(collection) = self.find(database, name).cloned() else { return Err((100, missing)) };
        let l0 = on("l0_import") && later;
        if partition.is_empty() && (!l0 || on("backup")) {
            return Err((1100, "partition not specified: invalid parameter".to_owned()));
        }
        let place = match partition {
            "" => EVERYWHERE,
            partition => match collection.partition(partition) {
                Some(id) => id,
                None => return Err((200, format!("partition not found[partition={partition}]"))),
            },
        };
        if l0 && collection.loaded {
            return Err((2100, "l0 import only for released collections".to_owned()));
        }
        if l0 && files.len() > 1 && !self.since(2, 6, 5) {
            return Err((2100, "l0 import takes one path".to_owned()));
        }
        if later {
            let mut any = false;
            for paths in &files {
                any |= !list_all(&self.store, &paths[0]).await.unwrap().is_empty();
            }
            if !any {
                return Err((2100, format!("no binlog to import, input={files:?}: importing data failed")));
            }
        }
        let id = self.id();
        let mut job = Job {
            id,
            database: database.to_owned(),
            collection: collection.id,
            name: name.to_owned(),
            files: files.clone(),
            ..Job::default()
        };
        let lie = if l0 { take(&mut self.lies.empty_delete_imports) } else { take(&mut self.lies.empty_imports) };
        let outcome = match self.lies.failing_imports.pop() {
            Some(reason) => Err(reason.to_owned()),
            None if lie => Ok((Vec::new(), 0)),
            None => self.carry_import(&collection, place, l0, &files, options).await,
        };
        match outcome {
            Ok((segments, rows)) => {
                job.rows = rows;
                if let Some(target) = self.collections.iter_mut().find(|there| there.id == collection.id) {
                    target.segments.extend(segments);
                }
            }
            Err(reason) => job.failed = Some(reason),
        }
        self.jobs.insert(id, job);
        Ok(id)
    }

    async fn carry_import(
        &mut self,
        collection: &Collection,
        place: i64,
        l0: bool,
        files: &[Vec<String>],
        options: &BTreeMap<String, String>,
    ) -> Result<(Vec<Segment>, i64), String> {
        let hybrid = self.since(2, 5, 6);
        let end = match options.get("end_ts").and_then(|text| text.parse::<u64>().ok()) {
            Some(end) if hybrid && end >> 18 < 1_000_000_000 => {
                return Err(format!("end_ts is not a valid hybrid timestamp, value={end}"));
            }
            Some(end) if hybrid => end,
            Some(millis) => (millis << 18) | ((1 << 18) - 1),
            None => u64::MAX,
        };
        // From 2.6.8 on; older servers ignore it (milvus-wire.md 2.9).
        let key = options.get("ezk").filter(|_| self.since(2, 6, 8));
        let asked: i64 = options.get("storage_version").and_then(|text| text.parse().ok()).unwrap_or_default();
        let storage_version = if self.since(2, 6, 0) { asked } else { 0 };
        let (mut made, mut count) = (Vec::new(), 0);
        for paths in files {
            if l0 {
                let mut deletes = Vec::new();
                for object in list_all(&self.store, &paths[0]).await.unwrap() {
                    deletes.extend(files::deletes(&opened(self.store.get(&object.key).await.unwrap(), key)?));
                }
                deletes.retain(|(_, ts)| *ts <= end);
                count += deletes.len() as i64;
                made.push(self.write_deletes(collection, place, &deletes).await);
                continue;
            }
            let mut deletes: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
            if let Some(deltas) = paths.get(1).filter(|path| !path.is_empty()) {
                for object in list_all(&self.store, deltas).await.unwrap() {
                    let segment = object.key.rsplit('/').nth(1).unwrap().to_owned();
                    let read = files::deletes(&opened(self.store.get(&object.key).await.unwrap(), key)?);
                    deletes.entry(segment).or_default().extend(read);
                }
            }
            let mut segments: BTreeMap<String, Vec<(i64, Column)>> = BTreeMap::new();
            for object in list_all(&self.store, &paths[0]).await.unwrap() {
                let below: Vec<&str> = object.key[paths[0].len()..].trim_start_matches('/').split('/').collect();
                // Each child of the directory is a segment.
                if self.since(2, 4, 0) && below.len() != 3 {
                    return Err("no binlog for system fields".to_owned());
                }
                let parts: Vec<&str> = object.key.rsplit('/').collect();
                let (field, segment) = (parts[1].parse::<i64>().unwrap(), parts[2].to_owned());
                let body = opened(self.store.get(&object.key).await.unwrap(), key)?;
                if body.starts_with(b"PAR1") && storage_version != 2 {
                    return Err("no binlog for Timestamp field".to_owned());
                }
                segments.entry(segment).or_default().extend(by_field(field, storage_version, &body));
            }
            for (segment, columns) in segments {
                let own = deletes.remove(&segment).unwrap_or_default();
                let mut rows = rows(collection, columns)?;
                rows.retain(|row| {
                    let gone = own.iter().any(|(pk, ts)| *pk == row.pk && row.ts < *ts && *ts <= end);
                    row.ts <= end && !gone
                });
                count += rows.len() as i64;
                made.push(self.write_rows(collection, place, &rows, &[]).await);
            }
        }
        Ok((made, count))
    }
}

fn mixed(body: &Bytes, key: &str) -> Bytes {
    body.iter().zip(key.bytes().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// A file of a backup as an import reads it, by the key it was given.
fn opened(body: Bytes, key: Option<&String>) -> Result<Bytes, String> {
    let body = key.map_or_else(|| body.clone(), |key| mixed(&body, key));
    match body.starts_with(b"PAR1") || body.starts_with(&[0xbc, 0xfa, 0xff, 0x00]) {
        true => Ok(body),
        // Real words have not been seen.
        false => Err("the file cannot be read".to_owned()),
    }
}

/// Columns with their field ids: the file's own in a column group, the key's in a log of one field.
fn by_field(field: i64, storage_version: i64, body: &Bytes) -> Vec<(i64, Column)> {
    let columns = files::columns(body);
    match storage_version {
        2 => columns,
        _ => columns.into_iter().map(|(_, column)| (field, column)).collect(),
    }
}

/// Rows of a segment, by the schema of the collection.
fn rows(collection: &Collection, columns: Vec<(i64, Column)>) -> Result<Vec<Row>, String> {
    let mut by_id: BTreeMap<i64, Column> = columns.into_iter().collect();
    let key = collection.key_field();
    let Some(Column::Numbers(times)) = by_id.remove(&1) else { return Err("no binlog for system fields".into()) };
    by_id.remove(&0);
    let Some(Column::Numbers(keys)) = by_id.remove(&key) else { return Err(format!("the field {key} has no binlog")) };
    let mut rows: Vec<Row> = keys
        .into_iter()
        .zip(times)
        .map(|(pk, ts)| Row { pk, ts: ts.cast_unsigned(), fields: BTreeMap::new() })
        .collect();
    for (id, name, _) in collection.stored_fields().into_iter().filter(|(id, ..)| *id != key) {
        let column = by_id.remove(&id).ok_or_else(|| format!("no binlog for field:{name}"))?;
        for (number, row) in rows.iter_mut().enumerate() {
            let value = match &column {
                Column::Numbers(values) => Some(values[number].to_le_bytes().to_vec()),
                Column::Texts(values) => Some(values[number].clone()),
                Column::Typed(_, values) => values[number].clone(),
            };
            row.fields.extend(value.map(|value| (name.clone(), value)));
        }
    }
    match by_id.keys().next() {
        Some(strange) => Err(format!("field not found[field={strange}]")),
        None => Ok(rows),
    }
}
