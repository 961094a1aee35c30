//! Which batches of a collection are imported, and which are inserted.

use super::columns;
use super::ledger::Job;
use super::pace::{Pace, Way};
use super::plan::{Action, Batch, BatchKind, Item};
use super::{Restore, columns::Column};
use crate::engine::error::EngineError;
use crate::engine::task::{Content, RestorePath};

/// A batch of rows with the way it takes.
#[derive(Debug)]
pub struct Chosen<'i> {
    /// The batch.
    pub batch: &'i Batch,
    /// Its way.
    pub way: Way,
    /// Rows, where an earlier attempt has inserted them all.
    pub rows: Option<u64>,
    /// Seconds it is thought to take.
    pub planned: f64,
}

impl Restore<'_> {
    /// The way of every batch of rows. What an earlier attempt began goes on as it began.
    pub(super) async fn ways<'i>(&self, item: &'i Item<'_>) -> Vec<Chosen<'i>> {
        let begun = self.ledger.entry(&item.target).await.map(|entry| entry.imports).unwrap_or_default();
        let columns = self.insertable(item).unwrap_or_default();
        let mut ways = Vec::new();
        for batch in item.batches.iter().filter(|batch| batch.kind == BatchKind::Rows) {
            let identity = self.identity(batch);
            let job = begun.iter().find(|import| import.directory == identity).map(|import| import.job);
            let bytes = columns::estimate(item, batch);
            let known = (item.target.clone(), identity.clone());
            let refused = self.refused.lock().is_ok_and(|all| all.contains(&known));
            let way = match (job, self.task.restore_path) {
                (Some(job), _) if job.is_insert() => Way::Insert,
                (Some(_), _) | (None, RestorePath::Import) => Way::Import,
                // What was there before cannot be made anew, as an insert that is broken off would want.
                _ if columns.is_empty() || refused || item.action == Action::Append => Way::Import,
                (None, RestorePath::Insert) => Way::Insert,
                (None, RestorePath::Auto) => self.pace(|pace| pace.choose(bytes)),
            };
            let rows = match job {
                Some(Job::Inserted { rows }) => Some(u64::try_from(rows).unwrap_or_default()),
                _ => None,
            };
            let planned = if rows.is_some() { 0.0 } else { self.pace(|pace| pace.begin(way, bytes)) };
            ways.push(Chosen { batch, way, rows, planned });
        }
        ways
    }

    /// The server as one that rows may be inserted into.
    pub(super) fn server(&self) -> columns::Server<'_> {
        columns::Server { route: self.route, version: self.milvus.version(), path: self.task.restore_path }
    }

    /// What is to be said of inserts nobody has compared with imports.
    pub(super) fn unproven_inserts(&self) -> Vec<String> {
        let asked = self.task.restore_path == RestorePath::Insert && self.task.content == Content::Full;
        if !asked || self.server().is_proven() {
            return Vec::new();
        }
        vec![format!(
            "rows were inserted, as was asked for: on milvus {} nobody has compared inserted rows with imported ones; a restore with \
             verify Sample compares some with the backup",
            self.milvus.version()
        )]
    }

    fn insertable(&self, item: &Item<'_>) -> Option<Vec<Column>> {
        match columns::columns(item, &self.server()) {
            Ok(columns) => Some(columns),
            Err(why) => {
                tracing::debug!(collection = %item.source, why, "imported only");
                None
            }
        }
    }

    /// That everything can be inserted where nothing else is allowed.
    pub(super) fn may_insert(&self, item: &Item<'_>) -> Result<(), EngineError> {
        if self.task.restore_path != RestorePath::Insert {
            return Ok(());
        }
        let exists = "exists already, and rows are inserted into new collections only".to_owned();
        let columns = match item.action {
            Action::Append => Err(exists),
            _ => columns::columns(item, &self.server()).map(drop),
        };
        columns.map_err(|why| {
            EngineError::Rejected(format!(
                "collection {} {why}, so it cannot be restored by insert: leave the way to us, or exclude it; nothing was \
                 touched",
                item.source
            ))
        })
    }

    /// Looks at, or changes, what both ways have taken so far.
    pub(super) fn pace<T>(&self, act: impl FnOnce(&mut Pace) -> T) -> T {
        // A thread that panicked while it held these figures has done them no harm.
        act(&mut self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
