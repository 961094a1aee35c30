//! Transfers in all their ways, on memory and with faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::storage::fault::{Call, Fault, FaultStore, Verb};
use crate::storage::memory::{MemoryService, MemoryStore};

fn options() -> TransferOptions {
    TransferOptions { part_size: 8, multipart_threshold: 64, copy_part_size: 32, ..TransferOptions::default() }
}

fn body(size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8).collect()
}

async fn bucket_with(name: &str, key: &str, size: usize) -> MemoryStore {
    let bucket = MemoryService::new(name).bucket("source");
    bucket.put(key, body(size)).await.unwrap();
    bucket
}

/// As a service lists it that knows no ETags.
fn listed(key: &str, size: u64) -> ObjectMeta {
    ObjectMeta { key: key.into(), size, etag: String::new() }
}

fn denied() -> StoreError {
    StoreError::Denied { place: "p".into(), act: "copy".into(), code: "AccessDenied".into() }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable { place: "p".into(), act: "a".into(), tries: 8, cause: "SlowDown".into() }
}

fn faulty(store: &MemoryStore, plan: impl Fn(&Call) -> Fault + Send + Sync + 'static) -> FaultStore {
    FaultStore::new(Arc::new(store.clone()), plan)
}

#[tokio::test]
async fn one_service_copies_small_objects_in_one_request() {
    let service = MemoryService::new("m");
    let (source, target) = (service.bucket("a"), FaultStore::watching(Arc::new(service.bucket("b"))));
    let etag = source.put("k", body(63)).await.unwrap();
    let moved = transfer(&source, &target, &listed("k", 63), "t", &options()).await.unwrap();
    assert_eq!(moved, Transferred { etag, server_side: true });
    assert_eq!(target.calls().len(), 1);
}

#[tokio::test]
async fn one_service_copies_large_objects_in_parts() {
    let service = MemoryService::new("m");
    let (source, target) = (service.bucket("a"), FaultStore::watching(Arc::new(service.bucket("b"))));
    source.put("k", body(100)).await.unwrap();
    let moved = transfer(&source, &target, &listed("k", 100), "t", &options()).await.unwrap();
    assert!(moved.server_side && moved.etag.ends_with("-4"), "{moved:?}");
    assert_eq!(target.count(Verb::CopyPart), 4);
    assert_eq!(target.get("t").await.unwrap(), body(100));
}

#[tokio::test]
async fn two_services_stream_whole_or_in_parts_and_never_hold_more_than_the_budget() {
    for (size, puts, parts) in [(0, 1, 0), (8, 1, 0), (9, 0, 2), (1000, 0, 125)] {
        let source = bucket_with("one", "k", size).await;
        let target = FaultStore::watching(Arc::new(MemoryService::new("two").bucket("t")));
        let moved = transfer(&source, &target, &listed("k", size as u64), "t", &options()).await.unwrap();
        assert!(!moved.server_side);
        assert_eq!((target.count(Verb::Put), target.count(Verb::UploadPart)), (puts, parts), "{size} bytes");
        assert_eq!(target.get("t").await.unwrap(), body(size));
    }
}

/// Knows how many bytes lie between reading and writing.
#[derive(Debug)]
struct Scale(AtomicU64, AtomicU64);

#[tokio::test]
async fn parts_wait_for_the_memory_that_all_transfers_share() {
    const KIB: u64 = 1024;
    let source = bucket_with("one", "k", 64 * KIB as usize).await;
    let scale = Arc::new(Scale(AtomicU64::new(0), AtomicU64::new(0)));
    let (reading, writing) = (scale.clone(), scale.clone());
    let source = faulty(&source, move |call| {
        if call.verb == Verb::GetRange {
            let held = reading.0.fetch_add(4 * KIB, Ordering::SeqCst) + 4 * KIB;
            reading.1.fetch_max(held, Ordering::SeqCst);
        }
        Fault::Pass
    });
    let target = faulty(&MemoryService::new("two").bucket("t"), move |call| {
        if call.verb == Verb::UploadPart {
            writing.0.fetch_sub(4 * KIB, Ordering::SeqCst);
        }
        Fault::Pass
    });
    let options = TransferOptions {
        part_size: 4 * KIB,
        part_concurrency: 16,
        memory: MemoryBudget::new(8 * KIB),
        ..TransferOptions::default()
    };
    let from = listed("k", 64 * KIB);
    let two = futures::future::try_join(
        transfer(&source, &target, &from, "a", &options),
        transfer(&source, &target, &from, "b", &options),
    );
    two.await.unwrap();
    assert_eq!(scale.0.load(Ordering::SeqCst), 0);
    assert!(scale.1.load(Ordering::SeqCst) <= 8 * KIB);
}

#[tokio::test]
async fn where_the_destination_may_not_read_the_source_the_bytes_flow_through() {
    for size in [10, 100] {
        let service = MemoryService::new("m");
        let source = service.bucket("a");
        source.put("k", body(size)).await.unwrap();
        let target = faulty(&service.bucket("b"), |call| match call.verb {
            Verb::Copy | Verb::CopyPart => Fault::Fail(denied()),
            _ => Fault::Pass,
        });
        let moved = transfer(&source, &target, &listed("k", size as u64), "t", &options()).await.unwrap();
        assert!(!moved.server_side);
        assert_eq!(target.get("t").await.unwrap(), body(size));
        assert_eq!(target.uploads("").await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_throttled_copy_is_not_made_worse_by_streaming() {
    let service = MemoryService::new("m");
    let source = FaultStore::watching(Arc::new(service.bucket("a")));
    source.put("k", body(10)).await.unwrap();
    let target = faulty(&service.bucket("b"), |_| Fault::Fail(unavailable()));
    let error = transfer(&source, &target, &listed("k", 10), "t", &options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert_eq!(source.count(Verb::GetRange), 0);
}

#[tokio::test]
async fn server_side_copies_can_be_switched_off() {
    let service = MemoryService::new("m");
    let (source, target) = (service.bucket("a"), FaultStore::watching(Arc::new(service.bucket("b"))));
    source.put("k", body(10)).await.unwrap();
    let options = TransferOptions { server_side: false, ..options() };
    assert!(!transfer(&source, &target, &listed("k", 10), "t", &options).await.unwrap().server_side);
    assert_eq!(target.count(Verb::Copy), 0);
}

#[tokio::test]
async fn every_failure_inside_a_multipart_write_aborts_it() {
    for verb in [Verb::UploadPart, Verb::FinishUpload] {
        let source = bucket_with("one", "k", 100).await;
        let target = faulty(&MemoryService::new("two").bucket("t"), move |call| {
            if call.verb == verb { Fault::Fail(unavailable()) } else { Fault::Pass }
        });
        let error = transfer(&source, &target, &listed("k", 100), "t", &options()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{verb:?}: {error}");
        assert_eq!(target.uploads("").await.unwrap(), [], "{verb:?}");
    }
    let source = bucket_with("one", "k", 100).await;
    let source = faulty(&source, |call| if call.total == 3 { Fault::Fail(denied()) } else { Fault::Pass });
    let target = MemoryService::new("two").bucket("t");
    transfer(&source, &target, &listed("k", 100), "t", &options()).await.unwrap_err();
    assert_eq!(target.uploads("").await.unwrap(), []);
}

#[tokio::test]
async fn an_object_of_another_size_than_listed_is_never_copied_as_if_it_were_whole() {
    for (size, said) in [(7, 8), (8, 7), (1, 0), (20, 17), (17, 20), (0, 3)] {
        let source = bucket_with("one", "k", size).await;
        let target = MemoryService::new("two").bucket("t");
        let error = transfer(&source, &target, &listed("k", said), "t", &options()).await.unwrap_err();
        assert!(matches!(error, StoreError::Rejected { .. }), "{size} as {said}: {error}");
        assert!(target.get("t").await.is_err());
    }
}

#[tokio::test]
async fn a_dropped_transfer_leaves_an_upload_that_the_sweep_finds() {
    let source = bucket_with("one", "k", 100).await;
    let target = faulty(&MemoryService::new("two").bucket("t"), |call| {
        if call.verb == Verb::UploadPart && call.total == 5 { Fault::Hang } else { Fault::Pass }
    });
    let options = options();
    let from = listed("k", 100);
    let moving = transfer(&source, &target, &from, "x/t", &options);
    assert!(futures::FutureExt::now_or_never(moving).is_none());
    assert_eq!(sweep_uploads(&target, "y/").await.unwrap(), 0);
    assert_eq!(sweep_uploads(&target, "x/").await.unwrap(), 1);
    assert_eq!(target.uploads("").await.unwrap(), []);
}

#[tokio::test]
async fn a_service_that_cannot_list_uploads_is_swept_without_error() {
    let rejected = || StoreError::Rejected { place: "p".into(), act: "list".into(), cause: "NotImplemented".into() };
    let store = faulty(&MemoryService::new("m").bucket("b"), move |_| Fault::Fail(rejected()));
    assert_eq!(sweep_uploads(&store, "x/").await.unwrap(), 0);
}

#[tokio::test]
async fn deleting_a_prefix_leaves_its_neighbours_and_looks_again() {
    let store = FaultStore::watching(Arc::new(MemoryService::new("m").bucket("b").with_page_size(2)));
    for key in ["x/1", "x/2", "x/3", "xy", "w"] {
        store.put(key, Bytes::new()).await.unwrap();
    }
    assert_eq!(delete_prefix(&store, "x/").await.unwrap(), 3);
    let left: Vec<String> = list_all(&store, "").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(left, ["w", "xy"]);
    assert_eq!(delete_prefix(&store, "x/").await.unwrap(), 0);
    assert!(delete_prefix(&store, "").await.is_err());
    assert_eq!(store.calls().iter().filter(|call| call.verb == Verb::ListPage && call.key == "x/").count(), 4);
}

#[tokio::test]
async fn a_prefix_that_fills_again_is_no_success() {
    let bucket = MemoryService::new("m").bucket("b");
    let writer = bucket.clone();
    let refill = faulty(&bucket, move |call| {
        if call.verb == Verb::ListPage {
            futures::FutureExt::now_or_never(writer.put("x/1", Bytes::new())).unwrap().unwrap();
        }
        Fault::Pass
    });
    let error = delete_prefix(&refill, "x/").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

#[test]
fn five_tebibytes_fit_into_ten_thousand_parts() {
    let all: Vec<Piece> = pieces(5 << 40, 64 * MIB).collect();
    assert_eq!(all.len(), 10_000);
    assert!(all[0].length <= 5 << 30);
}

proptest! {
    #[test]
    fn pieces_cover_an_object_without_gap_or_overlap(size in 0u64..200_000, preferred in 0u64..5_000) {
        let mut expected = Piece { number: 0, offset: 0, length: 0 };
        for piece in pieces(size, preferred) {
            prop_assert_eq!(piece.number, expected.number + 1);
            prop_assert_eq!(piece.offset, expected.offset + expected.length);
            prop_assert!(piece.length > 0 || size == 0);
            expected = piece;
        }
        prop_assert_eq!(expected.offset + expected.length, size);
        prop_assert!(expected.number as u64 <= MOST_PARTS);
    }
}
