//! Pure: the fields of a collection as columns: which can be inserted, which can be compared, and their values as servers
//! take and answer them.
//!
//! - `insertable`: what of a backup can be inserted as rows.
//! - `comparable`: what of it can be compared with rows of a server.
//! - `live`: which rows of a file are not deleted.
//! - `wire`: values as the columns of a request.
//! - `requests`: how large rows are, and how they are cut into requests.

mod comparable;
mod insertable;
mod live;
mod requests;
mod wire;

use std::collections::BTreeSet;
use std::ops::Range;

pub use self::comparable::{LeftOut, comparable};
pub use self::insertable::{Server, columns};
pub use self::live::kept;
pub use self::requests::{bytes, estimate, requests, segments};
pub use self::wire::{field_data, inserted};
use crate::manifest::{CollectionBackupInfo, FieldSchema};
use crate::milvus::DataType;

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
    /// Whether rows may be without a value.
    nullable: bool,
    /// Whether the server has a value for rows without one.
    default: bool,
}

impl Column {
    /// Name of the field.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A declared field as a column.
    ///
    /// # Errors
    /// The clause that goes on after "field f is ..." where its type is not known here.
    fn of(field: &FieldSchema) -> Result<Column, String> {
        let known = |number: i32, among: fn(DataType) -> bool| {
            DataType::try_from(number).ok().filter(|data_type| among(*data_type))
        };
        let told = |number: i32| match DataType::try_from(number) {
            Ok(data_type) => data_type.as_str_name().to_owned(),
            Err(_) => number.to_string(),
        };
        let data_type = known(field.data_type, is_known)
            .ok_or_else(|| format!("of type {}, whose values this version does not read", told(field.data_type)))?;
        let element_type = match data_type {
            DataType::Array => known(field.element_type, is_element).ok_or_else(|| {
                format!("an array of type {}, whose values this version does not read", told(field.element_type))
            })?,
            _ => DataType::None,
        };
        if field.nullable && is_vector(data_type) {
            return Err("a vector that may be null, and how servers answer those has not been seen".to_owned());
        }
        Ok(Column {
            id: field.field_id,
            name: field.name.clone(),
            data_type,
            element_type,
            dynamic: false,
            primary: field.is_primary_key,
            nullable: field.nullable,
            default: !field.default_value_base64.is_empty() || !field.default_value_proto.is_empty(),
        })
    }
}

/// The hidden field: the one that has binlogs and is not in the schema. Where binlogs are named by groups of columns it is
/// the one whose number is missing, or the next: servers count on from 100 (milvus-wire.md 2.3).
fn dynamic(info: &CollectionBackupInfo, declared: &BTreeSet<i64>) -> Result<Column, String> {
    let logged: BTreeSet<i64> = info
        .segments()
        .filter(|segment| segment.storage_version < 2)
        .flat_map(|segment| segment.insert_logs().map(|(field, _)| field))
        .filter(|field| !SYSTEM_FIELDS.contains(field) && !declared.contains(field))
        .collect();
    let recorded = info.schema.fields.iter().find(|field| field.is_dynamic).map(|field| field.field_id);
    let logged: Vec<i64> = logged.into_iter().collect();
    let id = match (recorded, logged.as_slice()) {
        (Some(id), _) => id,
        (None, [id]) => *id,
        (None, []) => {
            let groups = info.schema.struct_array_fields.iter().map(|group| group.field_id);
            let taken: BTreeSet<i64> = declared.iter().copied().chain(groups).collect();
            (100..).find(|id| !taken.contains(id)).unwrap_or_default()
        }
        (None, _) => return Err("has dynamic values in several fields".to_owned()),
    };
    Ok(Column {
        id,
        name: DYNAMIC.to_owned(),
        data_type: DataType::Json,
        element_type: DataType::None,
        dynamic: true,
        primary: false,
        nullable: false,
        default: false,
    })
}

fn is_known(data_type: DataType) -> bool {
    is_element(data_type) || is_vector(data_type) || matches!(data_type, DataType::Array | DataType::Json)
}

fn is_vector(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::BinaryVector
            | DataType::FloatVector
            | DataType::Float16Vector
            | DataType::BFloat16Vector
            | DataType::SparseFloatVector
            | DataType::Int8Vector
    )
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

#[cfg(test)]
mod fixtures {
    use std::borrow::Cow;

    use super::*;
    use crate::engine::restore::plan::{Action, Item};
    use crate::engine::select::Name;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, FieldBinlog, KeyValuePair, SegmentBackupInfo};

    pub(super) fn field(id: i64, data_type: DataType) -> FieldSchema {
        FieldSchema { field_id: id, name: format!("f{id}"), data_type: data_type.into(), ..Default::default() }
    }

    pub(super) fn logs(fields: &[i64]) -> Vec<FieldBinlog> {
        let log = |field: &i64| FieldBinlog {
            field_id: *field,
            binlogs: vec![Binlog { log_id: 1000 + field, ..Default::default() }],
        };
        fields.iter().map(log).collect()
    }

    /// Key, text, vector, and whatever is dynamic, in one segment.
    pub(super) fn item() -> Item<'static> {
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

    pub(super) fn key_column() -> Vec<Column> {
        item().info.schema.fields.iter().take(1).map(|field| Column::of(field).unwrap()).collect()
    }
}
