//! Pure: values of a backup as the columns of a request.

use super::Column;
use crate::manifest::binlog::{Fixed, Series, Values};
use crate::milvus::DataType;
use crate::milvus::proto::schema::field_data::Field;
use crate::milvus::proto::schema::scalar_field::Data;
use crate::milvus::proto::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, IntArray, JsonArray, LongArray, ScalarField,
    SparseFloatArray, StringArray, VectorField, vector_field,
};

/// The chosen rows of a column as an insert carries them: of nulls there is a flag and no value. Servers since 2.5 want the
/// flags wherever a field has a default, too, and put that in the place of nulls (source of their proxy).
///
/// # Errors
/// Values of another type than the column's, nulls that would become something else.
pub fn inserted(column: &Column, series: &Series, rows: &[usize]) -> Result<FieldData, String> {
    let is_null = |row: &usize| series.is_null(*row);
    if column.default && rows.iter().any(is_null) {
        return Err(format!("field {} has nulls, for which the server would put its default", column.name));
    }
    field_data(column, series, rows)
}

/// The chosen rows of a column in the form in which servers take and answer them.
///
/// # Errors
/// Values of another type than the column's.
pub fn field_data(column: &Column, series: &Series, rows: &[usize]) -> Result<FieldData, String> {
    let there: Vec<usize> = rows.iter().copied().filter(|row| !series.is_null(*row)).collect();
    if there.len() < rows.len() && !column.nullable {
        return Err(format!("field {} has nulls, and must not have any", column.name));
    }
    let values = series.values();
    let field = match (column.data_type, values) {
        (DataType::SparseFloatVector, Values::Texts(_)) => Field::Vectors(sparse(column, values, &there)?),
        (_, Values::Fixed(vectors)) => Field::Vectors(dense(column, vectors, &there)?),
        _ => Field::Scalars(ScalarField { data: Some(scalars(column, values, &there)?) }),
    };
    let flagged = column.nullable || column.default;
    Ok(FieldData {
        r#type: column.data_type.into(),
        field_name: column.name.clone(),
        field: Some(field),
        field_id: 0,
        is_dynamic: column.dynamic,
        valid_data: if flagged { rows.iter().map(|row| !series.is_null(*row)).collect() } else { Vec::new() },
    })
}

/// Vectors of one length, which differ in how many bits an element has.
fn dense(column: &Column, vectors: &Fixed, rows: &[usize]) -> Result<VectorField, String> {
    let mut bytes = Vec::with_capacity(rows.len() * vectors.width());
    for row in rows {
        bytes.extend_from_slice(vectors.get(*row).ok_or_else(|| missing(column))?);
    }
    let width = vectors.width();
    let (dim, data) = match column.data_type {
        DataType::FloatVector if width.is_multiple_of(4) => {
            let (floats, _) = bytes.as_chunks::<4>();
            let data = floats.iter().map(|float| f32::from_le_bytes(*float)).collect();
            (width / 4, vector_field::Data::FloatVector(FloatArray { data }))
        }
        DataType::BinaryVector => (width * 8, vector_field::Data::BinaryVector(bytes)),
        DataType::Float16Vector if width.is_multiple_of(2) => (width / 2, vector_field::Data::Float16Vector(bytes)),
        DataType::BFloat16Vector if width.is_multiple_of(2) => (width / 2, vector_field::Data::Bfloat16Vector(bytes)),
        DataType::Int8Vector => (width, vector_field::Data::Int8Vector(bytes)),
        _ => return Err(strange(column)),
    };
    Ok(VectorField { dim: dim as i64, data: Some(data) })
}

/// Sparse vectors: pairs of a position and a float, 4 bytes each, stored as they are sent.
fn sparse(column: &Column, values: &Values, rows: &[usize]) -> Result<VectorField, String> {
    let contents = byte_strings(column, values, rows)?;
    let mut dim = 0;
    for content in &contents {
        let (pairs, rest) = content.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(strange(column));
        }
        let positions = pairs.iter().map(|[a, b, c, d, ..]| i64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 1);
        dim = positions.fold(dim, i64::max);
    }
    let data = Some(vector_field::Data::SparseFloatVector(SparseFloatArray { contents, dim }));
    Ok(VectorField { dim, data })
}

fn byte_strings(column: &Column, values: &Values, rows: &[usize]) -> Result<Vec<Vec<u8>>, String> {
    let Values::Texts(texts) = values else { return Err(strange(column)) };
    rows.iter().map(|row| texts.get(*row).map(<[u8]>::to_vec).ok_or_else(|| missing(column))).collect()
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
        (data_type, Values::Texts(_)) => {
            let data = byte_strings(column, values, rows)?;
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::key_column;
    use super::*;

    #[test]
    fn a_column_has_the_chosen_rows_in_their_order_and_no_others() {
        let column = &key_column()[0];
        let data = field_data(column, &Values::Integers(vec![5, 6, 7]).into(), &[2, 0]).unwrap();
        let long = Data::LongData(LongArray { data: vec![7, 5] });
        assert_eq!(data.field, Some(Field::Scalars(ScalarField { data: Some(long) })));
        assert_eq!((data.r#type, data.field_name.as_str(), data.is_dynamic), (5, "f100", false));
        assert!(field_data(column, &Values::Integers(vec![5]).into(), &[1]).unwrap_err().contains("fewer values"));
        assert!(field_data(column, &Values::Doubles(vec![5.0]).into(), &[0]).unwrap_err().contains("another type"));
    }

    fn optional(nullable: bool, default: bool) -> Column {
        let mut field = crate::manifest::FieldSchema {
            field_id: 101,
            name: "f101".into(),
            data_type: DataType::Int64.into(),
            nullable,
            ..Default::default()
        };
        if default {
            field.set_default_value(&[24, 7]);
        }
        Column::of(&field).unwrap()
    }

    #[test]
    fn flags_go_with_fields_that_may_be_null_or_have_a_default_and_with_no_others() {
        let whole: Series = Values::Integers(vec![5, 6]).into();
        let flags = |column: &Column| inserted(column, &whole, &[0, 1]).unwrap().valid_data;
        assert_eq!(flags(&optional(true, false)), [true, true]);
        assert_eq!(flags(&optional(false, true)), [true, true]);
        assert!(flags(&optional(false, false)).is_empty());
    }
}
