//! Pure: rows that were counted in the files of a segment, beside what the metadata says of it.
//!
//! Whoever reads logs judges their rows by this: a verification, the proof before a restore, the end of a backup. A field that
//! has not the rows of its segment belongs to another state of it: restored, its values would stand beside the wrong keys.

use std::collections::BTreeMap;

use crate::engine::inventory::Named;
use crate::manifest::SegmentBackupInfo;
use crate::manifest::layout::log_path;

/// What was read of the segment at hand. Logs of a segment come one after another.
#[derive(Debug, Default)]
pub struct Counted<'s> {
    segment: Option<&'s SegmentBackupInfo>,
    /// By field (or column group): rows, files, path of the first file.
    fields: BTreeMap<i64, (u64, usize, String)>,
}

impl<'s> Counted<'s> {
    /// One more log was read, with so many rows; none where they cannot be known. Answers what is wrong with the segment
    /// before, where this one is of another.
    #[must_use]
    pub fn add(&mut self, segment: &'s SegmentBackupInfo, log: &Named, rows: Option<u64>) -> Vec<String> {
        let uneven = match self.segment {
            Some(at_hand) if std::ptr::eq(at_hand, segment) => Vec::new(),
            _ => self.end(),
        };
        self.segment = Some(segment);
        // Delta logs hold no rows.
        if let (Some(rows), Some(field)) = (rows, log.key.field) {
            let (sum, files, _) = self.fields.entry(field).or_insert_with(|| (0, 0, log_path(&log.key, log.group)));
            *sum = sum.saturating_add(rows);
            *files += 1;
        }
        uneven
    }

    /// No more logs; answers what is wrong with the last segment.
    #[must_use]
    pub fn end(&mut self) -> Vec<String> {
        let fields = std::mem::take(&mut self.fields);
        self.segment.take().map(|segment| uneven(segment, &fields)).unwrap_or_default()
    }
}

/// Fields that have not the rows of their segment, as far as all their files were read. A field of which a file is missing
/// was named before.
fn uneven(segment: &SegmentBackupInfo, fields: &BTreeMap<i64, (u64, usize, String)>) -> Vec<String> {
    let files_of = |field: i64| segment.insert_logs().filter(|(of, _)| *of == field).count();
    let mut whole = fields.iter().filter(|(field, (_, files, _))| *files == files_of(**field)).peekable();
    // Old backups name none.
    let said = u64::try_from(segment.num_of_rows).ok().filter(|rows| *rows > 0);
    // A writer that does not tell counts as right where all fields agree.
    let Some(expected) = said.or(whole.peek().map(|(_, (rows, _, _))| *rows)) else { return Vec::new() };
    let uneven = whole.filter(|(_, (rows, _, _))| *rows != expected);
    uneven
        .map(|(field, (rows, _, path))| format!("{path}: field {field} has {rows} rows, its segment {expected}"))
        .collect()
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
        let mut counted = Counted::default();
        for (field, log, rows) in read {
            assert!(counted.add(segment, &named(segment, *field, *log), Some(*rows)).is_empty());
        }
        counted.end()
    }

    fn named(segment: &SegmentBackupInfo, field: Option<i64>, log: i64) -> Named {
        let key = LogKey { collection: 1, partition: 2, segment: segment.segment_id, field, log };
        Named { place: 0, key, group: None, size: 1 }
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

    #[test]
    fn rows_that_every_field_has_lost_are_missed_where_the_metadata_names_them() {
        let read = [(Some(0), 1, 4), (Some(100), 2, 4)];
        assert!(uneven(&segment(0, &[(0, &[1]), (100, &[2])]), &read).is_empty());
        assert_eq!(uneven(&segment(5, &[(0, &[1]), (100, &[2])]), &read).len(), 2);
    }

    #[test]
    fn a_segment_is_judged_by_itself_once_the_next_one_begins() {
        let (one, other) = (segment(0, &[(0, &[1])]), SegmentBackupInfo { segment_id: 8, ..segment(6, &[(0, &[1])]) });
        let mut counted = Counted::default();
        assert!(counted.add(&one, &named(&one, Some(0), 1), Some(5)).is_empty());
        assert!(counted.add(&other, &named(&other, Some(0), 1), Some(5)).is_empty());
        let found = counted.add(&one, &named(&one, Some(0), 1), None);
        assert_eq!(found, ["binlogs/insert_log/1/2/8/0/1: field 0 has 5 rows, its segment 6"]);
        assert!(counted.end().is_empty() && counted.end().is_empty());
    }
}
