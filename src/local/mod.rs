//! Running the engine as a process: task in, progress lines on standard output, report file, signals, exit code. And without
//! Kubernetes: what the shell commands and the REST server do ([`operations`]).
//!
//! Used by the Job and from a shell alike. Must never know whether Kubernetes is there.

pub mod brief;
pub mod catalog;
pub mod cloud;
pub mod filter;
pub mod migrate;
pub mod operations;
pub mod request;
mod shipment;
pub mod tasks;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::config::{self, ConfigError, Sources};
use crate::engine::progress::{self, Counters};
use crate::engine::task::{REPORT_ENV, REPORT_LIMIT, REPORT_PATH, Report, TASK_ENV, TASK_VERSION, Task};
use crate::{engine, exit};

/// Reads the task from a file, or from the environment.
///
/// # Errors
/// None there, not JSON of this contract, or of a newer version.
pub fn read_task(file: Option<&Path>) -> anyhow::Result<Task> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => std::env::var(TASK_ENV).with_context(|| format!("no task: give --task FILE or set {TASK_ENV}"))?,
    };
    let task: Task = serde_json::from_str(&text).context("the task is not understood")?;
    anyhow::ensure!(
        task.version <= TASK_VERSION,
        "the task has version {}, this program understands up to {TASK_VERSION}: use the image of the operator's version",
        task.version
    );
    Ok(task)
}

/// What a configuration is made from in this process: the file that `config` names (none for an empty name), the environment,
/// and the arguments of `--set`.
///
/// # Errors
/// No file, or an item that is no `KEY=VALUE`.
pub fn process_sources(config: &str, set: &[String]) -> Result<Sources, ConfigError> {
    let environment: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let file = match config.is_empty() {
        true => None,
        false => {
            let here = std::env::current_dir().unwrap_or_default();
            let folder = environment.get(config::file::FOLDER_ENV).map(String::as_str);
            Some(config::file::read(&config::file::places(Path::new(config), folder, &here))?)
        }
    };
    let overrides = config::overrides(set).map_err(ConfigError::File)?;
    Ok(Sources { file, environment, overrides })
}

/// Carries out a task; answers the exit code.
pub async fn run(task: Task) -> u8 {
    let counters = Counters::default();
    let cancel = CancellationToken::new();
    let report = tokio::select! {
        report = engine::run(&task, &counters, &cancel) => report,
        () = progress::report(&counters, print) => unreachable_report(),
        () = stop_on_signal(&cancel) => unreachable_report(),
    };
    let code = report.class.map_or(if report.ok { exit::OK } else { exit::DATA }, exit::Class::exit_code);
    match report.ok {
        true => tracing::info!(reason = report.reason, "{}", report.message),
        false => tracing::error!(reason = report.reason, "{}", report.message),
    }
    if let Err(error) = write_report(&report) {
        // Without a report the controller cannot trust the outcome, so neither do we.
        tracing::error!("cannot write the report: {error:#}");
        return if code == exit::OK { exit::RETRYABLE } else { code };
    }
    code
}

/// Cancels at the first SIGTERM or SIGINT, and then waits for ever: the engine ends by itself.
pub async fn stop_on_signal(cancel: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("asked to stop");
    cancel.cancel();
    std::future::pending().await
}

/// For branches of a select that never end by themselves.
fn unreachable_report() -> Report {
    Report { message: "the run ended without a result".into(), reason: "Failed".into(), ..Report::default() }
}

fn write_report(report: &Report) -> anyhow::Result<()> {
    let text = report_text(report)?;
    let named = std::env::var_os(REPORT_ENV).map(PathBuf::from);
    let default = Path::new(REPORT_PATH);
    match named {
        Some(path) => std::fs::write(&path, text).with_context(|| format!("{}", path.display())),
        // Kubernetes makes the file before the container starts; a shell has none and prints the report.
        None if default.exists() => std::fs::write(default, text).with_context(|| REPORT_PATH.to_owned()),
        None => {
            print(&format!("{{\"report\":{text}}}"));
            Ok(())
        }
    }
}

/// The report as JSON of at most [`REPORT_LIMIT`] bytes: lists are cut before anything is lost that decides.
fn report_text(report: &Report) -> anyhow::Result<String> {
    let mut report = report.clone();
    loop {
        let text = serde_json::to_string(&report)?;
        if text.len() <= REPORT_LIMIT {
            return Ok(text);
        }
        if report.paths.as_mut().is_some_and(|paths| paths.collections.pop().is_some()) {
            continue;
        }
        let found = report.verification.as_mut();
        let mut found = found.into_iter().flat_map(|found| [&mut found.stray, &mut found.corrupt, &mut found.missing]);
        if found.any(|names| names.first.pop().is_some()) {
            continue;
        }
        let counts = report.row_counts.as_mut().map(|counts| &mut counts.mismatched);
        let mappings = report.plan.as_mut().map(|plan| &mut plan.mappings);
        let shorter = match (mappings, counts) {
            (Some(mappings), _) if !mappings.is_empty() => mappings.pop().is_some(),
            (_, Some(names)) if !names.is_empty() => names.pop().is_some(),
            _ => report.summary.warnings.pop().is_some() || report.failed_collections.pop().is_some(),
        };
        if !shorter {
            anyhow::ensure!(report.message.len() > 200, "the report does not fit {REPORT_LIMIT} bytes");
            report.message = engine::error::bounded(&report.message, report.message.len() / 2);
        }
    }
}

/// Prints a line; a reader that went away is no reason to stop a backup.
pub fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::task::{CollectionPaths, Paths, PlanSummary, Rename, RowCounts};

    #[test]
    fn a_report_always_fits_the_termination_message() {
        let long = |i: usize| format!("database_{i}.{}", "x".repeat(250));
        let report = Report {
            ok: false,
            message: "m".repeat(1000),
            failed_collections: (0..100).map(long).collect(),
            failed_total: 100,
            plan: Some(PlanSummary {
                create: 20,
                mappings: (0..20).map(|i| Rename { from: long(i), to: long(i) }).collect(),
                ..PlanSummary::default()
            }),
            row_counts: Some(RowCounts { mismatched: (0..20).map(long).collect(), ..RowCounts::default() }),
            paths: Some(Paths {
                inserted: 80,
                collections: (0..20).map(|i| CollectionPaths { name: long(i), ..CollectionPaths::default() }).collect(),
                ..Paths::default()
            }),
            ..Report::default()
        };
        let text = report_text(&report).unwrap();
        assert!(text.len() <= REPORT_LIMIT);
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!((back.failed_total, back.plan.unwrap().create, back.paths.unwrap().inserted), (100, 20, 80));
    }

    #[test]
    fn a_task_of_a_newer_version_is_refused_with_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.json");
        let text = r#"{"version":99,"run":{"uid":"u","attempt":1},"work":{"probe":{"location":
            {"bucket":"b","credentials":"ambient"}}}}"#;
        std::fs::write(&path, text).unwrap();
        let said = read_task(Some(&path)).unwrap_err().to_string();
        assert!(said.contains("99") && said.contains('1'), "{said}");
    }
}
