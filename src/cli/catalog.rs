//! `list`, `get`, `delete`, `check`.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::output::{self, Ended, Output};
use super::shell::Session;
use crate::engine::progress::Counters;
use crate::local::brief::StoredBrief;
use crate::local::operations::{self, BackupId, Check, ListRequest};
use crate::{exit, local};

/// Arguments of `list`.
#[derive(Debug, Default, Args)]
pub struct ListArgs {
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Removed: the list is never filtered.
    #[arg(short = 'c', long, hide = true)]
    collection: Option<String>,
}

impl ListArgs {
    /// Prints all backups.
    pub async fn run(self, session: Session) -> ExitCode {
        if self.collection.as_deref().is_some_and(|name| !name.is_empty()) {
            return output::fail(
                "--collection was removed: list shows every backup, get shows its collections",
                exit::CONFIGURATION,
            );
        }
        match operations::list(session.settings(), &ListRequest::default()).await {
            Err(error) => output::refuse_as(self.output, &error),
            Ok(found) if self.output == Output::Json => output::json(&found),
            Ok(found) => {
                local::print(">> Backups:");
                found.iter().for_each(|backup| local::print(&backup.name));
                ExitCode::SUCCESS
            }
        }
    }
}

/// Arguments of `get`.
#[derive(Debug, Default, Args)]
pub struct GetArgs {
    /// Name of the backup.
    #[arg(short, long)]
    name: String,
    /// Shape of the result; always JSON.
    #[arg(long, value_enum, default_value_t = Output::Json)]
    output: Output,
    /// Removed: partitions and segments are in meta/full_meta.json.
    #[arg(short = 'd', long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t, value_name = "BOOL", hide_possible_values = true, hide_default_value = true)]
    detail: bool,
}

impl GetArgs {
    /// Prints one backup.
    pub async fn run(self, session: Session) -> ExitCode {
        if self.detail {
            output::warn("--detail is deprecated: partitions and segments are in meta/full_meta.json of the backup");
        }
        match operations::get(session.settings(), &BackupId::Name(self.name)).await {
            Err(error) => output::refuse(&error),
            Ok(found) => output::json(&StoredBrief::from(&found)),
        }
    }
}

/// Arguments of `delete`.
#[derive(Debug, Default, Args)]
pub struct DeleteArgs {
    /// Name of the backup.
    #[arg(short, long)]
    name: String,
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl DeleteArgs {
    /// Removes it and says how it went.
    pub async fn run(self, session: Session) -> ExitCode {
        let counters = Counters::default();
        let cancel = CancellationToken::new();
        let started = Instant::now();
        let work = operations::delete(session.settings(), &self.name, &counters, &cancel);
        // The signal cancels; the run ends by itself and says how.
        let never = async {
            local::stop_on_signal(&cancel).await;
            std::future::pending().await
        };
        let report = tokio::select! {
            report = work => report,
            report = never => report,
        };
        if self.output == Output::Json {
            let seconds = started.elapsed().as_secs_f64();
            output::json(&Ended { name: &self.name, id: "", seconds, report: &report });
        }
        match (report.ok, self.output) {
            (false, _) => return output::fail(&report.message, output::code(&report)),
            (true, Output::Text) => {
                local::print("delete backup done");
                local::print(&report.message);
            }
            (true, Output::Json) => {}
        }
        ExitCode::from(output::code(&report))
    }
}

/// Arguments of `check`.
#[derive(Debug, Default, Args)]
pub struct CheckArgs {
    #[command(subcommand)]
    what: Option<CheckWhat>,
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum CheckWhat {
    /// Older name of `config show`.
    #[command(hide = true)]
    Config,
}

/// The outcome of `check` as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked<'c> {
    ok: bool,
    milvus_version: Option<&'c str>,
    problems: Vec<Problem<'c>>,
    warnings: &'c [String],
}

#[derive(Debug, Serialize)]
struct Problem<'c> {
    part: &'c str,
    reason: &'c str,
    message: String,
}

impl CheckArgs {
    /// Looks at everything and says what cannot be used.
    pub async fn run(self, session: Session) -> ExitCode {
        if let Some(CheckWhat::Config) = self.what {
            output::warn("check config is deprecated: use config show");
            local::print(&session.configuration.table());
            return ExitCode::SUCCESS;
        }
        let check = operations::check(session.settings()).await;
        if self.output == Output::Json {
            output::json(&Checked {
                ok: check.problems.is_empty(),
                milvus_version: check.milvus_version.as_deref(),
                problems: check.problems.iter().map(|(part, error)| problem(part, error)).collect(),
                warnings: &check.warnings,
            });
        } else {
            local::print(&session.configuration.table());
            local::print(&format!("\n{}", check.storages(session.settings())));
        }
        check.warnings.iter().for_each(|warning| output::warn(warning));
        for (part, error) in &check.problems {
            output::note(&format!("error: {part}: {error}"));
        }
        if check.problems.is_empty() && self.output == Output::Text {
            local::print("Success!");
        }
        ExitCode::from(code(&check))
    }
}

fn problem<'c>(part: &'c str, error: &'c crate::engine::error::EngineError) -> Problem<'c> {
    Problem { part, reason: error.reason(), message: error.to_string() }
}

/// What a person has to change comes before what time may cure.
fn code(check: &Check) -> u8 {
    let codes = check.problems.iter().map(|(_, error)| error.class().exit_code());
    codes.clone().find(|code| *code != exit::RETRYABLE).or(codes.max()).unwrap_or(exit::OK)
}
