//! What is copied: every selected collection described and listed, and those left out that cannot be.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};

use super::{Backup, Flushed, describe, later, logs, segments};
use crate::engine::error::{EngineError, bounded};
use crate::engine::select::Name;
use crate::engine::task::{Content, OnCollectionError, Stage};
use crate::exit::Class;
use crate::manifest::CollectionBackupInfo;
use crate::storage::Tag;

/// Collections described and listed at once.
const COLLECTIONS: usize = 8;

/// A planned collection, or why it cannot be backed up.
pub(super) type Planned = (Name, Result<(CollectionBackupInfo, Vec<Tag>), EngineError>);

/// What can be backed up, and what cannot.
#[derive(Default)]
pub(super) struct Split {
    pub(super) collections: Vec<CollectionBackupInfo>,
    /// Of the objects to copy, in the order of the metadata.
    pub(super) tags: Vec<Tag>,
    /// `database.collection: why`.
    pub(super) failed: Vec<String>,
}

impl Backup<'_> {
    /// The collections that have delta logs, where one request tells it for all that are selected. After the flush, which
    /// writes what has been deleted.
    pub(super) async fn with_deltas(&self, selected: usize) -> Option<BTreeSet<i64>> {
        if self.task.content == Content::SchemaOnly || self.by_server() || selected < 2 {
            return None;
        }
        let found = logs::with_deltas(self.source.as_ref(), &self.task.milvus.store.prefix).await;
        // Then every collection is asked for, and says what is wrong.
        found.inspect_err(|error| tracing::info!("delta logs are listed by collection: {error}")).ok().flatten()
    }

    /// Describes and lists all collections; a failure stays with its collection.
    pub(super) async fn plan(
        &self,
        names: &[Name],
        flushed: &Flushed,
        with_deltas: Option<&BTreeSet<i64>>,
    ) -> Vec<Planned> {
        self.counters.enter(Stage::CopyingMetadata);
        stream::iter(names)
            .map(|name| async move { (name.clone(), self.plan_one(name, flushed, with_deltas).await) })
            .buffered(COLLECTIONS)
            .collect()
            .await
    }

    async fn plan_one(
        &self,
        name: &Name,
        flushed: &Flushed,
        with_deltas: Option<&BTreeSet<i64>>,
    ) -> Result<(CollectionBackupInfo, Vec<Tag>), EngineError> {
        let mut info = describe::collection(&self.milvus, name, &self.run.uid, self.task.index_metadata).await?;
        let ticket = flushed.tickets.get(name);
        if let Some(ticket) = ticket {
            describe::consistent_to(&mut info, ticket);
        }
        if let Some(cluster) = &flushed.cluster {
            describe::consistent_to_cluster(&mut info, cluster)?;
        }
        if self.task.content == Content::SchemaOnly || self.by_server() {
            return Ok((info, Vec::new()));
        }
        let root = &self.task.milvus.store.prefix;
        let found = segments::of(&self.milvus, self.source.as_ref(), root, &info, ticket, with_deltas).await?;
        let found = match info.backup_timestamp {
            0 => found,
            // Nobody but the server can look inside.
            _ if self.key_of(&name.database).is_some() => found,
            flush_ts => {
                let source = later::Source { store: self.source.as_ref(), root_path: root, reader: &self.reader };
                let kept = later::without_later_rows(&source, found, &flushed.known(name), flush_ts).await?;
                self.note_mixed(name, &kept.mixed);
                later::without_later_deletes(&source, kept.segments, flush_ts).await?
            }
        };
        let tags = segments::record(&mut info, root, found);
        Ok((info, tags))
    }

    fn note_mixed(&self, name: &Name, mixed: &[i64]) {
        if let Some(segment) = mixed.first()
            && let Ok(mut warnings) = self.warnings.lock()
        {
            warnings.push(format!(
                "segment {segment} of collection {name} ({} in all) holds rows that are newer than the recovery point, because \
                 compaction joined segments meanwhile: a restore has them too, unless it cuts to the recovery point",
                mixed.len()
            ));
        }
    }

    /// Keeps what can be backed up; decides by `onCollectionError` what the rest means.
    pub(super) fn split(&self, planned: Vec<Planned>) -> Result<Split, EngineError> {
        let Split { mut collections, mut tags, mut failed } = Split::default();
        for (name, outcome) in planned {
            match outcome {
                Ok((info, wanted)) => {
                    collections.push(info);
                    match tags.is_empty() {
                        true => tags = wanted,
                        false => tags.extend(wanted),
                    }
                }
                Err(error)
                    if self.task.on_collection_error == OnCollectionError::Continue
                        && error.class() != Class::Retry =>
                {
                    tracing::warn!(collection = %name, "left out: {error}");
                    failed.push(format!("{name}: {}", bounded(&error.to_string(), 200)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Split { collections, tags, failed })
    }
}
