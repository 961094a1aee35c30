//! The controller against a real API server.
//!
//! Needs `KUBECONFIG` of a cluster in which pods are not run (control plane alone) and a user who may impersonate.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "clippy.toml exempts test functions, not their helpers")]

mod controller_world;

use std::time::Duration;

use controller_world::{DIGEST, Operator, World, condition, stage, uid8};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        coordination::v1::Lease,
        core::v1::{Namespace, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kube::{ResourceExt as _, api::ListParams};
use milvus_backup_operator::{
    api::{MilvusBackup, MilvusBackupLocation, MilvusRestore},
    controller::rbac::Right,
    engine::task::{Task, Work},
};
use serde_json::json;
use tokio::time::Instant;

fn task_of(job: &Job) -> Task {
    let text = serde_json::to_value(job).unwrap();
    let env = text["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    let task = env.iter().find(|variable| variable["name"] == "MILVUS_BACKUP_TASK").unwrap();
    serde_json::from_str(task["value"].as_str().unwrap()).unwrap()
}

fn first(backup: &MilvusBackup) -> String {
    format!("mbk-{}-a1", uid8(backup))
}

fn attempt(backup: &MilvusBackup, number: u32) -> String {
    format!("mbk-{}-a{number}", uid8(backup))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_runs_to_its_end_and_shows_each_step() {
    let world = World::new("end").await;
    let backup = world.backup("b", json!({})).await;
    let job = first(&backup);
    let seen = world.until("b", "Preflight", stage::<MilvusBackup>("Preflight")).await;
    for (type_, status) in [
        ("SourceResolved", "True"),
        ("LocationAvailable", "True"),
        ("SharedFate", "True"),
        ("Admitted", "True"),
        ("Reconciling", "True"),
        ("Stalled", "False"),
        ("Ready", "False"),
        ("Verified", "Unknown"),
        ("DataDeleted", "False"),
    ] {
        assert_eq!(condition(&seen, type_).0, status, "{type_}");
    }
    world.runs(&job).await;
    world
        .until("b", "having started", |backup: &MilvusBackup| {
            backup.status.as_ref().is_some_and(|status| status.run.started_at.is_some())
        })
        .await;
    world.succeeds(&job).await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    let status = done.status.clone().unwrap();
    assert_eq!(condition(&done, "Ready").0, "True");
    assert_eq!(condition(&done, "Verified").1, "ManifestVerified");
    assert_eq!(status.artifact.unwrap().manifest_digest.as_deref(), Some(DIGEST));
    assert_eq!(status.run.summary.unwrap().size, "2.0KiB");
    assert_eq!(status.run.observed_generation, done.metadata.generation);
    assert_eq!(status.run.attempts[0].exit_class.as_deref(), Some("Succeeded"));
    let told = world.told("b", "BackupCompleted").await;
    assert!(told.contains(&"BackupStarted".to_owned()) && told.contains(&"SharedFateWarning".to_owned()), "{told:?}");
    assert!(world.told("prod", "BackupCompleted").await.contains(&"BackupCompleted".to_owned()));
    assert!(done.finalizers().is_empty(), "a backup that keeps its data needs no finalizer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_follows_its_object_within_a_second_at_the_median() {
    let world = World::new("quick").await;
    let warm = world.backup("warm", json!({})).await;
    world.until::<Job>(&first(&warm), "being there", |_| true).await;
    let mut times = Vec::new();
    for number in 0..9 {
        let milvus = format!("m{number}");
        world.milvus(&milvus, "Healthy").await;
        let asked = Instant::now();
        let backup = world.backup(&format!("b{number}"), json!({"source": {"milvusRef": {"name": milvus}}})).await;
        world.until::<Job>(&first(&backup), "being there", |_| true).await;
        times.push(asked.elapsed());
    }
    times.sort();
    println!("from object to Job: {times:?}");
    assert!(times[4] < Duration::from_secs(1), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_over_gives_its_milvus_back() {
    let world = World::new("lease").await;
    let backup = world.backup("b", json!({})).await;
    let held = world.pod(&first(&backup)).await;
    assert!(held.name_any().starts_with("mbk-"));
    let lease = world.leases().await.pop().unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity, backup.uid());
    world.succeeds(&first(&backup)).await;
    world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    world.gone::<Lease>(lease.metadata.name.as_deref().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_names_what_was_found_and_holds_no_secret() {
    let world = World::new("task").await;
    world.secret("prod-s3").await;
    let spec = json!({
        "selection": {"include": [{"database": "a", "collections": ["x*"]}]},
        "content": {"rbac": true},
        "consistency": {"pauseGC": false},
        "limits": {"concurrency": 3, "bytesPerSecond": 5_000_000_000_i64, "requestsPerSecond": 7}
    });
    let backup = world.backup("b", spec).await;
    let job = world.until::<Job>(&first(&backup), "being there", |_| true).await;
    let task = task_of(&job);
    assert_eq!((task.run.uid.as_str(), task.run.attempt), (backup.uid().unwrap().as_str(), 1));
    let Work::Backup(work) = task.work else { panic!("{:?}", task.work) };
    assert_eq!(work.milvus.host, format!("prod-milvus.{}.svc", world.namespace));
    assert_eq!((work.milvus.store.bucket.as_str(), work.milvus.store.prefix.as_str()), ("prod", "files"));
    assert_eq!((work.destination.bucket.as_str(), work.destination.prefix.as_str()), ("prod", "backup"));
    assert_eq!(work.selection.include[0].collections, ["x*"]);
    assert!(work.rbac && !work.pause_gc);
    let bounds = (work.limits.concurrency, work.limits.bytes_per_second, work.limits.requests_per_second);
    assert_eq!(bounds, (Some(3), Some(5_000_000_000), Some(7)));
    assert!(!serde_json::to_string(&job).unwrap().contains("stringData"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pod_is_followed_by_the_next_attempt_at_once() {
    let world = World::new("killed").await;
    let backup = world.backup("b", json!({})).await;
    world.runs(&first(&backup)).await;
    world.ends(&first(&backup), 137, "").await;
    let killed = Instant::now();
    let job = world.until::<Job>(&attempt(&backup, 2), "being there", |_| true).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert_eq!(task_of(&job).run.attempt, 2);
    world.succeeds(&attempt(&backup, 2)).await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    let attempts = done.status.unwrap().run.attempts;
    assert_eq!(attempts[0].exit_class.as_deref(), Some("Crashed"));
    assert!(attempts[0].message.as_ref().unwrap().contains("137"));
    assert!(world.told("b", "BackupRetrying").await.contains(&"BackupRetrying".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_is_a_lost_attempt_and_the_run_goes_on() {
    let world = World::new("lost").await;
    let backup = world.backup("b", json!({})).await;
    world.runs(&first(&backup)).await;
    world
        .until("b", "having started", |backup: &MilvusBackup| {
            backup.status.as_ref().is_some_and(|status| status.run.started_at.is_some())
        })
        .await;
    world.delete::<Job>(&first(&backup)).await;
    world.until::<Job>(&attempt(&backup, 2), "being there", |_| true).await;
    let seen = world.until("b", "Preflight", stage::<MilvusBackup>("Preflight")).await;
    let class = seen.status.unwrap().run.attempts[0].exit_class.clone().unwrap();
    assert!(["JobLost", "Cancelled"].contains(&class.as_str()), "{class}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_0_without_a_report_is_a_failure() {
    let world = World::new("unproven").await;
    let backup = world.backup("b", json!({})).await;
    world.ends(&first(&backup), 0, "").await;
    let failed = world.until("b", "Failed", stage::<MilvusBackup>("Failed")).await;
    assert!(condition(&failed, "Succeeded").2.contains("no readable report"));
    assert_eq!(condition(&failed, "Stalled").0, "True");
    world.told("b", "BackupFailed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_change_is_final_and_says_why() {
    let world = World::new("final").await;
    let backup = world.backup("b", json!({})).await;
    let report = json!({
        "version": 1, "class": "Configuration", "reason": "StoragePathMismatch", "message": "nothing under files/insert_log"
    });
    world.ends(&first(&backup), 20, &report.to_string()).await;
    let failed = world.until("b", "its reason", stage::<MilvusBackup>("StoragePathMismatch")).await;
    assert_eq!(condition(&failed, "SourceResolved").1, "StoragePathMismatch");
    assert_eq!(condition(&failed, "Succeeded").2, "nothing under files/insert_log");
    assert_eq!(failed.status.unwrap().run.attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_with_the_retry_policy() {
    let world = World::new("spent").await;
    let backup = world.backup("b", json!({"retry": {"maxAttempts": 2, "backoffSeconds": 0}})).await;
    for number in 1..=2 {
        world.ends(&attempt(&backup, number), 10, "").await;
    }
    let failed = world.until("b", "Failed", stage::<MilvusBackup>("Failed")).await;
    assert_eq!(failed.status.unwrap().run.attempts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_die_at_any_moment_and_no_run_fails_by_it() {
    let mut world = World::new("reborn").await;
    let backup = world.backup("b", json!({})).await;
    world.until::<Job>(&first(&backup), "being there", |_| true).await;
    world.kill();
    world.runs(&first(&backup)).await;
    world.start().await;
    world
        .until("b", "having started", |backup: &MilvusBackup| {
            backup.status.as_ref().is_some_and(|status| status.run.started_at.is_some())
        })
        .await;
    world.kill();
    world.succeeds(&first(&backup)).await;
    world.start().await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    let status = done.status.unwrap();
    assert_eq!(status.run.attempts.len(), 1, "the same attempt, attached to");
    assert!(status.artifact.unwrap().manifest_digest.is_some());
    let jobs = world.all::<Job>().list(&ListParams::default()).await.unwrap();
    assert_eq!(jobs.items.len(), 1);
    let lease = async {
        while !world.leases().await.is_empty() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(30), lease).await.expect("the Milvus is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_milvus_takes_one_run_at_a_time_in_the_order_of_creation() {
    let world = World::new("line").await;
    let one = world.backup("one", json!({})).await;
    world.until::<Job>(&first(&one), "being there", |_| true).await;
    let two = world.backup("two", json!({})).await;
    let queued = world.until("two", "Queued", stage::<MilvusBackup>("Queued")).await;
    assert_eq!(condition(&queued, "Admitted").1, "WaitingForLock");
    assert!(condition(&queued, "Admitted").2.contains("MilvusBackup"), "{:?}", condition(&queued, "Admitted"));
    // Kubernetes keeps whole seconds: only then is the third one younger for sure.
    let second = two.creation_timestamp().unwrap().0.as_second();
    while jiff::Timestamp::now().as_second() <= second {
        tokio::task::yield_now().await;
    }
    let three = world
        .restore(
            "three",
            json!({
                "from": {"artifact": {"name": "x"}}, "target": {"milvusRef": {"name": "prod"}}
            }),
        )
        .await;
    let last = world
        .until("three", "second place", |restore: &MilvusRestore| {
            restore.status.as_ref().and_then(|status| status.run.queue_position) == Some(2)
        })
        .await;
    assert_eq!(last.status.unwrap().run.progress.unwrap().display.as_deref(), Some("2nd in line"));
    assert!(world.all::<Job>().get_opt(&first(&two)).await.unwrap().is_none());
    world.succeeds(&first(&one)).await;
    let over = Instant::now();
    world.until::<Job>(&first(&two), "being there", |_| true).await;
    assert!(over.elapsed() < Duration::from_secs(5), "the next one starts soon: {:?}", over.elapsed());
    assert!(world.all::<Job>().get_opt(&format!("mrs-{}-a1", uid8(&three))).await.unwrap().is_none());
    world.told("two", "BackupQueued").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_running_object_lets_the_next_one_run() {
    let world = World::new("dropped").await;
    let one = world.backup("one", json!({})).await;
    world.until::<Job>(&first(&one), "being there", |_| true).await;
    let two = world.backup("two", json!({})).await;
    world.until("two", "Queued", stage::<MilvusBackup>("Queued")).await;
    world.delete::<MilvusBackup>("one").await;
    // The garbage collector first has to learn of the kind: it looks every 30 s.
    world.delete::<Job>(&first(&one)).await;
    world.until::<Job>(&first(&two), "being there", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_stops_the_pod_and_ends_the_run() {
    let world = World::new("cancel").await;
    let backup = world.backup("b", json!({})).await;
    world.runs(&first(&backup)).await;
    world.merge::<MilvusBackup>("b", json!({"spec": {"cancel": true}})).await;
    let ended = world.until("b", "Cancelled", stage::<MilvusBackup>("Cancelled")).await;
    assert_eq!(condition(&ended, "Succeeded").0, "False");
    world.gone::<Job>(&first(&backup)).await;
    world.told("b", "BackupCancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_milvus_is_named_and_waited_for() {
    let mut world = World::empty("later").await;
    world.start().await;
    let backup = world.backup("b", json!({})).await;
    let waiting = world.until("b", "Resolving", stage::<MilvusBackup>("Resolving")).await;
    let (status, reason, message) = condition(&waiting, "SourceResolved");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotFound"));
    assert!(message.contains(&format!("{}/prod", world.namespace)), "{message}");
    world.milvus("prod", "Healthy").await;
    world.until::<Job>(&first(&backup), "being there", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_milvus_that_is_not_healthy_is_waited_for() {
    let mut world = World::empty("ill").await;
    world.milvus("prod", "Unhealthy").await;
    world.start().await;
    let backup = world.backup("b", json!({})).await;
    let waiting =
        world.until("b", "waiting", |backup: &MilvusBackup| condition(backup, "Admitted").1 == "SourceUnhealthy").await;
    assert_eq!(condition(&waiting, "SourceResolved").0, "True");
    world.milvus("prod", "Healthy").await;
    world.until::<Job>(&first(&backup), "being there", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_location_is_named_and_the_start_deadline_ends_the_wait() {
    let world = World::new("nowhere").await;
    let spec = json!({"locationRef": {"name": "offsite"}, "deadlines": {"startSeconds": 2}});
    world.backup("b", spec).await;
    let ended = world.until("b", "its end", stage::<MilvusBackup>("StartDeadlineExceeded")).await;
    let (_, reason, message) = condition(&ended, "LocationAvailable");
    assert_eq!(reason, "NotFound");
    assert!(message.contains(&format!("{}/offsite", world.namespace)), "{message}");
    assert!(condition(&ended, "Succeeded").2.contains("offsite"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_a_condition_until_it_is_there() {
    let world = World::new("secret").await;
    let backup = world.backup("b", json!({})).await;
    let message = "key accesskey of Secret prod-s3 does not exist: create it, or name another";
    let report = json!({"version": 1, "class": "Configuration", "reason": "SecretNotFound", "message": message});
    world.ends(&first(&backup), 20, &report.to_string()).await;
    let waiting = world
        .until("b", "waiting", |backup: &MilvusBackup| condition(backup, "SourceResolved").1 == "SecretNotFound")
        .await;
    assert_eq!(condition(&waiting, "SourceResolved").2, message);
    assert_eq!(condition(&waiting, "Succeeded").0, "Unknown");
    world.succeeds(&attempt(&backup, 2)).await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    assert_eq!(condition(&done, "SourceResolved").0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_shown() {
    let world = World::new("image").await;
    let backup = world.backup("b", json!({})).await;
    let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
    world.container(&first(&backup), "Pending", state).await;
    let shown = world
        .until("b", "the problem", |backup: &MilvusBackup| condition(backup, "Admitted").1 == "ImagePullFailed")
        .await;
    assert!(condition(&shown, "Admitted").2.contains("no such image"));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_with_the_object_only_where_that_was_asked_for() {
    let world = World::new("delete").await;
    let backup = world.backup("b", json!({"lifecycle": {"deletionPolicy": "Delete"}})).await;
    world.succeeds(&first(&backup)).await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    assert_eq!(done.finalizers(), ["backup.milvus.io/artifact"]);
    world.merge::<MilvusBackup>("b", json!({"spec": {"lifecycle": {"deletionPolicy": "Retain"}}})).await;
    world.until("b", "losing its finalizer", |backup: &MilvusBackup| backup.finalizers().is_empty()).await;
    let policy = json!({"spec": {"lifecycle": {"deletionPolicy": "Delete", "hold": true}}});
    world.merge::<MilvusBackup>("b", policy).await;
    world.until("b", "getting its finalizer", |backup: &MilvusBackup| !backup.finalizers().is_empty()).await;
    world.delete::<MilvusBackup>("b").await;
    let held =
        world.until("b", "being held", |backup: &MilvusBackup| condition(backup, "DataDeleted").1 == "Held").await;
    assert!(condition(&held, "DataDeleted").2.contains("hold"));
    world.merge::<MilvusBackup>("b", json!({"spec": {"lifecycle": {"hold": false}}})).await;
    let remover = format!("mbk-{}-d1", uid8(&backup));
    let job = world.until::<Job>(&remover, "being there", |_| true).await;
    let Work::Delete(task) = task_of(&job).work else { panic!("another task") };
    assert_eq!((task.location.bucket.as_str(), task.location.prefix.as_str()), ("prod", "backup"));
    assert_eq!(task.artifact, done.status.unwrap().artifact.unwrap().name);
    world.ends(&remover, 0, &json!({"version": 1, "ok": true, "reason": "Completed"}).to_string()).await;
    world.gone::<MilvusBackup>("b").await;
    world.told("b", "DataDeleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_running_backup_stops_it_first() {
    let world = World::new("midway").await;
    let backup = world.backup("b", json!({"lifecycle": {"deletionPolicy": "Delete"}})).await;
    world.runs(&first(&backup)).await;
    world.delete::<MilvusBackup>("b").await;
    let remover = format!("mbk-{}-d1", uid8(&backup));
    world.until::<Job>(&remover, "being there", |_| true).await;
    assert!(world.all::<Job>().get_opt(&first(&backup)).await.unwrap().is_none());
    world.ends(&remover, 0, &json!({"version": 1, "ok": true}).to_string()).await;
    world.gone::<MilvusBackup>("b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_cannot_go_on_says_what_is_missing_and_the_way_out() {
    let world = World::new("stuck").await;
    let location = json!({
        "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusBackupLocation", "metadata": {"name": "offsite"},
        "spec": {"s3": {"bucket": "copies", "endpoint": "http://other:9000"}, "credentials": {"secretRef": {"name": "k"}}}
    });
    world.create::<MilvusBackupLocation>(location).await;
    let spec = json!({"locationRef": {"name": "offsite"}, "lifecycle": {"deletionPolicy": "Delete"}});
    let backup = world.backup("b", spec).await;
    world.succeeds(&first(&backup)).await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    assert_eq!(condition(&done, "SharedFate").1, "Separate");
    world.delete::<MilvusBackupLocation>("offsite").await;
    world.gone::<MilvusBackupLocation>("offsite").await;
    world.delete::<MilvusBackup>("b").await;
    let stuck = world
        .until("b", "being stuck", |backup: &MilvusBackup| condition(backup, "DataDeleted").1 == "LocationUnavailable")
        .await;
    let message = condition(&stuck, "DataDeleted").2;
    assert!(message.contains("offsite") && message.contains("deletionPolicy: Retain"), "{message}");
    world.merge::<MilvusBackup>("b", json!({"spec": {"lifecycle": {"deletionPolicy": "Retain"}}})).await;
    world.gone::<MilvusBackup>("b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_does_not_hang_and_keeps_the_data() {
    let world = World::new("doomed").await;
    world.grant_from_outside().await;
    let backup = world.backup("b", json!({"lifecycle": {"deletionPolicy": "Delete"}})).await;
    world.succeeds(&first(&backup)).await;
    world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    let namespaces: kube::Api<Namespace> = kube::Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &kube::api::DeleteParams::default()).await.unwrap();
    world.gone::<MilvusBackup>("b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_backup_is_deleted_unless_it_is_held() {
    let world = World::new("expiry").await;
    let backup = world.backup("b", json!({"lifecycle": {"expireAfterSeconds": 60, "hold": true}})).await;
    world.succeeds(&first(&backup)).await;
    let done = world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    let status = done.status.unwrap();
    let (completed, expires) = (status.run.completed_at.unwrap().0, status.expires_at.unwrap().0);
    assert_eq!(expires.duration_since(completed).as_secs(), 60);
    assert!(done.metadata.deletion_timestamp.is_none());
    // Two minutes later, and no longer held.
    let past = Time(completed - jiff::SignedDuration::from_secs(120));
    world.set_status::<MilvusBackup>("b", json!({"status": {"completedAt": past}})).await;
    world.merge::<MilvusBackup>("b", json!({"metadata": {"labels": {"a": "b"}}})).await;
    world
        .until("b", "its new date", |backup: &MilvusBackup| {
            backup.status.as_ref().and_then(|status| status.expires_at.clone()).is_some_and(|time| time.0 < completed)
        })
        .await;
    world.merge::<MilvusBackup>("b", json!({"spec": {"lifecycle": {"hold": false}}})).await;
    world.gone::<MilvusBackup>("b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_pins_the_backup_it_was_given() {
    let world = World::new("restore").await;
    let backup = world.backup("b", json!({})).await;
    let restore = world.restore("r", json!({
        "from": {"backupRef": {"name": "b"}}, "target": {"milvusRef": {"name": "prod"}}, "mapping": {"suffix": "_r"}
    }))
    .await;
    let waiting = world
        .until("r", "waiting", |restore: &MilvusRestore| condition(restore, "SourceAvailable").1 == "NotReady")
        .await;
    assert!(condition(&waiting, "SourceAvailable").2.contains("not complete yet"));
    world.succeeds(&first(&backup)).await;
    let job = format!("mrs-{}-a1", uid8(&restore));
    let made = world.until::<Job>(&job, "being there", |_| true).await;
    let Work::Restore(task) = task_of(&made).work else { panic!("another task") };
    assert_eq!(task.manifest_digest.as_deref(), Some(DIGEST));
    assert_eq!((task.source.bucket.as_str(), task.source.prefix.as_str()), ("prod", "backup"));
    assert_eq!(task.mapping.suffix.as_deref(), Some("_r"));
    assert!(!task.last_attempt);
    let report = json!({
        "version": 1, "ok": true, "reason": "Completed", "message": "restored", "createdCollections": 2,
        "rowCounts": {"expected": 5, "actual": 5}, "plan": {"create": 2}
    });
    world.ends(&job, 0, &report.to_string()).await;
    let done = world.until("r", "Completed", stage::<MilvusRestore>("Completed")).await;
    let status = done.status.clone().unwrap();
    assert_eq!(condition(&done, "Verified").1, "RowCountsVerified");
    assert_eq!((status.created_collections, status.row_counts.unwrap().actual), (Some(2), 5));
    assert_eq!(status.pinned_artifact.unwrap().manifest_digest.as_deref(), Some(DIGEST));
    world.told("r", "RestoreCompleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_into_another_milvus_than_the_one_confirmed_touches_nothing() {
    let world = World::new("confirm").await;
    world
        .restore(
            "r",
            json!({
                "from": {"artifact": {"name": "x"}}, "target": {"milvusRef": {"name": "prod"}},
                "onConflict": "Replace", "confirmTargetUID": "another"
            }),
        )
        .await;
    let refused = world.until("r", "its end", stage::<MilvusRestore>("TargetUIDMismatch")).await;
    assert_eq!(condition(&refused, "TargetReady").1, "TargetUIDMismatch");
    assert!(world.all::<Job>().list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_tried_and_a_bad_one_holds_its_backups_back() {
    let world = World::new("location").await;
    let location = world
        .create::<MilvusBackupLocation>(json!({
            "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusBackupLocation", "metadata": {"name": "l"},
            "spec": {
                "s3": {"bucket": "copies", "endpoint": "http://other:9000"}, "default": true,
                "credentials": {"secretRef": {"name": "k"}}, "validation": {"periodSeconds": 30}
            }
        }))
        .await;
    let probe = format!("mbl-{}-p1", uid8(&location));
    let report = json!({"version": 1, "reason": "AccessDenied", "message": "bucket copies refused to list"});
    world.ends(&probe, 20, &report.to_string()).await;
    let bad = world
        .until("l", "AccessDenied", |location: &MilvusBackupLocation| condition(location, "Ready").1 == "AccessDenied")
        .await;
    assert_eq!(condition(&bad, "CredentialsValid").0, "False");
    assert_eq!(condition(&bad, "Stalled").0, "True");
    world.told("l", "LocationUnavailable").await;
    let backup = world.backup("b", json!({})).await;
    let waiting = world
        .until("b", "waiting", |backup: &MilvusBackup| condition(backup, "LocationAvailable").1 == "NotReady")
        .await;
    assert!(condition(&waiting, "LocationAvailable").2.contains("bucket copies refused to list"));
    // A changed spec is tried at once.
    world.merge::<MilvusBackupLocation>("l", json!({"spec": {"s3": {"prefix": "here"}}})).await;
    let probe = format!("mbl-{}-p2", uid8(&location));
    world
        .ends(&probe, 0, &json!({"version": 1, "ok": true, "reason": "Completed", "conditionalPut": true}).to_string())
        .await;
    let good =
        world.until("l", "Ready", |location: &MilvusBackupLocation| condition(location, "Ready").0 == "True").await;
    assert_eq!(good.status.unwrap().capabilities.unwrap().conditional_put, Some(true));
    world.told("l", "LocationRecovered").await;
    let job = world.until::<Job>(&first(&backup), "being there", |_| true).await;
    let Work::Backup(task) = task_of(&job).work else { panic!("another task") };
    assert_eq!((task.destination.bucket.as_str(), task.destination.prefix.as_str()), ("copies", "here"));
    let seen = world
        .until("b", "its location", |backup: &MilvusBackup| {
            backup.status.as_ref().and_then(|status| status.run.location_name.as_deref()) == Some("l")
        })
        .await;
    assert_eq!(condition(&seen, "SharedFate").1, "Separate");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pod_is_admitted_by_the_restricted_profile() {
    let world = World::new("restricted").await;
    let backup = world.backup("b", json!({})).await;
    // The namespace enforces it: a pod that violates it would never be made.
    let pod: Pod = world.pod(&first(&backup)).await;
    let spec = pod.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    let mounts = spec.containers[0].volume_mounts.clone().unwrap_or_default();
    assert!(!mounts.iter().any(|mount| mount.mount_path.contains("serviceaccount")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_leads_and_the_other_takes_over() {
    let world = World::empty("leader").await;
    world.milvus("prod", "Healthy").await;
    let Operator { stop, ended } = world.operator(Some("one")).await;
    let led_by = |name: &'static str| {
        move |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(name)
    };
    world.until::<Lease>("milvus-backup-operator", "being led by one", led_by("one")).await;
    let other = world.operator(Some("two")).await;
    let backup = world.backup("b", json!({})).await;
    world.until::<Job>(&first(&backup), "being there", |_| true).await;
    assert!(led_by("one")(&world.all::<Lease>().get("milvus-backup-operator").await.unwrap()));
    stop.cancel();
    ended.await.unwrap().unwrap();
    world.until::<Lease>("milvus-backup-operator", "being led by two", led_by("two")).await;
    world.succeeds(&first(&backup)).await;
    world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    other.stop.cancel();
    other.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_is_taken_ends() {
    let world = World::empty("ousted").await;
    let Operator { ended, .. } = world.operator(Some("one")).await;
    let led = |lease: &Lease| lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.is_some());
    world.until::<Lease>("milvus-backup-operator", "being led", led).await;
    let now = MicroTime(jiff::Timestamp::now());
    let usurper = json!({"spec": {"holderIdentity": "usurper", "renewTime": now, "leaseDurationSeconds": 60}});
    world.merge::<Lease>("milvus-backup-operator", usurper).await;
    let error = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("usurper"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_uses_the_rights_of_the_tables_and_a_status_is_written_only_when_it_changes() {
    let world = World::new("rights").await;
    let backup = world.backup("b", json!({"lifecycle": {"deletionPolicy": "Delete"}})).await;
    world.runs(&first(&backup)).await;
    let running = world
        .until("b", "having started", |backup: &MilvusBackup| {
            backup.status.as_ref().is_some_and(|status| status.run.started_at.is_some())
        })
        .await;
    // Some passes later nothing has been written.
    let right =
        |group: &str, resource: &str, verb| Right { group: group.to_owned(), resource: resource.to_owned(), verb };
    let looks = || world.guard.used().get(&right("", "pods", "list")).copied().unwrap_or(0);
    let before = looks();
    let passes = async {
        while looks() < before + 3 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(30), passes).await.expect("a running object is looked at");
    let later = world.all::<MilvusBackup>().get("b").await.unwrap();
    assert_eq!(running.resource_version(), later.resource_version());
    world.succeeds(&first(&backup)).await;
    world.until("b", "Completed", stage::<MilvusBackup>("Completed")).await;
    let lease = world.leases().await.pop().and_then(|lease| lease.metadata.name);
    if let Some(lease) = lease {
        world.gone::<Lease>(&lease).await;
    }
    let used = world.guard.used();
    for needed in [
        right("backup.milvus.io", "milvusbackups", "get"),
        right("backup.milvus.io", "milvusbackups", "patch"),
        right("backup.milvus.io", "milvusbackups/status", "patch"),
        right("milvus.io", "milvuses", "get"),
        right("", "services", "get"),
        right("", "pods", "list"),
        right("batch", "jobs", "patch"),
        right("coordination.k8s.io", "leases", "create"),
        right("coordination.k8s.io", "leases", "delete"),
        right("events.k8s.io", "events", "create"),
    ] {
        assert!(used.contains_key(&needed), "{needed:?} was not used");
    }
    assert!(used.keys().all(Right::granted));
}
