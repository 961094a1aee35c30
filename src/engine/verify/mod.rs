//! Verification of an artifact by itself: compared with a listing, and read as far as is asked for.
//!
//! Owns what is told of an artifact that nobody restores. Must never write, neither into the store nor anywhere else, and
//! speaks to no Milvus. What is compared and how is `proof`'s, as before a restore.
//!
//! - `choose`, `files`: which objects are read (pure).
//! - `levels`: what each level looks at.
//! - `read`: one object, its hash and its content.
//! - `found`: what that shows (pure).
//! - `report`: how it is told (pure).

mod choose;
mod files;
mod found;
mod levels;
mod read;
mod report;

use tokio::time::Instant;

use self::choose::Choice;
use self::found::Verified;
use self::report::report;
use super::artifact::Artifact;
use super::connect;
use super::error::EngineError;
use super::progress::Counters;
use super::proof::Findings;
use super::reader::Reader;
use super::task::{Report, Stage, Verification, VerifyLevel, VerifyTask};

/// Verifies. A damaged artifact is a report that says so, with what is wrong with which object.
///
/// # Errors
/// What keeps the artifact from being looked at: no such backup, metadata that cannot be read, the store's.
pub async fn run(task: &VerifyTask, counters: &Counters) -> Result<Report, EngineError> {
    let began = Instant::now();
    if !(1..=100).contains(&task.sample_percent) {
        return Err(EngineError::Rejected(format!("{} % is no share of a backup: say 1 to 100", task.sample_percent)));
    }
    counters.enter(Stage::Preflight);
    let artifact = Artifact::at(connect::store(&task.location).await?, &task.location.prefix, &task.artifact)?;
    verify(&artifact, task, counters, began).await
}

async fn verify(
    artifact: &Artifact,
    task: &VerifyTask,
    counters: &Counters,
    began: Instant,
) -> Result<Report, EngineError> {
    let contents = artifact.read().await?;
    counters.enter(Stage::Verifying);
    let mut verified = Verified::default();
    match task.level {
        VerifyLevel::Manifest => verified.compare(artifact, &contents, counters).await?,
        VerifyLevel::Checksum => {
            let choice = Choice { percent: task.sample_percent, seed: task.seed };
            verified.read(artifact, &contents, (choice, &Reader::new(&task.limits)), counters).await?;
        }
    }
    let Verified { mut figures, findings, warnings } = verified;
    let Findings { missing, corrupt, stray, unknown: _ } = findings;
    figures = Verification {
        level: task.level,
        sample_percent: task.sample_percent,
        seed: task.seed,
        seconds: began.elapsed().as_secs_f64(),
        missing,
        corrupt,
        stray,
        ..figures
    };
    Ok(report(artifact, &contents, figures, warnings, counters))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
