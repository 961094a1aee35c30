use std::iter::repeat_n;

use rstest::rstest;

use super::{ending::failure_reason, *};
use crate::{
    api::ResolvedValue,
    controller::{
        decide::Next,
        observe::{EndClass, Ending},
    },
    engine::task::{self, PlanSummary, Report, Stage, Summary},
    exit::Class,
};

fn moment(kind: RunKind, second: i64) -> Moment {
    let now = Timestamp::from_second(1_800_000_000 + second).unwrap();
    let proof = Some(if kind == RunKind::Backup { reason::MANIFEST_VERIFIED } else { reason::ROW_COUNTS_VERIFIED });
    Moment { now, generation: Some(3), kind, proof }
}

const BACKUP: RunKind = RunKind::Backup;
const RESTORE: RunKind = RunKind::Restore;

fn fresh(kind: RunKind) -> Record {
    let mut record = Record::default();
    record.observe_generation(&moment(kind, 0));
    record
}

fn running(kind: RunKind) -> Record {
    let mut record = fresh(kind);
    record.artifact = Some(Artifact { uri: "s3://b/n".to_owned(), name: "n".to_owned(), ..Artifact::default() });
    record.begun(&moment(kind, 1), 1, "job");
    let progress = task::Progress {
        stage: Stage::CopyingData,
        bytes_done: 5,
        bytes_total: 10,
        time: Some(moment(kind, 2).now),
        ..task::Progress::default()
    };
    let seen = Seen::Running { progress: Some(Box::new(progress)), since: Some(moment(kind, 1).now) };
    record.follow(&moment(kind, 2), &seen, false);
    record
}

#[test]
fn a_run_that_says_nothing_for_a_moment_stays_in_the_stage_it_was_in() {
    for (stage, reason) in [
        (Stage::Preflight, "Preflight"),
        (Stage::Flushing, "Flushing"),
        (Stage::CopyingMetadata, "CopyingMetadata"),
        (Stage::CopyingData, "CopyingData"),
        (Stage::Verifying, "Verifying"),
        (Stage::Finalizing, "Finalizing"),
    ] {
        let (mut record, at) = (fresh(BACKUP), moment(BACKUP, 2));
        let progress = task::Progress { stage, ..task::Progress::default() };
        record.follow(&at, &Seen::Running { progress: Some(Box::new(progress)), since: None }, false);
        record.follow(&at, &Seen::Running { progress: None, since: None }, false);
        assert_eq!(record.stage(), reason);
    }
    let mut queued = fresh(BACKUP);
    queued.follow(&moment(BACKUP, 2), &Seen::Running { progress: None, since: None }, false);
    assert_eq!(queued.stage(), "Preflight");
}

fn ending(class: EndClass, report: Option<Report>) -> Ending {
    Ending { class, message: "the message".to_owned(), report, started: None, at: None }
}

fn report(reason: &str) -> Report {
    Report {
        version: 1,
        ok: true,
        reason: reason.to_owned(),
        message: "the message".to_owned(),
        manifest_digest: Some("d".repeat(64)),
        ..Report::default()
    }
}

/// What kstatus (the library of cli-utils that Flux and Argo CD's defaults follow) concludes.
fn kstatus(record: &Record, generation: i64, deleting: bool) -> &'static str {
    let status = |type_: &str| record.condition(type_).map(|condition| condition.status.as_str());
    if deleting {
        return "Terminating";
    }
    if record.run.observed_generation.is_some_and(|observed| observed != generation) {
        return "InProgress";
    }
    if status("Reconciling") == Some("True") {
        return "InProgress";
    }
    if status("Stalled") == Some("True") {
        return "Failed";
    }
    match status("Ready") {
        Some("True") | None => "Current",
        Some(_) => "InProgress",
    }
}

#[rstest]
#[case(RunKind::Backup)]
#[case(RunKind::Restore)]
fn the_kstatus_truth_table_holds(#[case] kind: RunKind) {
    let untouched =
        Record { run: RunStatus { observed_generation: Some(-1), ..RunStatus::default() }, ..Record::default() };
    assert_eq!(kstatus(&untouched, 3, false), "InProgress", "new object, status default");
    assert_eq!(kstatus(&fresh(kind), 3, false), "InProgress", "first pass");

    let mut queued = fresh(kind);
    let obstacle = Obstacle {
        condition: cond::ADMITTED,
        reason: reason::WAITING_FOR_LOCK,
        message: "MilvusBackup/a/b works on it".to_owned(),
        last_word: false,
    };
    queued.waiting(&moment(kind, 1), &obstacle, Some(2));
    assert_eq!(kstatus(&queued, 3, false), "InProgress", "queued");
    assert_eq!(queued.stage(), "Queued");
    assert_eq!(queued.run.progress.as_ref().unwrap().display.as_deref(), Some("2nd in line"));

    assert_eq!(kstatus(&running(kind), 3, false), "InProgress", "running");
    assert_eq!(running(kind).stage(), "CopyingData");

    let mut done = running(kind);
    done.close(&moment(kind, 3), &ending(EndClass::Succeeded, Some(report("Completed"))), Next::Succeeded, None);
    assert_eq!(kstatus(&done, 3, false), "Current", "done");
    assert_eq!(kstatus(&done, 4, false), "InProgress", "spec changed and not looked at");
    assert_eq!(kstatus(&done, 3, true), "Terminating", "deleting");

    for (class, next) in [
        (EndClass::Exit(Class::Data), Next::Failed),
        (EndClass::Unproven, Next::Failed),
        (EndClass::Stalled, Next::Failed),
        (EndClass::Lost, Next::StartDeadlineExceeded),
        (EndClass::Exit(Class::Cancelled), Next::Cancelled),
    ] {
        let mut failed = running(kind);
        failed.close(&moment(kind, 3), &ending(class, None), next, None);
        assert_eq!(kstatus(&failed, 3, false), "Failed", "{class:?}");
        assert_eq!(failed.condition("Succeeded").unwrap().status, "False");
    }

    let mut retrying = running(kind);
    let next = Next::Retry { at: moment(kind, 30).now };
    retrying.close(&moment(kind, 3), &ending(EndClass::Lost, None), next, Some("tail".to_owned()));
    assert_eq!(kstatus(&retrying, 3, false), "InProgress", "retrying");
    assert_eq!(retrying.stage(), "Retrying");
}

#[test]
fn every_condition_is_there_from_the_first_pass() {
    for (kind, all) in [(BACKUP, cond::BACKUP.as_slice()), (RESTORE, cond::RESTORE.as_slice())] {
        let record = fresh(kind);
        for type_ in all {
            let condition = record.condition(type_).unwrap_or_else(|| panic!("{type_} is missing"));
            assert!(!condition.reason.is_empty(), "{type_}");
            assert_eq!(condition.observed_generation, Some(3));
        }
        assert_eq!(record.run.conditions.len(), all.len());
    }
}

#[test]
fn a_second_pass_without_news_changes_nothing() {
    let mut record = running(BACKUP);
    let before = record.clone();
    record.observe_generation(&moment(BACKUP, 50));
    record.follow(&moment(BACKUP, 50), &Seen::Running { progress: None, since: None }, false);
    assert_eq!(record, before);
}

#[test]
fn progress_and_start_are_recorded_while_it_runs() {
    let record = running(BACKUP);
    let progress = record.run.progress.as_ref().unwrap();
    assert_eq!((progress.percent, progress.bytes_total), (Some(50), Some(10)));
    assert_eq!(progress.display.as_deref(), Some("50% 5/10 B"));
    assert_eq!(record.run.started_at.as_ref().unwrap().0, moment(BACKUP, 1).now);
    assert_eq!(record.condition("Admitted").unwrap().status, "True");
}

#[test]
fn a_completed_backup_has_its_digest_and_totals() {
    let mut record = running(BACKUP);
    let mut done = report("Completed");
    done.summary = Summary { size_bytes: 2048, collections: 2, rows: 7, ..Summary::default() };
    done.recovery_point = Some(moment(BACKUP, 0).now);
    record.close(&moment(BACKUP, 11), &ending(EndClass::Succeeded, Some(done)), Next::Succeeded, None);
    assert_eq!(record.outcome(), Some(true));
    assert_eq!(record.artifact.as_ref().unwrap().manifest_digest.as_ref().unwrap().len(), 64);
    assert_eq!(record.run.summary.as_ref().unwrap().size, "2.0KiB");
    assert_eq!(record.run.duration_seconds, Some(10));
    assert_eq!(record.condition("Ready").unwrap().reason, "Restorable");
    assert_eq!(record.condition("Verified").unwrap().reason, "ManifestVerified");
    assert_eq!(record.run.progress.as_ref().unwrap().display.as_deref(), Some("100%"));
}

#[test]
fn a_partial_backup_failed_but_can_be_restored_in_part() {
    let mut record = running(BACKUP);
    let mut part = report("PartiallyFailed");
    part.failed_collections = vec!["db.a: gone".to_owned()];
    part.failed_total = 1;
    record.close(&moment(BACKUP, 3), &ending(EndClass::Succeeded, Some(part)), Next::Succeeded, None);
    assert_eq!(record.outcome(), Some(false));
    assert_eq!(record.stage(), "PartiallyFailed");
    let ready = record.condition("Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "PartiallyRestorable"));
    assert_eq!(record.run.failed_collections_total, Some(1));
    assert!(record.artifact.unwrap().manifest_digest.is_some());
}

#[test]
fn the_reports_reason_is_the_reason_and_explains_another_condition() {
    let mut record = running(BACKUP);
    let mut wrong = report("StoragePathMismatch");
    (wrong.ok, wrong.class) = (false, Some(Class::Configuration));
    record.close(
        &moment(BACKUP, 3),
        &ending(EndClass::Exit(Class::Configuration), Some(wrong)),
        Next::Failed,
        Some("tail".to_owned()),
    );
    assert_eq!(record.stage(), "StoragePathMismatch");
    assert_eq!(record.condition("SourceResolved").unwrap().reason, "StoragePathMismatch");
    assert_eq!(record.condition("Stalled").unwrap().message, "the message");
    assert_eq!(record.run.log_tail.as_deref(), Some("tail"));
}

#[test]
fn a_reason_that_is_none_is_replaced() {
    let odd = Report { reason: "not a reason!".to_owned(), ..Report::default() };
    assert_eq!(failure_reason(&ending(EndClass::Exit(Class::Data), Some(odd))), "Failed");
}

#[test]
fn a_missing_secret_is_a_condition_and_no_failure() {
    let mut record = running(BACKUP);
    record.run.started_at = None;
    let missing = Report { reason: "SecretNotFound".to_owned(), ..Report::default() };
    let end = ending(EndClass::Exit(Class::Configuration), Some(missing));
    record.close(&moment(BACKUP, 3), &end, Next::Retry { at: moment(BACKUP, 8).now }, None);
    assert_eq!(record.outcome(), None);
    let resolved = record.condition("SourceResolved").unwrap();
    assert_eq!((resolved.reason.as_str(), resolved.message.as_str()), ("SecretNotFound", "the message"));
    assert_eq!(record.run.attempts[0].exit_class.as_deref(), Some("SecretNotFound"));
}

#[test]
fn only_the_last_five_attempts_are_kept() {
    let mut record = fresh(BACKUP);
    for number in 1..=7 {
        record.begun(&moment(BACKUP, number), u32::try_from(number).unwrap(), "job");
        record.close(
            &moment(BACKUP, number),
            &ending(EndClass::Lost, None),
            Next::Retry { at: moment(BACKUP, 9).now },
            None,
        );
    }
    assert_eq!(record.run.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
}

#[test]
fn an_attempt_found_again_is_not_recorded_twice() {
    let mut record = running(BACKUP);
    record.begun(&moment(BACKUP, 9), 1, "job");
    assert_eq!(record.run.attempts.len(), 1);
    assert_eq!(record.run.attempts[0].started_at.as_ref().unwrap().0, moment(BACKUP, 1).now);
}

#[test]
fn the_largest_report_of_ten_thousand_collections_stays_below_32_kib() {
    for kind in [BACKUP, RESTORE] {
        let long = |n: usize| format!("{n}{}", "ü".repeat(600));
        let many: Vec<String> = (0..10_000).map(long).collect();
        let mut worst = report("RowCountMismatch");
        worst.ok = false;
        worst.message = "m".repeat(5_000);
        worst.failed_collections = many.clone();
        worst.failed_total = 10_000;
        worst.row_counts = Some(task::RowCounts { expected: 1, actual: 0, mismatched: many });
        let rename = task::Rename { from: long(1), to: long(2) };
        worst.plan =
            Some(PlanSummary { create: 1, mappings: repeat_n(rename, 10_000).collect(), ..PlanSummary::default() });
        let mut record = running(kind);
        let end = Ending { message: "m".repeat(5_000), ..ending(EndClass::Exit(Class::Data), Some(worst)) };
        for number in 1..=6 {
            record.begun(&moment(kind, 3), number, "job");
            record.close(&moment(kind, 3), &end, Next::Failed, Some("t".repeat(4096)));
        }
        for index in 0..20 {
            let value = ResolvedValue { value: "v".repeat(200), from: crate::api::Provenance::Spec };
            record.run.resolved.insert(format!("value{index}"), value);
        }
        for type_ in if kind == BACKUP { cond::BACKUP.as_slice() } else { &cond::RESTORE } {
            record.unmet(&moment(kind, 4), type_, "Failed", &"m".repeat(5_000));
        }
        let size = super::super::run::status_value(kind, record).to_string().len();
        assert!(size < 32 * 1024, "{kind:?}: {size} bytes");
    }
}

#[rstest]
#[case(reason::ROW_COUNT_MISMATCH)]
#[case(reason::CONTENT_MISMATCH)]
fn rows_that_are_not_those_of_the_backup_are_told_by_verified_too(#[case] why: &str) {
    let mut record = running(RESTORE);
    record.fail(&moment(RESTORE, 9), why, "what differs", None);
    let verified = record.run.conditions.iter().find(|one| one.type_ == cond::VERIFIED).unwrap();
    assert_eq!((verified.status.as_str(), verified.reason.as_str()), ("False", reason::CHECK_FAILED));
    assert_eq!(verified.message, "what differs");
}

#[rstest]
#[case::compared(Some(7), "SampleVerified")]
#[case::nothing_to_compare(Some(0), "RowCountsVerified")]
#[case::not_told(None, "RowCountsVerified")]
fn a_sample_counts_as_proof_only_where_rows_were_compared(#[case] compared: Option<u64>, #[case] why: &str) {
    let mut record = running(RESTORE);
    let at = Moment { proof: Some(reason::SAMPLE_VERIFIED), ..moment(RESTORE, 3) };
    let said = Report { compared_rows: compared, ..report("Completed") };
    record.close(&at, &ending(EndClass::Succeeded, Some(said)), Next::Succeeded, None);
    assert_eq!(record.condition("Verified").unwrap().reason, why);
}
