//! Pure: what a Job, its pods and the tail of the log say about an attempt.
//!
//! Nothing here trusts an exit code alone: success is exit code 0 and a well-formed report that says so and, for work
//! that makes an artifact, carries the digest of the manifest as read back from the bucket.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod},
};

use super::{
    tail::{last_progress, last_words},
    text::clip,
};
use crate::{
    api::conditions::reason,
    engine::task::{Progress, Report, TASK_VERSION},
    exit::{self, Class},
};

/// Name of the one container of a Job.
pub const CONTAINER: &str = "runner";
/// A Job gets its pod well within this time.
const PODLESS: SignedDuration = SignedDuration::from_secs(10);
/// Reason of `Admitted`: the node cannot start the container.
pub const POD_NOT_STARTED: &str = "PodNotStarted";

/// What an attempt's Job does at the moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// There is no such Job.
    Absent,
    /// The Job is there and its container has not run yet.
    Starting {
        /// What keeps it from running, if that is known.
        problem: Option<Problem>,
    },
    /// The container runs.
    Running {
        /// The last counters in the log.
        progress: Option<Box<Progress>>,
        /// When the container started.
        since: Option<Timestamp>,
    },
    /// The pod or the Job is being deleted; the container may still write its checkpoint.
    Stopping,
    /// It is over.
    Ended(Box<Ending>),
}

/// Why a pod does not start. `reason` is one for `Admitted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `PodUnschedulable`, `ImagePullFailed` or `PodNotStarted`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Which kind of end.
    pub class: EndClass,
    /// A sentence for status.
    pub message: String,
    /// The runner's report, where it left a readable one.
    pub report: Option<Report>,
    /// When the container started, where it ran and Kubernetes knows.
    pub started: Option<Timestamp>,
    /// When it ended, where Kubernetes knows.
    pub at: Option<Timestamp>,
}

/// Kinds of end, as recorded in `attempts[].exitClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndClass {
    /// Done and proven.
    Succeeded,
    /// The runner ended by itself and said why.
    Exit(Class),
    /// Exit code 0 without the proof: a broken contract, not a success.
    Unproven,
    /// The container needed more memory than its limit.
    OutOfMemory,
    /// The process died with a code that is not ours. Killed (by a signal) is nobody's fault; anything else is a defect.
    Crashed {
        /// By a signal.
        killed: bool,
    },
    /// The pod, node or Job went away.
    Lost,
    /// No sign of life for too long.
    Stalled,
    /// The Job's time was up.
    DeadlineExceeded,
}

impl EndClass {
    /// `exitClass` of an attempt that found a Secret missing and did nothing.
    pub const WAITED: &str = "SecretNotFound";

    /// Text for `attempts[].exitClass`.
    pub fn text(self) -> &'static str {
        match self {
            EndClass::Succeeded => "Succeeded",
            EndClass::Exit(Class::Retry) => "Retry",
            EndClass::Exit(Class::Configuration) => "Configuration",
            EndClass::Exit(Class::Data) => "Data",
            EndClass::Exit(Class::Cancelled) => "Cancelled",
            EndClass::Exit(Class::LostLock) => "LostLock",
            EndClass::Unproven => "Unproven",
            EndClass::OutOfMemory => "OutOfMemory",
            EndClass::Crashed { .. } => "Crashed",
            EndClass::Lost => "JobLost",
            EndClass::Stalled => "Stalled",
            EndClass::DeadlineExceeded => "DeadlineExceeded",
        }
    }

    /// Whether another attempt makes sense.
    pub fn retryable(self) -> bool {
        match self {
            EndClass::Exit(Class::Retry | Class::Cancelled | Class::LostLock)
            | EndClass::OutOfMemory
            | EndClass::Crashed { .. }
            | EndClass::Lost
            | EndClass::Stalled => true,
            EndClass::Succeeded
            | EndClass::Exit(Class::Configuration | Class::Data)
            | EndClass::Unproven
            | EndClass::DeadlineExceeded => false,
        }
    }

    /// Whether the run did nothing wrong itself, so that the next attempt may start at once: a killed or evicted pod.
    pub fn interrupted(self) -> bool {
        matches!(self, EndClass::Lost | EndClass::Crashed { killed: true } | EndClass::Exit(Class::Cancelled))
    }
}

/// What a successful report has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// `ok` and the digest of the manifest.
    Manifest,
    /// `ok`.
    Report,
}

/// The newest of an attempt's pods; a Job has one, unless somebody interfered.
pub fn newest(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Reads the state of an attempt.
pub fn observe(job: Option<&Job>, pods: &[Pod], tail: &str, proof: Proof, now: Timestamp) -> Seen {
    let pod = newest(pods);
    let ended = pod.and_then(|pod| ending(pod, tail, proof));
    let Some(job) = job else {
        // The Job was deleted; its pod goes next and may still write a checkpoint.
        return match (ended, pod) {
            (Some(ending), _) => Seen::Ended(Box::new(ending)),
            (None, Some(_)) => Seen::Stopping,
            (None, None) => Seen::Absent,
        };
    };
    let finished = finished(job);
    match (ended, finished) {
        // The Job's deadline stops the pod in order, which by itself looks like a stop from outside.
        (Some(ending), Some(late)) if late.class == EndClass::DeadlineExceeded => match ending.class {
            EndClass::Succeeded => Seen::Ended(Box::new(ending)),
            _ => Seen::Ended(Box::new(Ending { report: ending.report, started: ending.started, ..late })),
        },
        (Some(ending), _) => Seen::Ended(Box::new(ending)),
        (None, Some(finished)) if pod.is_none() => Seen::Ended(Box::new(finished)),
        (None, Some(_)) => Seen::Stopping,
        (None, None) => unfinished(job, pod, tail, now),
    }
}

fn unfinished(job: &Job, pod: Option<&Pod>, tail: &str, now: Timestamp) -> Seen {
    let leaving = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    if job.metadata.deletion_timestamp.is_some() || pod.is_some_and(leaving) {
        return Seen::Stopping;
    }
    match pod {
        Some(pod) => live(pod, tail),
        None => Seen::Starting { problem: podless(job, now) },
    }
}

/// The Job controller tells only by Events, which we do not read, why it makes no pod.
fn podless(job: &Job, now: Timestamp) -> Option<Problem> {
    let created = job.metadata.creation_timestamp.as_ref()?.0;
    if now.duration_since(created) < PODLESS {
        return None;
    }
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "Job {name} has no pod: a quota, a policy or a missing ServiceAccount may refuse it; `kubectl describe job {name}` tells"
    );
    Some(Problem { reason: reason::QUOTA_EXCEEDED, message })
}

/// A Job that Kubernetes calls finished although no pod says how.
fn finished(job: &Job) -> Option<Ending> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True");
    let (condition, class, said) = if let Some(failed) = holds("Failed").or_else(|| holds("FailureTarget")) {
        match failed.reason.as_deref() {
            Some("DeadlineExceeded") => (failed, EndClass::DeadlineExceeded, "the Job ran longer than it may"),
            _ => (failed, EndClass::Lost, "the pod was lost before it said how it ended"),
        }
    } else {
        let complete = holds("Complete")?;
        (complete, EndClass::Lost, "the pod was removed before its report could be read")
    };
    let message = match condition.message.as_deref() {
        Some(detail) if !detail.is_empty() => format!("{said} ({detail})"),
        _ => said.to_owned(),
    };
    let at = condition.last_transition_time.as_ref().map(|time| time.0);
    Some(Ending { class, message: clip(&message), report: None, started: None, at })
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

fn ending(pod: &Pod, tail: &str, proof: Proof) -> Option<Ending> {
    let state = container(pod).and_then(|status| status.state.as_ref());
    if let Some(ContainerState { terminated: Some(terminated), .. }) = state {
        return Some(terminated_ending(pod, terminated, tail, proof));
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    // Evicted, preempted, refused by the node: the pod failed and its container has no end of its own.
    let reason = status.reason.as_deref().unwrap_or("Failed");
    let detail = status.message.as_deref().unwrap_or("no message");
    Some(Ending {
        class: EndClass::Lost,
        message: clip(&format!("the pod ended before its container: {reason}: {detail}")),
        report: None,
        started: None,
        at: None,
    })
}

fn terminated_ending(pod: &Pod, end: &ContainerStateTerminated, tail: &str, proof: Proof) -> Ending {
    let report = end.message.as_deref().and_then(read_report);
    let (class, message) = match (end.exit_code, &report) {
        (0, Some(report)) => match unproven(report, proof) {
            None => (EndClass::Succeeded, report.message.clone()),
            Some(why) => (EndClass::Unproven, format!("the runner ended with exit code 0, but {why}")),
        },
        (0, None) => {
            let why = "the runner ended with exit code 0 but left no readable report, so nothing is proven";
            (EndClass::Unproven, why.to_owned())
        }
        (code, report) => match exit::Class::of_exit_code(code) {
            Some(class) => {
                let said = report.as_ref().map(|report| report.message.clone()).filter(|text| !text.is_empty());
                let said = said.or_else(|| last_words(tail));
                (EndClass::Exit(class), said.unwrap_or_else(|| format!("the runner ended with exit code {code}")))
            }
            None => not_ours(pod, end, tail),
        },
    };
    Ending {
        class,
        message: clip(&message),
        report,
        started: end.started_at.as_ref().map(|time| time.0),
        at: end.finished_at.as_ref().map(|time| time.0),
    }
}

fn not_ours(pod: &Pod, end: &ContainerStateTerminated, tail: &str) -> (EndClass, String) {
    let code = end.exit_code;
    match end.reason.as_deref() {
        Some("OOMKilled") => (
            EndClass::OutOfMemory,
            "the runner was killed because it reached its memory limit: raise job.resources.limits.memory".to_owned(),
        ),
        Some("ContainerCannotRun" | "StartError") => {
            let detail = end.message.as_deref().unwrap_or("no message");
            (EndClass::Lost, format!("the container could not be started: {detail}"))
        }
        _ => {
            let pod_reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
            let why = pod_reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let words = last_words(tail).map(|line| format!("; last line: {line}")).unwrap_or_default();
            let (killed, did) = if code > 128 { (true, "was killed") } else { (false, "crashed") };
            (EndClass::Crashed { killed }, format!("the runner {did} (exit code {code}){why}{words}"))
        }
    }
}

/// Why a report of an exit 0 is no proof.
fn unproven(report: &Report, proof: Proof) -> Option<String> {
    if report.version > TASK_VERSION {
        let (theirs, ours) = (report.version, TASK_VERSION);
        return Some(format!(
            "its report has version {theirs} and this operator reads up to {ours}: upgrade the operator"
        ));
    }
    if !report.ok {
        return Some("its report does not say that the work is done".to_owned());
    }
    let digest = report.manifest_digest.as_deref().unwrap_or_default();
    let sound = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match proof {
        Proof::Manifest if !sound => Some("its report holds no digest of the manifest".to_owned()),
        _ => None,
    }
}

fn read_report(text: &str) -> Option<Report> {
    serde_json::from_str(text.trim()).ok()
}

fn live(pod: &Pod, tail: &str) -> Seen {
    let status = container(pod);
    let state = status.and_then(|status| status.state.as_ref());
    if let Some(ContainerState { running: Some(running), .. }) = state {
        let since = running.started_at.as_ref().map(|time| time.0);
        return Seen::Running { progress: last_progress(tail).map(Box::new), since };
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    Seen::Starting { problem: waiting.and_then(cannot_start).or_else(|| unschedulable(pod)) }
}

fn cannot_start(waiting: &ContainerStateWaiting) -> Option<Problem> {
    let why = waiting.reason.as_deref()?;
    let reason = match why {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => reason::IMAGE_PULL_FAILED,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => POD_NOT_STARTED,
        _ => return None,
    };
    let detail = waiting.message.as_deref().unwrap_or("no message");
    Some(Problem { reason, message: clip(&format!("{why}: {detail}")) })
}

fn unschedulable(pod: &Pod) -> Option<Problem> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status != "False" || scheduled.reason.as_deref() != Some("Unschedulable") {
        return None;
    }
    let detail = scheduled.message.as_deref().unwrap_or("no message");
    Some(Problem { reason: reason::POD_UNSCHEDULABLE, message: clip(&format!("no node takes the pod: {detail}")) })
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
