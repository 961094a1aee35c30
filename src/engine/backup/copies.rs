//! The copies of a backup: each is spelled out when it begins, and compared with what is listed in the artifact.

use crate::engine::artifact::Artifact;
use crate::engine::copy::{Copy, alike};
use crate::engine::error::EngineError;
use crate::engine::inventory::{Inventory, Named};
use crate::engine::tags;
use crate::storage::{ObjectMeta, Store, Tag};

/// What is to be copied from where to where.
#[derive(Debug, Clone, Copy)]
pub struct Copies<'c> {
    /// Milvus' bucket.
    pub source: &'c dyn Store,
    /// Milvus' rootPath in it.
    pub root_path: &'c str,
    /// Where they go.
    pub artifact: &'c Artifact,
    /// All of them.
    pub logs: &'c Inventory<'c>,
    /// Tags of the sources, by place.
    pub tags: &'c [Tag],
}

/// What a listing of the artifact says of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Not,
    /// It is not the object in the source.
    Different,
    /// It has the size and another digest, if digests they are: see [`Copies::settle`].
    Doubted,
    /// It is the object in the source.
    Same,
}

impl Copies<'_> {
    /// One of them as it begins.
    pub fn copy(&self, log: &Named) -> Copy {
        let (key, etag) = (log.key.in_milvus(self.root_path), self.tags[log.place].to_string());
        Copy { source: ObjectMeta { key, size: log.size, etag }, to: self.artifact.keys.log(&log.key, log.group) }
    }

    /// None of them seen yet, by place.
    pub fn unseen(&self) -> Vec<Seen> {
        vec![Seen::Not; self.logs.places()]
    }

    /// Compares one with the object that is listed under its key.
    pub fn compare(&self, log: &Named, listed: &ObjectMeta) -> Seen {
        let etag = self.tags[log.place].to_string();
        match (log.size == listed.size, alike((log.size, &etag), (listed.size, &listed.etag))) {
            (true, true) => Seen::Same,
            (true, false) => Seen::Doubted,
            (false, _) => Seen::Different,
        }
    }

    /// Decides on those that are doubted, by reading a few of them: their tags may be no digests.
    ///
    /// # Errors
    /// The stores'.
    pub async fn settle(&self, seen: &mut [Seen]) -> Result<(), EngineError> {
        let mut smallest: Vec<Copy> = Vec::new();
        for log in self.logs.logs().filter(|log| seen[log.place] == Seen::Doubted) {
            if smallest.len() < tags::SAMPLE || smallest.last().is_some_and(|last| log.size < last.source.size) {
                let at = smallest.partition_point(|copy| copy.source.size <= log.size);
                smallest.insert(at, self.copy(&log));
                smallest.truncate(tags::SAMPLE);
            }
        }
        let sample: Vec<&Copy> = smallest.iter().collect();
        let same = tags::are_no_digests(self.source, self.artifact.store(), &sample).await?;
        for one in seen.iter_mut().filter(|one| **one == Seen::Doubted) {
            *one = if same { Seen::Same } else { Seen::Different };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::backup::there::{There, look};
    use crate::engine::backup::verify;
    use crate::engine::task::VerifyBackup;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, SegmentBackupInfo};
    use crate::storage::ObjectRef;
    use crate::storage::fault::{FaultStore, Verb};
    use crate::storage::memory::{MemoryService, MemoryStore};

    const LOGS: i64 = 9;

    fn collection() -> CollectionBackupInfo {
        let binlog = |log_id| Binlog { log_id, log_size: 10, more: None };
        let segment = SegmentBackupInfo {
            segment_id: 3,
            collection_id: 1,
            partition_id: 2,
            group_id: 3,
            binlogs: vec![FieldBinlog { field_id: 100, binlogs: (1..=LOGS).map(binlog).collect() }],
            ..Default::default()
        };
        let partition = PartitionBackupInfo { partition_id: 2, segment_backups: vec![segment], ..Default::default() };
        CollectionBackupInfo { collection_id: 1, partition_backups: vec![partition], ..Default::default() }
    }

    fn copied(log: i64) -> String {
        format!("p/a/binlogs/insert_log/1/2/3/3/100/{log}")
    }

    /// All copies made but the last; answers the tags of the sources.
    async fn filled(store: &MemoryStore) -> Vec<Tag> {
        let mut tags = Vec::new();
        for log in 1..=LOGS {
            let key = format!("files/insert_log/1/2/3/100/{log}");
            tags.push(Tag::from(store.put(&key, vec![log as u8; 10].into()).await.unwrap().as_str()));
            if log < LOGS {
                store.copy(&ObjectRef { bucket: "b".into(), key, etag: None }, &copied(log)).await.unwrap();
            }
        }
        tags
    }

    /// What is copied already, whether all is proven when the last one is, too, and how often content was read.
    async fn judged(store: &MemoryStore, tags: &[Tag]) -> (Vec<bool>, Result<u64, String>, usize) {
        let watched = Arc::new(FaultStore::watching(Arc::new(store.clone())));
        let artifact = Artifact::at(watched.clone(), "p", "a").unwrap();
        let collections = [collection()];
        let logs = Inventory::of(&collections);
        let copies = Copies { source: watched.as_ref(), root_path: "files", artifact: &artifact, logs: &logs, tags };
        let There { copied: there, strays } = look(&copies).await.unwrap();
        assert!(!strays);
        let reads = watched.count(Verb::GetRange);
        let last = copies.copy(&logs.logs().last().unwrap());
        assert_eq!((last.source.key.as_str(), last.to), ("files/insert_log/1/2/3/100/9", copied(LOGS)));
        store.copy(&ObjectRef { bucket: "b".into(), key: last.source.key, etag: None }, &copied(LOGS)).await.unwrap();
        let verified = verify::artifact(&copies, VerifyBackup::Manifest).await;
        (there, verified.map(|verified| verified.count).map_err(|error| error.to_string()), reads)
    }

    #[tokio::test]
    async fn what_is_there_is_not_copied_again_and_what_differs_is() {
        let store = MemoryService::new("m").bucket("b");
        let tags = filled(&store).await;
        store.put(&copied(4), vec![0; 10].into()).await.unwrap();
        store.put(&copied(5), vec![5; 9].into()).await.unwrap();
        let (there, verified, _) = judged(&store, &tags).await;
        assert_eq!(there, [true, true, true, false, false, true, true, true, false]);
        let said = verified.unwrap_err();
        assert!(said.contains("2 copies") && said.contains(&copied(4)) && said.contains(&copied(5)), "{said}");
    }

    #[tokio::test]
    async fn tags_that_are_no_digests_are_found_out_by_a_few_copies_and_sizes_count_then() {
        let store = MemoryService::new("m").with_opaque_tags().bucket("b");
        let tags = filled(&store).await;
        let (there, verified, reads) = judged(&store, &tags).await;
        assert_eq!(there, [true, true, true, true, true, true, true, true, false]);
        assert_eq!((verified, reads), (Ok(LOGS as u64), 2 * tags::SAMPLE));
        store.put(&copied(1), vec![0; 10].into()).await.unwrap();
        assert_eq!(judged(&store, &tags).await.0, [false; LOGS as usize]);
    }
}
