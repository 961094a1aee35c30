//! Bounds of the server: what one client can take from it, and what all together can.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::errors::Refusal;

/// The bounds, with the values a server starts with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Bodies above this are read into requests a few at a time: a request takes many times the memory of its text.
    pub small_body: usize,
    /// Requests with larger bodies answered at once; further ones wait for [`Limits::queue_time`].
    pub large_requests: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// Largest body that is read to its end and thrown away, so that the client gets to the answer.
    pub discarded: usize,
    /// Connections at once; further ones wait in the system's queue.
    pub connections: usize,
    /// How long the head of a request, or the next request of a connection, may take.
    pub head_time: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time: Duration,
    /// Requests answered at once; further ones wait for [`Limits::queue_time`].
    pub requests: usize,
    /// How long a request waits for its turn.
    pub queue_time: Duration,
    /// How long an answer may take that does not wait for a task.
    pub answer_time: Duration,
    /// How long a deletion may take: it grows with the backup.
    pub delete_time: Duration,
    /// Tasks at once; further ones are refused.
    pub tasks: usize,
    /// Ended tasks kept in memory; all are in the bucket.
    pub ended_tasks: usize,
    /// Collections of ended tasks kept in memory, over all of them.
    pub ended_targets: usize,
    /// How long the end of a stopped task is waited for.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body: 1 << 20,
            small_body: 64 << 10,
            large_requests: 8,
            body_time: Duration::from_secs(30),
            discarded: 256 << 20,
            connections: 1024,
            head_time: Duration::from_secs(60),
            handshake_time: Duration::from_secs(10),
            requests: 64,
            queue_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(120),
            delete_time: Duration::from_secs(3600),
            tasks: 8,
            ended_tasks: 256,
            ended_targets: 20_000,
            stop_time: Duration::from_secs(25),
        }
    }
}

/// Reads a body whole.
///
/// # Errors
/// It is too large, too slow, or breaks off.
pub async fn read_body(limits: &Limits, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let too_large = announced.is_some_and(|length| length > limits.body as u64);
    if too_large && headers.contains_key(header::EXPECT) {
        // The client waits for leave to send; refused now, it never does.
        return Err(Refusal::too_large(limits.body));
    }
    match tokio::time::timeout(limits.body_time, collect(limits, body)).await {
        Ok(outcome) => outcome,
        Err(_) if too_large => Err(Refusal::too_large(limits.body)),
        Err(_) => Err(Refusal::body_not_read(&format!("it did not arrive within {} s", limits.body_time.as_secs()))),
    }
}

/// Keeps at most the limit, and goes on reading for the client's sake.
async fn collect(limits: &Limits, mut body: Body) -> Result<Bytes, Refusal> {
    let mut kept = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::body_not_read("the connection broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen > limits.discarded {
            break;
        }
        if seen <= limits.body {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
    }
    match seen > limits.body {
        true => Err(Refusal::too_large(limits.body)),
        false => Ok(kept.freeze()),
    }
}
