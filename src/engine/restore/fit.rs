//! Pure: whether a collection of a backup fits a server, and how its fields get their ids.

use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::schema::FieldSchema;
use crate::manifest::{CollectionBackupInfo, CollectionSchema};
use crate::milvus::gates::{DATA_TYPES, NULLABLE, dotted};
use crate::milvus::{Gate, ServerVersion};

/// Pure: the fields of a collection that must be added after its creation so that every field gets its recorded id, which
/// is how binlogs are found.
///
/// Servers number the fields of a new collection in order from 100, then each struct and its fields, then the dynamic field
/// (milvus-wire.md 2.3); a field added later gets the next number.
///
/// # Errors
/// The first field that cannot get its id this way.
pub fn added_later(info: &CollectionBackupInfo) -> Result<Vec<&FieldSchema>, &str> {
    let mut fields: Vec<&FieldSchema> = info.schema.fields.iter().filter(|field| !field.is_dynamic).collect();
    fields.sort_by_key(|field| field.field_id);
    let mut next = 100;
    let take = |id: i64, next: &mut i64| {
        let fits = id == *next;
        *next += i64::from(fits);
        fits
    };
    let mut fields = fields.into_iter().peekable();
    while fields.next_if(|field| take(field.field_id, &mut next)).is_some() {}
    for group in &info.schema.struct_array_fields {
        let ids = std::iter::once((group.field_id, &group.name))
            .chain(group.fields.iter().map(|field| (field.field_id, &field.name)));
        for (id, name) in ids {
            if !take(id, &mut next) {
                return Err(name);
            }
        }
    }
    // The dynamic field is hidden: it has the number that is missing, or comes after all others.
    if info.schema.enable_dynamic_field && fields.peek().is_some() {
        next += 1;
    }
    let mut later = Vec::new();
    for field in fields {
        if !take(field.field_id, &mut next) || !field.nullable || field.is_primary_key || field.auto_id {
            return Err(&field.name);
        }
        later.push(field);
    }
    Ok(later)
}

/// Why rows of one schema cannot go into a collection of another, none where they can. Values are found by the ids of their
/// fields, so both need the same fields under the same ids.
pub fn mismatch(recorded: &CollectionSchema, there: &CollectionSchema) -> Option<String> {
    let (ours, theirs) = (stored(recorded), stored(there));
    for field in &ours {
        let Some(other) = theirs.iter().find(|other| other.name == field.name) else {
            return Some(format!("it has no field {}", field.name));
        };
        let kind = |field: &FieldSchema| (field.data_type, field.element_type, param(field, "dim").map(str::to_owned));
        let differ = |what: &str| Some(format!("its field {} {what} than that of the backup", field.name));
        if other.field_id != field.field_id {
            return differ("has another id");
        }
        if kind(other) != kind(field) {
            return differ("has another type");
        }
        let role = |field: &FieldSchema| (field.is_primary_key, field.is_partition_key);
        if role(other) != role(field) {
            return differ("is another key");
        }
        if field.nullable && !other.nullable {
            return Some(format!("its field {} cannot be null, and that of the backup can", field.name));
        }
    }
    if let Some(extra) = theirs.iter().find(|other| !ours.iter().any(|field| field.name == other.name)) {
        return Some(format!("it has field {}, which the backup does not have", extra.name));
    }
    match (recorded.enable_dynamic_field, there.enable_dynamic_field) {
        (true, false) => Some("it has no dynamic field, and the backup has".to_owned()),
        (false, true) => Some("it has a dynamic field, and the backup has none".to_owned()),
        _ => None,
    }
}

/// Every field that has data of its own, but the hidden ones.
fn stored(schema: &CollectionSchema) -> Vec<&FieldSchema> {
    let inside = schema.struct_array_fields.iter().flat_map(|group| &group.fields);
    schema.fields.iter().filter(|field| !field.is_dynamic).chain(inside).collect()
}

fn param<'f>(field: &'f FieldSchema, key: &str) -> Option<&'f str> {
    field.type_params.iter().find(|pair| pair.key == key).map(|pair| pair.value.as_str())
}

/// Why this server cannot take the collection, none where it can. Older servers ignore what they do not know, so this has to
/// be asked before.
pub fn refusal(info: &CollectionBackupInfo, version: &ServerVersion) -> Option<String> {
    let needs = |what: &str, since| {
        format!("{what}, which needs Milvus {} or later, and the target is {version}", dotted(since))
    };
    if info.snapshot_backup.is_some() {
        // What it holds is the server's own affair.
        return (!version.has(Gate::SnapshotsOnly)).then(|| needs("is a snapshot of Milvus 3.0", (3, 0, 1)));
    }
    if info.segments().any(|segment| segment.is_l0) && !version.has(Gate::DeleteSegments) {
        return Some(needs("has delete-only segments", (2, 4, 0)));
    }
    if let Some(strange) = info.l0_segments.iter().find(|segment| segment.partition_id != ALL_PARTITIONS) {
        return Some(format!("has deletes of partition {}, which the backup does not hold", strange.partition_id));
    }
    match info.segments().map(|segment| segment.storage_version).max() {
        Some(2) if !version.has(Gate::ColumnGroups) => return Some(needs("has data of storage version 2", (2, 6, 0))),
        Some(newer) if newer > 2 => {
            return Some(format!("has data of storage version {newer}, which this version cannot restore"));
        }
        _ => {}
    }
    let structs = info.schema.struct_array_fields.iter();
    // The hidden field, where it is recorded, is the server's to make.
    let declared = info.schema.fields.iter().filter(|field| !field.is_dynamic);
    for field in declared.chain(structs.flat_map(|group| &group.fields)) {
        let type_of = |number: i32| DATA_TYPES.iter().find(|(known, ..)| *known == number);
        for (_, name, since) in [field.data_type, field.element_type].into_iter().filter_map(type_of) {
            if !version.since(*since) {
                return Some(needs(&format!("has field {} of type {name}", field.name), *since));
            }
        }
        if !version.since(NULLABLE) && field.nullable {
            return Some(needs(&format!("has field {} that may be null", field.name), NULLABLE));
        }
    }
    if !version.since(NULLABLE) && !info.schema.functions.is_empty() {
        return Some(needs("has functions", NULLABLE));
    }
    if !version.since((2, 6, 0)) && !info.schema.struct_array_fields.is_empty() {
        return Some(needs("has fields of structures", (2, 6, 0)));
    }
    match added_later(info) {
        Err(field) => Some(format!(
            "has field {field} with an id that a new collection would not give it (fields were added or dropped later), so \
             that its data would not be found"
        )),
        Ok(later) => later
            .first()
            .filter(|_| !version.has(Gate::AddField))
            .map(|field| needs(&format!("has field {} that was added later", field.name), (2, 6, 0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::SegmentBackupInfo;
    use crate::manifest::backup_info::PartitionBackupInfo;

    fn collection() -> CollectionBackupInfo {
        let segment = SegmentBackupInfo { segment_id: 7, partition_id: 2, ..SegmentBackupInfo::default() };
        let partition = PartitionBackupInfo { segment_backups: vec![segment], ..PartitionBackupInfo::default() };
        CollectionBackupInfo { partition_backups: vec![partition], ..CollectionBackupInfo::default() }
    }

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(text)
    }

    fn field(id: i64, name: &str) -> FieldSchema {
        FieldSchema { field_id: id, name: name.into(), data_type: 5, nullable: id > 101, ..Default::default() }
    }

    fn names(info: &CollectionBackupInfo) -> Result<Vec<&str>, &str> {
        added_later(info).map(|fields| fields.into_iter().map(|field| field.name.as_str()).collect())
    }

    #[test]
    fn a_field_behind_the_dynamic_one_is_added_later() {
        let mut info = collection();
        info.schema.fields = vec![field(100, "id"), field(101, "v")];
        assert_eq!(names(&info), Ok(vec![]));
        info.schema.fields.push(field(103, "late"));
        assert_eq!(names(&info), Err("late"));
        info.schema.enable_dynamic_field = true;
        assert_eq!(names(&info), Ok(vec!["late"]));
        info.schema.fields[2].nullable = false;
        assert_eq!(names(&info), Err("late"));
    }

    #[test]
    fn a_dynamic_field_that_came_last_leaves_no_gap() {
        let mut info = collection();
        info.schema.enable_dynamic_field = true;
        info.schema.fields = vec![field(100, "id"), field(101, "v"), field(102, "w")];
        assert_eq!(names(&info), Ok(vec![]));
    }

    #[test]
    fn rows_go_only_where_every_field_is_the_same() {
        let schema = |fields: Vec<FieldSchema>| CollectionSchema { fields, ..CollectionSchema::default() };
        let ours = || vec![field(100, "id"), field(101, "v")];
        let said = |there: CollectionSchema| mismatch(&schema(ours()), &there);
        assert_eq!(said(schema(ours())), None);
        assert!(said(schema(vec![field(100, "id")])).unwrap().contains("no field v"));
        assert!(said(schema(vec![field(100, "id"), field(102, "v")])).unwrap().contains("v has another id"));
        let mut other = schema(ours());
        other.fields[1].data_type = 21;
        assert!(said(other.clone()).unwrap().contains("v has another type"));
        other = schema(ours());
        other.fields[1].is_primary_key = true;
        assert!(said(other).unwrap().contains("another key"));
        assert!(said(schema([ours(), vec![field(102, "w")]].concat())).unwrap().contains("field w, which the backup"));
        let dynamic = CollectionSchema { enable_dynamic_field: true, ..schema(ours()) };
        assert!(said(dynamic).unwrap().contains("a dynamic field"));
        let null = schema(vec![field(100, "id"), FieldSchema { nullable: true, ..field(101, "v") }]);
        assert!(mismatch(&null, &schema(ours())).unwrap().contains("cannot be null"));
    }

    #[test]
    fn an_older_server_is_refused_by_what_it_does_not_know() {
        let mut info = collection();
        info.schema.fields = vec![field(100, "id"), field(101, "v")];
        assert_eq!(refusal(&info, &version("v2.3.5-lite")), None);
        info.schema.fields[1].nullable = true;
        assert!(refusal(&info, &version("2.4.10")).unwrap().contains("field v that may be null"));
        assert_eq!(refusal(&info, &version("2.5.0")), None);
        info.schema.fields[1].data_type = 105;
        assert!(refusal(&info, &version("2.5.27")).unwrap().contains("Int8Vector, which needs Milvus 2.6.0"));
        assert_eq!(refusal(&info, &version("2.6.0")), None);
        // Recorded by a backup with index extra from 2.6; any server makes its own.
        info.schema.fields[1] = FieldSchema { is_dynamic: true, ..field(103, "$meta") };
        assert_eq!(refusal(&info, &version("2.3.5")), None);
        info.partition_backups[0].segment_backups[0].storage_version = 3;
        assert!(refusal(&info, &version("2.6.18")).unwrap().contains("storage version 3"));
        info.partition_backups[0].segment_backups[0].is_l0 = true;
        assert!(refusal(&info, &version("2.3.5")).unwrap().contains("delete-only"));
    }
}
