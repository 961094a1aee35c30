//! Pure: what a restore will do, before it does anything.
//!
//! - here: which collection goes where, and what happens to what is there.
//! - `batches`: the import jobs of a collection.

mod batches;

use std::borrow::Cow;
use std::collections::BTreeSet;

pub use self::batches::{Batch, BatchKind, Route, batches};
use crate::engine::error::EngineError;
use crate::engine::secret::Secret;
use crate::engine::select::Name;
use crate::engine::task::{OnConflict, PlanSummary, Rename};
use crate::manifest::CollectionBackupInfo;

/// Mappings shown in status.
const SHOWN: usize = 20;

/// What happens to a target name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing of that name is there.
    Create,
    /// It exists and is dropped first.
    Replace,
    /// It exists and gets rows besides its own.
    Append,
    /// It exists and stays.
    Skip,
    /// An earlier attempt of this run began it.
    Continue,
}

/// One collection.
#[derive(Debug, Clone)]
pub struct Item<'b> {
    /// Name in the backup.
    pub source: Name,
    /// Name in the target.
    pub target: Name,
    /// What is done.
    pub action: Action,
    /// Metadata.
    pub info: Cow<'b, CollectionBackupInfo>,
    /// Import jobs.
    pub batches: Vec<Batch>,
    /// Key of its files, where they are encrypted.
    pub key: Option<Secret>,
}

/// What is done with each target name, by what exists and what earlier attempts of this run made.
///
/// # Errors
/// [`EngineError::ConflictFound`]: names that exist though nothing may touch them, or are missing though none may be made.
pub fn actions(
    pairs: &[(Name, Name)],
    existing: &BTreeSet<Name>,
    begun: &BTreeSet<Name>,
    (on_conflict, create_missing): (OnConflict, bool),
) -> Result<Vec<Action>, EngineError> {
    let (mut conflicts, mut lacking) = (Vec::new(), Vec::new());
    let actions = pairs
        .iter()
        .map(|(_, target)| match (begun.contains(target), existing.contains(target), on_conflict) {
            (true, ..) => Action::Continue,
            (false, false, _) => {
                if !create_missing {
                    lacking.push(target.to_string());
                }
                Action::Create
            }
            (false, true, OnConflict::Append) => Action::Append,
            (false, true, OnConflict::Skip) => Action::Skip,
            (false, true, OnConflict::Replace) => Action::Replace,
            (false, true, OnConflict::Fail) => {
                conflicts.push(target.to_string());
                Action::Skip
            }
        })
        .collect();
    if !lacking.is_empty() {
        return Err(EngineError::ConflictFound(format!(
            "{} of {} target collections do not exist and none is to be made, nothing was touched: {}",
            lacking.len(),
            pairs.len(),
            crate::engine::error::named(&lacking, 10)
        )));
    }
    if conflicts.is_empty() {
        return Ok(actions);
    }
    Err(EngineError::ConflictFound(format!(
        "{} of {} target collections exist already, nothing was touched: {}; rename them with spec.mapping, or set \
         spec.onConflict to Skip, Replace or Append",
        conflicts.len(),
        pairs.len(),
        crate::engine::error::named(&conflicts, 10)
    )))
}

/// The plan for status.
pub fn summary(items: &[Item<'_>]) -> PlanSummary {
    let count = |action| items.iter().filter(|item| item.action == action).count() as u64;
    PlanSummary {
        create: count(Action::Create) + count(Action::Continue),
        skip: count(Action::Skip),
        replace: count(Action::Replace),
        append: count(Action::Append),
        mappings: items
            .iter()
            .take(SHOWN)
            .map(|item| Rename { from: item.source.to_string(), to: item.target.to_string() })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
