//! Log files written by real Milvus servers: read right, and every damage found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use milvus_backup_operator::manifest::binlog::{
    BinlogError, Delete, Expected, Key, Values, deletes, inspect, live_rows, primary_keys, series, timestamps,
};
use milvus_backup_operator::manifest::layout::{LogKey, LogKind, parse_log_path};
use milvus_backup_operator::milvus::DataType;
use milvus_backup_operator::milvus::proto::schema::ScalarField;
use milvus_backup_operator::milvus::proto::schema::scalar_field::Data;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

/// A golden file with the ids of its path.
struct Golden {
    key: LogKey,
    bytes: Bytes,
}

fn golden(version: &str) -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version);
    let mut files = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let key = LogKey::parse_in_milvus("", relative)
                .or_else(|| parse_log_path(&format!("binlogs/{relative}")).map(|(key, _)| key))
                .unwrap_or_else(|| panic!("{relative} is no log"));
            files.push(Golden { key, bytes: std::fs::read(&path).unwrap().into() });
        }
    }
    files.sort_by_key(|file| file.key);
    assert!(!files.is_empty());
    files
}

fn all_golden() -> Vec<Golden> {
    ["milvus-2.3.5", "milvus-2.5.27"].into_iter().flat_map(golden).collect()
}

/// Keys and timestamps of a segment's rows, of a whole collection.
fn rows(files: &[Golden], collection: i64) -> Vec<(Key, u64)> {
    let of_field = |field| {
        let of = move |file: &&Golden| file.key.collection == collection && file.key.field == Some(field);
        files.iter().filter(of).map(|file| (file.key.segment, file.bytes.clone())).collect::<BTreeMap<_, _>>()
    };
    let stamps = of_field(1);
    let mut rows = Vec::new();
    for (segment, bytes) in of_field(100) {
        let (keys, stamps) = (primary_keys(&bytes).unwrap(), timestamps(&stamps[&segment]).unwrap());
        assert_eq!(keys.len(), stamps.len(), "segment {segment}");
        rows.extend(keys.into_iter().zip(stamps));
    }
    rows
}

fn all_deletes(files: &[Golden], collection: i64) -> Vec<Delete> {
    let of = |file: &&Golden| file.key.collection == collection && file.key.kind() == LogKind::Delta;
    files.iter().filter(of).flat_map(|file| deletes(&file.bytes).unwrap()).collect()
}

#[test]
fn every_file_of_a_real_server_is_whole_and_all_fields_of_a_segment_have_as_many_rows() {
    for version in ["milvus-2.3.5", "milvus-2.5.27"] {
        let mut by_segment: BTreeMap<i64, BTreeSet<u64>> = BTreeMap::new();
        for file in golden(version) {
            let inspection = inspect(&file.bytes, &Expected::from(&file.key))
                .unwrap_or_else(|error| panic!("{version} {:?}: {error}", file.key));
            assert!(inspection.rows > 0);
            assert!(inspection.timestamp_from <= inspection.timestamp_to);
            if file.key.kind() == LogKind::Insert {
                by_segment.entry(file.key.segment).or_default().insert(inspection.rows);
            } else {
                assert_eq!(deletes(&file.bytes).unwrap().len() as u64, inspection.rows);
            }
        }
        for (segment, counts) in &by_segment {
            assert_eq!(counts.len(), 1, "{version} segment {segment}: {counts:?}");
        }
        let stored: u64 = by_segment.values().flatten().sum();
        assert_eq!(stored, if version == "milvus-2.3.5" { 500 } else { 6500 });
    }
}

#[test]
fn live_rows_are_what_a_real_server_counts() {
    let files = golden("milvus-2.3.5");
    for (collection, stored, deleted, counted) in
        [(470_614_391_994_712_317, 300, 7, 293), (470_614_391_995_112_724, 200, 3, 197)]
    {
        let (rows, deletes) = (rows(&files, collection), all_deletes(&files, collection));
        assert_eq!((rows.len(), deletes.len()), (stored, deleted));
        assert_eq!(live_rows(rows, deletes), counted);
    }
}

#[test]
fn keys_and_deletes_of_both_kinds_are_read() {
    let files = golden("milvus-2.3.5");
    let ints: BTreeSet<Key> =
        all_deletes(&files, 470_614_391_994_712_317).into_iter().map(|delete| delete.key).collect();
    assert_eq!(ints, [1, 2, 3, 5, 8, 13, 21].map(Key::Int).into());
    let texts: BTreeSet<Key> =
        all_deletes(&files, 470_614_391_995_112_724).into_iter().map(|delete| delete.key).collect();
    assert_eq!(texts, ["k0", "k3", "k<1>é"].map(|text| Key::Text(text.to_owned())).into());
    let stored: BTreeSet<Key> = rows(&files, 470_614_391_995_112_724).into_iter().map(|(key, _)| key).collect();
    let expected = (0..200).map(|number| match number % 3 {
        0 => format!("k{number}"),
        _ => format!("k<{number}>é"),
    });
    assert_eq!(stored, expected.map(Key::Text).collect());
}

#[test]
fn rows_and_deletes_of_all_partitions_are_read_from_a_newer_server() {
    let files = golden("milvus-2.5.27");
    let collection = files[0].key.collection;
    let rows = rows(&files, collection);
    let stored: BTreeSet<&Key> = rows.iter().map(|(key, _)| key).collect();
    let expected: BTreeSet<Key> = (0..6000).chain(1_000_000..1_000_500).map(Key::Int).collect();
    assert_eq!(stored, expected.iter().collect());
    let deletes = all_deletes(&files, collection);
    let deleted: BTreeSet<&Key> = deletes.iter().map(|delete| &delete.key).collect();
    assert_eq!(deleted.len(), 500);
    assert!(deleted.is_subset(&stored));
    assert_eq!(live_rows(rows.clone(), deletes), 6000);
}

/// Values as `milvus-2.3.5-types-rows.json` has them: floats by their bits, so that every one is told from every other.
fn written(values: &Values, row: usize, data_type: DataType) -> Value {
    match values {
        Values::Booleans(all) => json!(all[row]),
        Values::Small(all) => json!(all[row]),
        Values::Integers(all) => json!(all[row]),
        Values::Floats(all) => json!(all[row].to_bits()),
        Values::Doubles(all) => json!(all[row].to_bits()),
        Values::Texts(all) => {
            let text = all.get(row).unwrap();
            match data_type {
                DataType::VarChar => json!(std::str::from_utf8(text).unwrap()),
                DataType::Json => serde_json::from_slice(text).unwrap(),
                _ => elements(ScalarField::decode(text).unwrap()),
            }
        }
        Values::Fixed(all) if data_type == DataType::BinaryVector => json!(all.get(row).unwrap()),
        Values::Fixed(all) => {
            let (floats, rest) = all.get(row).unwrap().as_chunks::<4>();
            assert!(rest.is_empty());
            json!(floats.iter().map(|float| u32::from_le_bytes(*float)).collect::<Vec<_>>())
        }
    }
}

fn elements(array: ScalarField) -> Value {
    match array.data {
        None => json!([]),
        Some(Data::BoolData(all)) => json!(all.data),
        Some(Data::IntData(all)) => json!(all.data),
        Some(Data::LongData(all)) => json!(all.data),
        Some(Data::FloatData(all)) => json!(all.data.iter().map(|float| float.to_bits()).collect::<Vec<_>>()),
        Some(Data::DoubleData(all)) => json!(all.data.iter().map(|double| double.to_bits()).collect::<Vec<_>>()),
        Some(Data::StringData(all)) => json!(all.data),
        Some(other) => panic!("an array of {other:?}"),
    }
}

#[test]
fn values_of_every_data_type_are_those_that_were_inserted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/milvus-2.3.5-types-rows.json");
    let collections: Vec<Value> = serde_json::from_slice(&std::fs::read(root).unwrap()).unwrap();
    let files = golden("milvus-2.3.5-types");
    let mut types = BTreeSet::new();
    for collection in &collections {
        for field in collection["fields"].as_array().unwrap() {
            let (id, name) = (field["id"].as_i64(), field["name"].as_str().unwrap());
            let number = i32::try_from(field["type"].as_i64().unwrap()).unwrap();
            types.insert((number, field["element"].as_i64().unwrap()));
            let of =
                |file: &&Golden| Some(file.key.collection) == collection["collection"].as_i64() && file.key.field == id;
            let file = files.iter().find(of).unwrap_or_else(|| panic!("no file of {name}"));
            let read = series(&file.bytes, &Expected::from(&file.key), number).unwrap();
            let data_type = DataType::try_from(number).unwrap();
            let found: Vec<Value> = (0..read.len()).map(|row| written(read.values(), row, data_type)).collect();
            assert_eq!(&found, field["values"].as_array().unwrap(), "{name}");
        }
    }
    let scalars = [1, 2, 3, 4, 5, 10, 11, 21, 23, 100, 101].map(|data_type| (data_type, 0));
    let arrays = [1, 2, 3, 4, 5, 10, 11, 21].map(|element| (22, element));
    assert_eq!(types, scalars.into_iter().chain(arrays).collect());
}

#[test]
fn nulls_that_a_2_5_wrote_are_told_from_texts() {
    let files = golden("milvus-2.5.27");
    let of = |field| {
        let wanted = |file: &&Golden| file.key.segment == 470_609_052_561_971_955 && file.key.field == Some(field);
        files.iter().find(wanted).unwrap()
    };
    let keys = primary_keys(&of(100).bytes).unwrap();
    let file = of(102);
    let texts = series(&file.bytes, &Expected::from(&file.key), 21).unwrap();
    let Values::Texts(all) = texts.values() else { panic!("{texts:?}") };
    assert_eq!(texts.len(), keys.len());
    let mut nulls = 0;
    for (row, key) in keys.iter().enumerate() {
        let Key::Int(key) = key else { panic!("{key:?}") };
        assert_eq!(texts.is_null(row), key % 5 == 0, "{key}");
        nulls += usize::from(texts.is_null(row));
        let text = if key % 5 == 0 { String::new() } else { format!("n{key}") };
        assert_eq!(all.get(row), Some(text.as_bytes()));
    }
    assert!(nulls > 100 && nulls < keys.len());
}

#[test]
fn values_of_another_type_or_file_are_not_taken_for_those_asked_for() {
    for file in golden("milvus-2.3.5-types") {
        let expected = Expected::from(&file.key);
        let right = data_type(&file.bytes);
        assert_eq!(
            series(&file.bytes, &expected, right).unwrap().len() as u64,
            inspect(&file.bytes, &expected).unwrap().rows
        );
        let error = series(&file.bytes, &expected, right + 1).unwrap_err();
        assert!(error.to_string().contains(&format!("the field is of type {}", right + 1)), "{error}");
        let other = Expected { segment: 1, ..expected };
        assert!(matches!(series(&file.bytes, &other, right), Err(BinlogError::WrongIds { what: "segment", .. })));
    }
    let error = series(&Bytes::from_static(b"PAR1"), &Expected::from(&golden("milvus-2.3.5")[0].key), 5).unwrap_err();
    assert!(matches!(error, BinlogError::Unsupported { .. }), "{error}");
}

/// The data type in the descriptor of a file.
fn data_type(bytes: &Bytes) -> i32 {
    bytes.get(69..73).map_or(0, |bytes| i32::from_le_bytes(bytes.try_into().unwrap()))
}

#[test]
fn a_file_of_another_field_segment_or_kind_is_named_with_both_ids() {
    let files = golden("milvus-2.3.5");
    let file = files.iter().find(|file| file.key.field == Some(100)).unwrap();
    let right = Expected::from(&file.key);
    let wrong = [
        ("collection", Expected { collection: 1, ..right.clone() }),
        ("partition", Expected { partition: 1, ..right.clone() }),
        ("segment", Expected { segment: 1, ..right.clone() }),
        ("field", Expected { field: Some(1), ..right.clone() }),
    ];
    for (expected_what, wrong) in wrong {
        let error = inspect(&file.bytes, &wrong).unwrap_err();
        assert!(matches!(error, BinlogError::WrongIds { what, expected: 1, .. } if what == expected_what), "{error}");
    }
    let error = inspect(&file.bytes, &Expected { kind: LogKind::Delta, field: None, ..right }).unwrap_err();
    assert!(error.to_string().contains("found: insert log, by its key: delta log"), "{error}");
    assert!(deletes(&file.bytes).is_err());
}

#[test]
fn no_bytes_and_other_files_are_told_apart() {
    let key = LogKey { collection: 1, partition: 2, segment: 3, field: Some(4), log: 5 };
    let fault = |bytes: &'static [u8]| inspect(&Bytes::from_static(bytes), &Expected::from(&key)).unwrap_err();
    assert_eq!(fault(b""), BinlogError::Empty);
    assert_eq!(fault(b"{\"a\":1}"), BinlogError::BadMagic { found: b"{\"a\"".to_vec() });
    assert!(matches!(fault(b"PAR1xxxx"), BinlogError::Corrupt { what: "Parquet footer", .. }));
    assert!(matches!(fault(&[0xbc, 0xfa]), BinlogError::Truncated { what: "magic number", .. }));
    assert!(matches!(fault(&[0xbc, 0xfa, 0xff, 0]), BinlogError::Truncated { what: "descriptor", left: 0, .. }));
}

#[test]
fn a_file_cut_anywhere_is_found() {
    for file in all_golden().iter().filter(|file| file.bytes.len() < 1000) {
        let expected = Expected::from(&file.key);
        for length in 0..file.bytes.len() {
            let error = inspect(&file.bytes.slice(..length), &expected).unwrap_err();
            assert!(
                matches!(error, BinlogError::Empty | BinlogError::Truncated { .. }),
                "{:?} cut to {length}: {error}",
                file.key
            );
        }
    }
}

/// What a file says when it is believed.
#[derive(Debug, PartialEq)]
struct Said {
    rows: u64,
    keys: Vec<Key>,
    timestamps: Vec<u64>,
    deletes: Vec<Delete>,
}

fn read(file: &Golden, bytes: &Bytes) -> Option<Said> {
    let of_field = |field| file.key.field == Some(field);
    Some(Said {
        rows: inspect(bytes, &Expected::from(&file.key)).ok()?.rows,
        keys: if of_field(100) { primary_keys(bytes).ok()? } else { Vec::new() },
        timestamps: if of_field(1) { timestamps(bytes).ok()? } else { Vec::new() },
        deletes: if file.key.field.is_none() { deletes(bytes).ok()? } else { Vec::new() },
    })
}

#[test]
fn no_single_flipped_bit_changes_what_is_read_without_being_found() {
    let one_of_each = |field| {
        let small = move |file: &Golden| file.key.field == field && file.bytes.len() < 1000;
        golden("milvus-2.3.5")
            .into_iter()
            .filter(small)
            .chain(golden("milvus-2.5.27").into_iter().filter(small).take(1))
    };
    let files: Vec<Golden> = [None, Some(1), Some(100)].into_iter().flat_map(one_of_each).collect();
    assert!(files.len() >= 9);
    for file in &files {
        let right = read(file, &file.bytes).unwrap();
        let mut found = 0;
        for bit in 0..file.bytes.len() * 8 {
            let mut damaged = file.bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match read(file, &damaged.into()) {
                // Names, statistics and the writer's version: nobody reads them.
                Some(read) => assert_eq!(read, right, "{:?} bit {bit}", file.key),
                None => found += 1,
            }
        }
        assert!(found * 3 > file.bytes.len() * 8, "{:?}: only {found} found", file.key);
    }
}

#[test]
fn a_flipped_bit_in_the_rows_of_a_large_file_is_found_at_its_place() {
    let files = golden("milvus-2.5.27");
    let file = files.iter().max_by_key(|file| file.bytes.len()).unwrap();
    for at in (1000..file.bytes.len() - 1000).step_by(9973) {
        let mut damaged = file.bytes.to_vec();
        damaged[at] ^= 0x10;
        let error = inspect(&damaged.into(), &Expected::from(&file.key)).unwrap_err();
        assert!(matches!(error, BinlogError::Corrupt { .. }), "{error}");
        assert_eq!(error.class(), milvus_backup_operator::exit::Class::Data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_damage_makes_a_reader_panic(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        near_the_ends in any::<bool>(),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        thread_local! {
            static FILES: Vec<Golden> = all_golden()
                .into_iter()
                .chain(golden("milvus-2.3.5-types"))
                .filter(|file| file.bytes.len() < 10_000)
                .collect();
        }
        FILES.with(|files| {
            let file = which.get(files);
            let mut bytes = file.bytes.to_vec();
            for (at, value) in changes {
                // Headers and footers lie within 250 bytes of the ends: no checksum protects them.
                let at = if near_the_ends && bytes.len() > 500 {
                    let at = at.index(500);
                    if at < 250 { at } else { bytes.len() - 500 + at }
                } else {
                    at.index(bytes.len())
                };
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let bytes = Bytes::from(bytes);
            let _ = inspect(&bytes, &Expected::from(&file.key));
            let _ = primary_keys(&bytes);
            let _ = timestamps(&bytes);
            let _ = deletes(&bytes);
            let _ = series(&bytes, &Expected::from(&file.key), data_type(&bytes));
        });
    }
}
