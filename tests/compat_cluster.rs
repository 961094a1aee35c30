//! The REST API in a cluster against a real API server: its objects, its watches, its rights.
//!
//! The server acts as a ServiceAccount with exactly the rights of its own table; the controller works beside it, and the test
//! plays the kubelet.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "clippy.toml exempts test functions, not their helpers")]

#[allow(dead_code, reason = "shared with the tests of the controller, which need more of it")]
mod controller_world;

use std::sync::Arc;
use std::time::Duration;

use controller_world::{World, kube_config, stage, uid8};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use milvus_backup_operator::api::{DeletionPolicy, MilvusBackup, MilvusRestore};
use milvus_backup_operator::compat::wire::{CreateRequest, RestoreRequest, code, state};
use milvus_backup_operator::compat::{Limits, Service};
use milvus_backup_operator::compat_cluster::{ClusterService, Scope, names::object_name, rights};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const ACCOUNT: &str = "compat-api";

/// A server for one Milvus of the world, with the rights of its table and no others.
async fn server(world: &World, milvus: &str) -> Arc<ClusterService> {
    let rules: Vec<Value> = rights::RBAC
        .iter()
        .map(|(group, resources, verbs)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs}))
        .collect();
    let namespace = &world.namespace;
    if world.all::<Role>().get_opt(ACCOUNT).await.unwrap().is_none() {
        let role: Role = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}, "rules": rules})).unwrap();
        world.all::<Role>().create(&PostParams::default(), &role).await.unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]
        }))
        .unwrap();
        world.all::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
    }
    let mut config = kube_config().await;
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{ACCOUNT}"));
    let client = Client::try_from(config).unwrap();
    let scope = Scope { namespace: namespace.clone(), milvus: milvus.to_owned(), ..Scope::default() };
    let api = Arc::new(ClusterService::new(client, scope, Limits::default()));
    // The API server knows of a new role only after a moment.
    let granted = async { while api.list().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), granted).await.expect("the role grants its rights");
    api
}

fn backup_of(name: &str, asynchronous: bool) -> CreateRequest {
    CreateRequest { backup_name: name.to_owned(), asynchronous, ..CreateRequest::default() }
}

fn first(backup: &MilvusBackup) -> String {
    format!("mbk-{}-a1", uid8(backup))
}

/// The object of a backup, once it is there.
async fn object(world: &World, name: &str) -> MilvusBackup {
    world.until(&object_name("prod", name), "being there", |_: &MilvusBackup| true).await
}

/// A backup that was made over the API and is done.
async fn finished(world: &World, api: &ClusterService, name: &str) -> MilvusBackup {
    api.create(&backup_of(name, true), &format!("req-{name}")).await.unwrap();
    let made = object(world, name).await;
    world.succeeds(&first(&made)).await;
    world.until(&made.name_any(), "Completed", stage::<MilvusBackup>("Completed")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_over_the_api_is_an_object_and_both_tell_the_same() {
    let world = World::new("api-create").await;
    let api = server(&world, "prod").await;
    assert_eq!(api.create(&backup_of("Nightly_1", true), "req-1").await.unwrap(), None);
    let begun = api.get_backup("Nightly_1", "", "").await.unwrap();
    assert!(begun.state_code < state::SUCCESS && begun.id == "req-1", "{begun:?}");
    let made = object(&world, "Nightly_1").await;
    world.runs(&first(&made)).await;
    let started = |backup: &MilvusBackup| backup.status.as_ref().is_some_and(|status| status.run.started_at.is_some());
    world.until(&made.name_any(), "having started", started).await;
    assert_eq!(api.get_backup("", "req-1", "").await.unwrap().state_code, state::EXECUTING);
    assert!(api.list().await.unwrap().is_empty(), "only finished backups are listed");
    world.succeeds(&first(&made)).await;
    world.until(&made.name_any(), "Completed", stage::<MilvusBackup>("Completed")).await;
    let done = api.get_backup("Nightly_1", "", "").await.unwrap();
    assert_eq!((done.state_code, done.progress, done.size), (state::SUCCESS, 100, 2048));
    let listed = api.list().await.unwrap();
    assert_eq!(listed.iter().map(|one| (one.name.as_str(), one.size)).collect::<Vec<_>>(), [("Nightly_1", 2048)]);
    let taken = api.create(&backup_of("Nightly_1", true), "req-2").await.unwrap_err();
    assert!(taken.code() == code::FAIL && taken.message().contains("exists already"), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_answered_when_the_object_has_ended() {
    let world = World::new("api-sync").await;
    let api = server(&world, "prod").await;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.create(&backup_of("good", false), "g").await }
    });
    let made = object(&world, "good").await;
    world.succeeds(&first(&made)).await;
    assert_eq!(waiting.await.unwrap().unwrap().unwrap().state_code, state::SUCCESS);

    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.create(&backup_of("bad", false), "b").await }
    });
    let made = object(&world, "bad").await;
    let report = json!({"version": 1, "ok": false, "class": "Data", "reason": "Failed", "message": "object a is gone"});
    world.ends(&first(&made), 30, &report.to_string()).await;
    let said = waiting.await.unwrap().unwrap_err();
    assert!(said.message().contains("object a is gone"), "{said}");
    assert_eq!(api.get_backup("bad", "", "").await.unwrap().error_message, said.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_ends_with_its_server_and_the_backup_goes_on() {
    let world = World::new("api-stop").await;
    let api = server(&world, "prod").await;
    let stop = CancellationToken::new();
    let tended = tokio::spawn({
        let (api, stop) = (api.clone(), stop.clone());
        async move { api.tend(stop).await }
    });
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.create(&backup_of("b", false), "r").await }
    });
    let made = object(&world, "b").await;
    stop.cancel();
    tended.await.unwrap();
    assert!(waiting.await.unwrap().unwrap_err().message().contains("goes on in the cluster"));
    world.succeeds(&first(&made)).await;
    world.until(&made.name_any(), "Completed", stage::<MilvusBackup>("Completed")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_an_object_and_is_stopped_by_its_id() {
    let world = World::new("api-restore").await;
    let api = server(&world, "prod").await;
    let missing = RestoreRequest { backup_name: "none".into(), ..RestoreRequest::default() };
    assert_eq!(api.restore(&missing).await.unwrap_err().code(), code::PARAMETER);
    let backup = finished(&world, &api, "b").await;
    let request = RestoreRequest {
        id: "restore_1".into(),
        backup_name: "b".into(),
        asynchronous: true,
        collection_suffix: "_s".into(),
        drop_exist_collection: true,
        ..RestoreRequest::default()
    };
    assert_eq!(api.restore(&request).await.unwrap().id, "restore_1");
    let made: MilvusRestore = world.until(&object_name("prod", "restore_1"), "being there", |_| true).await;
    assert_eq!(made.spec.from.backup_ref.as_ref().unwrap().name, backup.name_any());
    let uid = world.milvuses().get("prod").await.unwrap().uid();
    assert_eq!((made.spec.mapping.suffix.as_deref(), &made.spec.confirm_target_uid), (Some("_s"), &uid));
    assert!(api.restore(&request).await.unwrap_err().message().contains("exists already"));
    let in_use = api.delete("b").await.unwrap_err();
    assert!(in_use.message().contains("task restore_1 works with backup b"), "{in_use}");

    let job = format!("mrs-{}-a1", uid8(&made));
    world.runs(&job).await;
    let stopping = tokio::spawn({
        let api = api.clone();
        async move { api.stop_task("restore_1").await }
    });
    world.until(&made.name_any(), "being cancelled", |restore: &MilvusRestore| restore.spec.cancel).await;
    assert_eq!(stopping.await.unwrap().unwrap().state_code, state::FAIL);
    world.until(&made.name_any(), "Cancelled", stage::<MilvusRestore>("Cancelled")).await;
    assert_eq!(api.get_restore("restore_1").await.unwrap().state_code, state::FAIL);
    assert!(api.stop_task("restore_1").await.unwrap_err().message().contains("has ended already"));
    assert!(api.get_restore("restore_2").await.unwrap_err().message().contains("not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_backup_takes_its_data_along() {
    let world = World::new("api-delete").await;
    let api = server(&world, "prod").await;
    api.delete("never_there").await.unwrap();
    let made = finished(&world, &api, "b").await;
    assert_eq!(made.spec.lifecycle.deletion_policy, None);
    let deleting = tokio::spawn({
        let api = api.clone();
        async move { api.delete("b").await }
    });
    let remover = format!("mbk-{}-d1", uid8(&made));
    world.until::<Job>(&remover, "being there", |_| true).await;
    let is_going = |backup: &MilvusBackup| backup.metadata.deletion_timestamp.is_some();
    let going = world.until(&made.name_any(), "going", is_going).await;
    assert_eq!(going.spec.lifecycle.deletion_policy, Some(DeletionPolicy::Delete));
    assert!(!deleting.is_finished(), "the data is there yet");
    world.succeeds(&remover).await;
    deleting.await.unwrap().unwrap();
    assert!(api.get_backup("b", "", "").await.unwrap_err().message().contains("backup b not found"));
    api.create(&backup_of("b", true), "again").await.expect("the name is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_kubectl_is_seen_and_that_of_another_milvus_is_not() {
    let world = World::new("api-kubectl").await;
    let api = server(&world, "prod").await;
    world.milvus("other", "Healthy").await;
    let made = world.backup("by-hand", json!({})).await;
    world.succeeds(&first(&made)).await;
    world.until("by-hand", "Completed", stage::<MilvusBackup>("Completed")).await;
    let listed = api.list().await.unwrap();
    let [backup] = listed.as_slice() else { panic!("{listed:?}") };
    assert!(backup.name.ends_with(&format!("_by_hand_{}", uid8(&made))), "{backup:?}");
    for name in ["by-hand", backup.name.as_str()] {
        assert_eq!(api.get_backup(name, "", "").await.unwrap().state_code, state::SUCCESS, "{name}");
    }
    let request = RestoreRequest { backup_name: backup.name.clone(), asynchronous: true, ..RestoreRequest::default() };
    api.restore(&request).await.unwrap();
    let restores = world.all::<MilvusRestore>().list(&ListParams::default()).await.unwrap();
    assert_eq!(restores.items[0].spec.from.backup_ref.as_ref().unwrap().name, "by-hand");
    let elsewhere = server(&world, "other").await;
    assert!(elsewhere.list().await.unwrap().is_empty());
    assert!(elsewhere.get_backup("by-hand", "", "").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_whether_all_is_there() {
    let world = World::empty("api-check").await;
    let api = server(&world, "prod").await;
    let said = api.check().await.unwrap_err();
    assert!(said.message().contains("there is no Milvus"), "{said}");
    world.milvus("prod", "Pending").await;
    assert!(api.check().await.unwrap().contains("Warning: Milvus is Pending"));
    world.milvus("prod", "Healthy").await;
    assert!(api.check().await.unwrap().ends_with("Success!\n"));
}
