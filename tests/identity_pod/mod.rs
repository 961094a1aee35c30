//! A pod whose identity the environment gives: a process of its own with the variables that Kubernetes or a cloud sets, and
//! the services it talks to over loopback.

use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use milvus_backup_operator::storage::{RetryPolicy, Store};
use tokio::net::TcpListener;

const ENDPOINT: &str = "IDENTITY_TEST_ENDPOINT";

/// Runs a piece of work while the services answer at an endpoint.
pub async fn beside<T>(services: Router, work: impl AsyncFnOnce(String) -> T) -> T {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::select! {
        done = work(endpoint) => done,
        ended = async { axum::serve(listener, services).await } => panic!("{ended:?}"),
    }
}

/// Runs the test `the_pod` of the same file in a process with these variables and no others.
pub async fn run(services: Router, home: &Path, variables: impl FnOnce(&str) -> Vec<(&'static str, String)>) {
    let output = beside(services, async |endpoint: String| {
        let mut pod = Command::new(std::env::current_exe().unwrap());
        pod.args(["--ignored", "--exact", "the_pod"]).env_clear().envs(variables(&endpoint));
        pod.env(ENDPOINT, endpoint).env("HOME", home);
        tokio::task::spawn_blocking(move || pod.output().unwrap()).await.unwrap()
    });
    let output = output.await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Where the services are, inside the pod.
pub fn endpoint() -> String {
    std::env::var(ENDPOINT).unwrap()
}

/// Reads three times: the first login is refused, the second one kept.
pub async fn read(store: &dyn Store) {
    for _ in 0..3 {
        assert_eq!(store.get("k").await.unwrap(), "x");
    }
    assert_eq!(store.traffic().requests, 4);
}

pub fn once() -> RetryPolicy {
    RetryPolicy { tries: 1, ..RetryPolicy::default() }
}

pub fn answer(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}
