//! Pure: what of a backup can be inserted as rows.
//!
//! Inserted rows have to be the rows an import would bring, so whatever the server would make, fill in or compute itself is
//! refused here, and so is every type whose values are not known to come back bit by bit (Milvus 2.3.5, tried for all of
//! its types).

use super::{Column, SYSTEM_FIELDS, dynamic, is_element, is_known};
use crate::engine::restore::plan::{Item, Route};
use crate::manifest::{CollectionBackupInfo, SegmentBackupInfo};
use crate::milvus::{DataType, ServerVersion};

/// The columns of a collection, or why its rows cannot be inserted.
///
/// # Errors
/// A clause that goes on after the collection's name.
pub fn columns(item: &Item<'_>, route: Route, version: &ServerVersion) -> Result<Vec<Column>, String> {
    let info: &CollectionBackupInfo = &item.info;
    if route != Route::Partitions || !version.at_least(2, 3, 0) {
        return Err(format!(
            "cannot be inserted on milvus {version}: only on 2.3 inserted rows are proven to be the same"
        ));
    }
    if !info.schema.functions.is_empty() {
        return Err("has functions, whose output the server would compute anew".to_owned());
    }
    if !info.schema.struct_array_fields.is_empty() {
        return Err("has fields of structures".to_owned());
    }
    let mut columns = Vec::new();
    for field in info.schema.fields.iter().filter(|field| !field.is_dynamic) {
        let named = |what: &str| format!("has field {} {what}", field.name);
        if field.auto_id {
            return Err(named("whose values the server makes"));
        }
        if field.is_function_output {
            return Err(named("that a function fills"));
        }
        if field.nullable {
            return Err(named("that may be null"));
        }
        if !field.default_value_base64.is_empty() || !field.default_value_proto.is_empty() {
            return Err(named("with a default value"));
        }
        let known = |number: i32, among: fn(DataType) -> bool| {
            DataType::try_from(number).ok().filter(|data_type| among(*data_type))
        };
        let data_type = known(field.data_type, is_known)
            .ok_or_else(|| named(&format!("of data type {}, which is not inserted", field.data_type)))?;
        let element_type = match data_type {
            DataType::Array => known(field.element_type, is_element).ok_or_else(|| {
                named(&format!("of arrays of data type {}, which is not inserted", field.element_type))
            })?,
            _ => DataType::None,
        };
        let (id, name, primary) = (field.field_id, field.name.clone(), field.is_primary_key);
        columns.push(Column { id, name, data_type, element_type, dynamic: false, primary });
    }
    if columns.iter().filter(|column| column.primary).count() != 1 {
        return Err("has no single primary key".to_owned());
    }
    if info.schema.enable_dynamic_field {
        columns.push(dynamic(info, &columns.iter().map(|column| column.id).collect())?);
    }
    let segments = info.segments().filter(|segment| !segment.is_l0);
    for segment in segments.filter(|segment| segment.insert_logs().next().is_some()) {
        complete(segment, &columns)?;
    }
    Ok(columns)
}

/// That a segment has as many files of every field, and of no other.
fn complete(segment: &SegmentBackupInfo, columns: &[Column]) -> Result<(), String> {
    if segment.storage_version > 1 {
        return Err(format!("has data of storage version {}", segment.storage_version));
    }
    let of_field = |field| segment.insert_logs().filter(|(id, _)| *id == field).count();
    let files = of_field(1);
    let short = columns.iter().find(|column| of_field(column.id) != files);
    if let Some(column) = short {
        return Err(format!("has segment {} without all files of field {}", segment.segment_id, column.name));
    }
    let known = |field: i64| SYSTEM_FIELDS.contains(&field) || columns.iter().any(|column| column.id == field);
    match segment.insert_logs().find(|(field, _)| !known(*field)) {
        Some((field, _)) => Err(format!("has values of field {field}, which is not in its schema")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{item, logs};
    use super::*;
    use crate::manifest::schema::FunctionSchema;

    fn refusal(change: impl FnOnce(&mut CollectionBackupInfo)) -> String {
        let mut item = item();
        change(item.info.to_mut());
        columns(&item, Route::Partitions, &ServerVersion::parse("v2.3.5-lite")).unwrap_err()
    }

    #[test]
    fn the_dynamic_field_is_found_by_its_binlogs() {
        let found = columns(&item(), Route::Partitions, &ServerVersion::parse("v2.3.5-lite")).unwrap();
        let told: Vec<(i64, &str, bool)> = found.iter().map(|one| (one.id, one.name.as_str(), one.dynamic)).collect();
        assert_eq!(told, [(100, "f100", false), (101, "f101", false), (102, "f102", false), (103, "$meta", true)]);
        let mut empty = item();
        empty.info.to_mut().partition_backups.clear();
        assert_eq!(columns(&empty, Route::Partitions, &ServerVersion::parse("v2.3.5-lite")).unwrap(), found);
    }

    #[test]
    fn what_an_insert_might_bring_otherwise_is_refused() {
        assert!(refusal(|info| info.schema.fields[0].auto_id = true).contains("f100 whose values the server makes"));
        assert!(refusal(|info| info.schema.fields[1].nullable = true).contains("f101 that may be null"));
        assert!(refusal(|info| info.schema.fields[1].set_default_value(&[1])).contains("default value"));
        assert!(refusal(|info| info.schema.fields[1].is_function_output = true).contains("a function fills"));
        assert!(refusal(|info| info.schema.functions = vec![FunctionSchema::default()]).contains("functions"));
        assert!(refusal(|info| info.schema.fields[2].data_type = 102).contains("data type 102"));
        assert!(refusal(|info| info.schema.fields[1].data_type = 22).contains("arrays of data type 0"));
        assert!(refusal(|info| info.schema.fields[0].is_primary_key = false).contains("primary key"));
        let segment =
            |info: &mut CollectionBackupInfo| std::mem::take(&mut info.partition_backups[0].segment_backups[0]);
        let with = |info: &mut CollectionBackupInfo, change: fn(&mut SegmentBackupInfo)| {
            let mut changed = segment(info);
            change(&mut changed);
            info.partition_backups[0].segment_backups[0] = changed;
        };
        assert!(refusal(|info| with(info, |one| one.storage_version = 2)).contains("storage version 2"));
        assert!(refusal(|info| with(info, |one| one.binlogs = logs(&[0, 1, 100, 101, 103]))).contains("field f102"));
        assert!(
            refusal(|info| with(info, |one| one.binlogs = logs(&[0, 1, 100, 101, 102, 103, 104]))).contains("several")
        );
        let newer = columns(&item(), Route::Jobs, &ServerVersion::parse("2.5.27")).unwrap_err();
        assert!(newer.contains("only on 2.3"), "{newer}");
        assert!(columns(&item(), Route::Partitions, &ServerVersion::parse("2.2.16")).is_err());
    }
}
