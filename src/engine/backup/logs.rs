//! What the listings of a collection say: its objects by segment, a few bytes for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::error::EngineError;
use crate::manifest::layout;
use crate::manifest::{LogKey, LogKind};
use crate::milvus::Segment;
use crate::storage::{Listing, Store, Tag};

/// One object of a segment; its key is made of ids when it is asked for.
#[derive(Debug, Clone)]
pub struct Log {
    /// Field or column group of an insert log, none for a delta log.
    pub field: Option<i64>,
    /// Id of the file.
    pub id: i64,
    /// Bytes, as listed.
    pub size: u64,
    /// As listed.
    pub tag: Tag,
}

impl Log {
    /// Which log.
    pub fn kind(&self) -> LogKind {
        if self.field.is_some() { LogKind::Insert } else { LogKind::Delta }
    }
}

/// The objects of a collection.
#[derive(Debug, Default)]
pub struct Logs {
    /// Its id.
    pub collection: i64,
    /// By segment and partition.
    pub by_segment: BTreeMap<(i64, i64), Vec<Log>>,
}

impl Logs {
    /// What tells the logs of a segment: its id and its partition.
    pub fn place(segment: &Segment) -> (i64, i64) {
        (segment.id, segment.partition_id)
    }

    /// Those of a segment, which are not here then any more.
    pub fn take(&mut self, segment: &Segment) -> Vec<Log> {
        self.by_segment.remove(&Logs::place(segment)).unwrap_or_default()
    }
}

/// The collections that have delta logs, where one page lists all delta logs there are: most have none, and need not be asked
/// for theirs one by one then. No folders are asked for, as a service that overlooks the delimiter would seem to have none.
///
/// # Errors
/// The store's.
pub async fn with_deltas(store: &dyn Store, root_path: &str) -> Result<Option<BTreeSet<i64>>, EngineError> {
    let prefix = layout::milvus_log_prefix(root_path, LogKind::Delta);
    let page = store.list_page(&prefix, None).await?;
    let collection = |key: &str| key.strip_prefix(&prefix)?.split_once('/')?.0.parse().ok();
    let found = page.objects.iter().filter_map(|object| collection(&object.key)).collect();
    Ok(page.next.is_none().then_some(found))
}

/// Lists the objects of these segments and kinds, page by page; those of others are not kept.
///
/// # Errors
/// The store's.
pub async fn of(
    store: &dyn Store,
    root_path: &str,
    collection: i64,
    segments: &BTreeSet<(i64, i64)>,
    kinds: &[LogKind],
) -> Result<Logs, EngineError> {
    let mut by_segment: BTreeMap<(i64, i64), Vec<Log>> = BTreeMap::new();
    for &kind in kinds {
        let mut last = None;
        let mut listing = Listing::new(store, layout::milvus_collection_prefix(root_path, kind, collection));
        while let Some(page) = listing.next().await? {
            for object in page {
                let Some(key) = LogKey::parse_in_milvus(root_path, &object.key) else { continue };
                let place = (key.segment, key.partition);
                if !segments.contains(&place) {
                    continue;
                }
                // Room to grow in is for the segment at hand, not for all.
                if last != Some(place)
                    && let Some(full) = last.and_then(|last| by_segment.get_mut(&last))
                {
                    full.shrink_to_fit();
                }
                last = Some(place);
                let tag = Tag::from(object.etag.as_str());
                by_segment.entry(place).or_default().push(Log {
                    field: key.field,
                    id: key.log,
                    size: object.size,
                    tag,
                });
            }
        }
    }
    // One order whatever the service's is; what it listed twice is one.
    for logs in by_segment.values_mut() {
        logs.sort_unstable_by_key(|log| (log.kind(), log.field, log.id));
        logs.dedup_by_key(|log| (log.field, log.id));
        logs.shrink_to_fit();
    }
    Ok(Logs { collection, by_segment })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::{SegmentLevel, SegmentState};
    use crate::storage::memory::MemoryService;

    fn segment(id: i64) -> Segment {
        Segment {
            id,
            partition_id: 2,
            rows: 5,
            state: SegmentState::Flushed,
            level: SegmentLevel::Legacy,
            sorted: false,
            storage_version: 0,
        }
    }

    #[tokio::test]
    async fn of_a_listing_the_segments_that_are_wanted_are_kept_in_one_order_with_their_tags() {
        let store = MemoryService::new("s").bucket("b");
        let mut tags = BTreeMap::new();
        for key in [
            "insert_log/1/2/7/100/10",
            "insert_log/1/2/7/100/9",
            "insert_log/1/2/7/2/11",
            "insert_log/1/2/8/100/12",
            "insert_log/1/3/7/100/13",
            "insert_log/1/2/9/100/14",
            "insert_log/1/2/7/100/x",
            "delta_log/1/2/7/15",
        ] {
            tags.insert(key, store.put(&format!("files/{key}"), key.into()).await.unwrap());
        }
        let tag = |key| Tag::from(tags[key].as_str());
        let kinds = [LogKind::Insert, LogKind::Delta];
        let mut listed = of(&store, "files", 1, &BTreeSet::from([(7, 2), (8, 2)]), &kinds).await.unwrap();
        let seven: Vec<_> = listed.take(&segment(7)).into_iter().map(|log| (log.field, log.id, log.tag)).collect();
        assert_eq!(
            seven,
            [
                (Some(2), 11, tag("insert_log/1/2/7/2/11")),
                (Some(100), 9, tag("insert_log/1/2/7/100/9")),
                (Some(100), 10, tag("insert_log/1/2/7/100/10")),
                (None, 15, tag("delta_log/1/2/7/15"))
            ]
        );
        assert_eq!(listed.take(&segment(8)).len(), 1);
        assert!(listed.by_segment.is_empty());
    }

    #[tokio::test]
    async fn a_page_with_all_delta_logs_tells_which_collections_have_some() {
        let store = MemoryService::new("s").bucket("b");
        for key in [
            "delta_log/12/2/7/15",
            "delta_log/12/3/8/16",
            "delta_log/9/-1/5/1",
            "delta_log/x/1",
            "insert_log/3/1/1/0/1",
        ] {
            store.put(&format!("files/{key}"), key.into()).await.unwrap();
        }
        assert_eq!(with_deltas(&store, "files").await.unwrap(), Some(BTreeSet::from([9, 12])));
        assert_eq!(with_deltas(&store, "other").await.unwrap(), Some(BTreeSet::new()));
        let inserts = of(&store, "files", 12, &BTreeSet::from([(7, 2)]), &[LogKind::Insert]).await.unwrap();
        assert!(inserts.by_segment.is_empty());
        for log in 0..1000 {
            store.put(&format!("files/delta_log/12/2/7/{}", 100 + log), "d".into()).await.unwrap();
        }
        assert_eq!(with_deltas(&store, "files").await.unwrap(), None, "there are more than fit on a page");
    }
}
