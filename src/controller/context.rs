//! What every reconcile shares: the cluster, the settings, the metrics, the objects as last seen, and the Leases held.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Resource,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::sync::watch;

use super::{
    Config,
    cluster::{Cluster, ClusterError},
    fetch::is_alive,
    lease::{self, Holder, Lock, Standing},
    line::{Contender, contender},
    metrics::{Metrics, RunningLabels},
    record::RunKind,
    run::RunObject,
};
use crate::api::{MilvusBackup, MilvusRestore};

/// A Lease of ours is renewed when it is older than this.
const RENEW: SignedDuration = SignedDuration::from_secs(25);

/// The runs as last seen, one store for each watched namespace.
#[derive(Debug, Clone, Default)]
pub struct Stores {
    /// Backups.
    pub backups: Vec<Store<DeserializeGuard<MilvusBackup>>>,
    /// Restores.
    pub restores: Vec<Store<DeserializeGuard<MilvusRestore>>>,
}

/// Shared by all reconciles.
#[derive(Debug)]
pub struct Context {
    /// The API server.
    pub cluster: Cluster,
    /// Settings.
    pub config: Config,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    stores: Stores,
    /// How many of the stores hold their first list. A latch of our own: of several that await the same
    /// `Store::wait_until_ready` only the one polled last is woken.
    listed: watch::Sender<usize>,
    held: Mutex<HashMap<String, Held>>,
    freed: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
struct Held {
    lease: String,
    renewed: Timestamp,
    labels: RunningLabels,
}

/// Something a run may hold a Lease on.
#[derive(Debug, Clone, Copy)]
pub struct Runner<'a> {
    /// Kind.
    pub kind: RunKind,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// UID.
    pub uid: &'a str,
}

impl Runner<'_> {
    fn holder(&self) -> Holder {
        let Runner { kind, namespace, name, uid } = self;
        Holder { uid: (*uid).to_owned(), object: format!("{}/{namespace}/{name}", kind.name()) }
    }

    /// Labels of its running series.
    pub fn labels(&self) -> RunningLabels {
        RunningLabels { namespace: self.namespace.to_owned(), name: self.name.to_owned(), kind: self.kind.label() }
    }
}

impl Context {
    /// `freed` is told each time a Milvus becomes free.
    pub fn new(
        cluster: Cluster,
        config: Config,
        metrics: Arc<Metrics>,
        stores: Stores,
        freed: watch::Sender<u64>,
    ) -> Context {
        Context { cluster, config, metrics, stores, listed: watch::Sender::new(0), held: Mutex::default(), freed }
    }

    /// One more of the stores holds its first list.
    pub fn listed(&self) {
        self.listed.send_modify(|count| *count += 1);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of runs that hold a Lease.
    pub fn running(&self) -> usize {
        self.held().len()
    }

    /// The Lease an object holds.
    pub fn lease_of(&self, uid: &str) -> Option<String> {
        self.held().get(uid).map(|held| held.lease.clone())
    }

    /// All runs, for the line.
    pub async fn contenders(&self) -> Vec<Contender> {
        self.filled().await;
        fn read<K: RunObject>(stores: &[Store<DeserializeGuard<K>>]) -> impl Iterator<Item = Contender> {
            stores.iter().flat_map(Store::state).filter_map(|object| contender(object.0.as_ref().ok()?))
        }
        read(&self.stores.backups).chain(read(&self.stores.restores)).collect()
    }

    /// Restores that are not over and keep to this copy.
    pub async fn restores_of(&self, namespace: &str, artifact_uri: &str) -> Vec<String> {
        self.filled().await;
        let states = self.stores.restores.iter().flat_map(Store::state);
        let uses = |restore: &MilvusRestore| {
            let pinned = restore.status.as_ref().and_then(|status| status.pinned_artifact.as_ref());
            restore.metadata.namespace.as_deref() == Some(namespace)
                && pinned.is_some_and(|artifact| artifact.uri == artifact_uri)
                && restore.record().outcome().is_none()
        };
        states
            .filter_map(|object| object.0.as_ref().ok().filter(|restore| uses(restore))?.metadata.name.clone())
            .collect()
    }

    /// Decisions about others need the whole picture: the first list of every kind.
    async fn filled(&self) {
        let all = self.stores.backups.len() + self.stores.restores.len();
        // It ends with an error when the sender is gone, and that is a part of `self`.
        let _ = self.listed.subscribe().wait_for(|count| *count >= all).await;
    }

    /// Whether the holder of a Lease is an object that is there and not over.
    fn lives(&self, holder: &Standing<'_>) -> bool {
        let mut parts = holder.object.splitn(3, '/');
        let (Some(kind), Some(namespace), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return true;
        };
        fn live<K: RunObject>(stores: &[Store<DeserializeGuard<K>>], namespace: &str, name: &str, uid: &str) -> bool {
            let reference = ObjectRef::<DeserializeGuard<K>>::new(name).within(namespace);
            stores.iter().filter_map(|store| store.get(&reference)).any(|object| match &object.0 {
                Ok(object) => object.meta().uid.as_deref() == Some(uid) && object.record().outcome().is_none(),
                Err(_) => true,
            })
        }
        match kind {
            "MilvusBackup" => live(&self.stores.backups, namespace, name, holder.uid),
            "MilvusRestore" => live(&self.stores.restores, namespace, name, holder.uid),
            _ => true,
        }
    }

    /// Takes the Lease, or keeps it. While it is young nothing is asked.
    pub async fn lock(&self, run: &Runner<'_>, lease: &str, now: Timestamp) -> Result<Lock, ClusterError> {
        let young = |held: &Held| held.lease == lease && now.duration_since(held.renewed) < RENEW;
        if self.held().get(run.uid).is_some_and(young) {
            return Ok(Lock::Ours);
        }
        self.filled().await;
        let is_gone = async |holder: Standing<'_>| {
            if !holder.lapsed && self.lives(&holder) {
                return Ok(false);
            }
            let namespace = holder.object.split('/').nth(1).unwrap_or(run.namespace);
            let pods = self.cluster.pods(namespace, holder.uid).await?;
            Ok(!pods.iter().any(|pod| is_alive(pod, now)))
        };
        let lock = lease::acquire(&self.cluster, lease, &run.holder(), now, is_gone).await?;
        match lock {
            Lock::Ours => {
                let held = Held { lease: lease.to_owned(), renewed: now, labels: run.labels() };
                self.held().insert(run.uid.to_owned(), held);
            }
            Lock::Theirs { .. } => {
                self.held().remove(run.uid);
            }
        }
        Ok(lock)
    }

    /// Gives the Lease back and lets the line move on.
    pub async fn unlock(&self, run: &Runner<'_>, lease: &str) -> Result<(), ClusterError> {
        lease::release(&self.cluster, lease, run.uid).await?;
        self.forget(run.uid);
        self.freed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Forgets a run that is over: its Lease and its series.
    fn forget(&self, uid: &str) {
        if let Some(held) = self.held().remove(uid) {
            self.metrics.progress.remove(&held.labels);
            self.metrics.heartbeat_age.remove(&held.labels);
        }
    }

    /// Gives back the Leases of runs whose objects are gone, once their pods are gone as well: without a finalizer nobody is told
    /// when such an object goes.
    pub async fn sweep(&self) {
        fn has<K: RunObject>(stores: &[Store<DeserializeGuard<K>>], labels: &RunningLabels, uid: &str) -> bool {
            let reference = ObjectRef::<DeserializeGuard<K>>::new(&labels.name).within(&labels.namespace);
            let found = stores.iter().filter_map(|store| store.get(&reference));
            found.into_iter().any(|object| object.meta().uid.as_deref() == Some(uid))
        }
        let gone: Vec<(String, Held)> = self
            .held()
            .iter()
            .filter(|(uid, held)| {
                !has(&self.stores.backups, &held.labels, uid) && !has(&self.stores.restores, &held.labels, uid)
            })
            .map(|(uid, held)| (uid.clone(), held.clone()))
            .collect();
        for (uid, held) in gone {
            let RunningLabels { namespace, name, kind } = &held.labels;
            let kind = if *kind == RunKind::Backup.label() { RunKind::Backup } else { RunKind::Restore };
            let run = Runner { kind, namespace, name, uid: &uid };
            let freed = async {
                let pods = self.cluster.pods(namespace, &uid).await?;
                let now = Timestamp::now();
                if pods.iter().any(|pod| is_alive(pod, now)) {
                    return Ok(());
                }
                self.unlock(&run, &held.lease).await
            };
            if let Err(error) = freed.await {
                tracing::warn!(namespace, name, "could not free the Milvus of a run that is gone: {error}");
            }
        }
    }
}
