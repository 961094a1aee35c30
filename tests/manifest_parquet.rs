//! Log files made here with the `parquet` crate, in every way of writing columns that is read, against our own reader.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the fake server uses the rest")]
#[path = "fake_milvus/files.rs"]
mod files;

use std::sync::Arc;

use bytes::Bytes;
use files::Ids;
use milvus_backup_operator::manifest::binlog::{
    BinlogError, Delete, Expected, Key, Values, deletes, group_series, inspect, inspect_column_group, primary_keys,
    series, timestamps,
};
use milvus_backup_operator::manifest::layout::LogKind;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

/// A way to write a Parquet file.
#[derive(Debug, Clone)]
struct Style {
    version: WriterVersion,
    /// None for a dictionary.
    encoding: Option<Encoding>,
    compressed: bool,
    nullable: bool,
    rows_of_page: usize,
    rows_of_group: usize,
}

fn any_style() -> impl Strategy<Value = Style> {
    let encodings = prop_oneof![Just(None), Just(Some(Encoding::PLAIN)), Just(Some(Encoding::DELTA_BINARY_PACKED))];
    (any::<bool>(), encodings, any::<bool>(), any::<bool>(), 1..200_usize, 1..300_usize).prop_map(
        |(second, encoding, compressed, nullable, rows_of_page, rows_of_group)| Style {
            version: if second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 },
            encoding,
            compressed,
            nullable,
            rows_of_page,
            rows_of_group,
        },
    )
}

enum Column {
    Integers(Vec<i64>),
    Nullable(Vec<Option<i64>>),
    Texts(Vec<String>),
}

fn parquet(style: &Style, columns: &[Column]) -> Vec<u8> {
    let repetition = if style.nullable { "optional" } else { "required" };
    let fields: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(number, column)| match column {
            Column::Integers(_) | Column::Nullable(_) => format!("{repetition} int64 c{number};"),
            Column::Texts(_) => format!("{repetition} binary c{number};"),
        })
        .collect();
    let schema = parse_message_type(&format!("message schema {{ {} }}", fields.concat())).unwrap();
    let compression = match style.compressed {
        true => Compression::ZSTD(ZstdLevel::try_new(3).unwrap()),
        false => Compression::UNCOMPRESSED,
    };
    let mut properties = WriterProperties::builder()
        .set_writer_version(style.version)
        .set_compression(compression)
        .set_data_page_row_count_limit(style.rows_of_page)
        .set_data_page_size_limit(1 << 30)
        .set_write_batch_size(style.rows_of_page)
        .set_dictionary_enabled(style.encoding.is_none());
    if let Some(encoding) = style.encoding {
        properties = properties.set_encoding(encoding);
    }
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties.build())).unwrap();
    let rows = match &columns[0] {
        Column::Integers(values) => values.len(),
        Column::Nullable(values) => values.len(),
        Column::Texts(values) => values.len(),
    };
    for start in (0..rows).step_by(style.rows_of_group) {
        let range = start..rows.min(start + style.rows_of_group);
        let levels = vec![1; range.len()];
        let levels = style.nullable.then_some(levels.as_slice());
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut chunk = group.next_column().unwrap().unwrap();
            match column {
                Column::Integers(values) => {
                    chunk.typed::<Int64Type>().write_batch(&values[range.clone()], levels, None).unwrap();
                }
                Column::Nullable(values) => {
                    let levels: Vec<i16> =
                        values[range.clone()].iter().map(|value| i16::from(value.is_some())).collect();
                    let there: Vec<i64> = values[range.clone()].iter().flatten().copied().collect();
                    chunk.typed::<Int64Type>().write_batch(&there, Some(&levels), None).unwrap();
                }
                Column::Texts(values) => {
                    let values: Vec<ByteArray> =
                        values[range.clone()].iter().map(|text| ByteArray::from(text.as_str())).collect();
                    chunk.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
                }
            }
            chunk.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// A log file of collection 1, partition 2, segment 3, field 4.
fn log_file(kind: LogKind, data_type: i32, payloads: &[Vec<u8>]) -> Bytes {
    let kind = if kind == LogKind::Insert { files::INSERT } else { files::DELETE };
    files::log_file(Ids { collection: 1, partition: 2, segment: 3, field: 4 }, data_type, kind, [5, 6], payloads)
}

fn expected(kind: LogKind) -> Expected {
    Expected { collection: 1, partition: 2, segment: 3, field: (kind == LogKind::Insert).then_some(4), kind }
}

fn integers() -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        proptest::collection::vec(any::<i64>(), 1..500),
        proptest::collection::vec(0..4_i64, 1..500),
        (any::<i64>(), 1..500_i64).prop_map(|(start, count)| (0..count).map(|step| start.wrapping_add(step)).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn integers_read_back_from_every_way_of_writing_them(style in any_style(), values in integers()) {
        let half = values.len() / 2;
        let payloads: Vec<Vec<u8>> = [&values[..half], &values[half..]]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| parquet(&style, &[Column::Integers(part.to_vec())]))
            .collect();
        let file = log_file(LogKind::Insert, 5, &payloads);
        let inspection = inspect(&file, &expected(LogKind::Insert)).unwrap();
        prop_assert_eq!((inspection.rows, inspection.timestamp_from, inspection.timestamp_to), (values.len() as u64, 5, 6));
        prop_assert_eq!(timestamps(&file).unwrap(), values.iter().map(|value| value.cast_unsigned()).collect::<Vec<_>>());
        prop_assert_eq!(primary_keys(&file).unwrap(), values.into_iter().map(Key::Int).collect::<Vec<_>>());
    }

    #[test]
    fn texts_read_back_from_every_way_of_writing_them(
        style in any_style(),
        values in proptest::collection::vec(prop_oneof!["[ab]{0,2}", "\\PC{0,40}"], 1..400),
    ) {
        prop_assume!(style.encoding != Some(Encoding::DELTA_BINARY_PACKED));
        let file = log_file(LogKind::Insert, 21, &[parquet(&style, &[Column::Texts(values.clone())])]);
        prop_assert_eq!(inspect(&file, &expected(LogKind::Insert)).unwrap().rows, values.len() as u64);
        prop_assert_eq!(primary_keys(&file).unwrap(), values.into_iter().map(Key::Text).collect::<Vec<_>>());
    }

    #[test]
    fn nulls_read_back_from_every_way_of_writing_them(
        style in any_style(),
        values in proptest::collection::vec(proptest::option::of(0..9_i64), 1..400),
    ) {
        let style = Style { nullable: true, ..style };
        let file = log_file(LogKind::Insert, 5, &[parquet(&style, &[Column::Nullable(values.clone())])]);
        let read = series(&file, &expected(LogKind::Insert), 5).unwrap();
        let Values::Integers(numbers) = read.values() else { panic!("{read:?}") };
        let found: Vec<Option<i64>> =
            numbers.iter().enumerate().map(|(row, number)| (!read.is_null(row)).then_some(*number)).collect();
        prop_assert_eq!(&found, &values);
        // What must have a value for each row is not read from a file that has not.
        prop_assert_eq!(timestamps(&file).is_ok(), values.iter().all(Option::is_some));
    }

    #[test]
    fn damage_in_files_without_checksums_never_makes_a_reader_panic(
        style in any_style(),
        values in integers(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = log_file(LogKind::Insert, 5, &[parquet(&style, &[Column::Integers(values)])]).to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let bytes = Bytes::from(bytes);
        let _ = inspect(&bytes, &expected(LogKind::Insert));
        let _ = primary_keys(&bytes);
    }
}

const PLAIN: Style = Style {
    version: WriterVersion::PARQUET_1_0,
    encoding: Some(Encoding::PLAIN),
    compressed: true,
    nullable: true,
    rows_of_page: 10,
    rows_of_group: 25,
};

#[test]
fn deletes_in_two_columns_are_read_with_keys_of_both_kinds() {
    let stamps = || Column::Integers((0..60).map(|number| 1000 + number).collect());
    let file = log_file(LogKind::Delta, 5, &[parquet(&PLAIN, &[Column::Integers((0..60).collect()), stamps()])]);
    let expected_deletes: Vec<Delete> =
        (0..60).map(|number| Delete { key: Key::Int(number), timestamp: 1000 + number.cast_unsigned() }).collect();
    assert_eq!(deletes(&file).unwrap(), expected_deletes);
    assert_eq!(inspect(&file, &expected(LogKind::Delta)).unwrap().rows, 60);

    let keys = Column::Texts((0..60).map(|number| format!("k{number}")).collect());
    let file = log_file(LogKind::Delta, 21, &[parquet(&PLAIN, &[keys, stamps()])]);
    assert_eq!(deletes(&file).unwrap()[7], Delete { key: Key::Text("k7".to_owned()), timestamp: 1007 });
}

#[test]
fn a_column_of_another_type_than_its_descriptor_says_is_found() {
    let file = log_file(LogKind::Insert, 21, &[parquet(&PLAIN, &[Column::Integers(vec![1, 2])])]);
    let error = inspect(&file, &expected(LogKind::Insert)).unwrap_err();
    assert!(error.to_string().contains("data type 21 are stored as Parquet type 2"), "{error}");
}

#[test]
fn an_encoding_that_is_not_read_is_named_and_still_proven_whole() {
    let style = Style { encoding: Some(Encoding::DELTA_BYTE_ARRAY), ..PLAIN };
    let file = log_file(LogKind::Insert, 21, &[parquet(&style, &[Column::Texts(vec!["a".to_owned()])])]);
    assert_eq!(inspect(&file, &expected(LogKind::Insert)).unwrap().rows, 1);
    assert_eq!(primary_keys(&file).unwrap_err(), BinlogError::Unsupported { what: "Parquet encoding 7".to_owned() });
}

#[test]
fn a_file_of_column_groups_is_proven_whole_and_its_damage_found() {
    let columns =
        [Column::Integers((0..500).collect()), Column::Texts((0..500).map(|number| number.to_string()).collect())];
    let bytes = parquet(&PLAIN, &columns);
    assert_eq!(inspect_column_group(&bytes.clone().into()).unwrap(), 500);
    assert_eq!(inspect_column_group(&Bytes::new()).unwrap_err(), BinlogError::Empty);
    assert!(inspect_column_group(&bytes[..bytes.len() / 2].to_vec().into()).is_err());
    let bytes = Bytes::from(bytes);
    assert_eq!(inspect(&bytes, &expected(LogKind::Insert)).unwrap().rows, 500);
    let magic = inspect(&bytes, &expected(LogKind::Delta)).unwrap_err();
    assert_eq!(magic, BinlogError::BadMagic { found: b"PAR1".to_vec() });
}

#[test]
fn fields_of_a_column_group_are_found_by_their_ids() {
    let typed = |data_type, values: &[Option<&[u8]>]| {
        let values = values.iter().map(|value| value.map(<[u8]>::to_vec)).collect();
        files::Column::Typed(data_type, values)
    };
    let bytes = files::column_group(&[
        (100, files::Column::Numbers(vec![7, 8])),
        (105, typed(21, &[Some(b""), None])),
        (106, typed(105, &[Some(&[1, 255]), Some(&[2, 0])])),
    ]);
    let found = group_series(&bytes, &[(106, 105), (105, 21), (107, 5)]).unwrap();
    assert_eq!(found.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [105, 106]);
    let (_, texts) = &found[0];
    assert_eq!((texts.len(), texts.is_null(0), texts.is_null(1)), (2, false, true));
    let Values::Fixed(vectors) = found[1].1.values() else { panic!("{found:?}") };
    assert_eq!((vectors.width(), vectors.get(1)), (2, Some(&[2, 0][..])));
    let error = group_series(&bytes, &[(105, 5)]).unwrap_err();
    assert!(error.to_string().contains("data type 5 are stored as Parquet type 6"), "{error}");
}

#[test]
fn a_page_that_unpacks_to_more_than_it_says_is_refused_without_holding_it() {
    // 40 MiB of zeros pack to a few kilobytes; the header is then made to claim less.
    let values = vec![0_i64; 5 << 20];
    let style = Style { rows_of_page: values.len(), rows_of_group: values.len(), nullable: false, ..PLAIN };
    let bytes = parquet(&style, &[Column::Integers(values)]);
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    let file = log_file(LogKind::Insert, 5, &[bytes]);
    assert_eq!(inspect(&file, &expected(LogKind::Insert)).unwrap().rows, 5 << 20);
    let size = [0x15_u8, 0x80, 0x80, 0x80, 0x28];
    let at = file.windows(size.len()).position(|window| window == size).expect("the page's unpacked size");
    let mut lying = file.to_vec();
    lying[at + 4] = 0x14;
    let error = inspect(&lying.into(), &expected(LogKind::Insert)).unwrap_err();
    assert!(error.to_string().contains("it unpacks to"), "{error}");
}
