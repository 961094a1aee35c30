//! Discovery over a matrix of Milvus resources: each file of tests/fixtures/milvus/ has the expected outcome beside it.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Service;
use milvus_backup_operator::api::conditions::Status;
use milvus_backup_operator::api::{
    Auth, Connection, LocalRef, Overrides, PasswordSecretRef, ResolvedValue, RestoreTarget, Source,
};
use milvus_backup_operator::controller::discovery::{
    Destination, DiscoveryError, MilvusView, Resolved, SharedFate, Where, connect, discover, service_name, shared_fate,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A file of the matrix: a resource with what surrounds it, or a connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    milvus: Option<Value>,
    service: Option<Service>,
    overrides: Option<Overrides>,
    connection: Option<Connection>,
}

impl Case {
    fn outcome(&self) -> Result<Resolved, DiscoveryError> {
        match (&self.milvus, &self.connection) {
            (Some(object), None) => {
                discover(MilvusView { object, service: self.service.as_ref() }, self.overrides.as_ref())
            }
            (None, Some(connection)) => connect(connection),
            _ => panic!("a case is a Milvus or a connection"),
        }
    }
}

/// What the controller would write and do.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Expected {
    Found { resolved: Box<Resolved>, status: BTreeMap<String, ResolvedValue>, obstacle: Option<(String, String)> },
    Refused { reason: &'static str, message: String },
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/milvus")
}

fn case(name: &str) -> Case {
    let path = folder().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn resolved(name: &str) -> Resolved {
    case(name).outcome().unwrap()
}

#[test]
fn every_resource_of_the_matrix_gives_its_golden_outcome() {
    let names = names();
    assert!(names.len() > 30, "{} files", names.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder().join("expected"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in names {
        let expected = match case(&name).outcome() {
            Ok(resolved) => Expected::Found {
                status: resolved.to_status(),
                obstacle: resolved.state.obstacle().map(|(reason, message)| (reason.to_owned(), message.to_owned())),
                resolved: Box::new(resolved),
            },
            Err(error) => Expected::Refused { reason: error.reason(), message: error.to_string() },
        };
        let text = serde_saphyr::to_string(&expected).unwrap();
        settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
    }
}

#[test]
fn a_field_of_an_unexpected_type_is_as_good_as_absent() {
    fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| pointers(value, format!("{at}/{}", key.replace('/', "~1")), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, value)| pointers(value, format!("{at}/{i}"), found));
            }
            _ => {}
        }
        if !at.is_empty() && !at.starts_with("/metadata") {
            found.push(at);
        }
    }
    let mut tried = 0;
    for name in names() {
        let case = case(&name);
        let Some(object) = case.milvus.clone() else { continue };
        let mut found = Vec::new();
        pointers(&object, String::new(), &mut found);
        for pointer in found {
            for stranger in [Value::Null, json!([[]]), json!({"x": [1]}), json!(-1.5), json!(""), json!(true)] {
                let mut changed = object.clone();
                *changed.pointer_mut(&pointer).unwrap() = stranger;
                let view = MilvusView { object: &changed, service: case.service.as_ref() };
                if let Ok(resolved) = discover(view, case.overrides.as_ref()) {
                    assert!(!resolved.store.bucket.value.is_empty(), "{name} {pointer}");
                    assert_eq!(resolved.grpc_host.value, "prod-milvus.search.svc", "{name} {pointer}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn an_object_without_identity_is_invalid() {
    for object in [json!(null), json!({}), json!({"metadata": {"name": "prod"}})] {
        let error = discover(MilvusView { object: &object, service: None }, None).unwrap_err();
        assert_eq!(error.reason(), "Invalid");
    }
}

#[test]
fn a_login_is_demanded_only_where_milvus_asks_for_one() {
    let auth = Auth {
        password_secret_ref: Some(PasswordSecretRef {
            name: "root".into(),
            username_key: "username".into(),
            password_key: "password".into(),
        }),
        token_secret_ref: None,
    };
    let guarded = resolved("authorization");
    let error = guarded.require_auth(None).unwrap_err();
    assert_eq!(error.reason(), "AuthRequired");
    assert!(error.to_string().contains("auth.passwordSecretRef"), "{error}");
    assert_eq!(guarded.require_auth(Some(&Auth::default())).unwrap_err().reason(), "AuthRequired");
    assert_eq!(guarded.require_auth(Some(&auth)), Ok(()));
    assert_eq!(resolved("standalone").require_auth(None), Ok(()));
    assert_eq!(resolved("connection").require_auth(None), Ok(()));
}

#[test]
fn a_backup_in_milvus_own_bucket_shares_its_fate() {
    let milvus = resolved("custom-bucket");
    let own = Destination { endpoint: Some("http://minio.storage.svc:9000/"), bucket: "vectors", prefix: "backup" };
    assert_eq!(shared_fate(&milvus, own), Ok(SharedFate::SameBucket));
    assert_eq!(shared_fate(&milvus, Destination { bucket: "backups", ..own }), Ok(SharedFate::Separate));
    let elsewhere = Destination { endpoint: Some("http://minio.backup.svc:9000"), ..own };
    assert_eq!(shared_fate(&milvus, elsewhere), Ok(SharedFate::Separate));
    assert_eq!(shared_fate(&milvus, Destination { endpoint: None, ..own }), Ok(SharedFate::Separate));
    assert_eq!(SharedFate::SameBucket.condition().0, Status::True);
    assert_eq!(SharedFate::Separate.condition().0, Status::False);
}

#[test]
fn a_store_that_goes_with_milvus_takes_every_bucket_in_it() {
    let milvus = resolved("minio-deleted-with-milvus");
    let there = Destination { endpoint: Some("http://prod-minio.search:9000"), bucket: "backups", prefix: "" };
    assert_eq!(shared_fate(&milvus, there), Ok(SharedFate::SameStoreDeletedWithCluster));
    let kept = resolved("standalone");
    assert_eq!(shared_fate(&kept, there), Ok(SharedFate::Separate));
}

#[test]
fn two_names_of_aws_are_one_store() {
    let milvus = resolved("external-aws");
    for endpoint in [None, Some("https://s3.eu-central-1.amazonaws.com"), Some("https://s3.amazonaws.com:443")] {
        let there = Destination { endpoint, bucket: "example-vectors", prefix: "backup" };
        assert_eq!(shared_fate(&milvus, there), Ok(SharedFate::SameBucket), "{endpoint:?}");
    }
}

#[test]
fn a_backup_inside_milvus_data_is_refused() {
    let milvus = resolved("custom-bucket");
    let own = Destination { endpoint: Some("http://minio.storage.svc:9000"), bucket: "vectors", prefix: "" };
    for prefix in ["teams/search", "teams/search/backup", "/teams/search/"] {
        let error = shared_fate(&milvus, Destination { prefix, ..own }).unwrap_err();
        assert_eq!(error.reason(), "Invalid");
        assert!(error.to_string().contains("choose a prefix outside of teams/search/"), "{error}");
    }
    for prefix in ["", "teams", "teams/search-backup", "backup"] {
        assert_eq!(shared_fate(&milvus, Destination { prefix, ..own }), Ok(SharedFate::SameBucket), "{prefix}");
    }
    let other = Destination { bucket: "backups", prefix: "teams/search", ..own };
    assert_eq!(shared_fate(&milvus, other), Ok(SharedFate::Separate));
}

#[test]
fn a_source_or_a_target_names_one_milvus() {
    let connection = case("connection").connection.unwrap();
    let name = LocalRef { name: "prod".into() };
    let by_name = Source { milvus_ref: Some(name.clone()), ..Source::default() };
    assert_eq!(Where::of_source(&by_name), Ok(Where::Milvus { name: "prod", overrides: None }));
    let written = RestoreTarget { connection: Some(connection.clone()), ..RestoreTarget::default() };
    assert_eq!(Where::of_target(&written), Ok(Where::Connection(&connection)));
    let both = Source { milvus_ref: Some(name), connection: Some(connection), overrides: None };
    assert_eq!(Where::of_source(&both), Err(DiscoveryError::NoMilvusNamed));
    assert_eq!(Where::of_source(&Source::default()), Err(DiscoveryError::NoMilvusNamed));
    assert_eq!(service_name("prod"), "prod-milvus");
}
