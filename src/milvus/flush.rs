//! Flushing: making rows that are still in memory reach the bucket.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;

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

/// A flush of the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFlush {
    /// Physical channel and the message that went over it, as the server made it.
    pub messages: BTreeMap<String, Vec<u8>>,
    /// Physical channel and the hybrid timestamp everything before which is covered.
    pub ticks: BTreeMap<String, u64>,
    /// Control channel.
    pub control_channel: String,
    /// All physical channels.
    pub channels: Vec<String>,
}

impl Milvus {
    /// Seals what is growing in every collection of the cluster. Servers before 2.6.8 answer no messages, so that nothing
    /// tells when it is done: that is [`MilvusError::Unimplemented`].
    pub async fn flush_all(&self) -> Result<ClusterFlush, MilvusError> {
        let call = Call::server("FlushAll").within(FLUSH_DEADLINE);
        let answer = self
            .session
            .call(call.clone(), wire::FlushAllRequest {}, |mut c, r| async move { c.flush_all(r).await })
            .await?;
        if answer.flush_all_msgs.is_empty() {
            let cause = "its answer has no message for each channel".to_owned();
            return Err(MilvusError::Unimplemented { site: self.session.site(&call), cause });
        }
        let mut ticks = BTreeMap::new();
        for (channel, message) in &answer.flush_all_msgs {
            let tick = tick(message).ok_or_else(|| self.session.malformed(&call, "a message without a time tick"))?;
            ticks.insert(channel.clone(), tick);
        }
        let cluster = answer.cluster_info.unwrap_or_default();
        Ok(ClusterFlush {
            messages: answer.flush_all_msgs,
            ticks,
            control_channel: cluster.cchannel,
            channels: cluster.pchannels,
        })
    }

    /// Whether a flush of the whole cluster is done.
    pub async fn is_all_flushed(&self, flush: &ClusterFlush) -> Result<bool, MilvusError> {
        let call = Call::server("GetFlushAllState");
        let request = wire::GetFlushAllStateRequest { flush_all_tss: flush.ticks.clone(), ..Default::default() };
        let answer = self.session.call(call, request, |mut c, r| async move { c.get_flush_all_state(r).await }).await?;
        Ok(answer.flushed)
    }

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

/// Property `_tt` of a message of the stream: a number in base 36 (milvus-wire.md 2.5).
fn tick(message: &[u8]) -> Option<u64> {
    let message = wire::ImmutableMessage::decode(message).ok()?;
    u64::from_str_radix(message.properties.get("_tt")?, 36).ok()
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
    fn the_tick_of_a_message_is_read_in_base_36() {
        let hybrid = 470_614_402_763_587_586_u64;
        let mut digits = Vec::new();
        let mut rest = hybrid;
        while rest > 0 {
            digits.insert(0, char::from_digit((rest % 36) as u32, 36).unwrap());
            rest /= 36;
        }
        let text: String = digits.into_iter().collect();
        let message = wire::ImmutableMessage { properties: one("_tt", text) };
        assert_eq!(tick(&message.encode_to_vec()), Some(hybrid));
        assert_eq!(tick(&wire::ImmutableMessage::default().encode_to_vec()), None);
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
