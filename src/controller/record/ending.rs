//! Pure: how an attempt ends, and a run with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Moment, Record, RunKind,
    said::{listed, plan_of, progress_of, seconds, signed, summary_of},
};
use crate::{
    api::{
        RowCounts,
        conditions::{self as cond, Standing, Status, reason, set_standing},
    },
    controller::{
        decide::{Next, waits_for_secret},
        observe::{EndClass, Ending},
        text::bounded,
    },
    engine::task::{Report, Summary},
};

/// Longest message of an attempt.
const ATTEMPT_MESSAGE: usize = 300;

impl Record {
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
pub(super) fn failure_reason(ending: &Ending) -> &str {
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
