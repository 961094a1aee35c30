//! What commands say and where.

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use crate::engine::error::EngineError;
use crate::engine::task::Report;
use crate::{exit, local};

/// Shape of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people; the lines the Go tool prints.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// How a run ended, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended<'r> {
    /// Name of the backup.
    pub name: &'r str,
    /// Id of the run.
    pub id: &'r str,
    /// How long it took.
    pub seconds: f64,
    /// The rest.
    #[serde(flatten)]
    pub report: &'r Report,
}

/// Prints a value as JSON on standard output.
pub fn json<T: Serialize>(value: &T) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            local::print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string(), exit::DATA),
    }
}

/// Prints a line on standard error.
pub fn note(line: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{line}");
}

/// Prints a warning on standard error.
pub fn warn(line: &str) {
    note(&format!("warning: {line}"));
}

/// Says why on standard error; answers the code.
pub fn fail(why: &str, code: u8) -> ExitCode {
    note(&format!("error: {why}"));
    ExitCode::from(code)
}

/// [`fail`] for an error of the engine.
pub fn refuse(error: &EngineError) -> ExitCode {
    fail(&error.to_string(), error.class().exit_code())
}

/// A failure as JSON, in the shape of a report.
#[derive(Debug, Serialize)]
struct Failure<'e> {
    ok: bool,
    reason: &'e str,
    message: String,
}

/// [`refuse`] in the shape that was asked for.
pub fn refuse_as(output: Output, error: &EngineError) -> ExitCode {
    if output == Output::Json {
        json(&Failure { ok: false, reason: error.reason(), message: error.to_string() });
    }
    refuse(error)
}

/// The exit code of a report.
pub fn code(report: &Report) -> u8 {
    report.class.map_or(if report.ok { exit::OK } else { exit::DATA }, exit::Class::exit_code)
}
