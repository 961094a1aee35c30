//! What is inside Milvus' log files: proof that a file is whole, and keys, timestamps, deletes, values.
//!
//! A damaged log file kills a Milvus that is asked to import it (real-milvus.md 6), so it has to be found before.
//! Whatever the bytes are, the answer is a value or an error: no panic, and memory bounded by the file's own size and
//! fixed limits.
//!
//! Must never do I/O, and knows nothing of where a file came from but the ids it should carry.
//!
//! - `framing`: magic number, descriptor and events.
//! - `parquet_file`, `thrift`, `pages`: the Parquet file inside an event, walked and unpacked without trust.
//! - `column`, `encodings`: the values of a column, read from its pages.
//! - `values`: what they are in memory.
//! - `deletes`: deletes, and which rows they leave.

use bytes::Bytes;

use super::layout::{LogKey, LogKind};
use crate::exit::Class;

mod column;
mod deletes;
mod encodings;
mod framing;
mod pages;
mod parquet_file;
mod thrift;
mod values;

pub use deletes::{Delete, Deletes, Key, live_rows};
use framing::{Event, LogFile};
use parquet_file::ParquetFile;
pub use values::{Fixed, Series, Texts, Values};

/// What a log file should be, from its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Collection id.
    pub collection: i64,
    /// Partition id, -1 for deletes of all partitions.
    pub partition: i64,
    /// Segment id.
    pub segment: i64,
    /// Field id of an insert log; none for a delta log.
    pub field: Option<i64>,
    /// Which log.
    pub kind: LogKind,
}

impl From<&LogKey> for Expected {
    fn from(key: &LogKey) -> Expected {
        let LogKey { collection, partition, segment, field, log: _ } = *key;
        Expected { collection, partition, segment, field, kind: key.kind() }
    }
}

/// What a whole log file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// Rows, or deletes.
    pub rows: u64,
    /// Earliest hybrid timestamp of its events.
    pub timestamp_from: u64,
    /// Latest hybrid timestamp of its events.
    pub timestamp_to: u64,
}

/// A log file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinlogError {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Not a log file of storage version 1.
    #[error("the file does not begin as a Milvus log file does (found {found:02x?})")]
    BadMagic {
        /// The first bytes.
        found: Vec<u8>,
    },
    /// The file ends too early.
    #[error("the file is cut: {what} at byte {at} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        at: u64,
        /// Bytes needed.
        needed: u64,
        /// Bytes left.
        left: u64,
    },
    /// A whole file, but of something else: objects were swapped.
    #[error("the file belongs to {what} {found}, its key says {expected}")]
    WrongIds {
        /// Which id.
        what: &'static str,
        /// Id in the key.
        expected: i64,
        /// Id in the file.
        found: i64,
    },
    /// The content contradicts itself or its checksum.
    #[error("the file is damaged: {what} at byte {at}: {cause}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// Where it begins in the file.
        at: u64,
        /// What is wrong.
        cause: String,
    },
    /// Sound as far as one can see, but written in a way this version does not read.
    #[error("the file uses {what}, which this version does not read")]
    Unsupported {
        /// What is not read.
        what: String,
    },
}

impl BinlogError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        Class::Data
    }
}

/// Proves a log file whole: ids as in its key, every event complete, every page unpacked and its checksum right, as
/// many values as rows. Never holds more than a piece of an unpacked page.
///
/// Storage version 2 (Milvus 2.6) keeps insert logs as bare Parquet files: those are proven by
/// [`inspect_column_group`], carry no ids and answer zero timestamps.
pub fn inspect(bytes: &Bytes, expected: &Expected) -> Result<Inspection, BinlogError> {
    if expected.kind == LogKind::Insert && bytes.starts_with(parquet_file::MAGIC) {
        return Ok(Inspection { rows: inspect_column_group(bytes)?, timestamp_from: 0, timestamp_to: 0 });
    }
    let file = LogFile::parse(bytes)?;
    file.check(expected)?;
    let mut inspection = Inspection { rows: 0, timestamp_from: u64::MAX, timestamp_to: 0 };
    for event in &file.events {
        let payload = ParquetFile::parse(event.payload, event.at)?;
        check_type(&file, &payload)?;
        inspection.rows = inspection.rows.saturating_add(pages::prove(&payload)?);
        inspection.timestamp_from = inspection.timestamp_from.min(event.timestamp_from);
        inspection.timestamp_to = inspection.timestamp_to.max(event.timestamp_to);
    }
    Ok(inspection)
}

/// Proves a file of storage version 2, a bare Parquet file without ids, and answers its rows.
pub fn inspect_column_group(bytes: &Bytes) -> Result<u64, BinlogError> {
    if bytes.is_empty() {
        return Err(BinlogError::Empty);
    }
    pages::prove(&ParquetFile::parse(bytes, 0)?)
}

/// Fields whose columns are in a file of storage version 2, where the writer noted them.
pub fn group_fields(bytes: &Bytes) -> Result<Vec<i64>, BinlogError> {
    let file = ParquetFile::parse(bytes, 0)?;
    Ok(file.columns.iter().filter_map(|column| column.field).collect())
}

/// The primary keys of a file of storage version 2 that holds field `field`, in row order.
pub fn group_keys(bytes: &Bytes, field: i64) -> Result<Vec<Key>, BinlogError> {
    deletes::keys(group_column(bytes, field)?, 0)
}

/// The hybrid timestamps of a file of storage version 2 that holds field 1, in row order.
pub fn group_timestamps(bytes: &Bytes) -> Result<Vec<u64>, BinlogError> {
    deletes::timestamps(group_column(bytes, 1)?, 0)
}

fn group_column(bytes: &Bytes, field: i64) -> Result<Values, BinlogError> {
    let file = ParquetFile::parse(bytes, 0)?;
    match file.columns.iter().position(|column| column.field == Some(field)) {
        Some(index) => column::column(&file, index),
        None => Err(BinlogError::Unsupported { what: format!("columns among which field {field} cannot be told") }),
    }
}

/// The values of some fields of a file of storage version 2, in row order: those of `wanted` (field ids and their
/// `schema.DataType`) that are in it.
pub fn group_series(bytes: &Bytes, wanted: &[(i64, i32)]) -> Result<Vec<(i64, Series)>, BinlogError> {
    let file = ParquetFile::parse(bytes, 0)?;
    let mut found = Vec::new();
    for (index, column) in file.columns.iter().enumerate() {
        let asked = |(field, _): &&(i64, i32)| column.field == Some(*field);
        let Some((field, data_type)) = wanted.iter().find(asked) else { continue };
        if !parquet_file::stores(*data_type, column.kind) {
            let cause = format!("values of data type {data_type} are stored as Parquet type {}", column.kind);
            return Err(BinlogError::Corrupt { what: "column", at: 0, cause });
        }
        found.push((*field, column::series(&file, index)?));
    }
    Ok(found)
}

/// The primary keys of an insert log of the key field, in row order.
pub fn primary_keys(bytes: &Bytes) -> Result<Vec<Key>, BinlogError> {
    let mut keys = Vec::new();
    for event in insert_events(bytes)? {
        keys.extend(deletes::keys(single_column(&event)?, event.at)?);
    }
    Ok(keys)
}

/// The hybrid timestamps of an insert log of field 1, in row order.
pub fn timestamps(bytes: &Bytes) -> Result<Vec<u64>, BinlogError> {
    let mut timestamps = Vec::new();
    for event in insert_events(bytes)? {
        timestamps.extend(deletes::timestamps(single_column(&event)?, event.at)?);
    }
    Ok(timestamps)
}

/// The values of an insert log, in row order: the log `expected` names, of a field of type `data_type`
/// (`schema.DataType`).
///
/// Each type is stored as Parquet has it, seen in files of 2.3.5 and 2.5.27: JSON and serialised arrays as byte strings, vectors as
/// byte strings of one length. Since 2.4 (Milvus' payload writer): float16 and bfloat16 vectors of two bytes an element, int8
/// vectors of one, sparse vectors as byte strings. Nulls (2.5) are Parquet's own.
pub fn series(bytes: &Bytes, expected: &Expected, data_type: i32) -> Result<Series, BinlogError> {
    let damaged = |cause| BinlogError::Corrupt { what: "column", at: 0, cause };
    if bytes.starts_with(parquet_file::MAGIC) {
        return Err(BinlogError::Unsupported { what: "storage version 2".to_owned() });
    }
    let file = LogFile::parse(bytes)?;
    file.check(expected)?;
    if file.data_type != data_type {
        return Err(damaged(format!("it holds data type {}, the field is of type {data_type}", file.data_type)));
    }
    let mut all: Option<Series> = None;
    for event in &file.events {
        let payload = ParquetFile::parse(event.payload, event.at)?;
        check_type(&file, &payload)?;
        single(&payload, event.at)?;
        let more = column::series(&payload, 0)?;
        match &mut all {
            None => all = Some(more),
            Some(all) => all.append(more).map_err(damaged)?,
        }
    }
    all.ok_or_else(|| damaged("it has no rows".to_owned()))
}

/// The deletes of a delta log.
pub fn deletes(bytes: &Bytes) -> Result<Vec<Delete>, BinlogError> {
    let mut deletes = Vec::new();
    for event in events(bytes, LogKind::Delta)? {
        deletes.extend(deletes::of_payload(&ParquetFile::parse(event.payload, event.at)?)?);
    }
    Ok(deletes)
}

/// That an insert log holds one column of the type its descriptor names.
fn check_type(file: &LogFile<'_>, payload: &ParquetFile<'_>) -> Result<(), BinlogError> {
    match payload.columns.as_slice() {
        [column] if file.kind == LogKind::Insert && !parquet_file::stores(file.data_type, column.kind) => {
            let cause = format!("values of data type {} are stored as Parquet type {}", file.data_type, column.kind);
            Err(BinlogError::Corrupt { what: "column", at: payload.base, cause })
        }
        _ => Ok(()),
    }
}

fn insert_events(bytes: &Bytes) -> Result<Vec<Event<'_>>, BinlogError> {
    events(bytes, LogKind::Insert)
}

fn events(bytes: &Bytes, kind: LogKind) -> Result<Vec<Event<'_>>, BinlogError> {
    let file = LogFile::parse(bytes)?;
    if file.kind == kind {
        return Ok(file.events);
    }
    Err(BinlogError::Corrupt { what: "event", at: 0, cause: format!("found: {}, expected: {kind}", file.kind) })
}

fn single_column(event: &Event<'_>) -> Result<Values, BinlogError> {
    let file = ParquetFile::parse(event.payload, event.at)?;
    single(&file, event.at)?;
    column::column(&file, 0)
}

fn single(file: &ParquetFile<'_>, at: u64) -> Result<(), BinlogError> {
    match file.columns.len() {
        1 => Ok(()),
        others => {
            let cause = format!("{others} columns instead of one");
            Err(BinlogError::Corrupt { what: "column", at, cause })
        }
    }
}
