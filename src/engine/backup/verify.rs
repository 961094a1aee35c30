//! Proves the copies and writes down what each object is.

use crate::engine::artifact::Artifact;
use crate::engine::copy::Copy;
use crate::engine::error::{EngineError, named};
use crate::engine::tags;
use crate::engine::task::VerifyBackup;
use crate::manifest::ObjectRecord;
use crate::storage::{Store, list_all};

/// Compares the artifact with the source listing by one listing; with `Checksum` also reads every object.
///
/// # Errors
/// [`EngineError::Damaged`] naming the objects that are not what was listed.
pub async fn artifact(
    artifact: &Artifact,
    source: &dyn Store,
    copies: &[Copy],
    level: VerifyBackup,
) -> Result<Vec<ObjectRecord>, EngineError> {
    let listed = list_all(artifact.store(), &artifact.keys.binlogs()).await?;
    if level != VerifyBackup::None {
        let wrong = tags::differing(source, artifact.store(), copies, &listed).await?;
        if !wrong.is_empty() {
            return Err(EngineError::Damaged(format!(
                "{} copies are not what was listed in Milvus' bucket: {}",
                wrong.len(),
                named(&wrong, 5)
            )));
        }
    }
    let sources: std::collections::HashMap<&str, &Copy> = copies.iter().map(|copy| (copy.to.as_str(), copy)).collect();
    let records: Vec<ObjectRecord> = listed
        .iter()
        .filter_map(|object| {
            let copy = sources.get(object.key.as_str())?;
            Some(ObjectRecord {
                key: artifact.keys.relative(&object.key)?.to_owned(),
                size: object.size,
                etag: object.etag.clone(),
                source_key: Some(copy.source.key.clone()),
                rows: None,
            })
        })
        .collect();
    if level == VerifyBackup::Checksum {
        let paths: Vec<String> = records.iter().map(|record| record.key.clone()).collect();
        let damaged = artifact.inspect(&paths).await?.of_whole_segments();
        if !damaged.is_empty() {
            return Err(EngineError::Damaged(format!("the backup is damaged: {}", named(&damaged, 5))));
        }
    }
    Ok(records)
}
