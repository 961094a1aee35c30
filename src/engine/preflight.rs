//! What is checked before anything is flushed, created or written: the settings against the live server and its bucket.

use std::path::Path;

use serde::Deserialize;

use super::error::EngineError;
use super::select::Name;
use super::task::{BackupTask, Content, Flush, Format, MilvusTarget, StoreTarget};
use crate::milvus::gates::{OLDEST, dotted};
use crate::milvus::{Gate, Milvus, SegmentState, ServerVersion};
use crate::storage::Store;

/// Collections whose binlogs are looked for before flushing.
const SAMPLE: usize = 3;

/// Compares the live `user.yaml` with what was resolved. The file is optional: not every Milvus has one.
///
/// # Errors
/// [`EngineError::SourceConfigDrift`] with both values, never a key.
pub fn config_drift(live: &str, target: &StoreTarget) -> Result<(), EngineError> {
    let live: LiveConfig = match serde_saphyr::from_str(live) {
        Ok(live) => live,
        // Not ours to judge: Milvus itself reads it.
        Err(_) => return Ok(()),
    };
    let Some(minio) = live.minio else {
        return Ok(());
    };
    let differ = |what: &str, live: &str, ours: &str| {
        EngineError::SourceConfigDrift(format!(
            "the live configuration of Milvus has {what} {live:?}, the resource says {ours:?}: wait until Milvus Operator has \
             applied the change, or set spec.source.overrides"
        ))
    };
    if let Some(bucket) = minio.bucket_name.filter(|bucket| *bucket != target.bucket) {
        return Err(differ("bucket", &bucket, &target.bucket));
    }
    match minio.root_path {
        Some(root) if root.trim_matches('/') != target.prefix => Err(differ("rootPath", &root, &target.prefix)),
        _ => Ok(()),
    }
}

/// Refuses servers that are too old for either direction.
///
/// # Errors
/// `UnsupportedVersion`.
pub fn version(version: &ServerVersion) -> Result<(), EngineError> {
    if version.since(OLDEST) {
        return Ok(());
    }
    Err(unsupported(format!("Milvus {version} is too old: {} or later is needed; upgrade it first", dotted(OLDEST))))
}

/// Refuses what a backup of this server could not hold.
///
/// # Errors
/// `UnsupportedVersion`.
pub fn readable(version: &ServerVersion, task: &BackupTask) -> Result<(), EngineError> {
    if task.content == Content::Full && task.format == Format::Binlog && by_snapshots(version) {
        return Err(unsupported(format!(
            "the data of Milvus {version} can only be copied by its own snapshots: leave the format to Auto"
        )));
    }
    if task.format == Format::Snapshot && !version.has(Gate::SnapshotsOnly) {
        return Err(unsupported(format!("Milvus {version} has no snapshots: leave the format to Auto")));
    }
    if task.flush == Flush::Cluster && !version.has(Gate::FlushAll) {
        return Err(unsupported(format!(
            "Milvus {version} cannot flush the whole cluster at once in a way that tells when it is done: leave the flush to \
             Auto"
        )));
    }
    Ok(())
}

/// Whether data of this server can only be copied by its own snapshots. Builds without a version are taken for older ones.
pub fn by_snapshots(version: &ServerVersion) -> bool {
    version.parsed.is_some() && version.has(Gate::SnapshotsOnly)
}

/// What this version of Milvus cannot do.
pub fn unsupported(message: String) -> EngineError {
    EngineError::Setup { reason: "UnsupportedVersion", message }
}

/// Reads the mounted live configuration where there is one.
pub async fn live_config(path: Option<&Path>) -> Option<String> {
    tokio::fs::read_to_string(path?).await.ok()
}

#[derive(Debug, Deserialize)]
struct LiveConfig {
    #[serde(default)]
    minio: Option<LiveMinio>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LiveMinio {
    #[serde(default)]
    bucket_name: Option<String>,
    #[serde(default)]
    root_path: Option<String>,
}

/// Looks whether the binlogs of a few collections lie where the settings say, before anything is flushed.
///
/// # Errors
/// [`EngineError::StoragePathMismatch`] when a collection has flushed rows and no object under `<rootPath>/insert_log`.
pub async fn storage_path(
    milvus: &Milvus,
    store: &dyn Store,
    target: &MilvusTarget,
    collections: &[(Name, i64)],
) -> Result<(), EngineError> {
    let root = root(&target.store.prefix);
    let mut looked = 0;
    for (name, id) in collections {
        let segments = milvus.segments(&name.database, &name.collection).await?;
        let rows: i64 =
            segments.iter().filter(|segment| segment.state == SegmentState::Flushed).map(|segment| segment.rows).sum();
        if rows == 0 {
            continue;
        }
        let prefix = format!("{root}insert_log/{id}/");
        if store.list_page(&prefix, None).await?.objects.is_empty() {
            return Err(EngineError::StoragePathMismatch(mismatch(name, rows, store, &prefix)));
        }
        looked += 1;
        if looked == SAMPLE {
            break;
        }
    }
    Ok(())
}

fn mismatch(name: &Name, rows: i64, store: &dyn Store, prefix: &str) -> String {
    format!(
        "collection {name} has {rows} flushed rows but {} has no object under {prefix}: bucket or rootPath is not the one \
         Milvus writes to; correct spec.source (overrides.bucket, overrides.rootPath)",
        store.place()
    )
}

/// `rootPath` as the beginning of a key: empty, or with a slash at its end.
pub fn root(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(bucket: &str, prefix: &str) -> StoreTarget {
        StoreTarget { bucket: bucket.into(), prefix: prefix.into(), ..StoreTarget::default() }
    }

    #[test]
    fn another_bucket_in_the_live_configuration_is_drift_and_names_both() {
        let live = "minio:\n  bucketName: other\n  secretAccessKey: hidden\n";
        let said = config_drift(live, &target("prod", "files")).unwrap_err().to_string();
        assert!(said.contains("\"other\"") && said.contains("\"prod\"") && !said.contains("hidden"), "{said}");
    }

    #[test]
    fn another_root_path_is_drift() {
        assert!(config_drift("minio: {rootPath: file}", &target("prod", "files")).is_err());
    }

    #[test]
    fn a_live_configuration_that_agrees_or_is_silent_is_fine() {
        for live in ["minio: {bucketName: prod, rootPath: files/}", "common: {}", "{}", "", "not: [yaml"] {
            config_drift(live, &target("prod", "files")).unwrap();
        }
    }
}
