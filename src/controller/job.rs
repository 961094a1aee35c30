//! Pure: the Job of one attempt.
//!
//! Its name follows from the object's UID and the attempt, so that creating it twice is creating it once. The pod satisfies the
//! restricted Pod Security profile, has no API token and reads its task from one environment variable.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule},
        core::v1::{
            Capabilities, Container, EmptyDirVolumeSource, EnvVar, LocalObjectReference, PodSecurityContext, PodSpec,
            PodTemplateSpec, ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};

use super::{
    Config,
    cluster::{MANAGER, RUN_LABEL},
    mounts::Mounts,
    observe::CONTAINER,
};
use crate::{
    api,
    engine::task::{TASK_ENV, Task, Work},
    exit,
};

/// Annotation of a Job and its pod: `<Kind>/<name>` of the object, which a label may be too short for.
pub const OBJECT_ANNOTATION: &str = "backup.milvus.io/object";
/// Label with what a Job does.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Label with the kind of the object.
pub const KIND_LABEL: &str = "backup.milvus.io/kind";
/// Annotation of a Job: the location its copy lies in.
pub const LOCATION_ANNOTATION: &str = "backup.milvus.io/location";
/// Annotation of a Job: the Lease its run holds.
pub const LEASE_ANNOTATION: &str = "backup.milvus.io/lease";
/// User and group of the runner: the one of common distroless images.
const USER: i64 = 65_532;
/// Time to write the checkpoint and undo the pause of garbage collection after SIGTERM.
const GRACE_SECONDS: i64 = 60;
/// Room for scratch files.
const SCRATCH: &str = "1Gi";
/// A finished Job is kept at least this long, so that its report can be read.
const LEAST_TTL: i32 = 120;
/// Linux takes no single environment string above 128 KiB.
const TASK_LIMIT: usize = 120 * 1024;

/// The task does not fit into a pod.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Too many or too long names.
    #[error(
        "the selection and mapping take {bytes} bytes and at most {TASK_LIMIT} fit: use patterns with * instead of single names"
    )]
    TooLong {
        /// Of the JSON.
        bytes: usize,
    },
    /// A value that JSON cannot hold; a defect.
    #[error("could not write the task: {0}")]
    Task(#[from] serde_json::Error),
}

/// Everything a Job is made of.
#[derive(Debug)]
pub struct Shape<'a> {
    /// Name, from [`job_name`].
    pub name: String,
    /// Namespace of the object.
    pub namespace: &'a str,
    /// The object.
    pub owner: OwnerReference,
    /// Whether the Job goes when the object goes.
    pub owned: bool,
    /// What it does.
    pub task: &'a Task,
    /// What its task names.
    pub mounts: &'a Mounts,
    /// The object's wishes.
    pub wishes: &'a api::Job,
    /// ServiceAccount found out; `wishes` come first.
    pub service_account: Option<&'a str>,
    /// Location its copy lies in.
    pub location: Option<&'a str>,
    /// Lease its run holds.
    pub lease: Option<&'a str>,
    /// Longest time it may run.
    pub run_seconds: Option<i64>,
    /// Defaults.
    pub config: &'a Config,
}

/// Which Job of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Attempt of a backup.
    Backup,
    /// Attempt of a restore.
    Restore,
    /// Attempt to remove an artifact.
    Delete,
    /// Try of a location.
    Probe,
}

/// Name of a Job: kind, first eight characters of the object's UID, number. Always a legal label value as well.
pub fn job_name(kind: JobKind, uid: &str, number: u32) -> String {
    let (prefix, letter) = match kind {
        JobKind::Backup => ("mbk", 'a'),
        JobKind::Restore => ("mrs", 'a'),
        JobKind::Delete => ("mbk", 'd'),
        JobKind::Probe => ("mbl", 'p'),
    };
    format!("{prefix}-{}-{letter}{number}", uid8(uid))
}

/// First eight letters and digits of a UID.
pub fn uid8(uid: &str) -> String {
    uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect::<String>().to_ascii_lowercase()
}

/// Name of a backup in its bucket: `<namespace>_<name>_<uid8>`, at most 128 bytes, other characters become `_`. The UID makes
/// `a-b` and `a_b`, and an object made anew under an old name, different.
pub fn artifact_name(namespace: &str, name: &str, uid: &str) -> String {
    let plain =
        |text: &str| -> String { text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect() };
    let mut start = format!("{}_{}", plain(namespace), plain(name));
    if start.starts_with(|c: char| c.is_ascii_digit()) {
        start.insert(0, '_');
    }
    start.truncate(128 - 9);
    format!("{start}_{}", uid8(uid))
}

/// The Job of a [`Shape`].
pub fn job(shape: &Shape<'_>) -> Result<Job, BuildError> {
    let Shape {
        name,
        namespace,
        owner,
        owned,
        task,
        mounts,
        wishes,
        service_account,
        location,
        lease,
        run_seconds,
        config,
    } = shape;
    let text = serde_json::to_string(task)?;
    if text.len() > TASK_LIMIT {
        return Err(BuildError::TooLong { bytes: text.len() });
    }
    let labels = labels(task, owner);
    let object = format!("{}/{}", owner.kind, owner.name);
    let annotations = BTreeMap::from([(OBJECT_ANNOTATION.to_owned(), object)]);
    let mut of_job = annotations.clone();
    for (key, value) in [(LOCATION_ANNOTATION, location), (LEASE_ANNOTATION, lease)] {
        if let Some(value) = value {
            of_job.insert(key.to_owned(), (*value).to_owned());
        }
    }
    let merged = |theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>| {
        let mut all = theirs.clone();
        all.extend(ours.clone());
        all
    };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(merged(&wishes.pod_labels, &labels)),
            annotations: Some(merged(&wishes.pod_annotations, &annotations)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(text, mounts, wishes, *service_account, config)),
    };
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some((*namespace).to_owned()),
            labels: Some(labels),
            annotations: Some(of_job),
            owner_references: owned.then(|| vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: *run_seconds,
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            pod_failure_policy: Some(fail_at_once()),
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(wishes.ttl_seconds_after_finished.max(LEAST_TTL)),
            template,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// The task a Job carries: how a run is taken up again whose status was not written before the operator died.
pub fn task_of(job: &Job) -> Option<Task> {
    let container = job.spec.as_ref()?.template.spec.as_ref()?.containers.iter().find(|one| one.name == CONTAINER)?;
    let variable = container.env.as_ref()?.iter().find(|variable| variable.name == TASK_ENV)?;
    serde_json::from_str(variable.value.as_deref()?).ok()
}

/// Number at the end of a Job's name.
pub fn number_of(name: &str) -> Option<u32> {
    let (_, last) = name.rsplit_once('-')?;
    last.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()
}

fn labels(task: &Task, owner: &OwnerReference) -> BTreeMap<String, String> {
    let component = match task.work {
        Work::Backup(_) => "backup",
        Work::Restore(_) => "restore",
        Work::Verify(_) => "verify",
        Work::Delete(_) => "delete",
        Work::Probe(_) => "probe",
    };
    [
        ("app.kubernetes.io/name", "milvus-backup"),
        (COMPONENT_LABEL, component),
        ("app.kubernetes.io/managed-by", MANAGER),
        (KIND_LABEL, &owner.kind),
        (RUN_LABEL, &owner.uid),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// With a back-off limit of 0 every failed pod fails its Job; the rule says so for our own codes whatever that limit becomes.
fn fail_at_once() -> PodFailurePolicy {
    let codes = [exit::CONFIGURATION, exit::DATA, exit::CANCELLED, exit::LOST_LOCK];
    let on_exit_codes = PodFailurePolicyOnExitCodesRequirement {
        container_name: Some(CONTAINER.to_owned()),
        operator: "In".to_owned(),
        values: codes.into_iter().map(i32::from).collect(),
    };
    let rule = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(on_exit_codes),
        on_pod_conditions: None,
    };
    PodFailurePolicy { rules: vec![rule] }
}

fn pod(task: String, mounts: &Mounts, wishes: &api::Job, account: Option<&str>, config: &Config) -> PodSpec {
    let (mut volumes, mut volume_mounts) = mounts.volumes();
    volumes.push(Volume {
        name: "scratch".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity(SCRATCH.to_owned())) }),
        ..Volume::default()
    });
    volume_mounts.push(VolumeMount {
        name: "scratch".to_owned(),
        mount_path: "/tmp".to_owned(),
        ..VolumeMount::default()
    });
    let api::Job { node_selector, tolerations, priority_class_name, service_account_name, .. } = wishes;
    let named = wishes.image_pull_secrets.iter().map(|secret| secret.name.clone());
    let defaults = config.runner_pull_secrets.iter().filter(|name| !name.is_empty()).cloned();
    let pull_secrets: Vec<_> = named.chain(defaults).map(|name| LocalObjectReference { name }).collect();
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(task, volume_mounts, wishes, config)],
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: (!node_selector.is_empty()).then(|| node_selector.clone()),
        priority_class_name: priority_class_name.clone().or_else(|| config.job_priority_class.clone()),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        service_account_name: service_account_name.clone().or_else(|| account.map(str::to_owned)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        tolerations: (!tolerations.is_empty()).then(|| tolerations.clone()),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(task: String, volume_mounts: Vec<VolumeMount>, wishes: &api::Job, config: &Config) -> Container {
    let variable = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let resources = match &wishes.resources {
        Some(resources) => ResourceRequirements::from(resources),
        None => config.job_resources.clone(),
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(config.runner_image.clone()),
        image_pull_policy: Some(config.runner_pull_policy.clone()),
        args: Some(vec!["run".to_owned()]),
        env: Some(vec![variable(TASK_ENV, task), variable("MILVUS_BACKUP_LOG", config.runner_log.clone())]),
        resources: Some(resources),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volume_mounts),
        ..Container::default()
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
