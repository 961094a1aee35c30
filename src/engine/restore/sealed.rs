//! Encrypted databases: the key their rows are imported by, and what is known of files nobody but the server can read.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::plan::Item;
use super::rows::Expected;
use crate::engine::error::EngineError;
use crate::engine::patience::patient;
use crate::engine::preflight::unsupported;
use crate::engine::secret::Secret;
use crate::engine::select::Name;
use crate::engine::task::{Content, RestoreTask};
use crate::manifest::backup_info::ALL_PARTITIONS;
use crate::manifest::sealed::{is_sealed, keys};
use crate::manifest::{BackupInfo, CollectionBackupInfo};
use crate::milvus::{Gate, Milvus, ServerVersion};

/// That every key that is to be replaced is one of the backup.
///
/// # Errors
/// The sentence, without any key.
pub fn check(task: &RestoreTask, info: &BackupInfo) -> Result<(), String> {
    let recorded: Vec<&str> = keys(info).into_values().collect();
    match task.keys.unknown(&recorded) {
        0 => Ok(()),
        unknown => Err(format!(
            "{unknown} of the keys that are to be replaced (ezkMapping) are those of no database of the backup: correct them"
        )),
    }
}

/// The key a collection is imported by; none where it is not encrypted, or no rows are wanted.
///
/// # Errors
/// A key that is not in the backup, a server that takes none.
pub fn key_of(
    info: &BackupInfo,
    source: &Name,
    task: &RestoreTask,
    version: &ServerVersion,
) -> Result<Option<Secret>, EngineError> {
    let keys = keys(info);
    let (Some(key), Content::Full) = (keys.get(source.database.as_str()), task.content) else { return Ok(None) };
    let database = &source.database;
    if key.is_empty() {
        return Err(EngineError::Rejected(format!(
            "database {database} of the backup is encrypted, and its key is not in the backup: exclude it; nothing was touched"
        )));
    }
    // An older server ignores the key, and takes what it reads for data.
    if !version.has(Gate::Encryption) {
        return Err(unsupported(format!(
            "database {database} of the backup is encrypted, which needs Milvus 2.6.8 or later, and the target is {version}; \
             nothing was touched"
        )));
    }
    Ok(Some(task.keys.of(key)))
}

/// A warning for each target database that holds rows in clear which were encrypted.
///
/// # Errors
/// The server's.
pub async fn in_clear(milvus: &Milvus, items: &[Item<'_>]) -> Result<Vec<String>, EngineError> {
    let pairs: BTreeSet<(&str, &str)> = items
        .iter()
        .filter(|item| item.key.is_some())
        .map(|item| (item.source.database.as_str(), item.target.database.as_str()))
        .collect();
    let mut warnings = Vec::new();
    for (source, target) in pairs {
        let found = patient(|| milvus.describe_database(target)).await?;
        let properties = found.map(|found| found.properties).unwrap_or_default();
        if !is_sealed(properties.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
            warnings.push(format!(
                "database {source} was encrypted and {target} is not: its rows are stored there in clear; to have them encrypted, \
                 create the database with its cipher properties before the restore"
            ));
        }
    }
    Ok(warnings)
}

/// What a collection must have, by its metadata alone: all rows of segments without deletes; of others, at most these.
pub fn expected(info: &CollectionBackupInfo, cut: bool) -> Expected {
    let mut expected = Expected::default();
    let apart: BTreeSet<i64> =
        info.segments().filter(|segment| segment.is_l0).map(|segment| segment.partition_id).collect();
    let mut live: Vec<RangeInclusive<u64>> = Vec::new();
    for segment in info.segments() {
        let stored = u64::try_from(segment.num_of_rows).unwrap_or_default();
        let own = cut || segment.delta_logs().next().is_some();
        let imported = match (segment.is_l0, own) {
            // The number of deletes stands nowhere.
            (true, _) => 0..=u64::MAX,
            (false, true) => 0..=stored,
            (false, false) => stored..=stored,
        };
        expected.segments.insert(segment.segment_id, imported);
        if !segment.is_l0 {
            let others = apart.contains(&segment.partition_id) || apart.contains(&ALL_PARTITIONS);
            live.push(if own || others { 0..=stored } else { stored..=stored });
        }
    }
    expected.live = super::rows::sum(live.iter());
    expected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, FieldBinlog, SegmentBackupInfo};

    fn segment(id: i64, rows: i64, deletes: bool, is_l0: bool) -> SegmentBackupInfo {
        let log = FieldBinlog { binlogs: vec![Binlog { log_id: id, ..Binlog::default() }], ..FieldBinlog::default() };
        SegmentBackupInfo {
            segment_id: id,
            partition_id: 2,
            num_of_rows: rows,
            deltalogs: if deletes { vec![log] } else { vec![] },
            is_l0,
            ..SegmentBackupInfo::default()
        }
    }

    fn collection(segments: Vec<SegmentBackupInfo>) -> CollectionBackupInfo {
        let partition = PartitionBackupInfo { partition_id: 2, segment_backups: segments, ..Default::default() };
        CollectionBackupInfo { partition_backups: vec![partition], ..CollectionBackupInfo::default() }
    }

    #[test]
    fn rows_are_exact_only_where_no_delete_can_concern_them() {
        let plain = expected(&collection(vec![segment(7, 5, false, false), segment(8, 3, true, false)]), false);
        assert_eq!((plain.of(&[7]), plain.of(&[8]), plain.live), (5..=5, 0..=3, 5..=8));
        let apart = expected(&collection(vec![segment(7, 5, false, false), segment(9, 0, true, true)]), false);
        assert_eq!((apart.of(&[7]), apart.of(&[9, 7]).contains(&77), apart.live), (5..=5, true, 0..=5));
        let cut = expected(&collection(vec![segment(7, 5, false, false)]), true);
        assert_eq!((cut.of(&[7]), cut.live), (0..=5, 0..=5));
    }
}
