//! Which backups are in a bucket, whoever made them.
//!
//! A backup of the Go tool counts when its metadata is there. Ours counts when it was committed: one that is being made, or
//! that never ended, is not listed.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use super::request::BackupId;
use crate::engine::artifact::Artifact;
use crate::engine::error::EngineError;
use crate::exit::Class;
use crate::manifest::layout::{MetaFile, OperatorFile};
use crate::manifest::{BackupInfo, OperatorManifest, decode_full};
use crate::storage::{Store, StoreError, list_all};

/// Backups looked at at once.
const LOOKS: usize = 16;

/// A line of the list (milvus-backup 0.5.16, `core/server/list.go`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// Id of the run that made it.
    pub id: String,
    /// Name.
    pub name: String,
    /// Bytes of all segments.
    pub size: i64,
    /// Version of the server it was made from.
    pub milvus_version: String,
}

/// A backup with what is known of it beside its metadata.
#[derive(Debug, Clone)]
pub struct StoredBackup {
    /// The whole metadata.
    pub info: BackupInfo,
    /// Bytes of its metadata files.
    pub meta_size: u64,
    /// Our manifest with the digest of its bytes; none for a backup of the Go tool.
    pub manifest: Option<(OperatorManifest, String)>,
}

/// All backups below a prefix, by name. What cannot be read is left out and logged.
///
/// # Errors
/// The store's.
pub async fn list(store: &Arc<dyn Store>, prefix: &str) -> Result<Vec<BackupSummary>, EngineError> {
    let folders = match store.folders(&parent(prefix)).await {
        Err(StoreError::NotFound { .. }) => Vec::new(),
        other => other?,
    };
    let looks = stream::iter(folders).map(|name| async move { summary(store, prefix, &name).await });
    looks.buffered(LOOKS).try_filter_map(|found| async move { Ok(found) }).try_collect().await
}

async fn summary(store: &Arc<dyn Store>, prefix: &str, name: &str) -> Result<Option<BackupSummary>, EngineError> {
    let Ok(artifact) = Artifact::at(store.clone(), prefix, name) else {
        return Ok(None);
    };
    let body = match artifact.find(&artifact.keys.meta(MetaFile::Backup)).await {
        Err(EngineError::Store(error @ StoreError::TooLarge { .. })) => {
            tracing::warn!(backup = name, "left out of the list: {error}");
            return Ok(None);
        }
        other => other?,
    };
    let Some(body) = body else { return Ok(None) };
    if !committed(&artifact).await? {
        return Ok(None);
    }
    match decode_full(&body) {
        Ok(info) => Ok(Some(BackupSummary {
            id: info.id,
            // The folder is what every other command takes for the name.
            name: name.to_owned(),
            size: info.size,
            milvus_version: info.milvus_version,
        })),
        Err(error) => {
            tracing::warn!(backup = name, "left out of the list: {error}");
            Ok(None)
        }
    }
}

/// Ours are committed with their manifest; those of the Go tool have no folder of ours, or only ledgers of restores.
async fn committed(artifact: &Artifact) -> Result<bool, EngineError> {
    let lock = artifact.keys.operator(OperatorFile::Lock);
    let manifest = artifact.keys.operator(OperatorFile::Manifest);
    let there = |wanted: String| async move {
        let page = artifact.store().list_page(&wanted, None).await?;
        Ok::<_, EngineError>(page.objects.iter().any(|object| object.key == wanted))
    };
    Ok(!there(lock).await? || there(manifest).await?)
}

/// One backup with all its metadata.
///
/// # Errors
/// [`EngineError::Setup`] with the reason `ArtifactMissing` where there is none of that name or id; damaged metadata.
pub async fn get(store: &Arc<dyn Store>, prefix: &str, id: &BackupId) -> Result<StoredBackup, EngineError> {
    let name = match id {
        BackupId::Name(name) => name.clone(),
        BackupId::Id(id) => match list(store, prefix).await?.into_iter().find(|backup| backup.id == *id) {
            Some(found) => found.name,
            None => {
                return Err(EngineError::Setup {
                    reason: "ArtifactMissing",
                    message: format!("no backup below {} in {} has id {id:?}", parent(prefix), store.place()),
                });
            }
        },
    };
    let artifact = Artifact::at(store.clone(), prefix, &name)?;
    let (info, manifest) = artifact.describe().await?;
    let meta = list_all(store.as_ref(), &artifact.keys.key("meta/")).await?;
    Ok(StoredBackup { info, meta_size: meta.iter().map(|object| object.size).sum(), manifest })
}

/// What stands where a new backup is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Nothing.
    Free,
    /// A run of ours that never ended, or is under way.
    Unfinished,
    /// A backup, or the rest of one.
    Taken,
}

/// Looks whether a name is free.
///
/// # Errors
/// The store's; a name the format does not allow.
pub async fn ground(store: &Arc<dyn Store>, prefix: &str, name: &str) -> Result<Ground, EngineError> {
    let artifact = Artifact::at(store.clone(), prefix, name)?;
    if store.list_page(&artifact.keys.dir(), None).await?.objects.is_empty() {
        return Ok(Ground::Free);
    }
    Ok(match artifact.find(&artifact.keys.operator(OperatorFile::Lock)).await? {
        Some(_) if !committed(&artifact).await? => Ground::Unfinished,
        _ => Ground::Taken,
    })
}

/// Whether an error says that there is no such backup.
pub fn is_missing(error: &EngineError) -> bool {
    error.class() == Class::Configuration && error.reason() == "ArtifactMissing"
}

fn parent(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::artifact::BRIEF;
    use crate::manifest::encode_meta;
    use crate::storage::FolderStore;
    use crate::storage::memory::MemoryService;

    async fn put(store: &Arc<dyn Store>, key: &str, body: &[u8]) {
        store.put(key, Bytes::copy_from_slice(body)).await.unwrap();
    }

    /// The metadata of a small backup, as the Go tool writes it.
    async fn backup(store: &Arc<dyn Store>, folder: &str, id: &str) {
        let info = BackupInfo { id: id.into(), name: "recorded".into(), size: 7, ..BackupInfo::default() };
        for (name, body) in encode_meta(&info).unwrap() {
            put(store, &format!("{folder}/meta/{name}"), &body).await;
        }
    }

    fn store() -> Arc<dyn Store> {
        Arc::new(MemoryService::new("s").bucket("b"))
    }

    async fn names(store: &Arc<dyn Store>, prefix: &str) -> Vec<String> {
        list(store, prefix).await.unwrap().into_iter().map(|backup| backup.name).collect()
    }

    #[tokio::test]
    async fn backups_are_listed_by_their_folder_at_any_prefix() {
        let store = store();
        for folder in ["two", "one", "backup/three", "backup/deeper/four"] {
            backup(&store, folder, folder).await;
        }
        assert_eq!(names(&store, "").await, ["one", "two"]);
        assert_eq!(names(&store, "/backup/").await, ["three"]);
        assert_eq!(names(&store, "backup/deeper").await, ["four"]);
        assert_eq!(names(&store, "nowhere").await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_backup_whose_metadata_could_fill_the_memory_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FolderStore::open(folder.path()).unwrap());
        for name in ["one", "swollen"] {
            backup(&store, name, name).await;
        }
        let file = std::fs::File::options().write(true).open(folder.path().join("swollen/meta/backup_meta.json"));
        file.unwrap().set_len(BRIEF + 1).unwrap();
        assert_eq!(names(&store, "").await, ["one"]);
    }

    #[tokio::test]
    async fn ours_counts_once_its_manifest_is_there_and_ledgers_of_restores_change_nothing() {
        let store = store();
        backup(&store, "ours", "1").await;
        put(&store, "ours/operator/lock.json", b"{}").await;
        backup(&store, "theirs", "2").await;
        put(&store, "theirs/operator/restores/u/ledger.json", b"{}").await;
        assert_eq!(names(&store, "").await, ["theirs"]);
        put(&store, "ours/operator/manifest.json", b"{}").await;
        assert_eq!(names(&store, "").await, ["ours", "theirs"]);
    }

    #[tokio::test]
    async fn folders_that_are_no_backups_are_passed_over() {
        let store = store();
        put(&store, "a-dash/meta/backup_meta.json", b"{}").await;
        put(&store, "half/binlogs/insert_log/1/2/3/3/100/5", b"x").await;
        put(&store, "broken/meta/backup_meta.json", b"[").await;
        assert_eq!(names(&store, "").await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_backup_is_found_by_name_and_by_id() {
        let store = store();
        backup(&store, "p/one", "id-1").await;
        backup(&store, "p/two", "id-2").await;
        let by_id = get(&store, "p", &BackupId::Id("id-2".into())).await.unwrap();
        let by_name = get(&store, "p", &BackupId::Name("two".into())).await.unwrap();
        assert_eq!(by_id.info.id, "id-2");
        assert_eq!(by_id.info, by_name.info);
        assert!(by_name.manifest.is_none() && by_name.meta_size > 0);
        for unknown in [BackupId::Id("id-3".into()), BackupId::Name("three".into())] {
            let error = get(&store, "p", &unknown).await.unwrap_err();
            assert!(is_missing(&error), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_is_free_taken_or_begun() {
        let store = store();
        backup(&store, "p/taken", "1").await;
        put(&store, "p/rest/binlogs/insert_log/1/2/3/3/100/5", b"x").await;
        put(&store, "p/begun/operator/lock.json", b"{}").await;
        let mut found = Vec::new();
        for name in ["taken", "rest", "begun", "tak"] {
            found.push(ground(&store, "p", name).await.unwrap());
        }
        assert_eq!(found, [Ground::Taken, Ground::Taken, Ground::Unfinished, Ground::Free]);
    }
}
