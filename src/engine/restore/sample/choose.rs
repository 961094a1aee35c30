//! Pure: which rows of a collection are compared, and how a server is asked for them.

use sha2::{Digest, Sha256};

use crate::engine::restore::columns::Column;
use crate::engine::restore::fields::places;
use crate::engine::restore::rows::TIMESTAMP_FIELD;
use crate::manifest::binlog::Key;
use crate::manifest::{CollectionBackupInfo, SegmentBackupInfo};

/// Rows compared of each collection.
pub const ROWS: usize = 100;
/// Places they are taken from: each costs the reading of one file of every field.
pub const SPOTS: usize = 10;

/// Files that hold the same rows: those at one place in the lists of every field.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'i> {
    /// Their segment.
    pub segment: &'i SegmentBackupInfo,
    /// Their place.
    pub at: usize,
}

/// All places whose files can be read for these columns: those of segments with as many files of every field or group.
pub fn readable<'i>(info: &'i CollectionBackupInfo, columns: &'i [Column]) -> impl Iterator<Item = Spot<'i>> {
    let segments = info.segments().filter(|segment| !segment.is_l0);
    segments.flat_map(move |segment| {
        let fields = columns.iter().map(|column| column.id).chain([TIMESTAMP_FIELD]);
        (0..places(segment, fields).unwrap_or_default()).map(move |at| Spot { segment, at })
    })
}

/// A segment with rows whose files cannot be put together, by its id.
pub fn uneven(info: &CollectionBackupInfo, columns: &[Column]) -> Option<i64> {
    let fields = || columns.iter().map(|column| column.id).chain([TIMESTAMP_FIELD]);
    let mut segments = info.segments().filter(|segment| !segment.is_l0 && segment.insert_logs().next().is_some());
    segments.find(|segment| places(segment, fields()).is_none()).map(|segment| segment.segment_id)
}

/// Those that rows are taken from, spread over the segments by nothing but their ids.
pub fn spots<'i>(info: &'i CollectionBackupInfo, columns: &'i [Column]) -> Vec<Spot<'i>> {
    let mut ranked: Vec<([u8; 32], Spot<'i>)> = Vec::new();
    for spot in readable(info, columns) {
        let id = spot.segment.segment_id.to_be_bytes();
        let rank = Sha256::new().chain_update(id).chain_update(spot.at.to_be_bytes()).finalize().into();
        let place = ranked.partition_point(|(other, _)| *other <= rank);
        if place < SPOTS {
            ranked.insert(place, (rank, spot));
            ranked.truncate(SPOTS);
        }
    }
    // Small segments first: what they lack of their part the larger ones have.
    ranked.sort_by_key(|(rank, spot)| (spot.segment.num_of_rows, *rank));
    ranked.into_iter().map(|(_, spot)| spot).collect()
}

/// At most `wanted` places out of `count`, in ascending order and evenly spread.
pub fn spread(count: usize, wanted: usize) -> Vec<usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(|at| (2 * at + 1) * count / (2 * wanted)).collect()
}

/// Whether a key can be written into an expression as it is: servers differ in what they take escaped.
pub fn can_be_asked_for(key: &Key) -> bool {
    match key {
        Key::Int(_) => true,
        Key::Text(text) => !text.chars().any(|one| one.is_control() || matches!(one, '"' | '\\')),
    }
}

/// The expression for rows with these keys of field `name`.
pub fn expression<'k>(name: &str, keys: impl IntoIterator<Item = &'k Key>) -> String {
    let written = |key: &Key| match key {
        Key::Int(number) => number.to_string(),
        Key::Text(text) => format!("\"{text}\""),
    };
    let keys: Vec<String> = keys.into_iter().map(written).collect();
    format!("{name} in [{}]", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::restore::columns::comparable;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, FieldBinlog, FieldSchema};
    use crate::milvus::DataType;

    /// Segments with so many files of each field.
    fn collection(files: &[i64]) -> CollectionBackupInfo {
        let binlogs = |field: i64, files: i64| {
            let binlog = |log_id| Binlog { log_id, ..Binlog::default() };
            FieldBinlog { field_id: field, binlogs: (0..files).map(|file| binlog(1000 * field + file + 1)).collect() }
        };
        let segment = |(at, files): (usize, &i64)| SegmentBackupInfo {
            segment_id: at as i64 + 1,
            binlogs: [0, 1, 100].map(|field| binlogs(field, *files)).into(),
            ..SegmentBackupInfo::default()
        };
        let mut info = CollectionBackupInfo::default();
        info.schema.fields = vec![FieldSchema {
            field_id: 100,
            name: "id".into(),
            data_type: DataType::Int64.into(),
            is_primary_key: true,
            ..FieldSchema::default()
        }];
        let segments = files.iter().enumerate().map(segment).collect();
        info.partition_backups = vec![PartitionBackupInfo { segment_backups: segments, ..Default::default() }];
        info
    }

    fn chosen(info: &CollectionBackupInfo) -> Vec<(i64, usize)> {
        let (columns, _) = comparable(info).unwrap();
        spots(info, &columns).iter().map(|spot| (spot.segment.segment_id, spot.at)).collect()
    }

    #[test]
    fn segments_without_all_files_and_of_an_unknown_storage_version_are_left_out() {
        let mut info = collection(&[1, 1, 1]);
        let segments = &mut info.partition_backups[0].segment_backups;
        segments[0].binlogs.pop();
        segments[1].storage_version = 3;
        assert_eq!(chosen(&info), [(3, 0)]);
        let uneven = |info: &CollectionBackupInfo| uneven(info, &comparable(info).unwrap().0);
        assert_eq!(uneven(&info), Some(1));
        assert_eq!(uneven(&collection(&[2, 0, 1])), None);
    }

    #[test]
    fn keys_are_asked_for_as_they_are_or_not_at_all() {
        let keys = [Key::Int(-7), Key::Int(8)];
        assert_eq!(expression("id", &keys), "id in [-7, 8]");
        assert_eq!(expression("word", &[Key::Text("für <1>".into())]), "word in [\"für <1>\"]");
        for strange in ["a\0b", "\"", "\\", "\n"] {
            assert!(!can_be_asked_for(&Key::Text(strange.into())), "{strange:?}");
        }
    }

    proptest! {
        #[test]
        fn rows_are_spread_without_repetition(count in 0..5000_usize, wanted in 0..200_usize) {
            let places = spread(count, wanted);
            prop_assert_eq!(places.len(), wanted.min(count));
            prop_assert!(places.is_sorted_by(|one, other| one < other) && places.iter().all(|place| *place < count));
            if let (Some(first), Some(last)) = (places.first(), places.last()) {
                prop_assert!(first + count.div_ceil(places.len()) >= count - last - 1);
            }
        }

        #[test]
        fn places_are_chosen_by_ids_alone_and_as_many_as_there_are(files in proptest::collection::vec(0..4_i64, 0..30)) {
            let info = collection(&files);
            let found = chosen(&info);
            let all: i64 = files.iter().sum();
            prop_assert_eq!(found.len(), SPOTS.min(all as usize));
            let mut reversed = info.clone();
            reversed.partition_backups[0].segment_backups.reverse();
            prop_assert_eq!(chosen(&reversed), found);
        }
    }
}
