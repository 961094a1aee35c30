//! Metadata: the Go tool's files, ours, records of tasks, keys.

use bytes::Bytes;
use milvus_backup_operator::compat::records::{Kind, Records, Target as Restored, TaskRecord};
use milvus_backup_operator::manifest::layout::{Artifact, LogKey, log_path, parse_log_path};
use milvus_backup_operator::manifest::objects::{decode_objects, encode_objects};
use milvus_backup_operator::manifest::operator_manifest::{FORMAT_VERSION, Source, Totals, digest};
use milvus_backup_operator::manifest::{
    BackupInfo, ManifestError, ObjectRecord, OperatorManifest, decode_full, encode_meta, join_levels,
};
use milvus_backup_operator::storage::Store;
use milvus_backup_operator::storage::memory::MemoryService;
use serde_json::json;

use super::harness::{Memory, Target, explore};
use super::mutate;

pub const FULL: &[u8] = include_bytes!("../golden/milvus-backup-0.5.16/meta/full_meta.json");
const LEVELS: [&[u8]; 4] = [
    include_bytes!("../golden/milvus-backup-0.5.16/meta/backup_meta.json"),
    include_bytes!("../golden/milvus-backup-0.5.16/meta/collection_meta.json"),
    include_bytes!("../golden/milvus-backup-0.5.16/meta/partition_meta.json"),
    include_bytes!("../golden/milvus-backup-0.5.16/meta/segment_meta.json"),
];

/// JSON has no lengths that could lie: what it takes follows from its bytes. An empty segment, `{},`, takes the most.
const OF_JSON: Memory = Memory { fixed: 4 << 20, per_byte: 1500 };

/// What the golden file lacks: users, delete-only segments, default values, old spellings, nulls.
fn rich() -> Vec<u8> {
    let log = json!({"log_id": 5, "log_size": 10, "log_path": "files/delta_log/1/2/3/5"});
    let l0 = json!({"segment_id": 3, "collection_id": 1, "partition_id": -1, "is_l0": true, "size": 10, "num_of_rows": 2,
        "deltalogs": [{"fieldID": 0, "binlogs": [log]}, {}], "v_channel": "ch_0v0", "storage_version": 2});
    let field = json!({"fieldId": 100, "name": "id", "is_primary_key": true, "data_type": 5, "autoId": true,
        "type_params": [{"key": "dim", "value": "2"}], "default_value_base64": "GAc=", "default_value_proto": "\u{18}\u{7}"});
    json!({
        "id": "u", "name": "rich", "state_code": 0, "size": 20, "milvus_version": "2.6.1", "backup_timestamp": 1_700_000_000_000_u64,
        "rbac_meta": {"users": [{"user": "a", "password": "h", "roles": [{"name": "r"}]}], "roles": [{"name": "r"}, null],
            "grants": [{"role": {"name": "r"}, "object": {"name": "Collection"}, "object_name": "*",
                "grantor": {"user": {"name": "root"}, "privilege": {"name": "Query"}}, "db_name": "*"}],
            "privilege_groups": [{"group_name": "g", "privileges": [{"name": "Query"}]}]},
        "rpc_channel_info": {"name": "rpc", "position": "p"},
        "database_backups": [{"db_name": "d", "db_id": 7, "properties": [{"key": "k", "value": "v"}], "ezk": "x"}],
        "flush_all_msgs_base64": {"ch": "AAAA"},
        "collection_backups": [{"collection_id": 1, "db_name": "", "collection_name": "c", "l0_segments": [l0, null],
            "schema": {"name": "c", "fields": [field], "struct_array_fields": [{"fieldID": 101, "fields": [field]}],
                "functions": [{"name": "f", "type": 1, "input_field_ids": [100], "params": [{"key": "a", "value": "b"}]}]},
            "backup_timestamp": 446_000_000_000_000_000_u64, "channel_checkpoints": {"ch": "CAE="},
            "index_infos": [{"field_name": "v", "index_type": "HNSW", "params": {"M": "8"}}], "has_index": true,
            "partition_backups": [{"partition_id": 2, "collection_id": 1, "partition_name": "p", "segment_backups": [l0]}]}],
    })
    .to_string()
    .into_bytes()
}

fn named(error: &ManifestError, names: &[&str]) -> Result<(), String> {
    let said = error.to_string();
    match names.iter().any(|name| said.contains(name)) {
        true => Ok(()),
        false => Err(format!("the error names nothing: {said}")),
    }
}

/// What every reader of metadata may do with it.
fn use_all(info: &BackupInfo) {
    for collection in &info.collection_backups {
        let _ = (collection.recovery_point(), collection.stored_rows());
        for field in &collection.schema.fields {
            let _ = field.default_value();
        }
    }
    let _ = info.segments().map(|segment| segment.num_of_rows).sum::<i64>();
    let logs =
        info.segments().flat_map(|segment| segment.insert_logs().map(|(_, log)| log).chain(segment.delta_logs()));
    let _ = logs.filter_map(|log| log.id()).count();
}

#[test]
fn full_metadata_is_read_or_refused_by_name_and_written_again_with_the_same_meaning() {
    let seeds = vec![FULL.to_vec(), rich()];
    let target = Target { name: "full_meta", seeds, damage: mutate::json, memory: OF_JSON };
    explore(target, |bytes| match decode_full(bytes) {
        Err(error) => named(&error, &["full_meta.json", "backup ", "collection "]),
        Ok(info) => {
            use_all(&info);
            let files = encode_meta(&info).map_err(|error| error.to_string())?;
            let again = decode_full(&files[4].1).map_err(|error| format!("what was written is refused: {error}"))?;
            if again == info { Ok(()) } else { Err("it means something else when it is written again".to_owned()) }
        }
    });
}

#[test]
fn level_files_are_joined_or_refused_by_name() {
    let seeds = LEVELS.map(<[u8]>::to_vec).to_vec();
    let target = Target { name: "level_meta", seeds, damage: mutate::json, memory: OF_JSON };
    explore(target, |bytes| {
        for damaged in 0..4 {
            let mut files = LEVELS;
            files[damaged] = bytes;
            match join_levels(files[0], files[1], files[2], files[3]) {
                Err(error) => named(&error, &["_meta.json", "backup ", "collection "])?,
                Ok(info) => use_all(&info),
            }
        }
        Ok(())
    });
}

pub fn manifest(objects: &[u8]) -> OperatorManifest {
    OperatorManifest {
        format_version: FORMAT_VERSION,
        artifact: "nightly".to_owned(),
        engine_version: "0.1.0".to_owned(),
        milvus_version: "v2.3.5".to_owned(),
        created: "2026-11-21T08:00:00Z".parse().unwrap(),
        recovery_point: Some("2026-11-21T07:59:58.25Z".parse().unwrap()),
        source: Source { host: "milvus".to_owned(), bucket: "b".to_owned(), root_path: "files".to_owned() },
        full_meta_sha256: digest(FULL),
        objects_sha256: digest(objects),
        totals: Totals { objects: 3, bytes: 42, rows: 7, collections: 1, databases: 1 },
        partial: true,
        failed_collections: vec!["default.docs".to_owned()],
    }
}

#[test]
fn the_manifest_is_read_or_refused_by_name_and_written_again_with_the_same_meaning() {
    let seeds = vec![manifest(b"").encode().unwrap()];
    let target = Target { name: "operator_manifest", seeds, damage: mutate::json, memory: OF_JSON };
    explore(target, |bytes| match OperatorManifest::decode(bytes) {
        Err(error) => named(&error, &["operator/manifest.json"]),
        Ok(read) => {
            let written = read.encode().map_err(|error| error.to_string())?;
            match OperatorManifest::decode(&written) {
                Ok(again) if again == read => Ok(()),
                other => Err(format!("written again it is {other:?}")),
            }
        }
    });
}

fn records() -> Vec<ObjectRecord> {
    let record = |number: u64| ObjectRecord {
        key: format!("binlogs/insert_log/1/2/3/100/{number}"),
        size: number,
        etag: "0123456789abcdef0123456789abcdef".to_owned(),
        source_key: Some(format!("files/insert_log/1/2/3/100/{number}")),
        rows: number.is_multiple_of(2).then_some(number),
    };
    (0..40).map(record).collect()
}

/// Most bytes of the list when unpacked.
const LIST_LIMIT: u64 = 1 << 20;

fn read_list(packed: Bytes) -> Result<(), String> {
    match decode_objects(packed, LIST_LIMIT) {
        Err(error) => named(&error, &["operator/objects.jsonl.zst"]),
        Ok(read) => {
            let written = encode_objects(&read).map_err(|error| error.to_string())?;
            match decode_objects(written.into(), u64::MAX) {
                Ok(again) if again == read => Ok(()),
                other => Err(format!("written again it is {:?}", other.map(|read| read.len()))),
            }
        }
    }
}

/// A line of 30 bytes becomes a record of 100, in a vector that doubles.
const OF_LIST: Memory = Memory { fixed: 16 << 20, per_byte: 16 };

#[test]
fn a_packed_list_of_objects_is_read_or_refused_by_name() {
    let seeds = vec![encode_objects(&records()).unwrap(), encode_objects(&records()[..1]).unwrap()];
    let target = Target { name: "objects_packed", seeds, damage: mutate::bytes, memory: OF_LIST };
    explore(target, |bytes| read_list(bytes.clone()));
}

#[test]
fn a_list_of_objects_is_read_or_refused_by_name_whatever_was_packed() {
    let lines: Vec<u8> =
        records().iter().flat_map(|one| [serde_json::to_vec(one).unwrap(), b"\n".to_vec()].concat()).collect();
    let target = Target { name: "objects_lines", seeds: vec![lines], damage: mutate::bytes, memory: OF_LIST };
    explore(target, |bytes| read_list(zstd::encode_all(bytes.as_ref(), 1).unwrap().into()));
}

#[test]
fn a_key_is_read_or_left_alone_and_has_one_spelling() {
    let seeds = [
        "binlogs/insert_log/1/2/3/100/5",
        "binlogs/insert_log/1/2/3/3/100/5",
        "binlogs/delta_log/470614391994712317/-1/3/5",
        "insert_log/1/2/3/100/5",
        "a/b/delta_log/1/2/3/9223372036854775807",
    ];
    let seeds = seeds.iter().map(|key| key.as_bytes().to_vec()).collect();
    let memory = Memory { fixed: 1 << 20, per_byte: 16 };
    explore(Target { name: "keys", seeds, damage: mutate::bytes, memory }, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Some((key, group)) = parse_log_path(&text)
            && log_path(&key, group) != text
        {
            return Err(format!("{text:?} is spelled {:?}", log_path(&key, group)));
        }
        for root in ["", "a/b", "/a/b/"] {
            if let Some(key) = LogKey::parse_in_milvus(root, &text)
                && key.in_milvus(root) != text
            {
                return Err(format!("{text:?} below {root:?} is spelled {:?}", key.in_milvus(root)));
            }
        }
        let artifact = Artifact::new("a", "b").map_err(|error| error.to_string())?;
        match artifact.relative(&text) {
            Some(rest) if artifact.key(rest) != text => Err(format!("{text:?} is not below {artifact}")),
            _ => Ok(()),
        }
    });
}

#[test]
fn the_record_of_a_task_is_read_or_counts_as_none() {
    let at = "2026-11-21T08:00:00Z".parse().unwrap();
    let mut record = TaskRecord::accepted("id", Kind::Restore, "nightly", at);
    record.targets = vec![Restored { database: "d".to_owned(), collection: "c".to_owned() }];
    let ended = TaskRecord { ended: Some(at), ..TaskRecord::accepted("id", Kind::Create, "nightly", at) };
    let seeds = [record, ended].map(|record| serde_json::to_vec(&record).unwrap()).to_vec();
    let target = Target { name: "task_record", seeds, damage: mutate::json, memory: OF_JSON };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    explore(target, move |bytes| {
        runtime.block_on(async {
            let store = MemoryService::new("m").bucket("b");
            let records = Records::new(&store, "root");
            let good = TaskRecord::accepted("id", Kind::Restore, "nightly", at);
            records.write(&good).await.map_err(|error| format!("{error:?}"))?;
            let listed = store.list_page("", None).await.map_err(|error| error.to_string())?.objects;
            let [object] = listed.as_slice() else { return Err(format!("{listed:?}")) };
            store.put(&object.key, bytes.clone()).await.map_err(|error| error.to_string())?;
            if let Some(found) = records.find("id").await.map_err(|error| format!("{error:?}"))? {
                let _ = (found.as_restore(), found.start_time(), found.end_time());
                let _ = found.judged(at);
            }
            records.sweep(at).await.map(drop).map_err(|error| format!("{error:?}"))
        })
    });
}
