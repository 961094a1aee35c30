//! The chart grants the operator what its code asks for: nothing less, nothing more.

#![expect(clippy::unwrap_used, reason = "clippy.toml exempts test functions, not their helpers")]

use std::{collections::BTreeSet, path::Path};

use milvus_backup_operator::{
    compat_cluster::rights,
    controller::rbac::{RBAC, RBAC_OWN_NAMESPACE, Rule},
};

type Right = (String, String, String);

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicyRule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

fn granted(file: &str) -> BTreeSet<Right> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/milvus-backup-operator/files").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let rules: Vec<PolicyRule> = serde_saphyr::from_str(&text).unwrap();
    let mut rights = BTreeSet::new();
    for rule in &rules {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                for verb in &rule.verbs {
                    let right = (group.clone(), resource.clone(), verb.clone());
                    assert!(rights.insert(right.clone()), "{file} grants {right:?} twice");
                }
            }
        }
    }
    rights
}

fn needed(table: &[Rule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for (group, resources, verbs) in table {
        for resource in *resources {
            for verb in *verbs {
                rights.insert(((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned()));
            }
        }
    }
    rights
}

fn compare(file: &str, table: &[Rule]) {
    let (granted, needed) = (granted(file), needed(table));
    let missing: Vec<_> = needed.difference(&granted).collect();
    let unused: Vec<_> = granted.difference(&needed).collect();
    assert!(missing.is_empty() && unused.is_empty(), "{file}: missing {missing:?}, more than needed {unused:?}");
    assert!(!granted.is_empty());
}

#[test]
fn the_chart_grants_in_watched_namespaces_what_the_code_asks_for() {
    compare("rules.yaml", RBAC);
}

#[test]
fn the_chart_grants_in_the_operators_namespace_what_the_code_asks_for() {
    compare("own-namespace-rules.yaml", RBAC_OWN_NAMESPACE);
}

#[test]
fn the_chart_grants_the_rest_api_what_its_code_asks_for() {
    compare("compat-api-rules.yaml", rights::RBAC);
}
