//! The values of some fields in the files that hold the same rows: one file of each field, or of each group of columns.
//!
//! Files of storage version 2 (Milvus 2.6) are named by groups; which fields are in them stands in their Parquet schema, where
//! the writer notes the id of each (`PARQUET:field_id`, milvus-newer.md 1 and Milvus' packed writer).

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::rows::{log_key, logs_of, read};
use crate::engine::artifact::Artifact;
use crate::engine::error::EngineError;
use crate::manifest::SegmentBackupInfo;
use crate::manifest::binlog::{self, BinlogError, Expected as Log, Series};

/// Files of one segment read at once.
const FILES: usize = 8;

/// How many places of files with the same rows a segment has, none where the files of these fields do not say.
pub fn places(segment: &SegmentBackupInfo, fields: impl IntoIterator<Item = i64>) -> Option<usize> {
    let files: BTreeSet<usize> = match segment.storage_version {
        ..=1 => fields.into_iter().map(|field| logs_of(segment, field).len()).collect(),
        2 => groups(segment).into_iter().map(|group| logs_of(segment, group).len()).collect(),
        _ => return None,
    };
    match files.len() {
        1 => files.first().copied(),
        _ => None,
    }
}

fn groups(segment: &SegmentBackupInfo) -> BTreeSet<i64> {
    segment.insert_logs().map(|(group, _)| group).collect()
}

/// The values of fields, by id and `schema.DataType`, in the files at one place; in the order of `fields`.
///
/// # Errors
/// An unreadable object, by name; [`BinlogError::Unsupported`] where the columns of a group do not tell their fields.
pub async fn series(
    artifact: &Artifact,
    segment: &SegmentBackupInfo,
    fields: &[(i64, i32)],
    place: usize,
) -> Result<Vec<Series>, EngineError> {
    if segment.storage_version < 2 {
        return stream::iter(fields)
            .map(|(field, data_type)| async move {
                let log = logs_of(segment, *field).get(place).copied().unwrap_or_default();
                let expected = Log::from(&log_key(segment, Some(*field), log));
                read(artifact, segment, Some(*field), log, |bytes| binlog::series(bytes, &expected, *data_type)).await
            })
            .buffered(FILES)
            .try_collect()
            .await;
    }
    let (mut found, mut last) = (BTreeMap::new(), String::new());
    for group in groups(segment) {
        let log = logs_of(segment, group).get(place).copied().unwrap_or_default();
        last = artifact.keys.log(&log_key(segment, Some(group), log), segment.group());
        found.extend(read(artifact, segment, Some(group), log, |bytes| binlog::group_series(bytes, fields)).await?);
    }
    let untold = |field| {
        let source = BinlogError::Unsupported { what: format!("columns among which field {field} cannot be told") };
        EngineError::Binlog { key: last.clone(), source }
    };
    fields.iter().map(|(field, _)| found.remove(field).ok_or_else(|| untold(*field))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Binlog, FieldBinlog};

    fn segment(storage_version: i64, files: &[(i64, i64)]) -> SegmentBackupInfo {
        let logs = |(field, files): &(i64, i64)| FieldBinlog {
            field_id: *field,
            binlogs: (1..=*files).map(|log_id| Binlog { log_id, ..Binlog::default() }).collect(),
        };
        SegmentBackupInfo { storage_version, binlogs: files.iter().map(logs).collect(), ..SegmentBackupInfo::default() }
    }

    #[test]
    fn files_are_put_together_by_fields_or_by_groups_and_only_where_there_are_as_many_of_each() {
        let fields = [1, 100];
        assert_eq!(places(&segment(0, &[(1, 2), (100, 2), (7, 1)]), fields), Some(2));
        assert_eq!(places(&segment(1, &[(1, 2), (100, 1)]), fields), None);
        assert_eq!(places(&segment(1, &[(1, 2)]), fields), None);
        assert_eq!(places(&segment(2, &[(0, 3), (101, 3)]), fields), Some(3));
        assert_eq!(places(&segment(2, &[(0, 3), (101, 2)]), fields), None);
        assert_eq!(places(&segment(3, &[(0, 3)]), fields), None);
    }
}
