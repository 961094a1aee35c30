//! What the copy engine holds in memory, measured on a store that holds nothing.
//!
//! Ignored, because the measure is that of the whole process: each is run alone. What a whole backup holds is measured in
//! `backup/memory_tests.rs`.
//!
//! ```text
//! cargo test --lib engine::copy::memory_tests -- --ignored --exact --nocapture \
//!     engine::copy::memory_tests::copying_alone_takes_no_more_memory_for_a_million_objects_than_for_a_few
//! ```

use std::sync::atomic::Ordering;

use super::*;
use crate::engine::computed::{Computed, Open, peak};

const MIB: u64 = 1 << 20;

#[tokio::test]
#[ignore = "measures the whole process: run it alone"]
async fn copying_alone_takes_no_more_memory_for_a_million_objects_than_for_a_few() {
    let directory = tempfile::tempdir().unwrap();
    let objects = 1_000_000;
    let store = Computed::new("computed:", objects, 1000, directory.path());
    let counters = Counters::default();
    let copies = (0..objects).map(|at| store.copy(at));
    Copier::new(&Limits::default(), &counters).all(&store, &store, copies, &counters, &Open).await.unwrap();
    assert_eq!(store.copied.load(Ordering::Relaxed), objects);
    assert!(peak() < 32 * MIB, "{} MiB", peak() / MIB);
}

#[tokio::test]
#[ignore = "measures the whole process: run it alone"]
async fn streams_between_stores_hold_no_more_than_their_budget() {
    let directory = tempfile::tempdir().unwrap();
    let size = 64 * MIB;
    let bucket = |service| Computed::new(service, 100, size, directory.path());
    let (source, target) = (bucket("one:"), bucket("two:"));
    let counters = Counters::default();
    let copies = (0..100).map(|at| source.copy(at));
    Copier::new(&Limits::default(), &counters).all(&source, &target, copies, &counters, &Open).await.unwrap();
    assert_eq!(target.copied.load(Ordering::Relaxed), 100 * size);
    assert!(peak() < 100 * MIB, "{} MiB", peak() / MIB);
}
