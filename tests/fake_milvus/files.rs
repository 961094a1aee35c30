//! Log files as servers write and read them, with the `parquet` crate: another hand than the engine's own reader.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Type, ZstdLevel};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

/// Values of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<Vec<u8>>),
    /// Of a `schema.DataType`, each by its bytes (numbers little-endian), none where it is null.
    Typed(i32, Vec<Option<Vec<u8>>>),
}

/// How a field of a type is stored: Parquet type and, of fixed length, its bytes. Seen in files of 2.3.5 and 2.5.27; vectors of
/// 2.4 and later by the source of Milvus' payload writer.
fn stored(data_type: i32, values: &[Option<Vec<u8>>]) -> (&'static str, usize) {
    match data_type {
        1 => ("boolean", 1),
        2..=4 => ("int32", 4),
        5 => ("int64", 8),
        10 => ("float", 4),
        11 => ("double", 8),
        100..=103 | 105 => {
            let width = values.iter().flatten().next().map_or(1, Vec::len);
            ("fixed_len_byte_array", width)
        }
        _ => ("binary", 0),
    }
}

/// Ids in the head of a log file of storage version 1.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    pub collection: i64,
    pub partition: i64,
    pub segment: i64,
    pub field: i64,
}

/// Type of an event with rows.
pub const INSERT: u8 = 1;
/// Type of an event with deletes.
pub const DELETE: u8 = 2;
/// `schema.DataType` VarChar, of delta logs (seen in files of 2.5.27).
const VARCHAR: i32 = 21;

/// An insert log of storage version 1: one field.
pub fn insert_log(ids: Ids, data_type: i32, column: &Column) -> Bytes {
    log_file(ids, data_type, INSERT, [0; 2], &[parquet(&[(ids.field, column.clone())])])
}

/// An insert log of storage version 2: a bare Parquet file of several fields.
pub fn column_group(columns: &[(i64, Column)]) -> Bytes {
    Bytes::from(parquet(columns))
}

/// A delta log: one JSON text a delete (real-milvus.md 3).
pub fn delta_log(ids: Ids, deletes: &[(i64, u64)]) -> Bytes {
    let texts = deletes.iter().map(|(pk, ts)| format!(r#"{{"pk":{pk},"ts":{ts},"pkType":5}}"#).into_bytes());
    log_file(ids, VARCHAR, DELETE, [0; 2], &[parquet(&[(0, Column::Texts(texts.collect()))])])
}

fn parquet(columns: &[(i64, Column)]) -> Vec<u8> {
    let fields: Vec<String> = columns
        .iter()
        .map(|(field, column)| match column {
            Column::Numbers(_) => format!("required int64 f{field} = {field};"),
            Column::Texts(_) => format!("required binary f{field} = {field};"),
            Column::Typed(data_type, values) => {
                let (kind, width) = stored(*data_type, values);
                let width = if kind.starts_with("fixed") { format!("({width})") } else { String::new() };
                let repetition = if values.contains(&None) { "optional" } else { "required" };
                format!("{repetition} {kind}{width} f{field} = {field};")
            }
        })
        .collect();
    let schema = parse_message_type(&format!("message schema {{ {} }}", fields.concat())).unwrap();
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap())).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, column) in columns {
        let mut chunk = group.next_column().unwrap().unwrap();
        match column {
            Column::Numbers(values) => {
                chunk.typed::<Int64Type>().write_batch(values, None, None).unwrap();
            }
            Column::Texts(values) => {
                let values: Vec<ByteArray> = values.iter().map(|value| ByteArray::from(value.clone())).collect();
                chunk.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
            }
            Column::Typed(_, values) => write_typed(&mut chunk, values),
        }
        chunk.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn write_typed(chunk: &mut SerializedColumnWriter<'_>, values: &[Option<Vec<u8>>]) {
    fn write<T: DataType>(writer: &mut ColumnWriterImpl<'_, T>, all: &[Option<Vec<u8>>], of: impl Fn(&[u8]) -> T::T) {
        let levels: Vec<i16> = all.iter().map(|value| i16::from(value.is_some())).collect();
        let there: Vec<T::T> = all.iter().flatten().map(|value| of(value)).collect();
        let levels = (there.len() < all.len()).then_some(levels.as_slice());
        writer.write_batch(&there, levels, None).unwrap();
    }
    match chunk.untyped() {
        ColumnWriter::BoolColumnWriter(writer) => write(writer, values, |value| value[0] == 1),
        ColumnWriter::Int32ColumnWriter(writer) => {
            write(writer, values, |value| i32::from_le_bytes(value.try_into().unwrap()))
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            write(writer, values, |value| i64::from_le_bytes(value.try_into().unwrap()))
        }
        ColumnWriter::FloatColumnWriter(writer) => {
            write(writer, values, |value| f32::from_le_bytes(value.try_into().unwrap()))
        }
        ColumnWriter::DoubleColumnWriter(writer) => {
            write(writer, values, |value| f64::from_le_bytes(value.try_into().unwrap()))
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => write(writer, values, |value| ByteArray::from(value.to_vec())),
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            write(writer, values, |value| ByteArray::from(value.to_vec()).into());
        }
        ColumnWriter::Int96ColumnWriter(_) => panic!("no field is stored so"),
    }
}

fn read_typed(group: &dyn RowGroupReader, number: usize, nullable: bool) -> Vec<Option<Vec<u8>>> {
    fn read<T: DataType>(
        mut reader: ColumnReaderImpl<T>,
        (rows, nullable): (usize, bool),
        of: impl Fn(&T::T) -> Vec<u8>,
    ) -> Vec<Option<Vec<u8>>> {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        reader.read_records(rows, nullable.then_some(&mut levels), None, &mut values).unwrap();
        let mut values = values.iter();
        match nullable {
            true => levels.iter().map(|level| (*level == 1).then(|| of(values.next().unwrap()))).collect(),
            false => values.map(|value| Some(of(value))).collect(),
        }
    }
    let of = (group.metadata().num_rows() as usize, nullable);
    match group.get_column_reader(number).unwrap() {
        ColumnReader::BoolColumnReader(reader) => read(reader, of, |value| vec![u8::from(*value)]),
        ColumnReader::Int32ColumnReader(reader) => read(reader, of, |value| value.to_le_bytes().to_vec()),
        ColumnReader::Int64ColumnReader(reader) => read(reader, of, |value| value.to_le_bytes().to_vec()),
        ColumnReader::FloatColumnReader(reader) => read(reader, of, |value| value.to_le_bytes().to_vec()),
        ColumnReader::DoubleColumnReader(reader) => read(reader, of, |value| value.to_le_bytes().to_vec()),
        ColumnReader::ByteArrayColumnReader(reader) => read(reader, of, |value| value.data().to_vec()),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => read(reader, of, |value| value.data().to_vec()),
        ColumnReader::Int96ColumnReader(_) => panic!("no field is stored so"),
    }
}

fn event(bytes: &mut Vec<u8>, kind: u8, data: &[u8]) {
    let length = 17 + data.len() as i32;
    let next = bytes.len() as i32 + length;
    bytes.extend(7_u64.to_le_bytes());
    bytes.push(kind);
    bytes.extend(length.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    bytes.extend(data);
}

/// Magic number, descriptor, and an event of one kind between two timestamps for each payload.
pub fn log_file(ids: Ids, data_type: i32, kind: u8, times: [u64; 2], payloads: &[Vec<u8>]) -> Bytes {
    let mut bytes = vec![0xbc, 0xfa, 0xff, 0];
    let head = [ids.collection, ids.partition, ids.segment, ids.field, 0, 0];
    let mut descriptor: Vec<u8> = head.iter().flat_map(|id| id.to_le_bytes()).collect();
    descriptor.extend(data_type.to_le_bytes());
    descriptor.extend([52, 16, 16, 16, 16, 16, 16, 16]);
    descriptor.extend(2_i32.to_le_bytes());
    descriptor.extend(b"{}");
    event(&mut bytes, 0, &descriptor);
    for payload in payloads {
        let mut data = times.iter().flat_map(|time| time.to_le_bytes()).collect::<Vec<u8>>();
        data.extend(payload);
        event(&mut bytes, kind, &data);
    }
    Bytes::from(bytes)
}

/// The Parquet file in a log file, which may be one itself.
fn payload(file: &Bytes) -> Bytes {
    if file.starts_with(b"PAR1") {
        return file.clone();
    }
    let length = |at: usize| i32::from_le_bytes(file[at + 9..at + 13].try_into().unwrap()) as usize;
    let second = 4 + length(4);
    file.slice(second + 17 + 16..second + length(second))
}

/// Columns of a log file with the field ids of its schema.
pub fn columns(file: &Bytes) -> Vec<(i64, Column)> {
    let reader = SerializedFileReader::new(payload(file)).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns = Vec::new();
    for (number, column) in schema.columns().iter().enumerate() {
        let info = column.self_type().get_basic_info();
        let id = if info.has_id() { i64::from(info.id()) } else { 0 };
        // 2.5.27 writes its columns as nullable (seen in its files).
        let nullable = column.max_def_level() > 0;
        let groups = (0..reader.num_row_groups()).map(|group| reader.get_row_group(group).unwrap());
        let values: Vec<Option<Vec<u8>>> =
            groups.flat_map(|group| read_typed(group.as_ref(), number, nullable)).collect();
        let whole = || values.iter().cloned().collect::<Option<Vec<Vec<u8>>>>();
        let values = match (column.physical_type(), whole()) {
            (Type::INT64, Some(whole)) => {
                Column::Numbers(whole.iter().map(|value| i64::from_le_bytes(value[..].try_into().unwrap())).collect())
            }
            (Type::BYTE_ARRAY, Some(whole)) => Column::Texts(whole),
            _ => Column::Typed(0, values),
        };
        columns.push((id, values));
    }
    columns
}

/// Deletes of a delta log.
pub fn deletes(file: &Bytes) -> Vec<(i64, u64)> {
    let Some((_, Column::Texts(texts))) = columns(file).into_iter().next() else { panic!("no texts") };
    texts
        .iter()
        .map(|text| {
            let said: serde_json::Value = serde_json::from_slice(text).unwrap();
            (said["pk"].as_i64().unwrap(), said["ts"].as_u64().unwrap())
        })
        .collect()
}
