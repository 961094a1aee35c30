//! Log files as servers write and read them, with the `parquet` crate: another hand than the engine's own reader.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Type, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Values of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<Vec<u8>>),
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
        }
        chunk.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
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
        let mut numbers = Vec::new();
        let mut texts = Vec::new();
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).unwrap();
            let rows = group.metadata().num_rows() as usize;
            // 2.5.27 writes its columns as nullable (seen in its files).
            let mut levels = Vec::new();
            let levels = (column.max_def_level() > 0).then_some(&mut levels);
            match column.physical_type() {
                Type::INT64 => {
                    let mut reader = parquet::column::reader::get_typed_column_reader::<Int64Type>(
                        group.get_column_reader(number).unwrap(),
                    );
                    reader.read_records(rows, levels, None, &mut numbers).unwrap();
                }
                _ => {
                    let mut values: Vec<ByteArray> = Vec::new();
                    let mut reader = parquet::column::reader::get_typed_column_reader::<ByteArrayType>(
                        group.get_column_reader(number).unwrap(),
                    );
                    reader.read_records(rows, levels, None, &mut values).unwrap();
                    texts.extend(values.into_iter().map(|value| value.data().to_vec()));
                }
            }
        }
        let values =
            if column.physical_type() == Type::INT64 { Column::Numbers(numbers) } else { Column::Texts(texts) };
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
