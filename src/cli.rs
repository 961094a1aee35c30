//! The command line: `controller` in the Deployment, `run` in a Job or a shell, `crds` for those who install by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::{self, LogFormat};
use crate::{api, controller, exit, local};

/// Backs up and restores Milvus on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "milvus-backup", version, about)]
pub struct Cli {
    /// Shape of log lines on standard error.
    #[arg(long, env = "MILVUS_BACKUP_LOG_FORMAT", value_enum, default_value_t, global = true)]
    log_format: LogFormat,
    /// Level, or a list of target=level.
    #[arg(long, env = "MILVUS_BACKUP_LOG", default_value = "info", global = true)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the custom resources and run their Jobs.
    Controller(Box<controller::Config>),
    /// Carry out one task: backup, restore, delete or probe.
    Run(RunArgs),
    /// Print the custom resource definitions, or write them into a folder.
    Crds(CrdsArgs),
}

/// Where a task comes from.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// File with the task as JSON; the default is the environment variable MILVUS_BACKUP_TASK.
    #[arg(long)]
    task: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CrdsArgs {
    /// Folder to write one file per kind into.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Cli {
    /// Runs the command; the answer is the documented exit code.
    pub fn run(self) -> ExitCode {
        let Cli { log_format, log, command } = self;
        if let Err(error) = telemetry::start(log_format, &log) {
            return fail(&error, exit::CONFIGURATION);
        }
        // The process has one TLS provider; a second call means it is there already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error.into(), exit::RETRYABLE),
        };
        match command {
            Command::Controller(config) => match runtime.block_on(controller::run(*config)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, exit::RETRYABLE),
            },
            Command::Run(RunArgs { task }) => match local::read_task(task.as_deref()) {
                Ok(task) => ExitCode::from(runtime.block_on(local::run(task))),
                Err(error) => fail(&error, exit::CONFIGURATION),
            },
            Command::Crds(CrdsArgs { out }) => match print_crds(out.as_deref()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, exit::CONFIGURATION),
            },
        }
    }
}

fn print_crds(out: Option<&std::path::Path>) -> anyhow::Result<()> {
    for (name, yaml) in api::crds()? {
        match out {
            Some(folder) => std::fs::write(folder.join(name), yaml)?,
            None => local::print(&format!("---\n{yaml}")),
        }
    }
    Ok(())
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code)
}
