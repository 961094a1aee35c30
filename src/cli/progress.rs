//! Progress on standard error: a bar on a terminal, JSON lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use super::output;
use crate::engine::progress::{self, Counters, Rate};
use crate::engine::task::{Progress, Stage};
use crate::local;

/// How often the bar is drawn.
const FRAME: Duration = Duration::from_millis(200);

/// Standard error with at most one bar on it; log lines go above the bar.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Screen {
    fn bar(&self) -> Option<ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, bar: Option<ProgressBar>) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// Runs work, shows how far it is, and cancels it at the first SIGINT or SIGTERM.
    pub async fn watch<T>(&self, counters: &Counters, cancel: &CancellationToken, work: impl Future<Output = T>) -> T {
        let shown = async {
            match io::stderr().is_terminal() {
                true => self.draw(counters).await,
                false => progress::report(counters, output::note).await,
            }
        };
        let never = async {
            tokio::join!(shown, local::stop_on_signal(cancel));
            std::future::pending::<T>().await
        };
        let outcome = tokio::select! {
            // In this order, so that even work that ends at once has shown where it was.
            biased;
            outcome = never => outcome,
            outcome = work => outcome,
        };
        if let Some(bar) = self.bar() {
            bar.finish_and_clear();
        }
        self.set(None);
        outcome
    }

    async fn draw(&self, counters: &Counters) {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_bar} {msg}") {
            bar.set_style(style);
        }
        self.set(Some(bar.clone()));
        let mut rate = Rate::default();
        let mut frames = tokio::time::interval(FRAME);
        loop {
            frames.tick().await;
            let mut progress = counters.read(Timestamp::now());
            rate.fill(&mut progress);
            let (done, total) = extent(&progress);
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(sentence(&progress));
            bar.tick();
        }
    }
}

/// What the length of the bar stands for: bytes where they are known, else objects, else collections.
fn extent(progress: &Progress) -> (u64, u64) {
    let bytes = (progress.bytes_done, progress.bytes_total);
    let objects = (progress.objects_done, progress.objects_total);
    let collections = (progress.collections_done, progress.collections_total);
    [bytes, objects, collections].into_iter().find(|(_, total)| *total > 0).unwrap_or((0, 1))
}

/// `copying 12/36 objects, 1.2 MiB of 4.8 MiB, 3 MiB/s, 2 s left`.
fn sentence(progress: &Progress) -> String {
    let stage = match progress.stage {
        Stage::Preflight => "looking",
        Stage::Flushing => "flushing",
        Stage::CopyingMetadata => "reading schemas",
        Stage::CopyingData => "copying",
        Stage::Verifying => "verifying",
        Stage::Finalizing => "finishing",
    };
    let mut parts = Vec::new();
    if progress.objects_total > 0 {
        parts.push(format!("{}/{} objects", progress.objects_done, progress.objects_total));
    } else if progress.collections_total > 0 {
        parts.push(format!("{}/{} collections", progress.collections_done, progress.collections_total));
    }
    if progress.bytes_total > 0 {
        parts.push(format!("{} of {}", HumanBytes(progress.bytes_done), HumanBytes(progress.bytes_total)));
    }
    if progress.bytes_per_second > 0 {
        parts.push(format!("{}/s", HumanBytes(progress.bytes_per_second)));
    }
    parts.extend(progress.eta_seconds.map(|seconds| format!("{seconds} s left")));
    match parts.is_empty() {
        true => stage.to_owned(),
        false => format!("{stage} {}", parts.join(", ")),
    }
}

/// A log line that does not tear the bar.
#[derive(Debug)]
pub struct Line(Screen);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.bar() {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'w> MakeWriter<'w> for Screen {
    type Writer = Line;

    fn make_writer(&'w self) -> Line {
        Line(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_what_is_known_and_nothing_else() {
        assert_eq!(sentence(&Progress::default()), "looking");
        let flushing = Progress { stage: Stage::Flushing, collections_total: 3, ..Progress::default() };
        assert_eq!(sentence(&flushing), "flushing 0/3 collections");
        let copying = Progress {
            stage: Stage::CopyingData,
            objects_done: 12,
            objects_total: 36,
            bytes_done: 1024,
            bytes_total: 4096,
            bytes_per_second: 2048,
            eta_seconds: Some(2),
            ..Progress::default()
        };
        assert_eq!(sentence(&copying), "copying 12/36 objects, 1.00 KiB of 4.00 KiB, 2.00 KiB/s, 2 s left");
    }

    #[test]
    fn the_bar_is_long_as_bytes_then_objects_then_collections() {
        let collections = Progress { collections_done: 1, collections_total: 2, ..Progress::default() };
        assert_eq!(extent(&collections), (1, 2));
        assert_eq!(extent(&Progress { objects_done: 5, objects_total: 9, ..collections.clone() }), (5, 9));
        assert_eq!(extent(&Progress { bytes_total: 7, ..collections }), (0, 7));
        assert_eq!(extent(&Progress::default()), (0, 1));
    }
}
