//! Schema, fields, functions and indexes of a collection, as the Go tool stores them.
//!
//! Source: milvus-backup.md 3.2 and 3.3. Field order is the order in the file; a zero value is left out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::error::ManifestError;
use super::go_json::is_zero;

/// A key and its value, both text; the order of a list of them is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyValuePair {
    /// Key.
    #[serde(skip_serializing_if = "is_zero")]
    pub key: String,
    /// Value.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: String,
}

/// Schema of a collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectionSchema {
    /// Name at the time of the backup.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "is_zero")]
    pub description: String,
    /// Dead in the server; the flag of each field counts.
    #[serde(rename = "autoID", alias = "autoId", skip_serializing_if = "is_zero")]
    pub auto_id: bool,
    /// Fields in order of declaration, without the two system fields.
    #[serde(skip_serializing_if = "is_zero")]
    pub fields: Vec<FieldSchema>,
    /// Whether rows may carry undeclared keys.
    #[serde(skip_serializing_if = "is_zero")]
    pub enable_dynamic_field: bool,
    /// Properties such as `collection.ttl.seconds`.
    #[serde(skip_serializing_if = "is_zero")]
    pub properties: Vec<KeyValuePair>,
    /// Functions that fill fields.
    #[serde(skip_serializing_if = "is_zero")]
    pub functions: Vec<FunctionSchema>,
    /// Fields made of several sub-fields.
    #[serde(skip_serializing_if = "is_zero")]
    pub struct_array_fields: Vec<StructArrayFieldSchema>,
}

impl CollectionSchema {
    /// The field that identifies a row.
    pub fn primary_key(&self) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.is_primary_key)
    }
}

/// One field. Numbers of `data_type` and `element_type` are Milvus' own; unknown ones are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldSchema {
    /// 100 and up; restores need the same ids.
    #[serde(rename = "fieldID", alias = "fieldId", alias = "fieldid", skip_serializing_if = "is_zero")]
    pub field_id: i64,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Whether this field identifies a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub is_primary_key: bool,
    /// Free text.
    #[serde(skip_serializing_if = "is_zero")]
    pub description: String,
    /// `schema.DataType`.
    #[serde(skip_serializing_if = "is_zero")]
    pub data_type: i32,
    /// `dim`, `max_length`, ...
    #[serde(skip_serializing_if = "is_zero")]
    pub type_params: Vec<KeyValuePair>,
    /// Index parameters kept at the field.
    #[serde(skip_serializing_if = "is_zero")]
    pub index_params: Vec<KeyValuePair>,
    /// Whether the server makes the values.
    #[serde(rename = "autoID", alias = "autoId", skip_serializing_if = "is_zero")]
    pub auto_id: bool,
    /// Always 0 (created) in practice.
    #[serde(skip_serializing_if = "is_zero")]
    pub state: i32,
    /// `schema.DataType` of the elements of an array.
    #[serde(skip_serializing_if = "is_zero")]
    pub element_type: i32,
    /// Whether this is the field of undeclared keys.
    #[serde(skip_serializing_if = "is_zero")]
    pub is_dynamic: bool,
    /// Whether rows are put into partitions by this field.
    #[serde(skip_serializing_if = "is_zero")]
    pub is_partition_key: bool,
    /// Whether values may be missing.
    #[serde(skip_serializing_if = "is_zero")]
    pub nullable: bool,
    /// Old spelling of the default value; see [`FieldSchema::default_value`].
    #[serde(skip_serializing_if = "is_zero")]
    pub default_value_proto: String,
    /// Whether a function fills the field.
    #[serde(skip_serializing_if = "is_zero")]
    pub is_function_output: bool,
    /// Default value; see [`FieldSchema::default_value`].
    #[serde(skip_serializing_if = "is_zero")]
    pub default_value_base64: String,
}

impl FieldSchema {
    /// Serialised `schema.ValueField` of the default value, none where there is no default.
    ///
    /// The old spelling holds the raw bytes as JSON text and has lost whatever was not UTF-8; it counts only where the
    /// base64 one is absent.
    pub fn default_value(&self) -> Result<Option<Vec<u8>>, ManifestError> {
        if !self.default_value_base64.is_empty() {
            let bytes = STANDARD.decode(&self.default_value_base64).map_err(|error| ManifestError::Value {
                object: format!("field {}", self.name),
                what: "default_value_base64",
                cause: error.to_string(),
            })?;
            return Ok(Some(bytes));
        }
        if self.default_value_proto.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.default_value_proto.clone().into_bytes()))
    }

    /// Stores the serialised `schema.ValueField` of a default value.
    pub fn set_default_value(&mut self, value_field: &[u8]) {
        self.default_value_base64 = STANDARD.encode(value_field);
    }
}

/// A field that is an array of structures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StructArrayFieldSchema {
    /// Id of the structure; its sub-fields have their own.
    #[serde(rename = "fieldID", alias = "fieldId", alias = "fieldid", skip_serializing_if = "is_zero")]
    pub field_id: i64,
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "is_zero")]
    pub description: String,
    /// Sub-fields.
    #[serde(skip_serializing_if = "is_zero")]
    pub fields: Vec<FieldSchema>,
}

/// A function that fills fields from others. Its parameters may hold a provider's key in clear: never log them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionSchema {
    /// Name.
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    /// Id.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: i64,
    /// Free text.
    #[serde(skip_serializing_if = "is_zero")]
    pub description: String,
    /// `schema.FunctionType`: 1 BM25, 2 text embedding, unknown ones are kept.
    #[serde(rename = "type", skip_serializing_if = "is_zero")]
    pub kind: i32,
    /// Names of fields read.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_field_names: Vec<String>,
    /// Ids of fields read.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_field_ids: Vec<i64>,
    /// Names of fields filled.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_field_names: Vec<String>,
    /// Ids of fields filled.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_field_ids: Vec<i64>,
    /// Parameters.
    #[serde(skip_serializing_if = "is_zero")]
    pub params: Vec<KeyValuePair>,
}

impl std::fmt::Debug for FunctionSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionSchema")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("output_field_names", &self.output_field_names)
            .finish_non_exhaustive()
    }
}

/// An index. The fields from `field_id` on are there only in backups made with the Go tool's etcd extras.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexInfo {
    /// Indexed field.
    #[serde(skip_serializing_if = "is_zero")]
    pub field_name: String,
    /// Name of the index.
    #[serde(skip_serializing_if = "is_zero")]
    pub index_name: String,
    /// Kind, such as `HNSW`.
    #[serde(skip_serializing_if = "is_zero")]
    pub index_type: String,
    /// Parameters as Milvus gives them; build parameters may be JSON text under `params`.
    #[serde(skip_serializing_if = "is_zero")]
    pub params: BTreeMap<String, String>,
    /// Id of the index.
    #[serde(skip_serializing_if = "is_zero")]
    pub index_id: i64,
    /// Id of the indexed field.
    #[serde(skip_serializing_if = "is_zero")]
    pub field_id: i64,
    /// Hybrid timestamp of creation.
    #[serde(skip_serializing_if = "is_zero")]
    pub create_time: u64,
    /// Type parameters of the field.
    #[serde(skip_serializing_if = "is_zero")]
    pub type_params: Vec<KeyValuePair>,
    /// Parameters after the server's defaults.
    #[serde(skip_serializing_if = "is_zero")]
    pub index_params: Vec<KeyValuePair>,
    /// Parameters as the user gave them.
    #[serde(skip_serializing_if = "is_zero")]
    pub user_index_params: Vec<KeyValuePair>,
    /// Whether the server chose the kind.
    #[serde(skip_serializing_if = "is_zero")]
    pub is_auto_index: bool,
    /// Oldest index engine that reads it.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_index_version: i32,
    /// Newest index engine that reads it.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_index_version: i32,
}
