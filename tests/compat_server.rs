//! `milvus-backup server` as a person runs it: the program itself, against an S3 service in this process and no Milvus.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod compat_world;

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use compat_world::{Reply, converse};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

const ACCESS_KEY: &str = "AKEXAMPLE";
const SECRET_KEY: &str = "a-secret-of-this-test";
const TOKEN: &str = "a-token-of-this-test";
const BUCKET: &str = "a-bucket";
const META: [(&str, &[u8]); 2] = [
    ("backup_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/backup_meta.json")),
    ("full_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/full_meta.json")),
];

/// A folder with one backup of the Go tool in a bucket, and a configuration for it.
async fn world() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let meta = folder.path().join("s3").join(BUCKET).join("backup/golden_small/meta");
    std::fs::create_dir_all(&meta).unwrap();
    for (file, body) in META {
        std::fs::write(meta.join(file), body).unwrap();
    }
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path().join("s3")).unwrap());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let (service, listener) = (builder.build(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(served);
        }
    });
    // Nothing listens at port 9 of this machine: what needs Milvus waits for it there.
    let config = format!(
        "milvus:\n  address: 127.0.0.1\n  port: 9\nminio:\n  address: 127.0.0.1\n  port: {port}\n  accessKeyID: {ACCESS_KEY}\n  \
         secretAccessKey: {SECRET_KEY}\n  bucketName: {BUCKET}\n  backupRootPath: backup\n"
    );
    std::fs::create_dir(folder.path().join("configs")).unwrap();
    std::fs::write(folder.path().join("configs/backup.yaml"), config).unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    folder
}

/// A started program; killed when it is dropped.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    async fn start(folder: &TempDir) -> Program {
        let log = folder.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-backup"));
        command.args(["server", "-p", "0", "--token-file", "token"]).current_dir(folder.path()).env_clear();
        let child = command.stdin(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut program = Program { child, address: String::new() };
        let deadline = Instant::now() + Duration::from_secs(20);
        while program.address.is_empty() {
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(Instant::now() < deadline, "the server does not listen: {said}");
            let line = said.lines().find_map(|line| line.strip_prefix("listening on http://"));
            program.address = line.unwrap_or_default().to_owned();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        program
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed();
        converse(stream, &self.address, method, path, headers, body).await
    }

    async fn with_token(&self, method: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {TOKEN}");
        self.ask(method, path, &[("authorization", &bearer), ("request_id", "run-1")], body).await
    }

    /// Ends it as a service manager does; answers its exit code.
    async fn terminate(mut self) -> i32 {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ended by itself");
            }
            assert!(Instant::now() < deadline, "the server does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_the_go_tool_are_shown_and_removed_with_the_token_only() {
    let folder = world().await;
    let program = Program::start(&folder).await;
    assert_eq!(program.ask("GET", "/api/v1/list", &[], "").await.status, 401);
    let listed = program.with_token("GET", "/api/v1/list", "").await.json();
    assert_eq!((&listed["requestId"], &listed["data"][0]["name"]), (&json!("run-1"), &json!("golden_small")));
    for query in ["backup_name=golden_small", "backup_id=req-golden-1"] {
        let shown = program.with_token("GET", &format!("/api/v1/get_backup?{query}"), "").await.json();
        assert_eq!(shown["data"]["state_code"], 2, "{shown}");
        assert_eq!(shown["data"]["collection_backups"].as_array().unwrap().len(), 3, "{query}");
    }
    let taken = program.with_token("POST", "/api/v1/create", r#"{"backup_name":"golden_small"}"#).await.json();
    assert!(taken["code"] == 3 && taken["msg"].as_str().unwrap().contains("exists already"), "{taken}");
    assert_eq!(
        program.with_token("DELETE", "/api/v1/delete?backup_name=golden_small", "").await.json()["msg"],
        "success"
    );
    assert_eq!(program.with_token("GET", "/api/v1/list", "").await.json()["data"], json!([]));
    assert_eq!(program.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_named_without_a_secret() {
    let folder = world().await;
    let program = Program::start(&folder).await;
    let reply = program.with_token("GET", "/api/v1/check", "").await;
    let said = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(reply.status == 500 && said.contains("milvus") && said.contains("127.0.0.1:9"), "{said}");
    let absent = program.with_token("POST", "/api/v1/restore", r#"{"backup_name":"nope"}"#).await.json();
    assert_eq!((&absent["code"], &absent["msg"]), (&json!(400), &json!("backup nope not found")));
    let body = r#"{"backup_name":"golden_small","maxShardNum":-2}"#;
    let refused = program.with_token("POST", "/api/v1/restore", body).await.json();
    assert!(refused["code"] == 3 && refused["msg"].as_str().unwrap().contains("maxShardNum"), "{refused}");
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    for secret in [SECRET_KEY, TOKEN] {
        assert!(!said.contains(secret) && !log.contains(secret), "{said}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_waits_for_milvus_is_stopped_with_the_server_and_the_next_one_knows() {
    let folder = world().await;
    let program = Program::start(&folder).await;
    let begun = program.with_token("POST", "/api/v1/create", r#"{"backup_name":"waits","async":true}"#).await.json();
    assert_eq!(begun["msg"], "create backup is executing asynchronously", "{begun}");
    let running = program.with_token("GET", "/api/v1/get_backup?backup_id=run-1", "").await.json();
    assert!(running["data"]["state_code"].as_i64().unwrap() <= 1, "{running}");
    assert_eq!(program.terminate().await, 0);
    let program = Program::start(&folder).await;
    for query in ["backup_name=waits", "backup_id=run-1"] {
        let ended = program.with_token("GET", &format!("/api/v1/get_backup?{query}"), "").await.json();
        assert_eq!(ended["data"]["state_code"], 3, "{ended}");
        assert!(ended["data"]["errorMessage"].as_str().unwrap().contains("asked to stop"), "{ended}");
    }
    // The name is free for another try.
    let again = program.with_token("POST", "/api/v1/create", r#"{"backup_name":"waits","async":true}"#).await.json();
    assert_eq!(again["msg"], "create backup is executing asynchronously", "{again}");
    let stopped = program.with_token("DELETE", "/api/v1/task?id=run-1", "").await.json();
    assert_eq!(stopped["data"], json!({"id": "run-1", "state_code": 3}));
}
