//! Pure: what of a backup can be compared with rows of a server.

use std::collections::BTreeMap;

use super::{Column, DYNAMIC, dynamic};
use crate::manifest::CollectionBackupInfo;

/// Fields that are not compared, with the clause that says why: "field f is ...".
pub type LeftOut = BTreeMap<String, String>;

/// The columns of a collection whose values can be compared with those a server answers, and the others.
///
/// # Errors
/// A clause on why rows cannot be asked for by their key.
pub fn comparable(info: &CollectionBackupInfo) -> Result<(Vec<Column>, LeftOut), String> {
    let (mut columns, mut left_out) = (Vec::new(), LeftOut::new());
    for field in info.schema.fields.iter().filter(|field| !field.is_dynamic) {
        let column = match field.is_function_output {
            true => {
                Err("filled by a function, and a server does not answer what it computed for all of them".to_owned())
            }
            false => Column::of(field),
        };
        match column {
            Ok(column) => columns.push(column),
            Err(why) => drop(left_out.insert(field.name.clone(), why)),
        }
    }
    for group in &info.schema.struct_array_fields {
        left_out.insert(group.name.clone(), "made of structures, whose values this version does not read".to_owned());
    }
    if columns.iter().filter(|column| column.primary).count() != 1 {
        return Err("it has no key that can be asked for".to_owned());
    }
    if info.schema.enable_dynamic_field {
        let inside = info.schema.struct_array_fields.iter().flat_map(|group| &group.fields);
        let fields = info.schema.fields.iter().filter(|field| !field.is_dynamic).chain(inside);
        match dynamic(info, &fields.map(|field| field.field_id).collect()) {
            Ok(column) => columns.push(column),
            Err(_) => {
                let why = "hidden, and the backup does not tell which of several files are its own".to_owned();
                left_out.insert(DYNAMIC.to_owned(), why);
            }
        }
    }
    Ok((columns, left_out))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{field, item};
    use super::*;
    use crate::milvus::DataType;

    #[test]
    fn every_type_with_known_bytes_is_compared_and_the_others_are_named_with_their_reason() {
        let mut item = item();
        let fields = &mut item.info.to_mut().schema.fields;
        let known = [
            DataType::Float16Vector,
            DataType::BFloat16Vector,
            DataType::SparseFloatVector,
            DataType::Int8Vector,
            DataType::BinaryVector,
            DataType::Json,
        ];
        fields.extend(known.iter().zip(110..).map(|(data_type, id)| field(id, *data_type)));
        let mut maybe = field(120, DataType::VarChar);
        maybe.nullable = true;
        maybe.set_default_value(&[50, 0]);
        let mut output = field(121, DataType::SparseFloatVector);
        output.is_function_output = true;
        let mut vector = field(122, DataType::FloatVector);
        vector.nullable = true;
        let array = field(123, DataType::Array);
        fields.extend([maybe, output, vector, array, field(124, DataType::Geometry)]);
        item.info.to_mut().schema.enable_dynamic_field = false;
        let (columns, left_out) = comparable(&item.info).unwrap();
        let ids: Vec<i64> = columns.iter().map(|column| column.id).collect();
        assert_eq!(ids, [100, 101, 102, 110, 111, 112, 113, 114, 115, 120]);
        let told = |name: &str, words: &str| assert!(left_out[name].contains(words), "{left_out:?}");
        told("f121", "filled by a function");
        told("f122", "a vector that may be null");
        told("f123", "an array of type None");
        told("f124", "of type Geometry");
        assert_eq!(left_out.len(), 4);
    }
}
