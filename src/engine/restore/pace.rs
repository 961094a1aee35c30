//! Pure: which way into the server is faster for a partition, by what both have taken so far.
//!
//! A 2.3 server works import tasks off one after another, at about 2 s each however small they are (real-milvus.md 4); rows of
//! a small partition are inserted in a fraction of that. Before anything is measured, the figures are those of a 2.3.5 on
//! two cores.

use std::time::Duration;

/// Time of an import task beside that for its bytes ...
const IMPORT_SECONDS: f64 = 2.0;
/// ... and bytes a second beyond: 263 MB in 8 tasks took 24.9 s.
const IMPORT_RATE: f64 = 30e6;
/// Time to read a partition and send it, beside that for its bytes ...
const INSERT_SECONDS: f64 = 0.1;
/// ... and bytes a second beyond.
const INSERT_RATE: f64 = 10e6;
/// Weight of the defaults among what is measured: one task, and so many seconds of inserts.
const PRIOR: f64 = 1.0;
/// Larger partitions are imported: what is inserted passes through memory here and in the server.
pub const LARGEST: u64 = 16 << 20;

/// The way of a partition's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The server reads the binlogs.
    Import,
    /// We read them and insert their rows.
    Insert,
}

/// What imports and inserts have taken, and what is planned of both.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    tasks: f64,
    task_seconds: f64,
    inserted_bytes: f64,
    insert_seconds: f64,
    /// When the last one ended, since the restore began: tasks asked for together wait for each other ...
    last_import: Duration,
    /// ... and inserts share the machine.
    last_insert: Duration,
    waiting_imports: f64,
    waiting_inserts: f64,
}

impl Pace {
    /// Seconds one import task of so many bytes takes.
    pub fn import_seconds(&self, bytes: u64) -> f64 {
        let task = (PRIOR * IMPORT_SECONDS + self.task_seconds) / (PRIOR + self.tasks);
        task + bytes as f64 / IMPORT_RATE
    }

    /// Seconds it takes to read and insert so many bytes.
    pub fn insert_seconds(&self, bytes: u64) -> f64 {
        let rate = (PRIOR * INSERT_RATE + self.inserted_bytes) / (PRIOR + self.insert_seconds);
        INSERT_SECONDS + bytes as f64 / rate
    }

    /// The faster way for a partition: inserted where that takes less than an import task, or where it would be done
    /// before its task had its turn.
    pub fn choose(&self, bytes: u64) -> Way {
        let (import, insert) = (self.import_seconds(bytes), self.insert_seconds(bytes));
        let sooner = self.waiting_inserts + insert < self.waiting_imports + import;
        if bytes <= LARGEST && (insert < import || sooner) { Way::Insert } else { Way::Import }
    }

    /// Notes what is going to be done, and answers what to give back to [`Pace::ended`].
    pub fn begin(&mut self, way: Way, bytes: u64) -> f64 {
        let (seconds, waiting) = match way {
            Way::Import => (self.import_seconds(bytes), &mut self.waiting_imports),
            Way::Insert => (self.insert_seconds(bytes), &mut self.waiting_inserts),
        };
        *waiting += seconds;
        seconds
    }

    /// What was begun has ended, well or not.
    pub fn ended(&mut self, way: Way, planned: f64) {
        let waiting = match way {
            Way::Import => &mut self.waiting_imports,
            Way::Insert => &mut self.waiting_inserts,
        };
        *waiting = (*waiting - planned).max(0.0);
    }

    /// An import task of so many bytes, asked for and ended at these times since the restore began.
    pub fn imported(&mut self, bytes: u64, asked: Duration, ended: Duration) {
        let took = alone(&mut self.last_import, asked, ended);
        self.tasks += 1.0;
        self.task_seconds += (took - bytes as f64 / IMPORT_RATE).max(0.0);
    }

    /// A partition of so many bytes, read and inserted between these times since the restore began.
    pub fn inserted(&mut self, bytes: u64, begun: Duration, ended: Duration) {
        let took = alone(&mut self.last_insert, begun, ended);
        self.inserted_bytes += bytes as f64;
        self.insert_seconds += (took - INSERT_SECONDS).max(0.0);
    }
}

/// Seconds since the one before ended, so that no moment counts twice.
fn alone(last: &mut Duration, begun: Duration, ended: Duration) -> f64 {
    let took = ended.saturating_sub(begun.max(*last));
    *last = ended.max(*last);
    took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn by_default_a_small_partition_is_inserted_and_a_large_one_imported() {
        let pace = Pace::default();
        assert_eq!(pace.choose(0), Way::Insert);
        assert_eq!(pace.choose(MIB), Way::Insert);
        assert_eq!(pace.choose(LARGEST + 1), Way::Import);
        assert_eq!(pace.choose(1 << 40), Way::Import);
    }

    #[test]
    fn a_server_that_imports_fast_and_inserts_slowly_is_imported_into() {
        let mut pace = Pace::default();
        for end in 1..=20 {
            pace.imported(0, seconds(0), Duration::from_millis(100 * end));
        }
        assert!(pace.import_seconds(0) < 0.3);
        pace.inserted(MIB, seconds(0), seconds(20));
        assert_eq!(pace.choose(MIB), Way::Import);
        assert_eq!(pace.choose(1000), Way::Insert);
    }

    #[test]
    fn what_goes_on_at_the_same_time_is_not_timed_twice() {
        let mut pace = Pace::default();
        for end in [3, 6, 9] {
            pace.imported(0, seconds(0), seconds(end));
        }
        assert_eq!(pace.import_seconds(0), (2.0 + 9.0) / 4.0);
        for _ in 0..3 {
            pace.inserted(0, seconds(0), Duration::from_millis(1100));
        }
        // One second and what the default weighs.
        assert!((pace.insert_seconds(5_000_000) - 1.1).abs() < 1e-9);
    }

    #[test]
    fn waiting_imports_make_room_for_inserts_and_waiting_inserts_do_not() {
        let mut pace = Pace::default();
        // Two seconds for each MiB.
        pace.inserted(50 * MIB, seconds(0), seconds(100));
        let bytes = 8 * MIB;
        assert_eq!(pace.choose(bytes), Way::Import);
        let planned: Vec<f64> = (0..20).map(|_| pace.begin(Way::Import, MIB)).collect();
        assert_eq!(pace.choose(bytes), Way::Insert);
        let insert = pace.begin(Way::Insert, 64 * MIB);
        assert_eq!(pace.choose(bytes), Way::Import);
        pace.ended(Way::Insert, insert);
        planned.into_iter().for_each(|planned| pace.ended(Way::Import, planned));
        assert_eq!(pace.choose(bytes), Way::Import);
        assert_eq!(pace.choose(1000), Way::Insert);
    }

    #[test]
    fn what_took_no_time_is_no_division_by_nothing() {
        let mut pace = Pace::default();
        pace.inserted(0, seconds(7), seconds(7));
        pace.imported(1 << 40, seconds(5), seconds(1));
        assert!(pace.insert_seconds(MIB).is_finite() && pace.import_seconds(MIB).is_finite());
    }
}
