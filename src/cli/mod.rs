//! The command line: the commands of a shell, `controller` in the Deployment, `run` in a Job, and what helps to install.
//!
//! Owns words, arguments and what is printed. Must never do what a command does: that is `local`, `engine` and `controller`.
//!
//! Results go to standard output; logs, warnings and progress go to standard error. Exit codes are those of [`crate::exit`].

mod catalog;
mod config;
mod create;
mod limits;
mod migrate;
mod output;
mod pages;
mod progress;
mod restore;
mod server;
mod shell;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::shell::ShellArgs;
use crate::telemetry::{self, LogFormat};
use crate::{api, controller, exit, local};

/// Backs up and restores Milvus, from a shell and on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "milvus-backup", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// Shape of log lines on standard error.
    #[arg(long, env = "MILVUS_BACKUP_LOG_FORMAT", value_enum, default_value_t, global = true)]
    log_format: LogFormat,
    /// Level, or a list of target=level; the default is info, in a shell what log.level says.
    #[arg(long, env = "MILVUS_BACKUP_LOG", global = true)]
    log: Option<String>,
    #[command(flatten)]
    shell: ShellArgs,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 10 try again (network, a busy server); 20 change a setting, a name or a right; \
    30 missing, damaged or contradictory data; 40 stopped on request; 50 another run took over.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a backup.
    Create(create::CreateArgs),
    /// Show all backups.
    List(catalog::ListArgs),
    /// Show one backup.
    Get(catalog::GetArgs),
    /// Remove a backup.
    Delete(catalog::DeleteArgs),
    /// Bring a backup back.
    Restore(Box<restore::RestoreArgs>),
    /// See whether a backup is whole.
    Verify(verify::VerifyArgs),
    /// See whether Milvus and the stores can be used.
    Check(catalog::CheckArgs),
    /// Show the configuration, or turn it into the newer schema.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Answer the REST API of milvus-backup.
    Server(Box<server::ServerArgs>),
    /// Carry a backup over to a cluster in Zilliz Cloud.
    Migrate(migrate::MigrateArgs),
    /// Make a backup without delete-only segments out of another (not supported yet).
    #[command(hide = true, disable_help_flag = true, name = "l0compact")]
    L0Compact(RefusedArgs),
    /// Watch the custom resources and run their Jobs.
    Controller(Box<controller::Config>),
    /// Carry out one task: backup, restore, verify, delete or probe.
    Run(RunArgs),
    /// Print the custom resource definitions, or write them into a folder.
    Crds(CrdsArgs),
    /// Print completions for a shell.
    Completions(pages::CompletionsArgs),
    /// Print the manual page, or write one for each command into a folder.
    Man(pages::ManArgs),
}

/// Whatever a command is given that is answered with a refusal.
#[derive(Debug, Args)]
struct RefusedArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

impl RefusedArgs {
    /// Says which command it is that nobody carries out.
    fn refuse(self, command: &str) -> ExitCode {
        let RefusedArgs { rest: _ } = self;
        output::fail(
            &format!("{command} is not supported by this version: use milvus-backup 0.6 for it"),
            exit::CONFIGURATION,
        )
    }
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
    /// The whole tree of commands, for completions and manual pages.
    pub fn tree() -> clap::Command {
        Cli::command()
    }

    /// Reads the arguments and runs the command. Arguments that make no sense end with [`exit::CONFIGURATION`], as every
    /// setting that a person has to change, and not with the 2 of the parser.
    pub fn main() -> ExitCode {
        match Cli::try_parse() {
            Ok(cli) => cli.run(),
            Err(error) => {
                let _ = error.print();
                ExitCode::from(if error.use_stderr() { exit::CONFIGURATION } else { exit::OK })
            }
        }
    }

    /// Runs the command; the answer is the documented exit code.
    pub fn run(self) -> ExitCode {
        let Cli { log_format, log, shell, command } = self;
        let shell = shell.with_log(log_format, log.clone());
        match command {
            Command::Create(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::List(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Get(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Delete(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Restore(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Verify(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Check(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Server(args) if args.in_cluster() => {
                started(log_format, log, |runtime| Ok(runtime.block_on(args.run_in_cluster())))
            }
            Command::Server(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::Config(command) => command.run(&shell),
            Command::Migrate(args) => shell::run(&shell, |settings| args.run(settings)),
            Command::L0Compact(args) => args.refuse("l0compact"),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
            Command::Controller(config) => service(log_format, log, |runtime| {
                runtime.block_on(controller::run(*config)).map(|()| exit::OK).map_err(|error| (error, exit::RETRYABLE))
            }),
            Command::Run(RunArgs { task }) => service(log_format, log, |runtime| {
                let task = local::read_task(task.as_deref()).map_err(|error| (error, exit::CONFIGURATION))?;
                Ok(runtime.block_on(local::run(task)))
            }),
            Command::Crds(CrdsArgs { out }) => match print_crds(out.as_deref()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => output::fail(&format!("{error:#}"), exit::CONFIGURATION),
            },
        }
    }
}

/// Logs, TLS and a runtime for what runs in a pod.
fn service(
    format: LogFormat,
    log: Option<String>,
    work: impl FnOnce(&tokio::runtime::Runtime) -> Result<u8, (anyhow::Error, u8)>,
) -> ExitCode {
    started(format, log, |runtime| work(runtime).map(ExitCode::from))
}

fn started(
    format: LogFormat,
    log: Option<String>,
    work: impl FnOnce(&tokio::runtime::Runtime) -> Result<ExitCode, (anyhow::Error, u8)>,
) -> ExitCode {
    if let Err(error) = telemetry::start(format, log.as_deref().unwrap_or("info")) {
        return output::fail(&format!("{error:#}"), exit::CONFIGURATION);
    }
    let ended = shell::runtime().map_err(|error| (error, exit::RETRYABLE)).and_then(|runtime| work(&runtime));
    match ended {
        Ok(code) => code,
        Err((error, code)) => {
            tracing::error!("{error:#}");
            ExitCode::from(code)
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
