//! What etcd knows beyond what Milvus tells: definitions of indexes as they are stored, and the hidden field of undeclared keys.
//!
//! Only the Go tool's secondary restore needs them (milvus-backup.md 2.8, 4.10). Read before anything is copied, because without
//! them there is no backup. Owns the join into the metadata; [`crate::milvus::etcd`] owns the reading.

use crate::engine::error::EngineError;
use crate::engine::schema::field_to_backup;
use crate::engine::select::Name;
use crate::manifest::{CollectionBackupInfo, IndexInfo, KeyValuePair};
use crate::milvus::FieldSchema;
use crate::milvus::etcd::{Etcd, StoredIndex};

/// Adds to the described collections what etcd has of them.
///
/// # Errors
/// The connection's; a collection of which etcd knows something else than Milvus told.
pub async fn add(etcd: &Etcd, collections: &mut [CollectionBackupInfo], with_indexes: bool) -> Result<(), EngineError> {
    for info in collections.iter_mut() {
        let id = info.collection_id;
        if with_indexes {
            let stored = etcd.indexes(id).await?;
            join_indexes(info, stored, &place(etcd, &etcd.index_prefix(id)))?;
        }
        if info.schema.enable_dynamic_field {
            let field = etcd.dynamic_field(id).await?;
            join_dynamic_field(info, field, &place(etcd, &etcd.field_prefix(id)))?;
        }
    }
    tracing::info!(collections = collections.len(), "read from etcd");
    Ok(())
}

fn place(etcd: &Etcd, prefix: &str) -> String {
    format!("etcd {} below {prefix}", etcd.endpoint())
}

fn name(info: &CollectionBackupInfo) -> Name {
    Name::new(&info.db_name, &info.collection_name)
}

/// Pure: completes every described index by what is stored of it. `place` is where that was read.
///
/// # Errors
/// An index that only one side has.
fn join_indexes(info: &mut CollectionBackupInfo, stored: Vec<StoredIndex>, place: &str) -> Result<(), EngineError> {
    let collection = name(info);
    let mut missing: Vec<&mut IndexInfo> = info.index_infos.iter_mut().collect();
    for index in stored {
        let Some(at) = missing.iter().position(|described| described.index_id == index.id) else {
            return Err(EngineError::Interrupted(format!(
                "index {} ({}) of collection {collection} is in {place}, and Milvus does not describe it: it was made or \
                 dropped while the backup ran, try again",
                index.name, index.id
            )));
        };
        let described = missing.swap_remove(at);
        described.field_id = index.field_id;
        described.create_time = index.create_time;
        described.type_params = pairs(index.type_params);
        described.index_params = pairs(index.index_params);
        described.user_index_params = pairs(index.user_index_params);
        described.is_auto_index = index.is_auto_index;
        described.min_index_version = index.min_index_version;
        described.max_index_version = index.max_index_version;
    }
    match missing.first() {
        None => Ok(()),
        Some(index) => Err(EngineError::Rejected(format!(
            "index {} ({}) of collection {collection} is not in {place}: see that milvus.etcd.endpoints and \
             milvus.etcd.rootPath are those of this Milvus, or try again if it was just dropped",
            index.index_name, index.index_id
        ))),
    }
}

/// Pure: puts the hidden field behind the fields that Milvus tells of. `place` is where it was read.
///
/// # Errors
/// There is none.
fn join_dynamic_field(
    info: &mut CollectionBackupInfo,
    field: Option<FieldSchema>,
    place: &str,
) -> Result<(), EngineError> {
    let Some(field) = field else {
        return Err(EngineError::Rejected(format!(
            "collection {} takes undeclared keys, and the field that holds them is not in {place}: see that \
             milvus.etcd.endpoints and milvus.etcd.rootPath are those of this Milvus, or leave backup_index_extra out",
            name(info)
        )));
    };
    info.schema.fields.retain(|described| !described.is_dynamic);
    info.schema.fields.push(field_to_backup(&field));
    Ok(())
}

fn pairs(list: Vec<(String, String)>) -> Vec<KeyValuePair> {
    list.into_iter().map(|(key, value)| KeyValuePair { key, value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Class;
    use crate::manifest;

    const PLACE: &str = "etcd localhost:2379 below by-dev/meta/field-index/7/";

    fn described(id: i64, name: &str) -> IndexInfo {
        IndexInfo { index_id: id, index_name: name.into(), index_type: "HNSW".into(), ..IndexInfo::default() }
    }

    fn collection() -> CollectionBackupInfo {
        let mut info = CollectionBackupInfo {
            db_name: "shop".into(),
            collection_name: "docs".into(),
            index_infos: vec![described(1, "a"), described(2, "b")],
            ..CollectionBackupInfo::default()
        };
        info.schema.fields = vec![manifest::FieldSchema { field_id: 100, name: "id".into(), ..Default::default() }];
        info
    }

    fn stored(id: i64) -> StoredIndex {
        let own = |key: &str| vec![(key.to_owned(), id.to_string())];
        StoredIndex {
            id,
            name: format!("of {id}"),
            field_id: 100 + id,
            create_time: 446_000_000_000_000_000 + id as u64,
            type_params: own("dim"),
            index_params: own("M"),
            user_index_params: own("index_type"),
            is_auto_index: id == 1,
            min_index_version: 1,
            max_index_version: 6,
            ..StoredIndex::default()
        }
    }

    fn dynamic() -> FieldSchema {
        FieldSchema {
            field_id: 103,
            name: "$meta".into(),
            data_type: 23,
            is_dynamic: true,
            nullable: true,
            ..FieldSchema::default()
        }
    }

    #[test]
    fn each_index_gets_what_is_stored_under_its_id() {
        let mut info = collection();
        join_indexes(&mut info, vec![stored(2), stored(1)], PLACE).unwrap();
        let pair = |key: &str, value: &str| vec![KeyValuePair { key: key.into(), value: value.into() }];
        for (index, id, text) in [(&info.index_infos[0], 1, "1"), (&info.index_infos[1], 2, "2")] {
            let expected = IndexInfo {
                field_id: 100 + id,
                create_time: 446_000_000_000_000_000 + id as u64,
                type_params: pair("dim", text),
                index_params: pair("M", text),
                user_index_params: pair("index_type", text),
                is_auto_index: id == 1,
                min_index_version: 1,
                max_index_version: 6,
                ..described(id, if id == 1 { "a" } else { "b" })
            };
            assert_eq!(*index, expected);
        }
    }

    #[test]
    fn an_index_that_milvus_does_not_describe_ends_the_attempt() {
        let error = join_indexes(&mut collection(), vec![stored(1), stored(2), stored(3)], PLACE).unwrap_err();
        assert_eq!(error.class(), Class::Retry);
        assert!(
            error.to_string().contains("index of 3 (3) of collection shop.docs is in etcd localhost:2379"),
            "{error}"
        );
        let twice = join_indexes(&mut collection(), vec![stored(1), stored(1)], PLACE).unwrap_err();
        assert!(twice.to_string().contains("index of 1 (1)"), "{twice}");
    }

    #[test]
    fn an_index_that_etcd_does_not_have_is_a_wrong_setting() {
        let error = join_indexes(&mut collection(), vec![stored(1)], PLACE).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        for words in ["index b (2) of collection shop.docs is not in", PLACE, "milvus.etcd.rootPath"] {
            assert!(error.to_string().contains(words), "{words} in {error}");
        }
    }

    #[test]
    fn the_hidden_field_comes_last_and_once() {
        let mut info = collection();
        for _ in 0..2 {
            join_dynamic_field(&mut info, Some(dynamic()), PLACE).unwrap();
            let names: Vec<&str> = info.schema.fields.iter().map(|field| field.name.as_str()).collect();
            assert_eq!(names, ["id", "$meta"]);
        }
        let field = &info.schema.fields[1];
        assert_eq!((field.field_id, field.data_type, field.is_dynamic, field.nullable), (103, 23, true, true));
    }

    #[test]
    fn a_collection_with_undeclared_keys_and_no_field_for_them_is_refused() {
        let error = join_dynamic_field(&mut collection(), None, PLACE).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(error.to_string().contains("collection shop.docs takes undeclared keys"), "{error}");
    }

    #[test]
    fn names_in_the_bucket_are_those_of_the_go_tool() {
        let mut info = collection();
        info.index_infos.truncate(1);
        join_indexes(&mut info, vec![stored(1)], PLACE).unwrap();
        join_dynamic_field(&mut info, Some(dynamic()), PLACE).unwrap();
        let written = serde_json::to_value(&info).unwrap();
        let index = serde_json::json!({
            "index_name": "a", "index_type": "HNSW", "index_id": 1, "field_id": 101, "create_time": 446_000_000_000_000_001_u64,
            "type_params": [{"key": "dim", "value": "1"}], "index_params": [{"key": "M", "value": "1"}],
            "user_index_params": [{"key": "index_type", "value": "1"}], "is_auto_index": true,
            "min_index_version": 1, "max_index_version": 6,
        });
        assert_eq!(written["index_infos"], serde_json::json!([index]));
        let field =
            serde_json::json!({"fieldID": 103, "name": "$meta", "data_type": 23, "is_dynamic": true, "nullable": true});
        assert_eq!(written["schema"]["fields"][1], field);
    }
}
