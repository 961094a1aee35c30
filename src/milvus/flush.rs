//! Flushing: making rows that are still in memory reach the bucket.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError};

/// A flush waits for a time tick of every channel.
const FLUSH_DEADLINE: Duration = Duration::from_secs(60);

/// What a flush answered; handed back to ask whether it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlushTicket {
    /// Segments sealed by this flush, still to be written.
    pub segment_ids: Vec<i64>,
    /// Segments that were written before.
    pub flushed_segment_ids: Vec<i64>,
    /// Hybrid timestamp everything before which is covered; none on servers before 2.3.1.
    pub flush_ts: Option<u64>,
    /// Unix seconds of the sealing.
    pub seal_time_seconds: Option<i64>,
    /// Virtual channel and its position (a serialised [`super::proto::msg::MsgPosition`], kept as the server made it).
    /// Empty on servers before 2.3.15 and 2.4.2.
    pub channel_checkpoints: BTreeMap<String, Vec<u8>>,
}

impl Milvus {
    /// Seals what is growing in a collection. Servers allow one flush per collection in ten seconds by default; a
    /// refusal for that is waited for.
    pub async fn flush(&self, database: &str, collection: &str) -> Result<FlushTicket, MilvusError> {
        let call = Call::collection("Flush", database, collection).within(FLUSH_DEADLINE);
        // One collection a call: with several, the checkpoints are those of the last one only.
        let request =
            wire::FlushRequest { db_name: database.to_owned(), collection_names: vec![collection.to_owned()] };
        let answer = self.session.call(call, request, |mut c, r| async move { c.flush(r).await }).await?;
        Ok(ticket(answer, collection))
    }

    /// Whether a flush is done: its segments are written and every channel is past its timestamp, so deletes are safe
    /// too.
    pub async fn is_flushed(
        &self,
        database: &str,
        collection: &str,
        ticket: &FlushTicket,
    ) -> Result<bool, MilvusError> {
        let call = Call::collection("GetFlushState", database, collection);
        let request = state_request(database, collection, ticket);
        let answer = self.session.call(call, request, |mut c, r| async move { c.get_flush_state(r).await }).await?;
        Ok(answer.flushed)
    }
}

/// The maps of the answer are keyed by the name as it was sent.
fn ticket(mut answer: wire::FlushResponse, collection: &str) -> FlushTicket {
    FlushTicket {
        segment_ids: answer.coll_seg_ids.remove(collection).unwrap_or_default().data,
        flushed_segment_ids: answer.flush_coll_seg_ids.remove(collection).unwrap_or_default().data,
        flush_ts: answer.coll_flush_ts.remove(collection).filter(|ts| *ts != 0),
        seal_time_seconds: answer.coll_seal_times.remove(collection),
        channel_checkpoints: answer.channel_cps,
    }
}

/// With segments only, the answer turns true before deletes are safe; with neither segments nor a collection, at once.
fn state_request(database: &str, collection: &str, ticket: &FlushTicket) -> wire::GetFlushStateRequest {
    wire::GetFlushStateRequest {
        segment_ids: ticket.segment_ids.clone(),
        flush_ts: ticket.flush_ts.unwrap_or_default(),
        db_name: database.to_owned(),
        collection_name: collection.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::msg::MsgPosition;
    use crate::milvus::proto::schema::LongArray;
    use prost::Message as _;

    fn one<V>(key: &str, value: V) -> BTreeMap<String, V> {
        BTreeMap::from([(key.to_owned(), value)])
    }

    #[test]
    fn a_ticket_takes_what_belongs_to_its_collection() {
        let answer = wire::FlushResponse {
            coll_seg_ids: one("c1", LongArray { data: vec![1, 2] }),
            flush_coll_seg_ids: one("c1", LongArray { data: vec![3] }),
            coll_seal_times: one("c1", 1_700_000_000),
            coll_flush_ts: one("c1", 42),
            channel_cps: one("ch_v0", vec![1]),
            ..Default::default()
        };
        let ticket = ticket(answer, "c1");
        assert_eq!(
            (ticket.segment_ids.as_slice(), ticket.flushed_segment_ids.as_slice()),
            ([1, 2].as_slice(), [3].as_slice())
        );
        assert_eq!((ticket.flush_ts, ticket.seal_time_seconds), (Some(42), Some(1_700_000_000)));
        assert_eq!(ticket.channel_checkpoints, one("ch_v0", vec![1]));
    }

    #[test]
    fn an_old_server_gives_no_timestamp() {
        assert_eq!(ticket(wire::FlushResponse::default(), "c1"), FlushTicket::default());
    }

    #[test]
    fn the_state_is_asked_by_segments_timestamp_database_and_collection_without_a_base() {
        let ticket = FlushTicket { segment_ids: vec![5], flush_ts: Some(7), ..FlushTicket::default() };
        let bytes = state_request("d", "c", &ticket).encode_to_vec();
        // 1 packed int64, 2 varint, 3 string, 4 string.
        assert_eq!(bytes, [0x0a, 1, 5, 0x10, 7, 0x1a, 1, b'd', 0x22, 1, b'c']);
    }

    #[test]
    fn a_checkpoint_is_kept_as_the_server_serialised_it() {
        let position =
            MsgPosition { channel_name: "ch_v0".into(), msg_id: vec![9], timestamp: 3, ..Default::default() };
        let mut position = position.encode_to_vec();
        // Field 9, varint 1: nothing we know.
        position.extend_from_slice(&[0x48, 1]);
        // The map entry of field 7 as a server writes it.
        let mut entry = vec![0x0a, 5];
        entry.extend_from_slice(b"ch_v0");
        entry.extend_from_slice(&[0x12, position.len() as u8]);
        entry.extend_from_slice(&position);
        let mut bytes = vec![0x3a, entry.len() as u8];
        bytes.extend_from_slice(&entry);
        let answer = wire::FlushResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(ticket(answer, "c1").channel_checkpoints, one("ch_v0", position));
    }
}
