//! Copies many objects at once: bounded, counted, as fast as the stores keep up with.
//!
//! A store that asks to be spared gets fewer copies at a time (`storage::Window`); an object that could not be moved for a
//! passing reason is tried again later. Anything else stops the run at once. However it ends, no multipart write stays open.

use std::collections::VecDeque;

use futures::stream::{FuturesUnordered, StreamExt};

use super::error::EngineError;
use super::lock::Fence;
use super::progress::Counters;
use super::task::Limits;
use crate::storage::{Admission, ObjectMeta, OpenUploads, Pace, Store, StoreError, TransferOptions, Window, transfer};

/// Objects in flight at the beginning. More of them copy small objects no faster on a store of two cores, and large ones
/// slower; where the store keeps up there are soon as many as it takes.
const START: usize = 16;
/// Objects in flight at most where the task sets no bound.
const MOST: usize = 128;
/// So many cuts in a row without one object that arrived mean that the store is away. Before each, a request was repeated
/// with pauses that add up to 10 s and more.
const CUTS: u32 = 6;

/// One object to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Object in the source, as listed.
    pub source: ObjectMeta,
    /// Key in the destination.
    pub to: String,
}

/// What all copies of a run share: limits, memory, and the word to stop.
#[derive(Debug)]
pub struct Copier<'a> {
    most: usize,
    options: TransferOptions,
    run: &'a Counters,
}

/// How the copies are going: when to do fewer at a time, and when to give up. Pure.
#[derive(Debug)]
struct Course {
    window: Window,
    /// Throttled answers of both stores so far.
    throttled: u64,
    /// Cuts since the last object that arrived.
    cuts: u32,
}

/// What is done with an object that could not be moved.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Again,
    GiveUp,
}

impl Course {
    fn new(most: usize, throttled: u64) -> Course {
        Course { window: Window::new(1, START, most), throttled, cuts: 0 }
    }

    /// An object arrived; `throttled` is the stores' count now. A request that was repeated with success is a sign, too.
    fn arrived(&mut self, admitted: Admission, throttled: u64) {
        self.cuts = 0;
        if throttled > self.throttled {
            self.throttled = throttled;
            self.window.strained(admitted);
        } else {
            self.window.succeeded();
        }
    }

    /// All tries of a request were in vain.
    fn failed(&mut self, admitted: Admission, throttled: u64) -> Verdict {
        self.throttled = throttled;
        if self.window.strained(admitted) {
            self.cuts += 1;
            tracing::warn!(at_once = self.window.size(), "the store does not keep up: copying fewer objects at a time");
        }
        if self.cuts > CUTS { Verdict::GiveUp } else { Verdict::Again }
    }
}

impl<'a> Copier<'a> {
    /// For a run with these limits. `run` tells when to stop.
    pub fn new(limits: &Limits, run: &'a Counters) -> Copier<'a> {
        let options = TransferOptions {
            pace: Pace::new(limits.bytes_per_second, limits.requests_per_second.map(u64::from)),
            ..TransferOptions::default()
        };
        let most = limits.concurrency.map_or(MOST, |bound| usize::try_from(bound).unwrap_or(MOST)).max(1);
        Copier { most, options, run }
    }

    /// Copies all; answers the bytes that were moved. `counters` are told of each object. A copy is taken from the iterator
    /// when it begins, so that a plan need not be spelled out in memory.
    ///
    /// A run that is stopped ends here, see [`leaving_nothing_open`].
    ///
    /// # Errors
    /// The first failure that does not pass, or [`EngineError::LostLock`] from the fence; copies in flight are dropped.
    pub async fn all(
        &self,
        source: &dyn Store,
        destination: &dyn Store,
        copies: impl IntoIterator<Item = Copy, IntoIter: Send> + Send,
        counters: &Counters,
        fence: &dyn Fence,
    ) -> Result<u64, EngineError> {
        let work = self.go(source, destination, copies.into_iter(), counters, fence);
        leaving_nothing_open(self.run, destination, &self.options.open, work).await
    }

    async fn go(
        &self,
        source: &dyn Store,
        destination: &dyn Store,
        mut fresh: impl Iterator<Item = Copy> + Send,
        counters: &Counters,
        fence: &dyn Fence,
    ) -> Result<u64, EngineError> {
        let throttled = || source.traffic().throttled + destination.traffic().throttled;
        let mut course = Course::new(self.most, throttled());
        // At the end, so that one object that never comes through does not hold up the others.
        let mut again = VecDeque::new();
        let mut running = FuturesUnordered::new();
        let mut moved = 0;
        loop {
            while running.len() < course.window.size()
                && let Some(copy) = fresh.next().or_else(|| again.pop_front())
            {
                let admitted = course.window.admit();
                running.push(async move {
                    let outcome = self.one(source, destination, &copy, fence).await;
                    (copy, admitted, outcome)
                });
            }
            let Some((copy, admitted, outcome)) = running.next().await else { return Ok(moved) };
            match outcome {
                Ok(()) => {
                    course.arrived(admitted, throttled());
                    counters.objects(1, copy.source.size);
                    moved += copy.source.size;
                }
                Err(EngineError::Store(error @ StoreError::Unavailable { .. })) => {
                    tracing::info!(key = copy.source.key, %error, "could not be copied now, trying again later");
                    match course.failed(admitted, throttled()) {
                        Verdict::Again => again.push_back(copy),
                        Verdict::GiveUp => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn one(
        &self,
        source: &dyn Store,
        destination: &dyn Store,
        copy: &Copy,
        fence: &dyn Fence,
    ) -> Result<(), EngineError> {
        fence.hold().await?;
        transfer(source, destination, &copy.source, &copy.to, &self.options).await?;
        Ok(())
    }
}

/// Does work that opens multipart writes: when it fails, or the run is stopped, these are aborted. A run that is stopped then
/// waits here to be dropped.
///
/// # Errors
/// Those of the work.
pub async fn leaving_nothing_open<T>(
    run: &Counters,
    store: &dyn Store,
    open: &OpenUploads,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    // Not to be dropped in the middle: that would leave multipart writes behind.
    let unbroken = run.unbroken();
    let ended = tokio::select! {
        biased;
        () = run.stopped() => None,
        done = work => Some(done),
    };
    if !matches!(ended, Some(Ok(_))) {
        open.abort(store).await;
    }
    match ended {
        Some(done) => done,
        None => {
            drop(unbroken);
            std::future::pending().await
        }
    }
}

/// Whether a listed destination object is the source object, by size and tag of both: same size, and the same tag where
/// both tags are digests (a tag with a dash comes from a multipart write and says nothing about the content).
pub fn alike((size, etag): (u64, &str), (there, its_etag): (u64, &str)) -> bool {
    size == there && (etag == its_etag || !is_digest(etag) || !is_digest(its_etag))
}

fn same(source: &ObjectMeta, destination: &ObjectMeta) -> bool {
    alike((source.size, &source.etag), (destination.size, &destination.etag))
}

/// Whether an ETag is the plain MD5 of the content.
pub fn is_digest(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Compares copies by size and tag with a listing of the destination, in ascending order of keys as `list_all` gives it; answers those
/// that are missing or differ.
pub fn missing<'c>(copies: &'c [Copy], listed: &[ObjectMeta]) -> Vec<&'c Copy> {
    let there = |copy: &Copy| {
        let at = listed.binary_search_by(|object| object.key.as_str().cmp(&copy.to));
        at.ok().and_then(|at| listed.get(at)).is_some_and(|object| same(&copy.source, object))
    };
    copies.iter().filter(|copy| !there(copy)).collect()
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "copy_memory_tests.rs"]
mod memory_tests;
