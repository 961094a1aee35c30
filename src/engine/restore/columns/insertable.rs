//! Pure: what of a backup can be inserted as rows.
//!
//! Inserted rows have to be the rows an import would bring, so whatever the server would make or compute itself is refused
//! here. On 2.3 all of its types are known to come back bit by bit (tried on 2.3.5), and small partitions are inserted unasked.
//! What later servers do with an insert is known from their source alone: there it is done where it is asked for.

use super::{Column, SYSTEM_FIELDS, dynamic};
use crate::engine::restore::fields;
use crate::engine::restore::plan::{Item, Route};
use crate::engine::restore::rows::TIMESTAMP_FIELD;
use crate::engine::task::RestorePath;
use crate::manifest::{CollectionBackupInfo, SegmentBackupInfo};
use crate::milvus::ServerVersion;
use crate::milvus::gates::NULLABLE;

/// Where rows would be inserted, and whether that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Server<'s> {
    /// How it imports.
    pub route: Route,
    /// Its version.
    pub version: &'s ServerVersion,
    /// The way that was asked for.
    pub path: RestorePath,
}

impl Server<'_> {
    /// Whether inserted rows were compared with imported ones on a real server of this version.
    pub fn is_proven(&self) -> bool {
        self.route == Route::Partitions && self.version.at_least(2, 3, 0)
    }
}

/// The columns of a collection, or why its rows cannot be inserted.
///
/// # Errors
/// A clause that goes on after the collection's name.
pub fn columns(item: &Item<'_>, server: &Server<'_>) -> Result<Vec<Column>, String> {
    let info: &CollectionBackupInfo = &item.info;
    let version = server.version;
    if !version.at_least(2, 3, 0) {
        return Err(format!("cannot be inserted on milvus {version}: that needs 2.3 or later"));
    }
    if !server.is_proven() && server.path != RestorePath::Insert {
        return Err(format!(
            "is not inserted unasked on milvus {version}: only on 2.3 inserted rows are proven to be the same"
        ));
    }
    if info.snapshot_backup.is_some() {
        return Err("is a snapshot, which only a Milvus can read".to_owned());
    }
    if item.key.is_some() {
        return Err("is encrypted, and only a Milvus with its key can read it".to_owned());
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
        let column = Column::of(field).map_err(|why| format!("has field {}, which is {why}", field.name))?;
        // Until 2.5 an insert cannot say which rows are meant to have a value.
        if column.default && !version.since(NULLABLE) {
            return Err(named("with a default value"));
        }
        columns.push(column);
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
        // Which fields are in a file is seen when it is read.
        let ids = columns.iter().map(|column| column.id);
        return match fields::places(segment, ids.chain([TIMESTAMP_FIELD])) {
            Some(_) => Ok(()),
            None => Err(format!(
                "has segment {} of storage version {} with more files of one kind than of another",
                segment.segment_id, segment.storage_version
            )),
        };
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

    fn on(version: &str, route: Route, path: RestorePath, item: &Item<'_>) -> Result<Vec<Column>, String> {
        columns(item, &Server { route, version: &ServerVersion::parse(version), path })
    }

    fn changed(change: impl FnOnce(&mut CollectionBackupInfo)) -> Item<'static> {
        let mut item = item();
        change(item.info.to_mut());
        item
    }

    fn refusal(change: impl FnOnce(&mut CollectionBackupInfo)) -> String {
        on("v2.3.5-lite", Route::Partitions, RestorePath::Auto, &changed(change)).unwrap_err()
    }

    /// What a newer server is asked to take.
    fn asked(change: impl FnOnce(&mut CollectionBackupInfo)) -> Result<Vec<Column>, String> {
        on("2.6.18", Route::Jobs, RestorePath::Insert, &changed(change))
    }

    #[test]
    fn the_dynamic_field_is_found_by_its_binlogs() {
        let found = on("v2.3.5-lite", Route::Partitions, RestorePath::Auto, &item()).unwrap();
        let told: Vec<(i64, &str, bool)> = found.iter().map(|one| (one.id, one.name.as_str(), one.dynamic)).collect();
        assert_eq!(told, [(100, "f100", false), (101, "f101", false), (102, "f102", false), (103, "$meta", true)]);
        let mut empty = item();
        empty.info.to_mut().partition_backups.clear();
        assert_eq!(on("v2.3.5-lite", Route::Partitions, RestorePath::Auto, &empty).unwrap(), found);
    }

    #[test]
    fn what_an_insert_might_bring_otherwise_is_refused() {
        assert!(refusal(|info| info.schema.fields[0].auto_id = true).contains("f100 whose values the server makes"));
        assert!(refusal(|info| info.schema.fields[1].set_default_value(&[1])).contains("default value"));
        assert!(refusal(|info| info.schema.fields[1].is_function_output = true).contains("a function fills"));
        assert!(refusal(|info| info.schema.functions = vec![FunctionSchema::default()]).contains("functions"));
        assert!(refusal(|info| info.schema.fields[2].data_type = 24).contains("f102, which is of type Geometry"));
        assert!(refusal(|info| info.schema.fields[1].data_type = 22).contains("an array of type None"));
        assert!(refusal(|info| info.schema.fields[0].is_primary_key = false).contains("primary key"));
        let segment =
            |info: &mut CollectionBackupInfo| std::mem::take(&mut info.partition_backups[0].segment_backups[0]);
        let with = |info: &mut CollectionBackupInfo, change: fn(&mut SegmentBackupInfo)| {
            let mut changed = segment(info);
            change(&mut changed);
            info.partition_backups[0].segment_backups[0] = changed;
        };
        assert!(refusal(|info| with(info, |one| one.storage_version = 3)).contains("storage version 3"));
        assert!(refusal(|info| with(info, |one| one.binlogs = logs(&[0, 1, 100, 101, 103]))).contains("field f102"));
        assert!(
            refusal(|info| with(info, |one| one.binlogs = logs(&[0, 1, 100, 101, 102, 103, 104]))).contains("several")
        );
        let newer = on("2.5.27", Route::Jobs, RestorePath::Auto, &item()).unwrap_err();
        assert!(newer.contains("only on 2.3"), "{newer}");
        let older = on("2.2.16", Route::Partitions, RestorePath::Insert, &item()).unwrap_err();
        assert!(older.contains("needs 2.3"), "{older}");
    }

    #[test]
    fn a_newer_server_is_asked_to_take_nulls_defaults_and_its_own_types_where_that_is_wanted() {
        assert_eq!(asked(|_| ()).unwrap().len(), 4);
        assert!(asked(|info| info.schema.fields[1].nullable = true).unwrap()[1].nullable);
        assert!(asked(|info| info.schema.fields[1].set_default_value(&[1])).unwrap()[1].default);
        for data_type in [102, 103, 104, 105] {
            assert!(asked(|info| info.schema.fields[2].data_type = data_type).is_ok());
        }
        let vector = asked(|info| info.schema.fields[2].nullable = true).unwrap_err();
        assert!(vector.contains("a vector that may be null"), "{vector}");
        assert!(asked(|info| info.schema.fields[0].auto_id = true).is_err());
        assert!(asked(|info| info.schema.functions = vec![FunctionSchema::default()]).is_err());
    }
}
