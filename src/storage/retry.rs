//! How often a request is sent: bounded tries with jittered exponential back-off, only for what may pass by itself.

use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::Traffic;
use super::failure::{Failure, Kind};

/// How a store repeats failed requests, and how long one attempt may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of one request, the first included; one more where the keys were refused and others were found.
    pub tries: u32,
    /// Wait before the second attempt; doubles from one to the next, plus a random part of up to as much again.
    pub first_delay: Duration,
    /// The wait grows no longer than this.
    pub longest_delay: Duration,
    /// Limit of an attempt that moves no content (a listing, a deletion), and of the wait for an answer's beginning or
    /// for the next piece of a body.
    pub control_limit: Duration,
    /// Limit of a server-side copy. The service is silent while it works, so this only catches dead connections.
    pub copy_limit: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            tries: 8,
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(5),
            control_limit: Duration::from_secs(30),
            copy_limit: Duration::from_secs(15 * 60),
        }
    }
}

/// A service that asks for a longer pause is asked again after this one.
const LONGEST_ASKED: Duration = Duration::from_secs(30);
/// Uploads slower than this count as dead.
const SLOWEST_UPLOAD_BYTES_PER_SECOND: u64 = 64 * 1024;

impl RetryPolicy {
    /// Limit of an attempt that sends `bytes`.
    pub(super) fn upload_limit(&self, bytes: usize) -> Duration {
        self.control_limit + Duration::from_secs(bytes as u64 / SLOWEST_UPLOAD_BYTES_PER_SECOND)
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.longest_delay)
            .with_max_times(self.tries.saturating_sub(1) as usize)
            .with_jitter()
    }
}

/// Counts behind [`Traffic`].
#[derive(Debug, Default)]
pub(super) struct Meter {
    requests: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
}

impl Meter {
    pub(super) fn read(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
        }
    }
}

/// What came of a request after all its attempts.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    pub(super) result: Result<T, Failure>,
    /// Attempts made.
    pub(super) tries: u32,
    /// Whether an attempt before the last was lost in a way that leaves open whether the service carried it out.
    pub(super) doubtful: bool,
}

/// Sends a request until it is answered, refused for good, or the tries are spent. Each attempt ends within `limit`.
pub(super) async fn send<T, F, Sent>(
    policy: &RetryPolicy,
    meter: &Meter,
    act: &str,
    limit: Duration,
    mut request: F,
) -> Outcome<T>
where
    F: FnMut() -> Sent,
    Sent: Future<Output = Result<T, Failure>>,
{
    let tries = AtomicU32::new(0);
    let attempt = || {
        tries.fetch_add(1, Ordering::Relaxed);
        meter.requests.fetch_add(1, Ordering::Relaxed);
        let sent = request();
        async move { tokio::time::timeout(limit, sent).await.unwrap_or_else(|_| Err(Failure::timed_out(limit))) }
    };
    let mut doubtful = false;
    let result = attempt
        .retry(policy.backoff())
        .sleep(tokio::time::sleep)
        .when(|failure: &Failure| {
            if failure.throttles() {
                meter.throttled.fetch_add(1, Ordering::Relaxed);
            }
            failure.kind == Kind::Passing
        })
        // Who says when to come back is not asked before, within bounds.
        .adjust(|failure: &Failure, delay| {
            delay.map(|delay| delay.max(failure.after.unwrap_or_default().min(LONGEST_ASKED)))
        })
        .notify(|failure, delay| {
            doubtful = true;
            meter.retries.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(act, cause = %failure.cause, ?delay, "request failed, trying again");
        })
        .await;
    Outcome { result, tries: tries.load(Ordering::Relaxed), doubtful }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    async fn run(policy: &RetryPolicy, answers: &[Result<u8, Kind>]) -> (Outcome<u8>, usize, Meter) {
        let sent = Cell::new(0);
        let meter = Meter::default();
        let outcome = send(policy, &meter, "try", Duration::from_secs(1), || {
            let answer = answers[sent.get()];
            sent.set(sent.get() + 1);
            async move { answer.map_err(|kind| Failure::new(kind, "SlowDown", "cause")) }
        })
        .await;
        (outcome, sent.get(), meter)
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_tried_again_and_leaves_doubt() {
        let (outcome, sent, meter) = run(&RetryPolicy::default(), &[Err(Kind::Passing), Ok(7)]).await;
        assert_eq!(outcome.result.unwrap(), 7);
        assert!(outcome.doubtful);
        assert_eq!((sent, outcome.tries), (2, 2));
        assert_eq!(meter.read(), Traffic { requests: 2, retries: 1, throttled: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_not_tried_again() {
        let (outcome, sent, _) = run(&RetryPolicy::default(), &[Err(Kind::Denied), Ok(7)]).await;
        assert_eq!(outcome.result.unwrap_err().kind, Kind::Denied);
        assert_eq!((sent, outcome.doubtful), (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn tries_and_waits_are_bounded() {
        let start = Instant::now();
        let (outcome, sent, _) = run(&RetryPolicy::default(), &[Err(Kind::Passing); 20]).await;
        assert_eq!(outcome.result.unwrap_err().kind, Kind::Passing);
        assert_eq!((sent, outcome.tries), (8, 8));
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(11) && waited <= Duration::from_secs(24), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_says_when_is_not_asked_before_and_not_waited_for_without_end() {
        for (asked, waited) in [(7, 7), (3600, 30)] {
            let (start, sent) = (Instant::now(), Cell::new(0));
            let (policy, meter) = (RetryPolicy::default(), Meter::default());
            let outcome = send(&policy, &meter, "try", Duration::from_secs(1), || {
                sent.set(sent.get() + 1);
                let again = sent.get() == 1;
                async move {
                    let busy = Failure::new(Kind::Passing, "ServerBusy", "cause");
                    if again { Err(Failure { after: Some(Duration::from_secs(asked)), ..busy }) } else { Ok(()) }
                }
            });
            outcome.await.result.unwrap();
            assert_eq!(start.elapsed(), Duration::from_secs(waited));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up() {
        let policy = RetryPolicy { tries: 2, ..RetryPolicy::default() };
        let outcome: Outcome<()> =
            send(&policy, &Meter::default(), "wait", Duration::from_secs(3), std::future::pending).await;
        assert_eq!(outcome.tries, 2);
        assert_eq!(outcome.result.unwrap_err().kind, Kind::Passing);
    }
}
