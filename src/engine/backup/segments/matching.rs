//! Pure: which of the listed objects are those of which segment, and which are not there.

use std::collections::{BTreeMap, BTreeSet};

use super::Found;
use crate::engine::backup::logs::{Log, Logs};
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::{CollectionBackupInfo, LogKind};
use crate::milvus::{Segment, SegmentFiles, SegmentLevel};

/// From this storage version on a file holds a group of columns instead of one field.
const COLUMN_GROUPS: i64 = 2;

/// Matches segments with objects by listing; segments without rows and without objects are left out.
///
/// # Errors
/// The segments that have rows but no insert log, or not the same number of files for every field.
pub fn assign(
    segments: Vec<Segment>,
    mut listed: Logs,
    untold_deletes: bool,
    fields: &BTreeSet<i64>,
) -> Result<Vec<Found>, Vec<i64>> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for segment in segments {
        let logs = listed.take(&segment);
        if logs.is_empty() && segment.rows == 0 {
            continue;
        }
        let deltas_only = logs.iter().all(|log| log.kind() == LogKind::Delta);
        let deletes_only = says_deletes_only(&segment) || (untold_deletes && segment.rows == 0 && deltas_only);
        // Column groups have names of their own; there the count is all that can be told.
        let by_field = segment.storage_version < COLUMN_GROUPS;
        let present = |field: &i64| logs.iter().any(|log| log.field == Some(*field));
        if !deletes_only && (!complete(&logs) || (by_field && !fields.iter().all(present))) {
            missing.push(segment.id);
        }
        found.push(Found { collection: listed.collection, segment, channel: String::new(), deletes_only, logs });
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// Takes exactly the files the server names; what else lies in the directory of a segment belongs to nobody.
///
/// # Errors
/// The segments the server tells nothing about, or of which a file is not there.
pub fn named_files(segments: Vec<Segment>, mut logs: Logs, files: Vec<SegmentFiles>) -> Result<Vec<Found>, Vec<i64>> {
    let mut files: BTreeMap<i64, SegmentFiles> = files.into_iter().map(|files| (files.segment, files)).collect();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for segment in segments {
        let Some(files) = files.remove(&segment.id) else {
            missing.push(segment.id);
            continue;
        };
        let mut listed = logs.take(&segment);
        let inserts = files.inserts.iter().map(|(field, log)| (Some(*field), *log));
        let wanted: BTreeSet<(Option<i64>, i64)> = inserts.chain(files.deltas.iter().map(|log| (None, *log))).collect();
        listed.retain(|log| wanted.contains(&(log.field, log.id)));
        let deletes_only = says_deletes_only(&segment);
        let no_rows = files.inserts.is_empty() && !deletes_only;
        if listed.len() != wanted.len() || (no_rows && segment.rows > 0) {
            missing.push(segment.id);
        } else if !listed.is_empty() && !no_rows {
            found.push(Found {
                collection: logs.collection,
                segment,
                channel: files.channel,
                deletes_only,
                logs: listed,
            });
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// Whether the server says that a segment holds deletes only.
pub fn says_deletes_only(segment: &Segment) -> bool {
    segment.level == SegmentLevel::L0 || segment.partition_id == ALL_PARTITIONS
}

/// The fields that every segment has files of: row id and timestamp (0 and 1), and of the schema those that cannot have been
/// added later, for an added field is nullable and a dynamic one may be switched on (2.6).
pub fn fields_of_every_segment(info: &CollectionBackupInfo) -> BTreeSet<i64> {
    let original = info.schema.fields.iter().filter(|field| !field.nullable && !field.is_dynamic);
    original.map(|field| field.field_id).chain([0, 1]).collect()
}

/// Every field has the same number of files, and at least one.
fn complete(logs: &[Log]) -> bool {
    let mut files: BTreeMap<i64, usize> = BTreeMap::new();
    for log in logs.iter().filter(|log| log.kind() == LogKind::Insert) {
        *files.entry(log.field.unwrap_or_default()).or_default() += 1;
    }
    let mut counts = files.values();
    counts.next().is_some_and(|first| counts.all(|count| count == first))
}
