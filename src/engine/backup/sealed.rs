//! Encrypted databases: their files are copied as they are, and of no use without the key, which is asked for first.

use std::collections::BTreeMap;

use super::Backup;
use crate::engine::error::EngineError;
use crate::engine::patience::patient;
use crate::engine::preflight::unsupported;
use crate::engine::secret::Secret;
use crate::engine::task::Content;
use crate::manifest::sealed::is_sealed;
use crate::milvus::{Gate, ManagementError};

/// Keys by database.
pub type Keys = BTreeMap<String, Secret>;

impl Backup<'_> {
    /// The keys of those of the databases that are encrypted; none where no rows are taken.
    ///
    /// # Errors
    /// The server's; a key it does not give, which is asked for before anything is flushed.
    pub(super) async fn keys(&self, databases: impl IntoIterator<Item = &str>) -> Result<Keys, EngineError> {
        let mut keys = Keys::new();
        if self.task.content == Content::SchemaOnly {
            return Ok(keys);
        }
        for database in databases {
            let Some(found) = patient(|| self.milvus.describe_database(database)).await? else { break };
            if is_sealed(found.properties.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
                keys.insert(database.to_owned(), self.key(database).await?);
            }
        }
        Ok(keys)
    }

    async fn key(&self, database: &str) -> Result<Secret, EngineError> {
        let version = self.milvus.version();
        if !version.has(Gate::Encryption) {
            return Err(unsupported(format!(
                "database {database} is encrypted, and Milvus {version} does not hand out its key: upgrade to 2.6.8 or exclude it"
            )));
        }
        match self.milvus.database_key(database).await {
            Ok(key) => Ok(Secret::new(key)),
            Err(error @ ManagementError::Unreachable { .. }) => Err(EngineError::Interrupted(format!(
                "database {database} is encrypted, and its key could not be asked for: {error}"
            ))),
            Err(error) => Err(EngineError::Rejected(format!(
                "database {database} is encrypted, and without its key a backup is of no use: {error}; correct that, or exclude \
                 the database"
            ))),
        }
    }
}

/// What a person should know about a backup with keys in it.
pub fn warning(keys: &Keys, skipped_flush: bool) -> Option<String> {
    if keys.is_empty() {
        return None;
    }
    let names: Vec<String> = keys.keys().cloned().collect();
    let later = if skipped_flush { "" } else { ", and rows that came right after the flush may be in it" };
    Some(format!(
        "encrypted databases: {}: their keys stand in the metadata of the backup in clear, so guard it; what their files hold \
         was not looked into{later}",
        crate::engine::error::named(&names, 10)
    ))
}
