//! Pure: values of keys. Whatever the bytes are, the answer is a definition, nothing, or why it is none.

use prost::Message as _;

use crate::milvus::pairs;
use crate::milvus::proto::index::{FieldIndex, IndexInfo};
use crate::milvus::proto::schema::FieldSchema;

/// Value of a key that Milvus has removed and keeps for readers of the past (Milvus 2.3, suffix snapshots of its metastore).
const TOMBSTONE: &[u8] = &[0xe2, 0x9b, 0xbc];

/// An index as Milvus stores it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredIndex {
    /// Collection it belongs to.
    pub collection_id: i64,
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Id of its field.
    pub field_id: i64,
    /// Hybrid timestamp of its creation.
    pub create_time: u64,
    /// Of the field.
    pub type_params: Vec<(String, String)>,
    /// With what the server added.
    pub index_params: Vec<(String, String)>,
    /// As the user gave them.
    pub user_index_params: Vec<(String, String)>,
    /// Whether the server chose the kind.
    pub is_auto_index: bool,
    /// Oldest index engine that reads it; 0 before 2.6.
    pub min_index_version: i32,
    /// Newest index engine that reads it; 0 before 2.6.
    pub max_index_version: i32,
}

/// Reads an `indexpb.FieldIndex` (Milvus `index_coord.proto`, the same numbers from 2.2 to 3.0); none for an index that was
/// dropped.
///
/// # Errors
/// What is wrong with the bytes.
pub fn field_index(value: &[u8]) -> Result<Option<StoredIndex>, String> {
    if value == TOMBSTONE {
        return Ok(None);
    }
    let FieldIndex { index_info, deleted, create_time } =
        FieldIndex::decode(value).map_err(|error| format!("no index definition ({error})"))?;
    if deleted {
        return Ok(None);
    }
    let Some(IndexInfo {
        collection_id,
        field_id,
        index_name,
        index_id,
        type_params,
        index_params,
        is_auto_index,
        user_index_params,
        min_index_version,
        max_index_version,
    }) = index_info
    else {
        return Err("an index definition without an index".to_owned());
    };
    Ok(Some(StoredIndex {
        collection_id,
        id: index_id,
        name: index_name,
        field_id,
        create_time,
        type_params: pairs(type_params),
        index_params: pairs(index_params),
        user_index_params: pairs(user_index_params),
        is_auto_index,
        min_index_version,
        max_index_version,
    }))
}

/// Reads a `schemapb.FieldSchema`; none where the field was removed.
///
/// # Errors
/// What is wrong with the bytes.
pub fn field(value: &[u8]) -> Result<Option<FieldSchema>, String> {
    if value == TOMBSTONE {
        return Ok(None);
    }
    FieldSchema::decode(value).map(Some).map_err(|error| format!("no field ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::common::KeyValuePair;
    use proptest::prelude::*;

    fn pair(key: &str, value: &str) -> KeyValuePair {
        KeyValuePair { key: key.into(), value: value.into() }
    }

    fn definition() -> FieldIndex {
        let info = IndexInfo {
            collection_id: 7,
            field_id: 101,
            index_name: "v".into(),
            index_id: 9,
            type_params: vec![pair("dim", "8")],
            index_params: vec![pair("index_type", "HNSW"), pair("M", "8")],
            is_auto_index: true,
            user_index_params: vec![pair("index_type", "AUTOINDEX")],
            min_index_version: 1,
            max_index_version: 6,
        };
        FieldIndex { index_info: Some(info), deleted: false, create_time: 446_000_000_000_000_001 }
    }

    #[test]
    fn an_index_is_read_with_its_parameters_in_their_order() {
        let read = field_index(&definition().encode_to_vec()).unwrap().unwrap();
        assert_eq!((read.collection_id, read.id, read.name.as_str(), read.field_id), (7, 9, "v", 101));
        assert_eq!(read.create_time, 446_000_000_000_000_001);
        let own =
            |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(read.type_params, own(&[("dim", "8")]));
        assert_eq!(read.index_params, own(&[("index_type", "HNSW"), ("M", "8")]));
        assert_eq!(read.user_index_params, own(&[("index_type", "AUTOINDEX")]));
        assert_eq!((read.is_auto_index, read.min_index_version, read.max_index_version), (true, 1, 6));
    }

    /// Bytes made by hand after the published numbers, so that a wrong number in `proto/` is seen.
    #[test]
    fn the_numbers_are_those_of_milvus() {
        let pair = b"\x0a\x01k\x12\x01v";
        let info = [b"\x08\x07\x10\x65\x1a\x01v\x20\x09\x2a\x06".as_slice(), pair, b"\x32\x06", pair]
            .concat()
            .into_iter()
            // indexed_rows, total_rows and state are there and not looked at
            .chain(*b"\x38\x05\x40\x06\x48\x03\x58\x01\x62\x06")
            .chain(*pair)
            .chain(*b"\x70\x01\x78\x06")
            .collect::<Vec<u8>>();
        let value = [[b"\x0a", [info.len() as u8].as_slice()].concat(), info, b"\x18\x2a".to_vec()].concat();
        let read = field_index(&value).unwrap().unwrap();
        let kv = vec![("k".to_owned(), "v".to_owned())];
        let expected = StoredIndex {
            collection_id: 7,
            id: 9,
            name: "v".into(),
            field_id: 101,
            create_time: 42,
            type_params: kv.clone(),
            index_params: kv.clone(),
            user_index_params: kv,
            is_auto_index: true,
            min_index_version: 1,
            max_index_version: 6,
        };
        assert_eq!(read, expected);
        assert_eq!(field_index(&[value, b"\x10\x01".to_vec()].concat()), Ok(None));
    }

    #[test]
    fn what_was_dropped_or_removed_is_nothing() {
        let dropped = FieldIndex { deleted: true, ..definition() };
        assert_eq!(field_index(&dropped.encode_to_vec()), Ok(None));
        assert_eq!(field_index(TOMBSTONE), Ok(None));
        assert_eq!(field(TOMBSTONE), Ok(None));
    }

    #[test]
    fn what_is_no_definition_is_refused() {
        assert!(field_index(&[0xff]).unwrap_err().contains("no index definition"));
        assert!(field_index(&FieldIndex::default().encode_to_vec()).unwrap_err().contains("without an index"));
        assert!(field(&[0xff]).unwrap_err().contains("no field"));
    }

    #[test]
    fn the_hidden_field_says_that_it_is_one() {
        let stored = FieldSchema { field_id: 103, name: "$meta".into(), is_dynamic: true, ..FieldSchema::default() };
        assert_eq!(field(&stored.encode_to_vec()), Ok(Some(stored)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = field_index(&bytes);
            let _ = field(&bytes);
        }
    }
}
