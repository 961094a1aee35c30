//! Counters of a run, and the line that shows them.
//!
//! Counters are added to from many copies at once; a line is a consistent enough reading of them with a rate over the last
//! ten seconds. The rate and the time to go are computed from readings that are passed in, so that they can be tested.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::task::{Progress, ProgressLine, Stage};

/// Window of the rate.
const WINDOW: Duration = Duration::from_secs(10);
/// Time between two lines.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// Counters shared by all parts of a run.
#[derive(Debug, Default)]
pub struct Counters {
    stage: Mutex<Stage>,
    version: Mutex<Option<String>>,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    objects_done: AtomicU64,
    objects_total: AtomicU64,
    collections_done: AtomicU64,
    collections_total: AtomicU64,
    touched: AtomicBool,
    unbroken: AtomicU64,
    stop: CancellationToken,
    changed: tokio::sync::Notify,
}

/// A call that must not be broken off, for as long as this lives.
#[derive(Debug)]
pub struct Unbroken<'a>(&'a AtomicU64);

impl Drop for Unbroken<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Marks a call that a stopped run lets come to its end.
    pub fn unbroken(&self) -> Unbroken<'_> {
        self.unbroken.fetch_add(1, Ordering::Relaxed);
        Unbroken(&self.unbroken)
    }

    /// Whether the run can be dropped where it stands.
    pub fn may_break_off(&self) -> bool {
        self.unbroken.load(Ordering::Relaxed) == 0
    }

    /// Tells all parts of the run that it is to end; they undo what must not stay and stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the run is to end.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Enters a stage; the next line is written at once.
    pub fn enter(&self, stage: Stage) {
        if let Ok(mut current) = self.stage.lock() {
            *current = stage;
        }
        tracing::info!(?stage, "stage");
        self.changed.notify_one();
    }

    /// Remembers the server's version.
    pub fn saw_version(&self, version: &str) {
        if let Ok(mut current) = self.version.lock() {
            *current = Some(version.to_owned());
        }
    }

    /// Sets the totals once the plan is known.
    pub fn plan(&self, collections: u64, objects: u64, bytes: u64) {
        self.collections_total.store(collections, Ordering::Relaxed);
        self.objects_total.store(objects, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Counts finished objects.
    pub fn objects(&self, count: u64, bytes: u64) {
        self.objects_done.fetch_add(count, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts finished collections.
    pub fn collections(&self, count: u64) {
        self.collections_done.fetch_add(count, Ordering::Relaxed);
    }

    /// From now on the target's data is no longer what it was.
    pub fn touched(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Bytes done so far.
    pub fn bytes_done(&self) -> u64 {
        self.bytes_done.load(Ordering::Relaxed)
    }

    /// The counters as of `now`, without rate.
    pub fn read(&self, now: Timestamp) -> Progress {
        Progress {
            stage: self.stage.lock().map(|stage| *stage).unwrap_or_default(),
            time: Some(now),
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            objects_done: self.objects_done.load(Ordering::Relaxed),
            objects_total: self.objects_total.load(Ordering::Relaxed),
            collections_done: self.collections_done.load(Ordering::Relaxed),
            collections_total: self.collections_total.load(Ordering::Relaxed),
            bytes_per_second: 0,
            eta_seconds: None,
            milvus_version: self.version.lock().ok().and_then(|version| version.clone()),
            data_touched: self.touched.load(Ordering::Relaxed),
        }
    }

    /// Waits until a line is due: the interval passed, or something worth a line at once happened.
    async fn due(&self) {
        // A sleep is the wait itself here: a line is due every interval.
        let _ = tokio::time::timeout(INTERVAL, self.changed.notified()).await;
    }
}

/// Bytes per second over a sliding window of readings.
#[derive(Debug, Default)]
pub struct Rate {
    readings: VecDeque<(Timestamp, u64)>,
}

impl Rate {
    /// Takes a reading and fills in rate and time to go.
    pub fn fill(&mut self, progress: &mut Progress) {
        let Some(now) = progress.time else { return };
        self.readings.push_back((now, progress.bytes_done));
        let age = |then: &Timestamp| now.duration_since(*then).unsigned_abs();
        while self.readings.len() > 2 && self.readings.front().is_some_and(|(then, _)| age(then) > WINDOW) {
            self.readings.pop_front();
        }
        let Some((first, bytes)) = self.readings.front() else {
            return;
        };
        let millis = age(first).as_millis();
        if millis == 0 {
            return;
        }
        let moved = u128::from(progress.bytes_done.saturating_sub(*bytes));
        let rate = u64::try_from(moved * 1000 / millis).unwrap_or(u64::MAX);
        progress.bytes_per_second = rate;
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        progress.eta_seconds = (rate > 0 && progress.bytes_total > 0).then(|| left.div_ceil(rate));
    }
}

/// Writes a line every [`INTERVAL`] and at each stage, for ever; run it beside the work and drop it with it.
pub async fn report<W: FnMut(&str)>(counters: &Counters, mut write: W) {
    let mut rate = Rate::default();
    loop {
        let mut progress = counters.read(Timestamp::now());
        rate.fill(&mut progress);
        if let Ok(line) = serde_json::to_string(&ProgressLine { progress }) {
            write(&line);
        }
        counters.due().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, done: u64) -> Progress {
        Progress {
            time: Timestamp::from_second(second).ok(),
            bytes_done: done,
            bytes_total: 1000,
            ..Progress::default()
        }
    }

    #[test]
    fn the_rate_looks_at_the_last_ten_seconds_only() {
        let mut rate = Rate::default();
        for (second, done) in [(0, 0), (2, 500), (4, 500), (6, 500), (8, 500), (10, 500), (12, 500), (14, 600)] {
            let mut progress = at(second, done);
            rate.fill(&mut progress);
            if second == 14 {
                assert_eq!(progress.bytes_per_second, 10);
                assert_eq!(progress.eta_seconds, Some(40));
            }
        }
    }

    #[test]
    fn the_first_reading_has_no_rate_and_no_time_to_go() {
        let mut progress = at(0, 100);
        Rate::default().fill(&mut progress);
        assert_eq!((progress.bytes_per_second, progress.eta_seconds), (0, None));
    }

    #[test]
    fn counters_add_up_and_a_line_is_the_contract() {
        let counters = Counters::default();
        counters.plan(2, 10, 100);
        counters.objects(3, 30);
        counters.collections(1);
        counters.enter(Stage::CopyingData);
        let line = serde_json::to_value(ProgressLine { progress: counters.read(Timestamp::UNIX_EPOCH) }).unwrap();
        assert_eq!(line["progress"]["stage"], "CopyingData");
        assert_eq!(line["progress"]["bytesDone"], 30);
        assert_eq!(line["progress"]["objectsTotal"], 10);
    }
}
