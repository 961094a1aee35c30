//! How fast: bytes and requests per second that all who move or read objects share.
//!
//! Two token buckets. [`Bucket`] is pure, time is an argument; [`Pace`] asks the clock and waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A limit with a burst of one second. Who comes is let in one after another: a debt is taken at once and waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    per_second: f64,
    /// What may be taken at `at`; below zero it is owed by those who wait.
    left: f64,
    /// Time since the beginning.
    at: Duration,
}

impl Bucket {
    /// A full bucket at time zero. Nothing per second would be for ever: that counts as one.
    pub fn new(per_second: u64) -> Bucket {
        let per_second = per_second.max(1) as f64;
        Bucket { per_second, left: per_second, at: Duration::ZERO }
    }

    /// Takes `amount` at the time `now` since the beginning; answers how long to wait before acting. More than a second's
    /// worth is allowed and waited for accordingly. A time before the last one counts as that.
    pub fn take(&mut self, amount: u64, now: Duration) -> Duration {
        let now = now.max(self.at);
        let earned = (now - self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.per_second) - amount as f64;
        self.at = now;
        if self.left >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.left / self.per_second) }
    }
}

/// The limits of a run. Clones share.
#[derive(Debug, Clone)]
pub struct Pace(Option<Arc<Limits>>);

#[derive(Debug)]
struct Limits {
    began: Instant,
    bytes: Option<Mutex<Bucket>>,
    requests: Option<Mutex<Bucket>>,
}

impl Pace {
    /// No limit.
    pub fn unlimited() -> Pace {
        Pace(None)
    }

    /// At most so many bytes and requests per second; none for any number.
    pub fn new(bytes: Option<u64>, requests: Option<u64>) -> Pace {
        if bytes.is_none() && requests.is_none() {
            return Pace::unlimited();
        }
        let bucket = |per_second: Option<u64>| per_second.map(|limit| Mutex::new(Bucket::new(limit)));
        Pace(Some(Arc::new(Limits { began: Instant::now(), bytes: bucket(bytes), requests: bucket(requests) })))
    }

    /// Waits until one more request may be sent that moves `bytes`.
    pub async fn request(&self, bytes: u64) {
        let Some(limits) = &self.0 else { return };
        let now = limits.began.elapsed();
        let take = |bucket: &Option<Mutex<Bucket>>, amount| match bucket {
            Some(bucket) => bucket.lock().unwrap_or_else(PoisonError::into_inner).take(amount, now),
            None => Duration::ZERO,
        };
        let wait = take(&limits.requests, 1).max(take(&limits.bytes, bytes));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_second_is_free_and_the_rest_is_waited_for() {
        let mut bucket = Bucket::new(1000);
        assert_eq!(bucket.take(1000, ms(0)), ms(0));
        assert_eq!(bucket.take(500, ms(0)), ms(500));
        assert_eq!(bucket.take(500, ms(100)), ms(900));
        assert_eq!(bucket.take(1, ms(2000)), ms(0));
    }

    #[test]
    fn rest_is_saved_for_one_second_only() {
        let mut bucket = Bucket::new(10);
        assert_eq!(bucket.take(10, ms(60_000)), ms(0));
        assert_eq!(bucket.take(10, ms(60_000)), ms(1000));
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_one_burst_is_let_through(
            limit in 1u64..1000,
            takes in proptest::collection::vec((0u64..2000, 0u64..500), 1..100),
        ) {
            let mut bucket = Bucket::new(limit);
            let (mut now, mut sum) = (Duration::ZERO, 0);
            for (amount, pause) in takes {
                now += ms(pause);
                let acts = now + bucket.take(amount, now);
                sum += amount;
                let allowed = limit as f64 * (acts.as_secs_f64() + 1.0);
                prop_assert!(sum as f64 <= allowed + 1e-3, "{} of {}", sum, allowed);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_pace_share_its_limit() {
        let (pace, started) = (Pace::new(None, Some(10)), Instant::now());
        let requests = (0..30).map(|_| {
            let pace = pace.clone();
            async move { pace.request(0).await }
        });
        futures::future::join_all(requests).await;
        assert_eq!(started.elapsed(), ms(2000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_slower_of_two_limits_counts_and_no_limit_never_waits() {
        let started = Instant::now();
        let pace = Pace::new(Some(100), Some(1000));
        for _ in 0..4 {
            pace.request(50).await;
        }
        assert_eq!(started.elapsed(), ms(1000));
        for _ in 0..1000 {
            Pace::unlimited().request(u64::MAX).await;
        }
        assert_eq!(started.elapsed(), ms(1000));
    }
}
