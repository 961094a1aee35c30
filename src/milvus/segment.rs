//! Segments: what a collection consists of in the bucket.

use std::time::Duration;

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError};

/// Large collections have many thousands.
const LIST_DEADLINE: Duration = Duration::from_secs(120);

/// A segment that is sealed or further on; growing and importing ones are not listed by servers.
///
/// Ids are short-lived: compaction replaces segments within seconds of a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Id.
    pub id: i64,
    /// Partition; -1 for a level-0 segment that covers all partitions.
    pub partition_id: i64,
    /// Rows, deleted ones included; 0 in level 0.
    pub rows: i64,
    /// Where it is in its life.
    pub state: SegmentState,
    /// Its level; [`SegmentLevel::Legacy`] on servers before 2.4.7.
    pub level: SegmentLevel,
    /// Rows are in the order of their keys.
    pub sorted: bool,
    /// 0 and 1 are classic binlogs, 2 column groups, 3 manifests.
    pub storage_version: i64,
}

/// Where a segment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// Not told.
    None,
    /// Gone.
    NotExist,
    /// Takes rows.
    Growing,
    /// Takes no rows any more.
    Sealed,
    /// Written.
    Flushed,
    /// Being written.
    Flushing,
    /// Dropped.
    Dropped,
    /// Being imported.
    Importing,
    /// Newer than this client.
    Unknown(i32),
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentLevel {
    /// Rows, from a server without levels.
    Legacy,
    /// Deletes only.
    L0,
    /// Rows.
    L1,
    /// Rows, clustered.
    L2,
    /// Newer than this client.
    Unknown(i32),
}

impl From<i32> for SegmentState {
    fn from(number: i32) -> SegmentState {
        use wire::SegmentState as Wire;
        match Wire::try_from(number) {
            Ok(Wire::None) => SegmentState::None,
            Ok(Wire::NotExist) => SegmentState::NotExist,
            Ok(Wire::Growing) => SegmentState::Growing,
            Ok(Wire::Sealed) => SegmentState::Sealed,
            Ok(Wire::Flushed) => SegmentState::Flushed,
            Ok(Wire::Flushing) => SegmentState::Flushing,
            Ok(Wire::Dropped) => SegmentState::Dropped,
            Ok(Wire::Importing) => SegmentState::Importing,
            Err(_) => SegmentState::Unknown(number),
        }
    }
}

impl From<i32> for SegmentLevel {
    fn from(number: i32) -> SegmentLevel {
        use wire::SegmentLevel as Wire;
        match Wire::try_from(number) {
            Ok(Wire::Legacy) => SegmentLevel::Legacy,
            Ok(Wire::L0) => SegmentLevel::L0,
            Ok(Wire::L1) => SegmentLevel::L1,
            Ok(Wire::L2) => SegmentLevel::L2,
            Err(_) => SegmentLevel::Unknown(number),
        }
    }
}

impl Milvus {
    /// The segments of a collection.
    pub async fn segments(&self, database: &str, collection: &str) -> Result<Vec<Segment>, MilvusError> {
        let call = Call::collection("GetPersistentSegmentInfo", database, collection)
            .within(LIST_DEADLINE)
            .segments_may_vanish();
        let request = wire::GetPersistentSegmentInfoRequest {
            db_name: database.to_owned(),
            collection_name: collection.to_owned(),
        };
        let answer =
            self.session.call(call, request, |mut c, r| async move { c.get_persistent_segment_info(r).await }).await?;
        Ok(answer.infos.into_iter().map(segment).collect())
    }
}

fn segment(info: wire::PersistentSegmentInfo) -> Segment {
    Segment {
        id: info.segment_id,
        partition_id: info.partition_id,
        rows: info.num_rows,
        state: info.state.into(),
        level: info.level.into(),
        sorted: info.is_sorted,
        storage_version: info.storage_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn a_segment_of_a_newer_server_is_read_with_its_unknown_numbers() {
        // 1 id, 3 partition -1, 4 rows, 5 state 9, 6 level 1, 8 storage version 2.
        let mut bytes = vec![0x08, 7, 0x18];
        bytes.extend_from_slice(&[0xff; 9]);
        bytes.extend_from_slice(&[0x01, 0x20, 0, 0x28, 9, 0x30, 1, 0x40, 2]);
        let read = segment(wire::PersistentSegmentInfo::decode(bytes.as_slice()).unwrap());
        assert_eq!(
            read,
            Segment {
                id: 7,
                partition_id: -1,
                rows: 0,
                state: SegmentState::Unknown(9),
                level: SegmentLevel::L0,
                sorted: false,
                storage_version: 2,
            }
        );
    }

    #[test]
    fn a_segment_of_an_old_server_has_no_level() {
        let info = wire::PersistentSegmentInfo { state: 4, num_rows: 10, ..Default::default() };
        let read = segment(info);
        assert_eq!((read.state, read.level, read.rows), (SegmentState::Flushed, SegmentLevel::Legacy, 10));
    }
}
