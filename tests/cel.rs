//! The CEL rules, evaluated without a cluster on the schema the API server gets: what is refused, and with which sentence.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use milvus_backup_operator::api::{self, MilvusBackup, MilvusBackupLocation, MilvusRestore};
use serde_json::{Value, json};

const BACKUP: &str = "MilvusBackup";
const RESTORE: &str = "MilvusRestore";
const LOCATION: &str = "MilvusBackupLocation";

const CONNECTION: &str =
    "{grpc: {host: milvus.svc}, storage: {endpoint: 'http://s3:9000', bucket: a-bucket, rootPath: files}}";

/// Kind, what stands in the place of `...` in a spec that is right otherwise, the sentence.
fn refused() -> Vec<(&'static str, String, &'static str)> {
    let backup = |more: &str| format!("{{source: {{milvusRef: {{name: prod}}}}, {more}}}");
    let connection = |more: &str| format!("{{source: {{connection: {more}}}}}");
    let restore =
        |more: &str| format!("{{from: {{backupRef: {{name: b}}}}, target: {{milvusRef: {{name: prod}}}}, {more}}}");
    let location = |more: &str| format!("{{s3: {{bucket: backups}}, {more}}}");
    vec![
        // Unions.
        (BACKUP, "{source: {}}".into(), "source takes exactly one of milvusRef"),
        (
            BACKUP,
            format!("{{source: {{milvusRef: {{name: prod}}, connection: {CONNECTION}}}}}"),
            "source takes exactly one of",
        ),
        (
            BACKUP,
            format!("{{source: {{connection: {CONNECTION}, overrides: {{grpcPort: 1}}}}}}"),
            "source.overrides goes with milvusRef only: write the values into source.connection",
        ),
        (
            BACKUP,
            backup("auth: {passwordSecretRef: {name: p}, tokenSecretRef: {name: t}}"),
            "auth takes passwordSecretRef or tokenSecretRef, not both",
        ),
        (RESTORE, "{from: {}, target: {milvusRef: {name: prod}}}".into(), "from takes exactly one of backupRef"),
        (
            RESTORE,
            "{from: {backupRef: {name: b}, artifact: {name: a}}, target: {milvusRef: {name: prod}}}".into(),
            "from takes exactly one of backupRef",
        ),
        (RESTORE, "{from: {backupRef: {name: b}}, target: {}}".into(), "target takes exactly one of milvusRef"),
        (
            RESTORE,
            format!(
                "{{from: {{backupRef: {{name: b}}}}, target: {{connection: {CONNECTION}, overrides: {{bucket: x}}}}}}"
            ),
            "target.overrides goes with milvusRef only: write the values into target.connection",
        ),
        (
            LOCATION,
            location("credentials: {secretRef: {name: s}, workloadIdentity: {serviceAccountName: a}}"),
            "credentials takes secretRef or workloadIdentity, not both",
        ),
        // Names and shapes.
        (
            BACKUP,
            "{source: {milvusRef: {name: other/prod}}}".into(),
            "write the bare name of an object in this namespace",
        ),
        (BACKUP, "{source: {milvusRef: {name: ''}}}".into(), "write the bare name of an object in this namespace"),
        (BACKUP, backup("locationRef: {name: Offsite}"), "write the bare name of an object in this namespace"),
        (
            BACKUP,
            backup("auth: {tokenSecretRef: {name: t, key: 'root:Milvus'}}"),
            "write the name of a field in the Secret, not its value",
        ),
        (
            BACKUP,
            connection("{grpc: {host: 'http://milvus:19530'}, storage: {bucket: b, rootPath: files}}"),
            "write a host name or an IP address alone",
        ),
        (
            BACKUP,
            connection("{grpc: {host: 'milvus:19530'}, storage: {bucket: b, rootPath: files}}"),
            "write a host name or an IP address alone",
        ),
        (
            BACKUP,
            connection("{grpc: {host: milvus}, storage: {endpoint: 'minio:9000', bucket: b, rootPath: files}}"),
            "write http://host:port or https://host:port",
        ),
        (
            BACKUP,
            connection(
                "{grpc: {host: milvus}, storage: {endpoint: 'http://key:secret@minio:9000', bucket: b, rootPath: files}}",
            ),
            "without path, query and credentials",
        ),
        (
            BACKUP,
            backup("selection: {include: [{database: '*', collections: [default.books]}]}"),
            "write the database in `database`",
        ),
        (
            BACKUP,
            "{source: {milvusRef: {name: prod}, overrides: {bucket: 's3://prod'}}}".into(),
            "write the bare name of the bucket",
        ),
        (
            BACKUP,
            "{source: {milvusRef: {name: prod}, overrides: {rootPath: /files}}}".into(),
            "rootPath is a path inside the bucket",
        ),
        (LOCATION, "{s3: {bucket: backups/milvus}}".into(), "write the bare name of the bucket"),
        (LOCATION, "{s3: {bucket: backups, prefix: /milvus}}".into(), "s3.prefix is a path inside the bucket"),
        (LOCATION, "{s3: {bucket: backups, prefix: a/../b}}".into(), "no leading slash, no '..'"),
        (LOCATION, "{s3: {bucket: backups, prefix: 's3://backups'}}".into(), "s3.prefix is a path inside the bucket"),
        (
            RESTORE,
            "{from: {artifact: {name: search/nightly}}, target: {milvusRef: {name: prod}}}".into(),
            "write the name of the backup as `status.artifact.name` shows it",
        ),
        // Sense.
        (BACKUP, backup("verify: Checksum, content: {data: SchemaOnly}"), "use verify: Manifest"),
        (BACKUP, backup("lifecycle: {expireAfterSeconds: 5}"), "lifecycle.expireAfterSeconds is at least 60"),
        (
            BACKUP,
            backup("deadlines: {startSeconds: 600, runSeconds: 60}"),
            "deadlines.startSeconds is more than deadlines.runSeconds",
        ),
        (BACKUP, backup("retry: {backoffSeconds: 901}"), "retry.backoffSeconds is more than retry.backoffMaxSeconds"),
        (RESTORE, restore("onConflict: Replace"), "set confirmTargetUID to the metadata.uid of the target Milvus"),
        (
            RESTORE,
            restore("mapping: {suffix: _x, collections: [{from: a, to: b}]}"),
            "mapping takes suffix or collections, not both",
        ),
        (RESTORE, restore("mapping: {suffix: -x}"), "mapping.suffix takes letters, digits and '_'"),
        (
            RESTORE,
            restore("mapping: {collections: [{from: a, to: c}, {from: b, to: c}]}"),
            "mapping.collections: two entries have the same `to`",
        ),
        (
            RESTORE,
            restore("mapping: {collections: [{from: a, to: b}, {from: a, to: b}]}"),
            "mapping.collections: two entries have the same `to`",
        ),
        (
            RESTORE,
            restore("mapping: {collections: [{from: a, to: x.y.z}]}"),
            "mapping.collections: `to` is database.collection",
        ),
        (
            RESTORE,
            restore("mapping: {databases: [{from: a, to: c}, {from: b, to: c}]}"),
            "mapping.databases: two entries have the same `to`",
        ),
        (
            RESTORE,
            restore("mapping: {databases: [{from: a, to: b}, {from: a, to: c}]}"),
            "mapping.databases: two entries have the same `from`",
        ),
        (RESTORE, restore("mapping: {databases: [{from: a, to: 1st}]}"), "mapping.databases: `to` is a database name"),
    ]
}

/// Kind, spec before, spec after, the sentence.
fn refused_changes() -> Vec<(&'static str, String, String, String)> {
    let backup = |more: &str| format!("{{source: {{milvusRef: {{name: prod}}}}, {more}}}");
    let restore =
        |more: &str| format!("{{from: {{backupRef: {{name: b}}}}, target: {{milvusRef: {{name: prod}}}}, {more}}}");
    let mut changes = Vec::new();
    let backup_fields = [
        ("selection", "selection: {allowEmpty: true}"),
        ("content", "content: {indexMetadata: false}"),
        ("consistency", "consistency: {flush: Skip}"),
        ("onCollectionError", "onCollectionError: Continue"),
        ("verify", "verify: None"),
    ];
    for (field, change) in backup_fields {
        changes.push((BACKUP, backup(""), backup(change), format!("{field} cannot be changed: create a new object")));
        changes.push((BACKUP, backup(change), backup(""), format!("{field} cannot be changed: create a new object")));
    }
    let restore_fields = [
        ("selection", "selection: {include: [{database: shop}]}"),
        ("mapping", "mapping: {suffix: _x}"),
        ("onConflict", "onConflict: Skip"),
        ("content", "content: {data: SchemaOnly}"),
        ("indexes", "indexes: Skip"),
        ("load", "load: None"),
        ("restorePath", "restorePath: Import"),
        ("verify", "verify: None"),
        ("preflightOnly", "preflightOnly: true"),
        ("cleanupOnFailure", "cleanupOnFailure: false"),
    ];
    for (field, change) in restore_fields {
        changes.push((
            RESTORE,
            restore(""),
            restore(change),
            format!("{field} cannot be changed: create a new object"),
        ));
        changes.push((
            RESTORE,
            restore(change),
            restore(""),
            format!("{field} cannot be changed: create a new object"),
        ));
    }
    let mut add = |kind, from: &str, to: &str, sentence: &str| {
        changes.push((kind, from.to_owned(), to.to_owned(), sentence.to_owned()));
    };
    let plain = backup("");
    let located = backup("locationRef: {name: offsite}");
    add(BACKUP, &plain, "{source: {milvusRef: {name: other}}}", "source cannot be changed");
    add(BACKUP, &plain, &format!("{{source: {{connection: {CONNECTION}}}}}"), "source cannot be changed");
    add(BACKUP, &plain, "{source: {milvusRef: {name: prod}, overrides: {bucket: b}}}", "source cannot be changed");
    add(BACKUP, &plain, &located, "locationRef cannot be changed, added or removed");
    add(BACKUP, &located, &plain, "locationRef cannot be changed, added or removed");
    add(BACKUP, &located, &backup("locationRef: {name: other}"), "locationRef cannot be changed, added or removed");
    add(BACKUP, &backup("cancel: true"), &backup("cancel: false"), "cancel cannot be taken back");
    add(BACKUP, &backup("cancel: true"), &plain, "cancel cannot be taken back");
    let plain = restore("");
    add(RESTORE, &restore("cancel: true"), &plain, "cancel cannot be taken back");
    add(
        RESTORE,
        &plain,
        "{from: {artifact: {name: a}}, target: {milvusRef: {name: prod}}}",
        "from cannot be changed: create a new object",
    );
    add(
        RESTORE,
        &plain,
        "{from: {backupRef: {name: b}}, target: {milvusRef: {name: other}}}",
        "target.milvusRef cannot be changed, added or removed",
    );
    add(
        RESTORE,
        &plain,
        &format!("{{from: {{backupRef: {{name: b}}}}, target: {{connection: {CONNECTION}}}}}"),
        "target.connection cannot be changed, added or removed",
    );
    add(
        RESTORE,
        &plain,
        "{from: {backupRef: {name: b}}, target: {milvusRef: {name: prod}, overrides: {grpcPort: 1}}}",
        "target.overrides cannot be changed, added or removed",
    );
    add(
        RESTORE,
        &restore("onConflict: Replace, confirmTargetUID: u1"),
        &restore("onConflict: Replace, confirmTargetUID: u2"),
        "confirmTargetUID cannot be changed, added or removed",
    );
    changes
}

/// Changes that are allowed at any time.
fn accepted_changes() -> Vec<(&'static str, String, String)> {
    let backup = |more: &str| format!("{{source: {{milvusRef: {{name: prod}}}}, {more}}}");
    let restore =
        |more: &str| format!("{{from: {{backupRef: {{name: b}}}}, target: {{milvusRef: {{name: prod}}, {more}}}}}");
    vec![
        (BACKUP, backup(""), backup("auth: {tokenSecretRef: {name: t}}")),
        (BACKUP, backup("auth: {tokenSecretRef: {name: t}}"), backup("")),
        (BACKUP, backup(""), backup("job: {serviceAccountName: s}, limits: {concurrency: 2}")),
        (BACKUP, backup(""), backup("retry: {maxAttempts: 5}, deadlines: {runSeconds: 60}")),
        (BACKUP, backup("lifecycle: {deletionPolicy: Delete}"), backup("lifecycle: {hold: true}")),
        (BACKUP, backup(""), backup("cancel: true")),
        (BACKUP, backup(""), backup("selection: {include: []}, content: {data: Full}, verify: Manifest")),
        (RESTORE, restore(""), restore("auth: {passwordSecretRef: {name: p}}")),
        (LOCATION, "{s3: {bucket: a}}".into(), "{s3: {bucket: b, prefix: c}, default: true}".into()),
    ]
}

fn object(kind: &str, spec: &str) -> Value {
    let spec: Value = serde_saphyr::from_str(spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
    json!({"apiVersion": api::API_VERSION, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
}

fn schema(kind: &str) -> Value {
    api::schema_of(kind).unwrap().unwrap()
}

/// The rules of a kind, made once.
fn rules(kind: &str) -> &'static CompiledSchema {
    static RULES: LazyLock<BTreeMap<&str, CompiledSchema>> =
        LazyLock::new(|| [BACKUP, RESTORE, LOCATION].map(|kind| (kind, compile_schema(&schema(kind)))).into());
    &RULES[kind]
}

/// The sentences with which an object is refused; empty when it is accepted.
fn sentences(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate_compiled(rules(kind), object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

#[test]
fn a_bad_spec_is_refused_with_one_helpful_sentence() {
    for (kind, spec, expected) in refused() {
        let said = sentences(kind, &object(kind, &spec), None);
        assert!(said.len() == 1 && said[0].contains(expected), "{kind} {spec}\nexpected {expected}\nsaid {said:?}");
    }
}

#[test]
fn what_is_fixed_cannot_be_changed_added_or_removed() {
    for (kind, old, new, expected) in refused_changes() {
        let (old, new) = (object(kind, &old), object(kind, &new));
        assert_eq!(sentences(kind, &old, None), Vec::<String>::new(), "{old}");
        let said = sentences(kind, &new, Some(&old));
        assert!(
            said.iter().any(|s| s.contains(&expected)),
            "{kind} {old} -> {new}\nexpected {expected}\nsaid {said:?}"
        );
    }
}

#[test]
fn what_may_change_may_change() {
    for (kind, old, new) in accepted_changes() {
        let (old, new) = (object(kind, &old), object(kind, &new));
        assert_eq!(sentences(kind, &new, Some(&old)), Vec::<String>::new(), "{kind} {old} -> {new}");
    }
}

#[test]
fn every_rule_of_the_crds_refuses_something_in_these_tables() {
    fn collect_messages(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(map) => {
                for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                    found.insert(rule["message"].as_str().unwrap_or("a rule without a sentence").to_owned());
                }
                map.values().for_each(|value| collect_messages(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| collect_messages(value, found)),
            _ => {}
        }
    }
    let mut unproven = BTreeSet::new();
    for kind in [BACKUP, RESTORE, LOCATION] {
        collect_messages(&schema(kind), &mut unproven);
    }
    for (kind, spec, _) in refused() {
        for said in sentences(kind, &object(kind, &spec), None) {
            unproven.remove(&said);
        }
    }
    for (kind, old, new, _) in refused_changes() {
        for said in sentences(kind, &object(kind, &new), Some(&object(kind, &old))) {
            unproven.remove(&said);
        }
    }
    assert_eq!(unproven, BTreeSet::new());
}

#[test]
fn a_collection_may_get_several_names() {
    let spec = "{from: {backupRef: {name: b}}, target: {milvusRef: {name: prod}},
        mapping: {collections: [{from: a, to: a}, {from: a, to: b}, {from: a, to: shop.a}]}}";
    assert_eq!(sentences(RESTORE, &object(RESTORE, spec), None), Vec::<String>::new());
}

#[test]
fn an_address_may_be_a_name_or_an_ip() {
    for host in ["milvus", "prod-milvus.search.svc.cluster.local", "10.0.0.1", "2001:db8::1", "::1"] {
        let spec =
            format!("{{source: {{connection: {{grpc: {{host: '{host}'}}, storage: {{bucket: b, rootPath: ''}}}}}}}}");
        assert_eq!(sentences(BACKUP, &object(BACKUP, &spec), None), Vec::<String>::new(), "{host}");
    }
}

/// Paths of `value` that the schema does not know; the API server drops them or refuses the object.
fn unknown(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let Some(properties) = schema["properties"].as_object() else {
                return;
            };
            for (name, value) in map {
                match properties.get(name) {
                    Some(schema) => unknown(&format!("{path}.{name}"), schema, value, found),
                    None => found.push(format!("{path}.{name}")),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unknown(path, &schema["items"], item, found)),
        _ => {}
    }
}

#[test]
fn the_samples_are_accepted_as_they_are() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/samples");
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display();
        let text = std::fs::read_to_string(&path).unwrap();
        let sample: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let kind = sample["kind"].as_str().unwrap();
        match kind {
            BACKUP => drop(serde_json::from_value::<MilvusBackup>(sample.clone()).unwrap()),
            RESTORE => drop(serde_json::from_value::<MilvusRestore>(sample.clone()).unwrap()),
            LOCATION => drop(serde_json::from_value::<MilvusBackupLocation>(sample.clone()).unwrap()),
            other => panic!("{name}: unknown kind {other}"),
        }
        kinds.insert(kind.to_owned());
        let mut strangers = Vec::new();
        unknown("spec", &schema(kind)["properties"]["spec"], &sample["spec"], &mut strangers);
        assert_eq!(strangers, Vec::<String>::new(), "{name}");
        assert_eq!(sentences(kind, &sample, None), Vec::<String>::new(), "{name}");
    }
    assert_eq!(kinds.len(), 3);
}
