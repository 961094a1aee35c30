//! Tasks of the compatible API: their states survive the process, they can be stopped, and they do not pile up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compat_world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compat_world::{Played, Server, golden_info};
use jiff::{SignedDuration, Timestamp};
use milvus_backup_operator::compat::records::{Kind, Records, TaskRecord};
use milvus_backup_operator::compat::tasks::{Tasks, Work};
use milvus_backup_operator::compat::{Limits, Operations};
use milvus_backup_operator::local::operations::RestoreRequest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const FAILED: i32 = 3;

fn in_state(state: i32) -> impl Fn(&Value) -> bool {
    move |answer| answer["data"]["state_code"] == state
}

async fn restore_async(server: &Server, id: &str) -> Value {
    let body = json!({"backup_name": "golden_small", "async": true, "id": id, "collection_suffix": "_bak"});
    server.post("/api/v1/restore", &body).await.json()
}

/// Waits until a run has gone as far as it goes while it is held.
async fn until_begun(played: &Played, runs: usize) {
    let begun = async {
        while played.begun.load(Ordering::SeqCst) < runs {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), begun).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_on_the_same_bucket_answers_as_the_old_one_did() {
    let server = Server::start().await;
    let made =
        server.ask("POST", "/api/v1/create", &[("request_id", "run/1")], r#"{"backup_name":"golden_small"}"#).await;
    assert_eq!(made.json()["data"]["state_code"], 2);
    restore_async(&server, "r1").await;
    server.until("/api/v1/get_restore?id=r1", in_state(2)).await;
    let paths = [
        "/api/v1/list",
        "/api/v1/get_backup?backup_name=golden_small",
        "/api/v1/get_backup?backup_id=run%2F1",
        "/api/v1/get_restore?id=r1",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(server.get(path).await.json());
    }
    assert_eq!(before[3]["data"]["collection_restore_tasks"].as_array().unwrap().len(), 3);
    let server = Server::with(server.kill().await, None, Limits::default()).await;
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(server.get(path).await.json(), before, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_another_program_made_is_shown() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    for query in ["backup_name=golden_small", "backup_id=req-golden-1"] {
        let answer = server.get(&format!("/api/v1/get_backup?{query}")).await.json();
        assert_eq!((&answer["msg"], &answer["data"]["state_code"]), (&json!("success"), &json!(2)), "{query}");
        assert_eq!(answer["data"]["collection_backups"].as_array().unwrap().len(), 3, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_milvus_that_does_not_answer_fails_the_task() {
    let server = Server::start().await;
    server.played.away.send_replace(true);
    let body = json!({"backup_name": "b", "async": true});
    let begun = server.ask("POST", "/api/v1/create", &[("request_id", "r")], &body.to_string()).await.json();
    assert_eq!(begun["msg"], "create backup is executing asynchronously");
    for path in ["/api/v1/get_backup?backup_name=b", "/api/v1/get_backup?backup_id=r"] {
        let answer = server.until(path, in_state(FAILED)).await;
        let said = answer["data"]["errorMessage"].as_str().unwrap();
        assert!(said.contains("milvus at 127.0.0.1:19530 does not answer"), "{answer}");
        assert_eq!(answer["data"]["progress"], 0);
    }
    let synchronous = server.post("/api/v1/create", &json!({"backup_name": "c"})).await.json();
    assert_eq!((&synchronous["code"], &synchronous["data"]), (&json!(3), &json!(null)));
    // The next server knows it as well, and once Milvus is back the name can be used.
    let server = Server::with(server.kill().await, None, Limits::default()).await;
    for path in ["/api/v1/get_backup?backup_name=b", "/api/v1/get_backup?backup_id=r"] {
        assert_eq!(server.get(path).await.json()["data"]["state_code"], FAILED, "{path}");
    }
    server.played.away.send_replace(false);
    assert_eq!(server.post("/api/v1/create", &json!({"backup_name": "b"})).await.json()["msg"], "success");
    assert_eq!(server.get("/api/v1/get_backup?backup_name=b").await.json()["data"]["state_code"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_process_is_gone_runs_for_a_while_and_has_then_failed() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    server.played.held.send_replace(true);
    restore_async(&server, "r1").await;
    server.until("/api/v1/get_restore?id=r1", in_state(1)).await;
    until_begun(&server.played, 1).await;
    let played = server.kill().await;
    let (store, root) = played.store().await.unwrap();
    let records = Records::new(store.as_ref(), &root);
    let written = records.find("r1").await.unwrap().unwrap();
    let server = Server::with(played.clone(), None, Limits::default()).await;
    assert_eq!(server.get("/api/v1/get_restore?id=r1").await.json()["data"]["state_code"], 1);
    let refused = server.delete("/api/v1/task?id=r1").await.json();
    assert!(refused["msg"].as_str().unwrap().contains("another process"), "{refused}");
    let long_ago = Timestamp::now() - SignedDuration::from_secs(60);
    records.write(&TaskRecord { updated: long_ago, ..written }).await.unwrap();
    let answer = server.get("/api/v1/get_restore?id=r1").await.json();
    assert_eq!(answer["data"]["state_code"], FAILED);
    assert!(answer["data"]["errorMessage"].as_str().unwrap().contains("ask for it again"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_stops_its_tasks_and_says_so() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    server.played.held.send_replace(true);
    restore_async(&server, "r1").await;
    until_begun(&server.played, 1).await;
    let played = server.stop().await;
    assert_eq!(played.stopped.load(Ordering::SeqCst), 1);
    let server = Server::with(played, None, Limits::default()).await;
    let answer = server.get("/api/v1/get_restore?id=r1").await.json();
    assert_eq!(answer["data"]["state_code"], FAILED);
    assert!(answer["data"]["errorMessage"].as_str().unwrap().contains("asked to stop"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_can_be_stopped() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    server.played.held.send_replace(true);
    restore_async(&server, "r1").await;
    server.ask("POST", "/api/v1/create", &[("request_id", "c1")], r#"{"backup_name":"b","async":true}"#).await;
    until_begun(&server.played, 2).await;
    for id in ["r1", "c1"] {
        let answer = server.delete(&format!("/api/v1/task?id={id}")).await.json();
        assert_eq!(answer, json!({"msg": "success", "data": {"id": id, "state_code": FAILED}}));
        let again = server.delete(&format!("/api/v1/task?id={id}")).await.json();
        assert!(again["code"] == 3 && again["msg"].as_str().unwrap().contains("has ended"), "{again}");
    }
    assert_eq!(server.get("/api/v1/get_restore?id=r1").await.json()["data"]["state_code"], FAILED);
    assert_eq!(server.get("/api/v1/get_backup?backup_name=b").await.json()["data"]["state_code"], FAILED);
    assert_eq!(server.played.stopped.load(Ordering::SeqCst), 2);
    // Stopped for good, not for ever: the same restore may be asked for again.
    server.played.held.send_replace(false);
    restore_async(&server, "r1").await;
    server.until("/api/v1/get_restore?id=r1", in_state(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stops_its_backup_and_not_its_restore() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    server.played.held.send_replace(true);
    for (path, body) in
        [("create", r#"{"backup_name":"b"}"#), ("restore", r#"{"backup_name":"golden_small","id":"r1"}"#)]
    {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: x\r\nrequest_id: {path}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        until_begun(&server.played, if path == "create" { 1 } else { 2 }).await;
        drop(client);
    }
    server.until("/api/v1/get_backup?backup_name=b", in_state(FAILED)).await;
    assert_eq!(server.get("/api/v1/get_restore?id=r1").await.json()["data"]["state_code"], 1);
    server.played.held.send_replace(false);
    server.until("/api/v1/get_restore?id=r1", in_state(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_made_once_and_not_removed_while_it_is_made() {
    let server = Server::start().await;
    server.played.held.send_replace(true);
    let body = json!({"backup_name": "b", "async": true});
    server.post("/api/v1/create", &body).await;
    until_begun(&server.played, 1).await;
    let again = server.post("/api/v1/create", &body).await.json();
    assert!(again["code"] == 3 && again["msg"].as_str().unwrap().contains("is being made"), "{again}");
    let refused = server.delete("/api/v1/delete?backup_name=b").await.json();
    assert!(refused["code"] == 3 && refused["msg"].as_str().unwrap().contains("DELETE /task?id="), "{refused}");
    server.played.held.send_replace(false);
    server.until("/api/v1/get_backup?backup_name=b", in_state(2)).await;
    assert_eq!(server.delete("/api/v1/delete?backup_name=b").await.json()["msg"], "success");
    let gone = server.get("/api/v1/get_backup?backup_name=b").await.json();
    assert_eq!(gone["msg"], "backup b not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tasks_than_allowed_are_refused_with_a_sentence() {
    let played = Played::in_memory();
    played.put("backup", &golden_info()).await;
    let server = Server::with(played, None, Limits { tasks: 2, ..Limits::default() }).await;
    server.played.held.send_replace(true);
    for id in ["r1", "r2"] {
        assert_eq!(restore_async(&server, id).await["msg"], "restore backup is executing asynchronously");
    }
    let twice = restore_async(&server, "r1").await;
    assert!(twice["msg"].as_str().unwrap().contains("runs already"), "{twice}");
    let refused = restore_async(&server, "r3").await;
    assert!(refused["code"] == 3 && refused["msg"].as_str().unwrap().contains("2 tasks run already"), "{refused}");
    server.played.held.send_replace(false);
    server.until("/api/v1/get_restore?id=r1", in_state(2)).await;
    server.until("/api/v1/get_restore?id=r2", in_state(2)).await;
    assert_eq!(restore_async(&server, "r3").await["msg"], "restore backup is executing asynchronously");
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_tasks_do_not_pile_up_in_memory_and_are_found_in_the_bucket() {
    let played = Played::in_memory();
    played.put("backup", &golden_info()).await;
    let operations: Arc<dyn Operations> = played.clone();
    let tasks = Tasks::new(operations, Limits { ended_tasks: 5, ..Limits::default() });
    for run in 0..40 {
        let request = RestoreRequest { name: "golden_small".into(), ..RestoreRequest::default() };
        let task = tasks.begin(&format!("r{run}"), Work::Restore(Box::new(request)), Timestamp::now()).unwrap();
        task.wait().await.unwrap();
    }
    // A task is done a moment before it is no longer counted as running.
    tasks.shut_down(Duration::from_secs(10)).await;
    assert_eq!(tasks.counts(), (0, 5));
    assert!(tasks.find("r0").is_none());
    let server = Server::with(played, None, Limits::default()).await;
    assert_eq!(server.get("/api/v1/get_restore?id=r0").await.json()["data"]["state_code"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_collections_of_ended_restores_do_not_pile_up_either() {
    let played = Played::in_memory();
    played.put("backup", &golden_info()).await;
    let operations: Arc<dyn Operations> = played.clone();
    let tasks = Tasks::new(operations, Limits { ended_targets: 7, ..Limits::default() });
    for run in 0..10 {
        let request = RestoreRequest { name: "golden_small".into(), ..RestoreRequest::default() };
        let task = tasks.begin(&format!("r{run}"), Work::Restore(Box::new(request)), Timestamp::now()).unwrap();
        task.wait().await.unwrap();
    }
    tasks.shut_down(Duration::from_secs(10)).await;
    // Three collections each: two restores fit.
    assert_eq!(tasks.counts(), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_how_far_a_run_is() {
    let played = Played::in_memory();
    played.held.send_replace(true);
    let server = Server::with(played, None, Limits::default()).await;
    server.ask("POST", "/api/v1/create", &[("request_id", "c1")], r#"{"backup_name":"b","async":true}"#).await;
    until_begun(&server.played, 1).await;
    let answer = server.until("/api/v1/get_backup?backup_id=c1", |answer| answer["data"]["progress"] == 55).await;
    assert_eq!(answer["data"]["end_time"], -62_135_596_800_i64);
    let (store, root) = server.played.store().await.unwrap();
    let record = Records::new(store.as_ref(), &root).of_backup("b").await.unwrap().unwrap();
    assert_eq!((record.kind, record.id.as_str(), record.ended), (Kind::Create, "c1", None));
    server.played.held.send_replace(false);
}
