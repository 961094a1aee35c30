//! gRPC by hand: one message in, one message out, so that what a version does not have can be UNIMPLEMENTED by its name.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use milvus_backup_operator::milvus::proto::common::{self, KeyValuePair, ServerInfo};
use milvus_backup_operator::milvus::proto::milvus as wire;
use milvus_backup_operator::milvus::proto::msg::MsgPosition;
use milvus_backup_operator::milvus::proto::schema::{self, CollectionSchema, FieldSchema, LongArray};
use prost::Message;
use tokio::sync::Mutex;

use super::types;
use super::world::{Job, Refused, World, take};

/// gRPC statuses used.
const UNIMPLEMENTED: u32 = 12;
pub(super) const UNAVAILABLE: u32 = 14;

/// Since when a server has a call (contract of each version).
fn since(name: &str) -> (u64, u64, u64) {
    match name {
        "DescribeDatabase" => (2, 4, 3),
        "AlterDatabase" => (2, 4, 1),
        "AddCollectionField" => (2, 6, 0),
        "BackupRBAC" | "RestoreRBAC" => (2, 4, 10),
        "ListAliases" => (2, 3, 0),
        "CreateSnapshot"
        | "DropSnapshot"
        | "DescribeSnapshot"
        | "ExportSnapshot"
        | "RestoreExternalSnapshot"
        | "GetRestoreSnapshotState" => (3, 0, 0),
        "GetExportSnapshotState" => (3, 0, 1),
        "Connect" | "ListDatabases" | "CreateDatabase" => (2, 2, 9),
        _ => (2, 2, 0),
    }
}

pub async fn answer(world: &Mutex<World>, name: &str, request: Request<Body>) -> Response<Body> {
    let body = axum::body::to_bytes(request.into_body(), 1 << 26).await.unwrap();
    let body = body.slice(5.min(body.len())..);
    let mut world = world.lock().await;
    world.calls.push(name.to_owned());
    if take(&mut world.lies.away) {
        return failed(UNAVAILABLE, "starting");
    }
    if world.version < since(name) {
        return failed(UNIMPLEMENTED, "unknown method");
    }
    match call(&mut world, name, body).await {
        Some(bytes) => message(bytes),
        None => failed(UNIMPLEMENTED, "unknown method"),
    }
}

pub(super) fn failed(status: u32, words: &'static str) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", status)
        .header("grpc-message", words)
        .body(Body::empty())
        .unwrap()
}

pub(super) fn message(bytes: Vec<u8>) -> Response<Body> {
    let mut framed = BytesMut::with_capacity(bytes.len() + 5);
    framed.put_u8(0);
    framed.put_u32(bytes.len() as u32);
    framed.put_slice(&bytes);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok::<_, Infallible>(Frame::data(framed.freeze())), Ok(Frame::trailers(trailers))];
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A refusal as a version puts it: 2.2 has the old number only (contract), DescribeCollection of 2.5 and 2.6 too (seen).
fn refusal(world: &World, (code, reason): Refused) -> common::Status {
    let old = match code {
        100 => 4,
        700 => 25,
        200 => 15,
        8 => 49,
        1100 => 5,
        _ => 1,
    };
    let code = if world.since(2, 3, 0) { code } else { 0 };
    common::Status { error_code: old, code, reason, retriable: code == 8, ..common::Status::default() }
}

fn status(world: &World, outcome: Result<(), Refused>) -> common::Status {
    outcome.map_or_else(|refused| refusal(world, refused), |()| common::Status::default())
}

fn no_collection(database: &str, name: &str) -> Refused {
    (100, format!("collection not found[database={database}][collection={name}]"))
}

fn read<M: Message + Default>(body: &Bytes) -> M {
    M::decode(body.clone()).unwrap()
}

async fn call(world: &mut World, name: &str, body: Bytes) -> Option<Vec<u8>> {
    let version = format!("v{}.{}.{}", world.version.0, world.version.1, world.version.2);
    Some(match name {
        "Connect" => wire::ConnectResponse {
            server_info: Some(ServerInfo { build_tags: version, ..ServerInfo::default() }),
            identifier: 42,
            ..Default::default()
        }
        .encode_to_vec(),
        "GetVersion" => wire::GetVersionResponse { version, ..Default::default() }.encode_to_vec(),
        "ListDatabases" => {
            wire::ListDatabasesResponse { db_names: world.databases.keys().cloned().collect(), ..Default::default() }
                .encode_to_vec()
        }
        "CreateDatabase" => {
            let asked: wire::CreateDatabaseRequest = read(&body);
            // Ignored without a word before 2.4.6 (contract).
            let properties = if world.since(2, 4, 6) { asked.properties } else { Vec::new() };
            let outcome = match world.databases.contains_key(&asked.db_name) {
                true => Err((1100, format!("database already exist: {}: invalid parameter", asked.db_name))),
                false => {
                    let id = world.id();
                    world.databases.insert(asked.db_name, (id, properties));
                    Ok(())
                }
            };
            status(world, outcome).encode_to_vec()
        }
        "DropDatabase" => {
            let asked: wire::DropDatabaseRequest = read(&body);
            world.databases.remove(&asked.db_name);
            common::Status::default().encode_to_vec()
        }
        "DescribeDatabase" => {
            let asked: wire::DescribeDatabaseRequest = read(&body);
            let (db_id, properties) = world.databases.get(&asked.db_name).cloned().unwrap_or_default();
            wire::DescribeDatabaseResponse { db_name: asked.db_name, db_id, properties, ..Default::default() }
                .encode_to_vec()
        }
        "AlterDatabase" => {
            let asked: wire::AlterDatabaseRequest = read(&body);
            if let Some((_, properties)) = world.databases.get_mut(&asked.db_name) {
                set(properties, asked.properties);
            }
            common::Status::default().encode_to_vec()
        }
        "Flush" | "GetFlushState" | "FlushAll" | "GetFlushAllState" | "GetPersistentSegmentInfo" => {
            flushing(world, name, &body).await
        }
        "Import" | "GetImportState" | "ListImportTasks" => importing(world, name, &body).await,
        "Insert" if world.takes_inserts => {
            let outcome = world.take_insert(&read(&body));
            let insert_cnt = *outcome.as_ref().unwrap_or(&0);
            let status = Some(status(world, outcome.map(drop)));
            wire::MutationResult { status, insert_cnt }.encode_to_vec()
        }
        "LoadCollection" | "LoadPartitions" | "ReleaseCollection" | "GetLoadState" | "Query" => {
            loading(world, name, &body).await
        }
        _ if name.contains("Snapshot") => return snapshots(world, name, &body).await,
        "BackupRBAC" | "RestoreRBAC" | "SelectUser" | "SelectRole" | "SelectGrant" | "CreateRole"
        | "OperateUserRole" | "OperatePrivilege" => access(world, name, &body),
        _ => return collections(world, name, &body),
    })
}

fn set(properties: &mut Vec<KeyValuePair>, new: Vec<KeyValuePair>) {
    for pair in new {
        properties.retain(|there| there.key != pair.key);
        properties.push(pair);
    }
}

fn collections(world: &mut World, name: &str, body: &Bytes) -> Option<Vec<u8>> {
    Some(match name {
        "ShowCollections" => {
            let asked: wire::ShowCollectionsRequest = read(body);
            let there = world.collections.iter().filter(|there| there.database == asked.db_name);
            let (collection_names, collection_ids) = there.map(|there| (there.name.clone(), there.id)).unzip();
            wire::ShowCollectionsResponse { collection_names, collection_ids, ..Default::default() }.encode_to_vec()
        }
        "DescribeCollection" => {
            let asked: wire::DescribeCollectionRequest = read(body);
            let Some(found) = world.find(&asked.db_name, &asked.collection_name) else {
                let mut status = refusal(world, no_collection(&asked.db_name, &asked.collection_name));
                // Seen on 2.5 and 2.6: the old number only.
                if world.since(2, 5, 0) {
                    status.code = 0;
                }
                return Some(
                    wire::DescribeCollectionResponse { status: Some(status), ..Default::default() }.encode_to_vec(),
                );
            };
            let mut properties = found.properties.clone();
            // Seen on 2.6.18.
            if world.since(2, 6, 0) && !properties.iter().any(|pair| pair.key == "timezone") {
                properties.push(KeyValuePair { key: "timezone".into(), value: "UTC".into() });
            }
            let schema = CollectionSchema { name: found.name.clone(), ..found.schema.clone() };
            wire::DescribeCollectionResponse {
                schema: schema.encode_to_vec(),
                collection_id: found.id,
                virtual_channel_names: vec![found.channel()],
                physical_channel_names: vec!["by-dev-rootcoord-dml_0".into()],
                shards_num: found.shards,
                consistency_level: found.consistency,
                properties,
                aliases: found.aliases.clone(),
                collection_name: found.name.clone(),
                db_name: found.database.clone(),
                num_partitions: found.partitions.len() as i64,
                ..Default::default()
            }
            .encode_to_vec()
        }
        "CreateCollection" => {
            let asked: wire::CreateCollectionRequest = read(body);
            let schema = CollectionSchema::decode(asked.schema.as_slice()).unwrap();
            let sizes = (asked.shards_num, asked.consistency_level, asked.num_partitions);
            let outcome =
                world.create_collection(&asked.db_name, &asked.collection_name, schema, sizes, asked.properties);
            status(world, outcome).encode_to_vec()
        }
        "AlterCollection" => {
            let asked: wire::AlterCollectionRequest = read(body);
            if let Some(found) = world.find_mut(&asked.db_name, &asked.collection_name) {
                set(&mut found.properties, asked.properties);
            }
            common::Status::default().encode_to_vec()
        }
        "AddCollectionField" => {
            let asked: wire::AddCollectionFieldRequest = read(body);
            let field = FieldSchema::decode(asked.schema.as_slice()).unwrap();
            let outcome = world.add_field(&asked.db_name, &asked.collection_name, field);
            status(world, outcome).encode_to_vec()
        }
        "DropCollection" => {
            let asked: wire::DropCollectionRequest = read(body);
            world
                .collections
                .retain(|there| (&there.database, &there.name) != (&asked.db_name, &asked.collection_name));
            common::Status::default().encode_to_vec()
        }
        "ShowPartitions" => {
            let asked: wire::ShowPartitionsRequest = read(body);
            let partitions = world.find(&asked.db_name, &asked.collection_name).map(|found| found.partitions.clone());
            let (partition_names, partition_ids) = partitions.unwrap_or_default().into_iter().unzip();
            wire::ShowPartitionsResponse { partition_names, partition_ids, ..Default::default() }.encode_to_vec()
        }
        "CreatePartition" => {
            let asked: wire::CreatePartitionRequest = read(body);
            let id = world.id();
            let found = world.find_mut(&asked.db_name, &asked.collection_name)?;
            if found.partition(&asked.partition_name).is_none() {
                found.partitions.push((asked.partition_name, id));
            }
            common::Status::default().encode_to_vec()
        }
        "DescribeIndex" => {
            let asked: wire::DescribeIndexRequest = read(body);
            let indexes = world.find(&asked.db_name, &asked.collection_name).map(|found| found.indexes.clone());
            let indexes = indexes.unwrap_or_default();
            // No index is an error (seen).
            let status = indexes.is_empty().then(|| refusal(world, (700, "index not found".into())));
            wire::DescribeIndexResponse { status, index_descriptions: indexes }.encode_to_vec()
        }
        "CreateIndex" => {
            let asked: wire::CreateIndexRequest = read(body);
            let index_id = world.id();
            world.find_mut(&asked.db_name, &asked.collection_name)?.indexes.push(wire::IndexDescription {
                index_name: asked.index_name,
                field_name: asked.field_name,
                index_id,
                params: asked.extra_params,
                state: 3,
                ..Default::default()
            });
            common::Status::default().encode_to_vec()
        }
        "DropIndex" => {
            let asked: wire::DropIndexRequest = read(body);
            let found = world.find_mut(&asked.db_name, &asked.collection_name)?;
            // Vector indexes of a loaded collection stay (milvus-wire.md 2.6).
            let outcome = match found.loaded {
                true => {
                    Err((1100, "index cannot be dropped, collection is loaded, please release it first".to_owned()))
                }
                false => {
                    found.indexes.retain(|index| index.index_name != asked.index_name);
                    Ok(())
                }
            };
            status(world, outcome).encode_to_vec()
        }
        "CreateAlias" => {
            let asked: wire::CreateAliasRequest = read(body);
            world.find_mut(&asked.db_name, &asked.collection_name)?.aliases.push(asked.alias);
            common::Status::default().encode_to_vec()
        }
        "DropAlias" => {
            let asked: wire::DropAliasRequest = read(body);
            for there in &mut world.collections {
                there.aliases.retain(|alias| *alias != asked.alias);
            }
            common::Status::default().encode_to_vec()
        }
        _ => return None,
    })
}

/// A number in base 36, as `_tt` is written (contract).
fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap());
        number /= 36;
    }
    digits.iter().rev().collect()
}

async fn flushing(world: &mut World, name: &str, body: &Bytes) -> Vec<u8> {
    match name {
        "Flush" => {
            let asked: wire::FlushRequest = read(body);
            // A gRPC OK with the limit in the status (seen on 2.5.27 and 2.6.18).
            if take(&mut world.lies.throttled_flushes) {
                let status = refusal(world, (8, "request is rejected: rate limit exceeded[rate=10]".into()));
                return wire::FlushResponse { status: Some(status), ..Default::default() }.encode_to_vec();
            }
            let mut answer = wire::FlushResponse::default();
            for collection in &asked.collection_names {
                let sealed = world.flush(&asked.db_name, collection).await;
                let ts = world.tick();
                let found = world.find(&asked.db_name, collection).unwrap();
                // Delete-only segments are named by no flush (seen).
                let flushed = found.segments.iter().filter(|one| !one.deletes_only && !sealed.contains(&one.id));
                let flushed = flushed.map(|segment| segment.id).collect();
                answer.coll_seg_ids.insert(collection.clone(), LongArray { data: sealed });
                answer.flush_coll_seg_ids.insert(collection.clone(), LongArray { data: flushed });
                answer.coll_seal_times.insert(collection.clone(), (ts >> 18) as i64 / 1000);
                if world.since(2, 3, 1) {
                    answer.coll_flush_ts.insert(collection.clone(), ts);
                }
                if world.since(2, 4, 2) {
                    let position =
                        MsgPosition { channel_name: found.channel(), timestamp: ts, ..MsgPosition::default() };
                    answer.channel_cps.insert(found.channel(), position.encode_to_vec());
                }
                world.after_flush(&asked.db_name, collection).await;
            }
            answer.encode_to_vec()
        }
        "FlushAll" => {
            let all: Vec<(String, String)> =
                world.collections.iter().map(|there| (there.database.clone(), there.name.clone())).collect();
            for (database, collection) in all {
                world.flush(&database, &collection).await;
            }
            let ts = world.tick();
            let mut answer = wire::FlushAllResponse { flush_all_ts: ts, ..Default::default() };
            // Messages by physical channel (seen on 2.6.18).
            if world.since(2, 6, 8) {
                let message = wire::ImmutableMessage { properties: BTreeMap::from([("_tt".into(), base36(ts))]) };
                answer.flush_all_msgs.insert("by-dev-rootcoord-dml_0".into(), message.encode_to_vec());
                answer.cluster_info = Some(wire::ClusterInfo {
                    cluster_id: "by-dev".into(),
                    cchannel: "by-dev-rootcoord-dml_0".into(),
                    pchannels: vec!["by-dev-rootcoord-dml_0".into()],
                });
            }
            answer.encode_to_vec()
        }
        "GetPersistentSegmentInfo" => {
            let asked: wire::GetPersistentSegmentInfoRequest = read(body);
            let Some(found) = world.find(&asked.db_name, &asked.collection_name) else {
                let status = refusal(world, no_collection(&asked.db_name, &asked.collection_name));
                return wire::GetPersistentSegmentInfoResponse { status: Some(status), ..Default::default() }
                    .encode_to_vec();
            };
            let infos = found.segments.iter().map(|segment| wire::PersistentSegmentInfo {
                segment_id: segment.id,
                collection_id: found.id,
                partition_id: segment.partition,
                num_rows: segment.rows,
                state: wire::SegmentState::Flushed.into(),
                // From 2.4.7 on; storage versions from 2.6 on, 0 for deletes (seen).
                level: match (world.since(2, 4, 7), segment.deletes_only) {
                    (false, _) => 0,
                    (true, true) => 1,
                    (true, false) => 2,
                },
                is_sorted: world.since(2, 5, 0),
                storage_version: if world.since(2, 6, 0) { segment.storage_version } else { 0 },
            });
            wire::GetPersistentSegmentInfoResponse { infos: infos.collect(), ..Default::default() }.encode_to_vec()
        }
        _ => wire::GetFlushStateResponse { flushed: true, ..Default::default() }.encode_to_vec(),
    }
}

async fn importing(world: &mut World, name: &str, body: &Bytes) -> Vec<u8> {
    match name {
        "Import" => {
            let asked: wire::ImportRequest = read(body);
            let options: BTreeMap<String, String> =
                asked.options.into_iter().map(|pair| (pair.key, pair.value)).collect();
            let (database, collection) = (asked.db_name, asked.collection_name);
            let outcome =
                world.import(&database, &collection, &asked.partition_name, vec![asked.files], &options).await;
            match outcome {
                Ok(_) if take(&mut world.lies.lost_import_answers) => {
                    // A call inside the server broke off (milvus-wire.md 1.4).
                    let words = "rpc error: code = Unavailable desc = transport is closing";
                    let status = refusal(world, (65535, words.into()));
                    wire::ImportResponse { status: Some(status), ..Default::default() }.encode_to_vec()
                }
                Ok(id) => wire::ImportResponse { tasks: vec![id], ..Default::default() }.encode_to_vec(),
                Err(refused) => {
                    wire::ImportResponse { status: Some(refusal(world, refused)), ..Default::default() }.encode_to_vec()
                }
            }
        }
        "GetImportState" => {
            let asked: wire::GetImportStateRequest = read(body);
            if take(&mut world.lies.forgotten_jobs) {
                world.jobs.remove(&asked.task);
            }
            task(world, asked.task, true).encode_to_vec()
        }
        _ => {
            let asked: wire::ListImportTasksRequest = read(body);
            let collection = world.find(&asked.db_name, &asked.collection_name).map(|found| found.id);
            let ids: Vec<i64> =
                world.jobs.values().filter(|job| Some(job.collection) == collection).map(|job| job.id).collect();
            let mut tasks = Vec::new();
            for id in ids {
                let mut answer = task(world, id, false);
                // From 2.4 on neither id nor files (contract).
                if world.since(2, 4, 0) {
                    answer.id = 0;
                    answer.infos.retain(|pair| pair.key != "files");
                }
                tasks.push(answer);
            }
            wire::ListImportTasksResponse { tasks, ..Default::default() }.encode_to_vec()
        }
    }
}

fn task(world: &mut World, id: i64, polled: bool) -> wire::GetImportStateResponse {
    let pair = |key: &str, value: &str| KeyValuePair { key: key.into(), value: value.into() };
    let stuck = |world: &World, id| {
        let blocks = |job: &&Job| job.failed.is_some() && job.collection == world.jobs[&id].collection && job.id != id;
        world.lies.failed_import_blocks && world.jobs.values().any(|job| blocks(&job))
    };
    let waits = world.jobs.contains_key(&id) && stuck(world, id);
    let Some(job) = world.jobs.get_mut(&id) else {
        let status = refusal(world, (2100, format!("import job does not exist, jobID={id}: importing data failed")));
        return wire::GetImportStateResponse { status: Some(status), ..Default::default() };
    };
    job.polls += u32::from(polled);
    let files = job.files.concat().join(",");
    let mut answer = wire::GetImportStateResponse {
        id,
        row_count: job.rows,
        infos: vec![pair("files", &files), pair("progress_percent", "100")],
        state: wire::ImportState::ImportCompleted.into(),
        ..Default::default()
    };
    if waits && job.failed.is_none() {
        answer.state = wire::ImportState::ImportPending.into();
    } else if job.polls < 2 {
        answer.state = wire::ImportState::ImportStarted.into();
    } else if let Some(reason) = &job.failed {
        // Servers up to 2.3 clean up within minutes and then answer 7 (milvus-backup.md 12.4).
        answer.state = wire::ImportState::ImportFailedAndCleaned.into();
        answer.infos.push(pair("failed_reason", reason));
        if world.since(2, 4, 0) {
            answer.state = wire::ImportState::ImportFailed.into();
        }
    }
    answer
}

async fn loading(world: &mut World, name: &str, body: &Bytes) -> Vec<u8> {
    match name {
        "LoadCollection" => {
            let asked: wire::LoadCollectionRequest = read(body);
            if let Some(found) = world.find_mut(&asked.db_name, &asked.collection_name) {
                found.loaded = true;
                found.loaded_partitions = found.partitions.iter().map(|(name, _)| name.clone()).collect();
            }
            common::Status::default().encode_to_vec()
        }
        "LoadPartitions" => {
            let asked: wire::LoadPartitionsRequest = read(body);
            if let Some(found) = world.find_mut(&asked.db_name, &asked.collection_name) {
                found.loaded = true;
                found.loaded_partitions.extend(asked.partition_names);
            }
            common::Status::default().encode_to_vec()
        }
        "ReleaseCollection" => {
            let asked: wire::ReleaseCollectionRequest = read(body);
            if let Some(found) = world.find_mut(&asked.db_name, &asked.collection_name) {
                found.loaded = false;
                found.loaded_partitions.clear();
            }
            common::Status::default().encode_to_vec()
        }
        "GetLoadState" => {
            let asked: wire::GetLoadStateRequest = read(body);
            let state = match world.find(&asked.db_name, &asked.collection_name) {
                None => 0,
                Some(found) => {
                    let partitions = asked.partition_names.iter();
                    let all = found.loaded && partitions.clone().all(|name| found.loaded_partitions.contains(name));
                    if all { 3 } else { 1 }
                }
            };
            wire::GetLoadStateResponse { state, ..Default::default() }.encode_to_vec()
        }
        _ => {
            // count(*) of a loaded collection.
            let asked: wire::QueryRequest = read(body);
            let loaded = world.find(&asked.db_name, &asked.collection_name).is_some_and(|found| found.loaded);
            if !loaded {
                let status = refusal(world, (101, "collection not loaded".into()));
                return wire::QueryResults { status: Some(status), ..Default::default() }.encode_to_vec();
            }
            if asked.output_fields != ["count(*)"] {
                return rows_by_key(world, &asked).await.encode_to_vec();
            }
            let rows = world.rows(&asked.db_name, &asked.collection_name).await.len() as i64;
            let scalars = schema::ScalarField {
                data: Some(schema::scalar_field::Data::LongData(LongArray { data: vec![rows] })),
            };
            let column =
                schema::FieldData { field: Some(schema::field_data::Field::Scalars(scalars)), ..Default::default() };
            wire::QueryResults { fields_data: vec![column], ..Default::default() }.encode_to_vec()
        }
    }
}

/// Numbers, texts and documents of the rows with some keys: of several rows with one key the latest, as Milvus does.
async fn rows_by_key(world: &mut World, asked: &wire::QueryRequest) -> wire::QueryResults {
    use schema::field_data::Field;
    use schema::scalar_field::Data;
    let list = asked.expr.strip_prefix("id in [").and_then(|rest| rest.strip_suffix(']'));
    let keys: Vec<i64> = list.unwrap().split(", ").map(|key| key.parse().unwrap()).collect();
    let collection = world.find(&asked.db_name, &asked.collection_name).unwrap().clone();
    let mut latest = std::collections::BTreeMap::new();
    for ((_, key, at), fields) in world.rows(&asked.db_name, &asked.collection_name).await {
        let newest = latest.entry(key).or_insert((at, fields.clone()));
        if newest.0 < at {
            *newest = (at, fields);
        }
    }
    latest.retain(|key, _| keys.contains(key) && !world.lies.lost_rows);
    let column = |name: &String| {
        let typed = collection.schema.fields.iter().find(|field| field.name == *name && types::is_typed(field));
        if let Some(field) = typed {
            let mut values: Vec<types::Value> = latest.values().map(|(_, fields)| fields.get(name).cloned()).collect();
            if let Some(last) = values.last_mut().filter(|_| world.lies.changed_field == Some(name.as_str())) {
                *last = types::changed(field, last.take());
            }
            if world.lies.emptied_nulls {
                for value in &mut values {
                    value.get_or_insert_with(|| types::zero(field));
                }
            }
            return types::column(field, &values, world.lies.compressed_nulls);
        }
        let (_, _, data_type) = collection.stored_fields().into_iter().find(|(_, known, _)| known == name).unwrap();
        let changed = world.lies.changed_field == Some(name.as_str());
        let bytes = || {
            let value =
                |fields: &std::collections::BTreeMap<String, Vec<u8>>| fields.get(name).cloned().unwrap_or_default();
            let mut values: Vec<Vec<u8>> = latest.values().map(|(_, fields)| value(fields)).collect();
            if let Some(last) = values.last_mut().filter(|_| changed) {
                last.push(b'x');
            }
            values
        };
        let data = match data_type {
            5 => Data::LongData(LongArray { data: latest.keys().copied().collect() }),
            21 => {
                let data = bytes().into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
                Data::StringData(schema::StringArray { data })
            }
            23 => Data::JsonData(schema::JsonArray { data: bytes() }),
            other => panic!("field {name} of data type {other} cannot be asked for here"),
        };
        let field = Some(Field::Scalars(schema::ScalarField { data: Some(data) }));
        schema::FieldData { field_name: name.clone(), r#type: data_type, field, ..Default::default() }
    };
    wire::QueryResults { fields_data: asked.output_fields.iter().map(column).collect(), ..Default::default() }
}

async fn snapshots(world: &mut World, name: &str, body: &Bytes) -> Option<Vec<u8>> {
    Some(match name {
        "CreateSnapshot" => {
            let outcome = world.create_snapshot(&read(body));
            status(world, outcome).encode_to_vec()
        }
        "DropSnapshot" => {
            let outcome = world.drop_snapshot(&read(body));
            status(world, outcome).encode_to_vec()
        }
        "DescribeSnapshot" => {
            let outcome = world.snapshot_moment(&read(body));
            let create_ts = *outcome.as_ref().unwrap_or(&0);
            let status = Some(status(world, outcome.map(drop)));
            wire::DescribeSnapshotResponse { status, create_ts }.encode_to_vec()
        }
        "ExportSnapshot" => {
            let outcome = world.export_snapshot(&read(body)).await;
            let job_id = *outcome.as_ref().unwrap_or(&0);
            let status = Some(status(world, outcome.map(drop)));
            wire::ExportSnapshotResponse { status, job_id }.encode_to_vec()
        }
        "GetExportSnapshotState" => {
            let asked: wire::GetExportSnapshotStateRequest = read(body);
            let info = Some(world.export_state(asked.job_id));
            wire::GetExportSnapshotStateResponse { info, ..Default::default() }.encode_to_vec()
        }
        "RestoreExternalSnapshot" => {
            let outcome = world.restore_snapshot(&read(body)).await;
            let job_id = *outcome.as_ref().unwrap_or(&0);
            let status = Some(status(world, outcome.map(drop)));
            wire::RestoreExternalSnapshotResponse { status, job_id }.encode_to_vec()
        }
        "GetRestoreSnapshotState" => {
            let asked: wire::GetRestoreSnapshotStateRequest = read(body);
            let info = Some(world.restore_state(asked.job_id));
            wire::GetRestoreSnapshotStateResponse { info, ..Default::default() }.encode_to_vec()
        }
        _ => return None,
    })
}

fn access(world: &mut World, name: &str, body: &Bytes) -> Vec<u8> {
    match name {
        "BackupRBAC" => {
            wire::BackupRbacResponse { rbac_meta: Some(world.rbac.clone()), ..Default::default() }.encode_to_vec()
        }
        "RestoreRBAC" => {
            let asked: wire::RestoreRbacRequest = read(body);
            let meta = asked.rbac_meta.unwrap_or_default();
            // All or nothing (seen).
            let taken = meta.roles.iter().find(|role| world.rbac.roles.contains(role));
            let outcome = match taken {
                Some(role) => Err((65535, format!("role [{}] already exists", role.name))),
                None => {
                    world.rbac.users.extend(meta.users);
                    world.rbac.roles.extend(meta.roles);
                    world.rbac.grants.extend(meta.grants);
                    world.rbac.privilege_groups.extend(meta.privilege_groups);
                    Ok(())
                }
            };
            status(world, outcome).encode_to_vec()
        }
        // Built-in roles and users are listed here and not by BackupRBAC (contract).
        "SelectRole" => {
            let built_in = ["admin", "public"].map(|name| wire::RoleEntity { name: name.into() });
            let roles = built_in.into_iter().chain(world.rbac.roles.clone());
            let results = roles.map(|role| wire::RoleResult { role: Some(role), users: vec![] }).collect();
            wire::SelectRoleResponse { results, ..Default::default() }.encode_to_vec()
        }
        "SelectUser" => {
            let named = |name: &str| Some(wire::NamedEntity { name: name.into() });
            let mut results = vec![wire::UserResult { user: named("root"), roles: vec![] }];
            results.extend(
                world
                    .rbac
                    .users
                    .iter()
                    .map(|one| wire::UserResult { user: named(&one.user), roles: one.roles.clone() }),
            );
            wire::SelectUserResponse { results, ..Default::default() }.encode_to_vec()
        }
        "SelectGrant" => {
            let asked: wire::SelectGrantRequest = read(body);
            let role = asked.entity.and_then(|entity| entity.role);
            let entities = world.rbac.grants.iter().filter(|grant| grant.role == role).cloned().collect();
            wire::SelectGrantResponse { entities, ..Default::default() }.encode_to_vec()
        }
        "CreateRole" => {
            let asked: wire::CreateRoleRequest = read(body);
            world.rbac.roles.extend(asked.entity);
            common::Status::default().encode_to_vec()
        }
        "OperateUserRole" => {
            let asked: wire::OperateUserRoleRequest = read(body);
            if let Some(user) = world.rbac.users.iter_mut().find(|user| user.user == asked.username) {
                user.roles.push(wire::RoleEntity { name: asked.role_name });
            }
            common::Status::default().encode_to_vec()
        }
        _ => {
            let asked: wire::OperatePrivilegeRequest = read(body);
            world.rbac.grants.extend(asked.entity);
            common::Status::default().encode_to_vec()
        }
    }
}
