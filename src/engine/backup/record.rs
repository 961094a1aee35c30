//! What is written down of a backup: its metadata, and the report of the run.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::Backup;
use super::verify::Verified;
use crate::engine::error::{EngineError, bounded, named};
use crate::engine::patience::patient;
use crate::engine::task::{BackupTask, Flush, Report, Summary, TASK_VERSION};
use crate::exit::Class;
use crate::manifest::backup_info::DatabaseBackupInfo;
use crate::manifest::{BackupInfo, CollectionBackupInfo, KeyValuePair};
use crate::milvus::ClusterFlush;

impl Backup<'_> {
    pub(super) async fn info(
        &self,
        collections: Vec<CollectionBackupInfo>,
        databases: Vec<String>,
        cluster: Option<ClusterFlush>,
    ) -> Result<BackupInfo, EngineError> {
        let cluster = cluster.unwrap_or_default();
        let mut databases: BTreeMap<String, i64> = databases.into_iter().map(|name| (name, 0)).collect();
        for collection in &collections {
            databases.insert(collection.db_name.clone(), collection.db_id);
        }
        let wanted: BTreeSet<&str> = collections.iter().map(|collection| collection.db_name.as_str()).collect();
        let asked_for = |name: &String| wanted.contains(name.as_str()) || self.task.selection.databases.contains(name);
        let mut described = Vec::new();
        for (name, id) in databases {
            let found = match patient(|| self.milvus.describe_database(&name)).await {
                Ok(found) => found,
                // An empty database that this login may see and not look into.
                Err(error) if error.class() == Class::Configuration && !asked_for(&name) => {
                    tracing::warn!(database = name, "left out: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (db_id, properties) = found.map_or((id, Vec::new()), |database| (database.id, database.properties));
            described.push(DatabaseBackupInfo {
                db_id,
                properties: properties.into_iter().map(|(key, value)| KeyValuePair { key, value }).collect(),
                ezk: self.key_of(&name).map(|key| key.expose().to_owned()).unwrap_or_default(),
                db_name: name,
            });
        }
        Ok(BackupInfo {
            id: self.run.uid.clone(),
            name: self.task.artifact.clone(),
            size: collections.iter().map(|collection| collection.size).sum(),
            collection_backups: collections,
            milvus_version: self.milvus.version().text.clone(),
            database_backups: described,
            flush_all_msgs_base64: cluster
                .messages
                .into_iter()
                .map(|(channel, message)| (channel, STANDARD.encode(message)))
                .collect(),
            format: if self.by_server() { "snapshot".to_owned() } else { String::new() },
            control_channel_name: cluster.control_channel,
            physical_channel_names: cluster.channels,
            ..BackupInfo::default()
        })
    }

    pub(super) fn report(&self, info: &BackupInfo, summary: Summary, digest: String, failed: Vec<String>) -> Report {
        let partial = !failed.is_empty();
        let message = match partial {
            false => format!("backed up {} collections, {} bytes", summary.collections, summary.size_bytes),
            true => format!(
                "backed up {} collections; {} could not be: {}",
                summary.collections,
                failed.len(),
                named(&failed, 3)
            ),
        };
        Report {
            version: TASK_VERSION,
            ok: true,
            class: None,
            reason: if partial { "PartiallyFailed" } else { "Completed" }.into(),
            message: bounded(&message, 1000),
            manifest_digest: Some(digest),
            recovery_point: recovery_point(info),
            milvus_version: Some(info.milvus_version.clone()),
            summary,
            progress: self.counters.read(Timestamp::now()),
            failed_total: failed.len() as u64,
            failed_collections: failed.into_iter().take(20).collect(),
            ..Report::default()
        }
    }
}

/// The oldest flush point: all collections are consistent to this moment. None when one of them was not flushed.
pub(super) fn recovery_point(info: &BackupInfo) -> Option<Timestamp> {
    let points: Option<Vec<Timestamp>> =
        info.collection_backups.iter().map(CollectionBackupInfo::recovery_point).collect();
    points?.into_iter().min()
}

/// Rows in all segments, those deleted among them.
pub(super) fn stored_rows(info: &BackupInfo) -> u64 {
    info.collection_backups.iter().map(|c| u64::try_from(c.stored_rows()).unwrap_or_default()).sum()
}

/// Totals, and what a person should look at.
pub(super) fn summary(
    info: &BackupInfo,
    verified: &Verified,
    copied: u64,
    task: &BackupTask,
    mut warnings: Vec<String>,
) -> Summary {
    if task.flush == Flush::Skip {
        warnings.push("flush was skipped: rows that were still in memory are not in the backup".to_owned());
    }
    Summary {
        size_bytes: verified.bytes,
        copied_bytes: copied,
        objects: verified.count,
        collections: info.collection_backups.len() as u64,
        databases: info.database_backups.len() as u64,
        rows: stored_rows(info),
        warnings,
    }
}
