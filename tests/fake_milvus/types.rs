//! Values of fields of every type: made up, answered to a query, and taken by an insert.
//!
//! A value is held by its bytes: numbers little-endian, arrays as the message of a row, vectors as they are sent.

use milvus_backup_operator::milvus::proto::schema::field_data::Field;
use milvus_backup_operator::milvus::proto::schema::scalar_field::Data;
use milvus_backup_operator::milvus::proto::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FieldSchema, FloatArray, IntArray, JsonArray, LongArray,
    ScalarField, SparseFloatArray, StringArray, ValueField, VectorField, value_field, vector_field,
};
use prost::Message as _;

/// A value, none where it is null.
pub type Value = Option<Vec<u8>>;

/// Elements of vectors.
const DIM: usize = 4;

/// Whether a field is stored as its type is. Texts and documents of the usual
/// collections are told apart by the time of their row, and their vectors are texts.
pub fn is_typed(field: &FieldSchema) -> bool {
    let usual = matches!(field.data_type, 21 | 23) || field.name == "vec";
    !field.is_primary_key && (!usual || field.nullable || field.default_value.is_some())
}

/// A value for a row; every third of a field that may be null is, and every third text is empty.
pub fn made(field: &FieldSchema, pk: i64) -> Value {
    if field.nullable && pk % 3 == 0 {
        return None;
    }
    let byte = |at: usize| (pk as usize * 31 + at * 7 + field.field_id as usize) as u8;
    let float = |at: usize| (pk as f32 / 8.0 + at as f32).to_le_bytes();
    Some(match field.data_type {
        1 => vec![u8::from(pk % 2 == 0)],
        2 => i32::from(pk as i8).to_le_bytes().to_vec(),
        3 | 4 => (pk as i32 * -5).to_le_bytes().to_vec(),
        5 => (pk * 7).to_le_bytes().to_vec(),
        10 => float(0).to_vec(),
        11 => (pk as f64 / 3.0).to_le_bytes().to_vec(),
        21 if pk % 3 == 1 => Vec::new(),
        21 => format!("{} of {pk}", field.name).into_bytes(),
        22 => {
            let data = LongArray { data: (0..pk % 4).collect() };
            ScalarField { data: Some(Data::LongData(data)) }.encode_to_vec()
        }
        23 => format!(r#"{{"of":{pk}}}"#).into_bytes(),
        100 => vec![byte(0)],
        101 => (0..DIM).flat_map(float).collect(),
        102 | 103 => (0..2 * DIM).map(byte).collect(),
        // Pairs of a position and a float (PyMilvus: the format is the same as how milvus persists the data).
        104 => (0..=pk as u32 % 3)
            .flat_map(|at| [(at * 1000 + pk as u32).to_le_bytes(), float(at as usize)].concat())
            .collect(),
        105 => (0..DIM).map(byte).collect(),
        other => panic!("no value is made of data type {other}"),
    })
}

/// Another value of the type.
pub fn changed(field: &FieldSchema, value: Value) -> Value {
    let Some(mut bytes) = value else { return made(&FieldSchema { nullable: false, ..field.clone() }, 2) };
    match field.data_type {
        21 | 23 => bytes.push(b'x'),
        22 => return Some(ScalarField { data: Some(Data::LongData(LongArray { data: vec![-9] })) }.encode_to_vec()),
        _ => bytes[0] ^= 1,
    }
    Some(bytes)
}

/// What stands in the place of a null: zero, or an empty text.
pub fn zero(field: &FieldSchema) -> Vec<u8> {
    match field.data_type {
        1 => vec![0],
        2..=4 | 10 => vec![0; 4],
        5 | 11 => vec![0; 8],
        _ => Vec::new(),
    }
}

/// A column of an answer. In the full form there is a value for each row and a flag that says whether it counts (as PyMilvus
/// reads it); in the compressed one values of those rows only (Milvus' proxy knows both).
pub fn column(field: &FieldSchema, values: &[Value], compressed: bool) -> FieldData {
    let valid_data = if field.nullable { values.iter().map(Option::is_some).collect() } else { Vec::new() };
    let there: Vec<Vec<u8>> = match compressed {
        true => values.iter().flatten().cloned().collect(),
        false => values.iter().map(|value| value.clone().unwrap_or_else(|| zero(field))).collect(),
    };
    FieldData {
        r#type: field.data_type,
        field_name: field.name.clone(),
        field: Some(sent(field, there)),
        valid_data,
        ..FieldData::default()
    }
}

fn sent(field: &FieldSchema, values: Vec<Vec<u8>>) -> Field {
    fn numbers<const N: usize, T>(values: &[Vec<u8>], of: fn([u8; N]) -> T) -> Vec<T> {
        values.iter().map(|value| of(value[..].try_into().unwrap())).collect()
    }
    let vectors = |dim: usize, data| Field::Vectors(VectorField { dim: dim as i64, data: Some(data) });
    let data = match field.data_type {
        1 => Data::BoolData(BoolArray { data: values.iter().map(|value| value[0] == 1).collect() }),
        2..=4 => Data::IntData(IntArray { data: numbers(&values, i32::from_le_bytes) }),
        5 => Data::LongData(LongArray { data: numbers(&values, i64::from_le_bytes) }),
        10 => Data::FloatData(FloatArray { data: numbers(&values, f32::from_le_bytes) }),
        11 => Data::DoubleData(DoubleArray { data: numbers(&values, f64::from_le_bytes) }),
        21 => {
            let data = values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect();
            Data::StringData(StringArray { data })
        }
        22 => Data::ArrayData(ArrayArray { data: values, element_type: field.element_type }),
        23 => Data::JsonData(JsonArray { data: values }),
        100 => return vectors(8, vector_field::Data::BinaryVector(values.concat())),
        101 => {
            let data = values.concat().as_chunks::<4>().0.iter().map(|float| f32::from_le_bytes(*float)).collect();
            return vectors(DIM, vector_field::Data::FloatVector(FloatArray { data }));
        }
        102 => return vectors(DIM, vector_field::Data::Float16Vector(values.concat())),
        103 => return vectors(DIM, vector_field::Data::Bfloat16Vector(values.concat())),
        104 => {
            let data = SparseFloatArray { contents: values, dim: 1 << 20 };
            return vectors(1 << 20, vector_field::Data::SparseFloatVector(data));
        }
        105 => return vectors(DIM, vector_field::Data::Int8Vector(values.concat())),
        other => panic!("no value of data type {other} is sent"),
    };
    Field::Scalars(ScalarField { data: Some(data) })
}

/// What an insert of so many rows brings for a field, as Milvus' proxy takes it since 2.5: flags for every row where the field may
/// be null or has a default, values for those alone that have one; a default in the place of a null.
pub fn taken(field: &FieldSchema, data: &FieldData, rows: usize) -> Result<Vec<Value>, String> {
    let flagged = field.nullable || field.default_value.is_some();
    let wrong = |what: &str| Err(format!("the length of {what} of field({}) is wrong", field.name));
    if data.valid_data.len() != if flagged { rows } else { 0 } {
        return wrong("valid_data");
    }
    let values = received(data);
    let flags = if flagged { data.valid_data.clone() } else { vec![true; rows] };
    if values.len() != flags.iter().filter(|flag| **flag).count() {
        return wrong("data");
    }
    let mut values = values.into_iter();
    let default = field.default_value.as_ref().map(default_bytes);
    Ok(flags.iter().map(|flag| if *flag { values.next() } else { default.clone() }).collect())
}

fn received(data: &FieldData) -> Vec<Vec<u8>> {
    fn bytes<T, const N: usize>(values: &[T], of: impl Fn(&T) -> [u8; N]) -> Vec<Vec<u8>> {
        values.iter().map(|value| of(value).to_vec()).collect()
    }
    match data.field.as_ref().unwrap() {
        Field::Scalars(scalars) => match scalars.data.as_ref().unwrap() {
            Data::BoolData(all) => bytes(&all.data, |value| [u8::from(*value)]),
            Data::IntData(all) => bytes(&all.data, |value| value.to_le_bytes()),
            Data::LongData(all) => bytes(&all.data, |value| value.to_le_bytes()),
            Data::FloatData(all) => bytes(&all.data, |value| value.to_le_bytes()),
            Data::DoubleData(all) => bytes(&all.data, |value| value.to_le_bytes()),
            Data::StringData(all) => all.data.iter().map(|value| value.clone().into_bytes()).collect(),
            Data::JsonData(all) => all.data.clone(),
            Data::ArrayData(all) => all.data.clone(),
        },
        Field::Vectors(vectors) => {
            let dim = vectors.dim as usize;
            let cut = |all: &[u8], width: usize| all.chunks(width).map(<[u8]>::to_vec).collect();
            match vectors.data.as_ref().unwrap() {
                vector_field::Data::FloatVector(all) => {
                    cut(&all.data.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<u8>>(), dim * 4)
                }
                vector_field::Data::BinaryVector(all) => cut(all, dim / 8),
                vector_field::Data::Float16Vector(all) | vector_field::Data::Bfloat16Vector(all) => cut(all, dim * 2),
                vector_field::Data::Int8Vector(all) => cut(all, dim),
                vector_field::Data::SparseFloatVector(all) => all.contents.clone(),
            }
        }
    }
}

fn default_bytes(value: &ValueField) -> Vec<u8> {
    match value.data.as_ref().unwrap() {
        value_field::Data::LongData(number) => number.to_le_bytes().to_vec(),
        value_field::Data::StringData(text) => text.clone().into_bytes(),
        other => panic!("no default {other:?} here"),
    }
}
