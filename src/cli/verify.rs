//! `verify`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::create::watched;
use super::limits::LimitArgs;
use super::output::Output;
use super::shell::Session;
use crate::engine::progress::Counters;
use crate::engine::task::VerifyLevel;
use crate::local::operations::{self, VerifyRequest};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Name of the backup.
    #[arg(short, long)]
    name: String,
    /// How closely: manifest compares the metadata with a listing of the bucket, checksum also reads objects, compares their
    /// hashes and looks inside.
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// Share of the objects that checksum reads, 1 to 100; at least one of each collection.
    #[arg(long = "sample-percent", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    sample_percent: u8,
    /// Which share; the result names it. The same seed reads the same objects; one is made up where none is given.
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Shape of the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Values of `--level`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Level {
    Manifest,
    #[default]
    Checksum,
}

impl From<Level> for VerifyLevel {
    fn from(level: Level) -> VerifyLevel {
        match level {
            Level::Manifest => VerifyLevel::Manifest,
            Level::Checksum => VerifyLevel::Checksum,
        }
    }
}

impl VerifyArgs {
    fn request(&self) -> VerifyRequest {
        VerifyRequest {
            name: self.name.clone(),
            level: self.level.into(),
            sample_percent: self.sample_percent,
            seed: self.seed.unwrap_or_else(operations::new_seed),
        }
    }

    /// Verifies and says what is wrong.
    pub async fn run(self, session: Session) -> ExitCode {
        let request = self.request();
        let settings = self.limits.onto(session.settings());
        let work = async |counters: &Counters, cancel: &CancellationToken| {
            operations::verify(&settings, request, counters, cancel).await
        };
        watched(&session, self.output, (&self.name, ""), "verify backup success", work).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        verify: VerifyArgs,
    }

    fn parse(arguments: &str) -> Result<VerifyRequest, clap::Error> {
        let arguments = std::iter::once("verify").chain(arguments.split_whitespace());
        Line::try_parse_from(arguments).map(|line| line.verify.request())
    }

    #[test]
    fn everything_is_read_unless_less_is_asked_for() {
        let all = parse("-n b").unwrap();
        assert_eq!((all.level, all.sample_percent), (VerifyLevel::Checksum, 100));
        let some = parse("-n b --level checksum --sample-percent 5 --seed 7").unwrap();
        assert_eq!((some.level, some.sample_percent, some.seed), (VerifyLevel::Checksum, 5, 7));
        assert_eq!(parse("-n b --level manifest").unwrap().level, VerifyLevel::Manifest);
    }

    #[test]
    fn what_is_no_share_is_refused_by_the_parser() {
        for arguments in
            ["-n b --sample-percent 0", "-n b --sample-percent 101", "-n b --level deep", "--level manifest"]
        {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
    }
}
