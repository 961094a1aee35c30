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
    /// No value, which is not an empty one.
    Null,
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
    /// Sparse vector: positions in ascending order, with the bits of their values.
    Sparse(Vec<(u32, u32)>),
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
            (Cell::Sparse(one), Cell::Sparse(other)) => one == other,
            (Cell::Null, Cell::Null) => true,
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
            Cell::Bool(_) | Cell::Null => 1,
            Cell::Float(_) => 4,
            Cell::Int(_) | Cell::Double(_) => 9,
            Cell::Text(text) => text.len() + 4,
            Cell::Json(bytes) | Cell::Vector(bytes) => bytes.len() + 4,
            Cell::Array(cells) => cells.iter().map(Cell::size).sum(),
            Cell::Sparse(pairs) => pairs.len() * 8 + 4,
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
///
/// Where a flag says that a row is null, the column has a value for every row, as servers answer, or only for the others, as
/// they take them (Milvus' proxy calls the forms full and compressed).
pub fn cells(column: &FieldData, rows: usize) -> Option<Vec<Cell>> {
    let flags = &column.valid_data;
    let there = flags.iter().filter(|flag| **flag).count();
    if !flags.is_empty() && flags.len() != rows {
        return None;
    }
    let nulls = rows - if flags.is_empty() { rows } else { there };
    let cells = match column.field.as_ref() {
        Some(Field::Scalars(scalars)) => scalar_cells(scalars)?,
        Some(Field::Vectors(vectors)) => vector_cells(vectors.data.as_ref()?, rows - nulls)?,
        None if nulls == rows && rows > 0 => Vec::new(),
        None => return None,
    };
    if nulls == 0 {
        return (cells.len() == rows).then_some(cells);
    }
    let full = match cells.len() {
        length if length == rows => true,
        length if length == there => false,
        _ => return None,
    };
    let mut cells = cells.into_iter();
    let cell = |flag: &bool| match (flag, full) {
        (true, _) => cells.next(),
        (false, true) => cells.next().map(|_| Cell::Null),
        (false, false) => Some(Cell::Null),
    };
    flags.iter().map(cell).collect()
}

fn vector_cells(data: &vector_field::Data, rows: usize) -> Option<Vec<Cell>> {
    let floats: Vec<u8>;
    let bytes = match data {
        vector_field::Data::SparseFloatVector(sparse) => {
            return sparse.contents.iter().map(|content| sparse_cell(content)).collect();
        }
        vector_field::Data::FloatVector(all) => {
            floats = all.data.iter().flat_map(|one| one.to_le_bytes()).collect();
            &floats
        }
        vector_field::Data::BinaryVector(bytes)
        | vector_field::Data::Float16Vector(bytes)
        | vector_field::Data::Bfloat16Vector(bytes)
        | vector_field::Data::Int8Vector(bytes) => bytes,
    };
    let width = bytes.len().checked_div(rows)?;
    if width == 0 || bytes.len() != width * rows {
        return None;
    }
    Some(bytes.chunks(width).map(|vector| Cell::Vector(vector.to_vec())).collect())
}

/// Pairs of a position and a float, 4 bytes each; servers sort them by position.
fn sparse_cell(content: &[u8]) -> Option<Cell> {
    let (pairs, rest) = content.as_chunks::<8>();
    let split = |[a, b, c, d, e, f, g, h]: &[u8; 8]| {
        (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
    };
    let mut pairs: Vec<(u32, u32)> = pairs.iter().map(split).collect();
    pairs.sort_unstable();
    rest.is_empty().then_some(Cell::Sparse(pairs))
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
        ArrayArray, DoubleArray, FloatArray, JsonArray, LongArray, SparseFloatArray, StringArray, VectorField,
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

    fn nullable(data: Vec<i64>, valid_data: &[bool]) -> FieldData {
        FieldData { valid_data: valid_data.to_vec(), ..longs(data) }
    }

    #[test]
    fn nulls_are_told_from_zeros_in_both_forms_of_a_column() {
        let flags = [true, false, true];
        let (full, compressed) = (nullable(vec![7, 0, 8], &flags), nullable(vec![7, 8], &flags));
        let wanted = [Cell::Int(7), Cell::Null, Cell::Int(8)];
        assert!(cells(&full, 3).unwrap() == wanted && cells(&compressed, 3).unwrap() == wanted);
        assert!(cells(&longs(vec![7, 0, 8]), 3).unwrap() != wanted);
        assert!(cells(&nullable(vec![7], &flags), 3).is_none());
        assert!(cells(&nullable(vec![7, 8], &[true, false]), 3).is_none());
        // Of nothing but nulls there may be no values of any kind.
        let empty = FieldData { field: None, ..nullable(vec![], &[false, false]) };
        assert!(cells(&empty, 2).unwrap() == [Cell::Null, Cell::Null]);
        assert!(cells(&FieldData { field: None, ..longs(vec![]) }, 2).is_none());
    }

    fn vector(data: vector_field::Data) -> FieldData {
        FieldData { field: Some(Field::Vectors(VectorField { dim: 2, data: Some(data) })), ..FieldData::default() }
    }

    #[test]
    fn vectors_of_small_numbers_are_compared_by_their_bytes() {
        for of in
            [vector_field::Data::Float16Vector, vector_field::Data::Bfloat16Vector, vector_field::Data::Int8Vector]
        {
            let (one, other) = (vector(of(vec![1, 2, 3, 4])), vector(of(vec![1, 2, 3, 5])));
            assert!(equal(&one, &one) && !equal(&one, &other));
        }
    }

    #[test]
    fn sparse_vectors_are_equal_by_their_pairs_whatever_the_order() {
        let pair = |at: u32, value: f32| [at.to_le_bytes(), value.to_le_bytes()].concat();
        let sparse = |contents: Vec<u8>| {
            vector(vector_field::Data::SparseFloatVector(SparseFloatArray { contents: vec![contents], dim: 9 }))
        };
        let sorted = sparse([pair(1, 0.5), pair(8, 2.0)].concat());
        assert!(equal(&sorted, &sparse([pair(8, 2.0), pair(1, 0.5)].concat())));
        assert!(!equal(&sorted, &sparse([pair(1, 0.5), pair(7, 2.0)].concat())));
        assert!(!equal(&sorted, &sparse([pair(1, 0.5), pair(8, 2.5)].concat())));
        assert!(!equal(&sorted, &sparse(pair(1, 0.5))));
        assert!(cells(&sparse(vec![0; 7]), 1).is_none());
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
