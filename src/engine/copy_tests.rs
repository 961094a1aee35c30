//! Many copies at once, on memory and with faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::storage::fault::{Call, Fault, FaultStore, Verb};
use crate::storage::list_all;
use crate::storage::memory::{MemoryService, MemoryStore};

fn object(key: &str, size: u64, etag: &str) -> ObjectMeta {
    ObjectMeta { key: key.into(), size, etag: etag.into() }
}

struct Open;

#[async_trait::async_trait]
impl Fence for Open {
    async fn hold(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { place: "p".into(), act: "copy".into(), tries: 8, cause: "SlowDown".into() }
}

async fn filled(store: &MemoryStore, count: usize, size: usize) -> Vec<Copy> {
    let mut copies = Vec::new();
    for at in 0..count {
        let key = format!("in/{at}");
        let etag = store.put(&key, Bytes::from(vec![at as u8; size])).await.unwrap();
        copies.push(Copy { source: object(&key, size as u64, &etag), to: format!("out/{at}") });
    }
    copies
}

fn faulty(store: &MemoryStore, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> FaultStore {
    FaultStore::new(Arc::new(store.clone()), plan)
}

async fn copy(
    source: &dyn Store,
    destination: &dyn Store,
    copies: &[Copy],
    limits: &Limits,
) -> Result<u64, EngineError> {
    let counters = Counters::default();
    Copier::new(limits, &counters).all(source, destination, copies.to_vec(), &counters, &Open).await
}

fn differing(copies: &[Copy], listed: &[ObjectMeta]) -> Vec<String> {
    missing(copies, listed).into_iter().map(|copy| copy.to.clone()).collect()
}

#[test]
fn equal_size_is_not_enough_where_both_tags_are_digests() {
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    assert!(same(&object("x", 3, &a), &object("y", 3, &a)));
    assert!(!same(&object("x", 3, &a), &object("y", 3, &b)));
    assert!(same(&object("x", 3, &a), &object("y", 3, "0123-2")));
    assert!(!same(&object("x", 3, &a), &object("y", 4, &a)));
}

#[tokio::test]
async fn all_objects_arrive_and_are_counted() {
    let store = MemoryService::new("test").bucket("b");
    let copies = filled(&store, 50, 7).await;
    let counters = Counters::default();
    let limits = Limits { concurrency: Some(4), ..Limits::default() };
    let moved = Copier::new(&limits, &counters).all(&store, &store, copies.clone(), &counters, &Open).await.unwrap();
    assert_eq!((moved, counters.bytes_done()), (350, 350));
    assert_eq!(differing(&copies, &list_all(&store, "out/").await.unwrap()), Vec::<String>::new());
    store.put("out/7", Bytes::from_static(b"1234567")).await.unwrap();
    assert_eq!(differing(&copies, &list_all(&store, "out/").await.unwrap()), ["out/7"]);
}

#[tokio::test]
async fn a_throttled_store_slows_down_and_does_not_fail() {
    let inner = MemoryService::new("test").bucket("b");
    let copies = filled(&inner, 300, 1).await;
    // Two windows of them are refused once, as in a burst of 503 that outlasts the tries of a request.
    let store = faulty(&inner, |call| match (call.verb, call.nth) {
        (Verb::Copy, 1) if call.total <= 2 * START => Fault::Fail(unavailable()),
        _ => Fault::Pass,
    });
    assert_eq!(copy(&store, &store, &copies, &Limits::default()).await.unwrap(), 300);
    assert_eq!(differing(&copies, &list_all(&inner, "out/").await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_is_away_ends_the_run_after_bounded_tries() {
    let inner = MemoryService::new("test").bucket("b");
    let copies = filled(&inner, 100, 1).await;
    let store = faulty(&inner, |call| if call.verb == Verb::Copy { Fault::Fail(unavailable()) } else { Fault::Pass });
    let error = copy(&store, &store, &copies, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::Unavailable { .. })), "{error}");
    assert!(store.count(Verb::Copy) <= 32 + 16 + 8 + 4 + 2 + 1 + 1 + 32, "{}", store.count(Verb::Copy));
}

#[tokio::test]
async fn an_object_that_never_comes_through_does_not_hold_up_the_others() {
    let inner = MemoryService::new("test").bucket("b");
    let copies = filled(&inner, 200, 1).await;
    let store = faulty(&inner, |call| match (call.verb, call.key.as_str()) {
        (Verb::Copy, "out/3") => Fault::Fail(unavailable()),
        _ => Fault::Pass,
    });
    let error = copy(&store, &store, &copies, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::Unavailable { .. })), "{error}");
    assert_eq!(list_all(&inner, "out/").await.unwrap().len(), 199);
    assert!(store.count(Verb::Copy) < 199 + 10, "{}", store.count(Verb::Copy));
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    let inner = MemoryService::new("test").bucket("b");
    let copies = filled(&inner, 10, 1).await;
    let denied = || StoreError::Setup("a wrong clock".into());
    let store = faulty(&inner, move |call| if call.verb == Verb::Copy { Fault::Fail(denied()) } else { Fault::Pass });
    let limits = Limits { concurrency: Some(1), ..Limits::default() };
    assert!(copy(&store, &store, &copies, &limits).await.is_err());
    assert_eq!(store.count(Verb::Copy), 1);
}

#[test]
fn throttled_answers_halve_the_copies_at_once_and_success_widens_them_again() {
    let mut course = Course::new(64, 5);
    let admitted = course.window.admit();
    for _ in 0..64 {
        course.arrived(admitted, 5);
    }
    let wide = course.window.size();
    assert!(wide > START && wide <= 64, "{wide}");
    let admitted = course.window.admit();
    course.arrived(admitted, 9);
    assert_eq!(course.window.size(), wide / 2);
    course.arrived(admitted, 9);
    assert!(course.window.size() >= wide / 2);
}

#[test]
fn one_object_that_arrives_ends_a_row_of_failures() {
    let mut course = Course::new(1, 0);
    for _ in 0..10 {
        for _ in 0..CUTS {
            assert_eq!(course.failed(course.window.admit(), 0), Verdict::Again);
        }
        course.arrived(course.window.admit(), 0);
    }
    for _ in 0..CUTS {
        assert_eq!(course.failed(course.window.admit(), 0), Verdict::Again);
    }
    assert_eq!(course.failed(course.window.admit(), 0), Verdict::GiveUp);
}

/// Counts how many copies are under way, now and at most; each takes a millisecond of virtual time.
#[derive(Default)]
struct Counting(AtomicUsize, AtomicUsize);

#[async_trait::async_trait]
impl Fence for Counting {
    async fn hold(&self) -> Result<(), EngineError> {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn never_more_copies_at_once_than_the_limit() {
    let store = MemoryService::new("test").bucket("b");
    let copies = filled(&store, 200, 1).await;
    let fence = Counting::default();
    let counters = Counters::default();
    let limits = Limits { concurrency: Some(5), ..Limits::default() };
    Copier::new(&limits, &counters).all(&store, &store, copies, &counters, &fence).await.unwrap();
    assert_eq!(fence.1.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn bytes_per_second_bind_copies_by_the_service_and_streams_alike() {
    for other in [false, true] {
        let source = MemoryService::new("one").bucket("b");
        let copies = filled(&source, 40, 100).await;
        let far = MemoryService::new("two").bucket("b");
        let destination = if other { &far } else { &source };
        let limits = Limits { bytes_per_second: Some(1000), ..Limits::default() };
        let started = Instant::now();
        copy(&source, destination, &copies, &limits).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 3, "streamed: {other}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_per_second_bind_what_is_sent() {
    let source = MemoryService::new("one").bucket("b");
    let copies = filled(&source, 40, 1).await;
    let limits = Limits { requests_per_second: Some(10), ..Limits::default() };
    let started = Instant::now();
    copy(&source, &source, &copies, &limits).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 3);
    // A streamed object is read and written.
    let (far, started) = (MemoryService::new("two").bucket("b"), Instant::now());
    copy(&source, &far, &copies, &limits).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 7);
}

/// Larger than a part of a stream, so written in parts.
const LARGE: usize = 9 << 20;

#[tokio::test]
async fn a_stopped_run_aborts_its_multipart_writes_before_it_is_dropped() {
    let source = MemoryService::new("one").bucket("b");
    let copies = filled(&source, 2, LARGE).await;
    let target = MemoryService::new("two").bucket("b");
    let hanging = faulty(&target, |call| if call.verb == Verb::UploadPart { Fault::Hang } else { Fault::Pass });
    let (counters, limits) = (Counters::default(), Limits::default());
    let copier = Copier::new(&limits, &counters);
    let mut work = std::pin::pin!(copier.all(&source, &hanging, copies, &counters, &Open));
    assert!(work.as_mut().now_or_never().is_none());
    assert_eq!((target.uploads("").await.unwrap().len(), counters.may_break_off()), (2, false));
    counters.stop();
    assert!(work.as_mut().now_or_never().is_none());
    assert_eq!(target.uploads("").await.unwrap(), []);
    assert!(counters.may_break_off());
}

#[tokio::test]
async fn a_run_that_fails_aborts_the_multipart_writes_of_the_others() {
    let source = MemoryService::new("one").bucket("b");
    let copies = filled(&source, 3, LARGE).await;
    let target = MemoryService::new("two").bucket("b");
    let broken = faulty(&target, |call| match call.verb {
        Verb::UploadPart if call.key == "out/2" => Fault::Fail(StoreError::Setup("a wrong clock".into())),
        Verb::UploadPart => Fault::Hang,
        _ => Fault::Pass,
    });
    let error = copy(&source, &broken, &copies, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::Setup(_))), "{error}");
    assert_eq!(target.uploads("").await.unwrap(), []);
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_copied_is_no_copy_of_two() {
    let source = MemoryService::new("one").bucket("b");
    let copies = filled(&source, 1, LARGE).await;
    let writer = source.clone();
    let changing = faulty(&source, move |call| {
        if call.verb == Verb::GetRange && call.total == 2 {
            writer.put("in/0", Bytes::from(vec![9; LARGE])).now_or_never().unwrap().unwrap();
        }
        Fault::Pass
    });
    let target = MemoryService::new("two").bucket("b");
    let error = copy(&changing, &target, &copies, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Store(StoreError::Replaced { .. })), "{error}");
    assert_eq!((list_all(&target, "").await.unwrap(), target.uploads("").await.unwrap()), (vec![], vec![]));
}

/// What is found of a copy when a run is resumed.
#[derive(Debug, Clone, Copy)]
enum There {
    Right,
    InParts,
    Shorter,
    Other,
    Nothing,
}

fn any_there() -> impl Strategy<Value = There> {
    use There::*;
    prop_oneof![Just(Right), Just(InParts), Just(Shorter), Just(Other), Just(Nothing)]
}

proptest! {
    #[test]
    fn a_resumed_run_copies_what_is_missing_cut_or_other_and_nothing_twice(
        there in proptest::collection::vec(any_there(), 0..60), strays in 0..5_usize,
    ) {
        let copy = |at: usize| Copy { source: object(&format!("in/{at:03}"), 10, &format!("{at:032x}")), to: format!("out/{at:03}") };
        let copies: Vec<Copy> = (0..there.len()).map(copy).collect();
        let mut listed: Vec<ObjectMeta> = copies
            .iter()
            .zip(&there)
            .filter_map(|(copy, there)| match there {
                There::Right => Some(object(&copy.to, 10, &copy.source.etag)),
                There::InParts => Some(object(&copy.to, 10, "0123-2")),
                There::Shorter => Some(object(&copy.to, 9, &copy.source.etag)),
                There::Other => Some(object(&copy.to, 10, &"f".repeat(32))),
                There::Nothing => None,
            })
            .chain((0..strays).map(|stray| object(&format!("out/stray{stray}"), 10, "")))
            .collect();
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        let todo = differing(&copies, &listed);
        let wanted: Vec<String> = copies
            .iter()
            .zip(&there)
            .filter(|(_, there)| !matches!(there, There::Right | There::InParts))
            .map(|(copy, _)| copy.to.clone())
            .collect();
        prop_assert_eq!(&todo, &wanted);
        // When these have arrived, nothing is left to do.
        listed.retain(|object| !todo.contains(&object.key));
        listed.extend(copies.iter().filter(|copy| todo.contains(&copy.to)).map(|copy| object(&copy.to, 10, &copy.source.etag)));
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        prop_assert_eq!(differing(&copies, &listed), Vec::<String>::new());
    }

    #[test]
    fn whatever_the_stores_say_there_are_never_more_copies_at_once_than_the_bound(
        most in 1..200_usize, events in proptest::collection::vec((any::<bool>(), 0..3_u64, any::<bool>()), 0..300),
    ) {
        let mut course = Course::new(most, 0);
        let (mut admitted, mut throttled, mut failed) = (course.window.admit(), 0, 0);
        for (good, more, fresh) in events {
            if fresh {
                admitted = course.window.admit();
            }
            throttled += more;
            if good {
                course.arrived(admitted, throttled);
                failed = 0;
            } else {
                failed += 1;
                // Never before so many cuts, each of which takes a failure.
                prop_assert!(course.failed(admitted, throttled) == Verdict::Again || failed > CUTS);
            }
            prop_assert!((1..=most).contains(&course.window.size()));
        }
    }
}
