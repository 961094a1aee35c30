use clap::Parser as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::S3SecretRef,
    controller::mounts::StorePlace,
    engine::task::{DeleteTask, ProbeTask, Run, TASK_VERSION},
};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

fn config() -> Config {
    Flags::parse_from(["controller", "--runner-image", "registry.test/runner:1"]).config
}

fn owner() -> OwnerReference {
    OwnerReference {
        api_version: api::API_VERSION.to_owned(),
        kind: "MilvusBackup".to_owned(),
        name: "before-upgrade".to_owned(),
        uid: "0a1b2c3d-4e5f-6789-abcd-ef0123456789".to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

fn built(wishes: &api::Job, run_seconds: Option<i64>) -> Value {
    let mut mounts = Mounts::default();
    let location = mounts.store(&StorePlace {
        endpoint: Some("http://minio:9000".to_owned()),
        region: None,
        bucket: "copies".to_owned(),
        prefix: "p".to_owned(),
        path_style: true,
        keys: Some(S3SecretRef::named("keys")),
        ca: None,
    });
    mounts.config_map("prod", "user.yaml");
    let run = Run { uid: owner().uid, namespace: "search".to_owned(), name: "before-upgrade".to_owned(), attempt: 2 };
    let work = Work::Probe(ProbeTask { location, write: true });
    let task = Task { version: TASK_VERSION, run, work };
    let config = config();
    let shape = Shape {
        name: job_name(JobKind::Backup, &owner().uid, 2),
        namespace: "search",
        owner: owner(),
        owned: true,
        task: &task,
        mounts: &mounts,
        wishes,
        service_account: Some("milvus"),
        location: Some("offsite"),
        lease: Some("milvus-backup-1"),
        run_seconds,
        config: &config,
    };
    serde_json::to_value(job(&shape).unwrap()).unwrap()
}

#[test]
fn the_job_of_an_attempt() {
    insta::assert_json_snapshot!(built(&api::Job::default(), Some(7200)));
}

#[test]
fn wishes_come_before_defaults_and_never_before_what_keeps_the_pod_apart() {
    let wishes: api::Job = serde_json::from_value(json!({
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "backup", "operator": "Exists"}],
        "priorityClassName": "low",
        "serviceAccountName": "mine",
        "podLabels": {"team": "search", "backup.milvus.io/run": "stolen"},
        "podAnnotations": {"note": "x"},
        "imagePullSecrets": [{"name": "registry"}],
        "ttlSecondsAfterFinished": 0
    }))
    .unwrap();
    let job = built(&wishes, None);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"], json!({"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}}));
    assert_eq!(pod["nodeSelector"], json!({"disk": "fast"}));
    assert_eq!(pod["tolerations"][0]["key"], "backup");
    assert_eq!(pod["priorityClassName"], "low");
    assert_eq!(pod["serviceAccountName"], "mine");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["team"], "search");
    assert_eq!(labels["backup.milvus.io/run"], owner().uid);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], LEAST_TTL, "a report has to be read before the Job goes");
    assert_eq!(job["spec"].get("activeDeadlineSeconds"), None);
}

#[test]
fn the_task_comes_back_out_of_the_job() {
    let job: Job = serde_json::from_value(built(&api::Job::default(), None)).unwrap();
    let task = task_of(&job).unwrap();
    assert_eq!((task.version, task.run.attempt), (TASK_VERSION, 2));
    assert_eq!(job.metadata.annotations.unwrap()[LOCATION_ANNOTATION], "offsite");
}

#[test]
fn names_are_short_and_give_their_number_back() {
    let uid = owner().uid;
    for (kind, name) in [
        (JobKind::Backup, "mbk-0a1b2c3d-a12"),
        (JobKind::Restore, "mrs-0a1b2c3d-a12"),
        (JobKind::Delete, "mbk-0a1b2c3d-d12"),
        (JobKind::Probe, "mbl-0a1b2c3d-p12"),
    ] {
        assert_eq!(job_name(kind, &uid, 12), name);
        assert_eq!(number_of(name), Some(12));
    }
    assert_eq!(number_of("something"), None);
}

#[test]
fn artifact_names_do_not_collide_and_fit() {
    let of = |namespace: &str, name: &str, uid: &str| artifact_name(namespace, name, uid);
    assert_eq!(of("a", "b-c", "00000001-x"), "a_b_c_00000001");
    assert_ne!(of("a", "b-c", "00000001-x"), of("a", "b.c", "00000002-x"));
    assert_eq!(of("1a", "b", "00000001"), "_1a_b_00000001");
    let long = of(&"n".repeat(63), &"m".repeat(253), "00000001");
    assert_eq!(long.len(), 128);
    assert!(long.ends_with("_00000001"));
}

#[test]
fn a_task_too_long_for_an_environment_variable_is_refused_with_the_way_out() {
    let run = Run { uid: owner().uid, namespace: "search".to_owned(), name: "b".to_owned(), attempt: 1 };
    let location = Mounts::default().store(&StorePlace {
        endpoint: None,
        region: None,
        bucket: "b".repeat(200_000),
        prefix: String::new(),
        path_style: false,
        keys: None,
        ca: None,
    });
    let task = Task { version: 1, run, work: Work::Delete(DeleteTask { artifact: "a".to_owned(), location }) };
    let (config, mounts, wishes) = (config(), Mounts::default(), api::Job::default());
    let shape = Shape {
        name: "n".to_owned(),
        namespace: "search",
        owner: owner(),
        owned: true,
        task: &task,
        mounts: &mounts,
        wishes: &wishes,
        service_account: None,
        location: None,
        lease: None,
        run_seconds: None,
        config: &config,
    };
    assert!(job(&shape).unwrap_err().to_string().contains("use patterns with *"));
}
