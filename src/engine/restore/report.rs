//! What a restore tells when it has ended.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::jobs::Brought;
use super::plan::{Action, Item};
use super::{Outcome, Restore, plan};
use crate::engine::error::{bounded, named};
use crate::engine::task::{CollectionPaths, Content, Paths, Report, RowCounts, Summary, TASK_VERSION, VerifyRestore};

/// Collections whose paths are in the report.
const PATHS_SHOWN: usize = 20;

impl Restore<'_> {
    pub(super) fn preflight_report(&self, items: &[Item<'_>]) -> Report {
        let plan = plan::summary(items);
        Report {
            version: TASK_VERSION,
            ok: true,
            reason: "PreflightPassed".into(),
            message: format!(
                "{} collections would be created, {} replaced, {} appended to, {} skipped; nothing was touched",
                plan.create, plan.replace, plan.append, plan.skip
            ),
            milvus_version: Some(self.milvus.version().text.clone()),
            plan: Some(plan),
            progress: self.counters.read(Timestamp::now()),
            ..Report::default()
        }
    }

    pub(super) async fn report(&self, items: &[Item<'_>], done: Vec<(&Item<'_>, Outcome)>) -> Report {
        let sum = |value: fn(&Outcome) -> u64| done.iter().map(|(_, outcome)| value(outcome)).sum();
        let counts = RowCounts { expected: sum(|o| o.expected), actual: sum(|o| o.actual), mismatched: Vec::new() };
        let entries = self.ledger.read().await.entries;
        let restored = entries.len() as u64;
        let created = entries.iter().filter(|entry| !entry.kept).count() as u64;
        let mut warnings: Vec<String> = self.warnings.lock().map(|all| all.clone()).unwrap_or_default();
        warnings.extend(done.iter().flat_map(|(_, outcome)| &outcome.warnings).map(|text| bounded(text, 300)));
        let skipped: Vec<String> =
            items.iter().filter(|item| item.action == Action::Skip).map(|item| item.target.to_string()).collect();
        if !skipped.is_empty() {
            warnings.push(format!("left as they were, because they exist: {}", named(&skipped, 10)));
        }
        let paths = paths(&done);
        let progress = self.counters.read(Timestamp::now());
        let databases: BTreeSet<&str> = items.iter().map(|item| item.target.database.as_str()).collect();
        Report {
            version: TASK_VERSION,
            ok: true,
            reason: "Completed".into(),
            message: match paths.inserted {
                0 => format!("restored {restored} collections, {} rows", counts.actual),
                inserted => format!(
                    "restored {restored} collections, {} rows; {inserted} of {} partitions by insert",
                    counts.actual,
                    inserted + paths.imported
                ),
            },
            milvus_version: Some(self.milvus.version().text.clone()),
            summary: Summary {
                size_bytes: progress.bytes_total,
                copied_bytes: progress.bytes_done,
                objects: progress.objects_total,
                collections: restored,
                databases: databases.len() as u64,
                rows: counts.actual,
                warnings,
            },
            plan: Some(plan::summary(items)),
            row_counts: (self.task.verify != VerifyRestore::None).then_some(counts),
            compared_rows: (self.task.verify == VerifyRestore::Sample).then(|| sum(|o| o.compared)),
            paths: (self.task.content == Content::Full).then_some(paths),
            created_collections: created,
            progress,
            ..Report::default()
        }
    }
}

/// How the rows of finished collections got in.
fn paths(done: &[(&Item<'_>, Outcome)]) -> Paths {
    let each = done.iter().filter_map(|(item, outcome)| {
        let Brought { imported, inserted, .. } = outcome.brought?;
        Some(CollectionPaths { name: item.target.to_string(), imported, inserted })
    });
    let all: Vec<CollectionPaths> = each.collect();
    Paths {
        imported: all.iter().map(|one| one.imported).sum(),
        inserted: all.iter().map(|one| one.inserted).sum(),
        collections: all.into_iter().take(PATHS_SHOWN).collect(),
    }
}
