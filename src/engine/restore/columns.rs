//! Pure: what of a backup can be inserted as rows, and the columns of an insert.
//!
//! Inserted rows have to be the rows an import would bring, so whatever the server would make, fill in or compute itself is
//! refused here, and so is every type whose values are not known to come back bit by bit (Milvus 2.3.5, tried for all of
//! its types).

use std::collections::BTreeSet;
use std::ops::Range;

use super::plan::{Batch, BatchKind, Item, Route};
use crate::manifest::binlog::{Deletes, Key, Values};
use crate::manifest::{CollectionBackupInfo, SegmentBackupInfo};
use crate::milvus::proto::schema::field_data::Field;
use crate::milvus::proto::schema::scalar_field::Data;
use crate::milvus::proto::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, IntArray, JsonArray, LongArray, ScalarField,
    StringArray, VectorField, vector_field,
};
use crate::milvus::{DataType, ServerVersion};

/// Name of the field that holds undeclared keys.
pub const DYNAMIC: &str = "$meta";
/// Fields every segment has: row id and timestamp (milvus-backup.md 3.1).
const SYSTEM_FIELDS: Range<i64> = 0..2;

/// A field whose values are inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Id, by which its binlogs are found.
    pub id: i64,
    name: String,
    /// Type.
    pub data_type: DataType,
    /// Type of the elements of an array.
    element_type: DataType,
    dynamic: bool,
    /// Whether it is the key of the collection.
    pub primary: bool,
}

impl Column {
    /// Name of the field.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The columns of a collection whose values can be compared with those a server answers, and the names of the others.
///
/// # Errors
/// A clause on why rows cannot be asked for by their key.
pub fn comparable(info: &CollectionBackupInfo) -> Result<(Vec<Column>, Vec<String>), String> {
    let (mut columns, mut left_out) = (Vec::new(), Vec::new());
    let typed = |number: i32, among: fn(DataType) -> bool| {
        DataType::try_from(number).ok().filter(|data_type| among(*data_type))
    };
    for field in info.schema.fields.iter().filter(|field| !field.is_dynamic) {
        let data_type = typed(field.data_type, is_known);
        let element_type = match data_type {
            Some(DataType::Array) => typed(field.element_type, is_element),
            _ => Some(DataType::None),
        };
        match (data_type, element_type) {
            (Some(data_type), Some(element_type)) if !field.nullable && !field.is_function_output => {
                let (id, name, primary) = (field.field_id, field.name.clone(), field.is_primary_key);
                columns.push(Column { id, name, data_type, element_type, dynamic: false, primary });
            }
            _ => left_out.push(field.name.clone()),
        }
    }
    left_out.extend(info.schema.struct_array_fields.iter().map(|group| group.name.clone()));
    if columns.iter().filter(|column| column.primary).count() != 1 {
        return Err("it has no key that can be asked for".to_owned());
    }
    if info.schema.enable_dynamic_field {
        let inside = info.schema.struct_array_fields.iter().flat_map(|group| &group.fields);
        let fields = info.schema.fields.iter().filter(|field| !field.is_dynamic).chain(inside);
        match dynamic(info, &fields.map(|field| field.field_id).collect()) {
            Ok(column) => columns.push(column),
            Err(_) => left_out.push(DYNAMIC.to_owned()),
        }
    }
    Ok((columns, left_out))
}

/// The columns of a collection, or why its rows cannot be inserted.
///
/// # Errors
/// A clause that goes on after the collection's name.
pub fn columns(item: &Item<'_>, route: Route, version: &ServerVersion) -> Result<Vec<Column>, String> {
    let info: &CollectionBackupInfo = &item.info;
    if route != Route::Partitions || !version.at_least(2, 3, 0) {
        return Err(format!(
            "cannot be inserted on milvus {version}: only on 2.3 inserted rows are proven to be the same"
        ));
    }
    if !info.schema.functions.is_empty() {
        return Err("has functions, whose output the server would compute anew".to_owned());
    }
    if !info.schema.struct_array_fields.is_empty() {
        return Err("has fields of structures".to_owned());
    }
    let mut columns = Vec::new();
    for field in info.schema.fields.iter().filter(|field| !field.is_dynamic) {
        let named = |what: &str| format!("has field {} {what}", field.name);
        if field.auto_id {
            return Err(named("whose values the server makes"));
        }
        if field.is_function_output {
            return Err(named("that a function fills"));
        }
        if field.nullable {
            return Err(named("that may be null"));
        }
        if !field.default_value_base64.is_empty() || !field.default_value_proto.is_empty() {
            return Err(named("with a default value"));
        }
        let known = |number: i32, among: fn(DataType) -> bool| {
            DataType::try_from(number).ok().filter(|data_type| among(*data_type))
        };
        let data_type = known(field.data_type, is_known)
            .ok_or_else(|| named(&format!("of data type {}, which is not inserted", field.data_type)))?;
        let element_type = match data_type {
            DataType::Array => known(field.element_type, is_element).ok_or_else(|| {
                named(&format!("of arrays of data type {}, which is not inserted", field.element_type))
            })?,
            _ => DataType::None,
        };
        let (id, name, primary) = (field.field_id, field.name.clone(), field.is_primary_key);
        columns.push(Column { id, name, data_type, element_type, dynamic: false, primary });
    }
    if columns.iter().filter(|column| column.primary).count() != 1 {
        return Err("has no single primary key".to_owned());
    }
    if info.schema.enable_dynamic_field {
        columns.push(dynamic(info, &columns.iter().map(|column| column.id).collect())?);
    }
    let segments = info.segments().filter(|segment| !segment.is_l0);
    for segment in segments.filter(|segment| segment.insert_logs().next().is_some()) {
        complete(segment, &columns)?;
    }
    Ok(columns)
}

/// The hidden field: the one that has binlogs and is not in the schema.
fn dynamic(info: &CollectionBackupInfo, declared: &BTreeSet<i64>) -> Result<Column, String> {
    let logged: BTreeSet<i64> = info
        .segments()
        .flat_map(|segment| segment.insert_logs().map(|(field, _)| field))
        .filter(|field| !SYSTEM_FIELDS.contains(field) && !declared.contains(field))
        .collect();
    let recorded = info.schema.fields.iter().find(|field| field.is_dynamic).map(|field| field.field_id);
    let logged: Vec<i64> = logged.into_iter().collect();
    let id = match (recorded, logged.as_slice()) {
        (Some(id), _) => id,
        (None, [id]) => *id,
        // Without a row there is no binlog, and none is asked for.
        (None, []) => declared.last().map_or(0, |last| last + 1),
        (None, _) => return Err("has dynamic values in several fields".to_owned()),
    };
    Ok(Column {
        id,
        name: DYNAMIC.to_owned(),
        data_type: DataType::Json,
        element_type: DataType::None,
        dynamic: true,
        primary: false,
    })
}

/// That a segment has as many files of every field, and of no other.
fn complete(segment: &SegmentBackupInfo, columns: &[Column]) -> Result<(), String> {
    if segment.storage_version > 1 {
        return Err(format!("has data of storage version {}", segment.storage_version));
    }
    let of_field = |field| segment.insert_logs().filter(|(id, _)| *id == field).count();
    let files = of_field(1);
    let short = columns.iter().find(|column| of_field(column.id) != files);
    if let Some(column) = short {
        return Err(format!("has segment {} without all files of field {}", segment.segment_id, column.name));
    }
    let known = |field: i64| SYSTEM_FIELDS.contains(&field) || columns.iter().any(|column| column.id == field);
    match segment.insert_logs().find(|(field, _)| !known(*field)) {
        Some((field, _)) => Err(format!("has values of field {field}, which is not in its schema")),
        None => Ok(()),
    }
}

fn is_known(data_type: DataType) -> bool {
    is_element(data_type)
        || matches!(data_type, DataType::Array | DataType::Json | DataType::BinaryVector | DataType::FloatVector)
}

fn is_element(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::VarChar
    )
}

/// Bytes a batch has once it is unpacked, as far as that is known before: numbers and vectors by their width, texts by their
/// size in the backup.
pub fn estimate(item: &Item<'_>, batch: &Batch) -> u64 {
    let rows: i64 = segments(item, batch).map(|segment| segment.num_of_rows).sum();
    let fixed: u64 = item.info.schema.fields.iter().map(|field| width(field.data_type, &field.type_params)).sum();
    u64::try_from(rows).unwrap_or_default().saturating_mul(fixed).max(batch.bytes)
}

fn width(data_type: i32, params: &[crate::manifest::KeyValuePair]) -> u64 {
    let dim = || {
        let dim = params.iter().find(|pair| pair.key == "dim").and_then(|pair| pair.value.parse::<u64>().ok());
        dim.unwrap_or_default()
    };
    match DataType::try_from(data_type) {
        Ok(DataType::FloatVector) => dim().saturating_mul(4),
        Ok(DataType::BinaryVector) => dim() / 8,
        _ => 8,
    }
}

/// The segments a batch of rows is made of.
pub fn segments<'i>(item: &'i Item<'_>, batch: &'i Batch) -> impl Iterator<Item = &'i SegmentBackupInfo> {
    let of_rows = batch.kind == BatchKind::Rows;
    item.info
        .segments()
        .filter(move |segment| of_rows && !segment.is_l0 && batch.segments.contains(&segment.segment_id))
}

/// The chosen rows of a column as an insert carries them.
///
/// # Errors
/// Values of another type than the column's.
pub fn field_data(column: &Column, values: &Values, rows: &[usize]) -> Result<FieldData, String> {
    let field = match (column.data_type, values) {
        (DataType::FloatVector, Values::Fixed(vectors)) if vectors.width() % 4 == 0 => {
            let mut data = Vec::with_capacity(rows.len() * vectors.width() / 4);
            for row in rows {
                let (floats, _) = vectors.get(*row).ok_or_else(|| missing(column))?.as_chunks::<4>();
                data.extend(floats.iter().map(|float| f32::from_le_bytes(*float)));
            }
            let data = Some(vector_field::Data::FloatVector(FloatArray { data }));
            Field::Vectors(VectorField { dim: (vectors.width() / 4) as i64, data })
        }
        (DataType::BinaryVector, Values::Fixed(vectors)) => {
            let mut data = Vec::with_capacity(rows.len() * vectors.width());
            for row in rows {
                data.extend_from_slice(vectors.get(*row).ok_or_else(|| missing(column))?);
            }
            let data = Some(vector_field::Data::BinaryVector(data));
            Field::Vectors(VectorField { dim: (vectors.width() * 8) as i64, data })
        }
        _ => Field::Scalars(ScalarField { data: Some(scalars(column, values, rows)?) }),
    };
    Ok(FieldData {
        r#type: column.data_type.into(),
        field_name: column.name.clone(),
        field: Some(field),
        field_id: 0,
        is_dynamic: column.dynamic,
    })
}

fn scalars(column: &Column, values: &Values, rows: &[usize]) -> Result<Data, String> {
    Ok(match (column.data_type, values) {
        (DataType::Bool, Values::Booleans(all)) => Data::BoolData(BoolArray { data: chosen(all, rows, column)? }),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, Values::Small(all)) => {
            Data::IntData(IntArray { data: chosen(all, rows, column)? })
        }
        (DataType::Int64, Values::Integers(all)) => Data::LongData(LongArray { data: chosen(all, rows, column)? }),
        (DataType::Float, Values::Floats(all)) => Data::FloatData(FloatArray { data: chosen(all, rows, column)? }),
        (DataType::Double, Values::Doubles(all)) => Data::DoubleData(DoubleArray { data: chosen(all, rows, column)? }),
        (data_type, Values::Texts(texts)) => {
            let each = rows.iter().map(|row| texts.get(*row).map(<[u8]>::to_vec).ok_or_else(|| missing(column)));
            let data = each.collect::<Result<Vec<Vec<u8>>, String>>()?;
            match data_type {
                DataType::VarChar => {
                    let data = data.into_iter().map(String::from_utf8).collect::<Result<_, _>>();
                    Data::StringData(StringArray { data: data.map_err(|_| format!("{} holds no UTF-8", column.name))? })
                }
                DataType::Json => Data::JsonData(JsonArray { data }),
                DataType::Array => Data::ArrayData(ArrayArray { data, element_type: column.element_type.into() }),
                _ => return Err(strange(column)),
            }
        }
        _ => return Err(strange(column)),
    })
}

fn chosen<T: Copy>(all: &[T], rows: &[usize], column: &Column) -> Result<Vec<T>, String> {
    rows.iter().map(|row| all.get(*row).copied().ok_or_else(|| missing(column))).collect()
}

fn missing(column: &Column) -> String {
    format!("field {} has fewer values than there are rows", column.name)
}

fn strange(column: &Column) -> String {
    format!("field {} holds values of another type", column.name)
}

/// The rows that are not deleted, and not newer than `cut`, by their places. `stamps` may be missing where there are neither
/// deletes nor a cut.
///
/// # Errors
/// Files of one place that do not hold the same rows.
pub fn kept(
    columns: &[Column],
    values: &[Values],
    stamps: Option<&Values>,
    deletes: &Deletes,
    cut: Option<u64>,
) -> Result<Vec<usize>, String> {
    let count = values.first().map_or(0, Values::len);
    let lengths = columns.iter().zip(values).map(|(column, values)| (column.name.as_str(), values.len()));
    let mut lengths = lengths.chain(stamps.map(|stamps| ("of timestamps", stamps.len())));
    if let Some((name, length)) = lengths.find(|(_, length)| *length != count) {
        return Err(format!("field {name} has {length} values for {count} rows"));
    }
    let Some(stamps) = stamps else { return Ok((0..count).collect()) };
    let Values::Integers(stamps) = stamps else { return Err("timestamps are no numbers".to_owned()) };
    let keys = columns.iter().zip(values).find(|(column, _)| column.primary).map(|(_, values)| values);
    let mut rows = Vec::new();
    for (row, stamp) in stamps.iter().enumerate() {
        let stamp = stamp.cast_unsigned();
        let key = match keys {
            Some(Values::Integers(keys)) => Key::Int(keys[row]),
            Some(Values::Texts(keys)) => {
                let text = std::str::from_utf8(keys.get(row).unwrap_or_default()).map(str::to_owned);
                Key::Text(text.map_err(|_| "a key is no UTF-8".to_owned())?)
            }
            _ => return Err("keys are neither numbers nor texts".to_owned()),
        };
        if cut.is_none_or(|cut| stamp <= cut) && !deletes.take(&key, stamp) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Bytes a value takes in a request, about.
fn size(values: &Values, row: usize) -> usize {
    match values {
        Values::Booleans(_) => 1,
        Values::Small(_) | Values::Floats(_) => 4,
        Values::Integers(_) | Values::Doubles(_) => 9,
        Values::Texts(texts) => texts.get(row).map_or(0, <[u8]>::len) + 4,
        Values::Fixed(vectors) => vectors.width(),
    }
}

/// Cuts rows into requests of at most `limit` bytes, or of one row where that is larger.
pub fn requests(values: &[Values], rows: &[usize], limit: usize) -> Vec<Range<usize>> {
    let mut cut = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let more: usize = values.iter().map(|column| size(column, *row)).sum();
        if at > start && bytes + more > limit {
            cut.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < rows.len() {
        cut.push(start..rows.len());
    }
    cut
}

/// Bytes of rows in a request, about.
pub fn bytes(values: &[Values], rows: &[usize]) -> u64 {
    rows.iter().map(|row| values.iter().map(|column| size(column, *row) as u64).sum::<u64>()).sum()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::engine::restore::plan::Action;
    use crate::engine::select::Name;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::binlog::Delete;
    use crate::manifest::schema::FunctionSchema;
    use crate::manifest::{Binlog, FieldBinlog, FieldSchema, KeyValuePair};

    fn field(id: i64, data_type: DataType) -> FieldSchema {
        FieldSchema { field_id: id, name: format!("f{id}"), data_type: data_type.into(), ..Default::default() }
    }

    fn logs(fields: &[i64]) -> Vec<FieldBinlog> {
        let log = |field: &i64| FieldBinlog {
            field_id: *field,
            binlogs: vec![Binlog { log_id: 1000 + field, ..Default::default() }],
        };
        fields.iter().map(log).collect()
    }

    /// Key, text, vector, and whatever is dynamic, in one segment.
    fn item() -> Item<'static> {
        let mut key = field(100, DataType::Int64);
        key.is_primary_key = true;
        let mut vector = field(102, DataType::FloatVector);
        vector.type_params = vec![KeyValuePair { key: "dim".into(), value: "32".into() }];
        let segment = SegmentBackupInfo {
            segment_id: 7,
            num_of_rows: 10,
            binlogs: logs(&[0, 1, 100, 101, 102, 103]),
            ..Default::default()
        };
        let mut info = CollectionBackupInfo::default();
        info.schema.fields = vec![key, field(101, DataType::VarChar), vector];
        info.schema.enable_dynamic_field = true;
        info.partition_backups = vec![PartitionBackupInfo { segment_backups: vec![segment], ..Default::default() }];
        let name = Name::new("default", "c");
        let info = Cow::Owned(info);
        Item { source: name.clone(), target: name, action: Action::Create, info, batches: vec![], key: None }
    }

    fn refusal(change: impl FnOnce(&mut CollectionBackupInfo)) -> String {
        let mut item = item();
        change(item.info.to_mut());
        columns(&item, Route::Partitions, &ServerVersion::parse("v2.3.5-lite")).unwrap_err()
    }

    #[test]
    fn the_dynamic_field_is_found_by_its_binlogs() {
        let found = columns(&item(), Route::Partitions, &ServerVersion::parse("v2.3.5-lite")).unwrap();
        let told: Vec<(i64, &str, bool)> = found.iter().map(|one| (one.id, one.name.as_str(), one.dynamic)).collect();
        assert_eq!(told, [(100, "f100", false), (101, "f101", false), (102, "f102", false), (103, "$meta", true)]);
        let mut empty = item();
        empty.info.to_mut().partition_backups.clear();
        assert_eq!(columns(&empty, Route::Partitions, &ServerVersion::parse("v2.3.5-lite")).unwrap(), found);
    }

    #[test]
    fn what_an_insert_might_bring_otherwise_is_refused() {
        assert!(refusal(|info| info.schema.fields[0].auto_id = true).contains("f100 whose values the server makes"));
        assert!(refusal(|info| info.schema.fields[1].nullable = true).contains("f101 that may be null"));
        assert!(refusal(|info| info.schema.fields[1].set_default_value(&[1])).contains("default value"));
        assert!(refusal(|info| info.schema.fields[1].is_function_output = true).contains("a function fills"));
        assert!(refusal(|info| info.schema.functions = vec![FunctionSchema::default()]).contains("functions"));
        assert!(refusal(|info| info.schema.fields[2].data_type = 102).contains("data type 102"));
        assert!(refusal(|info| info.schema.fields[1].data_type = 22).contains("arrays of data type 0"));
        assert!(refusal(|info| info.schema.fields[0].is_primary_key = false).contains("primary key"));
        let segment =
            |info: &mut CollectionBackupInfo| std::mem::take(&mut info.partition_backups[0].segment_backups[0]);
        let with = |info: &mut CollectionBackupInfo, change: fn(&mut SegmentBackupInfo)| {
            let mut changed = segment(info);
            change(&mut changed);
            info.partition_backups[0].segment_backups[0] = changed;
        };
        assert!(refusal(|info| with(info, |one| one.storage_version = 2)).contains("storage version 2"));
        assert!(refusal(|info| with(info, |one| one.binlogs = logs(&[0, 1, 100, 101, 103]))).contains("field f102"));
        assert!(
            refusal(|info| with(info, |one| one.binlogs = logs(&[0, 1, 100, 101, 102, 103, 104]))).contains("several")
        );
        let newer = columns(&item(), Route::Jobs, &ServerVersion::parse("2.5.27")).unwrap_err();
        assert!(newer.contains("only on 2.3"), "{newer}");
        assert!(columns(&item(), Route::Partitions, &ServerVersion::parse("2.2.16")).is_err());
    }

    #[test]
    fn a_partition_is_as_large_as_its_rows_unpacked_or_its_files() {
        let item = item();
        let batch = |bytes| Batch {
            partition: String::new(),
            kind: BatchKind::Rows,
            directories: Vec::new(),
            storage_version: 0,
            segments: vec![7],
            bytes,
            objects: 0,
        };
        assert_eq!(estimate(&item, &batch(0)), 10 * (8 + 8 + 32 * 4));
        assert_eq!(estimate(&item, &batch(1 << 30)), 1 << 30);
    }

    fn key_column() -> Vec<Column> {
        columns(&item(), Route::Partitions, &ServerVersion::parse("v2.3.5")).unwrap().into_iter().take(1).collect()
    }

    #[test]
    fn rows_of_one_key_stay_as_often_as_they_are_newer_than_its_delete() {
        let keys = [Values::Integers(vec![1, 2, 1, 1, 3])];
        let stamps = Values::Integers(vec![10, 10, 20, 30, 40]);
        let deletes: Deletes = [Delete { key: Key::Int(1), timestamp: 20 }, Delete { key: Key::Int(4), timestamp: 99 }]
            .into_iter()
            .collect();
        let rows = |stamps: Option<&Values>, deletes: &Deletes, cut| kept(&key_column(), &keys, stamps, deletes, cut);
        assert_eq!(rows(Some(&stamps), &deletes, None), Ok(vec![1, 2, 3, 4]));
        assert_eq!(rows(Some(&stamps), &deletes, Some(30)), Ok(vec![1, 2, 3]));
        assert_eq!(rows(None, &Deletes::default(), None), Ok(vec![0, 1, 2, 3, 4]));
        let short = Values::Integers(vec![10]);
        assert!(rows(Some(&short), &deletes, None).unwrap_err().contains("of timestamps has 1 values for 5 rows"));
    }

    #[test]
    fn requests_are_cut_by_bytes_and_hold_at_least_one_row() {
        // Nine bytes each.
        let values = [Values::Integers(vec![0; 10])];
        let rows: Vec<usize> = (0..10).step_by(2).collect();
        assert_eq!(requests(&values, &rows, 20), [0..2, 2..4, 4..5]);
        assert_eq!(requests(&values, &rows, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(requests(&values, &rows, 1000), vec![0..5]);
        assert!(requests(&values, &[], 20).is_empty());
        assert_eq!(bytes(&values, &rows), 45);
    }

    #[test]
    fn a_column_has_the_chosen_rows_in_their_order_and_no_others() {
        let column = &key_column()[0];
        let data = field_data(column, &Values::Integers(vec![5, 6, 7]), &[2, 0]).unwrap();
        let long = Data::LongData(LongArray { data: vec![7, 5] });
        assert_eq!(data.field, Some(Field::Scalars(ScalarField { data: Some(long) })));
        assert_eq!((data.r#type, data.field_name.as_str(), data.is_dynamic), (5, "f100", false));
        assert!(field_data(column, &Values::Integers(vec![5]), &[1]).unwrap_err().contains("fewer values"));
        assert!(field_data(column, &Values::Doubles(vec![5.0]), &[0]).unwrap_err().contains("another type"));
    }
}
