//! What the commands of a shell share: the configuration, logs, a runtime.

use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output;
use super::progress::Screen;
use crate::config::file::DEFAULT_FILE;
use crate::config::{ConfigError, Configuration, Settings};
use crate::local::process_sources;
use crate::telemetry::{self, LogFormat};
use crate::{config, exit};

/// Options of all commands that read the configuration.
#[derive(Clone, Args)]
pub struct ShellArgs {
    /// Configuration file of the shell commands: looked for as given, in $MILVUSCONF and in ./configs; "" for none.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE, global = true)]
    config: String,
    /// Value of a configuration key, or of its environment variable, before all other sources. Repeat it, or use commas.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

impl fmt::Debug for ShellArgs {
    /// Values of `--set` may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShellArgs { config, set } = self;
        f.debug_struct("ShellArgs").field("config", config).field("set", &set.len()).finish()
    }
}

/// Options with those of the log.
#[derive(Debug, Clone)]
pub struct Shell {
    args: ShellArgs,
    format: LogFormat,
    log: Option<String>,
}

impl ShellArgs {
    /// Adds what the log is told.
    pub fn with_log(self, format: LogFormat, log: Option<String>) -> Shell {
        Shell { args: self, format, log }
    }
}

impl Shell {
    /// The configuration by file, environment and `--set`.
    ///
    /// # Errors
    /// No file, or values that cannot be used.
    pub fn configuration(&self) -> Result<Configuration, ConfigError> {
        config::load(&process_sources(&self.args.config, &self.args.set)?)
    }

    /// The configuration by file and environment, as `config migrate` wants it.
    ///
    /// # Errors
    /// As [`Shell::configuration`].
    pub fn configuration_of_file(&self) -> Result<Configuration, ConfigError> {
        config::load(&process_sources(&self.args.config, &[])?)
    }

    /// The file as it was asked for.
    pub fn file(&self) -> &Path {
        Path::new(&self.args.config)
    }
}

/// Reads the configuration, starts the log and runs a command.
pub fn run<F>(shell: &Shell, command: impl FnOnce(Session) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    let configuration = match shell.configuration() {
        Ok(configuration) => configuration,
        Err(error) => return output::fail(&error.to_string(), error.class().exit_code()),
    };
    let screen = Screen::default();
    let level = shell.log.clone().unwrap_or_else(|| level(&configuration.settings));
    if let Err(error) = telemetry::start_on(shell.format, &level, screen.clone()) {
        return output::fail(&format!("{error:#}"), exit::CONFIGURATION);
    }
    configuration.warnings.iter().for_each(|warning| output::warn(warning));
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&format!("{error:#}"), exit::RETRYABLE),
    };
    runtime.block_on(command(Session { configuration, screen }))
}

/// On a terminal the bar says what the log would at its usual level.
fn level(settings: &Settings) -> String {
    match settings.log_level.as_str() {
        "info" if std::io::stderr().is_terminal() => "warn".to_owned(),
        level => level.to_owned(),
    }
}

/// What a command works with.
#[derive(Debug)]
pub struct Session {
    /// Where settings come from.
    pub configuration: Configuration,
    /// Where progress is drawn.
    pub screen: Screen,
}

impl Session {
    /// What it goes by.
    pub fn settings(&self) -> &Settings {
        &self.configuration.settings
    }
}

/// A runtime in a process that has one TLS provider.
///
/// # Errors
/// The system has no threads left.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // A second call means that the provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_the_arguments_shows_no_value() {
        let args = ShellArgs { config: "backup.yaml".into(), set: vec!["milvus.password=hunter2".into()] };
        let said = format!("{:?}", args.with_log(LogFormat::Text, None));
        assert!(said.contains("backup.yaml") && !said.contains("hunter2"), "{said}");
    }
}
