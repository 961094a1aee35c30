//! The driver of backups and restores: fetch, validate, build, apply, status.
//!
//! A pass reads the object anew, looks at the Job of its current attempt, lets [`decide`] choose, acts, and writes the status if
//! anything changed. It can be broken off after any call: every name is deterministic, so the next pass finds what was done.

mod begin;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::batch::v1::Job,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{Resource, ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};
use tokio::time::{Instant, timeout};

use self::begin::adopt;
use super::{
    cluster::ClusterError,
    context::{Context, Runner},
    decide::{Next, Situation, Step, current, decide},
    deletion,
    fetch::{self, Attempted},
    job::{BuildError, LEASE_ANNOTATION, job_name},
    lease::{Lock, lease_name},
    metrics::{ErrorLabels, KindLabel, KindLabels},
    observe::Seen,
    publish::publish,
    record::{Moment, Record},
    run::RunObject,
    tail::log_tail,
};

/// A pass that takes longer is broken off and done again: calls to the API server have no bound of their own.
const PASS_LIMIT: Duration = Duration::from_secs(60);
/// A failed pass is done again after this.
const ERROR_PAUSE: Duration = Duration::from_secs(3);
/// A pass that lost a race is done again after this.
const RACE_PAUSE: Duration = Duration::from_millis(100);

/// A pass that failed; the steps are labels of a metric.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Reading.
    #[error(transparent)]
    Fetch(ClusterError),
    /// Taking or giving back a Lease.
    #[error(transparent)]
    Lock(ClusterError),
    /// Creating or deleting.
    #[error(transparent)]
    Apply(ClusterError),
    /// Building a Job.
    #[error(transparent)]
    Build(BuildError),
    /// Writing the status.
    #[error(transparent)]
    Status(ClusterError),
    /// Not in time.
    #[error("the pass took longer than {PASS_LIMIT:?}")]
    Timeout,
}

impl ReconcileError {
    fn step(&self) -> &'static str {
        match self {
            ReconcileError::Fetch(_) => "fetch",
            ReconcileError::Lock(_) => "lock",
            ReconcileError::Apply(_) => "apply",
            ReconcileError::Build(_) => "build",
            ReconcileError::Status(_) => "status",
            ReconcileError::Timeout => "timeout",
        }
    }

    fn is_race(&self) -> bool {
        match self {
            ReconcileError::Fetch(error)
            | ReconcileError::Lock(error)
            | ReconcileError::Apply(error)
            | ReconcileError::Status(error) => error.is_conflict() || error.is_invalid(),
            ReconcileError::Build(_) | ReconcileError::Timeout => false,
        }
    }
}

/// One pass, bounded and measured.
pub async fn measured<F>(kind: KindLabel, context: &Context, pass: F) -> Result<Action, ReconcileError>
where
    F: Future<Output = Result<Action, ReconcileError>>,
{
    let started = Instant::now();
    let result = timeout(PASS_LIMIT, pass).await.unwrap_or(Err(ReconcileError::Timeout));
    let seconds = started.elapsed().as_secs_f64();
    context.metrics.reconcile_duration.get_or_create(&KindLabels { kind }).observe(seconds);
    if let Err(error) = &result {
        context.metrics.reconcile_errors.get_or_create(&ErrorLabels { kind, step: error.step() }).inc();
    }
    result
}

/// What follows a failed pass.
pub fn after_error<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &ReconcileError, _: Arc<Context>) -> Action {
    let (kind, namespace, name) = (K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
    if error.is_race() {
        tracing::debug!(%kind, namespace, name, "{error}");
        return Action::requeue(RACE_PAUSE);
    }
    tracing::warn!(%kind, namespace, name, step = error.step(), "{error}");
    Action::requeue(ERROR_PAUSE)
}

/// Reconciles a backup or a restore.
pub async fn run<K: RunObject>(
    object: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    measured(K::KIND.label(), &context, async {
        match &object.0 {
            Ok(cached) => match settled(cached, Timestamp::now(), &context) {
                Some(action) => Ok(action),
                None => pass::<K>(&context, &cached.namespace().unwrap_or_default(), &cached.name_any()).await,
            },
            // The schema admits no such object; one from before a change of the schema may be there all the same.
            Err(error) => {
                tracing::error!(kind = %K::kind(&()), name = object.name_any(), "cannot read the object: {error}");
                Ok(Action::await_change())
            }
        }
    })
    .await
}

/// Objects that are over and have nothing left to do, by far the most, cost no request.
fn settled<K: RunObject>(cached: &K, now: Timestamp, context: &Context) -> Option<Action> {
    let record = cached.record();
    record.outcome()?;
    let meta = cached.meta();
    let wanted = cached.as_backup().is_some_and(|backup| deletion::wants_finalizer(backup, &record));
    let open = meta.deletion_timestamp.is_some()
        || record.run.observed_generation != meta.generation
        || deletion::has_finalizer(meta) != wanted
        || record.expires_at != expiry(cached, &record)
        || meta.uid.as_deref().is_none_or(|uid| context.lease_of(uid).is_some());
    if open {
        return None;
    }
    match until_expiry(cached, &record, now) {
        Some(Duration::ZERO) => None,
        Some(pause) => Some(Action::requeue(pause)),
        None => Some(Action::await_change()),
    }
}

/// When an object that is over is to be deleted.
fn expiry<K: RunObject>(object: &K, record: &Record) -> Option<Time> {
    let after = object.as_backup()?.spec.lifecycle.expire_after_seconds?;
    let completed = record.run.completed_at.as_ref()?.0;
    completed.saturating_add(SignedDuration::from_secs(after)).ok().map(Time)
}

fn until_expiry<K: RunObject>(object: &K, record: &Record, now: Timestamp) -> Option<Duration> {
    if object.as_backup().is_none_or(|backup| backup.spec.lifecycle.hold) {
        return None;
    }
    let at = expiry(object, record)?.0;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// When to look again whether the pod of a run that is over has ended. Its node says so within about a second, and the next
/// run waits for it; one that takes longer is not asked after as often.
fn until_pod_ends(record: &Record, now: Timestamp) -> Duration {
    const SOON: SignedDuration = SignedDuration::from_secs(5);
    let fresh = record.run.completed_at.as_ref().is_some_and(|at| now.duration_since(at.0) < SOON);
    if fresh { Duration::from_millis(200) } else { Duration::from_secs(1) }
}

/// One pass over one object.
struct Pass<'a, K> {
    context: &'a Context,
    object: &'a K,
    run: Runner<'a>,
    moment: Moment,
}

async fn pass<K: RunObject>(context: &Context, namespace: &str, name: &str) -> Result<Action, ReconcileError> {
    let Some(object) = context.cluster.object::<K>(namespace, name).await.map_err(ReconcileError::Fetch)? else {
        return Ok(Action::await_change());
    };
    let meta = object.meta();
    let uid = meta.uid.clone().unwrap_or_default();
    let run = Runner { kind: K::KIND, namespace, name, uid: &uid };
    let moment = Moment { now: Timestamp::now(), generation: meta.generation, kind: K::KIND, proof: object.verified() };
    let this = Pass { context, object: &object, run, moment };
    let old = object.record();
    if let Some(backup) = object.as_backup() {
        if meta.deletion_timestamp.is_some() {
            return deletion::pass(context, backup, &run, &moment, old).await;
        }
        deletion::keep_finalizer(context, backup, &run, &old).await?;
    }
    if meta.deletion_timestamp.is_some() {
        // No finalizer of ours: somebody else's holds it, and the Job goes with it.
        return Ok(Action::await_change());
    }
    if old.outcome().is_some() { this.finished(old).await } else { this.live(old).await }
}

impl<K: RunObject> Pass<'_, K> {
    /// The run is over.
    async fn finished(&self, old: Record) -> Result<Action, ReconcileError> {
        let Pass { context, object, run, moment } = self;
        let mut record = old.clone();
        record.observe_generation(moment);
        record.expires_at = expiry(*object, &record);
        self.publish(&old, &record).await?;
        if let Some(lease) = context.lease_of(run.uid) {
            let pods = context.cluster.pods(run.namespace, run.uid).await.map_err(ReconcileError::Fetch)?;
            if pods.iter().any(|pod| fetch::is_alive(pod, moment.now)) {
                return Ok(Action::requeue(until_pod_ends(&record, moment.now)));
            }
            context.unlock(run, &lease).await.map_err(ReconcileError::Lock)?;
        }
        match until_expiry(*object, &record, moment.now) {
            Some(Duration::ZERO) => {
                tracing::info!(kind = run.kind.name(), namespace = run.namespace, name = run.name, "expired");
                let deleted = context.cluster.delete_object::<K>(run.namespace, run.name, run.uid).await;
                deleted.map_err(ReconcileError::Apply)?;
                Ok(Action::await_change())
            }
            Some(pause) => Ok(Action::requeue(pause)),
            None => Ok(Action::await_change()),
        }
    }

    /// The run is not over.
    async fn live(&self, old: Record) -> Result<Action, ReconcileError> {
        let Pass { context, object, run, moment } = self;
        let mut record = old.clone();
        record.observe_generation(moment);
        let (number, open) = current(&record.run.attempts);
        let recorded = record.run.attempts.last().filter(|_| open).map(|attempt| attempt.job_name.clone());
        let job_name = recorded.unwrap_or_else(|| job_name(run.kind.jobs(), run.uid, number));
        let attempted = fetch::attempted(&context.cluster, run.namespace, run.uid, &job_name).await;
        let attempted = attempted.map_err(ReconcileError::Fetch)?;
        let seen = attempted.seen(run.kind.proof(), moment.now);
        if !open && let Some(job) = &attempted.job {
            adopt(&mut record, moment, number, job);
        }
        let history = record.run.attempts.clone();
        let situation = Situation {
            now: moment.now,
            created: object.meta().creation_timestamp.as_ref().map_or(moment.now, |time| time.0),
            cancel: object.cancel(),
            retry: object.retry(),
            deadlines: object.deadlines(),
            attempts: &history,
            seen: &seen,
            heartbeat: record.heartbeat(),
        };
        let pause = match decide(&situation) {
            Step::Begin { number } => self.begin(&mut record, number, &attempted, &situation).await?,
            Step::Follow => {
                record.follow(moment, &seen, object.cancel());
                self.follow_up(&record, &attempted).await?
            }
            Step::Pause { until } => {
                record.pausing(moment, until);
                let pause = self.follow_up(&record, &attempted).await?;
                let left = Duration::try_from(until.duration_since(moment.now)).unwrap_or(Duration::ZERO);
                left.clamp(Duration::from_millis(50), pause.max(Duration::from_secs(20)))
            }
            Step::Stop => {
                let deleted = context.cluster.delete_job(run.namespace, &job_name).await;
                deleted.map_err(ReconcileError::Apply)?;
                record.follow(moment, &Seen::Stopping, true);
                self.follow_up(&record, &attempted).await?
            }
            Step::Close { delete, ending, next } => {
                if delete {
                    let deleted = context.cluster.delete_job(run.namespace, &job_name).await;
                    deleted.map_err(ReconcileError::Apply)?;
                }
                record.close(moment, &ending, next, log_tail(&attempted.tail));
                match next {
                    Next::Retry { at } => Duration::try_from(at.duration_since(moment.now))
                        .unwrap_or(Duration::ZERO)
                        .clamp(Duration::from_millis(10), Duration::from_secs(20)),
                    _ => Duration::ZERO,
                }
            }
            Step::Cancelled => {
                record.cancelled(moment);
                Duration::ZERO
            }
        };
        if record.outcome().is_some() {
            record.expires_at = expiry(*object, &record);
            self.remember_lease(&record, &attempted).await?;
        }
        self.publish(&old, &record).await?;
        self.measure(&record);
        match record.outcome() {
            // What is left to do (the Lease, the expiry) is that of a finished run.
            Some(_) => self.finished(record).await,
            None => Ok(Action::requeue(pause)),
        }
    }

    /// Keeps the Lease while a run works or pauses; answers when to look again.
    async fn follow_up(&self, record: &Record, attempted: &Attempted) -> Result<Duration, ReconcileError> {
        let Pass { context, run, moment, .. } = self;
        if let Some(lease) = lease_of(record, attempted.job.as_ref()) {
            let lock = context.lock(run, &lease, moment.now).await.map_err(ReconcileError::Lock)?;
            if let Lock::Theirs { object, .. } = lock {
                tracing::warn!(lease, holder = object, name = run.name, "another run holds the Lease of this Milvus");
            }
        }
        // Each look costs a few requests: many runs at once are looked at less often.
        let seconds = u64::try_from(context.running() / 8).unwrap_or(u64::MAX).clamp(1, 5);
        Ok(Duration::from_secs(seconds))
    }

    /// A run that ended right after the operator came up still has a Lease to give back.
    async fn remember_lease(&self, record: &Record, attempted: &Attempted) -> Result<(), ReconcileError> {
        let Pass { context, run, moment, .. } = self;
        if context.lease_of(run.uid).is_none()
            && !record.run.attempts.is_empty()
            && let Some(lease) = lease_of(record, attempted.job.as_ref())
        {
            context.lock(run, &lease, moment.now).await.map_err(ReconcileError::Lock)?;
        }
        Ok(())
    }

    /// Writes the status if it changed, and tells what happened.
    async fn publish(&self, old: &Record, new: &Record) -> Result<(), ReconcileError> {
        publish::<K>(self.context, self.object, &self.run, old, new).await
    }

    /// Series of a running object.
    fn measure(&self, record: &Record) {
        let Pass { context, run, moment, .. } = self;
        if record.outcome().is_some() || context.lease_of(run.uid).is_none() {
            return;
        }
        let percent = record.run.progress.as_ref().and_then(|progress| progress.percent).unwrap_or(0);
        context.metrics.progress.get_or_create(&run.labels()).set(f64::from(percent) / 100.0);
        if let Some(heartbeat) = record.heartbeat() {
            let age = moment.now.duration_since(heartbeat).as_secs_f64().max(0.0);
            context.metrics.heartbeat_age.get_or_create(&run.labels()).set(age);
        }
    }
}

/// The Lease a run holds, from what it found out or from its Job.
fn lease_of(record: &Record, job: Option<&Job>) -> Option<String> {
    let of_job = job.and_then(|job| job.annotations().get(LEASE_ANNOTATION).cloned());
    of_job.or_else(|| {
        let value = |name: &str| record.run.resolved.get(name).map(|found| found.value.as_str());
        let key = match value("milvusUID") {
            Some(uid) => uid.to_owned(),
            None => format!("{}:{}", value("grpcHost")?.to_ascii_lowercase(), value("grpcPort")?),
        };
        Some(lease_name(&key))
    })
}

/// Owner reference to one of our objects: its Jobs go with it.
pub fn owner<K: Resource<DynamicType = ()>>(object: &K) -> OwnerReference {
    object.controller_owner_ref(&()).unwrap_or_default()
}
