//! First call of a reconcile: reads from the cluster what the next steps need, and judges nothing.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod, Service},
};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{
    cluster::{Cluster, ClusterError, MilvusLookup},
    discovery::service_name,
    observe::{Proof, Seen, newest, observe},
    run::{MilvusNamed, RunObject},
};
use crate::api::{Connection, LocalRef, MilvusBackup, MilvusBackupLocation, Overrides};

/// The Job of one attempt and what came of it.
#[derive(Debug, Default)]
pub struct Attempted {
    /// The Job.
    pub job: Option<Job>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Last lines of the newest pod's log; empty where there are none.
    pub tail: String,
    /// Pods of any attempt of this object whose container has not ended.
    pub alive: usize,
}

impl Attempted {
    /// What the attempt does.
    pub fn seen(&self, proof: Proof, now: Timestamp) -> Seen {
        observe(self.job.as_ref(), &self.pods, &self.tail, proof, now)
    }
}

/// A Milvus as it was found.
#[derive(Debug, Clone)]
pub enum MilvusSeen {
    /// Its resource and, if there is one, its Service.
    Resource {
        /// The whole object.
        object: Box<Value>,
        /// The Service of its name.
        service: Option<Box<Service>>,
    },
    /// No resource of that name.
    Absent,
    /// The cluster knows no such kind.
    NoSuchKind,
    /// Nothing to look up.
    Written(Box<Connection>),
}

/// A Milvus by name and as found.
#[derive(Debug, Clone)]
pub struct MilvusFetched {
    /// Name of the resource, or `host:port`.
    pub name: String,
    /// What was found.
    pub seen: MilvusSeen,
    /// Values the object replaces.
    pub overrides: Option<Overrides>,
}

/// The location a run uses.
#[derive(Debug, Clone)]
pub enum LocationFetched {
    /// It is named.
    Named {
        /// The name.
        name: String,
        /// The location, if there is one of that name.
        found: Option<Box<MilvusBackupLocation>>,
    },
    /// None is named: the namespace's default one, if there is one.
    Default(Option<Box<MilvusBackupLocation>>),
    /// None is looked for: the bucket of a Milvus.
    OfMilvus,
}

/// The backup a restore names, with what leads to its bucket.
#[derive(Debug, Clone)]
pub struct BackupFetched {
    /// Its name.
    pub name: String,
    /// The object.
    pub found: Option<Box<MilvusBackup>>,
    /// The Milvus whose own bucket it lies in; none where it lies in a location.
    pub milvus: Option<MilvusFetched>,
}

/// Everything a new attempt depends on.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The Milvus backed up, or restored into.
    pub milvus: MilvusFetched,
    /// The location.
    pub location: LocationFetched,
    /// Restore by `backupRef`: the backup.
    pub backup: Option<BackupFetched>,
}

/// The Job of an attempt, its pods, the tail of its log. A log that cannot be read is an empty one: the pod's state counts.
pub async fn attempted(cluster: &Cluster, namespace: &str, uid: &str, job: &str) -> Result<Attempted, ClusterError> {
    let (found, all) = futures::try_join!(cluster.job(namespace, job), cluster.pods(namespace, uid))?;
    let now = Timestamp::now();
    let alive = all.iter().filter(|pod| is_alive(pod, now)).count();
    let of_job = |pod: &Pod| pod.labels().get("batch.kubernetes.io/job-name").is_some_and(|name| name == job);
    let pods: Vec<Pod> = all.into_iter().filter(of_job).collect();
    let tail = match newest(&pods).filter(|pod| has_log(pod)) {
        Some(pod) => cluster.log_tail(namespace, &pod.name_any()).await.unwrap_or_else(|error| {
            tracing::debug!("{error}");
            String::new()
        }),
        None => String::new(),
    };
    Ok(Attempted { job: found, pods, tail, alive })
}

/// Whether a pod may still work. One whose grace period is over without an end sits on a lost node: it is not waited for, the
/// lock in the bucket keeps it out.
pub fn is_alive(pod: &Pod, now: Timestamp) -> bool {
    const LATE: SignedDuration = SignedDuration::from_secs(15);
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let overdue = pod.metadata.deletion_timestamp.as_ref().is_some_and(|by| now.duration_since(by.0) > LATE);
    !matches!(phase, Some("Succeeded" | "Failed")) && !overdue
}

fn has_log(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let state = |status: &ContainerStatus| status.state.clone().unwrap_or_default();
    statuses.iter().map(state).any(|state| state.running.is_some() || state.terminated.is_some())
}

/// Everything a new attempt of `run` depends on, read side by side.
pub async fn sources<K: RunObject>(cluster: &Cluster, namespace: &str, run: &K) -> Result<Sources, ClusterError> {
    let from = run.as_restore().map(|restore| &restore.spec.from);
    let backup = from.and_then(|from| from.backup_ref.as_ref());
    let location = match (run.as_backup(), from.and_then(|from| from.artifact.as_ref())) {
        (Some(backup), _) => Some(backup.spec.location_ref.as_ref()),
        (None, Some(artifact)) => Some(artifact.location_ref.as_ref()),
        (None, None) => None,
    };
    let (milvus, location, backup) = futures::try_join!(
        milvus(cluster, namespace, run.milvus()),
        async {
            match location {
                Some(reference) => self::location(cluster, namespace, reference).await,
                None => Ok(LocationFetched::OfMilvus),
            }
        },
        async {
            match backup {
                Some(reference) => self::backup(cluster, namespace, &reference.name).await.map(Some),
                None => Ok(None),
            }
        },
    )?;
    let Some((backup, of_backup)) = backup else {
        return Ok(Sources { milvus, location, backup: None });
    };
    Ok(Sources { milvus, location: of_backup, backup: Some(backup) })
}

/// A Milvus and its Service.
pub async fn milvus(cluster: &Cluster, namespace: &str, named: MilvusNamed<'_>) -> Result<MilvusFetched, ClusterError> {
    let name = named.text();
    let overrides = named.overrides.cloned();
    let seen = match (named.reference, named.connection) {
        (_, Some(connection)) => MilvusSeen::Written(Box::new(connection.clone())),
        _ => {
            let service = service_name(&name);
            let (found, service) =
                futures::try_join!(cluster.milvus(namespace, &name), cluster.service(namespace, &service))?;
            match found {
                MilvusLookup::Absent => MilvusSeen::Absent,
                MilvusLookup::NoSuchKind => MilvusSeen::NoSuchKind,
                // An object that was just read from JSON goes back into it.
                MilvusLookup::Found(object) => MilvusSeen::Resource {
                    object: Box::new(serde_json::to_value(object).unwrap_or_default()),
                    service: service.map(Box::new),
                },
            }
        }
    };
    Ok(MilvusFetched { name, seen, overrides })
}

/// The location named, or the namespace's default one: the oldest, should there be several.
pub async fn location(
    cluster: &Cluster,
    namespace: &str,
    reference: Option<&LocalRef>,
) -> Result<LocationFetched, ClusterError> {
    if let Some(LocalRef { name }) = reference {
        let found = cluster.object::<MilvusBackupLocation>(namespace, name).await?.map(Box::new);
        return Ok(LocationFetched::Named { name: name.clone(), found });
    }
    Ok(LocationFetched::Default(default_location(cluster.locations(namespace).await?).map(Box::new)))
}

/// The default one of several locations.
pub fn default_location(locations: Vec<MilvusBackupLocation>) -> Option<MilvusBackupLocation> {
    let usable =
        |location: &MilvusBackupLocation| location.spec.default && location.metadata.deletion_timestamp.is_none();
    let age = |location: &MilvusBackupLocation| {
        (location.metadata.creation_timestamp.as_ref().map(|time| time.0), location.name_any())
    };
    locations.into_iter().filter(usable).min_by_key(age)
}

async fn backup(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<(BackupFetched, LocationFetched), ClusterError> {
    let name = name.to_owned();
    let Some(found) = cluster.object::<MilvusBackup>(namespace, &name).await? else {
        return Ok((BackupFetched { name, found: None, milvus: None }, LocationFetched::OfMilvus));
    };
    let in_location = found.status.as_ref().and_then(|status| status.run.location_name.clone());
    let (milvus, location) = match in_location.filter(|name| !name.is_empty()) {
        Some(name) => (None, self::location(cluster, namespace, Some(&LocalRef { name })).await?),
        None => (Some(milvus(cluster, namespace, found.milvus()).await?), LocationFetched::OfMilvus),
    };
    Ok((BackupFetched { name, found: Some(Box::new(found)), milvus }, location))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn location(name: &str, created: &str, default: bool) -> MilvusBackupLocation {
        serde_json::from_value(json!({
            "apiVersion": "backup.milvus.io/v1alpha1", "kind": "MilvusBackupLocation",
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"s3": {"bucket": "b"}, "default": default}
        }))
        .unwrap()
    }

    #[test]
    fn of_two_default_locations_the_older_counts() {
        let all = vec![
            location("new", "2026-11-02T00:00:00Z", true),
            location("old", "2026-11-01T00:00:00Z", true),
            location("oldest", "2026-10-01T00:00:00Z", false),
        ];
        assert_eq!(default_location(all).unwrap().name_any(), "old");
        assert!(default_location(vec![location("a", "2026-11-02T00:00:00Z", false)]).is_none());
    }

    #[test]
    fn a_pod_is_alive_until_its_phase_is_final_or_its_grace_is_long_over() {
        let pod = |phase: &str, gone: Option<&str>| {
            let metadata = json!({"deletionTimestamp": gone});
            serde_json::from_value::<Pod>(json!({"metadata": metadata, "status": {"phase": phase}})).unwrap()
        };
        let now = "2026-11-01T00:01:00Z".parse().unwrap();
        let alive = |phase, gone| is_alive(&pod(phase, gone), now);
        assert!(alive("Pending", None) && alive("Running", None) && alive("Unknown", None));
        assert!(!alive("Succeeded", None) && !alive("Failed", None));
        assert!(alive("Running", Some("2026-11-01T00:01:30Z")), "within its grace period");
        assert!(!alive("Running", Some("2026-11-01T00:00:30Z")), "on a lost node");
    }
}
