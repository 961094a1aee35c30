//! Every log that the metadata of a backup names: in its order, and found by the ids in a key.
//!
//! Holds no keys. Each is made from ids when it is asked for, because a million of them would fill 300 MiB. What else is
//! known of a log (its tag, whether it was seen) is kept beside, by its place.

use std::collections::{BTreeSet, HashMap};

use crate::manifest::{Binlog, CollectionBackupInfo, LogKey, SegmentBackupInfo};

/// The logs of some collections.
#[derive(Debug)]
pub struct Inventory<'i> {
    /// In the order of the metadata, with the place of the first log.
    segments: Vec<(usize, &'i SegmentBackupInfo)>,
    /// Places in `segments` in ascending order of [`Ids`].
    by_ids: Vec<usize>,
    places: usize,
}

/// One log of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its place, below [`Inventory::places`].
    pub place: usize,
    /// Its ids.
    pub key: LogKey,
    /// The group level of its key in the artifact.
    pub group: Option<i64>,
    /// Bytes, by the metadata.
    pub size: u64,
}

/// What tells the directory of a segment in an artifact, but for the kind of log.
type Ids = (i64, i64, i64, Option<i64>);

fn ids(segment: &SegmentBackupInfo) -> Ids {
    (segment.collection_id, segment.partition_id, segment.segment_id, segment.group())
}

impl<'i> Inventory<'i> {
    /// Of these collections.
    pub fn of(collections: &'i [CollectionBackupInfo]) -> Inventory<'i> {
        let mut places = 0;
        let mut segments = Vec::new();
        for segment in collections.iter().flat_map(CollectionBackupInfo::segments) {
            segments.push((places, segment));
            places += logs_of(segment).count();
        }
        let mut by_ids: Vec<usize> = (0..segments.len()).collect();
        by_ids.sort_by_key(|at| segments.get(*at).map(|(_, segment)| ids(segment)));
        Inventory { segments, by_ids, places }
    }

    /// How many places there are. A log that the metadata names without an id has a place and is nowhere else.
    pub fn places(&self) -> usize {
        self.places
    }

    /// All logs, those of a segment one after another.
    pub fn logs(&self) -> impl Iterator<Item = Named> + Send {
        self.segments.iter().flat_map(|(first, segment)| named(*first, segment))
    }

    /// All segments in the order of their logs, each with its logs.
    pub fn segments(&self) -> impl Iterator<Item = (&'i SegmentBackupInfo, impl Iterator<Item = Named> + use<'i>)> {
        self.segments.iter().map(|(first, segment)| (*segment, named(*first, segment)))
    }

    /// Logs that were not seen; one that is named twice is seen at its first place.
    pub fn unseen(&self, seen: &[bool]) -> impl Iterator<Item = Named> + Send {
        let at = |place: usize| seen.get(place).copied().unwrap_or_default();
        let mut finder = self.finder();
        self.logs()
            .filter(move |log| !at(log.place) && !finder.find(&log.key, log.group).is_some_and(|first| at(first.place)))
    }

    /// Finds logs by their keys.
    pub fn finder(&self) -> Finder<'_> {
        Finder { inventory: self, segment: None, logs: HashMap::new() }
    }

    /// The collection each segment belongs to, in ascending order of segments.
    pub fn collections(&self) -> BTreeSet<(i64, i64)> {
        self.segments.iter().map(|(_, segment)| (segment.segment_id, segment.collection_id)).collect()
    }

    fn with(&self, wanted: &Ids) -> impl Iterator<Item = &(usize, &'i SegmentBackupInfo)> {
        let of = |at: &usize| self.segments.get(*at).map(|(_, segment)| ids(segment));
        let first = self.by_ids.partition_point(|at| of(at) < Some(*wanted));
        let found = self.by_ids.iter().skip(first).take_while(move |at| of(at) == Some(*wanted));
        found.filter_map(|at| self.segments.get(*at))
    }
}

/// Finds logs of an [`Inventory`]; fast as long as keys of one segment come one after another, as they do in a listing.
#[derive(Debug)]
pub struct Finder<'f> {
    inventory: &'f Inventory<'f>,
    /// The one that was asked for last.
    segment: Option<Ids>,
    /// Its logs by field and id.
    logs: HashMap<(Option<i64>, i64), Named>,
}

impl Finder<'_> {
    /// The first log with these ids.
    pub fn find(&mut self, key: &LogKey, group: Option<i64>) -> Option<Named> {
        let segment = (key.collection, key.partition, key.segment, group);
        if self.segment != Some(segment) {
            self.segment = Some(segment);
            self.logs.clear();
            for (first, segment) in self.inventory.with(&segment) {
                for log in named(*first, segment) {
                    self.logs.entry((log.key.field, log.key.log)).or_insert(log);
                }
            }
        }
        self.logs.get(&(key.field, key.log)).copied()
    }
}

fn logs_of(segment: &SegmentBackupInfo) -> impl Iterator<Item = (Option<i64>, &Binlog)> {
    let inserts = segment.insert_logs().map(|(field, log)| (Some(field), log));
    inserts.chain(segment.delta_logs().map(|log| (None, log)))
}

fn named(first: usize, segment: &SegmentBackupInfo) -> impl Iterator<Item = Named> {
    let (collection, partition, segment_id, group) = ids(segment);
    logs_of(segment).enumerate().filter_map(move |(at, (field, log))| {
        let key = LogKey { collection, partition, segment: segment_id, field, log: log.id()? };
        Some(Named { place: first + at, key, group, size: u64::try_from(log.log_size).unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{BinlogMore, FieldBinlog};

    fn field(field_id: i64, logs: &[i64]) -> FieldBinlog {
        let binlog = |id: &i64| Binlog { log_id: *id, log_size: 10 * id, ..Binlog::default() };
        FieldBinlog { field_id, binlogs: logs.iter().map(binlog).collect() }
    }

    fn segment(id: i64, group_id: i64, binlogs: Vec<FieldBinlog>) -> SegmentBackupInfo {
        SegmentBackupInfo { segment_id: id, collection_id: 1, partition_id: 2, group_id, binlogs, ..Default::default() }
    }

    fn collection(segments: Vec<SegmentBackupInfo>) -> [CollectionBackupInfo; 1] {
        let partition = PartitionBackupInfo { partition_id: 2, segment_backups: segments, ..Default::default() };
        [CollectionBackupInfo { collection_id: 1, partition_backups: vec![partition], ..Default::default() }]
    }

    fn key(segment: i64, field: Option<i64>, log: i64) -> LogKey {
        LogKey { collection: 1, partition: 2, segment, field, log }
    }

    #[test]
    fn each_log_is_found_by_its_key_at_the_place_where_it_is_named() {
        let mut eight = segment(8, 8, vec![field(100, &[5, 4]), field(0, &[3])]);
        eight.deltalogs = vec![FieldBinlog::default(), field(0, &[6])];
        let collections = collection(vec![eight, segment(7, 0, vec![field(0, &[3, 9])])]);
        let inventory = Inventory::of(&collections);
        let logs: Vec<Named> = inventory.logs().collect();
        let keys: Vec<_> = logs.iter().map(|log| (log.place, log.key.segment, log.key.field, log.key.log)).collect();
        assert_eq!(
            keys,
            [
                (0, 8, Some(100), 5),
                (1, 8, Some(100), 4),
                (2, 8, Some(0), 3),
                (3, 8, None, 6),
                (4, 7, Some(0), 3),
                (5, 7, Some(0), 9)
            ]
        );
        assert_eq!(inventory.places(), 6);
        let mut finder = inventory.finder();
        for log in logs.iter().chain(logs.iter().rev()) {
            assert_eq!(finder.find(&log.key, log.group), Some(*log));
        }
        for (key, group) in [
            (key(8, Some(100), 5), None),
            (key(8, None, 5), Some(8)),
            (key(7, Some(0), 4), None),
            (key(9, Some(0), 3), None),
        ] {
            assert_eq!(finder.find(&key, group), None, "{key:?}");
        }
    }

    #[test]
    fn what_was_not_seen_is_told_and_a_log_that_is_named_twice_is_one() {
        let collections =
            collection(vec![segment(7, 7, vec![field(0, &[3, 4])]), segment(7, 7, vec![field(0, &[4, 5])])]);
        let inventory = Inventory::of(&collections);
        let unseen = |seen: &[bool]| inventory.unseen(seen).map(|log| log.key.log).collect::<Vec<_>>();
        assert_eq!(unseen(&[true, true, false, true]), Vec::<i64>::new());
        assert_eq!(unseen(&[false, true, false, false]), [3, 5]);
        assert_eq!(inventory.finder().find(&key(7, Some(0), 5), Some(7)).unwrap().place, 3);
    }

    #[test]
    fn a_file_without_an_id_has_a_place_and_no_key() {
        let mut nameless = field(0, &[0, 4]);
        nameless.binlogs[0].more = Some(Box::new(BinlogMore { log_path: Some(String::new()), ..Default::default() }));
        let collections = collection(vec![segment(7, 7, vec![nameless])]);
        let inventory = Inventory::of(&collections);
        assert_eq!(inventory.places(), 2);
        assert_eq!(inventory.logs().map(|log| log.place).collect::<Vec<_>>(), [1]);
    }
}
