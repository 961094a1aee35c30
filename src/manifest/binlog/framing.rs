//! Magic number, descriptor and events of a log file.
//!
//! Layout, all little-endian, seen in files of Milvus 2.3.5 and 2.5.27:
//!
//! ```text
//! file        u32 magic 0xfffabc, descriptor event, then insert or delete events to the end of the file
//! event       u64 timestamp, u8 type, i32 length (header included), i32 position of the next event, data
//! descriptor  i64 collection, partition, segment, field; u64 first and last timestamp; i32 data type of the values;
//!             8 bytes of fixed lengths; i32 length of a JSON object; that object
//! insert,     u64 first and last timestamp; a Parquet file
//! delete
//! ```
//!
//! The last event's next position is the file's length (2.3.5) or -1 (2.5.27).

use super::super::layout::LogKind;
use super::{BinlogError, Expected};

const MAGIC: [u8; 4] = [0xbc, 0xfa, 0xff, 0x00];
const HEADER: usize = 17;
const DESCRIPTOR_FIXED: usize = 52 + 8 + 4;
const EVENT_FIXED: usize = 16;

const DESCRIPTOR: u8 = 0;
const INSERT: u8 = 1;
const DELETE: u8 = 2;

/// A log file taken apart; nothing inside the payloads is proven yet.
#[derive(Debug)]
pub(super) struct LogFile<'a> {
    pub(super) collection: i64,
    pub(super) partition: i64,
    pub(super) segment: i64,
    pub(super) field: i64,
    /// `schema.DataType` of the values.
    pub(super) data_type: i32,
    pub(super) kind: LogKind,
    pub(super) events: Vec<Event<'a>>,
}

/// One event with rows.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) timestamp_from: u64,
    pub(super) timestamp_to: u64,
    /// A Parquet file.
    pub(super) payload: &'a [u8],
    /// Where the payload begins in the file.
    pub(super) at: u64,
}

impl<'a> LogFile<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<LogFile<'a>, BinlogError> {
        if bytes.is_empty() {
            return Err(BinlogError::Empty);
        }
        let found = &bytes[..bytes.len().min(MAGIC.len())];
        if found != MAGIC {
            return Err(match MAGIC.starts_with(found) {
                true => truncated("magic number", 0, MAGIC.len(), found.len()),
                false => BinlogError::BadMagic { found: found.to_vec() },
            });
        }
        let mut cursor = Cursor { bytes, at: MAGIC.len() };
        let (kind, mut body) = cursor.event("descriptor")?;
        if kind != DESCRIPTOR {
            return Err(corrupt("descriptor", MAGIC.len(), format!("its type is {kind} instead of {DESCRIPTOR}")));
        }
        let [collection, partition, segment, field] =
            [body.i64("collection id")?, body.i64("partition id")?, body.i64("segment id")?, body.i64("field id")?];
        // Both timestamps; 2.5.27 leaves them zero.
        body.take("descriptor", 16)?;
        let data_type = body.i32("data type")?;
        // Lengths of the fixed parts of each kind of event.
        body.take("descriptor", 8)?;
        let extras_at = body.at;
        let extras_length = body.i32("length of the extra values")?;
        if usize::try_from(extras_length).ok() != Some(body.left()) {
            let cause = format!("they are {extras_length} bytes long, {} are there", body.left());
            return Err(corrupt("extra values", extras_at, cause));
        }
        let extras = body.take("extra values", body.left())?;
        if let Err(error) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(extras) {
            return Err(corrupt("extra values", extras_at, error.to_string()));
        }

        let mut events = Vec::new();
        let mut log_kind = None;
        while cursor.left() > 0 || events.is_empty() {
            let at = cursor.at;
            let (kind, mut body) = cursor.event("event")?;
            let kind = match kind {
                INSERT => LogKind::Insert,
                DELETE => LogKind::Delta,
                other => return Err(corrupt("event", at, format!("its type {other} is neither insert nor delete"))),
            };
            if *log_kind.get_or_insert(kind) != kind {
                return Err(corrupt("event", at, "inserts and deletes in one file".to_owned()));
            }
            events.push(Event {
                timestamp_from: body.u64("first timestamp")?,
                timestamp_to: body.u64("last timestamp")?,
                at: body.at as u64,
                payload: body.take("payload", body.left())?,
            });
        }
        let Some(kind) = log_kind else {
            return Err(truncated("event", cursor.at, HEADER, 0));
        };
        Ok(LogFile { collection, partition, segment, field, data_type, kind, events })
    }

    /// That the file is the one its key says.
    pub(super) fn check(&self, expected: &Expected) -> Result<(), BinlogError> {
        if self.kind != expected.kind {
            let cause = format!("found: {}, by its key: {}", self.kind, expected.kind);
            return Err(corrupt("event", 0, cause));
        }
        let mut ids = vec![
            ("collection", expected.collection, self.collection),
            ("partition", expected.partition, self.partition),
            ("segment", expected.segment, self.segment),
        ];
        if let Some(field) = expected.field {
            ids.push(("field", field, self.field));
        }
        match ids.into_iter().find(|(_, expected, found)| expected != found) {
            Some((what, expected, found)) => Err(BinlogError::WrongIds { what, expected, found }),
            None => Ok(()),
        }
    }
}

/// A bounds-checked reader; `bytes` begins at the file's first byte so that positions are those of the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, what: &'static str, length: usize) -> Result<&'a [u8], BinlogError> {
        match self.bytes[self.at..].get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(truncated(what, self.at, length, self.left())),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], BinlogError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(what, N)?);
        Ok(array)
    }

    fn i32(&mut self, what: &'static str) -> Result<i32, BinlogError> {
        self.array(what).map(i32::from_le_bytes)
    }

    fn i64(&mut self, what: &'static str) -> Result<i64, BinlogError> {
        self.array(what).map(i64::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, BinlogError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Steps over one event and answers its type and a reader of its data.
    fn event(&mut self, what: &'static str) -> Result<(u8, Cursor<'a>), BinlogError> {
        let at = self.at;
        self.u64(what)?;
        let [kind] = self.array(what)?;
        let (length, next) = (self.i32(what)?, self.i32(what)?);
        let fixed = HEADER + if kind == DESCRIPTOR { DESCRIPTOR_FIXED } else { EVENT_FIXED };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length >= fixed) else {
            return Err(corrupt(what, at, format!("its length is {length}")));
        };
        self.take(what, length - HEADER)?;
        let is_last = self.left() == 0;
        let agrees = usize::try_from(next).is_ok_and(|next| next == self.at) || (next == -1 && is_last);
        if !agrees {
            return Err(corrupt(what, at, format!("it ends at {}, but says the next one is at {next}", self.at)));
        }
        Ok((kind, Cursor { bytes: &self.bytes[..self.at], at: at + HEADER }))
    }
}

fn truncated(what: &'static str, at: usize, needed: usize, left: usize) -> BinlogError {
    BinlogError::Truncated { what, at: at as u64, needed: needed as u64, left: left as u64 }
}

fn corrupt(what: &'static str, at: usize, cause: String) -> BinlogError {
    BinlogError::Corrupt { what, at: at as u64, cause }
}
