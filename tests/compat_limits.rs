//! What clients can take from the compatible API: large bodies, slow bodies, many requests at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compat_world;

use std::time::{Duration, Instant};

use bytes::Bytes;
use compat_world::{Played, Sent, Server, golden_info};
use futures::future::join_all;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use milvus_backup_operator::compat::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHUNK: usize = 64 << 10;
const LARGE: usize = 100 << 20;

/// A body of 100 MB that is made while it is sent.
fn large() -> Sent {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let frames = (0..LARGE / CHUNK).map(move |_| Ok(Frame::data(chunk.clone())));
    StreamBody::new(stream::iter(frames)).boxed()
}

/// Most memory this process has held, in bytes; a reset starts anew.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_100_mb_are_refused_and_not_held() {
    let server = Server::start().await;
    server.get("/api/v1/list").await;
    reset_peak();
    let before = peak();
    let length = LARGE.to_string();
    let announced = [("content-length", length.as_str())];
    let asked = (0..16).map(|request| {
        let headers = if request % 2 == 0 { &announced[..] } else { &[] };
        server.send("POST", "/api/v1/create", headers, large())
    });
    for reply in join_all(asked).await {
        assert_eq!((reply.status, &reply.json()["error"]), (413, &json!("request body too large")));
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 << 20, "1.6 GB of bodies made the process grow by {grown} bytes");
    assert_eq!(server.get("/api/v1/hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = Server::start().await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head =
        format!("POST /api/v1/create HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {LARGE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_up_to_the_limit_is_read_and_one_byte_more_is_not() {
    let played = Played::in_memory();
    let server = Server::with(played, None, Limits { body: 1000, ..Limits::default() }).await;
    let padded = |length: usize| format!("{:<length$}", r#"{"backup_name":"b"}"#);
    assert_eq!(server.ask("POST", "/api/v1/create", &[], &padded(1000)).await.json()["msg"], "success");
    assert_eq!(server.ask("POST", "/api/v1/create", &[], &padded(1001)).await.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_are_all_answered() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    reset_peak();
    let before = peak();
    let asked = (0..1000).map(|request| {
        let server = &server;
        async move {
            match request % 4 {
                0 => server.get("/api/v1/list").await,
                1 => server.get("/api/v1/get_backup?backup_name=golden_small").await,
                2 => server.get("/api/v1/get_restore?id=nope").await,
                _ => server.post("/api/v1/create", &json!({"backup_name": "a-b"})).await,
            }
        }
    });
    let replies = join_all(asked).await;
    assert!(
        replies.iter().all(|reply| reply.status == 200),
        "{:?}",
        replies.iter().map(|r| r.status).collect::<Vec<_>>()
    );
    assert!(replies[1].json()["data"]["state_code"] == 2 && replies[3].json()["code"] == 400);
    let grown = peak().saturating_sub(before);
    assert!(grown < 256 << 20, "a thousand requests made the process, clients included, grow by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_backups_at_once_are_answered_each_and_run_as_allowed() {
    let server = Server::with(Played::in_memory(), None, Limits { tasks: 4, ..Limits::default() }).await;
    server.played.held.send_replace(true);
    let asked = (0..1000).map(|request| {
        let server = &server;
        async move { server.post("/api/v1/create", &json!({"backup_name": format!("b{request}"), "async": true})).await }
    });
    let answers: Vec<_> = join_all(asked).await.iter().map(|reply| reply.json()).collect();
    let begun = answers.iter().filter(|answer| answer["msg"] == "create backup is executing asynchronously").count();
    let refused = answers.iter().filter(|answer| answer["code"] == 3).count();
    assert_eq!((begun, refused), (4, 996));
    server.played.held.send_replace(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_too_long_for_its_turn_is_told_to_come_again() {
    let limits = Limits { requests: 1, queue_time: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with(Played::in_memory(), None, limits).await;
    server.played.held.send_replace(true);
    let body = json!({"backup_name": "b"});
    let made = server.post("/api/v1/create", &body);
    let refused = async {
        while server.played.begun.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = server.get("/api/v1/list").await;
        assert_eq!(server.get("/api/v1/hello").await.status, 200);
        server.played.held.send_replace(false);
        refused
    };
    let (made, refused) = tokio::join!(made, refused);
    assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("too many requests at once")));
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(made.json()["msg"], "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_large_bodies_are_looked_at_a_few_at_a_time() {
    let limits = Limits { large_requests: 1, queue_time: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with(Played::in_memory(), None, limits).await;
    server.played.held.send_replace(true);
    let large = |name: &str| json!({"backup_name": name, "ignored": "x".repeat(100 << 10)});
    let (first, second) = (large("first"), large("second"));
    let made = server.post("/api/v1/create", &first);
    let refused = async {
        while server.played.begun.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let small = server.post("/api/v1/create", &json!({"backup_name": "small", "async": true})).await;
        assert_eq!(small.json()["msg"], "create backup is executing asynchronously");
        let refused = server.post("/api/v1/create", &second).await;
        server.played.held.send_replace(false);
        refused
    };
    let (made, refused) = tokio::join!(made, refused);
    assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("too many requests at once")));
    assert_eq!(made.json()["msg"], "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_given_up() {
    let limits = Limits { body_time: Duration::from_millis(200), ..Limits::default() };
    let server = Server::with(Played::in_memory(), None, limits).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST /api/v1/create HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request body not received"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_or_makes_no_sense_ends_its_connection_only() {
    let limits = Limits { head_time: Duration::from_millis(200), ..Limits::default() };
    let server = Server::with(Played::in_memory(), None, limits).await;
    for head in [&b"GET /api/v1/hello HT"[..], b"", b"\0\0\0\0\r\n\r\n", &[b'x'; 100_000]] {
        let started = Instant::now();
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let _ = client.write_all(head).await;
        let _ = client.read_to_end(&mut Vec::new()).await;
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(server.get("/api/v1/hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_wait_and_are_answered() {
    let server = Server::with(Played::in_memory(), None, Limits { connections: 2, ..Limits::default() }).await;
    let idle = [TcpStream::connect(server.address).await.unwrap(), TcpStream::connect(server.address).await.unwrap()];
    let mut asked = Box::pin(server.get("/api/v1/hello"));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut asked).await.is_err(),
        "a third connection is answered"
    );
    drop(idle);
    assert_eq!(asked.await.status, 200);
}
