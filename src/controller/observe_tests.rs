use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn now() -> Timestamp {
    "2026-11-01T00:10:00Z".parse().unwrap()
}

fn job(status: Value) -> Job {
    serde_json::from_value(json!({"metadata": {"name": "mbk-1-a1"}, "status": status})).unwrap()
}

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-11-01T00:00:00Z"}, "status": status
    }))
    .unwrap()
}

fn ended(code: i32, message: &str) -> Pod {
    pod(json!({"phase": if code == 0 {"Succeeded"} else {"Failed"}, "containerStatuses": [{
        "name": "runner", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "message": message, "reason": "Error",
            "startedAt": "2026-11-01T00:00:01Z", "finishedAt": "2026-11-01T00:01:00Z"}}
    }]}))
}

fn waiting(reason: &str) -> Pod {
    pod(json!({"phase": "Pending", "containerStatuses": [{
        "name": "runner", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": "why"}}
    }]}))
}

fn end_of(pod: Pod, proof: Proof) -> Ending {
    match observe(Some(&job(json!({}))), &[pod], "", proof, now()) {
        Seen::Ended(ending) => *ending,
        other => panic!("{other:?}"),
    }
}

fn good_report() -> String {
    json!({"version": 1, "ok": true, "reason": "Completed", "message": "done", "manifestDigest": DIGEST}).to_string()
}

#[test]
fn exit_0_with_a_proven_report_is_the_only_success() {
    let ending = end_of(ended(0, &good_report()), Proof::Manifest);
    assert_eq!(ending.class, EndClass::Succeeded);
    assert_eq!(ending.report.unwrap().manifest_digest.as_deref(), Some(DIGEST));
    assert_eq!(ending.at, Some("2026-11-01T00:01:00Z".parse().unwrap()));
}

#[rstest]
#[case::no_report("", "no readable report")]
#[case::cut_report(r#"{"version":1,"ok":tr"#, "no readable report")]
#[case::not_ok(r#"{"version":1,"ok":false}"#, "does not say that the work is done")]
#[case::no_digest(r#"{"version":1,"ok":true}"#, "no digest")]
#[case::odd_digest(r#"{"version":1,"ok":true,"manifestDigest":"abc"}"#, "no digest")]
#[case::newer(r#"{"version":2,"ok":true}"#, "upgrade the operator")]
fn exit_0_without_proof_is_a_failure(#[case] message: &str, #[case] why: &str) {
    let ending = end_of(ended(0, message), Proof::Manifest);
    assert_eq!(ending.class, EndClass::Unproven);
    assert!(!ending.class.retryable());
    assert!(ending.message.contains(why), "{}", ending.message);
}

#[test]
fn a_restore_needs_no_digest() {
    assert_eq!(end_of(ended(0, r#"{"version":1,"ok":true}"#), Proof::Report).class, EndClass::Succeeded);
}

#[rstest]
#[case(10, EndClass::Exit(Class::Retry), true)]
#[case(20, EndClass::Exit(Class::Configuration), false)]
#[case(30, EndClass::Exit(Class::Data), false)]
#[case(40, EndClass::Exit(Class::Cancelled), true)]
#[case(50, EndClass::Exit(Class::LostLock), true)]
#[case(137, EndClass::Crashed { killed: true }, true)]
#[case(1, EndClass::Crashed { killed: false }, true)]
#[case(101, EndClass::Crashed { killed: false }, true)]
fn exit_codes_map_to_classes(#[case] code: i32, #[case] class: EndClass, #[case] retryable: bool) {
    let ending = end_of(ended(code, ""), Proof::Manifest);
    assert_eq!(ending.class, class);
    assert_eq!(class.retryable(), retryable);
}

#[test]
fn the_message_is_the_reports_else_the_last_line_of_the_log() {
    let report = json!({"version": 1, "class": "Data", "reason": "X", "message": "object a is gone"}).to_string();
    assert_eq!(end_of(ended(30, &report), Proof::Manifest).message, "object a is gone");
    let tail = "first\nlast words\n{\"progress\":{}}\n";
    let seen = observe(Some(&job(json!({}))), &[ended(30, "")], tail, Proof::Manifest, now());
    assert!(matches!(seen, Seen::Ended(ending) if ending.message == "last words"));
}

#[test]
fn a_container_over_its_memory_limit_is_told_what_to_raise() {
    let mut pod = ended(137, "");
    let status = &mut pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
    status.state.as_mut().unwrap().terminated.as_mut().unwrap().reason = Some("OOMKilled".to_owned());
    let ending = end_of(pod, Proof::Manifest);
    assert_eq!(ending.class, EndClass::OutOfMemory);
    assert!(ending.message.contains("job.resources.limits.memory"));
}

#[test]
fn an_evicted_pod_is_lost_with_its_reason() {
    let evicted = pod(json!({"phase": "Failed", "reason": "Evicted", "message": "node low on memory"}));
    let ending = end_of(evicted, Proof::Manifest);
    assert_eq!(ending.class, EndClass::Lost);
    assert!(ending.class.interrupted());
    assert!(ending.message.contains("Evicted: node low on memory"));
}

#[rstest]
#[case("ImagePullBackOff", Some("ImagePullFailed"))]
#[case("ErrImageNeverPull", Some("ImagePullFailed"))]
#[case("CreateContainerConfigError", Some("PodNotStarted"))]
#[case("ContainerCreating", None)]
fn a_waiting_container_names_its_problem(#[case] why: &str, #[case] reason: Option<&str>) {
    let seen = observe(Some(&job(json!({}))), &[waiting(why)], "", Proof::Manifest, now());
    let Seen::Starting { problem } = seen else { panic!("{seen:?}") };
    assert_eq!(problem.map(|problem| problem.reason), reason);
}

#[test]
fn an_unschedulable_pod_is_named() {
    let pending = pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ]}));
    let seen = observe(Some(&job(json!({}))), &[pending], "", Proof::Manifest, now());
    assert!(matches!(seen, Seen::Starting { problem: Some(Problem { reason: "PodUnschedulable", .. }) }));
}

#[test]
fn a_running_container_shows_the_last_progress_line() {
    let running = pod(json!({"phase": "Running", "containerStatuses": [{
        "name": "runner", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-11-01T00:00:01Z"}}
    }]}));
    let tail =
        "{\"progress\":{\"bytesDone\":1}}\nlog\n{\"progress\":{\"bytesDone\":2,\"new\":1}}\n{\"progress\":{\"byt";
    let seen = observe(Some(&job(json!({}))), &[running], tail, Proof::Manifest, now());
    let Seen::Running { progress, since } = seen else { panic!("{seen:?}") };
    assert_eq!(progress.unwrap().bytes_done, 2);
    assert!(since.is_some());
}

#[test]
fn a_pod_that_is_being_deleted_is_stopping_until_its_container_ends() {
    let mut leaving = waiting("ContainerCreating");
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    assert_eq!(observe(Some(&job(json!({}))), &[leaving], "", Proof::Manifest, now()), Seen::Stopping);
    let mut gone = ended(40, "");
    gone.metadata.deletion_timestamp = gone.metadata.creation_timestamp.clone();
    assert!(matches!(observe(Some(&job(json!({}))), &[gone], "", Proof::Manifest, now()), Seen::Ended(_)));
}

#[rstest]
#[case("Failed", "BackoffLimitExceeded", EndClass::Lost)]
#[case("Failed", "DeadlineExceeded", EndClass::DeadlineExceeded)]
#[case("Complete", "CompletionsReached", EndClass::Lost)]
fn a_finished_job_without_a_pod_is_no_success(#[case] kind: &str, #[case] reason: &str, #[case] class: EndClass) {
    let job = job(json!({"conditions": [{"type": kind, "status": "True", "reason": reason}]}));
    let seen = observe(Some(&job), &[], "", Proof::Manifest, now());
    assert!(matches!(&seen, Seen::Ended(ending) if ending.class == class), "{seen:?}");
}

#[test]
fn a_pod_that_the_jobs_deadline_stopped_was_not_stopped_from_outside() {
    let late = || {
        job(json!({"conditions": [
            {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
        ]}))
    };
    let class = |pods: &[Pod]| match observe(Some(&late()), pods, "", Proof::Manifest, now()) {
        Seen::Ended(ending) => Some(ending.class),
        Seen::Stopping => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(class(&[waiting("ContainerCreating")]), None, "its pod still ends");
    assert_eq!(class(&[ended(40, "")]), Some(EndClass::DeadlineExceeded));
    assert_eq!(class(&[]), Some(EndClass::DeadlineExceeded));
    assert_eq!(class(&[ended(0, &good_report())]), Some(EndClass::Succeeded), "done in the last moment");
}

#[test]
fn a_job_that_gets_no_pod_says_where_to_look() {
    let made = |time: &str| {
        let mut job = job(json!({}));
        job.metadata.creation_timestamp = serde_json::from_value(json!(time)).unwrap();
        match observe(Some(&job), &[], "", Proof::Manifest, now()) {
            Seen::Starting { problem } => problem,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(made("2026-11-01T00:09:55Z"), None);
    let problem = made("2026-11-01T00:09:50Z").unwrap();
    assert_eq!(problem.reason, "QuotaExceeded");
    assert!(problem.message.contains("kubectl describe job mbk-1-a1"));
}

#[test]
fn of_several_pods_the_newest_counts() {
    let mut newer = waiting("ContainerCreating");
    newer.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-01T00:10:00Z")).unwrap();
    let seen = observe(Some(&job(json!({}))), &[newer, ended(137, "")], "", Proof::Manifest, now());
    assert_eq!(seen, Seen::Starting { problem: None });
}

#[test]
fn without_a_job_its_pod_decides() {
    assert_eq!(observe(None, &[], "", Proof::Manifest, now()), Seen::Absent);
    assert_eq!(observe(None, &[waiting("ContainerCreating")], "", Proof::Manifest, now()), Seen::Stopping);
    let seen = observe(None, &[ended(40, "")], "", Proof::Manifest, now());
    assert!(matches!(&seen, Seen::Ended(ending) if ending.class.interrupted()), "{seen:?}");
}
