//! Log set-up: one line per event that matters, on standard error. Standard output belongs to progress lines and results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging; `filter` is a level or a list of `target=level`.
///
/// # Errors
/// The filter cannot be parsed, or logging was started before.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    start_on(format, filter, std::io::stderr)
}

/// [`start`] with lines that go through `writer`, which ends at standard error.
///
/// # Errors
/// As [`start`].
pub fn start_on<W>(format: LogFormat, filter: &str, writer: W) -> anyhow::Result<()>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
