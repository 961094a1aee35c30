//! Deletes, and which rows they leave.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::BinlogError;
use super::column;
use super::parquet_file::ParquetFile;
use super::values::Values;

/// A primary key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Int64.
    Int(i64),
    /// VarChar.
    Text(String),
}

/// One delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The key deleted.
    pub key: Key,
    /// Hybrid timestamp of the delete.
    pub timestamp: u64,
}

/// The latest delete of each key.
///
/// A delete takes the rows of its key that are older than itself. One of the same timestamp is the other half of an
/// upsert and leaves the row it brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletes(HashMap<Key, u64>);

impl Deletes {
    /// Whether a row of this key, inserted at this hybrid timestamp, is taken away.
    pub fn take(&self, key: &Key, timestamp: u64) -> bool {
        self.0.get(key).is_some_and(|&deleted| timestamp < deleted)
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of others.
    pub fn merge(&mut self, others: Deletes) {
        for (key, timestamp) in others.0 {
            self.add(Delete { key, timestamp });
        }
    }

    fn add(&mut self, Delete { key, timestamp }: Delete) {
        let latest = self.0.entry(key).or_default();
        *latest = timestamp.max(*latest);
    }
}

impl Extend<Delete> for Deletes {
    fn extend<D: IntoIterator<Item = Delete>>(&mut self, deletes: D) {
        deletes.into_iter().for_each(|delete| self.add(delete));
    }
}

impl FromIterator<Delete> for Deletes {
    fn from_iter<D: IntoIterator<Item = Delete>>(deletes: D) -> Deletes {
        let mut all = Deletes::default();
        all.extend(deletes);
        all
    }
}

/// Rows that no delete took away: `rows` are keys with the timestamps they were inserted at.
pub fn live_rows<R, D>(rows: R, deletes: D) -> u64
where
    R: IntoIterator<Item = (Key, u64)>,
    D: IntoIterator<Item = Delete>,
{
    let deletes = Deletes::from_iter(deletes);
    rows.into_iter().filter(|(key, timestamp)| !deletes.take(key, *timestamp)).count() as u64
}

/// A delete as most versions write it: one JSON text for each.
#[derive(Deserialize)]
struct JsonDelete {
    pk: Value,
    ts: u64,
}

/// The deletes of one payload: a column of JSON texts, or (an option of 2.4 and later) a column of keys and one of
/// timestamps.
pub(super) fn of_payload(file: &ParquetFile<'_>) -> Result<Vec<Delete>, BinlogError> {
    match file.columns.len() {
        1 => match column::column(file, 0)? {
            Values::Texts(texts) => {
                texts.iter().map(of_text).collect::<Result<_, _>>().map_err(|cause| damaged(file.base, cause))
            }
            _ => Err(damaged(file.base, "no texts where texts should be".to_owned())),
        },
        2 => {
            let keys = keys(column::column(file, 0)?, file.base)?;
            let timestamps = timestamps(column::column(file, 1)?, file.base)?;
            Ok(keys.into_iter().zip(timestamps).map(|(key, timestamp)| Delete { key, timestamp }).collect())
        }
        other => Err(BinlogError::Unsupported { what: format!("deletes in {other} columns") }),
    }
}

/// `{"pk":1,"ts":2,"pkType":5}`, or `1,2` as versions before 2.1 wrote.
fn of_text(text: &[u8]) -> Result<Delete, String> {
    if !text.starts_with(b"{") {
        let parts = std::str::from_utf8(text).ok().and_then(|text| text.split_once(','));
        let parsed = parts.and_then(|(key, timestamp)| Some((key.parse().ok()?, timestamp.parse().ok()?)));
        let (key, timestamp) = parsed.ok_or_else(|| "a delete is neither JSON nor a pair of numbers".to_owned())?;
        return Ok(Delete { key: Key::Int(key), timestamp });
    }
    let JsonDelete { pk, ts } =
        serde_json::from_slice(text).map_err(|error| format!("a delete is no JSON: {error}"))?;
    let key = match pk {
        Value::String(text) => Key::Text(text),
        Value::Number(number) => Key::Int(number.as_i64().ok_or_else(|| format!("a key is {number}"))?),
        _ => return Err("a key is neither number nor text".to_owned()),
    };
    Ok(Delete { key, timestamp: ts })
}

pub(super) fn keys(values: Values, at: u64) -> Result<Vec<Key>, BinlogError> {
    let text = |text: &[u8]| match String::from_utf8(text.to_vec()) {
        Ok(text) => Ok(Key::Text(text)),
        Err(_) => Err(damaged(at, "a key is no UTF-8".to_owned())),
    };
    match values {
        Values::Integers(keys) => Ok(keys.into_iter().map(Key::Int).collect()),
        Values::Texts(texts) => texts.iter().map(text).collect(),
        _ => Err(damaged(at, "keys are neither numbers nor texts".to_owned())),
    }
}

pub(super) fn timestamps(values: Values, at: u64) -> Result<Vec<u64>, BinlogError> {
    let Values::Integers(values) = values else {
        return Err(damaged(at, "timestamps are no numbers".to_owned()));
    };
    Ok(values.into_iter().map(i64::cast_unsigned).collect())
}

fn damaged(at: u64, cause: String) -> BinlogError {
    BinlogError::Corrupt { what: "column", at, cause }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delete(key: Key, timestamp: u64) -> Delete {
        Delete { key, timestamp }
    }

    #[test]
    fn a_delete_takes_older_rows_of_its_key_and_leaves_newer_and_equal_ones() {
        let row = |key, timestamp| (Key::Int(key), timestamp);
        let deletes = [delete(Key::Int(1), 10), delete(Key::Int(1), 5), delete(Key::Text("2".to_owned()), 99)];
        assert_eq!(live_rows([row(1, 9)], deletes.clone()), 0);
        assert_eq!(live_rows([row(1, 10), row(1, 11), row(2, 1), row(1, 4)], deletes), 3);
        assert_eq!(live_rows([row(1, 0)], []), 1);
    }

    #[test]
    fn deletes_are_read_in_every_spelling() {
        let read = |text: &str| of_text(text.as_bytes());
        let big = i64::MAX;
        assert_eq!(
            read(&format!(r#"{{"pk":{big},"ts":470614402763587586,"pkType":5}}"#)),
            Ok(delete(Key::Int(big), 470_614_402_763_587_586))
        );
        assert_eq!(read(r#"{"pk":"k\u003c1","ts":7,"pkType":21}"#), Ok(delete(Key::Text("k<1".to_owned()), 7)));
        assert_eq!(read("-3,7"), Ok(delete(Key::Int(-3), 7)));
        for wrong in ["", "{", "{}", "1", "1,x", r#"{"pk":1.5,"ts":1}"#, r#"{"pk":null,"ts":1}"#, r#"{"pk":1,"ts":-1}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    /// Few keys and few moments, so that they meet.
    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![(0_i64..4).prop_map(Key::Int), "[ab]{0,1}".prop_map(Key::Text)]
    }

    proptest! {
        #[test]
        fn a_row_stays_exactly_where_no_delete_of_its_key_is_newer(
            rows in proptest::collection::vec((key(), 0_u64..6), 0..12),
            deletes in proptest::collection::vec((key(), 0_u64..6), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let deletes: Vec<Delete> = deletes.into_iter().map(|(key, timestamp)| delete(key, timestamp)).collect();
            let stays = |(key, timestamp): &(Key, u64)| {
                deletes.iter().all(|delete| delete.key != *key || delete.timestamp <= *timestamp)
            };
            let expected: Vec<&(Key, u64)> = rows.iter().filter(|row| stays(row)).collect();
            // In whatever order and from however many logs they come.
            let (early, late) = deletes.split_at(cut.index(deletes.len() + 1));
            let mut all: Deletes = late.iter().rev().cloned().collect();
            all.merge(early.iter().cloned().collect());
            let kept: Vec<&(Key, u64)> = rows.iter().filter(|(key, timestamp)| !all.take(key, *timestamp)).collect();
            prop_assert_eq!(&kept, &expected);
            prop_assert_eq!(live_rows(rows.clone(), deletes), expected.len() as u64);
        }
    }
}
