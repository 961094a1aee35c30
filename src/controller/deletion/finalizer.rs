//! The finalizer of a backup whose data goes with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    api::MilvusBackup,
    controller::{
        context::{Context, Runner},
        reconcile::ReconcileError,
        record::Record,
        run::RunObject,
    },
};

pub use crate::api::FINALIZER;

/// Whether the object has our finalizer.
pub fn has_finalizer(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Whether the object should have it: its data goes with it, and there may be some.
pub fn wants_finalizer(backup: &MilvusBackup, record: &Record) -> bool {
    let failed_before_anything = record.outcome() == Some(false) && record.run.attempts.is_empty();
    backup.deletes_data() && !failed_before_anything
}

/// The JSON patch that adds or removes the finalizer; each tests what it was computed from, so that no edit of somebody else
/// is overwritten.
pub fn finalizer_patch(meta: &ObjectMeta, wanted: bool) -> Option<Value> {
    let all = meta.finalizers.as_deref().unwrap_or_default();
    let index = all.iter().position(|finalizer| finalizer == FINALIZER);
    match (index, wanted) {
        (None, true) if all.is_empty() => Some(json!([
            {"op": "test", "path": "/metadata/uid", "value": meta.uid},
            {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}
        ])),
        (None, true) => Some(json!([
            {"op": "test", "path": "/metadata/finalizers", "value": all},
            {"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER}
        ])),
        (Some(index), false) => Some(json!([
            {"op": "test", "path": format!("/metadata/finalizers/{index}"), "value": FINALIZER},
            {"op": "remove", "path": format!("/metadata/finalizers/{index}")}
        ])),
        _ => None,
    }
}

/// Adds or removes it, unless it is so already.
///
/// # Errors
/// The API server's, but for an object that is gone.
pub async fn set_finalizer(
    context: &Context,
    backup: &MilvusBackup,
    run: &Runner<'_>,
    wanted: bool,
) -> Result<(), ReconcileError> {
    let Some(patch) = finalizer_patch(&backup.metadata, wanted) else {
        return Ok(());
    };
    let patched = context.cluster.patch_finalizers::<MilvusBackup>(run.namespace, run.name, &patch).await;
    match patched {
        // The object went in the meantime.
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map_err(ReconcileError::Apply),
    }
}

/// Adds or removes the finalizer of a backup that is not being deleted.
pub async fn keep_finalizer(
    context: &Context,
    backup: &MilvusBackup,
    run: &Runner<'_>,
    record: &Record,
) -> Result<(), ReconcileError> {
    set_finalizer(context, backup, run, wants_finalizer(backup, record)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DeletionPolicy;

    fn meta(finalizers: &[&str]) -> ObjectMeta {
        let finalizers = finalizers.iter().map(|name| (*name).to_owned()).collect();
        ObjectMeta { uid: Some("u".to_owned()), finalizers: Some(finalizers), ..ObjectMeta::default() }
    }

    #[test]
    fn the_patch_tests_what_it_was_computed_from() {
        let patch = finalizer_patch(&meta(&["other"]), true).unwrap();
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/finalizers", "value": ["other"]}));
        assert_eq!(patch[1]["path"], "/metadata/finalizers/-");
        let patch = finalizer_patch(&meta(&["other", FINALIZER]), false).unwrap();
        assert_eq!(patch[0]["path"], "/metadata/finalizers/1");
        assert_eq!(patch[0]["value"], FINALIZER);
        assert_eq!(patch[1], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
    }

    #[test]
    fn nothing_is_patched_where_nothing_changes() {
        assert_eq!(finalizer_patch(&meta(&[FINALIZER]), true), None);
        assert_eq!(finalizer_patch(&meta(&["other"]), false), None);
    }

    #[test]
    fn the_finalizer_is_there_only_for_the_policy_delete() {
        let mut backup = MilvusBackup::default();
        assert!(!wants_finalizer(&backup, &Record::default()));
        backup.spec.lifecycle.deletion_policy = Some(DeletionPolicy::Retain);
        assert!(!wants_finalizer(&backup, &Record::default()));
        backup.spec.lifecycle.deletion_policy = Some(DeletionPolicy::Delete);
        assert!(wants_finalizer(&backup, &Record::default()));
    }
}
