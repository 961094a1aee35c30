//! Waiting with a deadline: for a condition, and for a server that comes back.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::error::EngineError;
use crate::exit::Class;
use crate::milvus::MilvusError;

/// How long a restarting Milvus is waited for before the attempt is given back to the retry policy. A 2.3.5 standalone
/// is healthy again after 4 to 32 s (real-milvus.md 1).
pub const SERVER_RETURNS: Duration = Duration::from_secs(180);

/// Pauses that grow from `first` by half each time up to `most`.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    most: Duration,
}

impl Pauses {
    /// Starts at `first`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Pauses { next: first, most }
    }

    /// The next pause.
    pub fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 3 / 2).min(self.most);
        pause
    }
}

/// Asks until the answer is `true`: every 50 ms at first, then after a fifth of the time waited already, from 5 s on every
/// second. So asking makes no wait more than a fifth longer, and the first 5 s cost about 20 questions.
///
/// # Errors
/// The question's, or [`EngineError::Deadline`].
pub async fn until<F, Fut>(act: &str, deadline: Duration, mut ask: F) -> Result<(), EngineError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<bool, EngineError>>,
{
    let started = Instant::now();
    while !ask().await? {
        let waited = started.elapsed();
        if waited > deadline {
            return Err(EngineError::Deadline { act: act.to_owned(), seconds: deadline.as_secs() });
        }
        tokio::time::sleep((waited / 5).clamp(Duration::from_millis(50), Duration::from_secs(1))).await;
    }
    Ok(())
}

/// Repeats a call that is safe to repeat while the server is away.
///
/// # Errors
/// The last answer, once it is not of class Retry or [`SERVER_RETURNS`] has passed.
pub async fn patient<T, F, Fut>(mut call: F) -> Result<T, EngineError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, MilvusError>>,
{
    let started = Instant::now();
    let mut pauses = Pauses::new(Duration::from_millis(200), Duration::from_secs(3));
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.class() == Class::Retry && started.elapsed() < SERVER_RETURNS => {
                tracing::warn!("waiting for milvus: {error}");
                tokio::time::sleep(pauses.next().max(error.asked_pause())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_never_holds_ends_at_the_deadline() {
        let said = until("flushing", Duration::from_secs(5), || async { Ok(false) }).await.unwrap_err();
        assert_eq!(said.to_string(), "flushing took longer than 5 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_is_first_looked_at_at_once() {
        let asked = AtomicU32::new(0);
        let started = Instant::now();
        let ask = || async { Ok(asked.fetch_add(1, Ordering::Relaxed) == 1) };
        until("x", Duration::from_secs(5), ask).await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn asking_makes_no_wait_a_fifth_longer() {
        for true_after in [60, 250, 900, 2_700, 5_100] {
            let started = Instant::now();
            let true_after = Duration::from_millis(true_after);
            until("x", Duration::from_secs(9), || async { Ok(started.elapsed() >= true_after) }).await.unwrap();
            let late = started.elapsed() - true_after;
            assert!(late <= (true_after / 5).max(Duration::from_millis(50)), "{true_after:?}: {late:?} late");
        }
    }
}
