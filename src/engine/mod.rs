//! The copy-and-restore engine: what runs in the Job, and from a shell.
//!
//! Owns the order of a run (preflight, plan, act, prove, commit) and everything it leaves in the bucket. Must never
//! name a Kubernetes type, read the clock inside a pure step, or report success it has not counted.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

mod access;
pub mod artifact;
mod backup;
pub(crate) mod bundle;
#[cfg(test)]
mod computed;
pub mod connect;
mod copy;
mod counted;
mod delete;
pub mod error;
#[cfg(test)]
mod golden;
pub mod inspect;
pub mod inventory;
mod lock;
mod patience;
mod preflight;
mod probe;
pub mod progress;
pub mod proof;
pub mod reader;
mod restore;
mod schema;
pub mod secret;
pub mod select;
mod tags;
pub mod task;
mod verify;

use error::{EngineError, bounded};
use progress::Counters;
use task::{Report, TASK_VERSION, Task, Work};

/// Longest wait for calls that must not be broken off.
const LAST_CALLS: Duration = Duration::from_secs(20);

/// Carries a task out; never fails to say how it ended.
///
/// A cancelled run is dropped where it stands, between two calls that must not be broken off: everything it did is either in
/// the bucket and found again by listing, or in the ledger.
pub async fn run(task: &Task, counters: &Counters, cancel: &CancellationToken) -> Report {
    let pause = backup::Pause::default();
    let mut work = pin!(carry_out(task, counters, &pause));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = cancel.cancelled() => {
            counters.stop();
            break_off(work, counters).await
        }
    };
    pause.end().await;
    outcome.unwrap_or_else(|error| failure(&error, counters))
}

/// Carries a task out, for callers that want the error itself and never cancel.
///
/// # Errors
/// See [`EngineError`].
pub async fn attempt(task: &Task, counters: &Counters) -> Result<Report, EngineError> {
    let pause = backup::Pause::default();
    let outcome = carry_out(task, counters, &pause).await;
    pause.end().await;
    outcome
}

async fn carry_out(task: &Task, counters: &Counters, pause: &backup::Pause) -> Result<Report, EngineError> {
    match &task.work {
        Work::Backup(backup) => backup::run(backup, &task.run, counters, pause).await,
        Work::Restore(restore) => restore::run(restore, &task.run, counters).await,
        Work::Verify(verify) => verify::run(verify, counters).await,
        Work::Delete(delete) => delete::run(delete, counters).await,
        Work::Probe(probe) => probe::run(probe, &task.run, counters).await,
    }
}

/// Goes on until no call is under way that must not be broken off; a run that ends meanwhile has ended.
async fn break_off<T>(
    mut work: Pin<&mut impl Future<Output = Result<T, EngineError>>>,
    counters: &Counters,
) -> Result<T, EngineError> {
    let between_calls = poll_fn(|context| {
        if counters.may_break_off() {
            return Poll::Ready(Err(EngineError::Cancelled));
        }
        match work.as_mut().poll(context) {
            Poll::Pending if counters.may_break_off() => Poll::Ready(Err(EngineError::Cancelled)),
            other => other,
        }
    });
    tokio::time::timeout(LAST_CALLS, between_calls).await.unwrap_or(Err(EngineError::Cancelled))
}

/// The report of a run that ended with an error.
pub fn failure(error: &EngineError, counters: &Counters) -> Report {
    Report {
        version: TASK_VERSION,
        ok: false,
        class: Some(error.class()),
        reason: error.reason().to_owned(),
        message: bounded(&error.to_string(), 1000),
        progress: counters.read(Timestamp::now()),
        ..Report::default()
    }
}

/// Repeats connecting while the server restarts.
async fn restarts<T, F, Fut>(mut connect: F) -> Result<T, EngineError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let started = tokio::time::Instant::now();
    let mut pauses = patience::Pauses::new(std::time::Duration::from_millis(200), std::time::Duration::from_secs(3));
    loop {
        match connect().await {
            Err(error)
                if error.class() == crate::exit::Class::Retry && started.elapsed() < patience::SERVER_RETURNS =>
            {
                tracing::warn!("waiting for milvus: {error}");
                tokio::time::sleep(pauses.next()).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_run_lets_a_call_that_must_not_be_broken_off_end_and_makes_no_further_one() {
        let counters = Counters::default();
        let ended = std::cell::Cell::new(0);
        let work = pin!(async {
            loop {
                let call = counters.unbroken();
                tokio::time::sleep(Duration::from_secs(3)).await;
                drop(call);
                ended.set(ended.get() + 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            #[expect(unreachable_code, reason = "names the type of the outcome")]
            Ok::<(), EngineError>(())
        });
        let mut work = work;
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut work).await;
        let started = tokio::time::Instant::now();
        assert!(matches!(break_off(work, &counters).await, Err(EngineError::Cancelled)));
        assert_eq!((ended.get(), started.elapsed()), (1, Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_run_waits_for_a_call_that_hangs_for_a_while_only() {
        let counters = Counters::default();
        let mut work = pin!(async {
            let _call = counters.unbroken();
            std::future::pending::<Result<(), EngineError>>().await
        });
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut work).await;
        let started = tokio::time::Instant::now();
        assert!(break_off(work, &counters).await.is_err());
        assert_eq!(started.elapsed(), LAST_CALLS);
    }
}
