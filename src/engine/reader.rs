//! Reads objects to look inside: so many bytes of them in memory, so many at once, and no faster than the run may.
//!
//! Must not know what an object means. One reader is made for a run and shared by all of it that reads.

use std::ops::Deref;

use bytes::Bytes;

use super::task::Limits;
use crate::storage::{MemoryBudget, Pace, Room, Store, StoreError};

/// Objects read at once where the task sets no bound.
const AT_ONCE: usize = 8;
/// Bytes of objects in memory at a time. Milvus writes log files of up to 16 MiB while rows come in, and of up to 64 MiB when it
/// compacts: two of the former fit, one of the latter is read alone.
const MEMORY: u64 = 32 << 20;

/// What all reads of a run share.
#[derive(Debug)]
pub struct Reader {
    at_once: usize,
    memory: MemoryBudget,
    pace: Pace,
}

/// What was read. Its bytes count as held until this is dropped: keep no slice of them longer.
#[derive(Debug)]
pub struct Held {
    body: Bytes,
    _room: Room,
}

impl Deref for Held {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.body
    }
}

impl Reader {
    /// For a run with these limits.
    pub fn new(limits: &Limits) -> Reader {
        let at_once = limits.concurrency.map_or(AT_ONCE, |bound| usize::try_from(bound).unwrap_or(AT_ONCE)).max(1);
        let pace = Pace::new(limits.bytes_per_second, limits.requests_per_second.map(u64::from));
        Reader { at_once, memory: MemoryBudget::new(MEMORY), pace }
    }

    /// How many objects may be read at once: not kept here, but by whoever has many to read.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// A whole object that is recorded to have `size` bytes. One that is larger than all that may be held is read alone.
    ///
    /// # Errors
    /// The store's; [`StoreError::TooLarge`] where the object has more bytes than are recorded.
    pub async fn whole(&self, store: &dyn Store, key: &str, size: u64) -> Result<Held, StoreError> {
        let room = self.memory.take(size).await;
        self.pace.request(size).await;
        Ok(Held { body: store.get_within(key, size).await?, _room: room })
    }

    /// `length` bytes of an object from `offset`; fewer where it ends before.
    ///
    /// # Errors
    /// The store's.
    pub async fn piece(&self, store: &dyn Store, key: &str, offset: u64, length: u64) -> Result<Held, StoreError> {
        let room = self.memory.take(length).await;
        self.pace.request(length).await;
        Ok(Held { body: store.get_range(key, offset, length).await?, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::stream::{self, StreamExt, TryStreamExt};
    use tokio::time::Instant;

    use super::*;
    use crate::engine::computed::peak;
    use crate::storage::FolderStore;
    use crate::storage::fault::{Fault, FaultStore};
    use crate::storage::memory::MemoryService;

    const MIB: u64 = 1 << 20;
    /// Of each object, until it is all here.
    const TAKES: Duration = Duration::from_secs(1);

    /// Objects of these sizes in MiB, in a store that takes a second for each.
    async fn store(sizes: &[u64]) -> FaultStore {
        let bucket = MemoryService::new("m").bucket("b");
        for (at, size) in sizes.iter().enumerate() {
            bucket.put(&at.to_string(), vec![0; usize::try_from(size * MIB).unwrap()].into()).await.unwrap();
        }
        FaultStore::new(Arc::new(bucket), |_| Fault::Late(TAKES))
    }

    /// Reads all; answers how long it took.
    async fn read(store: &FaultStore, sizes: &[u64], limits: &Limits) -> Duration {
        let (reader, began) = (Reader::new(limits), Instant::now());
        let reads =
            stream::iter(sizes.iter().enumerate()).map(|(at, size)| {
                let (reader, key) = (&reader, at.to_string());
                async move {
                    reader.whole(store, &key, size * MIB).await.map(|held| assert_eq!(held.len() as u64, size * MIB))
                }
            });
        reads.buffered(reader.at_once()).try_collect::<()>().await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_bytes_are_held_than_the_budget_has_however_many_are_read_at_once() {
        let sizes = [12; 12];
        let store = store(&sizes).await;
        for concurrency in [None, Some(100)] {
            assert_eq!(read(&store, &sizes, &Limits { concurrency, ..Limits::default() }).await, 6 * TAKES);
        }
        assert_eq!(store.most_held(), 24 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_larger_than_the_budget_is_read_alone_and_the_others_at_once() {
        let sizes = [1, 1, 40, 1, 1];
        let store = store(&sizes).await;
        assert_eq!(read(&store, &sizes, &Limits::default()).await, 3 * TAKES);
        assert_eq!(store.most_held(), 40 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_objects_are_read_at_once_than_the_limits_say() {
        let sizes = [1; 16];
        let store = store(&sizes).await;
        for (concurrency, rounds) in [(None, 2), (Some(4), 4), (Some(0), 16)] {
            assert_eq!(read(&store, &sizes, &Limits { concurrency, ..Limits::default() }).await, rounds * TAKES);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_and_requests_keep_to_the_pace_of_the_limits() {
        let sizes = [1; 16];
        let store = store(&sizes).await;
        let slow = Limits { bytes_per_second: Some(2 * MIB), ..Limits::default() };
        // Two seconds' worth is free or on its way, the last answer takes a second.
        assert_eq!(read(&store, &sizes, &slow).await, 7 * TAKES + TAKES);
        let few = Limits { requests_per_second: Some(4), ..Limits::default() };
        assert_eq!(read(&store, &sizes, &few).await, 3 * TAKES + TAKES);
    }

    #[tokio::test]
    async fn an_object_that_has_more_bytes_than_are_recorded_is_not_read() {
        let store = FaultStore::watching(Arc::new(store(&[2]).await));
        let reader = Reader::new(&Limits::default());
        let error = reader.whole(&store, "0", MIB).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { size, most: MIB, .. } if size == 2 * MIB), "{error}");
        assert_eq!(store.most_held(), 0);
        assert_eq!(reader.piece(&store, "0", MIB, 4 * MIB).await.unwrap().len() as u64, MIB);
    }

    const DIRECTORY: &str = "MEASURED_READER";
    const PEAK: &str = "at most resident: ";

    /// Reads objects of 1 to 16 MiB out of a directory, which is made where the environment names none.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn objects_of_many_sizes_are_read_one_after_another_and_at_once() {
        let made = tempfile::tempdir().unwrap();
        let directory = std::env::var_os(DIRECTORY).map_or(made.path().to_owned(), std::path::PathBuf::from);
        let sizes: Vec<u64> = (0..60).map(|at| (at * 7 % 16 + 1) * MIB).collect();
        for (at, size) in sizes.iter().enumerate() {
            std::fs::File::create(directory.join(at.to_string())).unwrap().set_len(*size).unwrap();
        }
        let store = FolderStore::open(&directory).unwrap();
        let reader = Reader::new(&Limits::default());
        let reads = stream::iter(sizes.iter().enumerate()).map(|(at, size)| {
            let (reader, store, key) = (&reader, &store, at.to_string());
            async move { reader.whole(store, &key, *size).await.map(|held| held.len()) }
        });
        let read: Vec<usize> = reads.buffered(reader.at_once()).try_collect().await.unwrap();
        assert_eq!(read.iter().sum::<usize>() as u64, sizes.iter().sum::<u64>());
        eprintln!("{PEAK}{}", peak());
    }

    /// In a process of its own: the measure is that of the whole one.
    #[test]
    fn a_reader_takes_less_than_64_mib_whatever_the_sizes_of_what_it_reads() {
        let directory = tempfile::tempdir().unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let test = format!("{module}::objects_of_many_sizes_are_read_one_after_another_and_at_once");
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", "--nocapture", &test]).env(DIRECTORY, directory.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let peak: u64 = said.lines().find_map(|line| line.split_once(PEAK)).unwrap().1.trim().parse().unwrap();
        assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
    }
}
