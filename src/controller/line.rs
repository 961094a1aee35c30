//! Pure: who is next for a Milvus that several runs want.
//!
//! The line is not stored: it follows from the objects themselves, oldest first, so that it is the same after a restart.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use super::run::RunObject;
use crate::api::conditions::{self as cond, reason};

/// A run as the line sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// The Milvus it wants: `namespace/name` or `host:port`.
    pub milvus: String,
    /// Whether it is over.
    pub ended: bool,
    /// Whether it stands in line: nothing but other runs keeps it from starting.
    pub waits: bool,
}

/// Reads a run.
pub fn contender<K: RunObject>(object: &K) -> Option<Contender> {
    let meta = object.meta();
    let record = object.record();
    let named = object.milvus();
    let milvus = match named.reference {
        Some(reference) => format!("{}/{}", object.namespace().unwrap_or_default(), reference.name),
        None => named.text().to_ascii_lowercase(),
    };
    let ended = record.outcome().is_some();
    let leaving = meta.deletion_timestamp.is_some() || object.cancel();
    let started = !record.run.attempts.is_empty();
    Some(Contender {
        uid: meta.uid.clone()?,
        created: meta.creation_timestamp.as_ref()?.0,
        milvus,
        ended,
        waits: !ended && !leaving && !started && !blocked(&record.run.conditions),
    })
}

/// Whether something else than another run keeps it from starting; then it does not hold the others up.
fn blocked(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| {
        let needed = [cond::SOURCE_RESOLVED, cond::LOCATION_AVAILABLE, cond::TARGET_READY, cond::SOURCE_AVAILABLE];
        condition.status == "False"
            && (needed.contains(&condition.type_.as_str())
                || condition.type_ == cond::ADMITTED && condition.reason != reason::WAITING_FOR_LOCK)
    })
}

/// How many stand before `me` in line for the same Milvus: the older ones, by name where they are of the same second.
pub fn ahead(me: &Contender, all: impl IntoIterator<Item = Contender>) -> usize {
    let older = |other: &Contender| (other.created, &other.uid) < (me.created, &me.uid);
    all.into_iter().filter(|other| other.waits && other.milvus == me.milvus && older(other)).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::MilvusBackup;

    fn backup(uid: &str, second: u32, status: serde_json::Value) -> Contender {
        let object: MilvusBackup = serde_json::from_value(json!({
            "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusBackup",
            "metadata": {
                "name": uid, "namespace": "a", "uid": uid,
                "creationTimestamp": format!("2026-11-01T00:00:{second:02}Z")
            },
            "spec": {"source": {"milvusRef": {"name": "prod"}}},
            "status": status
        }))
        .unwrap();
        contender(&object).unwrap()
    }

    fn with(type_: &str, status: &str, reason: &str) -> serde_json::Value {
        json!({"conditions": [{
            "type": type_, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z"
        }]})
    }

    #[test]
    fn the_oldest_is_first() {
        let all = || vec![backup("a", 3, json!({})), backup("b", 1, json!({})), backup("c", 2, json!({}))];
        let places = ["a", "b", "c"].map(|uid| {
            let me = all().into_iter().find(|one| one.uid == uid).unwrap();
            ahead(&me, all())
        });
        assert_eq!(places, [2, 0, 1]);
    }

    #[test]
    fn of_the_same_second_the_uid_decides_so_that_never_two_are_first() {
        let (one, other) = (backup("a", 1, json!({})), backup("b", 1, json!({})));
        assert_eq!(ahead(&one, [one.clone(), other.clone()]), 0);
        assert_eq!(ahead(&other, [one, other.clone()]), 1);
    }

    #[test]
    fn a_run_that_lacks_something_else_holds_nobody_up() {
        let me = backup("me", 9, json!({}));
        for status in [
            with("LocationAvailable", "False", "NotFound"),
            with("SourceResolved", "False", "NotFound"),
            with("Admitted", "False", "SourceUpdating"),
            with("Succeeded", "True", "Completed"),
            json!({"attempts": [{"number": 1, "jobName": "j"}]}),
        ] {
            assert_eq!(ahead(&me, [backup("x", 1, status.clone())]), 0, "{status}");
        }
        assert_eq!(ahead(&me, [backup("x", 1, with("Admitted", "False", "WaitingForLock"))]), 1);
    }

    #[test]
    fn another_milvus_is_another_line() {
        let mut other = backup("x", 1, json!({}));
        other.milvus = "a/staging".to_owned();
        assert_eq!(ahead(&backup("me", 9, json!({})), [other]), 0);
    }
}
