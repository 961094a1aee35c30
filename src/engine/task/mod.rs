//! The contract between controller and engine: task in, progress and report out.
//!
//! The task travels as one environment variable ([`TASK_ENV`]) and holds no secret, only the paths of mounted files.
//! Progress leaves as one JSON line on standard output every two seconds. The report leaves as the termination message
//! (at most [`REPORT_LIMIT`] bytes). Both sides tolerate unknown fields and refuse a newer [`TASK_VERSION`].

mod backup;
mod places;
mod report;
mod restore;
mod verify;

use serde::{Deserialize, Serialize};

pub use backup::*;
pub use places::*;
pub use report::*;
pub use restore::*;
pub use verify::*;

/// Version of the JSON in both directions.
pub const TASK_VERSION: u32 = 1;
/// Environment variable that carries the task into the pod.
pub const TASK_ENV: &str = "MILVUS_BACKUP_TASK";
/// Environment variable that names the file for the report; the default is Kubernetes' termination message path.
pub const REPORT_ENV: &str = "MILVUS_BACKUP_REPORT";
/// Where Kubernetes reads the termination message.
pub const REPORT_PATH: &str = "/dev/termination-log";
/// Kubernetes cuts a termination message at this many bytes.
pub const REPORT_LIMIT: usize = 4096;

/// One attempt of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// [`TASK_VERSION`] of the writer.
    pub version: u32,
    /// Identity of the run; the same for all its attempts.
    pub run: Run,
    /// What to do.
    pub work: Work,
}

/// Who asked, and which attempt this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// UID of the object (or of the shell run); names checkpoints, ledgers and staging prefixes.
    pub uid: String,
    /// Namespace of the object, empty in a shell.
    #[serde(default)]
    pub namespace: String,
    /// Name of the object.
    #[serde(default)]
    pub name: String,
    /// Counts from 1; also the fencing number of the artifact's lock.
    pub attempt: u32,
}

/// The work of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    /// Make an artifact.
    Backup(Box<BackupTask>),
    /// Bring an artifact back into a Milvus.
    Restore(Box<RestoreTask>),
    /// See whether an artifact is whole.
    Verify(VerifyTask),
    /// Remove an artifact and everything of it.
    Delete(DeleteTask),
    /// See whether a location can be reached, listed and written.
    Probe(ProbeTask),
}

/// Remove an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteTask {
    /// Artifact name below `location`.
    pub artifact: String,
    /// Where it lives.
    pub location: StoreTarget,
}

/// Try a location.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTask {
    /// What to try.
    pub location: StoreTarget,
    /// Also write and remove a small object.
    #[serde(default = "yes")]
    pub write: bool,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_an_older_writer_is_a_bucket_with_the_settings_of_then() {
        let old = r#"{"endpoint":"http://minio:9000","region":null,"bucket":"b","prefix":"p","pathStyle":false,
            "credentials":{"files":{"access_key":"/a","secret_key":"/s","session_token":null}},"caFile":null}"#;
        let target: StoreTarget = serde_json::from_str(old).unwrap();
        let expected = StoreTarget {
            endpoint: Some("http://minio:9000".into()),
            bucket: "b".into(),
            prefix: "p".into(),
            path_style: false,
            credentials: Credentials::Files { access_key: "/a".into(), secret_key: "/s".into(), session_token: None },
            ..StoreTarget::default()
        };
        assert_eq!(target, expected);
        let again = serde_json::to_string(&target).unwrap();
        assert!(!again.contains("folder") && !again.contains("checksums"), "{again}");
    }

    #[test]
    fn a_backup_of_an_older_writer_does_not_ask_etcd() {
        let old = r#"{"artifact":"a","milvus":{"host":"m","port":19530,"store":{"bucket":"b"}},"destination":{"bucket":"c"}}"#;
        let mut task: BackupTask = serde_json::from_str(old).unwrap();
        assert_eq!(task.etcd, None);
        assert!(!serde_json::to_string(&task).unwrap().contains("etcd"));
        task.etcd = Some(EtcdTarget { endpoints: vec!["e:2379".into()], root_path: "by-dev".into() });
        let written = serde_json::to_string(&task).unwrap();
        assert!(written.contains(r#""etcd":{"endpoints":["e:2379"],"rootPath":"by-dev"}"#), "{written}");
        assert_eq!(serde_json::from_str::<BackupTask>(&written).unwrap(), task);
    }

    #[test]
    fn a_folder_needs_nothing_else() {
        let target: StoreTarget = serde_json::from_str(r#"{"folder":"/backups","checksums":"WhenSupported"}"#).unwrap();
        let expected = StoreTarget {
            folder: Some("/backups".into()),
            checksums: Checksums::WhenSupported,
            ..StoreTarget::default()
        };
        assert_eq!(target, expected);
    }

    #[test]
    fn limits_of_an_older_writer_bound_the_concurrency_only() {
        let limits: Limits = serde_json::from_str(r#"{"concurrency":7}"#).unwrap();
        assert_eq!(limits, Limits { concurrency: Some(7), ..Limits::default() });
        assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"concurrency":7}"#);
    }
}
