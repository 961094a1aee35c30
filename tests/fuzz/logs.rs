//! Log files: events, the Parquet files in them, and the values in those.

use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use milvus_backup_operator::manifest::binlog::{
    BinlogError, Expected, deletes, group_fields, group_keys, group_series, group_timestamps, inspect,
    inspect_column_group, primary_keys, series, timestamps,
};
use milvus_backup_operator::manifest::layout::{LogKey, parse_log_path};

use super::harness::{Memory, Target, alone, explore};
use super::mutate::{self, Dice, varint};

/// A file of a real server with the ids of its path.
pub struct Golden {
    pub key: LogKey,
    pub bytes: Vec<u8>,
}

/// Files of real servers up to this size.
pub fn golden(most: usize) -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (mut files, mut open) =
        (Vec::new(), ["milvus-2.3.5", "milvus-2.5.27"].map(|version| root.join(version)).to_vec());
    while let Some(folder) = open.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let ids: PathBuf = path.strip_prefix(&root).unwrap().components().skip(1).collect();
            let ids = ids.to_str().unwrap();
            let key = LogKey::parse_in_milvus("", ids).or_else(|| Some(parse_log_path(&format!("binlogs/{ids}"))?.0));
            let bytes = std::fs::read(&path).unwrap();
            if bytes.len() <= most {
                files.push(Golden { key: key.unwrap(), bytes });
            }
        }
    }
    assert!(files.len() > 5);
    files
}

fn seeds() -> Vec<Vec<u8>> {
    golden(6000).into_iter().map(|file| file.bytes).collect()
}

/// Where the second event of a log file begins: its first one with rows.
fn second_event(file: &[u8]) -> usize {
    4 + i32::from_le_bytes(file[13..17].try_into().unwrap()) as usize
}

/// Bytes of an event before its Parquet file.
const EVENT_HEAD: usize = 17 + 16;

fn payload(file: &[u8]) -> Vec<u8> {
    file[second_event(file) + EVENT_HEAD..].to_vec()
}

/// The log file with another Parquet file in it, and lengths that fit.
fn wrapped(file: &[u8], payload: &[u8]) -> Vec<u8> {
    let at = second_event(file);
    let mut bytes = [&file[..at + EVENT_HEAD], payload].concat();
    let (length, end) = ((bytes.len() - at) as i32, bytes.len() as i32);
    bytes[at + 9..at + 13].copy_from_slice(&length.to_le_bytes());
    bytes[at + 13..at + 17].copy_from_slice(&end.to_le_bytes());
    bytes
}

/// Damages events, or only the Parquet file in them.
fn damage(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    if dice.one_in(3) {
        return mutate::bytes(dice, seeds);
    }
    let file = dice.pick(seeds).clone();
    let payloads = [payload(&file)];
    wrapped(&file, &mutate::bytes(dice, &payloads))
}

/// That what two readers say of one file fits together. `whole` counts its rows.
fn agree<T>(whole: &Result<u64, BinlogError>, values: Result<Vec<T>, BinlogError>) -> Result<(), String> {
    match (whole, values) {
        (Ok(rows), Ok(values)) if *rows != values.len() as u64 => {
            Err(format!("{rows} rows with {} values", values.len()))
        }
        _ => Ok(()),
    }
}

/// Unpacked values follow from counts that are checked against each other; a page and its values come on top.
const OF_LOGS: Memory = Memory { fixed: 64 << 20, per_byte: 256 };

#[test]
fn a_log_file_is_read_or_refused() {
    let expected: Vec<Expected> = golden(6000).iter().map(|file| Expected::from(&file.key)).collect();
    explore(Target { name: "log_files", seeds: seeds(), damage, memory: OF_LOGS }, move |bytes| {
        let mut whole = Err(BinlogError::Empty);
        for expected in &expected {
            whole = inspect(bytes, expected).map(|found| found.rows);
            if whole.is_ok() {
                break;
            }
        }
        agree(&whole, primary_keys(bytes))?;
        agree(&whole, timestamps(bytes))?;
        for expected in &expected {
            agree(&whole, series(bytes, expected, 5).map(|series| vec![(); series.len()]))?;
        }
        agree(&whole, deletes(bytes))
    });
}

/// Types that are not known are believed.
const ANY_TYPE: i32 = 0;

#[test]
fn a_file_of_column_groups_is_read_or_refused() {
    let seeds = seeds().iter().map(|file| payload(file)).collect();
    explore(Target { name: "column_groups", seeds, damage: mutate::bytes, memory: OF_LOGS }, |bytes| {
        let whole = inspect_column_group(bytes);
        for field in group_fields(bytes).unwrap_or_default().into_iter().take(3) {
            agree(&whole, group_keys(bytes, field))?;
            for (_, series) in group_series(bytes, &[(field, ANY_TYPE)]).unwrap_or_default() {
                agree(&whole, Ok(vec![(); series.len()]))?;
            }
        }
        agree(&whole, group_timestamps(bytes))
    });
}

/// The compact encoding of Thrift, with fields in ascending order of their ids.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

const NUMBER: u8 = 6;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

impl Thrift {
    fn field(mut self, id: u8, kind: u8, value: &[u8]) -> Thrift {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
        self.bytes.extend(value);
        self
    }

    fn number(self, id: u8, number: u64) -> Thrift {
        self.field(id, NUMBER, &varint(number << 1))
    }

    fn structure(self, id: u8, inner: Thrift) -> Thrift {
        self.field(id, STRUCT, &inner.end())
    }

    fn list(self, id: u8, count: usize, elements: &[u8]) -> Thrift {
        self.field(id, LIST, &[&[0xf0 | STRUCT], varint(count as u64).as_slice(), elements].concat())
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A root with one column of 64-bit numbers.
fn schema(footer: Thrift) -> Thrift {
    let root = Thrift::default().number(5, 1).end();
    footer.list(2, 2, &[root, Thrift::default().number(1, 2).end()].concat())
}

/// A row group of so many rows whose one column is `size` bytes from byte 4 on.
fn row_group(rows: u64, size: usize) -> Vec<u8> {
    let meta = Thrift::default().number(1, 2).number(4, 6).number(5, rows).number(7, size as u64).number(9, 4);
    let chunk = Thrift::default().structure(3, meta).end();
    Thrift::default().list(1, 1, &chunk).number(3, rows).end()
}

fn parquet(pages: &[u8], footer: Thrift) -> Bytes {
    let footer = footer.end();
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", pages, footer.as_slice(), &length, b"PAR1"].concat().into()
}

/// A page without values that says it unpacks to `unpacked` bytes.
fn page(unpacked: u64, body: &[u8]) -> Vec<u8> {
    let values = Thrift::default().number(1, 0);
    let head = Thrift::default().number(1, 0).number(2, unpacked).number(3, body.len() as u64);
    [head.structure(5, values).end(), body.to_vec()].concat()
}

fn refused(file: &Bytes, words: &str) {
    let (error, peak) = alone(|| inspect_column_group(file).unwrap_err());
    assert!(error.to_string().contains(words), "{error}");
    assert!(peak < (8 << 20) + 4 * file.len(), "{} bytes made it take {peak}", file.len());
}

#[test]
fn a_file_made_by_hand_is_whole() {
    let pages = page(0, &[]).repeat(3);
    let footer = schema(Thrift::default()).number(3, 0).list(4, 1, &row_group(0, pages.len()));
    assert_eq!(inspect_column_group(&parquet(&pages, footer)), Ok(0));
}

#[test]
fn many_row_groups_that_name_the_same_pages_are_refused_before_any_is_read() {
    let pages = page(0, &[]).repeat(50_000);
    let footer = schema(Thrift::default()).number(3, 0);
    let file = parquet(&pages, footer.list(4, 20_000, &row_group(0, pages.len()).repeat(20_000)));
    refused(&file, "some of them overlap");
}

#[test]
fn a_footer_of_empty_elements_is_refused_without_room_for_them() {
    let file = parquet(&[], Thrift::default().list(2, 2 << 20, &vec![0; 2 << 20]));
    refused(&file, "more than 16384 elements");
}

#[test]
fn a_column_of_empty_pages_is_refused_without_room_for_them() {
    let pages = page(0, &[]).repeat(1 << 19);
    let footer = schema(Thrift::default()).number(3, 0).list(4, 1, &row_group(0, pages.len()));
    let (error, peak) = alone(|| inspect_column_group(&parquet(&pages, footer)).unwrap_err());
    assert!(error.to_string().contains("more than 262144 pages"), "{error}");
    assert!(peak < 100 << 20, "{peak}");
}

#[test]
fn a_file_that_unpacks_without_end_is_refused_before_anything_is_unpacked() {
    let zeros = zstd::encode_all(std::io::repeat(0).take(1 << 20), 3).unwrap();
    let pages = page(256 << 20, &zeros).repeat(129);
    let footer = schema(Thrift::default()).number(3, 0).list(4, 1, &row_group(0, pages.len()));
    refused(&parquet(&pages, footer), "the file unpacks to more than 34359738368 bytes");
}
