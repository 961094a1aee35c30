//! The driver of locations: a probe Job every `validation.periodSeconds`, and what it found as conditions.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};

use super::{
    context::Context,
    fetch,
    job::{self, JobKind, Shape, job_name, number_of},
    metrics::{KindLabel, LocationLabels},
    mounts::StorePlace,
    news::News,
    observe::{EndClass, Ending, Proof, Seen},
    publish::reference,
    reconcile::{ReconcileError, measured, owner},
    task::{self, Written},
};
use crate::{
    api::{
        Capabilities, MilvusBackupLocation, MilvusBackupLocationStatus, ProbeKind,
        conditions::{self as cond, Standing, Status, reason, set_condition, set_standing},
    },
    engine::task::Run,
};

/// A probe that takes longer has failed.
const PROBE_SECONDS: i64 = 90;
/// A finished probe is kept this long, for those who want to see its log.
const KEPT_SECONDS: i32 = 300;
/// Reason in a report: the server cannot be reached.
const UNREACHABLE: &str = "StoreUnavailable";

/// What to do about a location.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Try it with this Job.
    Probe {
        /// From 1.
        number: u32,
    },
    /// A Job tries it.
    Working,
    /// Take over what the Job found, then wait.
    Take(Box<Ending>),
    /// Nothing until then.
    Rest {
        /// When it is due again.
        until: Timestamp,
    },
}

/// What a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The newest probe's number and state.
    pub last: Option<(u32, &'a Seen)>,
    /// When a result was taken over last.
    pub checked: Option<Timestamp>,
    /// Whether status speaks of the present spec.
    pub current: bool,
    /// Whether status says that the present spec is being tried.
    pub trying: bool,
    /// Time between tries.
    pub period: SignedDuration,
    /// The clock.
    pub now: Timestamp,
}

/// Decides. A probe of a former spec is replaced, whatever it does.
pub fn decide(situation: &Situation<'_>) -> Step {
    let Situation { last, checked, current, trying, period, now } = *situation;
    if let Some((_, seen)) = last.filter(|_| current) {
        match seen {
            Seen::Starting { .. } | Seen::Running { .. } | Seen::Stopping => return Step::Working,
            // Kubernetes keeps whole seconds, so the first result of a spec is known by what status says.
            Seen::Ended(ending) if trying || checked.is_none_or(|checked| ending.at.unwrap_or(now) > checked) => {
                return Step::Take(ending.clone());
            }
            Seen::Ended(_) | Seen::Absent => {}
        }
    }
    let number = last.map_or(1, |(number, _)| number.saturating_add(1));
    match checked.and_then(|checked| checked.saturating_add(period).ok()) {
        Some(until) if current && !trying && until > now => Step::Rest { until },
        _ => Step::Probe { number },
    }
}

/// Reconciles a location.
pub async fn run(
    object: Arc<DeserializeGuard<MilvusBackupLocation>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    measured(KindLabel::location, &context, async {
        match &object.0 {
            Ok(cached) => pass(&context, &cached.namespace().unwrap_or_default(), &cached.name_any()).await,
            Err(error) => {
                tracing::error!(
                    kind = "MilvusBackupLocation",
                    name = object.name_any(),
                    "cannot read the object: {error}"
                );
                Ok(Action::await_change())
            }
        }
    })
    .await
}

async fn pass(context: &Context, namespace: &str, name: &str) -> Result<Action, ReconcileError> {
    let cluster = &context.cluster;
    let fetched = cluster.object::<MilvusBackupLocation>(namespace, name).await.map_err(ReconcileError::Fetch)?;
    let labels = LocationLabels { namespace: namespace.to_owned(), location: name.to_owned() };
    let Some(location) = fetched.filter(|location| location.metadata.deletion_timestamp.is_none()) else {
        context.metrics.location_up.remove(&labels);
        return Ok(Action::await_change());
    };
    let uid = location.uid().unwrap_or_default();
    let now = Timestamp::now();
    let jobs = cluster.jobs(namespace, &uid).await.map_err(ReconcileError::Fetch)?;
    let newest =
        jobs.iter().filter_map(|job| Some((number_of(&job.name_any())?, job))).max_by_key(|(number, _)| *number);
    let seen = match newest {
        Some((number, job)) => {
            let attempted = fetch::attempted(cluster, namespace, &uid, &job.name_any()).await;
            let attempted = attempted.map_err(ReconcileError::Fetch)?;
            Some((number, attempted.seen(Proof::Report, now)))
        }
        None => None,
    };
    let old = location.status.clone().unwrap_or_default();
    let mut status = old.clone();
    let period = SignedDuration::from_secs(location.spec.validation.period_seconds);
    let current = old.observed_generation == location.metadata.generation;
    let checked = old.last_check_time.as_ref().map(|time| time.0);
    let trying = cond::is_true(&old.conditions, cond::RECONCILING);
    let last = seen.as_ref().map(|(number, seen)| (*number, seen));
    let step = decide(&Situation { last, checked, current, trying, period, now });
    let at = At { now, generation: location.metadata.generation };
    let pause = match step {
        Step::Probe { number } => {
            status.observe(&at);
            for (_, job) in jobs.iter().filter_map(|job| Some((number_of(&job.name_any())?, job))) {
                cluster.delete_job(namespace, &job.name_any()).await.map_err(ReconcileError::Apply)?;
            }
            match probe(context, &location, namespace, &uid, number).await? {
                None => Duration::from_secs(1),
                Some(refused) => {
                    status.take(&refused, location.spec.validation.probe, &at);
                    Duration::try_from(period).unwrap_or(Duration::from_secs(300))
                }
            }
        }
        Step::Working => {
            status.observe(&at);
            Duration::from_secs(1)
        }
        Step::Take(ending) => {
            status.observe(&at);
            status.take(&ending, location.spec.validation.probe, &at);
            Duration::try_from(period).unwrap_or(Duration::from_secs(300))
        }
        Step::Rest { until } => Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO),
    };
    let up = cond::is_true(&status.conditions, cond::READY);
    context.metrics.location_up.get_or_create(&labels).set(i64::from(up));
    if status != old {
        let value = serde_json::to_value(&status).unwrap_or_default();
        let written = cluster.write_status::<MilvusBackupLocation>(namespace, name, &value).await;
        written.map_err(ReconcileError::Status)?;
        if let Some(news) = news(&old, &status) {
            tracing::info!(namespace, name, reason = news.reason, "{}", news.note);
            cluster.tell(&news.event("Probe"), &reference(&location)).await;
        }
    }
    Ok(Action::requeue(pause.max(Duration::from_millis(200))))
}

/// Starts a probe; answers the end of one that is not even let in.
async fn probe(
    context: &Context,
    location: &MilvusBackupLocation,
    namespace: &str,
    uid: &str,
    number: u32,
) -> Result<Option<Ending>, ReconcileError> {
    let run = Run { uid: uid.to_owned(), namespace: namespace.to_owned(), name: location.name_any(), attempt: number };
    let place = StorePlace::of_location(&location.spec);
    let Written { task, mounts } = task::probe(run, &place, location.spec.validation.probe);
    let identity = location.spec.credentials.as_ref().and_then(|all| all.workload_identity.as_ref());
    let wishes = crate::api::Job { ttl_seconds_after_finished: KEPT_SECONDS, ..crate::api::Job::default() };
    let shape = Shape {
        name: job_name(JobKind::Probe, uid, number),
        namespace,
        owner: owner(location),
        owned: true,
        task: &task,
        mounts: &mounts,
        wishes: &wishes,
        service_account: identity.map(|identity| identity.service_account_name.as_str()),
        location: None,
        lease: None,
        run_seconds: Some(PROBE_SECONDS),
        config: &context.config,
    };
    let job = job::job(&shape).map_err(ReconcileError::Build)?;
    match context.cluster.apply_job(namespace, &job).await {
        Ok(_) => Ok(None),
        Err(error) => match error.refusal() {
            Some(refusal) => {
                let message = format!("the probe's Job was refused: {refusal}");
                Ok(Some(Ending { class: EndClass::Lost, message, report: None, started: None, at: None }))
            }
            None => Err(ReconcileError::Apply(error)),
        },
    }
}

struct At {
    now: Timestamp,
    generation: Option<i64>,
}

trait Found {
    /// Every condition is there, and the status speaks of this generation.
    fn observe(&mut self, at: &At);
    /// Takes over what a probe found.
    fn take(&mut self, ending: &Ending, probe: ProbeKind, at: &At);
}

impl Found for MilvusBackupLocationStatus {
    fn observe(&mut self, at: &At) {
        let At { now, generation } = *at;
        let changed = self.observed_generation != generation;
        self.observed_generation = generation;
        // A location that is tried again keeps its standing until the result is there; a new spec has none.
        if changed || self.conditions.is_empty() {
            let standing = Standing::Working { reason: reason::PENDING, message: "the location is being tried" };
            set_standing(&mut self.conditions, &standing, generation, now);
        }
        cond::init_conditions(&mut self.conditions, &cond::LOCATION, generation, now);
    }

    fn take(&mut self, ending: &Ending, probe: ProbeKind, at: &At) {
        let At { now, generation } = *at;
        self.last_check_time = Some(Time(now));
        let report = ending.report.as_ref();
        if let Some(conditional_put) = report.and_then(|report| report.conditional_put) {
            self.capabilities = Some(Capabilities { conditional_put: Some(conditional_put) });
        }
        let found = findings(ending, probe);
        for (type_, status) in [
            (cond::REACHABLE, found.reachable),
            (cond::WRITABLE, found.writable),
            (cond::CREDENTIALS_VALID, found.credentials),
        ] {
            let message = if status == Status::False { ending.message.as_str() } else { "" };
            let why = if status == Status::True { reason::PROBED } else { found.reason };
            set_condition(&mut self.conditions, type_, status, why, message, generation, now);
        }
        let standing = match ending.class {
            EndClass::Succeeded => Standing::Done { reason: reason::PROBED, message: "" },
            _ => Standing::Failed { reason: found.reason, message: &ending.message },
        };
        set_standing(&mut self.conditions, &standing, generation, now);
    }
}

/// What a probe says about the three parts of being usable.
#[derive(Debug, PartialEq, Eq)]
struct Findings {
    reason: &'static str,
    reachable: Status,
    writable: Status,
    credentials: Status,
}

fn findings(ending: &Ending, probe: ProbeKind) -> Findings {
    use Status::{False, True, Unknown};
    let said = ending.report.as_ref().map(|report| report.reason.as_str()).unwrap_or_default();
    let (reason, reachable, writable, credentials) = match (ending.class, said) {
        (EndClass::Succeeded, _) => {
            (reason::PROBED, True, if probe == ProbeKind::ReadWrite { True } else { Unknown }, True)
        }
        (_, reason::ACCESS_DENIED) => (reason::ACCESS_DENIED, True, False, False),
        (_, reason::BUCKET_NOT_FOUND) => (reason::BUCKET_NOT_FOUND, True, False, Unknown),
        (_, EndClass::WAITED) => (EndClass::WAITED, Unknown, Unknown, False),
        (_, reason::DNS_FAILURE) => (reason::DNS_FAILURE, False, Unknown, Unknown),
        (_, reason::TLS_FAILURE) => (reason::TLS_FAILURE, False, Unknown, Unknown),
        (_, reason::CLOCK_SKEW) => (reason::CLOCK_SKEW, True, Unknown, False),
        (_, UNREACHABLE) => (reason::PROBE_FAILED, False, Unknown, Unknown),
        _ => (reason::PROBE_FAILED, Unknown, Unknown, Unknown),
    };
    Findings { reason, reachable, writable, credentials }
}

/// A location that stopped working, or works again after a try that failed.
fn news(old: &MilvusBackupLocationStatus, new: &MilvusBackupLocationStatus) -> Option<News> {
    let ready = |status: &MilvusBackupLocationStatus| cond::is_true(&status.conditions, cond::READY);
    let stalled = |status: &MilvusBackupLocationStatus| cond::is_true(&status.conditions, cond::STALLED);
    if stalled(new) && !stalled(old) {
        let message = cond::find(&new.conditions, cond::READY).map_or("", |ready| ready.message.as_str());
        return Some(News::new("LocationUnavailable", true, message));
    }
    let tried_before = old.last_check_time.is_some();
    (ready(new) && !ready(old) && tried_before)
        .then(|| News::new("LocationRecovered", false, "the location can be used"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::task::Report, exit::Class};

    const PERIOD: SignedDuration = SignedDuration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn ending(class: EndClass, reason: &str, second: i64) -> Ending {
        Ending {
            class,
            message: "the message".to_owned(),
            report: Some(Report { reason: reason.to_owned(), conditional_put: Some(true), ..Report::default() }),
            started: None,
            at: Some(at(second)),
        }
    }

    fn decided(last: Option<(u32, &Seen)>, checked: Option<i64>, current: bool, trying: bool, now: i64) -> Step {
        let checked = checked.map(at);
        decide(&Situation { last, checked, current, trying, period: PERIOD, now: at(now) })
    }

    #[test]
    fn a_new_location_is_tried_at_once_and_then_each_period() {
        assert_eq!(decided(None, None, false, false, 0), Step::Probe { number: 1 });
        assert_eq!(decided(None, Some(0), true, false, 299), Step::Rest { until: at(300) });
        assert_eq!(decided(None, Some(0), true, false, 300), Step::Probe { number: 1 });
    }

    #[test]
    fn a_changed_spec_is_tried_at_once_whatever_the_probe_of_the_former_one_does() {
        let done = Seen::Ended(Box::new(ending(EndClass::Succeeded, "Completed", 9)));
        assert_eq!(decided(Some((4, &done)), Some(1), false, false, 10), Step::Probe { number: 5 });
        let working = Seen::Starting { problem: None };
        assert_eq!(decided(Some((4, &working)), Some(1), false, false, 10), Step::Probe { number: 5 });
    }

    #[test]
    fn a_result_is_taken_over_once() {
        let end = ending(EndClass::Succeeded, "Completed", 10);
        let seen = Seen::Ended(Box::new(end.clone()));
        assert_eq!(decided(Some((1, &seen)), None, true, true, 11), Step::Take(Box::new(end.clone())));
        assert_eq!(decided(Some((1, &seen)), Some(9), true, false, 11), Step::Take(Box::new(end)));
        assert_eq!(decided(Some((1, &seen)), Some(11), true, false, 12), Step::Rest { until: at(311) });
    }

    #[test]
    fn two_results_of_one_second_are_both_taken() {
        let end = ending(EndClass::Succeeded, "Completed", 10);
        let seen = Seen::Ended(Box::new(end.clone()));
        assert_eq!(decided(Some((2, &seen)), Some(10), true, true, 10), Step::Take(Box::new(end)));
    }

    #[test]
    fn a_working_probe_is_waited_for() {
        let seen = Seen::Starting { problem: None };
        assert_eq!(decided(Some((1, &seen)), Some(0), true, false, 900), Step::Working);
    }

    #[test]
    fn a_lost_first_probe_is_made_anew() {
        assert_eq!(decided(None, Some(0), true, true, 1), Step::Probe { number: 1 });
    }

    fn taken(end: &Ending) -> MilvusBackupLocationStatus {
        let mut status = MilvusBackupLocationStatus::default();
        let at = At { now: at(20), generation: Some(2) };
        status.observe(&at);
        status.take(end, ProbeKind::ReadWrite, &at);
        status
    }

    #[test]
    fn a_good_probe_makes_every_condition_true() {
        let status = taken(&ending(EndClass::Succeeded, "Completed", 1));
        for type_ in [cond::READY, cond::REACHABLE, cond::WRITABLE, cond::CREDENTIALS_VALID] {
            assert!(cond::is_true(&status.conditions, type_), "{type_}");
        }
        assert_eq!(status.capabilities.unwrap().conditional_put, Some(true));
        assert_eq!(status.conditions.len(), cond::LOCATION.len());
    }

    #[test]
    fn a_failed_probe_says_which_part_failed() {
        let class = EndClass::Exit(Class::Configuration);
        let of = |reason: &str, type_: &str| {
            let status = taken(&ending(class, reason, 1));
            let condition = cond::find(&status.conditions, type_).unwrap();
            (condition.status.clone(), condition.reason.clone())
        };
        let text = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
        assert_eq!(of("AccessDenied", cond::CREDENTIALS_VALID), text("False", "AccessDenied"));
        assert_eq!(of("AccessDenied", cond::REACHABLE), text("True", "Probed"));
        assert_eq!(of("BucketNotFound", cond::READY), text("False", "BucketNotFound"));
        assert_eq!(of("SecretNotFound", cond::CREDENTIALS_VALID), text("False", "SecretNotFound"));
        assert_eq!(of("StoreUnavailable", cond::REACHABLE), text("False", "ProbeFailed"));
        assert_eq!(of("anything", cond::STALLED), text("True", "ProbeFailed"));
    }

    #[test]
    fn going_and_coming_back_are_told() {
        let good = taken(&ending(EndClass::Succeeded, "Completed", 1));
        let bad = taken(&ending(EndClass::Exit(Class::Configuration), "AccessDenied", 1));
        let mut again = bad.clone();
        again.observe(&At { now: at(30), generation: Some(3) });
        assert_eq!(news(&good, &bad).unwrap().reason, "LocationUnavailable");
        assert_eq!(news(&bad, &good).unwrap().reason, "LocationRecovered");
        assert_eq!(news(&bad, &again), None, "a changed spec is not tried yet");
        assert_eq!(news(&again, &good).unwrap().reason, "LocationRecovered");
        assert_eq!(news(&MilvusBackupLocationStatus::default(), &good), None, "never tried before");
        assert_eq!(news(&bad, &bad), None);
    }
}
