//! Pure: what to do next with a run, from its history and what its current attempt does.

use jiff::{SignedDuration, Timestamp};

use super::observe::{EndClass, Ending, Seen};
use crate::{
    api::{Attempt, Deadlines, Retry},
    exit::Class,
};

/// Reason in a report: a Secret or a key in it does not exist. Somebody may still be about to create it.
pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// Attempts kept in status.
pub const ATTEMPTS_KEPT: usize = 5;

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The clock.
    pub now: Timestamp,
    /// When the object was created.
    pub created: Timestamp,
    /// Whether it is to be stopped: `spec.cancel`, or the object is being deleted.
    pub cancel: bool,
    /// Its retry policy.
    pub retry: &'a Retry,
    /// Its deadlines.
    pub deadlines: &'a Deadlines,
    /// Its history, oldest first.
    pub attempts: &'a [Attempt],
    /// What the Job of [`current`] does.
    pub seen: &'a Seen,
    /// The last sign of life on record.
    pub heartbeat: Option<Timestamp>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Find the sources and create the Job of this attempt.
    Begin {
        /// From 1.
        number: u32,
    },
    /// Nothing but to look again soon.
    Follow,
    /// Wait for the time of the next attempt.
    Pause {
        /// That time.
        until: Timestamp,
    },
    /// Delete the Job; it is not over before its pod is gone.
    Stop,
    /// Delete the Job, if `delete`, and record how the attempt ended.
    Close {
        /// Whether there is something to delete first.
        delete: bool,
        /// How it ended.
        ending: Box<Ending>,
        /// What follows.
        next: Next,
    },
    /// It was stopped before anything ran.
    Cancelled,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt at this time.
    Retry {
        /// Not before.
        at: Timestamp,
    },
    /// The run is done.
    Succeeded,
    /// The run has failed for good.
    Failed,
    /// The run was stopped on request.
    Cancelled,
    /// The first pod did not run in time.
    StartDeadlineExceeded,
}

/// The attempt that runs, or would be next, and whether status knows it as running.
pub fn current(attempts: &[Attempt]) -> (u32, bool) {
    match attempts.last() {
        None => (1, false),
        Some(last) => {
            let number = u32::try_from(last.number).unwrap_or(1);
            if last.ended_at.is_none() { (number, true) } else { (number.saturating_add(1), false) }
        }
    }
}

/// Decides.
pub fn decide(situation: &Situation<'_>) -> Step {
    let Situation { now, cancel, deadlines, attempts, seen, .. } = *situation;
    let (number, open) = current(attempts);
    match seen {
        Seen::Absent if open && cancel => close(situation, false, stopped()),
        Seen::Absent if open => close(situation, false, job_lost(attempts)),
        Seen::Absent if cancel => Step::Cancelled,
        Seen::Absent => match attempts.last().and_then(|last| last.next_retry_at.as_ref()) {
            Some(at) if at.0 > now => Step::Pause { until: at.0 },
            _ => Step::Begin { number },
        },
        Seen::Starting { .. } | Seen::Running { .. } if cancel => Step::Stop,
        Seen::Starting { problem } => {
            if !start_deadline_passed(situation) {
                return Step::Follow;
            }
            let why = problem.as_ref().map_or("its pod did not start", |problem| problem.message.as_str());
            let message = format!("the run did not start within {} s: {why}", deadlines.start());
            let ending = Ending { class: EndClass::Lost, message, report: None, started: None, at: None };
            Step::Close { delete: true, ending: Box::new(ending), next: Next::StartDeadlineExceeded }
        }
        Seen::Running { .. } => match silent_for(situation) {
            Some(silence) if silence.as_secs() > deadlines.stall_seconds => {
                let message = format!(
                    "no sign of life for {} s, more than deadlines.stallSeconds ({} s): the pod was stopped",
                    silence.as_secs(),
                    deadlines.stall_seconds
                );
                let ending = Ending { class: EndClass::Stalled, message, report: None, started: None, at: None };
                close(situation, true, ending)
            }
            _ => Step::Follow,
        },
        Seen::Stopping => Step::Follow,
        Seen::Ended(ending) => close(situation, false, ending.as_ref().clone()),
    }
}

/// Whether the run has been waiting for its first pod, or its next one, longer than `deadlines.startSeconds`.
pub fn start_deadline_passed(situation: &Situation<'_>) -> bool {
    waited(situation).as_secs() > situation.deadlines.start()
}

/// How long the present wait has lasted.
pub fn waited(situation: &Situation<'_>) -> SignedDuration {
    situation.now.duration_since(waiting_since(situation))
}

/// When the present wait began: creation, or the end of the last attempt.
fn waiting_since(situation: &Situation<'_>) -> Timestamp {
    let closed = situation.attempts.iter().rev().filter_map(|attempt| {
        // An attempt that only found a Secret missing is part of the same wait.
        let ran = attempt.exit_class.as_deref() != Some(EndClass::WAITED);
        attempt.ended_at.as_ref().filter(|_| ran).map(|time| time.0)
    });
    closed.max().unwrap_or(situation.created).max(situation.created)
}

fn silent_for(situation: &Situation<'_>) -> Option<SignedDuration> {
    let Seen::Running { progress, since } = situation.seen else {
        return None;
    };
    let heard = progress.as_ref().and_then(|progress| progress.time);
    let open = situation.attempts.last().filter(|attempt| attempt.ended_at.is_none());
    let started = open.and_then(|attempt| attempt.started_at.as_ref()).map(|time| time.0);
    // A recorded heartbeat of an earlier attempt is older than this attempt's start and so never counts.
    let last = [heard, *since, started, situation.heartbeat].into_iter().flatten().max()?;
    Some(situation.now.duration_since(last))
}

/// We deleted the Job ourselves, and its pod went before anybody read how it ended.
fn stopped() -> Ending {
    let message = "stopped on request".to_owned();
    Ending { class: EndClass::Exit(Class::Cancelled), message, report: None, started: None, at: None }
}

fn job_lost(attempts: &[Attempt]) -> Ending {
    let name = attempts.last().map(|attempt| attempt.job_name.clone()).unwrap_or_default();
    Ending {
        class: EndClass::Lost,
        message: format!("Job {name} is gone: somebody deleted it, or it was cleaned up before its result was read"),
        report: None,
        started: None,
        at: None,
    }
}

fn close(situation: &Situation<'_>, delete: bool, ending: Ending) -> Step {
    let next = next(situation, &ending);
    Step::Close { delete, ending: Box::new(ending), next }
}

fn next(situation: &Situation<'_>, ending: &Ending) -> Next {
    let Situation { now, cancel, retry, attempts, .. } = *situation;
    if ending.class == EndClass::Succeeded {
        return Next::Succeeded;
    }
    if cancel {
        return Next::Cancelled;
    }
    let (number, _) = current(attempts);
    if waits_for_secret(ending) {
        return match start_deadline_passed(situation) {
            true => Next::StartDeadlineExceeded,
            false => Next::Retry { at: later(now, SignedDuration::from_secs(pause_for_secret(number))) },
        };
    }
    if !ending.class.retryable() || is_last(retry, attempts, number) {
        return Next::Failed;
    }
    let before = attempts.iter().rev().find(|attempt| attempt.ended_at.is_some());
    let again = before.and_then(|attempt| attempt.exit_class.as_deref()).is_some_and(was_interrupted);
    if ending.class.interrupted() && !again {
        return Next::Retry { at: now };
    }
    Next::Retry { at: later(now, SignedDuration::from_secs(backoff(retry, number))) }
}

/// Whether the retry policy allows no attempt after this one.
pub fn is_last(retry: &Retry, attempts: &[Attempt], number: u32) -> bool {
    i64::from(number) - free_attempts(attempts) >= i64::from(retry.max_attempts)
}

/// Whether an attempt ended because a Secret, or a key in it, is not there (yet).
pub fn waits_for_secret(ending: &Ending) -> bool {
    let missing = ending.report.as_ref().is_some_and(|report| report.reason == SECRET_NOT_FOUND);
    missing && ending.class == EndClass::Exit(Class::Configuration)
}

/// Seconds until a missing Secret is looked for again.
fn pause_for_secret(number: u32) -> i64 {
    i64::from(number.min(12)) * 5
}

/// Attempts that did nothing but find a Secret missing do not count against `maxAttempts`. Status keeps the last five
/// attempts, so of a longer row the dropped ones count; the row itself is what was kept.
fn free_attempts(attempts: &[Attempt]) -> i64 {
    let rows = attempts.iter().filter(|attempt| attempt.exit_class.as_deref() == Some(EndClass::WAITED)).count();
    let first = attempts.first().map_or(1, |attempt| i64::from(attempt.number));
    // Everything before the oldest kept attempt is of the same row when that attempt is one of it.
    let dropped = match attempts.first().and_then(|attempt| attempt.exit_class.as_deref()) {
        Some(EndClass::WAITED) => first - 1,
        _ => 0,
    };
    i64::try_from(rows).unwrap_or(0) + dropped
}

fn was_interrupted(class: &str) -> bool {
    [EndClass::Lost, EndClass::Crashed { killed: true }, EndClass::Exit(Class::Cancelled)]
        .iter()
        .any(|known| known.text() == class)
}

/// Pause before the attempt after number `number`: doubles from `backoffSeconds` up to `backoffMaxSeconds`.
pub fn backoff(retry: &Retry, number: u32) -> i64 {
    let factor = 1_i64 << number.saturating_sub(1).min(20);
    retry.backoff_seconds.saturating_mul(factor).min(retry.backoff_max_seconds).max(0)
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Seconds until something that is waited for is looked at again: soon at first, up to 15 s.
pub fn patience(created: Timestamp, now: Timestamp) -> u64 {
    let waited = u64::try_from(now.duration_since(created).as_secs()).unwrap_or(0);
    (waited / 10).clamp(1, 15)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
