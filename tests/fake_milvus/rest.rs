//! REST v2 and the management port.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::world::{World, take};

pub async fn answer(world: &Mutex<World>, path: &str, request: Request<Body>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 24).await.unwrap();
    let mut world = world.lock().await;
    let world = &mut *world;
    if let Some(route) = path.strip_prefix("/management/datacoord/garbage_collection/") {
        world.calls.push(format!("gc/{route}"));
        return collection_of_garbage(world, route, &query);
    }
    if path == "/management/rootcoord/ez/backup" {
        world.calls.push("ez/backup".to_owned());
        return key_of_database(world, &query);
    }
    let Some(call) = path.strip_prefix("/v2/vectordb/") else { return plain(404, "404 page not found") };
    world.calls.push(call.to_owned());
    if take(&mut world.lies.away) {
        return plain(503, "starting");
    }
    // 404 on 2.3.5 (seen).
    if !world.since(2, 4, 0) || world.lies.no_rest {
        return plain(404, "404 page not found");
    }
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    match call {
        "jobs/import/create" => create(world, &asked).await,
        // The name of the call in 2.4 (contract).
        "jobs/import/get_progress" => describe_job(world, &asked),
        "jobs/import/describe" if world.since(2, 5, 0) => describe_job(world, &asked),
        "jobs/import/list" => list_jobs(world, &asked),
        "segments/describe" if world.since(2, 5, 8) => describe_segments(world, &asked),
        _ => plain(404, "404 page not found"),
    }
}

fn plain(status: u16, text: &'static str) -> Response<Body> {
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

/// Success is 0, and was 200 in the first releases of 2.4 (contract).
fn data(world: &World, data: Value) -> Response<Body> {
    let code = if world.version < (2, 4, 4) { 200 } else { 0 };
    Response::new(Body::from(json!({ "code": code, "data": data }).to_string()))
}

/// Failures are HTTP 200 too (seen).
fn failure(code: i32, message: &str) -> Response<Body> {
    Response::new(Body::from(json!({ "code": code, "message": message }).to_string()))
}

fn text<'v>(asked: &'v Value, key: &str) -> &'v str {
    asked[key].as_str().unwrap_or_default()
}

async fn create(world: &mut World, asked: &Value) -> Response<Body> {
    if take(&mut world.lies.full) {
        return failure(2100, "The number of jobs has reached the limit: importing data failed");
    }
    let files: Vec<Vec<String>> = serde_json::from_value(asked["files"].clone()).unwrap();
    let options: BTreeMap<String, String> = serde_json::from_value(asked["options"].clone()).unwrap();
    let (database, name, partition) =
        (text(asked, "dbName"), text(asked, "collectionName"), text(asked, "partitionName"));
    match world.import(database, name, partition, files, &options).await {
        Err((code, message)) => failure(code, &message),
        Ok(_) if take(&mut world.lies.lost_import_answers) => plain(504, "gateway timeout"),
        Ok(id) => data(world, json!({ "jobId": id.to_string() })),
    }
}

/// First seen at work, then done: states and keys as seen on 2.5.27 and 2.6.18.
fn describe_job(world: &mut World, asked: &Value) -> Response<Body> {
    let id: i64 = text(asked, "jobId").parse().unwrap();
    let forget = take(&mut world.lies.forgotten_jobs);
    if forget {
        world.jobs.remove(&id);
    }
    let unknown = if world.since(2, 6, 0) { 2101 } else { 2100 };
    let Some(job) = world.jobs.get_mut(&id) else {
        return failure(unknown, &format!("import job does not exist, jobID={id}: importing data failed"));
    };
    job.polls += 1;
    let details: Vec<Value> =
        job.files.iter().map(|paths| json!({ "fileName": format!("{paths:?}"), "state": "Importing" })).collect();
    let common = json!({ "jobId": id.to_string(), "collectionName": job.name, "details": details });
    let mut answer = match &job.failed {
        _ if job.polls == 1 => json!({ "state": "Importing", "progress": 40, "importedRows": 0 }),
        Some(reason) => json!({ "state": "Failed", "progress": 0, "reason": reason }),
        None => json!({ "state": "Completed", "progress": 100, "importedRows": job.rows, "totalRows": job.rows }),
    };
    answer.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
    data(world, answer)
}

fn list_jobs(world: &World, asked: &Value) -> Response<Body> {
    let name = text(asked, "collectionName");
    let collection = world.find(text(asked, "dbName"), name).map(|collection| collection.id);
    if !name.is_empty() && collection.is_none() {
        return failure(100, &format!("collection not found[collection={name}]"));
    }
    let records: Vec<Value> = world
        .jobs
        .values()
        .filter(|job| collection.is_none_or(|id| id == job.collection))
        .map(|job| json!({ "jobId": job.id.to_string(), "collectionName": job.name, "state": "Importing", "progress": 1 }))
        .collect();
    data(world, json!({ "records": records }))
}

/// Levels are numbers, one entry a field in 2.5 and one a column group in 2.6 (seen).
fn describe_segments(world: &mut World, asked: &Value) -> Response<Body> {
    let ids: Vec<i64> = serde_json::from_value(asked["segmentIDs"].clone()).unwrap();
    if take(&mut world.lies.vanished) {
        return failure(600, &format!("segment not found[segment={}]", ids[0]));
    }
    let phantom = take(&mut world.lies.phantom_files);
    let mut infos = Vec::new();
    for id in ids {
        let found = world
            .collections
            .iter()
            .find_map(|collection| Some((collection, collection.segments.iter().find(|segment| segment.id == id)?)));
        let Some((collection, segment)) = found else {
            return failure(600, &format!("segment not found[segment={id}]"));
        };
        let mut logs: Vec<Value> =
            segment.inserts.iter().map(|(field, log)| json!({ "fieldID": field, "logIDs": [log] })).collect();
        // Unordered (seen).
        logs.reverse();
        if phantom && !logs.is_empty() {
            logs.push(json!({ "fieldID": 100, "logIDs": [7] }));
        }
        let field = if world.since(2, 6, 0) { 100 } else { 0 };
        let deltas: Vec<Value> =
            segment.deltas.iter().map(|log| json!({ "fieldID": field, "logIDs": [log] })).collect();
        infos.push(json!({
            "segmentID": segment.id, "collectionID": collection.id, "partitionID": segment.partition,
            "vChannel": segment.channel, "numRows": segment.rows, "state": 4,
            "level": if segment.deletes_only { 1 } else { 2 },
            "insertLogs": logs, "deltaLogs": deltas, "statsLogs": [],
        }));
    }
    data(world, json!({ "segmentInfos": infos }))
}

/// The key of an encrypted database, from 2.6.8 on: statuses and keys from server source (milvus-wire.md 4.2).
fn key_of_database(world: &World, query: &str) -> Response<Body> {
    let said =
        |status: u16, body: Value| Response::builder().status(status).body(Body::from(body.to_string())).unwrap();
    if !world.since(2, 6, 8) {
        return plain(404, "404 page not found");
    }
    match query.strip_prefix("db_name=").filter(|name| !name.is_empty()) {
        None => said(400, json!({ "msg": "db_name is required" })),
        Some(name) => match world.keys.get(name).filter(|_| world.is_sealed(name)) {
            Some(key) => said(200, json!({ "msg": "OK", "ezk": key })),
            None => said(500, json!({ "msg": "the database is not encrypted" })),
        },
    }
}

/// Pausing: cluster wide, with tickets from 2.6.8 on, where a resume without one is an error (seen on 2.6.18).
fn collection_of_garbage(world: &mut World, route: &str, query: &str) -> Response<Body> {
    let value = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.replace("%2B", "+").replace("%3D", "=").replace("%2F", "/"))
    };
    if !world.since(2, 4, 0) {
        return plain(404, "404 page not found");
    }
    if world.lies.gc_refused {
        let body = json!({ "msg": "failed to pause garbage collection, not ready" });
        return Response::builder().status(500).body(Body::from(body.to_string())).unwrap();
    }
    let tickets = world.since(2, 6, 8);
    match route {
        "pause" => {
            assert!(value("pause_seconds").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{query}");
            world.gc_paused = true;
            if !tickets {
                return Response::new(Body::from(r#"{"msg": "OK"}"#));
            }
            // Base64 with the characters that a query must not hold as they are.
            let ticket = format!("eyJ0+/{}==", world.id());
            world.gc_tickets.insert(ticket.clone());
            Response::new(Body::from(json!({ "msg": "OK", "ticket": ticket }).to_string()))
        }
        "resume" if tickets => match value("ticket").filter(|ticket| world.gc_tickets.remove(ticket)) {
            Some(_) => {
                world.gc_paused = !world.gc_tickets.is_empty();
                Response::new(Body::from(r#"{"msg": "OK"}"#))
            }
            None => {
                let body = r#"{"msg": "failed to resume garbage collection, strconv.ParseInt: parsing \"\""}"#;
                Response::builder().status(500).body(Body::from(body)).unwrap()
            }
        },
        "resume" => {
            world.gc_paused = false;
            Response::new(Body::from(r#"{"msg": "OK"}"#))
        }
        _ => plain(404, "404 page not found"),
    }
}
