//! Pure: the status of a run, and how each thing that happens changes it.
//!
//! Backup and restore share one [`Record`]; each kind takes from it what its status has. Everything written here is bounded, so
//! that a whole status stays below 32 KiB whatever a run reports.
//!
//! - here: what a record is, and how it follows a run until its end.
//! - `ending`: how an attempt and a run end.
//! - `said`: what a runner reports, in the terms of a status.

mod ending;
mod said;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    decide::ATTEMPTS_KEPT,
    observe::{Problem, Seen},
    text::clip,
};
use crate::api::{
    Artifact, Attempt, Progress, RestorePlan, RowCounts, RunStatus,
    conditions::{self as cond, Standing, Status, reason, set_condition, set_standing},
};

use said::{ordinal, progress_of, seconds, stage_named, stage_reason};

/// Status of a backup or a restore.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// What both have.
    pub run: RunStatus,
    /// Backup: the copy. Restore: the copy it keeps to.
    pub artifact: Option<Artifact>,
    /// Backup: moment of consistency.
    pub recovery_point: Option<Time>,
    /// Backup: when it goes.
    pub expires_at: Option<Time>,
    /// Restore: plan.
    pub plan: Option<RestorePlan>,
    /// Restore: collections made.
    pub created_collections: Option<i64>,
    /// Restore: rows.
    pub row_counts: Option<RowCounts>,
}

/// Which of the two kinds of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunKind {
    /// `MilvusBackup`.
    Backup,
    /// `MilvusRestore`.
    Restore,
}

/// A moment at which a record changes.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The clock.
    pub now: Timestamp,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Kind of run.
    pub kind: RunKind,
    /// Reason of `Verified=True` once the run has succeeded; none where nothing is proven.
    pub proof: Option<&'static str>,
}

/// Something a run waits for, as a condition says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Condition that is not met.
    pub condition: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// A sentence with the exact name.
    pub message: String,
    /// Only a person can change it: the run ends at once.
    pub last_word: bool,
}

impl Record {
    /// The condition of a type.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        cond::find(&self.run.conditions, type_)
    }

    /// Reason of `Succeeded`: the stage.
    pub fn stage(&self) -> &str {
        self.condition(cond::SUCCEEDED).map_or("", |condition| condition.reason.as_str())
    }

    /// Whether the run is over, and how.
    pub fn outcome(&self) -> Option<bool> {
        match self.condition(cond::SUCCEEDED)?.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        }
    }

    /// The last sign of life on record.
    pub fn heartbeat(&self) -> Option<Timestamp> {
        self.run.progress.as_ref()?.heartbeat_time.as_ref().map(|time| time.0)
    }

    fn set(&mut self, at: &Moment, type_: &str, status: Status, reason: &str, message: &str) {
        set_condition(&mut self.run.conditions, type_, status, reason, message, at.generation, at.now);
    }

    fn working(&mut self, at: &Moment, stage: &str, message: &str) {
        self.set(at, cond::SUCCEEDED, Status::Unknown, stage, message);
        let standing = Standing::Working { reason: stage, message };
        set_standing(&mut self.run.conditions, &standing, at.generation, at.now);
    }

    /// Starts a pass: every condition is there, and the status speaks of this generation.
    pub fn observe_generation(&mut self, at: &Moment) {
        let all: &[&str] = match at.kind {
            RunKind::Backup => &cond::BACKUP,
            RunKind::Restore => &cond::RESTORE,
        };
        if self.run.conditions.is_empty() {
            self.set(at, cond::VERIFIED, Status::Unknown, reason::NOT_VERIFIED, "");
            if at.kind == RunKind::Backup {
                self.unmet(at, cond::DATA_DELETED, reason::KEPT, "");
            }
            self.working(at, reason::PENDING, "");
        }
        cond::init_conditions(&mut self.run.conditions, all, at.generation, at.now);
        if self.run.observed_generation != at.generation {
            self.run.observed_generation = at.generation;
            for condition in &mut self.run.conditions {
                condition.observed_generation = at.generation;
            }
        }
    }

    /// A condition holds.
    pub fn met(&mut self, at: &Moment, condition: &str, reason: &str, message: &str) {
        self.set(at, condition, Status::True, reason, message);
    }

    /// A condition does not hold.
    pub fn unmet(&mut self, at: &Moment, condition: &str, reason: &str, message: &str) {
        self.set(at, condition, Status::False, reason, message);
    }

    /// Something is in the way; it is tried again.
    pub fn waiting(&mut self, at: &Moment, obstacle: &Obstacle, position: Option<i32>) {
        let Obstacle { condition, reason, message, last_word: _ } = obstacle;
        self.set(at, condition, Status::False, reason, message);
        self.run.queue_position = position;
        let stage = if *condition == cond::ADMITTED { reason::QUEUED } else { reason::RESOLVING };
        self.working(at, stage, message);
        let display = position.map(|position| format!("{} in line", ordinal(position)));
        match (&mut self.run.progress, display) {
            (Some(progress), display) => progress.display = display.or(progress.display.take()),
            (none, Some(display)) => *none = Some(Progress { display: Some(display), ..Progress::default() }),
            (None, None) => {}
        }
    }

    /// The Job of an attempt was created, or found.
    pub fn begun(&mut self, at: &Moment, number: u32, job_name: &str) {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        self.run.queue_position = None;
        if self.run.attempts.last().is_none_or(|last| last.number < number) {
            self.run.attempts.push(Attempt {
                number,
                job_name: job_name.to_owned(),
                started_at: Some(Time(at.now)),
                ..Attempt::default()
            });
            let surplus = self.run.attempts.len().saturating_sub(ATTEMPTS_KEPT);
            self.run.attempts.drain(..surplus);
            self.run.progress = None;
        }
    }

    /// The attempt goes on.
    pub fn follow(&mut self, at: &Moment, seen: &Seen, cancel: bool) {
        match seen {
            Seen::Starting { problem } => {
                match problem {
                    Some(Problem { reason, message }) => self.unmet(at, cond::ADMITTED, reason, message),
                    None => self.met(at, cond::ADMITTED, reason::ADMITTED, ""),
                }
                let message = problem.as_ref().map_or("the pod starts", |problem| problem.message.as_str());
                self.working(at, reason::PREFLIGHT, message);
            }
            Seen::Running { progress, since } => {
                self.met(at, cond::ADMITTED, reason::ADMITTED, "");
                self.run.started_at.get_or_insert_with(|| Time(since.unwrap_or(at.now)));
                let old = self.run.progress.as_ref();
                if let Some(new) = progress {
                    self.run.progress = Some(progress_of(new, old));
                }
                let stage = progress.as_ref().map(|progress| stage_reason(progress.stage));
                let stage = stage.or_else(|| stage_named(self.stage())).unwrap_or(reason::PREFLIGHT);
                let message = self.attempt_text();
                self.working(at, stage, &message);
            }
            Seen::Stopping | Seen::Absent | Seen::Ended(_) if cancel => {
                self.working(at, reason::CANCELLING, "the pod is given time to stop in order");
            }
            Seen::Stopping => {
                let message = "the pod is being stopped from outside; another attempt follows";
                self.working(at, reason::RETRYING, message);
            }
            Seen::Absent | Seen::Ended(_) => {}
        }
        if cancel && !matches!(seen, Seen::Stopping | Seen::Absent | Seen::Ended(_)) {
            self.working(at, reason::CANCELLING, "the pod is given time to stop in order");
        }
    }

    fn attempt_text(&self) -> String {
        match self.run.attempts.last().map_or(1, |attempt| attempt.number) {
            1 => String::new(),
            number => format!("attempt {number}"),
        }
    }

    /// The pause between two attempts goes on.
    pub fn pausing(&mut self, at: &Moment, until: Timestamp) {
        let why = self.run.attempts.last().and_then(|attempt| attempt.message.clone()).unwrap_or_default();
        self.working(at, reason::RETRYING, &clip(&format!("next attempt at {}: {why}", seconds(until))));
    }

    /// The next attempt waits for the pod of the one before to end.
    pub fn winding_down(&mut self, at: &Moment) {
        self.working(at, reason::RETRYING, "the pod of the attempt before still ends");
    }
}

#[cfg(test)]
mod tests;
