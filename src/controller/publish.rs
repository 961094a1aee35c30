//! Last call of a reconcile: status, and the Events and metrics of what happened.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt as _};

use super::{
    context::{Context, Runner},
    metrics::{OutcomeLabels, ReasonLabels, RunLabels, SourceLabels},
    news::{self, News},
    reconcile::ReconcileError,
    record::{Record, RunKind},
    run::{RunObject, status_value},
};

/// Writes the status if it changed; then Events and metrics of what happened.
pub async fn publish<K: RunObject>(
    context: &Context,
    object: &K,
    run: &Runner<'_>,
    old: &Record,
    new: &Record,
) -> Result<(), ReconcileError> {
    if old == new {
        return Ok(());
    }
    let status = status_value(run.kind, new.clone());
    let written = context.cluster.write_status::<K>(run.namespace, run.name, &status).await;
    written.map_err(ReconcileError::Status)?;
    let reference = reference(object);
    for news in news::of(run.kind, old, new) {
        let News { reason, note, .. } = &news;
        tracing::info!(kind = run.kind.name(), namespace = run.namespace, name = run.name, reason, "{note}");
        context.cluster.tell(&news.event(run.kind.event()), &reference).await;
        if news.ending
            && let Some(milvus) = milvus_reference(object, new)
        {
            let mut event = news.event(run.kind.event());
            event.secondary = Some(reference.clone());
            context.cluster.tell(&event, &milvus).await;
        }
    }
    count(context, object, run, old, new);
    Ok(())
}

/// An object as Events name it; without the resource version, which would make each Event a new one.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference { resource_version: None, ..object.object_ref(&()) }
}

fn milvus_reference<K: RunObject>(object: &K, record: &Record) -> Option<ObjectReference> {
    let name = object.milvus().reference?.name.clone();
    Some(ObjectReference {
        api_version: Some("milvus.io/v1beta1".to_owned()),
        kind: Some("Milvus".to_owned()),
        name: Some(name),
        namespace: object.namespace(),
        uid: Some(record.run.resolved.get("milvusUID")?.value.clone()),
        ..ObjectReference::default()
    })
}

/// Counters of what happened between two records.
fn count<K: RunObject>(context: &Context, object: &K, run: &Runner<'_>, old: &Record, new: &Record) {
    let metrics = &context.metrics;
    let namespace = run.namespace.to_owned();
    let retried =
        |record: &Record| record.run.attempts.iter().filter(|attempt| attempt.next_retry_at.is_some()).count();
    if retried(new) > retried(old) {
        let class = new.run.attempts.last().and_then(|attempt| attempt.exit_class.clone());
        let labels = ReasonLabels { namespace: namespace.clone(), reason: class.unwrap_or_default() };
        metrics.retries.get_or_create(&labels).inc();
    }
    let (None, Some(succeeded)) = (old.outcome(), new.outcome()) else {
        return;
    };
    let kind = run.kind.label();
    let result = new.stage().to_owned();
    let milvus = object.milvus().text();
    let schedule = object.labels().get("backup.milvus.io/schedule").cloned().unwrap_or_default();
    let source = SourceLabels { namespace: namespace.clone(), milvus: milvus.clone(), schedule: schedule.clone() };
    metrics.runs.get_or_create(&RunLabels { namespace, milvus, schedule, kind, result: result.clone() }).inc();
    if let Some(seconds) = new.run.duration_seconds.and_then(|seconds| u32::try_from(seconds).ok()) {
        metrics.duration.get_or_create(&OutcomeLabels { kind, result }).observe(f64::from(seconds));
    }
    if run.kind != RunKind::Backup {
        return;
    }
    let ended = new.run.completed_at.as_ref().map_or(0.0, |time| time.0.as_duration().as_secs_f64());
    let when = if succeeded { &metrics.last_success } else { &metrics.last_failure };
    when.get_or_create(&source).set(ended);
    if let (true, Some(summary)) = (succeeded, &new.run.summary) {
        metrics.size.get_or_create(&source).set(summary.size_bytes);
        metrics.collections.get_or_create(&source).set(summary.collections);
    }
}
