//! The committed CRDs are what the types say, and stay small enough for client-side apply.

use std::path::PathBuf;

use kube::{CustomResourceExt, Resource};
use milvus_backup_operator::api::{self, MilvusBackup, MilvusBackupLocation, MilvusRestore};
use serde_json::Value;

/// `kubectl apply` keeps the whole object in an annotation of at most 262,144 bytes; well below that is our budget.
const BUDGET: usize = 100 * 1000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crds")
}

#[test]
fn the_committed_crds_are_what_the_types_say() {
    let generated = api::crds().unwrap();
    if std::env::var_os("UPDATE_CRDS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for (name, text) in &generated {
            std::fs::write(folder().join(name), text).unwrap();
        }
    }
    for (name, text) in &generated {
        let committed = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(committed == *text, "crds/{name} is out of date: run `make crds`, or this test with UPDATE_CRDS=1");
    }
    let mut committed: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    committed.sort();
    let mut names: Vec<String> = generated.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(committed, names);
}

#[test]
fn every_crd_is_under_its_budget() {
    for (name, text) in api::crds().unwrap() {
        assert!(text.len() < BUDGET, "{name} has {} bytes", text.len());
    }
}

#[test]
fn all_kinds_are_of_the_one_group_and_version() {
    let versions =
        [MilvusBackup::api_version(&()), MilvusRestore::api_version(&()), MilvusBackupLocation::api_version(&())];
    for version in versions {
        assert_eq!(version, format!("{}/{}", api::GROUP, api::VERSION));
        assert_eq!(version, api::API_VERSION);
    }
}

#[test]
fn a_new_object_does_not_count_as_observed() {
    for kind in ["MilvusBackup", "MilvusRestore", "MilvusBackupLocation"] {
        let schema = api::schema_of(kind).unwrap().unwrap();
        assert_eq!(schema["properties"]["status"]["default"]["observedGeneration"], -1, "{kind}");
    }
}

#[test]
fn every_field_tells_the_user_what_it_is() {
    fn walk(path: &str, schema: &Value, silent: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                silent.push(path.clone());
            }
            walk(&path, property, silent);
            walk(&path, &property["items"], silent);
        }
    }
    for kind in ["MilvusBackup", "MilvusRestore", "MilvusBackupLocation"] {
        let schema = api::schema_of(kind).unwrap().unwrap();
        let mut silent = Vec::new();
        walk(kind, &schema, &mut silent);
        assert_eq!(silent, Vec::<String>::new());
    }
}

#[test]
fn no_field_has_a_format_the_api_server_warns_about() {
    for (name, text) in api::crds().unwrap() {
        assert!(!text.contains("format: uint"), "{name}");
        assert!(!text.contains("nullable"), "{name}");
    }
}

#[test]
fn the_category_is_the_name_of_no_kind() {
    // kubectl looks for a category first: `kubectl delete milvusbackup x` would reach for all kinds of that category.
    let definitions = [MilvusBackup::crd(), MilvusRestore::crd(), MilvusBackupLocation::crd()];
    let names = definitions.map(|definition| definition.spec.names);
    for category in names.iter().flat_map(|names| names.categories.iter().flatten()) {
        for names in &names {
            assert_eq!(category, "milvus-backup");
            assert!(*category != names.plural && Some(category) != names.singular.as_ref(), "{category}");
        }
    }
}
