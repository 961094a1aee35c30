//! The end of a backup whose data goes with it: the finalizer, the delete Job, and what may be in the way.
//!
//! The finalizer is there only while `lifecycle.deletionPolicy` is `Delete`. Nothing here is silent: whatever is left in a bucket
//! on purpose is told in an Event, the log and a metric.
//!
//! - here: the steps of an object that is going.
//! - `finalizer`: what keeps it until then.
//! - `removal`: what its delete Jobs amount to (pure).

mod finalizer;
mod removal;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::{ResourceExt as _, runtime::controller::Action};

use super::{
    context::{Context, Runner},
    fetch::{self, LocationFetched},
    job::{self, JobKind, Shape, job_name, number_of},
    metrics::ReasonLabels,
    news::News,
    observe::{Proof, Seen},
    publish::{publish, reference},
    reconcile::{ReconcileError, owner},
    record::{Moment, Obstacle, Record},
    run::RunObject,
    task::{self, Written},
    validate,
};
use crate::{
    api::{
        LocalRef, MilvusBackup,
        conditions::{self as cond, Standing, Status, reason, set_condition, set_standing},
    },
    engine::task::Run,
};

use finalizer::set_finalizer;
pub use finalizer::{FINALIZER, finalizer_patch, has_finalizer, keep_finalizer, wants_finalizer};
pub use removal::{Removal, removal};

/// Longest pause between two tries, in seconds.
const LONGEST_PAUSE: i64 = 600;

/// A backup that is being deleted.
pub async fn pass(
    context: &Context,
    backup: &MilvusBackup,
    run: &Runner<'_>,
    at: &Moment,
    old: Record,
) -> Result<Action, ReconcileError> {
    if !has_finalizer(&backup.metadata) {
        if let Some(lease) = context.lease_of(run.uid) {
            context.unlock(run, &lease).await.map_err(ReconcileError::Lock)?;
        }
        return Ok(Action::await_change());
    }
    let this = Leaving { context, backup, run, at };
    let mut record = old.clone();
    record.observe_generation(at);
    let pause = this.step(&mut record).await?;
    match pause {
        Some(pause) => {
            publish(context, backup, run, &old, &record).await?;
            Ok(Action::requeue(pause))
        }
        None => {
            if let Some(lease) = context.lease_of(run.uid) {
                context.unlock(run, &lease).await.map_err(ReconcileError::Lock)?;
            }
            set_finalizer(context, backup, run, false).await?;
            Ok(Action::await_change())
        }
    }
}

struct Leaving<'a> {
    context: &'a Context,
    backup: &'a MilvusBackup,
    run: &'a Runner<'a>,
    at: &'a Moment,
}

impl Leaving<'_> {
    /// One step; `None` lets the object go.
    async fn step(&self, record: &mut Record) -> Result<Option<Duration>, ReconcileError> {
        let Leaving { context, backup, run, at } = self;
        let soon = Some(Duration::from_secs(1));
        if !backup.deletes_data() {
            return Ok(None);
        }
        let jobs = context.cluster.jobs(run.namespace, run.uid).await.map_err(ReconcileError::Fetch)?;
        let removes = |job: &Job| job.labels().get(job::COMPONENT_LABEL).is_some_and(|component| component == "delete");
        let (removals, attempts): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(removes);
        if self.stopping(record, &attempts).await? {
            return Ok(soon);
        }
        if backup.spec.lifecycle.hold {
            let message = "lifecycle.hold keeps the data: set it to false to let this object and its data go";
            self.blocked(record, reason::HELD, message, Status::False);
            return Ok(Some(Duration::from_secs(300)));
        }
        let Some(artifact) = record.artifact.clone().filter(|_| !record.run.attempts.is_empty()) else {
            return Ok(None);
        };
        let restores = context.restores_of(run.namespace, &artifact.uri).await;
        if !restores.is_empty() {
            let message = format!("MilvusRestore {} reads it: the data goes when that is over", restores.join(", "));
            self.blocked(record, reason::IN_USE_BY_RESTORE, &message, Status::False);
            return Ok(Some(Duration::from_secs(5)));
        }
        let latest = removals.iter().max_by_key(|job| number_of(&job.name_any()));
        let number = latest.and_then(|job| number_of(&job.name_any()));
        let seen = match latest {
            Some(job) => self.look(&job.name_any()).await?,
            None => Seen::Absent,
        };
        match removal(number, &seen, at.now) {
            Removal::Done => {
                self.tell(&News::new("DataDeleted", false, format!("{} was removed", artifact.uri))).await;
                Ok(None)
            }
            Removal::BucketGone => {
                let note = format!("the bucket of {} does not exist any more, nor does the data", artifact.uri);
                self.tell(&News::new("DataDeleted", true, note)).await;
                Ok(None)
            }
            Removal::Working => {
                self.blocked(record, reason::DELETING, &format!("{} is being removed", artifact.uri), Status::False);
                Ok(soon)
            }
            Removal::Pause { ending, until } => {
                let why = match ending.report.as_ref().map(|report| report.reason.as_str()) {
                    Some(reason::ACCESS_DENIED) => reason::ACCESS_DENIED,
                    _ => reason::LOCATION_UNAVAILABLE,
                };
                self.obstructed(record, why, &ending.message).await;
                let left = Duration::try_from(until.duration_since(at.now)).unwrap_or(Duration::ZERO);
                Ok(Some(left.max(Duration::from_millis(100))))
            }
            Removal::Begin { number } => self.begin(record, &artifact.name, number).await,
        }
    }

    /// Stops a run that still works; true while it does.
    async fn stopping(&self, record: &mut Record, jobs: &[Job]) -> Result<bool, ReconcileError> {
        let Leaving { context, run, at, .. } = self;
        if record.outcome().is_some() {
            return Ok(false);
        }
        for job in jobs.iter().filter(|job| job.metadata.deletion_timestamp.is_none()) {
            let deleted = context.cluster.delete_job(run.namespace, &job.name_any()).await;
            deleted.map_err(ReconcileError::Apply)?;
        }
        let pods = context.cluster.pods(run.namespace, run.uid).await.map_err(ReconcileError::Fetch)?;
        if !jobs.is_empty() || pods.iter().any(|pod| fetch::is_alive(pod, at.now)) {
            record.follow(at, &Seen::Stopping, true);
            return Ok(true);
        }
        record.cancelled(at);
        Ok(false)
    }

    async fn look(&self, job: &str) -> Result<Seen, ReconcileError> {
        let Leaving { context, run, .. } = self;
        let attempted = fetch::attempted(&context.cluster, run.namespace, run.uid, job).await;
        Ok(attempted.map_err(ReconcileError::Fetch)?.seen(Proof::Report, self.at.now))
    }

    async fn begin(
        &self,
        record: &mut Record,
        artifact: &str,
        number: u32,
    ) -> Result<Option<Duration>, ReconcileError> {
        let Leaving { context, backup, run, .. } = self;
        let cluster = &context.cluster;
        let named = record.run.location_name.clone().filter(|name| !name.is_empty());
        let (location, milvus) = match named {
            Some(name) => {
                let found = fetch::location(cluster, run.namespace, Some(&LocalRef { name })).await;
                (found.map_err(ReconcileError::Fetch)?, None)
            }
            None => {
                let found = fetch::milvus(cluster, run.namespace, backup.milvus()).await;
                (LocationFetched::OfMilvus, Some(found.map_err(ReconcileError::Fetch)?))
            }
        };
        let place = match validate::deletion(record, run.namespace, &location, milvus.as_ref()) {
            Ok(place) => place,
            Err(Obstacle { reason, message, .. }) => {
                self.obstructed(record, reason, &message).await;
                return Ok(Some(self.patience()));
            }
        };
        let identity = Run {
            uid: run.uid.to_owned(),
            namespace: run.namespace.to_owned(),
            name: run.name.to_owned(),
            attempt: number,
        };
        let Written { task, mounts } = task::delete(identity, artifact, &place);
        let shape = Shape {
            name: job_name(JobKind::Delete, run.uid, number),
            namespace: run.namespace,
            owner: owner(*backup),
            // A deletion that waits for dependents (foreground, as Argo CD does it) would remove the Job that it waits for.
            owned: false,
            task: &task,
            mounts: &mounts,
            wishes: &backup.spec.job,
            service_account: place.service_account.as_deref(),
            location: place.location.as_deref(),
            lease: None,
            run_seconds: None,
            config: &context.config,
        };
        let job = match job::job(&shape) {
            Ok(job) => job,
            Err(error) => {
                self.obstructed(record, reason::LOCATION_UNAVAILABLE, &error.to_string()).await;
                return Ok(Some(self.patience()));
            }
        };
        match cluster.apply_job(run.namespace, &job).await {
            Ok(_) => {
                let note = format!("Job {} removes {artifact}", shape.name);
                self.tell(&News::new("DataDeletionStarted", false, note)).await;
                self.blocked(record, reason::DELETING, "the data is being removed", Status::False);
                Ok(Some(Duration::from_secs(1)))
            }
            // A namespace that is going away admits no pod any more, and its Secrets may be gone already.
            Err(error) if error.namespace_is_terminating() => {
                self.orphan(record).await;
                Ok(None)
            }
            Err(error) => match error.refusal() {
                Some(refusal) => {
                    let message = format!("the Job was refused: {refusal}");
                    self.obstructed(record, reason::LOCATION_UNAVAILABLE, &message).await;
                    Ok(Some(self.patience()))
                }
                None => Err(ReconcileError::Apply(error)),
            },
        }
    }

    /// The data stays where it is and the object goes.
    async fn orphan(&self, record: &Record) {
        let Leaving { context, run, .. } = self;
        let uri = record.artifact.as_ref().map_or("", |artifact| artifact.uri.as_str());
        tracing::warn!(
            namespace = run.namespace,
            name = run.name,
            uri,
            "orphaned: the namespace is being deleted, so the data cannot be removed and is kept"
        );
        let labels = ReasonLabels { namespace: run.namespace.to_owned(), reason: "NamespaceTerminating".to_owned() };
        context.metrics.orphaned.get_or_create(&labels).inc();
        let note = format!("the namespace is being deleted: {uri} stays in its bucket");
        self.tell(&News::new("DataOrphaned", true, note)).await;
    }

    /// Something is in the way of the removal: condition, Event and metric.
    async fn obstructed(&self, record: &mut Record, why: &str, message: &str) {
        let Leaving { context, run, .. } = self;
        let known = record.condition(cond::DATA_DELETED).is_some_and(|old| old.reason == why && old.message == message);
        self.blocked(record, why, message, Status::False);
        if known {
            return;
        }
        let labels = ReasonLabels { namespace: run.namespace.to_owned(), reason: why.to_owned() };
        context.metrics.deletion_failures.get_or_create(&labels).inc();
        self.tell(&News::new("DataDeletionBlocked", true, message)).await;
    }

    fn blocked(&self, record: &mut Record, why: &str, message: &str, status: Status) {
        let Moment { generation, now, .. } = *self.at;
        set_condition(&mut record.run.conditions, cond::DATA_DELETED, status, why, message, generation, now);
        let standing = Standing::Working { reason: reason::DELETING, message };
        set_standing(&mut record.run.conditions, &standing, generation, now);
    }

    /// Up to ten minutes, growing with the age of the deletion.
    fn patience(&self) -> Duration {
        let since = self.backup.metadata.deletion_timestamp.as_ref().map_or(self.at.now, |time| time.0);
        let waited = self.at.now.duration_since(since).as_secs();
        Duration::from_secs(u64::try_from((waited / 4).clamp(2, LONGEST_PAUSE)).unwrap_or(2))
    }

    async fn tell(&self, news: &News) {
        self.context.cluster.tell(&news.event("Deletion"), &reference(self.backup)).await;
    }
}
