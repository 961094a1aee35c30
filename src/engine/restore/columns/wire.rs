//! Pure: values of a backup as the columns of a request.

use super::Column;
use crate::manifest::binlog::Values;
use crate::milvus::DataType;
use crate::milvus::proto::schema::field_data::Field;
use crate::milvus::proto::schema::scalar_field::Data;
use crate::milvus::proto::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, IntArray, JsonArray, LongArray, ScalarField,
    StringArray, VectorField, vector_field,
};

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

#[cfg(test)]
mod tests {
    use super::super::fixtures::key_column;
    use super::*;

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
