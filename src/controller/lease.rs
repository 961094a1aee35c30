//! Leases: who leads, and which run may work on a Milvus.
//!
//! The decision is pure ([`claim`]); writing goes through `replace` with the resource version that was read, so of two
//! writers one always loses and sees it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use sha2::{Digest as _, Sha256};

use super::cluster::{Cluster, ClusterError, MANAGER};

/// How long a run keeps its Milvus without renewing. Longer than a runner's grace period of 60 s, so that nobody else
/// starts while a runner whose object vanished still writes its checkpoint.
pub const RUN_LEASE: Duration = Duration::from_secs(90);

/// Annotation of a run's Lease: `<Kind>/<namespace>/<name>` of the holder, for people and for taking over early.
pub const HOLDER_ANNOTATION: &str = "backup.milvus.io/holder";

/// What a Lease says to someone who wants it.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Mine, or free to take: write this. `taken` is false for a mere renewal.
    Write {
        /// The new content.
        spec: Box<LeaseSpec>,
        /// Whether the holder changes.
        taken: bool,
    },
    /// Mine, and fresh enough to leave alone.
    Kept,
    /// Somebody else's.
    Held {
        /// The holder.
        by: String,
        /// When it lapses unless it is renewed.
        until: Timestamp,
    },
}

/// Decides what `me` does with a Lease. A Lease that is mine is renewed after a third of its time; one of somebody else
/// is taken when it lapsed by its own renew time.
pub fn claim(current: Option<&LeaseSpec>, me: &str, ttl: Duration, now: Timestamp) -> Claim {
    let seconds = i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX);
    let write = |acquired, transitions, taken| Claim::Write {
        spec: Box::new(LeaseSpec {
            acquire_time: Some(acquired),
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: Some(seconds),
            lease_transitions: Some(transitions),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
        taken,
    };
    let Some(spec) = current else {
        return write(MicroTime(now), 0, true);
    };
    let transitions = spec.lease_transitions.unwrap_or(0);
    let renewed = spec.renew_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    match spec.holder_identity.as_deref().filter(|holder| !holder.is_empty()) {
        Some(holder) if holder == me => {
            let age = now.duration_since(renewed);
            if age >= SignedDuration::ZERO && age < third(ttl) {
                return Claim::Kept;
            }
            write(spec.acquire_time.clone().unwrap_or(MicroTime(now)), transitions, false)
        }
        Some(holder) => {
            let until = lapse(spec, renewed);
            if until > now {
                return Claim::Held { by: holder.to_owned(), until };
            }
            write(MicroTime(now), transitions.saturating_add(1), true)
        }
        None => write(MicroTime(now), transitions.saturating_add(1), true),
    }
}

fn lapse(spec: &LeaseSpec, renewed: Timestamp) -> Timestamp {
    let seconds = i64::from(spec.lease_duration_seconds.unwrap_or(0).max(0));
    renewed.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

fn third(ttl: Duration) -> SignedDuration {
    SignedDuration::try_from(ttl / 3).unwrap_or(SignedDuration::MAX)
}

/// Name of the Lease that guards one Milvus. `key` is the UID of its resource, or `host:port`.
pub fn lease_name(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let short: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("milvus-backup-{short}")
}

/// Who wants a Milvus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// UID of the object.
    pub uid: String,
    /// `<Kind>/<namespace>/<name>`.
    pub object: String,
}

/// Outcome of trying for a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// Ours now.
    Ours,
    /// Somebody else's.
    Theirs {
        /// UID of the holder.
        by: String,
        /// `<Kind>/<namespace>/<name>` of the holder, empty when unknown.
        object: String,
    },
}

/// A Lease in somebody else's hand.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// UID of the holder.
    pub uid: &'a str,
    /// `<Kind>/<namespace>/<name>` of the holder, empty when unknown.
    pub object: &'a str,
    /// It was not renewed in time.
    pub lapsed: bool,
}

/// Takes, renews or respects the Lease `name`. `is_gone` judges a holder that is not `me`: a lapsed Lease alone proves nothing, as
/// its holder's pod may still work while the operator was away.
pub async fn acquire(
    cluster: &Cluster,
    name: &str,
    me: &Holder,
    now: Timestamp,
    is_gone: impl AsyncFnOnce(Standing<'_>) -> Result<bool, ClusterError>,
) -> Result<Lock, ClusterError> {
    let current = cluster.lease(name).await?;
    let spec = current.as_ref().and_then(|lease| lease.spec.as_ref());
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let mut respected = spec;
    if let Some(uid) = holder.filter(|holder| *holder != me.uid) {
        let annotations = current.as_ref().and_then(|lease| lease.metadata.annotations.as_ref());
        let object = annotations.and_then(|all| all.get(HOLDER_ANNOTATION)).map_or("", String::as_str);
        let lapsed = !matches!(claim(spec, &me.uid, RUN_LEASE, now), Claim::Held { .. });
        if !is_gone(Standing { uid, object, lapsed }).await? {
            return Ok(Lock::Theirs { by: uid.to_owned(), object: object.to_owned() });
        }
        respected = None;
    }
    let spec = match claim(respected, &me.uid, RUN_LEASE, now) {
        Claim::Kept => return Ok(Lock::Ours),
        Claim::Held { by, .. } => return Ok(Lock::Theirs { by, object: String::new() }),
        Claim::Write { spec, .. } => spec,
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: current.as_ref().and_then(|lease| lease.metadata.resource_version.clone()),
            annotations: Some([(HOLDER_ANNOTATION.to_owned(), me.object.clone())].into()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(*spec),
    };
    let written = match current {
        None => cluster.create_lease(&lease).await,
        Some(_) => cluster.replace_lease(name, &lease).await,
    };
    match written {
        Ok(_) => Ok(Lock::Ours),
        // Somebody was first, or the Lease was released between the two calls.
        Err(error) if error.is_conflict() || error.is_not_found() => {
            Ok(Lock::Theirs { by: String::new(), object: String::new() })
        }
        Err(error) => Err(error),
    }
}

/// Gives the Lease up if `uid` holds it; somebody else's stays.
pub async fn release(cluster: &Cluster, name: &str, uid: &str) -> Result<(), ClusterError> {
    let Some(lease) = cluster.lease(name).await? else {
        return Ok(());
    };
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    if holder != Some(uid) {
        return Ok(());
    }
    match cluster.delete_lease(&lease).await {
        Err(error) if error.is_conflict() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn held(by: &str, second: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(by.to_owned()),
            lease_duration_seconds: Some(30),
            lease_transitions: Some(4),
            acquire_time: Some(MicroTime(at(second - 100))),
            renew_time: Some(MicroTime(at(second))),
            ..LeaseSpec::default()
        }
    }

    fn written(claim: Claim) -> (LeaseSpec, bool) {
        match claim {
            Claim::Write { spec, taken } => (*spec, taken),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_absent_lease_is_taken() {
        let (spec, taken) = written(claim(None, "me", TTL, at(0)));
        assert!(taken);
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
        assert_eq!(spec.lease_duration_seconds, Some(30));
    }

    #[test]
    fn a_lease_of_somebody_else_is_respected_until_it_lapses() {
        let lease = held("other", 0);
        assert_eq!(claim(Some(&lease), "me", TTL, at(29)), Claim::Held { by: "other".to_owned(), until: at(30) });
        let (spec, taken) = written(claim(Some(&lease), "me", TTL, at(30)));
        assert!(taken);
        assert_eq!(spec.lease_transitions, Some(5));
        assert_eq!(spec.acquire_time, Some(MicroTime(at(30))));
    }

    #[test]
    fn my_own_lease_is_renewed_after_a_third_and_keeps_its_acquire_time() {
        let lease = held("me", 0);
        assert_eq!(claim(Some(&lease), "me", TTL, at(9)), Claim::Kept);
        let (spec, taken) = written(claim(Some(&lease), "me", TTL, at(10)));
        assert!(!taken);
        assert_eq!(spec.acquire_time, Some(MicroTime(at(-100))));
        assert_eq!(spec.lease_transitions, Some(4));
    }

    #[test]
    fn my_own_lapsed_lease_is_mine_at_once() {
        let (_, taken) = written(claim(Some(&held("me", 0)), "me", TTL, at(1000)));
        assert!(!taken);
    }

    #[test]
    fn a_lease_from_the_future_does_not_look_fresh() {
        assert!(matches!(claim(Some(&held("me", 500)), "me", TTL, at(0)), Claim::Write { taken: false, .. }));
    }

    #[test]
    fn a_released_lease_without_holder_is_free() {
        assert!(written(claim(Some(&held("", 0)), "me", TTL, at(1))).1);
    }

    #[test]
    fn lease_names_differ_by_milvus_and_are_legal_names() {
        let name = lease_name("10.0.0.1:19530");
        assert_ne!(name, lease_name("10.0.0.1:19531"));
        assert!(
            name.len() <= 63
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
    }
}
