//! Start-up, dispatch, exit code.

use std::process::ExitCode;

use milvus_backup_operator::cli::Cli;

fn main() -> ExitCode {
    Cli::main()
}
