//! Pure: rows that were counted in the files of a segment, beside what the metadata says of it.

use std::collections::BTreeMap;

use crate::engine::inventory::Named;
use crate::manifest::SegmentBackupInfo;
use crate::manifest::layout::log_path;

/// What was read of one segment.
#[derive(Debug)]
pub struct Counted<'s> {
    segment: &'s SegmentBackupInfo,
    /// By field (or column group): rows, files, path of the first file.
    fields: BTreeMap<i64, (u64, usize, String)>,
}

impl<'s> Counted<'s> {
    /// Nothing yet.
    pub fn of(segment: &'s SegmentBackupInfo) -> Counted<'s> {
        Counted { segment, fields: BTreeMap::new() }
    }

    /// Whether this is the segment.
    pub fn is_of(&self, segment: &SegmentBackupInfo) -> bool {
        std::ptr::eq(self.segment, segment)
    }

    /// One more file. Delta logs hold no rows.
    pub fn add(&mut self, log: &Named, rows: u64) {
        if let Some(field) = log.key.field {
            let (sum, files, _) = self.fields.entry(field).or_insert_with(|| (0, 0, log_path(&log.key, log.group)));
            *sum = sum.saturating_add(rows);
            *files += 1;
        }
    }

    /// Fields that have not the rows of their segment, as far as all their files were read. A field of which a file is missing
    /// was named before.
    pub fn uneven(&self) -> Vec<String> {
        let files_of = |field: i64| self.segment.insert_logs().filter(|(of, _)| *of == field).count();
        let mut whole = self.fields.iter().filter(|(field, (_, files, _))| *files == files_of(**field)).peekable();
        let said = u64::try_from(self.segment.num_of_rows).ok().filter(|rows| *rows > 0);
        // A writer that does not tell counts as right where all fields agree.
        let Some(expected) = said.or(whole.peek().map(|(_, (rows, _, _))| *rows)) else { return Vec::new() };
        let uneven = whole.filter(|(_, (rows, _, _))| *rows != expected);
        uneven
            .map(|(field, (rows, _, path))| format!("{path}: field {field} has {rows} rows, its segment {expected}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Binlog, FieldBinlog, LogKey};

    fn segment(rows: i64, fields: &[(i64, &[i64])]) -> SegmentBackupInfo {
        let binlog = |log_id: &i64| Binlog { log_id: *log_id, log_size: 1, more: None };
        let field = |(field_id, logs): &(i64, &[i64])| FieldBinlog {
            field_id: *field_id,
            binlogs: logs.iter().map(binlog).collect(),
        };
        SegmentBackupInfo {
            segment_id: 7,
            collection_id: 1,
            partition_id: 2,
            num_of_rows: rows,
            binlogs: fields.iter().map(field).collect(),
            ..Default::default()
        }
    }

    fn uneven(segment: &SegmentBackupInfo, read: &[(Option<i64>, i64, u64)]) -> Vec<String> {
        let mut counted = Counted::of(segment);
        for (field, log, rows) in read {
            let key = LogKey { collection: 1, partition: 2, segment: 7, field: *field, log: *log };
            counted.add(&Named { place: 0, key, group: None, size: 1 }, *rows);
        }
        counted.uneven()
    }

    #[test]
    fn a_field_with_other_rows_than_the_metadata_says_is_named() {
        let segment = segment(5, &[(0, &[1]), (100, &[2, 3])]);
        assert!(uneven(&segment, &[(Some(0), 1, 5), (Some(100), 2, 2), (Some(100), 3, 3), (None, 9, 77)]).is_empty());
        assert_eq!(
            uneven(&segment, &[(Some(0), 1, 5), (Some(100), 2, 2), (Some(100), 3, 2)]),
            ["binlogs/insert_log/1/2/7/100/2: field 100 has 4 rows, its segment 5"]
        );
    }

    #[test]
    fn a_field_of_which_not_all_files_were_read_says_nothing() {
        let segment = segment(5, &[(0, &[1]), (100, &[2, 3])]);
        assert!(uneven(&segment, &[(Some(100), 2, 2)]).is_empty());
        assert_eq!(uneven(&segment, &[(Some(0), 1, 4), (Some(100), 2, 2)]).len(), 1);
    }

    #[test]
    fn fields_are_compared_with_each_other_where_the_metadata_names_no_rows() {
        let segment = segment(0, &[(0, &[1]), (100, &[2])]);
        assert!(uneven(&segment, &[(Some(0), 1, 5), (Some(100), 2, 5)]).is_empty());
        assert_eq!(uneven(&segment, &[(Some(0), 1, 5), (Some(100), 2, 4)]).len(), 1);
        assert!(uneven(&segment, &[]).is_empty());
    }
}
