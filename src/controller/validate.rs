//! Second call of a reconcile, pure: turns what was read into one `Valid*` value, or names the one thing in the way.
//!
//! Nothing after this step reads the raw spec of a source.

use std::collections::BTreeMap;

use super::{
    discovery::{self, Destination, DiscoveryError, MilvusView, Resolved, SharedFate, service_name, shared_fate},
    fetch::{BackupFetched, LocationFetched, MilvusFetched, MilvusSeen, Sources},
    job::artifact_name,
    mounts::StorePlace,
    record::{Obstacle, Record},
};
use crate::api::{
    Artifact, Auth, MilvusBackup, MilvusBackupLocation, MilvusRestore, OnConflict, ResolvedValue,
    conditions::{self as cond, reason},
};

/// Prefix of backups in Milvus' own bucket: that of milvus-backup.
pub const OWN_PREFIX: &str = "backup";

/// A backup that can start.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidBackup {
    /// What is backed up.
    pub milvus: Resolved,
    /// Where to.
    pub destination: Destined,
    /// Name of the copy.
    pub artifact: Artifact,
    /// Whether it shares Milvus' fate.
    pub fate: SharedFate,
    /// ServiceAccount it needs.
    pub service_account: Option<String>,
}

/// A restore that can start.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidRestore {
    /// What is restored into.
    pub milvus: Resolved,
    /// Where from.
    pub source: Destined,
    /// The copy, pinned.
    pub artifact: Artifact,
    /// ServiceAccount it needs.
    pub service_account: Option<String>,
}

/// A place for copies.
#[derive(Debug, Clone, PartialEq)]
pub struct Destined {
    /// The bucket.
    pub place: StorePlace,
    /// Name of the location; none for the bucket of a Milvus.
    pub location: Option<String>,
    /// ServiceAccount whose identity opens it.
    pub service_account: Option<String>,
}

/// Key of the lock on a Milvus: the UID of its resource, so that one made anew under its name is another; else `host:port`.
pub fn lock_key(milvus: &Resolved) -> String {
    match &milvus.milvus {
        Some(identity) => identity.uid.clone(),
        None => format!("{}:{}", milvus.grpc_host.value.to_ascii_lowercase(), milvus.grpc_port.value),
    }
}

/// Judges a backup's sources.
pub fn backup(backup: &MilvusBackup, namespace: &str, uid: &str, sources: &Sources) -> Result<ValidBackup, Obstacle> {
    let milvus = found(&sources.milvus, namespace, backup.spec.auth.as_ref(), cond::SOURCE_RESOLVED)?;
    let destination = destined(&sources.location, Some(&milvus), namespace, cond::LOCATION_AVAILABLE)?;
    let fate = fate(&milvus, &destination.place)?;
    ready(&milvus, cond::ADMITTED)?;
    let service_account = one_account(&milvus, &destination, backup.spec.job.service_account_name.as_deref())?;
    let name = artifact_name(namespace, backup.metadata.name.as_deref().unwrap_or_default(), uid);
    let artifact = Artifact { uri: destination.place.uri(&name), name, ..Artifact::default() };
    Ok(ValidBackup { milvus, destination, artifact, fate, service_account })
}

/// Judges a restore's sources. `pinned` is the copy an earlier pass settled on: nothing changes it any more.
pub fn restore(
    restore: &MilvusRestore,
    namespace: &str,
    pinned: Option<&Artifact>,
    sources: &Sources,
) -> Result<ValidRestore, Obstacle> {
    let milvus = found(&sources.milvus, namespace, restore.spec.target.auth.as_ref(), cond::TARGET_READY)?;
    confirmed(restore, &milvus)?;
    let (source, artifact) = source(restore, namespace, &milvus, sources)?;
    let artifact = pinned.cloned().unwrap_or(artifact);
    ready(&milvus, cond::TARGET_READY)?;
    let service_account = one_account(&milvus, &source, restore.spec.job.service_account_name.as_deref())?;
    Ok(ValidRestore { milvus, source, artifact, service_account })
}

fn obstacle(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Obstacle {
    Obstacle { condition, reason, message: message.into(), last_word: false }
}

fn last_word(condition: &'static str, reason: &'static str, message: impl Into<String>) -> Obstacle {
    Obstacle { last_word: true, ..obstacle(condition, reason, message) }
}

/// The Milvus behind a name.
fn found(
    fetched: &MilvusFetched,
    namespace: &str,
    auth: Option<&Auth>,
    condition: &'static str,
) -> Result<Resolved, Obstacle> {
    let refused = |error: DiscoveryError| Obstacle {
        condition,
        reason: error.reason(),
        last_word: matches!(error, DiscoveryError::Unsupported { .. } | DiscoveryError::NoMilvusNamed),
        message: error.to_string(),
    };
    let resolved = match &fetched.seen {
        MilvusSeen::Absent => {
            let milvus = format!("{namespace}/{}", fetched.name);
            return Err(refused(DiscoveryError::NotFound { milvus }));
        }
        MilvusSeen::NoSuchKind => {
            let message = format!(
                "there is no Milvus {namespace}/{}: this cluster does not know milvuses.milvus.io; install Milvus Operator \
                 or use connection",
                fetched.name
            );
            return Err(obstacle(condition, reason::NOT_FOUND, message));
        }
        MilvusSeen::Written(connection) => discovery::connect(connection).map_err(refused)?,
        MilvusSeen::Resource { object, service } => {
            let view = MilvusView { object, service: service.as_deref() };
            let resolved = discovery::discover(view, fetched.overrides.as_ref()).map_err(refused)?;
            // Without its Service a healthy Milvus cannot be reached; one that is coming up says so itself.
            if service.is_none() && resolved.state.obstacle().is_none() {
                let name = service_name(&fetched.name);
                let message = format!("Milvus {namespace}/{} has no Service {name} yet", fetched.name);
                return Err(obstacle(condition, reason::NOT_FOUND, message));
            }
            resolved
        }
    };
    resolved.require_auth(auth).map_err(refused)?;
    Ok(resolved)
}

/// Whether the Milvus can take a run now.
fn ready(milvus: &Resolved, condition: &'static str) -> Result<(), Obstacle> {
    match milvus.state.obstacle() {
        Some((reason, message)) => Err(obstacle(condition, reason, message)),
        None => Ok(()),
    }
}

/// The place behind a location; without one, `backup/` in the bucket of `milvus`.
fn destined(
    fetched: &LocationFetched,
    milvus: Option<&Resolved>,
    namespace: &str,
    condition: &'static str,
) -> Result<Destined, Obstacle> {
    let location = match fetched {
        LocationFetched::Named { name, found: None } => {
            let message =
                format!("there is no MilvusBackupLocation {namespace}/{name}: create it, or correct the name");
            return Err(obstacle(condition, reason::NOT_FOUND, message));
        }
        LocationFetched::Named { found: Some(location), .. } | LocationFetched::Default(Some(location)) => location,
        LocationFetched::Default(None) | LocationFetched::OfMilvus => {
            let Some(milvus) = milvus else {
                return Err(obstacle(condition, reason::NOT_FOUND, "no location and no Milvus leads to the bucket"));
            };
            return Ok(Destined {
                place: StorePlace::of_milvus(&milvus.store, OWN_PREFIX),
                location: None,
                service_account: milvus.service_account.as_ref().map(|account| account.value.clone()),
            });
        }
    };
    usable(location, namespace, condition)?;
    let identity = location.spec.credentials.as_ref().and_then(|credentials| credentials.workload_identity.as_ref());
    Ok(Destined {
        place: StorePlace::of_location(&location.spec),
        location: location.metadata.name.clone(),
        service_account: identity.map(|identity| identity.service_account_name.clone()),
    })
}

/// A location whose last try failed is not used; one that was not tried yet is.
fn usable(location: &MilvusBackupLocation, namespace: &str, condition: &'static str) -> Result<(), Obstacle> {
    let name = location.metadata.name.as_deref().unwrap_or_default();
    if location.metadata.deletion_timestamp.is_some() {
        let message = format!("MilvusBackupLocation {namespace}/{name} is being deleted");
        return Err(obstacle(condition, reason::NOT_READY, message));
    }
    let status = location.status.as_ref();
    let current = status.and_then(|status| status.observed_generation) == location.metadata.generation;
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    // Being tried for the first time is `Ready=False` as well; only a try that failed stalls it.
    if current && cond::is_true(conditions, cond::STALLED) {
        let why = cond::find(conditions, cond::READY).map_or("", |ready| ready.message.as_str());
        let message = format!("MilvusBackupLocation {namespace}/{name} cannot be used: {why}");
        return Err(obstacle(condition, reason::NOT_READY, message));
    }
    Ok(())
}

fn fate(milvus: &Resolved, place: &StorePlace) -> Result<SharedFate, Obstacle> {
    let destination = Destination { endpoint: place.endpoint.as_deref(), bucket: &place.bucket, prefix: &place.prefix };
    shared_fate(milvus, destination)
        .map_err(|error| last_word(cond::LOCATION_AVAILABLE, error.reason(), error.to_string()))
}

/// `onConflict: Replace` drops collections, so the target must be the one that was meant.
fn confirmed(restore: &MilvusRestore, milvus: &Resolved) -> Result<(), Obstacle> {
    if restore.spec.on_conflict != OnConflict::Replace {
        return Ok(());
    }
    let expected = lock_key(milvus);
    let given = restore.spec.confirm_target_uid.as_deref().unwrap_or_default();
    if given == expected {
        return Ok(());
    }
    let message = format!(
        "confirmTargetUID is {given:?}, but the target {} is {expected:?}: nothing was replaced; create a new restore if this \
         is the Milvus you mean",
        milvus.name()
    );
    Err(last_word(cond::TARGET_READY, reason::TARGET_UID_MISMATCH, message))
}

/// Where a restore reads, and what.
fn source(
    restore: &MilvusRestore,
    namespace: &str,
    target: &Resolved,
    sources: &Sources,
) -> Result<(Destined, Artifact), Obstacle> {
    let condition = cond::SOURCE_AVAILABLE;
    if let Some(backup) = &sources.backup {
        let artifact = restorable(backup, namespace)?;
        let milvus = match &backup.milvus {
            // Only the way to its bucket counts here: neither its log-in nor its health.
            Some(fetched) => Some(bucket_owner(fetched, namespace)?),
            None => None,
        };
        let mut source = destined(&sources.location, milvus.as_ref(), namespace, condition)?;
        // A location may have moved since; the copy stays where it was made.
        if let Some(prefix) = prefix_of(&artifact.uri, &source.place.bucket, &artifact.name) {
            source.place.prefix = prefix;
        }
        return Ok((source, artifact));
    }
    let Some(named) = &restore.spec.from.artifact else {
        return Err(last_word(condition, reason::INVALID, "from names neither a backup nor an artifact"));
    };
    let source = destined(&sources.location, Some(target), namespace, condition)?;
    let artifact = Artifact { uri: source.place.uri(&named.name), name: named.name.clone(), ..Artifact::default() };
    Ok((source, artifact))
}

fn bucket_owner(fetched: &MilvusFetched, namespace: &str) -> Result<Resolved, Obstacle> {
    let condition = cond::SOURCE_AVAILABLE;
    let unknown = |why: String| {
        obstacle(
            condition,
            reason::NOT_FOUND,
            format!("the backup lies in the bucket of Milvus {namespace}/{}: {why}", fetched.name),
        )
    };
    match &fetched.seen {
        MilvusSeen::Written(connection) => discovery::connect(connection).map_err(|error| unknown(error.to_string())),
        MilvusSeen::Resource { object, .. } => {
            let view = MilvusView { object, service: None };
            let found = discovery::discover(view, fetched.overrides.as_ref());
            found.map_err(|error| unknown(error.to_string()))
        }
        MilvusSeen::Absent | MilvusSeen::NoSuchKind => {
            let instead = "that Milvus is gone, and with it the way to its keys; create a MilvusBackupLocation for the bucket and \
                           restore from.artifact";
            Err(unknown(instead.to_owned()))
        }
    }
}

/// The copy behind a backup, once it can be restored.
fn restorable(backup: &BackupFetched, namespace: &str) -> Result<Artifact, Obstacle> {
    let condition = cond::SOURCE_AVAILABLE;
    let name = format!("MilvusBackup {namespace}/{}", backup.name);
    let Some(found) = &backup.found else {
        let message = format!("there is no {name}: create it, or correct the name");
        return Err(obstacle(condition, reason::NOT_FOUND, message));
    };
    if found.metadata.deletion_timestamp.is_some() {
        return Err(obstacle(condition, reason::DELETING, format!("{name} is being deleted")));
    }
    let status = found.status.as_ref();
    let conditions = status.map(|status| status.run.conditions.as_slice()).unwrap_or_default();
    let succeeded = cond::find(conditions, cond::SUCCEEDED);
    let (stage, said) = succeeded.map_or(("", ""), |succeeded| (succeeded.reason.as_str(), succeeded.message.as_str()));
    if !cond::is_true(conditions, cond::READY) {
        return Err(match succeeded.map(|succeeded| succeeded.status.as_str()) {
            Some("False") => {
                let message = format!("{name} failed ({stage}): {said}");
                last_word(condition, reason::FAILED, message)
            }
            _ => obstacle(condition, reason::NOT_READY, format!("{name} is not complete yet ({stage})")),
        });
    }
    status.and_then(|status| status.artifact.clone()).ok_or_else(|| {
        last_word(condition, reason::ARTIFACT_MISSING, format!("{name} does not say where its copy lies"))
    })
}

/// The prefix a copy was written under, from its address.
fn prefix_of(uri: &str, bucket: &str, name: &str) -> Option<String> {
    let path = uri.strip_prefix("s3://")?.strip_prefix(bucket)?.strip_prefix('/')?;
    let prefix = path.strip_suffix(name)?;
    Some(prefix.trim_matches('/').to_owned())
}

/// A pod has one ServiceAccount: two identities do not fit into it.
fn one_account(milvus: &Resolved, place: &Destined, wished: Option<&str>) -> Result<Option<String>, Obstacle> {
    let of_milvus = milvus.service_account.as_ref().map(|account| account.value.as_str());
    match (wished, of_milvus, place.service_account.as_deref()) {
        (Some(wished), _, _) => Ok(Some(wished.to_owned())),
        (None, Some(one), Some(other)) if one != other => {
            let message = format!(
                "the bucket of Milvus needs the identity of ServiceAccount {one} and the location that of {other}: name one that \
                 may use both in job.serviceAccountName"
            );
            Err(obstacle(cond::ADMITTED, reason::INVALID, message))
        }
        (None, one, other) => Ok(one.or(other).map(str::to_owned)),
    }
}

/// The bucket a copy lies in, for its removal: its location, else the Milvus it was made of, else what was written down when it
/// was made.
pub fn deletion(
    record: &Record,
    namespace: &str,
    location: &LocationFetched,
    milvus: Option<&MilvusFetched>,
) -> Result<Destined, Obstacle> {
    let condition = cond::DATA_DELETED;
    let resolved = milvus.and_then(|fetched| bucket_owner(fetched, namespace).ok());
    let mut place = match (location, &resolved) {
        (LocationFetched::Named { name, found: None }, _) => {
            let message = format!(
                "there is no MilvusBackupLocation {namespace}/{name} any more: create it again, or set \
                 lifecycle.deletionPolicy: Retain to let this object go and keep its data"
            );
            return Err(obstacle(condition, reason::LOCATION_UNAVAILABLE, message));
        }
        (LocationFetched::Named { found: Some(found), .. }, _) => {
            let account = found.spec.credentials.as_ref().and_then(|all| all.workload_identity.as_ref());
            Destined {
                place: StorePlace::of_location(&found.spec),
                location: found.metadata.name.clone(),
                service_account: account.map(|account| account.service_account_name.clone()),
            }
        }
        (_, Some(milvus)) => destined(&LocationFetched::OfMilvus, Some(milvus), namespace, condition)?,
        (_, None) => remembered(&record.run.resolved).ok_or_else(|| {
            let message = "the bucket of this backup is not known any more: set lifecycle.deletionPolicy: Retain to let this object \
                           go and keep its data";
            obstacle(condition, reason::LOCATION_UNAVAILABLE, message)
        })?,
    };
    if let Some(artifact) = &record.artifact
        && let Some(prefix) = prefix_of(&artifact.uri, &place.place.bucket, &artifact.name)
    {
        place.place.prefix = prefix;
    }
    Ok(place)
}

/// Milvus' bucket as `status.resolved` holds it, for a Milvus that is gone.
fn remembered(resolved: &BTreeMap<String, ResolvedValue>) -> Option<Destined> {
    let value = |name: &str| resolved.get(name).map(|found| found.value.clone());
    let endpoint = value("storageEndpoint");
    let place = StorePlace {
        path_style: endpoint.is_some(),
        endpoint,
        region: value("storageRegion"),
        bucket: value("bucket")?,
        prefix: OWN_PREFIX.to_owned(),
        keys: value("storageSecret").map(|name| crate::api::S3SecretRef::named(&name)),
        ca: None,
    };
    Some(Destined { place, location: None, service_account: value("serviceAccount") })
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
