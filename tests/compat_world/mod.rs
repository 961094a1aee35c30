//! A server of the compatible API on loopback, with an engine that keeps backups in a bucket in memory.
//!
//! Listing and reading are the program's own; only the making and restoring of backups is played.

#![allow(dead_code, reason = "each test uses its part")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use milvus_backup_operator::compat::errors::OperationError;
use milvus_backup_operator::compat::operations::{Place, Running, Stored};
use milvus_backup_operator::compat::wire::BackupSummary;
use milvus_backup_operator::compat::{Limits, Listening, Operations, Token, serve};
use milvus_backup_operator::engine::error::EngineError;
use milvus_backup_operator::engine::select::Name;
use milvus_backup_operator::engine::task::Stage;
use milvus_backup_operator::exit::Class;
use milvus_backup_operator::local::catalog::{self, is_missing};
use milvus_backup_operator::local::filter::Filter;
use milvus_backup_operator::local::operations::{BackupId, CreateRequest, RestoreRequest};
use milvus_backup_operator::local::tasks;
use milvus_backup_operator::manifest::{BackupInfo, decode_full, encode_meta};
use milvus_backup_operator::storage::memory::{MemoryService, MemoryStore};
use milvus_backup_operator::storage::{Store, delete_prefix};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const META: &[u8] = include_bytes!("../golden/milvus-backup-0.5.16/meta/full_meta.json");
const ROOT: &str = "backup";

/// The metadata of three collections of a real backup.
pub fn golden_info() -> BackupInfo {
    decode_full(META).unwrap()
}

/// An engine that is played.
#[derive(Debug)]
pub struct Played {
    store: Arc<dyn Store>,
    /// While true, runs go as far as copying data and wait there.
    pub held: watch::Sender<bool>,
    /// While true, nothing of Milvus answers.
    pub away: watch::Sender<bool>,
    /// Runs that have begun.
    pub begun: AtomicUsize,
    /// Runs that were told to stop.
    pub stopped: AtomicUsize,
}

impl Played {
    pub fn new(bucket: MemoryStore) -> Arc<Played> {
        Arc::new(Played {
            store: Arc::new(bucket),
            held: watch::Sender::new(false),
            away: watch::Sender::new(false),
            begun: AtomicUsize::new(0),
            stopped: AtomicUsize::new(0),
        })
    }

    pub fn in_memory() -> Arc<Played> {
        Played::new(MemoryService::new("s").bucket("b"))
    }

    /// Preflight, then half of the bytes, then the wait for being let go.
    async fn run(&self, run: &Running) -> Result<(), OperationError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if *self.away.borrow() {
            let message = "milvus at 127.0.0.1:19530 does not answer: see that it is up".into();
            return Err(OperationError::Failed { class: Class::Retry, message });
        }
        run.counters.enter(Stage::CopyingData);
        run.counters.plan(1, 2, 100);
        run.counters.objects(1, 50);
        let mut held = self.held.subscribe();
        tokio::select! {
            let_go = held.wait_for(|held| !held) => drop(let_go),
            () = run.cancel.cancelled() => {
                self.stopped.fetch_add(1, Ordering::SeqCst);
                return Err(EngineError::Cancelled.into());
            }
        }
        Ok(())
    }

    /// Puts a backup into the bucket, as the Go tool would.
    pub async fn put(&self, root: &str, info: &BackupInfo) {
        for (file, body) in encode_meta(info).unwrap() {
            self.store.put(&format!("{root}/{}/meta/{file}", info.name), body.into()).await.unwrap();
        }
    }
}

#[async_trait]
impl Operations for Played {
    async fn create(&self, request: CreateRequest, run: Arc<Running>) -> Result<(), OperationError> {
        let mut info = golden_info();
        let wanted = |filter: &Option<Filter>, database: &str, name: &str| {
            filter.as_ref().is_none_or(|filter| filter.admits(&Name::new(database, name)))
        };
        info.collection_backups.retain(|found| wanted(&request.filter, &found.db_name, &found.collection_name));
        if info.collection_backups.is_empty() {
            return Err(OperationError::failed("no collection matches default.no_such_collection"));
        }
        self.run(&run).await?;
        info.name = request.name.unwrap();
        info.id = run.id.clone();
        info.size = info.collection_backups.iter().map(|collection| collection.size).sum();
        for collection in &mut info.collection_backups {
            collection.id = run.id.clone();
        }
        self.put(request.backup_root_path.as_deref().unwrap_or(ROOT), &info).await;
        Ok(())
    }

    async fn restore(&self, request: RestoreRequest, run: Arc<Running>) -> Result<(), OperationError> {
        let found = catalog::get(&self.store, ROOT, &BackupId::Name(request.name.clone())).await?;
        let names = tasks::names(&request, &found.info)?;
        if request.suffix.as_deref() == Some("_taken") {
            let message = "3 of 3 target collections exist already, nothing was touched".to_owned();
            return Err(EngineError::ConflictFound(message).into());
        }
        run.plan(names.into_iter().map(|(_, target)| target).collect());
        self.run(&run).await
    }

    async fn list(&self) -> Result<Vec<BackupSummary>, OperationError> {
        let found = catalog::list(&self.store, ROOT).await?;
        let line = |found: catalog::BackupSummary| BackupSummary {
            id: found.id,
            name: found.name,
            size: found.size,
            milvus_version: found.milvus_version,
        };
        Ok(found.into_iter().map(line).collect())
    }

    async fn get(&self, backup: &BackupId, at: &Place) -> Result<Option<Stored>, OperationError> {
        match catalog::get(&self.store, at.root.as_deref().unwrap_or(ROOT), backup).await {
            Ok(found) => Ok(Some(Stored { info: found.info, meta_size: found.meta_size, created: None })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), OperationError> {
        let deleted = delete_prefix(self.store.as_ref(), &format!("{ROOT}/{name}/")).await;
        deleted.map(|_| ()).map_err(|error| EngineError::from(error).into())
    }

    async fn check(&self) -> Result<String, OperationError> {
        match *self.away.borrow() {
            true => Err(OperationError::failed("milvus: no answer")),
            false => Ok("\nMilvus version: v2.3.5\n\nSuccess!\n".into()),
        }
    }

    async fn store(&self) -> Result<(Arc<dyn Store>, String), OperationError> {
        Ok((self.store.clone(), ROOT.into()))
    }
}

/// A server that runs until it is dropped or stopped.
pub struct Server {
    pub address: SocketAddr,
    pub played: Arc<Played>,
    stop: CancellationToken,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Played::in_memory(), None, Limits::default()).await
    }

    pub async fn with(played: Arc<Played>, token: Option<&str>, limits: Limits) -> Server {
        let listening = Listening::on(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let address = listening.address();
        let stop = CancellationToken::new();
        let token = token.map(|token| Token::new(token).unwrap());
        let running = tokio::spawn(serve(listening, played.clone(), token, limits, stop.clone()));
        Server { address, played, stop, running: Some(running) }
    }

    /// Stops as on SIGTERM, and waits for the end.
    pub async fn stop(mut self) -> Arc<Played> {
        self.stop.cancel();
        self.running.take().unwrap().await.unwrap();
        self.played.clone()
    }

    /// Ends at once, as on SIGKILL: nothing is written any more.
    pub async fn kill(mut self) -> Arc<Played> {
        let running = self.running.take().unwrap();
        running.abort();
        let _ = running.await;
        self.played.clone()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &[], &body.to_string()).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed();
        self.send(method, path, headers, body).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Sent) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        converse(stream, &format!("{}", self.address), method, path, headers, body).await
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let answer = self.get(path).await.json();
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), asking).await;
        in_time.unwrap_or_else(|_| panic!("{path} never answered as wanted"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A body to send.
pub type Sent = BoxBody<Bytes, std::io::Error>;

/// One request on a connection of its own.
pub async fn converse<S>(stream: S, host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Sent) -> Reply
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(body).unwrap()).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn kind(&self) -> &str {
        self.headers.get("content-type").map(|kind| kind.to_str().unwrap()).unwrap_or_default()
    }
}
