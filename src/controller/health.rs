//! Whether this process lives and is ready.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// The process is dead when its loop did not turn for this long.
const LOOP_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// Watch errors closer together than this belong to one streak.
const STREAK_GAP: SignedDuration = SignedDuration::from_secs(90);
/// A streak of watch errors this long counts as a wedge that only a restart ends.
const STREAK_LIMIT: SignedDuration = SignedDuration::from_mins(10);

/// Signs of life, written by the loops and read by the probes.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    turned: Timestamp,
    streak: Option<Streak>,
    waiting: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy)]
struct Streak {
    since: Timestamp,
    last: Timestamp,
}

impl Health {
    /// Alive now, not ready until [`Health::done`] was called for each of `waiting`.
    pub fn new(now: Timestamp, waiting: impl IntoIterator<Item = String>) -> Health {
        let waiting = waiting.into_iter().collect();
        Health { state: Mutex::new(State { turned: now, streak: None, waiting }) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop turned.
    pub fn turned(&self, now: Timestamp) {
        self.state().turned = now;
    }

    /// A watch failed.
    pub fn watch_failed(&self, now: Timestamp) {
        let mut state = self.state();
        let since = match state.streak {
            Some(streak) if now.duration_since(streak.last) < STREAK_GAP => streak.since,
            _ => now,
        };
        state.streak = Some(Streak { since, last: now });
    }

    /// `what` has to happen before the process is ready.
    pub fn wait_for(&self, what: impl Into<String>) {
        self.state().waiting.insert(what.into());
    }

    /// `what` happened.
    pub fn done(&self, what: &str) {
        self.state().waiting.remove(what);
    }

    /// `Err` with a sentence when the process should be restarted.
    pub fn alive(&self, now: Timestamp) -> Result<(), String> {
        let state = self.state();
        let still = now.duration_since(state.turned);
        if still > LOOP_LIMIT {
            return Err(format!("the reconcile loop has not turned for {} s", still.as_secs()));
        }
        match state.streak {
            Some(streak)
                if now.duration_since(streak.last) < STREAK_GAP
                    && streak.last.duration_since(streak.since) > STREAK_LIMIT =>
            {
                Err(format!("watches have been failing since {}", streak.since))
            }
            _ => Ok(()),
        }
    }

    /// `Err` with what is waited for.
    pub fn ready(&self) -> Result<(), String> {
        let state = self.state();
        if state.waiting.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = state.waiting.iter().map(String::as_str).collect();
        Err(format!("waiting for: {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn ready_once_everything_waited_for_has_happened() {
        let health = Health::new(at(0), ["definitions".to_owned(), "first list".to_owned()]);
        assert_eq!(health.ready().unwrap_err(), "waiting for: definitions, first list");
        health.done("definitions");
        health.done("first list");
        assert!(health.ready().is_ok());
    }

    #[test]
    fn a_loop_that_stands_still_is_dead() {
        let health = Health::new(at(0), []);
        assert!(health.alive(at(60)).is_ok());
        assert!(health.alive(at(61)).is_err());
        health.turned(at(61));
        assert!(health.alive(at(61)).is_ok());
    }

    #[test]
    fn an_unbroken_streak_of_watch_errors_is_dead_and_single_errors_are_not() {
        let health = Health::new(at(0), []);
        for second in (0..=660).step_by(30) {
            health.watch_failed(at(second));
        }
        health.turned(at(661));
        assert!(health.alive(at(661)).is_err());
        health.turned(at(760));
        assert!(health.alive(at(760)).is_ok(), "the streak is over");
        health.watch_failed(at(2000));
        health.turned(at(2001));
        assert!(health.alive(at(2001)).is_ok());
    }
}
