//! Pure: schemas between the wire and the backup's metadata.
//!
//! Default values travel as the serialised `ValueField`, because a present zero and an absent value differ
//! (milvus-backup.md 3.3, milvus-wire.md 3.1).

use prost::Message;

use crate::manifest::schema::{FunctionSchema, StructArrayFieldSchema};
use crate::manifest::{self, ManifestError};
use crate::milvus::proto::{common, schema as wire};

/// What a backup records of a schema read from the server.
pub fn to_backup(schema: &wire::CollectionSchema) -> manifest::CollectionSchema {
    manifest::CollectionSchema {
        name: schema.name.clone(),
        description: schema.description.clone(),
        auto_id: schema.fields.iter().any(|field| field.is_primary_key && field.auto_id),
        fields: schema.fields.iter().map(field_to_backup).collect(),
        enable_dynamic_field: schema.enable_dynamic_field,
        properties: pairs(&schema.properties),
        functions: schema
            .functions
            .iter()
            .map(|function| FunctionSchema {
                name: function.name.clone(),
                id: function.id,
                description: function.description.clone(),
                kind: function.r#type,
                input_field_names: function.input_field_names.clone(),
                input_field_ids: function.input_field_ids.clone(),
                output_field_names: function.output_field_names.clone(),
                output_field_ids: function.output_field_ids.clone(),
                params: pairs(&function.params),
            })
            .collect(),
        struct_array_fields: schema
            .struct_array_fields
            .iter()
            .map(|group| StructArrayFieldSchema {
                field_id: group.field_id,
                name: group.name.clone(),
                description: group.description.clone(),
                fields: group.fields.iter().map(field_to_backup).collect(),
            })
            .collect(),
    }
}

/// What a backup records of one field.
pub fn field_to_backup(field: &wire::FieldSchema) -> manifest::FieldSchema {
    let mut recorded = manifest::FieldSchema {
        field_id: field.field_id,
        name: field.name.clone(),
        is_primary_key: field.is_primary_key,
        description: field.description.clone(),
        data_type: field.data_type,
        type_params: pairs(&field.type_params),
        index_params: pairs(&field.index_params),
        auto_id: field.auto_id,
        state: field.state,
        element_type: field.element_type,
        is_dynamic: field.is_dynamic,
        is_partition_key: field.is_partition_key,
        nullable: field.nullable,
        is_function_output: field.is_function_output,
        ..manifest::FieldSchema::default()
    };
    if let Some(value) = &field.default_value {
        recorded.set_default_value(&value.encode_to_vec());
    }
    recorded
}

/// The schema to create a collection with, under its target name. The server assigns field ids in order and makes the
/// dynamic field itself, so a recorded dynamic field is left out (milvus-wire.md 2.3).
///
/// # Errors
/// A recorded default value that cannot be decoded.
pub fn to_wire(schema: &manifest::CollectionSchema, name: &str) -> Result<wire::CollectionSchema, ManifestError> {
    Ok(wire::CollectionSchema {
        name: name.to_owned(),
        description: schema.description.clone(),
        fields: fields_to_wire(&schema.fields)?,
        enable_dynamic_field: schema.enable_dynamic_field,
        properties: wire_pairs(&schema.properties),
        functions: schema
            .functions
            .iter()
            .map(|function| wire::FunctionSchema {
                name: function.name.clone(),
                id: function.id,
                description: function.description.clone(),
                r#type: function.kind,
                input_field_names: function.input_field_names.clone(),
                input_field_ids: function.input_field_ids.clone(),
                output_field_names: function.output_field_names.clone(),
                output_field_ids: function.output_field_ids.clone(),
                params: wire_pairs(&function.params),
            })
            .collect(),
        struct_array_fields: schema
            .struct_array_fields
            .iter()
            .map(|group| {
                Ok(wire::StructArrayFieldSchema {
                    field_id: group.field_id,
                    name: group.name.clone(),
                    description: group.description.clone(),
                    fields: fields_to_wire(&group.fields)?,
                    ..wire::StructArrayFieldSchema::default()
                })
            })
            .collect::<Result<_, ManifestError>>()?,
        ..wire::CollectionSchema::default()
    })
}

fn fields_to_wire(fields: &[manifest::FieldSchema]) -> Result<Vec<wire::FieldSchema>, ManifestError> {
    fields.iter().filter(|field| !field.is_dynamic).map(field_to_wire).collect()
}

fn field_to_wire(field: &manifest::FieldSchema) -> Result<wire::FieldSchema, ManifestError> {
    let default_value = match field.default_value()? {
        None => None,
        Some(bytes) => Some(wire::ValueField::decode(bytes.as_slice()).map_err(|error| ManifestError::Value {
            object: format!("field {}", field.name),
            what: "default_value",
            cause: error.to_string(),
        })?),
    };
    Ok(wire::FieldSchema {
        field_id: field.field_id,
        name: field.name.clone(),
        is_primary_key: field.is_primary_key,
        description: field.description.clone(),
        data_type: field.data_type,
        type_params: wire_pairs(&field.type_params),
        index_params: wire_pairs(&field.index_params),
        auto_id: field.auto_id,
        state: field.state,
        element_type: field.element_type,
        default_value,
        is_partition_key: field.is_partition_key,
        nullable: field.nullable,
        is_function_output: field.is_function_output,
        ..wire::FieldSchema::default()
    })
}

fn pairs(pairs: &[common::KeyValuePair]) -> Vec<manifest::KeyValuePair> {
    pairs.iter().map(|pair| manifest::KeyValuePair { key: pair.key.clone(), value: pair.value.clone() }).collect()
}

fn wire_pairs(pairs: &[manifest::KeyValuePair]) -> Vec<common::KeyValuePair> {
    pairs.iter().map(|pair| common::KeyValuePair { key: pair.key.clone(), value: pair.value.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_of_zero_survives_the_way_there_and_back() {
        let field = wire::FieldSchema {
            field_id: 101,
            name: "n".into(),
            data_type: 5,
            default_value: Some(wire::ValueField { data: Some(wire::value_field::Data::LongData(0)) }),
            ..wire::FieldSchema::default()
        };
        let none = wire::FieldSchema { field_id: 102, name: "m".into(), data_type: 5, ..wire::FieldSchema::default() };
        let schema = wire::CollectionSchema {
            name: "c".into(),
            fields: vec![field, none],
            enable_dynamic_field: true,
            ..wire::CollectionSchema::default()
        };
        let back = to_wire(&to_backup(&schema), "c").unwrap();
        assert_eq!(back, schema);
        assert!(back.fields[0].default_value.is_some() && back.fields[1].default_value.is_none());
    }

    #[test]
    fn the_target_name_replaces_the_recorded_one_and_the_dynamic_field_is_left_to_the_server() {
        let recorded = manifest::CollectionSchema {
            name: "old".into(),
            fields: vec![
                manifest::FieldSchema { name: "id".into(), is_primary_key: true, ..Default::default() },
                manifest::FieldSchema { name: "$meta".into(), is_dynamic: true, ..Default::default() },
            ],
            ..Default::default()
        };
        let wire = to_wire(&recorded, "new").unwrap();
        assert_eq!((wire.name.as_str(), wire.fields.len()), ("new", 1));
    }
}
