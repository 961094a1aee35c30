use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::RunStatus;

const NAMESPACE: &str = "search";

fn resource(change: impl FnOnce(&mut Value)) -> MilvusSeen {
    let mut object = json!({
        "apiVersion": "milvus.io/v1beta1", "kind": "Milvus",
        "metadata": {"name": "prod", "namespace": NAMESPACE, "uid": "uid-of-prod", "generation": 1},
        "spec": {
            "mode": "standalone",
            "dependencies": {"storage": {
                "type": "MinIO", "external": true, "endpoint": "minio:9000", "secretRef": "prod-s3"
            }}
        },
        "status": {"status": "Healthy", "observedGeneration": 1}
    });
    change(&mut object);
    let service = serde_json::from_value(json!({
        "metadata": {"name": "prod-milvus", "ownerReferences": [{
            "apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "name": "prod", "uid": "uid-of-prod"
        }]},
        "spec": {"ports": [{"name": "milvus", "port": 19530}]}
    }));
    MilvusSeen::Resource { object: Box::new(object), service: Some(Box::new(service.unwrap())) }
}

fn named(seen: MilvusSeen) -> MilvusFetched {
    MilvusFetched { name: "prod".to_owned(), seen, overrides: None }
}

fn location(spec: Value, status: Value) -> LocationFetched {
    let found: MilvusBackupLocation = serde_json::from_value(json!({
        "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusBackupLocation",
        "metadata": {"name": "offsite", "namespace": NAMESPACE, "generation": 1}, "spec": spec, "status": status
    }))
    .unwrap();
    LocationFetched::Named { name: "offsite".to_owned(), found: Some(Box::new(found)) }
}

fn offsite() -> LocationFetched {
    location(
        json!({"s3": {"bucket": "copies", "prefix": "milvus/", "endpoint": "https://s3.example:9000"},
               "credentials": {"secretRef": {"name": "offsite-keys"}}}),
        json!({}),
    )
}

fn sources(milvus: MilvusSeen, location: LocationFetched) -> Sources {
    Sources { milvus: named(milvus), location, backup: None }
}

fn a_backup(spec: Value) -> MilvusBackup {
    let mut spec = spec;
    spec["source"] = json!({"milvusRef": {"name": "prod"}});
    serde_json::from_value(json!({
        "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusBackup",
        "metadata": {"name": "before-upgrade", "namespace": NAMESPACE}, "spec": spec
    }))
    .unwrap()
}

const UID: &str = "0a1b2c3d-4e5f-6789-abcd-ef0123456789";

fn judge(milvus: MilvusSeen, location: LocationFetched) -> Result<ValidBackup, Obstacle> {
    backup(&a_backup(json!({})), NAMESPACE, UID, &sources(milvus, location))
}

fn in_the_way(milvus: MilvusSeen, location: LocationFetched) -> (&'static str, &'static str, bool) {
    let obstacle = judge(milvus, location).unwrap_err();
    (obstacle.condition, obstacle.reason, obstacle.last_word)
}

#[test]
fn without_a_location_a_backup_goes_into_milvus_own_bucket_and_shares_its_fate() {
    let valid = judge(resource(|_| {}), LocationFetched::Default(None)).unwrap();
    assert_eq!(valid.destination.place.uri(&valid.artifact.name), valid.artifact.uri);
    assert_eq!(valid.artifact.uri, "s3://prod/backup/search_before_upgrade_0a1b2c3d");
    assert_eq!(valid.destination.place.keys.as_ref().unwrap().name, "prod-s3");
    assert_eq!(valid.destination.location, None);
    assert_eq!(valid.fate, SharedFate::SameBucket);
}

#[test]
fn a_location_elsewhere_is_separate() {
    let valid = judge(resource(|_| {}), offsite()).unwrap();
    assert_eq!(valid.artifact.uri, "s3://copies/milvus/search_before_upgrade_0a1b2c3d");
    assert_eq!(valid.fate, SharedFate::Separate);
    assert_eq!(valid.destination.location.as_deref(), Some("offsite"));
}

#[test]
fn a_location_in_milvus_own_bucket_shares_its_fate_as_well() {
    let same = location(json!({"s3": {"bucket": "prod", "prefix": "x", "endpoint": "http://minio:9000/"}}), json!({}));
    assert_eq!(judge(resource(|_| {}), same).unwrap().fate, SharedFate::SameBucket);
}

#[test]
fn a_place_inside_milvus_data_is_refused_for_good() {
    let inside = location(
        json!({"s3": {"bucket": "prod", "prefix": "files/copies", "endpoint": "http://minio:9000"}}),
        json!({}),
    );
    assert_eq!(in_the_way(resource(|_| {}), inside), ("LocationAvailable", "Invalid", true));
}

#[test]
fn what_is_missing_is_named_and_waited_for() {
    assert_eq!(in_the_way(MilvusSeen::Absent, offsite()), ("SourceResolved", "NotFound", false));
    assert_eq!(in_the_way(MilvusSeen::NoSuchKind, offsite()), ("SourceResolved", "NotFound", false));
    let absent = LocationFetched::Named { name: "offsite".to_owned(), found: None };
    assert_eq!(in_the_way(resource(|_| {}), absent.clone()), ("LocationAvailable", "NotFound", false));
    let message = judge(resource(|_| {}), absent).unwrap_err().message;
    assert!(message.contains("search/offsite"), "{message}");
    let without_service = match resource(|_| {}) {
        MilvusSeen::Resource { object, .. } => MilvusSeen::Resource { object, service: None },
        other => other,
    };
    let message = judge(without_service, offsite()).unwrap_err().message;
    assert!(message.contains("prod-milvus"), "{message}");
}

#[test]
fn a_milvus_that_cannot_take_a_run_is_waited_for() {
    let ill = resource(|object| object["status"]["status"] = json!("Unhealthy"));
    assert_eq!(in_the_way(ill, offsite()), ("Admitted", "SourceUnhealthy", false));
    let changing = resource(|object| object["metadata"]["generation"] = json!(2));
    assert_eq!(in_the_way(changing, offsite()), ("Admitted", "SourceUpdating", false));
    let leaving = resource(|object| object["metadata"]["deletionTimestamp"] = json!("2026-11-01T00:00:00Z"));
    assert_eq!(in_the_way(leaving, offsite()), ("SourceResolved", "Deleting", false));
}

#[test]
fn a_login_that_is_asked_for_must_be_named() {
    let locked = || {
        resource(|object| object["spec"]["config"] = json!({"common": {"security": {"authorizationEnabled": true}}}))
    };
    assert_eq!(in_the_way(locked(), offsite()), ("SourceResolved", "AuthRequired", false));
    let with = a_backup(json!({"auth": {"passwordSecretRef": {"name": "root"}}}));
    assert!(backup(&with, NAMESPACE, UID, &sources(locked(), offsite())).is_ok());
}

#[test]
fn a_store_that_is_not_built_yet_is_refused_for_good() {
    let azure = resource(|object| object["spec"]["dependencies"]["storage"]["type"] = json!("Azure"));
    assert_eq!(in_the_way(azure, offsite()), ("SourceResolved", "Unsupported", true));
}

#[rstest]
#[case("True", 1, true)]
#[case("True", 0, false)]
#[case("False", 1, false)]
fn a_location_whose_last_try_failed_holds_its_backups_back(
    #[case] stalled: &str,
    #[case] observed: i64,
    #[case] waits: bool,
) {
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": "AccessDenied", "message": "no entry",
               "lastTransitionTime": "2026-11-01T00:00:00Z"})
    };
    let status = json!({"observedGeneration": observed, "conditions": [
        condition("Ready", "False"), condition("Stalled", stalled)
    ]});
    let tried = location(json!({"s3": {"bucket": "copies"}}), status);
    match judge(resource(|_| {}), tried) {
        Err(obstacle) => {
            assert!(waits);
            assert_eq!(obstacle.reason, "NotReady");
            assert!(obstacle.message.contains("no entry"));
        }
        Ok(_) => assert!(!waits),
    }
}

#[test]
fn two_cloud_identities_do_not_fit_into_one_pod() {
    let iam = || {
        resource(|object| {
            object["spec"]["config"] = json!({"minio": {"useIAM": true, "cloudProvider": "aws"}});
            object["spec"]["components"] = json!({"serviceAccountName": "milvus"});
        })
    };
    let identity = |name: &str| {
        let credentials = json!({"workloadIdentity": {"serviceAccountName": name}});
        location(json!({"s3": {"bucket": "copies"}, "credentials": credentials}), json!({}))
    };
    assert_eq!(judge(iam(), identity("milvus")).unwrap().service_account.as_deref(), Some("milvus"));
    assert_eq!(in_the_way(iam(), identity("other")), ("Admitted", "Invalid", false));
    let wished = a_backup(json!({"job": {"serviceAccountName": "both"}}));
    let valid = backup(&wished, NAMESPACE, UID, &sources(iam(), identity("other"))).unwrap();
    assert_eq!(valid.service_account.as_deref(), Some("both"));
}

fn a_restore(spec: Value) -> MilvusRestore {
    let mut spec = spec;
    if spec.get("target").is_none() {
        spec["target"] = json!({"milvusRef": {"name": "prod"}});
    }
    serde_json::from_value(json!({
        "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusRestore",
        "metadata": {"name": "r", "namespace": NAMESPACE}, "spec": spec
    }))
    .unwrap()
}

fn of_backup(succeeded: &str, ready: &str, location: LocationFetched, milvus: Option<MilvusSeen>) -> Sources {
    let mut found = a_backup(json!({}));
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": "Some", "message": "said",
               "lastTransitionTime": "2026-11-01T00:00:00Z"})
    };
    let status = json!({
        "conditions": [condition("Succeeded", succeeded), condition("Ready", ready)],
        "artifact": {"uri": "s3://prod/backup/old/name_1", "name": "name_1", "manifestDigest": "dd"}
    });
    found.status = serde_json::from_value(status).unwrap();
    let backup = BackupFetched { name: "b".to_owned(), found: Some(Box::new(found)), milvus: milvus.map(named) };
    Sources { milvus: named(resource(|_| {})), location, backup: Some(backup) }
}

fn from_backup() -> MilvusRestore {
    a_restore(json!({"from": {"backupRef": {"name": "b"}}}))
}

#[test]
fn a_restorable_backup_is_pinned_and_read_where_it_was_written() {
    let sources = of_backup("True", "True", LocationFetched::OfMilvus, Some(resource(|_| {})));
    let valid = restore(&from_backup(), NAMESPACE, None, &sources).unwrap();
    assert_eq!(valid.artifact.manifest_digest.as_deref(), Some("dd"));
    assert_eq!((valid.source.place.bucket.as_str(), valid.source.place.prefix.as_str()), ("prod", "backup/old"));
    let pinned = Artifact { manifest_digest: Some("first".to_owned()), ..valid.artifact };
    let again = restore(&from_backup(), NAMESPACE, Some(&pinned), &sources).unwrap();
    assert_eq!(again.artifact.manifest_digest.as_deref(), Some("first"), "what was pinned stays");
}

#[rstest]
#[case("Unknown", "False", "NotReady", false)]
#[case("False", "False", "Failed", true)]
fn a_backup_that_cannot_be_restored_is_waited_for_only_while_it_runs(
    #[case] succeeded: &str,
    #[case] ready: &str,
    #[case] reason: &str,
    #[case] last_word: bool,
) {
    let sources = of_backup(succeeded, ready, LocationFetched::OfMilvus, Some(resource(|_| {})));
    let obstacle = restore(&from_backup(), NAMESPACE, None, &sources).unwrap_err();
    assert_eq!((obstacle.condition, obstacle.reason, obstacle.last_word), ("SourceAvailable", reason, last_word));
}

#[test]
fn a_partial_backup_can_be_restored() {
    let sources = of_backup("False", "True", LocationFetched::OfMilvus, Some(resource(|_| {})));
    assert!(restore(&from_backup(), NAMESPACE, None, &sources).is_ok());
}

#[test]
fn a_backup_in_the_bucket_of_a_milvus_that_is_gone_says_what_to_do() {
    let sources = of_backup("True", "True", LocationFetched::OfMilvus, Some(MilvusSeen::Absent));
    let obstacle = restore(&from_backup(), NAMESPACE, None, &sources).unwrap_err();
    assert_eq!(obstacle.condition, "SourceAvailable");
    assert!(obstacle.message.contains("from.artifact"), "{}", obstacle.message);
}

#[test]
fn the_health_of_the_milvus_a_backup_was_made_of_does_not_matter() {
    let ill = resource(|object| object["status"]["status"] = json!("Unhealthy"));
    let sources = of_backup("True", "True", LocationFetched::OfMilvus, Some(ill));
    assert!(restore(&from_backup(), NAMESPACE, None, &sources).is_ok());
}

#[test]
fn an_artifact_without_a_location_is_looked_for_in_the_targets_own_bucket() {
    let spec = json!({"from": {"artifact": {"name": "some"}}});
    let valid = restore(&a_restore(spec), NAMESPACE, None, &sources(resource(|_| {}), LocationFetched::Default(None)));
    assert_eq!(valid.unwrap().artifact.uri, "s3://prod/backup/some");
}

#[rstest]
#[case("uid-of-prod", true)]
#[case("another", false)]
fn replace_needs_the_uid_of_the_target(#[case] given: &str, #[case] passes: bool) {
    let spec = json!({
        "from": {"artifact": {"name": "some"}}, "onConflict": "Replace", "confirmTargetUID": given
    });
    let judged = restore(&a_restore(spec), NAMESPACE, None, &sources(resource(|_| {}), offsite()));
    match judged {
        Ok(_) => assert!(passes),
        Err(obstacle) => {
            assert!(!passes);
            assert_eq!((obstacle.reason, obstacle.last_word), ("TargetUIDMismatch", true));
            assert!(obstacle.message.contains("uid-of-prod"), "{}", obstacle.message);
        }
    }
}

#[test]
fn replace_into_a_connection_is_confirmed_by_its_address() {
    let connection =
        json!({"grpc": {"host": "Milvus.example", "port": 19530}, "storage": {"bucket": "b", "rootPath": "files"}});
    let seen = MilvusSeen::Written(Box::new(serde_json::from_value(connection.clone()).unwrap()));
    let spec = json!({
        "from": {"artifact": {"name": "some"}}, "target": {"connection": connection}, "onConflict": "Replace",
        "confirmTargetUID": "milvus.example:19530"
    });
    assert!(restore(&a_restore(spec), NAMESPACE, None, &sources(seen, offsite())).is_ok());
}

#[test]
fn a_deletion_finds_its_bucket_even_when_the_milvus_is_gone() {
    let valid = judge(resource(|_| {}), LocationFetched::Default(None)).unwrap();
    let record = Record {
        run: RunStatus { resolved: valid.milvus.to_status(), ..RunStatus::default() },
        artifact: Some(valid.artifact.clone()),
        ..Record::default()
    };
    let of = |seen| deletion(&record, NAMESPACE, &LocationFetched::OfMilvus, Some(&named(seen))).unwrap().place;
    let (there, gone) = (of(resource(|_| {})), of(MilvusSeen::Absent));
    assert_eq!(there, gone);
    assert_eq!((gone.bucket.as_str(), gone.prefix.as_str()), ("prod", "backup"));
}

#[test]
fn a_deletion_without_its_location_names_it_and_the_way_out() {
    let absent = LocationFetched::Named { name: "offsite".to_owned(), found: None };
    let obstacle = deletion(&Record::default(), NAMESPACE, &absent, None).unwrap_err();
    assert_eq!((obstacle.condition, obstacle.reason), ("DataDeleted", "LocationUnavailable"));
    assert!(obstacle.message.contains("search/offsite") && obstacle.message.contains("Retain"));
}

#[test]
fn the_prefix_of_a_copy_is_read_from_its_address() {
    assert_eq!(prefix_of("s3://b/x/y/n", "b", "n").as_deref(), Some("x/y"));
    assert_eq!(prefix_of("s3://b/n", "b", "n").as_deref(), Some(""));
    assert_eq!(prefix_of("s3://other/n", "b", "n"), None);
    assert_eq!(prefix_of("s3://bb/n", "b", "n"), None);
}
