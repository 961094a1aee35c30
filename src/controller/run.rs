//! What a backup and a restore have in common, seen from the controller.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    job::JobKind,
    metrics::KindLabel,
    observe::Proof,
    record::{Record, RunKind},
};
use crate::api::{
    self, Auth, BackupVerify, Deadlines, DeletionPolicy, LocalRef, MilvusBackup, MilvusBackupStatus, MilvusRestore,
    MilvusRestoreStatus, Overrides, RestoreVerify, Retry, conditions::reason,
};

impl RunKind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            RunKind::Backup => "MilvusBackup",
            RunKind::Restore => "MilvusRestore",
        }
    }

    /// Its Jobs.
    pub fn jobs(self) -> JobKind {
        match self {
            RunKind::Backup => JobKind::Backup,
            RunKind::Restore => JobKind::Restore,
        }
    }

    /// What success has to prove.
    pub fn proof(self) -> Proof {
        match self {
            RunKind::Backup => Proof::Manifest,
            RunKind::Restore => Proof::Report,
        }
    }

    /// Its label in metrics.
    pub fn label(self) -> KindLabel {
        match self {
            RunKind::Backup => KindLabel::backup,
            RunKind::Restore => KindLabel::restore,
        }
    }

    /// First part of its Events' reasons.
    pub fn event(self) -> &'static str {
        match self {
            RunKind::Backup => "Backup",
            RunKind::Restore => "Restore",
        }
    }
}

/// The Milvus a run works on, as its spec names it.
#[derive(Debug, Clone, Copy)]
pub struct MilvusNamed<'a> {
    /// A resource of Milvus Operator.
    pub reference: Option<&'a LocalRef>,
    /// Anything else.
    pub connection: Option<&'a api::Connection>,
    /// Replaced values.
    pub overrides: Option<&'a Overrides>,
    /// Log-in.
    pub auth: Option<&'a Auth>,
}

impl MilvusNamed<'_> {
    /// For people, labels and the line of those that wait for one Milvus: its name, or `host:port`.
    pub fn text(&self) -> String {
        match (self.reference, self.connection) {
            (Some(reference), _) => reference.name.clone(),
            (None, Some(connection)) => format!("{}:{}", connection.grpc.host, connection.grpc.port),
            (None, None) => String::new(),
        }
    }
}

/// A `MilvusBackup` or a `MilvusRestore`.
pub trait RunObject:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Which.
    const KIND: RunKind;

    /// The Milvus.
    fn milvus(&self) -> MilvusNamed<'_>;
    /// Wishes for the pod.
    fn job(&self) -> &api::Job;
    /// Retry policy.
    fn retry(&self) -> &Retry;
    /// Deadlines.
    fn deadlines(&self) -> &Deadlines;
    /// Whether it is to be stopped.
    fn cancel(&self) -> bool;
    /// Reason of `Verified=True` after success.
    fn verified(&self) -> Option<&'static str>;
    /// Its status.
    fn record(&self) -> Record;
    /// Whether the data goes with the object.
    fn deletes_data(&self) -> bool {
        false
    }
    /// The backup, where this is one: for the steps only backups have.
    fn as_backup(&self) -> Option<&MilvusBackup> {
        None
    }
    /// The restore, where this is one.
    fn as_restore(&self) -> Option<&MilvusRestore> {
        None
    }
}

impl RunObject for MilvusBackup {
    const KIND: RunKind = RunKind::Backup;

    fn milvus(&self) -> MilvusNamed<'_> {
        let source = &self.spec.source;
        MilvusNamed {
            reference: source.milvus_ref.as_ref(),
            connection: source.connection.as_ref(),
            overrides: source.overrides.as_ref(),
            auth: self.spec.auth.as_ref(),
        }
    }

    fn job(&self) -> &api::Job {
        &self.spec.job
    }

    fn retry(&self) -> &Retry {
        &self.spec.retry
    }

    fn deadlines(&self) -> &Deadlines {
        &self.spec.deadlines
    }

    fn cancel(&self) -> bool {
        self.spec.cancel
    }

    fn verified(&self) -> Option<&'static str> {
        match self.spec.verify {
            BackupVerify::None => None,
            BackupVerify::Manifest => Some(reason::MANIFEST_VERIFIED),
            BackupVerify::Checksum => Some(reason::CHECKSUM_VERIFIED),
        }
    }

    fn record(&self) -> Record {
        self.status.as_ref().map(backup_record).unwrap_or_default()
    }

    fn deletes_data(&self) -> bool {
        self.spec.lifecycle.deletion_policy == Some(DeletionPolicy::Delete)
    }

    fn as_backup(&self) -> Option<&MilvusBackup> {
        Some(self)
    }
}

impl RunObject for MilvusRestore {
    const KIND: RunKind = RunKind::Restore;

    fn milvus(&self) -> MilvusNamed<'_> {
        let target = &self.spec.target;
        MilvusNamed {
            reference: target.milvus_ref.as_ref(),
            connection: target.connection.as_ref(),
            overrides: target.overrides.as_ref(),
            auth: target.auth.as_ref(),
        }
    }

    fn job(&self) -> &api::Job {
        &self.spec.job
    }

    fn retry(&self) -> &Retry {
        &self.spec.retry
    }

    fn deadlines(&self) -> &Deadlines {
        &self.spec.deadlines
    }

    fn cancel(&self) -> bool {
        self.spec.cancel
    }

    fn verified(&self) -> Option<&'static str> {
        match self.spec.verify {
            RestoreVerify::None => None,
            RestoreVerify::RowCounts => Some(reason::ROW_COUNTS_VERIFIED),
            RestoreVerify::Sample => Some(reason::SAMPLE_VERIFIED),
        }
    }

    fn record(&self) -> Record {
        self.status.as_ref().map(restore_record).unwrap_or_default()
    }

    fn as_restore(&self) -> Option<&MilvusRestore> {
        Some(self)
    }
}

fn backup_record(status: &MilvusBackupStatus) -> Record {
    let MilvusBackupStatus { run, artifact, recovery_point, expires_at } = status.clone();
    Record { run, artifact, recovery_point, expires_at, ..Record::default() }
}

fn restore_record(status: &MilvusRestoreStatus) -> Record {
    let MilvusRestoreStatus { run, pinned_artifact, plan, created_collections, row_counts } = status.clone();
    Record { run, artifact: pinned_artifact, plan, created_collections, row_counts, ..Record::default() }
}

/// A record as the status of its kind.
pub fn status_value(kind: RunKind, record: Record) -> Value {
    let Record { run, artifact, recovery_point, expires_at, plan, created_collections, row_counts } = record;
    let value = match kind {
        RunKind::Backup => serde_json::to_value(MilvusBackupStatus { run, artifact, recovery_point, expires_at }),
        RunKind::Restore => serde_json::to_value(MilvusRestoreStatus {
            run,
            pinned_artifact: artifact,
            plan,
            created_collections,
            row_counts,
        }),
    };
    // Plain structs with text keys always serialise.
    value.unwrap_or_default()
}
