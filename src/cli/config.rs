//! `config show`, `config migrate`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::output::{self, Output};
use super::shell::Shell;
use crate::{exit, local};

/// Commands on the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with its value and who set it; secrets are masked.
    Show(ShowArgs),
    /// Print the configuration of schema 1 as a file of schema 2, secrets included.
    Migrate(MigrateArgs),
}

/// Arguments of `config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `config migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// File to write, for its owner alone to read; standard output where none is given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over an existing file.
    #[arg(long)]
    force: bool,
    /// Fail where anything changes its meaning or has to be set elsewhere.
    #[arg(long)]
    strict: bool,
}

impl ConfigCommand {
    /// Runs it; neither Milvus nor a store is asked anything.
    pub fn run(self, shell: &Shell) -> ExitCode {
        match self {
            ConfigCommand::Show(args) => args.run(shell),
            ConfigCommand::Migrate(args) => args.run(shell),
        }
    }
}

impl ShowArgs {
    fn run(self, shell: &Shell) -> ExitCode {
        let configuration = match shell.configuration() {
            Ok(configuration) => configuration,
            Err(error) => return output::fail(&error.to_string(), error.class().exit_code()),
        };
        configuration.warnings.iter().for_each(|warning| output::warn(warning));
        if self.output == Output::Json {
            return output::json(&configuration.shown());
        }
        local::print(&configuration.table());
        ExitCode::SUCCESS
    }
}

impl MigrateArgs {
    fn run(self, shell: &Shell) -> ExitCode {
        let migrated = shell.configuration_of_file().and_then(|configuration| {
            let (text, notes) = configuration.migrated()?;
            Ok((text, [configuration.warnings, notes].concat()))
        });
        let (text, notes) = match migrated {
            Ok(migrated) => migrated,
            Err(error) => return output::fail(&error.to_string(), error.class().exit_code()),
        };
        notes.iter().for_each(|note| output::warn(note));
        if self.strict && !notes.is_empty() {
            return output::fail("nothing was written because of the warnings (--strict)", exit::CONFIGURATION);
        }
        match self.output.as_deref().filter(|path| *path != Path::new("-")) {
            None => local::print(text.trim_end()),
            Some(path) => match write(path, &text, self.force) {
                Ok(()) => output::note(&format!("{} is now in {}", shell.file().display(), path.display())),
                Err(error) => return output::fail(&format!("{error:#}"), exit::CONFIGURATION),
            },
        }
        ExitCode::SUCCESS
    }
}

/// The file holds keys and passwords: nobody but its owner may read it, from its first byte on.
fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let mut file = options.open(path).with_context(|| match path.exists() {
        true => format!("{} exists: use --force to write over it", path.display()),
        false => format!("cannot write {}", path.display()),
    })?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file.write_all(text.as_bytes())?)
}
