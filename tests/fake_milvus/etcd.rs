//! The etcd of a Milvus in this process, with the one call that is made of it.
//!
//! Keys and messages as a real 2.3.5 keeps them (tests/engine/test_index_extra.py reads those); the words of refusals are
//! those of etcd 3.5 (`api/v3rpc/rpctypes/error.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use milvus_backup_operator::milvus::proto::common::KeyValuePair;
use milvus_backup_operator::milvus::proto::etcd::{KeyValue, RangeRequest, RangeResponse, ResponseHeader};
use milvus_backup_operator::milvus::proto::index::{FieldIndex, IndexInfo};
use milvus_backup_operator::milvus::proto::schema::FieldSchema;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};

use super::FakeMilvus;
use super::rpc::{UNAVAILABLE, failed, message};
use super::world::take;

/// Root path of Milvus.
pub const ETCD_ROOT: &str = "by-dev";
/// gRPC statuses used.
const INVALID_ARGUMENT: u32 = 3;
const OUT_OF_RANGE: u32 = 11;
/// What Milvus writes over a key that readers of the past may still want.
const TOMBSTONE: &[u8] = &[0xe2, 0x9b, 0xbc];

#[derive(Default)]
pub struct Kept {
    pub keys: BTreeMap<String, Vec<u8>>,
    /// Grows with every answer, as if others wrote all the time.
    revision: i64,
    /// What was asked for.
    pub asked: Vec<RangeRequest>,
    /// Pages of a past revision that are refused, because it was compacted.
    pub compacted: u32,
    /// Answers that are refused, because it elects a leader.
    pub away: u32,
    /// Whether it wants a login.
    pub login: bool,
}

#[derive(Clone)]
pub struct FakeEtcd {
    kept: Arc<Mutex<Kept>>,
    pub endpoint: String,
}

impl FakeEtcd {
    /// Starts one that knows what this server has. Ends with the runtime of the test.
    pub async fn of(server: &FakeMilvus) -> FakeEtcd {
        let kept = Arc::new(Mutex::new(Kept { keys: keys(server).await, ..Kept::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let shared = kept.clone();
        let router = Router::new().fallback(move |request: Request<Body>| answer(shared.clone(), request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        FakeEtcd { kept, endpoint }
    }

    pub async fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().await
    }
}

/// What a Milvus keeps of its collections, with remains of what was dropped.
async fn keys(server: &FakeMilvus) -> BTreeMap<String, Vec<u8>> {
    let world = server.world().await;
    let mut keys = BTreeMap::from([(format!("{ETCD_ROOT}/meta/session/id"), b"9".to_vec())]);
    for collection in &world.collections {
        let id = collection.id;
        let mut put = |field: &FieldSchema| {
            let key = format!("{ETCD_ROOT}/meta/root-coord/fields/{id}/{}", field.field_id);
            keys.insert(key, field.encode_to_vec());
        };
        let hidden = |field_id: i64, name: &str| FieldSchema {
            field_id,
            name: name.into(),
            data_type: 5,
            ..FieldSchema::default()
        };
        put(&hidden(0, "RowID"));
        put(&hidden(1, "Timestamp"));
        collection.schema.fields.iter().for_each(&mut put);
        if let Some(field_id) = collection.dynamic {
            let dynamic = FieldSchema { data_type: 23, is_dynamic: true, nullable: true, ..hidden(field_id, "$meta") };
            put(&FieldSchema { description: "dynamic schema".into(), ..dynamic });
        }
        keys.insert(format!("{ETCD_ROOT}/meta/root-coord/fields/{id}/999"), TOMBSTONE.to_vec());
        for (number, index) in collection.indexes.iter().enumerate() {
            let field = collection.schema.fields.iter().find(|field| field.name == index.field_name);
            let definition = definition(id, index.index_id, field.map_or(0, |field| field.field_id), &index.params);
            let create_time = 446_000_000_000_000_000 + number as u64;
            let value = FieldIndex { index_info: Some(definition), deleted: false, create_time };
            keys.insert(index_key(id, index.index_id), value.encode_to_vec());
        }
    }
    keys
}

pub fn index_key(collection: i64, index: i64) -> String {
    format!("{ETCD_ROOT}/meta/field-index/{collection}/{index}")
}

pub fn definition(collection_id: i64, index_id: i64, field_id: i64, params: &[KeyValuePair]) -> IndexInfo {
    IndexInfo {
        collection_id,
        field_id,
        index_name: format!("of {field_id}"),
        index_id,
        type_params: vec![KeyValuePair { key: "dim".into(), value: "2".into() }],
        index_params: params.to_vec(),
        is_auto_index: false,
        user_index_params: params.to_vec(),
        min_index_version: 0,
        max_index_version: 6,
    }
}

async fn answer(kept: Arc<Mutex<Kept>>, request: Request<Body>) -> Response<Body> {
    assert_eq!(request.uri().path(), "/etcdserverpb.KV/Range");
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let asked = RangeRequest::decode(body.slice(5.min(body.len())..)).unwrap();
    let mut kept = kept.lock().await;
    kept.asked.push(asked.clone());
    kept.revision += 1;
    if kept.login {
        return failed(INVALID_ARGUMENT, "etcdserver: user name is empty");
    }
    if take(&mut kept.away) {
        return failed(UNAVAILABLE, "etcdserver: leader changed");
    }
    if asked.revision > 0 && take(&mut kept.compacted) {
        return failed(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
    }
    let (from, to) = (String::from_utf8(asked.key).unwrap(), String::from_utf8(asked.range_end).unwrap());
    let found: Vec<(&String, &Vec<u8>)> = kept.keys.range(from..to).collect();
    let limit = usize::try_from(asked.limit).unwrap();
    let page = found.iter().take(limit);
    let answer = RangeResponse {
        header: Some(ResponseHeader { revision: kept.revision }),
        kvs: page.map(|(key, value)| KeyValue { key: key.as_bytes().to_vec(), value: value.to_vec() }).collect(),
        more: found.len() > limit,
    };
    message(answer.encode_to_vec())
}
