//! Metadata and keys against a backup made by the Go tool 0.5.16 from a Milvus 2.3.5.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use milvus_backup_operator::manifest::layout::{Artifact, LogKey, log_path};
use milvus_backup_operator::manifest::{
    BackupInfo, FieldBinlog, ManifestError, decode_full, encode_meta, join_levels, read_full,
};
use serde_json::Value;

const BACKUP: &[u8] = include_bytes!("golden/milvus-backup-0.5.16/meta/backup_meta.json");
const COLLECTION: &[u8] = include_bytes!("golden/milvus-backup-0.5.16/meta/collection_meta.json");
const PARTITION: &[u8] = include_bytes!("golden/milvus-backup-0.5.16/meta/partition_meta.json");
const SEGMENT: &[u8] = include_bytes!("golden/milvus-backup-0.5.16/meta/segment_meta.json");
const FULL: &[u8] = include_bytes!("golden/milvus-backup-0.5.16/meta/full_meta.json");
const LISTING: &str = include_str!("golden/milvus-backup-0.5.16/listing.json");

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_five_files_come_out_byte_for_byte_as_the_go_tool_wrote_them() {
    let files = encode_meta(&decode_full(FULL).unwrap()).unwrap();
    let expected = [
        ("backup_meta.json", BACKUP),
        ("collection_meta.json", COLLECTION),
        ("partition_meta.json", PARTITION),
        ("segment_meta.json", SEGMENT),
        ("full_meta.json", FULL),
    ];
    for ((name, bytes), (expected_name, expected_bytes)) in files.iter().zip(expected) {
        assert_eq!(*name, expected_name);
        assert_eq!(text(bytes), text(expected_bytes), "{name}");
    }
}

#[test]
fn the_level_files_join_to_what_the_full_file_holds_but_databases() {
    let mut full = decode_full(FULL).unwrap();
    full.database_backups.clear();
    assert_eq!(join_levels(BACKUP, COLLECTION, PARTITION, SEGMENT).unwrap(), full);
}

#[test]
fn a_segment_or_partition_whose_parent_is_missing_is_named() {
    let error = join_levels(BACKUP, COLLECTION, b"{}", SEGMENT).unwrap_err();
    assert!(matches!(error, ManifestError::Orphan { .. }), "{error}");
    assert!(error.to_string().contains("partition_meta.json"), "{error}");
    let error = join_levels(BACKUP, b"{}", PARTITION, SEGMENT).unwrap_err();
    assert!(error.to_string().contains("collection_meta.json does not list it"), "{error}");
}

#[test]
fn every_object_of_the_backup_is_found_by_its_ids_with_its_size() {
    let artifact = Artifact::new("backup", "golden_small").unwrap();
    let listing: Vec<Value> = serde_json::from_str(LISTING).unwrap();
    let listed: BTreeMap<&str, i64> = listing
        .iter()
        .map(|object| (object["key"].as_str().unwrap(), object["size"].as_i64().unwrap()))
        .filter(|(key, _)| key.starts_with(&artifact.binlogs()))
        .collect();
    let info = decode_full(FULL).unwrap();
    let mut named = BTreeMap::new();
    for segment in info.segments() {
        assert_eq!(segment.delta_logs().count(), 0, "the empty element the tool writes for no deltas is no log");
        for (field, log) in segment.insert_logs() {
            let key = LogKey {
                collection: segment.collection_id,
                partition: segment.partition_id,
                segment: segment.segment_id,
                field: Some(field),
                log: log.id().unwrap(),
            };
            let path = segment.log_path(Some(field), log);
            assert_eq!(key.in_milvus("files"), path);
            assert_eq!(LogKey::parse_in_milvus("files", &path), Some(key));
            assert_eq!(log.more, None, "{path} is what the ids give, and is not held beside them");
            named.insert(artifact.log(&key, segment.group()), log.log_size);
        }
    }
    let named: BTreeMap<&str, i64> = named.iter().map(|(key, size)| (key.as_str(), *size)).collect();
    assert_eq!(named.len(), 36);
    assert_eq!(named, listed);
    for key in listed.keys() {
        let (parsed, group) = artifact.parse_log(key).unwrap();
        assert_eq!(artifact.key(&log_path(&parsed, group)), *key);
    }
}

/// All that golden data does not show, in the order of milvus-backup's own structures.
const RICH: &str = concat!(
    r#"{"id":"i","state_code":0,"name":"n","backup_timestamp":1690000000000,"collection_backups":[{"id":"i","collection_id":9007199254740993,"#,
    r#""db_name":"d","collection_name":"c","schema":{"name":"c","description":"a \u003cb\u003e \u0026 c\u2028","autoID":true,"fields":["#,
    r#"{"fieldID":100,"name":"id","is_primary_key":true,"description":"x","data_type":5,"type_params":[{"key":"dim","value":"4"}],"#,
    r#""index_params":[{"key":"k","value":"v"}],"autoID":true,"state":1,"element_type":5,"is_dynamic":true,"is_partition_key":true,"#,
    r#""nullable":true,"default_value_proto":"\u0018\u0007","is_function_output":true,"default_value_base64":"GAc="}],"#,
    r#""enable_dynamic_field":true,"properties":[{"key":"p"}],"functions":[{"name":"bm25","id":7,"description":"d","type":1,"#,
    r#""input_field_names":["t"],"input_field_ids":[101],"output_field_names":["s"],"output_field_ids":[102],"params":[{"key":"k","value":"v"}]}],"#,
    r#""struct_array_fields":[{"fieldID":103,"name":"st","description":"d","fields":[{"fieldID":104,"name":"sub"}]}]},"#,
    r#""shards_num":1,"consistency_level":2,"partition_backups":[{"partition_id":2,"partition_name":"_default","collection_id":1,"#,
    r#""segment_backups":[{"segment_id":3,"collection_id":1,"partition_id":2,"num_of_rows":4,"binlogs":[{"binlogs":[{"entries_num":4,"#,
    r#""timestamp_from":18446744073709551615,"timestamp_to":6,"log_path":"p","log_size":0,"log_id":8}]}],"statslogs":[{"fieldID":100}],"#,
    r#""deltalogs":[{}],"size":0,"group_id":3,"backuped":true,"is_l0":true,"v_channel":"v","storage_version":2}],"size":1,"load_state":"Loaded"}],"#,
    r#""backup_timestamp":455793180000321537,"size":2,"has_index":true,"index_infos":[{"field_name":"f","index_name":"x","index_type":"HNSW","#,
    r#""params":{"a":"1","b":"{\"M\":16}"},"index_id":4,"field_id":100,"create_time":5,"type_params":[{"key":"k"}],"#,
    r#""index_params":[{"key":"k"}],"user_index_params":[{"key":"k"}],"is_auto_index":true,"min_index_version":1,"max_index_version":2}],"#,
    r#""load_state":"Loaded","backup_physical_timestamp":6,"channel_checkpoints":{"a":"AA==","b":"AQ=="},"#,
    r#""l0_segments":[{"segment_id":5,"collection_id":1,"partition_id":-1,"deltalogs":[{"binlogs":[{"log_path":"q","log_size":1,"log_id":6}]}],"size":1,"is_l0":true}],"#,
    r#""properties":[{"key":"k","value":"v"}],"db_id":1,"created_timestamp":7,"virtual_channel_names":["v"],"physical_channel_names":["p"],"aliases":["al"]}],"#,
    r#""size":3,"milvus_version":"v","rbac_meta":{"users":[{"user":"u","password":"hash","roles":[{"name":"r"}]}],"roles":[{"name":"r"}],"#,
    r#""grants":[{"role":{"name":"r"},"object":{"name":"Collection"},"object_name":"*","grantor":{"user":{},"privilege":{"name":"Load"}},"db_name":"d"}],"#,
    r#""privilege_groups":[{"group_name":"g","privileges":[{"name":"Load"}]}]},"rpc_channel_info":{"name":"ch","position":"pos"},"#,
    r#""database_backups":[{"db_name":"d","db_id":1,"properties":[{"key":"k","value":"v"}],"ezk":"zone"}],"flush_all_msgs_base64":{"p":"AA=="},"#,
    r#""control_channel_name":"cc","physical_channel_names":["p"],"format":"binlog"}"#
);

#[test]
fn every_documented_field_survives_a_round_trip_in_its_place() {
    let info = decode_full(RICH.as_bytes()).unwrap();
    let [.., (_, full)] = encode_meta(&info).unwrap();
    assert_eq!(text(&full), RICH);
}

#[test]
fn what_is_read_bit_by_bit_is_what_is_read_at_once() {
    for bytes in [FULL, RICH.as_bytes()] {
        assert_eq!(read_full(bytes).unwrap(), decode_full(bytes).unwrap());
    }
    assert!(read_full(&FULL[..FULL.len() - 1]).unwrap_err().to_string().starts_with("full_meta.json is damaged"));
}

#[test]
fn zero_values_are_left_out_but_for_those_the_go_tool_always_writes() {
    let [(_, head), .., (_, full)] = encode_meta(&BackupInfo::default()).unwrap();
    assert_eq!(text(&head), r#"{"state_code":0,"size":0}"#);
    assert_eq!(text(&full), r#"{"state_code":0,"size":0}"#);
    let [_, (_, collections), (_, partitions), (_, segments), _] = encode_meta(&BackupInfo::default()).unwrap();
    for empty in [collections, partitions, segments] {
        assert_eq!(text(&empty), "{}");
    }
    let mut info = BackupInfo { collection_backups: vec![Default::default()], ..Default::default() };
    info.collection_backups[0].partition_backups = vec![Default::default()];
    info.collection_backups[0].partition_backups[0].segment_backups = vec![Default::default()];
    info.collection_backups[0].partition_backups[0].segment_backups[0].deltalogs =
        vec![FieldBinlog::default(), FieldBinlog { field_id: 0, binlogs: vec![Default::default()] }];
    let [.., (_, full)] = encode_meta(&info).unwrap();
    assert_eq!(
        text(&full),
        concat!(
            r#"{"state_code":0,"collection_backups":[{"partition_backups":[{"segment_backups":"#,
            r#"[{"deltalogs":[{},{"binlogs":[{"log_size":0}]}],"size":0}],"size":0}],"size":0,"has_index":false}],"size":0}"#
        )
    );
}

#[test]
fn the_level_files_hold_their_own_level_only() {
    let [_, (_, collections), (_, partitions), (_, segments), _] =
        encode_meta(&decode_full(RICH.as_bytes()).unwrap()).unwrap();
    let collections: Value = serde_json::from_slice(&collections).unwrap();
    assert!(collections["infos"][0].get("l0_segments").is_none());
    assert!(collections["infos"][0]["partition_backups"][0].get("segment_backups").is_none());
    assert_eq!(collections["infos"][0]["partition_backups"][0]["partition_name"], "_default");
    let partitions: Value = serde_json::from_slice(&partitions).unwrap();
    assert!(partitions["infos"][0].get("segment_backups").is_none());
    let segments: Value = serde_json::from_slice(&segments).unwrap();
    assert_eq!(segments["infos"].as_array().unwrap().len(), 1, "deletes of all partitions are in the full file only");
}

#[test]
fn old_backups_are_read_with_their_gaps_filled() {
    let old = br#"{"id":"i","state_code":2,"errorMessage":"","start_time":1,"end_time":2,"name":"n","progress":100,
        "backup_timestamp":1690000000000,"collection_backups":[{"state_code":2,"collection_id":1,"collection_name":"c",
        "schema":{"fields":[{"name":"a","default_value_proto":"2\u0007default"},null],"functions":null},
        "backup_timestamp":443020083200000000,"size":1,
        "partition_backups":[{"partition_id":2,"segment_backups":[{"segment_id":3,"deltalogs":[{}],
        "binlogs":[{"fieldID":100,"binlogs":[{"log_path":"files/insert_log/1/2/3/100/77","log_size":1}]}]}]}]}],"size":1}"#;
    let info = decode_full(old).unwrap();
    let collection = &info.collection_backups[0];
    assert_eq!(collection.db_name, "default");
    assert_eq!(collection.schema.fields.len(), 1);
    assert_eq!(collection.schema.fields[0].default_value().unwrap().unwrap(), b"2\x07default");
    assert_eq!(collection.recovery_point().unwrap().to_string(), "2023-07-22T00:58:20Z");
    let segment = &collection.partition_backups[0].segment_backups[0];
    assert_eq!(segment.group(), None);
    assert_eq!(segment.v_channel, "");
    assert_eq!(segment.storage_version, 0);
    assert_eq!(segment.delta_logs().count(), 0);
    let (field, log) = segment.insert_logs().next().unwrap();
    assert_eq!((field, log.id()), (100, Some(77)));
}

#[test]
fn the_recovery_point_is_read_in_seconds_and_in_milliseconds() {
    let mut info = decode_full(RICH.as_bytes()).unwrap();
    let collection = &mut info.collection_backups[0];
    assert_eq!(collection.recovery_point().unwrap().to_string(), "2025-02-04T23:49:57.437Z");
    collection.backup_timestamp = 1_690_000_000 << 18;
    assert_eq!(collection.recovery_point().unwrap().to_string(), "2023-07-22T04:26:40Z");
    collection.backup_timestamp = 0;
    assert_eq!(collection.recovery_point(), None);
}

#[test]
fn default_values_keep_their_bytes() {
    let mut info = decode_full(RICH.as_bytes()).unwrap();
    let field = &mut info.collection_backups[0].schema.fields[0];
    assert_eq!(field.default_value().unwrap().unwrap(), [0x18, 0x07], "base64 wins over the old spelling");
    field.set_default_value(b"2\x07default");
    assert_eq!(field.default_value_base64, "MgdkZWZhdWx0");
    field.default_value_base64 = "*".to_owned();
    assert!(field.default_value().unwrap_err().to_string().contains("field id"));
}

#[test]
fn an_unknown_format_is_refused_and_a_snapshot_is_told_apart() {
    let error = decode_full(br#"{"name":"n","format":"parquet","size":0}"#).unwrap_err();
    assert!(matches!(error, ManifestError::UnknownFormat { .. }), "{error}");
    assert!(error.to_string().contains("\"parquet\""), "{error}");
    let snapshot = decode_full(br#"{"name":"n","format":"snapshot","size":0}"#).unwrap();
    assert_eq!(snapshot.format(), Some(milvus_backup_operator::manifest::BackupFormat::Snapshot));
    assert!(decode_full(br#"{"collection_backups":[{"snapshot_backup":{"total_files":1}}]}"#).is_err());
}

#[test]
fn damaged_metadata_is_named_by_file_and_place() {
    let error = decode_full(&FULL[..FULL.len() - 100]).unwrap_err();
    assert!(error.to_string().starts_with("full_meta.json is damaged"), "{error}");
    let error = decode_full(br#"{"size":"12"}"#).unwrap_err();
    assert!(error.to_string().contains("line 1 column"), "{error}");
}

#[test]
fn no_password_hash_or_key_shows_in_debug_output() {
    let shown = format!("{:?}", decode_full(RICH.as_bytes()).unwrap());
    assert!(shown.contains("bm25") && shown.contains("\"u\""), "{shown}");
    for secret in ["hash", "zone"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
