//! Pure: what of a backup can be compared with rows of a server.

use super::{Column, DYNAMIC, dynamic, is_element, is_known};
use crate::manifest::CollectionBackupInfo;
use crate::milvus::DataType;

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
