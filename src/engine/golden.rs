//! An artifact of log files that a real Milvus has written, for tests of whoever reads artifacts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::artifact::Artifact;
use super::task::Limits;
use crate::manifest::backup_info::PartitionBackupInfo;
use crate::manifest::{BackupInfo, Binlog, CollectionBackupInfo, FieldBinlog, LogKey, SegmentBackupInfo, encode_meta};
use crate::storage::Store;
use crate::storage::fault::{Call, Fault, FaultStore};
use crate::storage::memory::{MemoryService, MemoryStore};

/// A collection of the golden files with its partition, its segment, and the rows in it.
pub const IDS: [i64; 3] = [470_614_391_995_112_724, 470_614_391_995_112_725, 470_614_391_995_112_732];
pub const ROWS: i64 = 200;

/// An artifact as the Go tool makes it, of files that Milvus has written.
pub struct Golden {
    /// Its bucket.
    pub store: MemoryStore,
    /// Its metadata.
    pub info: BackupInfo,
    /// What happens to requests.
    pub plan: fn(&Call) -> Fault,
    /// What whoever reads it keeps to.
    pub limits: Limits,
}

/// The log files: four of fields, one of deletes.
pub fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/milvus-2.3.5");
    let of = |kind: &str| root.join(format!("{kind}/{}/{}/{}", IDS[0], IDS[1], IDS[2]));
    let list = |folder: PathBuf| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    };
    list(of("insert_log")).into_iter().flat_map(list).chain(list(of("delta_log"))).collect()
}

impl Golden {
    /// Whole, in a bucket of this service.
    pub async fn new(service: MemoryService) -> Golden {
        let store = service.bucket("b");
        let artifact = Artifact::at(Arc::new(store.clone()), "p", "nightly").unwrap();
        let [collection, partition, segment] = IDS;
        let mut backup = SegmentBackupInfo {
            segment_id: segment,
            collection_id: collection,
            partition_id: partition,
            num_of_rows: ROWS,
            ..SegmentBackupInfo::default()
        };
        for path in files() {
            let number =
                |at: usize| path.iter().rev().nth(at).and_then(|part| part.to_str()?.parse::<i64>().ok()).unwrap();
            let is_delta = path.iter().any(|part| part == "delta_log");
            let field = (!is_delta).then(|| number(1));
            let body = std::fs::read(&path).unwrap();
            let binlogs = vec![Binlog { log_id: number(0), log_size: body.len() as i64, more: None }];
            let of = if is_delta { &mut backup.deltalogs } else { &mut backup.binlogs };
            of.push(FieldBinlog { field_id: field.unwrap_or_default(), binlogs });
            let key = LogKey { collection, partition, segment, field, log: number(0) };
            store.put(&artifact.keys.log(&key, None), body.into()).await.unwrap();
        }
        let partition =
            PartitionBackupInfo { partition_id: partition, segment_backups: vec![backup], ..Default::default() };
        let collection = CollectionBackupInfo {
            collection_id: collection,
            db_name: "default".into(),
            collection_name: "texts".into(),
            partition_backups: vec![partition],
            ..CollectionBackupInfo::default()
        };
        let info = BackupInfo { collection_backups: vec![collection], ..BackupInfo::default() };
        Golden { store, info, plan: |_| Fault::Pass, limits: Limits::default() }
    }

    /// Its segment.
    pub fn segment(&mut self) -> &mut SegmentBackupInfo {
        &mut self.info.collection_backups[0].partition_backups[0].segment_backups[0]
    }

    /// Writes the metadata; answers the artifact as it can be read now, and the way to its bucket.
    pub async fn artifact(&self) -> (Artifact, Arc<FaultStore>) {
        for (file, body) in encode_meta(&self.info).unwrap() {
            self.store.put(&format!("p/nightly/meta/{file}"), body.into()).await.unwrap();
        }
        let watched = Arc::new(FaultStore::new(Arc::new(self.store.clone()), self.plan));
        (Artifact::at(watched.clone(), "p", "nightly").unwrap(), watched)
    }
}
