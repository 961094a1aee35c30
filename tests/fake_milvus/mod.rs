//! A Milvus in this process: gRPC, REST v2 and the management port on one address of 127.0.0.1, for any version.
//!
//! Every answer is modelled on what real 2.3.5, 2.5.27 and 2.6.18 servers said, or on the contract of the version; the comment
//! beside it tells which: `seen` means on a real server (real-milvus.md, milvus-newer.md), `contract` the published messages
//! (milvus-wire.md). Calls a version does not have answer UNIMPLEMENTED, as real servers do. It keeps real log files in its
//! bucket, so what was restored is read back from bytes. It also lies: see
//! [`world::Lies`].

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod etcd;
mod files;
mod insert;
mod rest;
mod rpc;
pub mod s3;
pub mod site;
mod snapshot;
pub mod types;
pub mod weather;
pub mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use milvus_backup_operator::storage::memory::MemoryService;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};

use world::World;

/// A running server.
#[derive(Clone)]
pub struct FakeMilvus {
    world: Arc<Mutex<World>>,
    pub port: u16,
}

impl FakeMilvus {
    /// Starts a server of a version on a bucket of `service`. Ends with the runtime of the test.
    pub async fn start(version: (u64, u64, u64), service: &MemoryService, bucket: &str) -> FakeMilvus {
        let world = Arc::new(Mutex::new(World::new(version, service, bucket)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = world.clone();
        // One port for gRPC and REST, told apart by what is asked (milvus-wire.md 1.1).
        let router = Router::new().fallback(move |request: Request<Body>| answer(shared.clone(), request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        FakeMilvus { world, port }
    }

    pub async fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().await
    }

    /// Live rows of a collection: partition, key and time to values by field name.
    pub async fn rows(&self, database: &str, name: &str) -> BTreeMap<(String, i64, u64), BTreeMap<String, Vec<u8>>> {
        self.world.lock().await.rows(database, name).await
    }

    /// How often a call was made.
    pub async fn calls(&self, name: &str) -> usize {
        self.world.lock().await.calls.iter().filter(|call| *call == name).count()
    }
}

async fn answer(world: Arc<Mutex<World>>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.strip_prefix("/milvus.proto.milvus.MilvusService/") {
        Some(name) => rpc::answer(&world, name, request).await,
        None => rest::answer(&world, &path, request).await,
    }
}
