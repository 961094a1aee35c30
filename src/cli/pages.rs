//! `completions`, `man`: made from the commands themselves.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Cli, output};
use crate::exit;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to complete for.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    pub fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::tree(), "milvus-backup", &mut script);
        print(&script)
    }
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write milvus-backup.1 and a page for each command into.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl ManArgs {
    /// Prints the page, or writes all.
    pub fn run(self) -> ExitCode {
        match self.out {
            Some(folder) => match write(&folder) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => output::fail(&format!("{}: {error}", folder.display()), exit::CONFIGURATION),
            },
            None => {
                let mut page = Vec::new();
                match clap_mangen::Man::new(Cli::tree()).render(&mut page) {
                    Ok(()) => print(&page),
                    Err(error) => output::fail(&error.to_string(), exit::CONFIGURATION),
                }
            }
        }
    }
}

fn write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::tree(), folder)
}

/// A reader that went away needs no more.
fn print(bytes: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
    ExitCode::SUCCESS
}
