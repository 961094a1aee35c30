//! Pure: which objects of an artifact are read where not all are.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::engine::inventory::Inventory;
use crate::manifest::layout::log_path;

/// A share of the objects. The same seed chooses the same ones, whatever their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// How many of a hundred, 1 to 100.
    pub percent: u8,
    /// Which.
    pub seed: u32,
}

impl Choice {
    /// A number for an object, evenly spread and of nothing but the seed and its path in the artifact.
    pub fn rank(self, path: &str) -> u64 {
        let digest = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(path).finalize();
        digest.iter().take(8).fold(0, |rank, byte| rank << 8 | u64::from(*byte))
    }

    /// Whether an object of this rank is in the share.
    pub fn takes(self, rank: u64) -> bool {
        u128::from(rank) * 100 < u128::from(self.percent) << 64
    }

    /// By place: the logs that are read. At least one of each collection that has any.
    pub fn logs(self, logs: &Inventory<'_>) -> Vec<bool> {
        let mut chosen = vec![false; logs.places()];
        let mut lowest: BTreeMap<i64, (u64, usize)> = BTreeMap::new();
        for log in logs.logs() {
            if self.percent >= 100 {
                chosen[log.place] = true;
                continue;
            }
            let rank = self.rank(&log_path(&log.key, log.group));
            chosen[log.place] = self.takes(rank);
            let first = lowest.entry(log.key.collection).or_insert((rank, log.place));
            *first = (*first).min((rank, log.place));
        }
        for (_, place) in lowest.into_values() {
            chosen[place] = true;
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::manifest::backup_info::PartitionBackupInfo;
    use crate::manifest::{Binlog, CollectionBackupInfo, FieldBinlog, SegmentBackupInfo};

    /// Collections of so many logs each.
    fn collections(sizes: &[i64]) -> Vec<CollectionBackupInfo> {
        let collection = |(at, size): (usize, &i64)| {
            let collection_id = at as i64 + 1;
            let binlog = |log_id| Binlog { log_id, log_size: 10, more: None };
            let segment = SegmentBackupInfo {
                segment_id: 10 * collection_id,
                collection_id,
                partition_id: 2,
                binlogs: vec![FieldBinlog { field_id: 100, binlogs: (1..=*size).map(binlog).collect() }],
                ..Default::default()
            };
            let partition =
                PartitionBackupInfo { partition_id: 2, segment_backups: vec![segment], ..Default::default() };
            CollectionBackupInfo { collection_id, partition_backups: vec![partition], ..Default::default() }
        };
        sizes.iter().enumerate().map(collection).collect()
    }

    fn chosen(choice: Choice, collections: &[CollectionBackupInfo]) -> BTreeSet<(i64, i64)> {
        let logs = Inventory::of(collections);
        let chosen = choice.logs(&logs);
        logs.logs().filter(|log| chosen[log.place]).map(|log| (log.key.collection, log.key.log)).collect()
    }

    #[test]
    fn a_share_is_about_as_large_as_it_was_asked_for() {
        let all = collections(&[10_000]);
        for percent in [1, 5, 50, 99] {
            let found = chosen(Choice { percent, seed: 7 }, &all).len();
            let wanted = 100 * usize::from(percent);
            assert!(found.abs_diff(wanted) < 200, "{found} of {wanted}");
        }
        assert_eq!(chosen(Choice { percent: 100, seed: 7 }, &all).len(), 10_000);
    }

    #[test]
    fn another_seed_reads_other_objects() {
        let all = collections(&[1000]);
        let of = |seed| chosen(Choice { percent: 10, seed }, &all);
        assert_ne!(of(1), of(2));
    }

    proptest! {
        #[test]
        fn a_choice_depends_on_nothing_but_seed_and_paths_and_leaves_no_collection_out(
            sizes in proptest::collection::vec(0..40_i64, 1..6), percent in 1..=100_u8, seed: u32,
        ) {
            let choice = Choice { percent, seed };
            let all = collections(&sizes);
            let found = chosen(choice, &all);
            let mut reversed = all.clone();
            reversed.reverse();
            prop_assert_eq!(&chosen(choice, &reversed), &found);
            for (at, size) in sizes.iter().enumerate() {
                let of = found.iter().filter(|(collection, _)| *collection == at as i64 + 1).count();
                prop_assert!(of > 0 || *size == 0, "{found:?}");
                prop_assert!(percent < 100 || of as i64 == *size);
            }
        }

        #[test]
        fn what_a_share_reads_a_larger_share_of_the_same_seed_reads_too(small in 1..=100_u8, more in 0..100_u8, seed: u32) {
            let all = collections(&[60]);
            let large = small.saturating_add(more).min(100);
            let (few, many) = (Choice { percent: small, seed }, Choice { percent: large, seed });
            prop_assert!(chosen(few, &all).is_subset(&chosen(many, &all)));
        }
    }
}
