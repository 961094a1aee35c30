//! The engine behind the API: [`crate::local::operations`] with the settings of this process.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::errors::OperationError;
use super::operations::{Operations, Place, Running, Stored};
use super::wire::BackupSummary;
use crate::config::Settings;
use crate::engine::connect;
use crate::engine::error::EngineError;
use crate::engine::progress::Counters;
use crate::engine::task::Report;
use crate::exit::Class;
use crate::local::catalog::is_missing;
use crate::local::operations::{self, BackupId, Check, CreateRequest, ListRequest, RestoreRequest};
use crate::storage::Store;

/// The engine with the settings of this process.
#[derive(Debug)]
pub struct EngineOperations {
    settings: Settings,
}

impl EngineOperations {
    /// For one Milvus and one place of backups.
    pub fn new(settings: Settings) -> EngineOperations {
        EngineOperations { settings }
    }
}

#[async_trait]
impl Operations for EngineOperations {
    async fn create(&self, request: CreateRequest, run: Arc<Running>) -> Result<(), OperationError> {
        let settings = self.settings.clone();
        let report =
            apart(move || async move { operations::create(&settings, request, &run.counters, &run.cancel).await });
        outcome(report.await?)
    }

    async fn restore(&self, request: RestoreRequest, run: Arc<Running>) -> Result<(), OperationError> {
        let names = tokio::select! {
            names = operations::restored_names(&self.settings, &request) => names?,
            () = run.cancel.cancelled() => return Err(EngineError::Cancelled.into()),
        };
        run.plan(names.into_iter().map(|(_, target)| target).collect());
        let settings = self.settings.clone();
        let report =
            apart(move || async move { operations::restore(&settings, request, &run.counters, &run.cancel).await });
        outcome(report.await?)
    }

    async fn list(&self) -> Result<Vec<BackupSummary>, OperationError> {
        let found = operations::list(&self.settings, &ListRequest::default()).await?;
        let line = |operations::BackupSummary { id, name, size, milvus_version }| BackupSummary {
            id,
            name,
            size,
            milvus_version,
        };
        Ok(found.into_iter().map(line).collect())
    }

    async fn get(&self, backup: &BackupId, at: &Place) -> Result<Option<Stored>, OperationError> {
        let settings = self.settings.with_backups_at(at.bucket.as_deref(), at.root.as_deref());
        match operations::get(&settings, backup).await {
            Ok(found) => Ok(Some(Stored {
                info: found.info,
                meta_size: found.meta_size,
                created: found.manifest.map(|(manifest, _)| manifest.created),
            })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), OperationError> {
        let (settings, name) = (self.settings.clone(), name.to_owned());
        let report = apart(move || async move {
            operations::delete(&settings, &name, &Counters::default(), &CancellationToken::new()).await
        });
        outcome(report.await?)
    }

    async fn check(&self) -> Result<String, OperationError> {
        let settings = self.settings.clone();
        let check = apart(move || async move { operations::check(&settings).await });
        report(&self.settings, &check.await?)
    }

    async fn store(&self) -> Result<(Arc<dyn Store>, String), OperationError> {
        let target = self.settings.backup_target().map_err(EngineError::from)?;
        Ok((connect::store(&target).await?, target.prefix))
    }
}

/// Runs a piece of the engine on a thread of its own, as the shell commands do: its futures are not made to move between
/// threads. Dropping the wait for it drops the piece.
async fn apart<T, F, W>(work: F) -> Result<T, OperationError>
where
    T: Send + 'static,
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
{
    let given_up = CancellationToken::new();
    let _guard = given_up.clone().drop_guard();
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                done = work() => Some(done),
                () = given_up.cancelled() => None,
            }
        })
    });
    match thread.await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(EngineError::Cancelled.into()),
        Err(error) => Err(OperationError::Failed {
            class: Class::Data,
            message: format!("the run ended without a result: {error}"),
        }),
    }
}

fn outcome(report: Report) -> Result<(), OperationError> {
    match (report.ok, report.class) {
        (true, _) => Ok(()),
        (false, Some(Class::Cancelled)) => Err(OperationError::Cancelled(report.message)),
        (false, class) => Err(OperationError::Failed { class: class.unwrap_or(Class::Data), message: report.message }),
    }
}

/// The text of `GET /check`, line by line that of milvus-backup 0.5.16.
fn report(settings: &Settings, check: &Check) -> Result<String, OperationError> {
    if let Some((_, first)) = check.problems.first() {
        let all: Vec<String> = check.problems.iter().map(|(part, error)| format!("{part}: {error}")).collect();
        return Err(OperationError::Failed { class: first.class(), message: all.join("; ") });
    }
    let (milvus, backup) = (&settings.milvus_storage, &settings.backup_storage);
    let version = check.milvus_version.as_deref().unwrap_or_default();
    let end = match check.warnings.as_slice() {
        [] => "Success!".to_owned(),
        warnings => format!("Warning: {}", warnings.join("; ")),
    };
    Ok(format!(
        "\nMilvus version: {version}\nStorage:\n  milvus-storage-type: {}\n  milvus-bucket: {}\n  milvus-rootpath: {}\n  \
         backup-storage-type: {}\n  backup-bucket: {}\n  backup-rootpath: {}\n\n{end}\n",
        milvus.provider.word(),
        milvus.bucket,
        milvus.root_path,
        backup.provider.word(),
        backup.bucket,
        backup.root_path,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_check_is_that_of_the_go_tool() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/rest/24-check.json")).unwrap();
        let check = Check { milvus_version: Some("v2.3.5-lite".into()), ..Check::default() };
        let mut settings = Settings::default();
        settings.milvus_storage.root_path = "files".into();
        assert_eq!(report(&settings, &check).unwrap(), golden["raw"].as_str().unwrap());
    }

    #[test]
    fn every_problem_of_a_check_is_named_with_its_part() {
        let problem = |text: &str| EngineError::Rejected(text.into());
        let check = Check {
            problems: vec![("milvus", problem("no answer")), ("backup.storage", problem("no bucket"))],
            ..Check::default()
        };
        let said = report(&Settings::default(), &check).unwrap_err().to_string();
        assert_eq!(said, "milvus: no answer; backup.storage: no bucket");
    }

    #[test]
    fn a_cancelled_run_is_told_from_a_failed_one() {
        let report = |class| Report { class: Some(class), message: "m".into(), ..Report::default() };
        assert_eq!(outcome(report(Class::Cancelled)), Err(OperationError::Cancelled("m".into())));
        assert!(matches!(outcome(report(Class::Retry)), Err(OperationError::Failed { class: Class::Retry, .. })));
        assert_eq!(outcome(Report { ok: true, ..Report::default() }), Ok(()));
    }
}
