//! Pure: what a runner reports, in the terms and bounds of a status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Progress, Rename, RestorePlan, RunSummary, conditions::reason},
    controller::text::{bounded, progress_text, size_text},
    engine::task::{self, PlanSummary, Stage, Summary},
};

/// Names and sentences kept of a list in a report.
const LISTED: usize = 20;
/// Longest entry of a list.
const ENTRY: usize = 120;

/// All stages, in the order of a run.
const STAGES: [Stage; 6] = [
    Stage::Preflight,
    Stage::Flushing,
    Stage::CopyingMetadata,
    Stage::CopyingData,
    Stage::Verifying,
    Stage::Finalizing,
];

/// The stage as the reason of `Succeeded`. A new one belongs into [`STAGES`], too.
pub fn stage_reason(stage: Stage) -> &'static str {
    match stage {
        Stage::Preflight => reason::PREFLIGHT,
        Stage::Flushing => reason::FLUSHING,
        Stage::CopyingMetadata => reason::COPYING_METADATA,
        Stage::CopyingData => reason::COPYING_DATA,
        Stage::Verifying => reason::VERIFYING,
        Stage::Finalizing => reason::FINALIZING,
    }
}

/// A reason of `Succeeded` that stands for a stage; none for any other.
pub fn stage_named(text: &str) -> Option<&'static str> {
    STAGES.into_iter().map(stage_reason).find(|reason| *reason == text)
}

/// Progress as people see it.
pub fn progress_of(new: &task::Progress, old: Option<&Progress>) -> Progress {
    let known = |total: u64, value: u64| (total > 0).then(|| signed(value));
    let (percent, display) = progress_text(new);
    Progress {
        // A later attempt may count anew; within one, what people see does not go back.
        percent: percent.max(old.and_then(|old| old.percent)),
        display: display.or_else(|| old.and_then(|old| old.display.clone())),
        bytes_done: known(new.bytes_total, new.bytes_done),
        bytes_total: known(new.bytes_total, new.bytes_total),
        objects_done: known(new.objects_total, new.objects_done),
        objects_total: known(new.objects_total, new.objects_total),
        collections_done: known(new.collections_total, new.collections_done),
        collections_total: known(new.collections_total, new.collections_total),
        bytes_per_second: (new.bytes_per_second > 0).then(|| signed(new.bytes_per_second)),
        eta_seconds: new.eta_seconds.map(signed),
        stage: Some(stage_reason(new.stage).to_owned()),
        heartbeat_time: new.time.map(|time| Time(time.round(jiff::Unit::Second).unwrap_or(time))),
    }
}

/// Totals.
pub fn summary_of(summary: &Summary) -> RunSummary {
    RunSummary {
        size_bytes: signed(summary.size_bytes),
        size: size_text(summary.size_bytes),
        objects: signed(summary.objects),
        collections: signed(summary.collections),
        databases: signed(summary.databases),
        rows: signed(summary.rows),
        warnings: i64::try_from(summary.warnings.len()).unwrap_or(i64::MAX),
    }
}

/// What a restore will do, its first names.
pub fn plan_of(plan: &PlanSummary) -> RestorePlan {
    let rename =
        |mapping: &task::Rename| Rename { from: bounded(&mapping.from, ENTRY), to: bounded(&mapping.to, ENTRY) };
    RestorePlan {
        create: signed(plan.create),
        skip: signed(plan.skip),
        replace: signed(plan.replace),
        append: signed(plan.append),
        mappings: plan.mappings.iter().take(LISTED).map(rename).collect(),
    }
}

/// The first of a list, each entry bounded.
pub fn listed(names: &[String]) -> Vec<String> {
    names.iter().take(LISTED).map(|name| bounded(name, ENTRY)).collect()
}

/// Unsigned numbers of the engine in the signed ones Kubernetes has.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A time to the second.
pub fn seconds(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// `1st`, `2nd`.
pub fn ordinal(position: i32) -> String {
    let suffix = match (position % 10, position % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{position}{suffix}")
}
