//! The start of an attempt: its sources found and validated, its turn taken, its Job created. Or the reason why not yet.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;

use super::{Pass, ReconcileError, owner};
use crate::{
    api::{
        Artifact,
        conditions::{self as cond, Status, reason, set_condition},
    },
    controller::{
        decide::{Situation, is_last, patience, start_deadline_passed, waited},
        fetch::{self, Attempted},
        job::{self, BuildError, LOCATION_ANNOTATION, Shape, job_name},
        lease::{Lock, lease_name},
        line,
        observe::Seen,
        record::{Moment, Obstacle, Record, RunKind},
        run::RunObject,
        task::{self, Written},
        validate,
    },
    engine::task::{Run, Work},
};

impl<K: RunObject> Pass<'_, K> {
    /// Starts an attempt, or says what it waits for.
    pub(super) async fn begin(
        &self,
        record: &mut Record,
        number: u32,
        attempted: &Attempted,
        situation: &Situation<'_>,
    ) -> Result<Duration, ReconcileError> {
        let Pass { context, run, moment, .. } = self;
        if attempted.alive > 0 {
            record.winding_down(moment);
            return Ok(Duration::from_secs(1));
        }
        let Ready { lock_key, service_account, written } = match self.ready(record, number).await? {
            Ok(ready) => ready,
            Err(obstacle) => return Ok(self.wait(record, &obstacle, None, situation)),
        };
        let lease = lease_name(&lock_key);
        if let Some(pause) = self.admit(record, &lease, situation).await? {
            return Ok(pause);
        }
        let Written { task, mounts } = written;
        let shape = Shape {
            name: job_name(run.kind.jobs(), run.uid, number),
            namespace: run.namespace,
            owner: owner(self.object),
            owned: true,
            task: &task,
            mounts: &mounts,
            wishes: self.object.job(),
            service_account: service_account.as_deref(),
            location: record.run.location_name.as_deref(),
            lease: Some(&lease),
            run_seconds: self.object.deadlines().run_seconds,
            config: &context.config,
        };
        let job = match job::job(&shape) {
            Ok(job) => job,
            Err(error @ (BuildError::TooLong { .. } | BuildError::Task(_))) => {
                record.fail(moment, reason::REJECTED, &error.to_string(), None);
                return Ok(Duration::ZERO);
            }
        };
        match context.cluster.apply_job(run.namespace, &job).await {
            Ok(_) => {}
            Err(error) => {
                // A quota, a policy, a namespace that is going away: the API server's own words.
                let Some(refusal) = error.refusal() else {
                    return Err(ReconcileError::Apply(error));
                };
                let message = format!("the Job was refused: {refusal}");
                let obstacle =
                    Obstacle { condition: cond::ADMITTED, reason: reason::QUOTA_EXCEEDED, message, last_word: false };
                return Ok(self.wait(record, &obstacle, None, situation));
            }
        }
        tracing::info!(kind = run.kind.name(), namespace = run.namespace, name = run.name, job = shape.name, "started");
        record.begun(moment, number, &shape.name);
        record.follow(moment, &Seen::Starting { problem: None }, false);
        Ok(Duration::from_secs(1))
    }

    /// Takes the Lease of the Milvus; answers how long to wait if it is not this run's turn.
    async fn admit(
        &self,
        record: &mut Record,
        lease: &str,
        situation: &Situation<'_>,
    ) -> Result<Option<Duration>, ReconcileError> {
        let Pass { context, object, run, moment } = self;
        let contenders = context.contenders().await;
        let ahead = line::contender(*object).map_or(0, |me| line::ahead(&me, contenders));
        // A run that has started keeps its turn between attempts.
        let message = if ahead > 0 && record.run.attempts.is_empty() {
            format!("{ahead} older run(s) wait for the same Milvus")
        } else {
            match context.lock(run, lease, moment.now).await.map_err(ReconcileError::Lock)? {
                Lock::Ours => return Ok(None),
                Lock::Theirs { object, .. } if object.is_empty() => "another run works on this Milvus".to_owned(),
                Lock::Theirs { object, .. } => format!("{object} works on this Milvus"),
            }
        };
        let obstacle =
            Obstacle { condition: cond::ADMITTED, reason: reason::WAITING_FOR_LOCK, message, last_word: false };
        let position = i32::try_from(ahead + 1).unwrap_or(i32::MAX);
        Ok(Some(self.wait(record, &obstacle, Some(position), situation)))
    }

    /// Something is in the way: for ever, for too long, or for now.
    fn wait(
        &self,
        record: &mut Record,
        obstacle: &Obstacle,
        position: Option<i32>,
        situation: &Situation<'_>,
    ) -> Duration {
        let Pass { object, moment, .. } = self;
        let Obstacle { condition, reason: why, message, last_word } = obstacle;
        let target = object.as_restore().filter(|_| *condition == cond::TARGET_READY);
        let late = match target {
            Some(restore) => waited(situation).as_secs() > restore.spec.target.wait_ready_seconds,
            None => start_deadline_passed(situation),
        };
        record.waiting(moment, obstacle, position);
        if *last_word {
            let terminal = [reason::TARGET_UID_MISMATCH].into_iter().find(|known| known == why);
            record.fail(moment, terminal.unwrap_or(reason::REJECTED), message, None);
        } else if late {
            let message = format!("the run could not start in time: {message}");
            record.fail(moment, reason::START_DEADLINE_EXCEEDED, &message, None);
        }
        Duration::from_secs(patience(situation.created, moment.now))
    }

    /// Fetches and validates the sources, records what was found, and writes the task.
    async fn ready(&self, record: &mut Record, attempt: u32) -> Result<Result<Ready, Obstacle>, ReconcileError> {
        let Pass { context, object, run, moment } = self;
        let task_run =
            Run { uid: run.uid.to_owned(), namespace: run.namespace.to_owned(), name: run.name.to_owned(), attempt };
        let sources = fetch::sources(&context.cluster, run.namespace, *object).await.map_err(ReconcileError::Fetch)?;
        if let Some(backup) = object.as_backup() {
            let valid = match validate::backup(backup, run.namespace, run.uid, &sources) {
                Ok(valid) => valid,
                Err(obstacle) => {
                    found_so_far(record, moment, &obstacle);
                    return Ok(Err(obstacle));
                }
            };
            record.met(moment, cond::SOURCE_RESOLVED, reason::RESOLVED, &valid.milvus.notes.join("; "));
            let place = match &valid.destination.location {
                Some(_) => String::new(),
                None => format!("{}/ in Milvus' own bucket", validate::OWN_PREFIX),
            };
            record.met(moment, cond::LOCATION_AVAILABLE, reason::AVAILABLE, &place);
            let (status, why, message) = valid.fate.condition();
            shared_fate(record, moment, status, why, message);
            record.run.resolved = valid.milvus.to_status();
            record.run.location_name = valid.destination.location.clone();
            record.artifact.get_or_insert_with(|| valid.artifact.clone());
            return Ok(Ok(Ready {
                lock_key: validate::lock_key(&valid.milvus),
                written: task::backup(task_run, backup, &valid),
                service_account: valid.service_account,
            }));
        }
        let Some(restore) = object.as_restore() else {
            let message = "neither a backup nor a restore".to_owned();
            let condition = cond::ADMITTED;
            return Ok(Err(Obstacle { condition, reason: reason::INVALID, message, last_word: true }));
        };
        let valid = match validate::restore(restore, run.namespace, record.artifact.as_ref(), &sources) {
            Ok(valid) => valid,
            Err(obstacle) => {
                found_so_far(record, moment, &obstacle);
                return Ok(Err(obstacle));
            }
        };
        record.met(moment, cond::TARGET_READY, reason::RESOLVED, &valid.milvus.notes.join("; "));
        record.met(moment, cond::SOURCE_AVAILABLE, reason::AVAILABLE, &valid.artifact.uri);
        record.run.resolved = valid.milvus.to_status();
        record.run.location_name = valid.source.location.clone();
        record.artifact = Some(valid.artifact.clone());
        let last = is_last(object.retry(), &record.run.attempts, attempt);
        Ok(Ok(Ready {
            lock_key: validate::lock_key(&valid.milvus),
            written: task::restore(task_run, restore, &valid, last),
            service_account: valid.service_account,
        }))
    }
}

/// An attempt that can start.
#[derive(Debug)]
struct Ready {
    lock_key: String,
    service_account: Option<String>,
    written: Written,
}

/// The conditions before the one in the way hold: the sources are judged in this order.
fn found_so_far(record: &mut Record, at: &Moment, obstacle: &Obstacle) {
    let order: &[(&str, &str)] = match at.kind {
        RunKind::Backup => &[(cond::SOURCE_RESOLVED, reason::RESOLVED), (cond::LOCATION_AVAILABLE, reason::AVAILABLE)],
        RunKind::Restore => &[(cond::SOURCE_AVAILABLE, reason::AVAILABLE)],
    };
    // Of a restore the target is looked at first and, for its health, last: nothing follows from it about the backup.
    if at.kind == RunKind::Restore && obstacle.condition == cond::TARGET_READY {
        return;
    }
    for (condition, reason) in order {
        if *condition == obstacle.condition {
            return;
        }
        record.met(at, condition, reason, "");
    }
}

fn shared_fate(record: &mut Record, at: &Moment, status: Status, why: &str, message: &str) {
    set_condition(&mut record.run.conditions, cond::SHARED_FATE, status, why, message, at.generation, at.now);
}

/// Takes up a Job that status does not know: the operator died between creating it and writing so.
pub(super) fn adopt(record: &mut Record, at: &Moment, number: u32, job: &Job) {
    record.begun(at, number, &job.name_any());
    if let Some(attempt) = record.run.attempts.last_mut() {
        attempt.started_at = job.metadata.creation_timestamp.clone().or(attempt.started_at.take());
    }
    record.run.location_name =
        record.run.location_name.take().or_else(|| job.annotations().get(LOCATION_ANNOTATION).cloned());
    let Some(task) = job::task_of(job) else {
        return;
    };
    let (store, name, digest) = match &task.work {
        Work::Backup(task) => (&task.destination, &task.artifact, None),
        Work::Restore(task) => (&task.source, &task.artifact, task.manifest_digest.clone()),
        Work::Verify(_) | Work::Delete(_) | Work::Probe(_) => return,
    };
    let path: Vec<&str> =
        [store.bucket.as_str(), store.prefix.as_str(), name].into_iter().filter(|part| !part.is_empty()).collect();
    record.artifact.get_or_insert_with(|| Artifact {
        uri: format!("s3://{}", path.join("/")),
        name: name.clone(),
        manifest_digest: digest,
        ..Artifact::default()
    });
    let met: [(&str, &str); 2] = match at.kind {
        RunKind::Backup => [(cond::SOURCE_RESOLVED, reason::RESOLVED), (cond::LOCATION_AVAILABLE, reason::AVAILABLE)],
        RunKind::Restore => [(cond::TARGET_READY, reason::RESOLVED), (cond::SOURCE_AVAILABLE, reason::AVAILABLE)],
    };
    for (condition, reason) in met {
        record.met(at, condition, reason, "");
    }
}
