//! Pure: what an object is called for the name a client gave, and the other way round.

use kube::{Resource, ResourceExt as _};

use crate::api::{MilvusBackup, MilvusRestore};
use crate::manifest::operator_manifest::digest;

/// Annotation with the name a client gave a backup.
pub const NAME_ANNOTATION: &str = "backup.milvus.io/api-name";
/// Annotation with the id a client gave: `request_id` of a backup, `id` of a restore.
pub const ID_ANNOTATION: &str = "backup.milvus.io/api-id";
/// Longest readable part of an object's name; with the digest it stays below the 63 characters of a label.
const READABLE: usize = 40;
/// Hexadecimal digits that tell names apart whose readable parts are the same.
const DIGEST: usize = 12;

/// The object of a name: readable, fit for Kubernetes, the same every time, and another for each name and each Milvus.
pub fn object_name(milvus: &str, name: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    let readable: String = name.chars().take(READABLE).map(plain).collect();
    let readable = match readable.trim_matches('-') {
        "" => "unnamed",
        readable => readable,
    };
    // A Milvus' name has no slash, so no two pairs make the same text.
    let digest = digest(format!("{milvus}/{name}").as_bytes());
    format!("{readable}-{}", digest.get(..DIGEST).unwrap_or(&digest))
}

/// What a client calls a backup: as it was named here, else as its copy is named, else as the object.
pub fn backup_name(backup: &MilvusBackup) -> String {
    let given = backup.annotations().get(NAME_ANNOTATION).cloned();
    let artifact = || Some(backup.status.as_ref()?.artifact.as_ref()?.name.clone());
    given.or_else(artifact).unwrap_or_else(|| backup.name_any())
}

/// Id of a backup: its client's, else the object's UID.
pub fn backup_id(backup: &MilvusBackup) -> String {
    given_id(backup).unwrap_or_else(|| backup.uid().unwrap_or_default())
}

/// Id of a restore: its client's, else the object's name.
pub fn restore_id(restore: &MilvusRestore) -> String {
    given_id(restore).unwrap_or_else(|| restore.name_any())
}

fn given_id<K: Resource>(object: &K) -> Option<String> {
    object.annotations().get(ID_ANNOTATION).cloned()
}

/// How well a backup answers to a name: the name its client gave before that of the object, and both before that of the copy.
pub fn backup_answers_to(backup: &MilvusBackup, name: &str) -> Option<u8> {
    let artifact = backup.status.as_ref().and_then(|status| status.artifact.as_ref());
    match name {
        "" => None,
        name if backup.annotations().get(NAME_ANNOTATION).is_some_and(|given| given == name) => Some(3),
        name if backup.metadata.name.as_deref() == Some(name) => Some(2),
        name if artifact.is_some_and(|artifact| artifact.name == name) => Some(1),
        _ => None,
    }
}

/// Whether an id means this backup.
pub fn backup_has_id(backup: &MilvusBackup, id: &str) -> bool {
    !id.is_empty() && (given_id(backup).as_deref() == Some(id) || backup.metadata.uid.as_deref() == Some(id))
}

/// Whether an id means this restore.
pub fn restore_has_id(restore: &MilvusRestore, id: &str) -> bool {
    let own = [restore.metadata.name.as_deref(), restore.metadata.uid.as_deref()];
    !id.is_empty() && (given_id(restore).as_deref() == Some(id) || own.contains(&Some(id)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn backup(metadata: serde_json::Value, artifact: Option<&str>) -> MilvusBackup {
        let mut object = json!({"apiVersion": crate::api::API_VERSION, "kind": "MilvusBackup", "metadata": metadata,
            "spec": {"source": {"milvusRef": {"name": "prod"}}}});
        if let Some(name) = artifact {
            object["status"] = json!({"artifact": {"uri": "s3://b/p", "name": name}});
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn names_that_differ_only_in_case_or_in_their_milvus_are_different_objects() {
        let all = [("prod", "Nightly_1"), ("prod", "nightly_1"), ("test", "nightly_1")];
        let names: std::collections::BTreeSet<String> =
            all.iter().map(|(milvus, name)| object_name(milvus, name)).collect();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| name.starts_with("nightly-1-")), "{names:?}");
        assert_eq!(object_name("prod", "nightly_1"), object_name("prod", "nightly_1"));
    }

    #[test]
    fn a_backup_made_by_kubectl_answers_to_its_own_name_and_that_of_its_copy() {
        let made = backup(json!({"name": "nightly", "uid": "u-1"}), Some("prod_nightly_abc"));
        assert_eq!((backup_name(&made), backup_id(&made)), ("prod_nightly_abc".into(), "u-1".into()));
        assert_eq!(backup_answers_to(&made, "nightly"), Some(2));
        assert_eq!(backup_answers_to(&made, "prod_nightly_abc"), Some(1));
        assert_eq!(backup_answers_to(&made, "other"), None);
        assert!(backup_has_id(&made, "u-1") && !backup_has_id(&made, ""));
    }

    #[test]
    fn a_backup_made_here_keeps_the_name_and_the_id_its_client_gave() {
        let metadata =
            json!({"name": "a-1", "uid": "u", "annotations": {NAME_ANNOTATION: "A_b", ID_ANNOTATION: "req"}});
        let made = backup(metadata, Some("ns_a_1_u"));
        assert_eq!((backup_name(&made), backup_id(&made)), ("A_b".into(), "req".into()));
        assert_eq!(backup_answers_to(&made, "A_b"), Some(3));
        assert!(backup_has_id(&made, "req"));
        assert_eq!(backup_answers_to(&made, ""), None);
    }

    proptest! {
        #[test]
        fn any_name_makes_a_valid_object_name(name in "\\PC{0,300}") {
            let made = object_name("prod", &name);
            prop_assert!(made.len() <= 63);
            prop_assert!(made.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            prop_assert!(!made.starts_with('-') && !made.ends_with('-'));
        }
    }
}
