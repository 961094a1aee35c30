//! Pure: values in a form in which those of a backup and those a server answers can be compared, bit by bit.
//!
//! Must never show a value: it may be private. What differs is told by the place of the column.

use prost::Message;

use crate::milvus::proto::schema::field_data::Field;
use crate::milvus::proto::schema::scalar_field::Data;
use crate::milvus::proto::schema::{FieldData, ScalarField, vector_field};

/// A row, in the order of the columns that were asked for.
pub type Row = Vec<Cell>;

/// One value.
#[derive(Clone)]
pub enum Cell {
    /// Truth value.
    Bool(bool),
    /// Number of any width.
    Int(i64),
    /// Float by its bits: not a number is itself, and the two zeros are not the same.
    Float(u32),
    /// Double by its bits.
    Double(u64),
    /// Text.
    Text(String),
    /// JSON as it is stored.
    Json(Vec<u8>),
    /// Array.
    Array(Vec<Cell>),
    /// Vector by its bytes.
    Vector(Vec<u8>),
}

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        match (self, other) {
            (Cell::Bool(one), Cell::Bool(other)) => one == other,
            (Cell::Int(one), Cell::Int(other)) => one == other,
            (Cell::Float(one), Cell::Float(other)) => one == other,
            (Cell::Double(one), Cell::Double(other)) => one == other,
            (Cell::Text(one), Cell::Text(other)) => one == other,
            (Cell::Array(one), Cell::Array(other)) => one == other,
            (Cell::Vector(one), Cell::Vector(other)) => one == other,
            // A server may write the same document otherwise.
            (Cell::Json(one), Cell::Json(other)) => one == other || same_json(one, other),
            _ => false,
        }
    }
}

fn same_json(one: &[u8], other: &[u8]) -> bool {
    let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
    read(one).is_some_and(|one| read(other) == Some(one))
}

impl Cell {
    /// Bytes it takes in an answer, about.
    pub fn size(&self) -> usize {
        match self {
            Cell::Bool(_) => 1,
            Cell::Float(_) => 4,
            Cell::Int(_) | Cell::Double(_) => 9,
            Cell::Text(text) => text.len() + 4,
            Cell::Json(bytes) | Cell::Vector(bytes) => bytes.len() + 4,
            Cell::Array(cells) => cells.iter().map(Cell::size).sum(),
        }
    }
}

/// How many values a column of scalars has.
pub fn length(field: &Field) -> usize {
    match field {
        Field::Scalars(scalars) => scalar_cells(scalars).map_or(0, |cells| cells.len()),
        Field::Vectors(_) => 0,
    }
}

/// The values of a column, none where they are of a kind that is not known or do not make `rows` values.
pub fn cells(column: &FieldData, rows: usize) -> Option<Vec<Cell>> {
    let cells = match column.field.as_ref()? {
        Field::Scalars(scalars) => scalar_cells(scalars)?,
        Field::Vectors(vectors) => {
            let bytes: Vec<u8> = match vectors.data.as_ref()? {
                vector_field::Data::FloatVector(floats) => {
                    floats.data.iter().flat_map(|one| one.to_le_bytes()).collect()
                }
                vector_field::Data::BinaryVector(bytes) => bytes.clone(),
            };
            let width = bytes.len().checked_div(rows)?;
            if width == 0 || bytes.len() != width * rows {
                return None;
            }
            bytes.chunks(width).map(|vector| Cell::Vector(vector.to_vec())).collect()
        }
    };
    (cells.len() == rows).then_some(cells)
}

fn scalar_cells(scalars: &ScalarField) -> Option<Vec<Cell>> {
    // An empty list has no kind.
    let Some(data) = &scalars.data else { return Some(Vec::new()) };
    Some(match data {
        Data::BoolData(all) => all.data.iter().map(|one| Cell::Bool(*one)).collect(),
        Data::IntData(all) => all.data.iter().map(|one| Cell::Int((*one).into())).collect(),
        Data::LongData(all) => all.data.iter().map(|one| Cell::Int(*one)).collect(),
        Data::FloatData(all) => all.data.iter().map(|one| Cell::Float(one.to_bits())).collect(),
        Data::DoubleData(all) => all.data.iter().map(|one| Cell::Double(one.to_bits())).collect(),
        Data::StringData(all) => all.data.iter().cloned().map(Cell::Text).collect(),
        Data::JsonData(all) => all.data.iter().cloned().map(Cell::Json).collect(),
        Data::ArrayData(all) => {
            let array = |bytes: &Vec<u8>| scalar_cells(&ScalarField::decode(bytes.as_slice()).ok()?).map(Cell::Array);
            all.data.iter().map(array).collect::<Option<_>>()?
        }
    })
}

/// Columns put together to rows; the place of the first column that is not understood otherwise.
pub fn rows(columns: &[FieldData], count: usize) -> Result<Vec<Row>, usize> {
    let mut rows: Vec<Row> = vec![Vec::with_capacity(columns.len()); count];
    for (at, column) in columns.iter().enumerate() {
        let cells = cells(column, count).ok_or(at)?;
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    Ok(rows)
}

/// The first column in which the first of `found` is not as `wanted`; none where any of them is, or where there is none.
pub fn difference(wanted: &Row, found: &[Row]) -> Option<usize> {
    if found.contains(wanted) {
        return None;
    }
    let first = found.first()?;
    Some(wanted.iter().zip(first).position(|(one, other)| one != other).unwrap_or(wanted.len().min(first.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::milvus::proto::schema::{
        ArrayArray, DoubleArray, FloatArray, JsonArray, LongArray, StringArray, VectorField,
    };

    fn scalars(data: Data) -> FieldData {
        FieldData { field: Some(Field::Scalars(ScalarField { data: Some(data) })), ..FieldData::default() }
    }

    fn longs(data: Vec<i64>) -> FieldData {
        scalars(Data::LongData(LongArray { data }))
    }

    fn json(text: &str) -> FieldData {
        scalars(Data::JsonData(JsonArray { data: vec![text.as_bytes().to_vec()] }))
    }

    fn equal(one: &FieldData, other: &FieldData) -> bool {
        cells(one, 1).unwrap() == cells(other, 1).unwrap()
    }

    #[test]
    fn documents_are_equal_whatever_the_order_of_their_keys() {
        assert!(equal(&json(r#"{"a":1,"b":[1,2]}"#), &json(r#"{ "b":[1,2], "a":1 }"#)));
        assert!(!equal(&json(r#"{"a":1,"b":[1,2]}"#), &json(r#"{"a":1,"b":[2,1]}"#)));
        assert!(!equal(&json("not json"), &json("nor this")));
    }

    #[test]
    fn floats_are_equal_by_their_bits() {
        let float = |value: f32| scalars(Data::FloatData(FloatArray { data: vec![value] }));
        assert!(equal(&float(f32::NAN), &float(f32::NAN)));
        assert!(!equal(&float(0.0), &float(-0.0)));
        let double = |value: f64| scalars(Data::DoubleData(DoubleArray { data: vec![value] }));
        assert!(!equal(&double(0.1), &double(0.1_f32.into())));
    }

    #[test]
    fn arrays_are_compared_by_their_elements() {
        let array = |inside: &ScalarField| {
            scalars(Data::ArrayData(ArrayArray { data: vec![inside.encode_to_vec()], element_type: 5 }))
        };
        let of = |data: Vec<i64>| array(&ScalarField { data: Some(Data::LongData(LongArray { data })) });
        assert!(equal(&of(vec![1, 2]), &of(vec![1, 2])) && !equal(&of(vec![1, 2]), &of(vec![2, 1])));
        assert!(equal(&of(vec![]), &array(&ScalarField::default())));
    }

    #[test]
    fn a_column_of_another_length_or_of_no_known_kind_is_not_understood() {
        assert!(cells(&longs(vec![1, 2]), 3).is_none());
        assert!(cells(&FieldData::default(), 1).is_none());
        let data = Some(vector_field::Data::BinaryVector(vec![1, 2, 3]));
        let vectors = FieldData { field: Some(Field::Vectors(VectorField { dim: 8, data })), ..FieldData::default() };
        assert!(cells(&vectors, 2).is_none() && cells(&vectors, 0).is_none());
        assert_eq!(cells(&vectors, 3).unwrap().len(), 3);
        assert_eq!(rows(&[longs(vec![1]), FieldData::default()], 1).err(), Some(1));
    }

    #[test]
    fn a_row_is_found_among_all_that_have_its_key() {
        let row = |number: i64, text: &str| vec![Cell::Int(number), Cell::Text(text.into())];
        assert_eq!(difference(&row(1, "a"), &[row(1, "b"), row(1, "a")]), None);
        assert_eq!(difference(&row(1, "a"), &[row(1, "b"), row(1, "c")]), Some(1));
        assert_eq!(difference(&row(1, "a"), &[]), None);
    }

    proptest! {
        #[test]
        fn rows_are_equal_to_themselves_and_to_no_row_with_one_other_value(
            numbers in proptest::collection::vec(any::<i64>(), 1..20), texts in proptest::collection::vec(".{0,8}", 20), at: prop::sample::Index,
        ) {
            let count = numbers.len();
            let text = |texts: &[String]| scalars(Data::StringData(StringArray { data: texts[..count].to_vec() }));
            let table = rows(&[longs(numbers.clone()), text(&texts)], count).unwrap();
            for row in &table {
                prop_assert_eq!(difference(row, std::slice::from_ref(row)), None);
            }
            let at = at.index(count);
            let mut changed = texts;
            changed[at].push('x');
            let other = rows(&[longs(numbers), text(&changed)], count).unwrap();
            prop_assert_eq!(difference(&table[at], &other[at..=at]), Some(1));
        }
    }
}
