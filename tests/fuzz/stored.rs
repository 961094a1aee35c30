//! Values of keys in Milvus' etcd.

use milvus_backup_operator::milvus::etcd::{field, field_index};
use milvus_backup_operator::milvus::proto::common::KeyValuePair;
use milvus_backup_operator::milvus::proto::index::{FieldIndex, IndexInfo};
use milvus_backup_operator::milvus::proto::schema::{FieldSchema, TypeSchema, ValueField, value_field};
use prost::Message as _;

use super::harness::{Memory, Target, explore};
use super::mutate;

/// An empty pair has two bytes and takes the most; a list grows by doubling.
const OF_STORED: Memory = Memory { fixed: 1 << 20, per_byte: 200 };

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}

fn definition() -> Vec<u8> {
    let info = IndexInfo {
        collection_id: 445_000_000_000_000_001,
        field_id: 101,
        index_name: "v_index".into(),
        index_id: 445_000_000_000_000_002,
        type_params: vec![pair("dim", "8")],
        index_params: vec![pair("index_type", "HNSW"), pair("params", "{\"M\":8}")],
        is_auto_index: true,
        user_index_params: vec![pair("index_type", "AUTOINDEX")],
        min_index_version: 1,
        max_index_version: 6,
    };
    FieldIndex { index_info: Some(info), deleted: false, create_time: 446_000_000_000_000_000 }.encode_to_vec()
}

fn dynamic() -> Vec<u8> {
    let inner = TypeSchema { leaf_type: 23, nullable: true, ..TypeSchema::default() };
    FieldSchema {
        field_id: 103,
        name: "$meta".into(),
        description: "dynamic schema".into(),
        data_type: 23,
        type_params: vec![pair("max_length", "8")],
        default_value: Some(ValueField { data: Some(value_field::Data::BytesData(b"{}".to_vec())) }),
        is_dynamic: true,
        nullable: true,
        type_schema: Some(TypeSchema { array_element: Some(Box::new(inner)), ..TypeSchema::default() }),
        ..FieldSchema::default()
    }
    .encode_to_vec()
}

#[test]
fn a_stored_definition_is_read_or_refused() {
    let target =
        Target { name: "stored", seeds: vec![definition(), dynamic()], damage: mutate::bytes, memory: OF_STORED };
    explore(target, |bytes| {
        for refusal in [field_index(bytes).err(), field(bytes).err()].into_iter().flatten() {
            if !["no index definition", "without an index", "no field"].iter().any(|words| refusal.contains(words)) {
                return Err(format!("the refusal says nothing: {refusal}"));
            }
        }
        Ok(())
    });
}
