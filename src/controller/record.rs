//! Pure: the status of a run, and how each thing that happens changes it.
//!
//! Backup and restore share one [`Record`]; each kind takes from it what its status has. Everything written here is bounded, so
//! that a whole status stays below 32 KiB whatever a run reports.

mod said;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    decide::{ATTEMPTS_KEPT, Next, waits_for_secret},
    observe::{EndClass, Ending, Problem, Seen},
    text::{bounded, clip},
};
use crate::{
    api::{
        Artifact, Attempt, Progress, RestorePlan, RowCounts, RunStatus,
        conditions::{self as cond, Standing, Status, reason, set_condition, set_standing},
    },
    engine::task::{Report, Summary},
};

use said::{listed, ordinal, plan_of, progress_of, seconds, signed, stage_reason, summary_of};

/// Longest message of an attempt.
const ATTEMPT_MESSAGE: usize = 300;

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
                let stage = stage.unwrap_or(match self.stage() {
                    reason::FLUSHING => reason::FLUSHING,
                    reason::COPYING_METADATA => reason::COPYING_METADATA,
                    reason::COPYING_DATA => reason::COPYING_DATA,
                    reason::VERIFYING => reason::VERIFYING,
                    reason::FINALIZING => reason::FINALIZING,
                    _ => reason::PREFLIGHT,
                });
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

    /// An attempt ended.
    pub fn close(&mut self, at: &Moment, ending: &Ending, next: Next, log_tail: Option<String>) {
        let waited = waits_for_secret(ending);
        let class = if waited { EndClass::WAITED } else { ending.class.text() };
        if let Some(attempt) = self.run.attempts.last_mut() {
            attempt.ended_at = Some(Time(ending.at.unwrap_or(at.now)));
            attempt.exit_class = Some(class.to_owned());
            attempt.message = Some(bounded(&ending.message, ATTEMPT_MESSAGE));
            attempt.next_retry_at = match next {
                Next::Retry { at } => Some(Time(at)),
                _ => None,
            };
        }
        if !waited && let Some(started) = ending.started {
            self.run.started_at.get_or_insert(Time(started));
        }
        self.run.log_tail = if ending.class == EndClass::Succeeded { None } else { log_tail };
        match next {
            Next::Retry { at: then } if waited => {
                let condition = if at.kind == RunKind::Backup { cond::SOURCE_RESOLVED } else { cond::TARGET_READY };
                self.unmet(at, condition, EndClass::WAITED, &ending.message);
                let message = format!("{}; tried again at {}", ending.message, seconds(then));
                self.working(at, reason::RESOLVING, &message);
            }
            Next::Retry { at: then } => self.pausing(at, then),
            Next::Succeeded => self.succeed(at, ending),
            Next::Failed => self.fail(at, failure_reason(ending), &ending.message, ending.report.as_ref()),
            Next::Cancelled => self.cancelled(at),
            Next::StartDeadlineExceeded => {
                self.fail(at, reason::START_DEADLINE_EXCEEDED, &ending.message, ending.report.as_ref());
            }
        }
    }

    /// Stopped on request.
    pub fn cancelled(&mut self, at: &Moment) {
        self.fail(at, reason::CANCELLED, "stopped on request", None);
    }

    fn succeed(&mut self, at: &Moment, ending: &Ending) {
        let Some(report) = &ending.report else {
            return self.fail(at, reason::FAILED, "the attempt ended well but its report is gone", None);
        };
        self.take_report(at, report);
        if report.reason != reason::PREFLIGHT_PASSED {
            match proven(at.proof, report) {
                Some(proof) => self.met(at, cond::VERIFIED, proof, ""),
                None => self.unmet(at, cond::VERIFIED, reason::NOT_VERIFIED, "no proof was asked for"),
            }
        }
        if report.reason == reason::PARTIALLY_FAILED {
            self.fail(at, reason::PARTIALLY_FAILED, &report.message, None);
            self.met(at, cond::READY, reason::PARTIALLY_RESTORABLE, &report.message);
            return;
        }
        let known = [reason::COMPLETED, reason::ALREADY_RESTORED, reason::PREFLIGHT_PASSED];
        let why = known.into_iter().find(|known| *known == report.reason).unwrap_or(reason::COMPLETED);
        let ready = if at.kind == RunKind::Backup { reason::RESTORABLE } else { why };
        self.end(at);
        if let Some(progress) = &mut self.run.progress {
            progress.percent = Some(100);
            progress.display = Some("100%".to_owned());
            progress.eta_seconds = None;
        }
        self.set(at, cond::SUCCEEDED, Status::True, why, &report.message);
        let standing = Standing::Done { reason: ready, message: &report.message };
        set_standing(&mut self.run.conditions, &standing, at.generation, at.now);
    }

    /// The run is over and did not do what it should.
    pub fn fail(&mut self, at: &Moment, why: &str, message: &str, report: Option<&Report>) {
        if let Some(report) = report {
            self.take_report(at, report);
        }
        self.explain(at, why, message);
        self.end(at);
        self.set(at, cond::SUCCEEDED, Status::False, why, message);
        let standing = Standing::Failed { reason: why, message };
        set_standing(&mut self.run.conditions, &standing, at.generation, at.now);
    }

    /// A failure that another condition stands for is said there as well.
    fn explain(&mut self, at: &Moment, why: &str, message: &str) {
        const OF_MILVUS: [&str; 7] = [
            reason::AUTH_REQUIRED,
            reason::AUTH_FAILED,
            reason::STORAGE_PATH_MISMATCH,
            reason::SOURCE_CONFIG_DRIFT,
            reason::UNSUPPORTED_VERSION,
            reason::TLS_UNRESOLVED,
            reason::VERSION_TOO_OLD,
        ];
        const OF_STORE: [&str; 5] = [
            reason::ACCESS_DENIED,
            reason::BUCKET_NOT_FOUND,
            reason::DNS_FAILURE,
            reason::TLS_FAILURE,
            reason::ARTIFACT_MISSING,
        ];
        let (milvus, store) = match at.kind {
            RunKind::Backup => (cond::SOURCE_RESOLVED, cond::LOCATION_AVAILABLE),
            RunKind::Restore => (cond::TARGET_READY, cond::SOURCE_AVAILABLE),
        };
        if OF_MILVUS.contains(&why) {
            self.unmet(at, milvus, why, message);
        }
        if OF_STORE.contains(&why) {
            self.unmet(at, store, why, message);
        }
        if [reason::ROW_COUNT_MISMATCH, reason::CONTENT_MISMATCH].contains(&why) {
            self.unmet(at, cond::VERIFIED, reason::CHECK_FAILED, message);
        }
    }

    fn end(&mut self, at: &Moment) {
        self.run.queue_position = None;
        self.run.completed_at = Some(Time(at.now));
        self.run.duration_seconds =
            self.run.started_at.as_ref().map(|start| at.now.duration_since(start.0).as_secs().max(0));
        if let Some(progress) = &mut self.run.progress {
            progress.bytes_per_second = None;
            progress.eta_seconds = None;
            if progress.percent.is_none() {
                progress.display = None;
            }
        }
    }

    fn take_report(&mut self, at: &Moment, report: &Report) {
        let Report { recovery_point, summary, progress, failed_collections, failed_total, plan, row_counts, .. } =
            report;
        if progress.bytes_total > 0 || progress.objects_total > 0 || progress.collections_total > 0 {
            self.run.progress = Some(progress_of(progress, None));
        }
        if *summary != Summary::default() {
            self.run.summary = Some(summary_of(summary));
        }
        self.run.failed_collections = listed(failed_collections);
        self.run.failed_collections_total = (*failed_total > 0).then(|| signed(*failed_total));
        match at.kind {
            RunKind::Backup => {
                if let (Some(digest), Some(artifact)) = (&report.manifest_digest, &mut self.artifact) {
                    artifact.manifest_digest = Some(bounded(digest, 64));
                    artifact.engine_version = Some(env!("CARGO_PKG_VERSION").to_owned());
                }
                self.recovery_point = recovery_point.map(Time);
            }
            RunKind::Restore => {
                self.plan = plan.as_ref().map(plan_of).or_else(|| self.plan.take());
                self.created_collections = Some(signed(report.created_collections));
                self.row_counts = row_counts.as_ref().map(|counts| RowCounts {
                    expected: signed(counts.expected),
                    actual: signed(counts.actual),
                    mismatched: listed(&counts.mismatched),
                });
            }
        }
    }
}

/// What has been proven of what was asked for: where no row could be compared, their number is all that is known.
fn proven(wanted: Option<&'static str>, report: &Report) -> Option<&'static str> {
    match wanted {
        Some(reason::SAMPLE_VERIFIED) if report.compared_rows.unwrap_or_default() == 0 => {
            Some(reason::ROW_COUNTS_VERIFIED)
        }
        wanted => wanted,
    }
}

/// Reason of `Succeeded=False` for an attempt that is the last.
fn failure_reason(ending: &Ending) -> &str {
    match ending.class {
        EndClass::DeadlineExceeded => reason::RUN_DEADLINE_EXCEEDED,
        EndClass::Stalled => reason::STALLED,
        EndClass::Unproven => reason::FAILED,
        _ => match ending.report.as_ref().map(|report| report.reason.as_str()) {
            Some(why) if is_reason(why) && why != reason::COMPLETED => why,
            _ => reason::FAILED,
        },
    }
}

/// What the API server takes as a condition's reason, short enough for a column.
fn is_reason(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
