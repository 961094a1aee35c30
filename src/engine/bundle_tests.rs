use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::engine::proof;
use crate::engine::reader::Reader;
use crate::engine::task::Limits;
use crate::manifest::backup_info::SnapshotBackup;
use crate::manifest::layout::OperatorFile;
use crate::manifest::objects::encode_objects;
use crate::manifest::operator_manifest::digest;
use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, ObjectRecord, SegmentBackupInfo, encode_meta};
use crate::storage::Store;
use crate::storage::memory::{MemoryService, MemoryStore};

const METADATA: &str = "bundle/snapshots/7/metadata/1.json";
const FILE: &str = "bundle/files/insert_log/7/8/9/0/10";

/// A bundle of two files; without records it is one of the Go tool.
struct Bundle {
    store: MemoryStore,
    artifact: Artifact,
    info: BackupInfo,
    ours: bool,
}

async fn bundle(ours: bool) -> Bundle {
    let store = MemoryService::new("s").bucket("b");
    let artifact = Artifact::at(Arc::new(store.clone()), "p", "nightly").unwrap();
    let mut records = Vec::new();
    for (path, body) in [(METADATA, "{}"), (FILE, "rows")] {
        let etag = store.put(&artifact.keys.key(path), body.into()).await.unwrap();
        records.push(ObjectRecord { key: path.into(), size: body.len() as u64, etag, ..ObjectRecord::default() });
    }
    let snapshot = SnapshotBackup { metadata_path: METADATA.into(), ..SnapshotBackup::default() };
    let collection = CollectionBackupInfo {
        collection_id: 7,
        db_name: "default".into(),
        snapshot_backup: Some(snapshot),
        ..CollectionBackupInfo::default()
    };
    let info = BackupInfo { format: "snapshot".into(), collection_backups: vec![collection], ..BackupInfo::default() };
    if ours {
        let body = encode_objects(&records).unwrap();
        store.put(&artifact.keys.operator(OperatorFile::Objects), body.into()).await.unwrap();
    }
    Bundle { store, artifact, info, ours }
}

impl Bundle {
    /// What a proof for the collections says is wrong.
    async fn proven(&self, collections: &[i64]) -> Option<String> {
        let [.., (_, full)] = encode_meta(&self.info).unwrap();
        self.store.put(&self.artifact.keys.key("meta/full_meta.json"), full.clone().into()).await.unwrap();
        if self.ours {
            let objects = self.store.get(&self.artifact.keys.operator(OperatorFile::Objects)).await.unwrap();
            let manifest = serde_json::json!({
                "formatVersion": 1, "artifact": "nightly", "engineVersion": "", "milvusVersion": "",
                "created": "2026-11-21T08:00:00Z", "source": {}, "fullMetaSha256": digest(&full),
                "objectsSha256": digest(&objects),
                "totals": {"objects": 2, "bytes": 6, "rows": 0, "collections": 1, "databases": 0},
            });
            let key = self.artifact.keys.operator(OperatorFile::Manifest);
            self.store.put(&key, manifest.to_string().into()).await.unwrap();
        }
        let contents = self.artifact.read().await.unwrap();
        let logs = Inventory::of(&contents.info.collection_backups);
        let compared = proof::compare(&self.artifact, &contents, &logs).await.unwrap();
        let wanted: HashSet<i64> = collections.iter().copied().collect();
        let reader = Reader::new(&Limits::default());
        let proven = compared.prove(&self.artifact, &contents, &logs, &wanted, &reader).await;
        proven.err().map(|error| error.to_string())
    }

    async fn put(&self, path: &str, body: &'static str) {
        self.store.put(&self.artifact.keys.key(path), body.into()).await.unwrap();
    }

    async fn lose(&self, path: &str) {
        self.store.delete(&[self.artifact.keys.key(path)]).await.unwrap();
    }
}

#[tokio::test]
async fn a_bundle_is_whole_whatever_else_lies_beside_it() {
    for ours in [true, false] {
        let bundle = bundle(ours).await;
        bundle.put("bundle/files/other", "x").await;
        assert_eq!(bundle.proven(&[7]).await, None);
    }
}

#[tokio::test]
async fn a_file_that_was_lost_or_changed_is_named_once() {
    let whole = bundle(true).await;
    whole.put(FILE, "rowz").await;
    assert!(
        whole
            .proven(&[7])
            .await
            .unwrap()
            .ends_with(&format!("{FILE} was replaced: its content is not what was backed up"))
    );
    whole.put(FILE, "row").await;
    assert!(whole.proven(&[7]).await.unwrap().ends_with(&format!(": {FILE} has 3 bytes instead of 4")));
    assert_eq!(whole.proven(&[]).await, None, "nothing is wanted of it");
    whole.lose(FILE).await;
    assert!(whole.proven(&[7]).await.unwrap().ends_with(&format!(": {FILE} is missing")));
    whole.put(FILE, "rows").await;
    whole.lose(METADATA).await;
    assert!(whole.proven(&[7]).await.unwrap().ends_with(&format!("restored: {METADATA} is missing")));
}

#[tokio::test]
async fn a_bundle_of_the_go_tool_needs_the_metadata_of_what_is_wanted() {
    let bundle = bundle(false).await;
    bundle.lose(METADATA).await;
    assert!(bundle.proven(&[7]).await.unwrap().ends_with(&format!("restored: {METADATA} is missing")));
    assert_eq!(bundle.proven(&[6]).await, None);
}

#[tokio::test]
async fn log_files_in_a_backup_of_snapshots_are_not_believed() {
    let mut bundle = bundle(false).await;
    let logs = vec![Binlog { log_id: 4, log_size: 1, ..Binlog::default() }];
    let segment = SegmentBackupInfo {
        segment_id: 3,
        collection_id: 7,
        partition_id: 2,
        binlogs: vec![FieldBinlog { field_id: 100, binlogs: logs }],
        ..SegmentBackupInfo::default()
    };
    bundle.info.collection_backups[0].l0_segments = vec![segment];
    let said = bundle.proven(&[7]).await.unwrap();
    assert!(said.ends_with("binlogs/insert_log/7/2/3/100/4 is no part of a snapshot"), "{said}");
}
