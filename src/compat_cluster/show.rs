//! Pure: from the status of an object to the answers of the API.
//!
//! State numbers are those of milvus-backup 0.5.16. What an object does not know, the collections of a backup among it, is left
//! out.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::names::{backup_id, backup_name, restore_id};
use crate::api::conditions::{self as cond, reason};
use crate::api::{MilvusBackup, MilvusRestore, MilvusRestoreStatus, Progress, ResolvedValue, RunStatus};
use crate::compat::errors::OperationError;
use crate::compat::wire::{BackupBrief, BackupSummary, CollectionRestoreTask, NO_TIME, RestoreTask, state};
use crate::exit::Class;
use crate::local::filter::DEFAULT_DATABASE;

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not begun.
    Waiting,
    /// Under way.
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed {
        /// On request.
        cancelled: bool,
        /// Why.
        message: String,
    },
}

impl Standing {
    /// By the conditions of an object; `started` once its first pod ran.
    pub fn of(conditions: &[Condition], started: bool) -> Standing {
        let succeeded = cond::find(conditions, cond::SUCCEEDED);
        match succeeded.map(|condition| (condition.status.as_str(), condition)) {
            Some(("True", _)) => Standing::Done,
            Some(("False", condition)) => {
                let Condition { reason, message, .. } = condition;
                let message = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
                Standing::Failed { cancelled: reason == reason::CANCELLED, message }
            }
            _ if started => Standing::Running,
            _ => Standing::Waiting,
        }
    }

    /// Whether nothing will come any more.
    pub fn ended(&self) -> bool {
        matches!(self, Standing::Done | Standing::Failed { .. })
    }

    /// `state_code`.
    pub fn code(&self) -> i32 {
        match self {
            Standing::Waiting => state::INITIAL,
            Standing::Running => state::EXECUTING,
            Standing::Done => state::SUCCESS,
            Standing::Failed { .. } => state::FAIL,
        }
    }

    /// Why it failed; empty where it did not.
    pub fn message(&self) -> &str {
        match self {
            Standing::Failed { message, .. } => message,
            Standing::Waiting | Standing::Running | Standing::Done => "",
        }
    }

    /// What a request is told that waited for the end.
    ///
    /// # Errors
    /// It ended badly.
    pub fn outcome(&self) -> Result<(), OperationError> {
        match self {
            Standing::Failed { cancelled: true, message } => Err(OperationError::Cancelled(message.clone())),
            Standing::Failed { cancelled: false, message } => {
                Err(OperationError::Failed { class: Class::Data, message: message.clone() })
            }
            Standing::Waiting | Standing::Running | Standing::Done => Ok(()),
        }
    }

    fn percent(&self, progress: Option<&Progress>) -> i32 {
        let reported = progress.and_then(|progress| progress.percent).unwrap_or_default();
        match self {
            Standing::Done => 100,
            Standing::Waiting | Standing::Running => reported.clamp(1, 99),
            Standing::Failed { .. } => reported.clamp(0, 99),
        }
    }
}

/// How a backup stands.
pub fn of_backup(backup: &MilvusBackup) -> Standing {
    of_run(backup.status.as_ref().map(|status| &status.run))
}

/// How a restore stands.
pub fn of_restore(restore: &MilvusRestore) -> Standing {
    of_run(restore.status.as_ref().map(|status| &status.run))
}

fn of_run(status: Option<&RunStatus>) -> Standing {
    status.map_or(Standing::Waiting, |status| Standing::of(&status.conditions, status.started_at.is_some()))
}

/// A backup in `GET /get_backup`.
pub fn brief(backup: &MilvusBackup) -> BackupBrief {
    let standing = of_backup(backup);
    let status = backup.status.clone().unwrap_or_default().run;
    let progress = match standing {
        Standing::Failed { .. } => 0,
        _ => standing.percent(status.progress.as_ref()),
    };
    BackupBrief {
        id: backup_id(backup),
        state_code: standing.code(),
        error_message: standing.message().to_owned(),
        start_time: start(status.started_at.as_ref(), backup.metadata.creation_timestamp.as_ref()),
        end_time: end(status.completed_at.as_ref()),
        progress,
        name: backup_name(backup),
        size: status.summary.as_ref().map_or(0, |summary| summary.size_bytes),
        milvus_version: status.resolved.get("milvusVersion").map(version).unwrap_or_default(),
        ..BackupBrief::default()
    }
}

/// A backup in `GET /list`; none while it is not done, or is going.
pub fn summary(backup: &MilvusBackup) -> Option<BackupSummary> {
    if of_backup(backup) != Standing::Done || backup.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let BackupBrief { id, name, size, milvus_version, .. } = brief(backup);
    Some(BackupSummary { id, name, size, milvus_version })
}

/// A restore, with the first collections its status names; they show the state of the whole.
pub fn restore_task(restore: &MilvusRestore) -> RestoreTask {
    let standing = of_restore(restore);
    let MilvusRestoreStatus { run: status, plan, .. } = restore.status.clone().unwrap_or_default();
    let (state_code, progress) = (standing.code(), standing.percent(status.progress.as_ref()));
    let start_time = start(status.started_at.as_ref(), restore.metadata.creation_timestamp.as_ref());
    let end_time = end(status.completed_at.as_ref());
    let collection = |target: &str| {
        let (database, name) = target.split_once('.').unwrap_or((DEFAULT_DATABASE, target));
        CollectionRestoreTask {
            state_code,
            error_message: String::new(),
            start_time,
            end_time,
            progress,
            target_db_name: database.to_owned(),
            target_collection_name: name.to_owned(),
        }
    };
    let plan = plan.unwrap_or_default();
    RestoreTask {
        id: restore_id(restore),
        state_code,
        error_message: standing.message().to_owned(),
        start_time,
        end_time,
        progress,
        collection_restore_tasks: plan.mappings.iter().map(|mapping| collection(&mapping.to)).collect(),
    }
}

/// What keeps the data of a backup that is being deleted, where a person has to do something about it.
pub fn kept_by(backup: &MilvusBackup) -> Option<String> {
    let status = backup.status.as_ref()?;
    let condition = cond::find(&status.run.conditions, cond::DATA_DELETED)?;
    let needs_a_person = [reason::HELD, reason::ACCESS_DENIED, reason::LOCATION_UNAVAILABLE];
    needs_a_person.contains(&condition.reason.as_str()).then(|| condition.message.clone())
}

fn version(found: &ResolvedValue) -> String {
    found.value.clone()
}

fn start(started: Option<&Time>, created: Option<&Time>) -> i64 {
    started.or(created).map_or(0, seconds)
}

fn end(completed: Option<&Time>) -> i64 {
    completed.map_or(NO_TIME, seconds)
}

fn seconds(time: &Time) -> i64 {
    Timestamp::as_second(time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn backup(status: Value) -> MilvusBackup {
        serde_json::from_value(json!({
            "apiVersion": crate::api::API_VERSION, "kind": "MilvusBackup",
            "metadata": {"name": "b-1", "uid": "u-1", "creationTimestamp": "2026-11-21T10:00:00Z",
                         "annotations": {"backup.milvus.io/api-name": "b", "backup.milvus.io/api-id": "r"}},
            "spec": {"source": {"milvusRef": {"name": "prod"}}}, "status": status
        }))
        .unwrap()
    }

    fn succeeded(status: &str, reason: &str, message: &str) -> Value {
        json!([{"type": "Succeeded", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-11-21T10:00:00Z"}])
    }

    fn running() -> Value {
        json!({"conditions": succeeded("Unknown", "CopyingData", ""), "startedAt": "2026-11-21T10:00:05Z",
               "progress": {"percent": 42}})
    }

    #[test]
    fn a_new_backup_is_accepted_and_has_no_end() {
        let brief = brief(&backup(json!({})));
        assert_eq!((brief.state_code, brief.progress, brief.end_time), (state::INITIAL, 1, NO_TIME));
        assert_eq!((brief.name.as_str(), brief.id.as_str()), ("b", "r"));
        assert_eq!(brief.start_time, "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap().as_second());
    }

    #[test]
    fn a_running_backup_shows_the_progress_of_its_status() {
        let brief = brief(&backup(running()));
        assert_eq!((brief.state_code, brief.progress), (state::EXECUTING, 42));
        assert_eq!(brief.start_time, "2026-11-21T10:00:05Z".parse::<Timestamp>().unwrap().as_second());
        assert_eq!(summary(&backup(running())), None);
    }

    #[test]
    fn a_finished_backup_is_listed_with_size_and_version() {
        let done = backup(json!({
            "conditions": succeeded("True", "Completed", ""), "completedAt": "2026-11-21T10:01:00Z",
            "summary": {"sizeBytes": 7, "size": "7B", "objects": 1, "collections": 1, "databases": 1, "rows": 1, "warnings": 0},
            "resolved": {"milvusVersion": {"value": "v2.3.5", "from": "spec"}}
        }));
        let expected = BackupSummary { id: "r".into(), name: "b".into(), size: 7, milvus_version: "v2.3.5".into() };
        assert_eq!(summary(&done), Some(expected));
        assert_eq!((brief(&done).state_code, brief(&done).progress), (state::SUCCESS, 100));
        let mut going = done;
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert_eq!(summary(&going), None);
    }

    #[test]
    fn a_failed_backup_says_why_and_a_cancelled_one_is_told_from_it() {
        let failed = backup(json!({"conditions": succeeded("False", "AuthFailed", "no such user")}));
        let shown = brief(&failed);
        assert_eq!((shown.state_code, shown.progress), (state::FAIL, 0));
        assert_eq!(shown.error_message, "AuthFailed: no such user");
        assert_eq!(of_backup(&failed).outcome().unwrap_err().class(), Class::Data);
        let cancelled = backup(json!({"conditions": succeeded("False", "Cancelled", "")}));
        assert_eq!(of_backup(&cancelled).outcome(), Err(OperationError::Cancelled("Cancelled".into())));
    }

    #[test]
    fn a_restore_shows_the_collections_of_its_plan() {
        let mut status = running();
        status["plan"] = json!({"create": 2, "skip": 0, "replace": 0, "mappings": [
            {"from": "a.b", "to": "a.c"}, {"from": "x", "to": "y"}]});
        let restore: MilvusRestore = serde_json::from_value(json!({
            "apiVersion": crate::api::API_VERSION, "kind": "MilvusRestore", "metadata": {"name": "r-1"},
            "spec": {"from": {"backupRef": {"name": "b"}}, "target": {"milvusRef": {"name": "prod"}}}, "status": status
        }))
        .unwrap();
        let task = restore_task(&restore);
        assert_eq!((task.id.as_str(), task.state_code, task.progress), ("r-1", state::EXECUTING, 42));
        let targets: Vec<_> = task
            .collection_restore_tasks
            .iter()
            .map(|one| (one.target_db_name.as_str(), one.target_collection_name.as_str(), one.progress))
            .collect();
        assert_eq!(targets, [("a", "c", 42), ("default", "y", 42)]);
    }

    #[test]
    fn only_what_a_person_has_to_clear_ends_the_wait_for_a_deletion() {
        let deleting = |reason: &str| {
            backup(json!({"conditions": [{"type": "DataDeleted", "status": "False", "reason": reason, "message": "m",
                "lastTransitionTime": "2026-11-21T10:00:00Z"}]}))
        };
        assert_eq!(kept_by(&deleting("AccessDenied")), Some("m".into()));
        assert_eq!(kept_by(&deleting("Deleting")), None);
        assert_eq!(kept_by(&deleting("InUseByRestore")), None);
    }
}
