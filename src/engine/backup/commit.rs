//! The commit: the Go tool's five files in its order, then our manifest, which makes the run count.

use std::io::{BufWriter, IntoInnerError};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::Backup;
use super::record::{recovery_point, stored_rows};
use super::verify::Verified;
use crate::engine::artifact::{Artifact, BRIEF};
use crate::engine::copy::leaving_nothing_open;
use crate::engine::error::EngineError;
use crate::engine::progress::Counters;
use crate::engine::task::{Report, Run, Summary, TASK_VERSION};
use crate::manifest::layout::{MetaFile, OperatorFile};
use crate::manifest::operator_manifest::{Digested, FORMAT_VERSION, Source, Totals, digest};
use crate::manifest::{BackupFormat, BackupInfo, ManifestError, OperatorManifest, codec};
use crate::storage::pieces::{PIECE, PieceWriter, put_pieces};
use crate::storage::{Condition, OpenUploads, Written};

/// Writes everything; answers the digest of the manifest as read back from the bucket.
///
/// # Errors
/// The store's; [`EngineError::Interrupted`] when another attempt committed at the same time.
pub(super) async fn write(
    artifact: &Artifact,
    backup: &Backup<'_>,
    info: &Arc<BackupInfo>,
    verified: Verified,
    failed: &[String],
) -> Result<String, EngineError> {
    let store = artifact.store();
    let full_digest = metadata(artifact, info, backup.counters).await?;
    let Verified { objects, count, bytes } = verified;
    let manifest = OperatorManifest {
        format_version: FORMAT_VERSION,
        artifact: backup.task.artifact.clone(),
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        milvus_version: info.milvus_version.clone(),
        created: Timestamp::now(),
        recovery_point: recovery_point(info),
        source: Source {
            host: format!("{}:{}", backup.task.milvus.host, backup.task.milvus.port),
            bucket: backup.task.milvus.store.bucket.clone(),
            root_path: backup.task.milvus.store.prefix.clone(),
        },
        full_meta_sha256: full_digest,
        objects_sha256: digest(&objects),
        totals: Totals {
            objects: count,
            bytes,
            rows: stored_rows(info),
            collections: info.collection_backups.len() as u64,
            databases: info.database_backups.len() as u64,
        },
        partial: !failed.is_empty(),
        failed_collections: failed.iter().map(|line| line.split(':').next().unwrap_or(line).to_owned()).collect(),
    };
    store.put(&artifact.keys.operator(OperatorFile::Objects), objects).await?;
    let key = artifact.keys.operator(OperatorFile::Manifest);
    let body = Bytes::from(manifest.encode()?);
    if let Written::Refused = store.put_if(&key, body, Condition::Absent).await? {
        return Err(EngineError::Interrupted(format!("{key} was written by another attempt at the same moment")));
    }
    Ok(digest(&store.get_within(&key, BRIEF).await?))
}

/// Writes the Go tool's five files as they are made, of snapshots three; answers the digest of the full one.
pub(super) async fn metadata(
    artifact: &Artifact,
    info: &Arc<BackupInfo>,
    counters: &Counters,
) -> Result<String, EngineError> {
    let store = artifact.store();
    let open = OpenUploads::default();
    let write = async {
        let mut digest = String::new();
        // The levels below a collection are those of copied log files (milvus-backup.md 3.1).
        let bundled = info.format() == Some(BackupFormat::Snapshot);
        let left_out = |file: &MetaFile| bundled && [MetaFile::Partition, MetaFile::Segment].contains(file);
        for file in codec::FILES.into_iter().filter(|file| !left_out(file)) {
            let info = info.clone();
            let write = move |writer: &mut PieceWriter| {
                // The serializer writes a few bytes at a time.
                let mut writer = BufWriter::with_capacity(1 << 16, Digested::new(writer));
                codec::write_meta(file, &info, &mut writer)?;
                let unwritten = |error: IntoInnerError<_>| ManifestError::Encode {
                    file: file.name(),
                    cause: error.error().to_string(),
                };
                Ok::<_, EngineError>(writer.into_inner().map_err(unwritten)?.digest())
            };
            digest = put_pieces(store, &artifact.keys.meta(file), PIECE, &open, write).await?;
        }
        Ok(digest)
    };
    leaving_nothing_open(counters, store, &open, write).await
}

/// The result of an earlier attempt of this run that committed but could not report (its Job was lost).
///
/// # Errors
/// The artifact belongs to another run.
pub(super) async fn already(
    artifact: &Artifact,
    run: &Run,
    counters: &Counters,
) -> Result<Option<Report>, EngineError> {
    let Some((manifest, digest)) = artifact.manifest().await? else {
        return Ok(None);
    };
    let (info, _) = artifact.describe().await?;
    if info.id != run.uid {
        return Err(EngineError::Rejected(format!(
            "there is already a backup {}: choose another name or delete it first",
            manifest.artifact
        )));
    }
    let totals = manifest.totals;
    Ok(Some(Report {
        version: TASK_VERSION,
        ok: true,
        reason: if manifest.partial { "PartiallyFailed" } else { "Completed" }.into(),
        message: format!("an earlier attempt had finished: {} collections, {} bytes", totals.collections, totals.bytes),
        manifest_digest: Some(digest),
        recovery_point: manifest.recovery_point,
        milvus_version: Some(manifest.milvus_version),
        summary: Summary {
            size_bytes: totals.bytes,
            objects: totals.objects,
            collections: totals.collections,
            databases: totals.databases,
            rows: totals.rows,
            ..Summary::default()
        },
        progress: {
            counters.plan(totals.collections, totals.objects, totals.bytes);
            counters.objects(totals.objects, totals.bytes);
            counters.collections(totals.collections);
            counters.read(Timestamp::now())
        },
        failed_total: manifest.failed_collections.len() as u64,
        failed_collections: manifest.failed_collections,
        ..Report::default()
    }))
}
