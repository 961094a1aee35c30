//! Prometheus metrics; names are part of the interface (`milvus_backup_*`).
//!
//! Labels name objects, never a Secret or a key. Series of a running object are removed when it ends.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

/// A gauge of seconds or ratios.
type FloatGauge = Gauge<f64, AtomicU64>;

/// Which kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "label values are written in lower case")]
pub enum KindLabel {
    /// A backup.
    backup,
    /// A restore.
    restore,
    /// A location.
    location,
}

/// Labels of finished runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RunLabels {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the Milvus resource, or `host:port`.
    pub milvus: String,
    /// Name of the schedule; empty without one.
    pub schedule: String,
    /// Kind of run.
    pub kind: KindLabel,
    /// Reason of `Succeeded`.
    pub result: String,
}

/// Labels by Milvus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabels {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the Milvus resource, or `host:port`.
    pub milvus: String,
    /// Name of the schedule; empty without one.
    pub schedule: String,
}

/// Labels of durations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// Kind of run.
    pub kind: KindLabel,
    /// Reason of `Succeeded`.
    pub result: String,
}

/// Labels of a running object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RunningLabels {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Kind of run.
    pub kind: KindLabel,
}

/// Labels of a location.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LocationLabels {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub location: String,
}

/// Labels of retries and deletions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// Namespace of the object.
    pub namespace: String,
    /// Why.
    pub reason: String,
}

/// Labels of the controller itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// Kind reconciled.
    pub kind: KindLabel,
}

/// Labels of failed reconciles.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// Kind reconciled.
    pub kind: KindLabel,
    /// Step that failed.
    pub step: &'static str,
}

/// All metrics of the controller.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Finished runs.
    pub runs: Family<RunLabels, Counter>,
    /// Seconds a run took.
    pub duration: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    /// When the last run of a Milvus succeeded.
    pub last_success: Family<SourceLabels, FloatGauge>,
    /// When the last run of a Milvus failed.
    pub last_failure: Family<SourceLabels, FloatGauge>,
    /// Size of the last good backup.
    pub size: Family<SourceLabels, Gauge>,
    /// Collections of the last good backup.
    pub collections: Family<SourceLabels, Gauge>,
    /// Share done of running objects.
    pub progress: Family<RunningLabels, FloatGauge>,
    /// Seconds since the last sign of life of running objects.
    pub heartbeat_age: Family<RunningLabels, FloatGauge>,
    /// Attempts that ended and were followed by another.
    pub retries: Family<ReasonLabels, Counter>,
    /// Deletions that could not go on.
    pub deletion_failures: Family<ReasonLabels, Counter>,
    /// Artifacts left behind on purpose.
    pub orphaned: Family<ReasonLabels, Counter>,
    /// Whether a location's last probe passed.
    pub location_up: Family<LocationLabels, Gauge>,
    /// Seconds a reconcile took.
    pub reconcile_duration: Family<KindLabels, Histogram, fn() -> Histogram>,
    /// Reconciles that failed.
    pub reconcile_errors: Family<ErrorLabels, Counter>,
    /// 1 on the leader.
    pub leader: Gauge,
}

fn run_seconds() -> Histogram {
    Histogram::new([1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0])
}

fn reconcile_seconds() -> Histogram {
    Histogram::new([0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new(env!("CARGO_PKG_VERSION"))
    }
}

impl Metrics {
    /// A fresh set; nothing global.
    pub fn new(version: &'static str) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("milvus_backup"),
            runs: Family::default(),
            duration: Family::new_with_constructor(run_seconds),
            last_success: Family::default(),
            last_failure: Family::default(),
            size: Family::default(),
            collections: Family::default(),
            progress: Family::default(),
            heartbeat_age: Family::default(),
            retries: Family::default(),
            deletion_failures: Family::default(),
            orphaned: Family::default(),
            location_up: Family::default(),
            reconcile_duration: Family::new_with_constructor(reconcile_seconds),
            reconcile_errors: Family::default(),
            leader: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("runs", "Finished runs", metrics.runs.clone());
        registry.register("duration_seconds", "Duration of finished runs", metrics.duration.clone());
        registry.register("last_success_timestamp_seconds", "End of the last good run", metrics.last_success.clone());
        registry.register("last_failure_timestamp_seconds", "End of the last failed run", metrics.last_failure.clone());
        registry.register("size_bytes", "Size of the last good backup", metrics.size.clone());
        registry.register("collections", "Collections of the last good backup", metrics.collections.clone());
        registry.register("progress_ratio", "Share done of a running object", metrics.progress.clone());
        registry.register("heartbeat_age_seconds", "Age of the last sign of life", metrics.heartbeat_age.clone());
        registry.register("retries", "Attempts followed by another", metrics.retries.clone());
        registry.register("deletion_failures", "Deletions that could not go on", metrics.deletion_failures.clone());
        registry.register("orphaned", "Artifacts left behind on purpose", metrics.orphaned.clone());
        registry.register("location_up", "Whether the last probe passed", metrics.location_up.clone());
        registry.register("reconcile_duration_seconds", "Duration of reconciles", metrics.reconcile_duration.clone());
        registry.register("reconcile_errors", "Failed reconciles", metrics.reconcile_errors.clone());
        registry.register("leader", "1 on the leader", metrics.leader.clone());
        registry.register("build", "The program", Info::new([("version", version)]));
        metrics
    }

    /// The text format Prometheus reads.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_interface() {
        let metrics = Metrics::new("1.2.3");
        let source = SourceLabels { namespace: "a".to_owned(), milvus: "prod".to_owned(), schedule: String::new() };
        metrics.last_success.get_or_create(&source).set(1_800_000_000.5);
        let outcome = OutcomeLabels { kind: KindLabel::backup, result: "Completed".to_owned() };
        metrics.duration.get_or_create(&outcome).observe(2.0);
        let running = RunningLabels { namespace: "a".to_owned(), name: "b".to_owned(), kind: KindLabel::restore };
        metrics.progress.get_or_create(&running).set(0.5);
        let text = metrics.render().unwrap();
        for line in [
            "milvus_backup_last_success_timestamp_seconds{namespace=\"a\",milvus=\"prod\",schedule=\"\"} 1800000000.5",
            "milvus_backup_duration_seconds_count{kind=\"backup\",result=\"Completed\"} 1",
            "milvus_backup_progress_ratio{namespace=\"a\",name=\"b\",kind=\"restore\"} 0.5",
            "milvus_backup_build_info{version=\"1.2.3\"} 1",
            "milvus_backup_leader 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_removed_series_is_gone() {
        let metrics = Metrics::default();
        let running = RunningLabels { namespace: "a".to_owned(), name: "b".to_owned(), kind: KindLabel::backup };
        metrics.progress.get_or_create(&running).set(0.5);
        assert!(metrics.progress.remove(&running));
        assert!(!metrics.render().unwrap().contains("name=\"b\""));
    }
}
