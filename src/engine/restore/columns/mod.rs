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

pub use self::comparable::comparable;
pub use self::insertable::columns;
pub use self::live::kept;
pub use self::requests::{bytes, estimate, requests, segments};
pub use self::wire::field_data;
use crate::manifest::CollectionBackupInfo;
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
}

impl Column {
    /// Name of the field.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The hidden field: the one that has binlogs and is not in the schema.
fn dynamic(info: &CollectionBackupInfo, declared: &BTreeSet<i64>) -> Result<Column, String> {
    let logged: BTreeSet<i64> = info
        .segments()
        .flat_map(|segment| segment.insert_logs().map(|(field, _)| field))
        .filter(|field| !SYSTEM_FIELDS.contains(field) && !declared.contains(field))
        .collect();
    let recorded = info.schema.fields.iter().find(|field| field.is_dynamic).map(|field| field.field_id);
    let logged: Vec<i64> = logged.into_iter().collect();
    let id = match (recorded, logged.as_slice()) {
        (Some(id), _) => id,
        (None, [id]) => *id,
        // Without a row there is no binlog, and none is asked for.
        (None, []) => declared.last().map_or(0, |last| last + 1),
        (None, _) => return Err("has dynamic values in several fields".to_owned()),
    };
    Ok(Column {
        id,
        name: DYNAMIC.to_owned(),
        data_type: DataType::Json,
        element_type: DataType::None,
        dynamic: true,
        primary: false,
    })
}

fn is_known(data_type: DataType) -> bool {
    is_element(data_type)
        || matches!(data_type, DataType::Array | DataType::Json | DataType::BinaryVector | DataType::FloatVector)
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
    use crate::engine::restore::plan::{Action, Item, Route};
    use crate::engine::select::Name;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, FieldBinlog, FieldSchema, KeyValuePair, SegmentBackupInfo};
    use crate::milvus::ServerVersion;

    fn field(id: i64, data_type: DataType) -> FieldSchema {
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
        columns(&item(), Route::Partitions, &ServerVersion::parse("v2.3.5")).unwrap().into_iter().take(1).collect()
    }
}
