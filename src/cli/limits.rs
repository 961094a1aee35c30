//! `--bytes-per-second` and `--requests-per-second`, the same for all commands that move or read objects.

use clap::Args;

use crate::config::Settings;

/// How fast a run may go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct LimitArgs {
    /// Most bytes of objects copied or read in a second, also where the store copies by itself; no bound where none is given.
    #[arg(long = "bytes-per-second", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    bytes_per_second: Option<u64>,
    /// Most requests in a second for copying or reading objects; no bound where none is given.
    #[arg(long = "requests-per-second", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_second: Option<u32>,
}

impl LimitArgs {
    /// The settings under these limits.
    pub fn onto(self, settings: &Settings) -> Settings {
        let LimitArgs { bytes_per_second, requests_per_second } = self;
        let mut settings = settings.clone();
        settings.transfer.bytes_per_second = bytes_per_second;
        settings.transfer.requests_per_second = requests_per_second;
        settings
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::engine::task::Limits;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn limits(arguments: &str) -> Result<Limits, clap::Error> {
        let mut settings = Settings::default();
        settings.transfer.concurrency = Some(7);
        let arguments = std::iter::once("verify").chain(arguments.split_whitespace());
        Line::try_parse_from(arguments).map(|line| line.limits.onto(&settings).transfer.limits())
    }

    #[test]
    fn a_run_is_as_fast_as_it_can_be_unless_it_is_told_otherwise() {
        let free = Limits { concurrency: Some(7), ..Limits::default() };
        assert_eq!(limits("").unwrap(), free);
        let bytes_per_second = Some(20_000_000_000);
        assert_eq!(limits("--bytes-per-second 20000000000").unwrap(), Limits { bytes_per_second, ..free.clone() });
        let both = Limits { bytes_per_second: Some(1), requests_per_second: Some(2), ..free };
        assert_eq!(limits("--bytes-per-second=1 --requests-per-second=2").unwrap(), both);
    }

    #[test]
    fn nothing_in_a_second_is_refused_by_the_parser() {
        for arguments in
            ["--bytes-per-second 0", "--requests-per-second 0", "--requests-per-second -1", "--bytes-per-second 1M"]
        {
            assert!(limits(arguments).is_err(), "{arguments}");
        }
    }
}
