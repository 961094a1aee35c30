//! Pure: how a verification is told.

use jiff::Timestamp;

use crate::engine::artifact::{Artifact, Contents};
use crate::engine::error::{bounded, named};
use crate::engine::progress::Counters;
use crate::engine::task::{Report, Summary, TASK_VERSION, Verification, VerifyLevel};
use crate::exit::Class;

/// Objects named in the message.
const NAMED: usize = 5;

/// The report: with the class of damaged data where something is wrong.
pub fn report(
    artifact: &Artifact,
    contents: &Contents,
    figures: Verification,
    warnings: Vec<String>,
    counters: &Counters,
) -> Report {
    let wrong: Vec<String> = [&figures.missing, &figures.corrupt, &figures.stray]
        .into_iter()
        .flat_map(|names| names.first.clone())
        .collect();
    let total = figures.missing.total + figures.corrupt.total + figures.stray.total;
    let name = artifact.keys.name();
    let (ok, message) = match total {
        0 => (true, whole(&figures, artifact)),
        _ => {
            let more = total.saturating_sub(wrong.len().min(NAMED) as u64);
            let first = named(wrong.get(..NAMED).unwrap_or(&wrong), NAMED);
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            (false, format!("backup {name} is damaged: {first}{rest}"))
        }
    };
    Report {
        version: TASK_VERSION,
        ok,
        class: (!ok).then_some(Class::Data),
        reason: if ok { "Verified" } else { "Damaged" }.to_owned(),
        message: bounded(&message, 1000),
        manifest_digest: contents.manifest.as_ref().map(|(_, digest)| digest.clone()),
        summary: Summary { warnings, ..Summary::default() },
        progress: counters.read(Timestamp::now()),
        verification: Some(figures),
        ..Report::default()
    }
}

fn whole(figures: &Verification, artifact: &Artifact) -> String {
    let Verification { objects_checked, objects_total, bytes_read, objects_hashed, objects_parsed, .. } = figures;
    match figures.level {
        VerifyLevel::Manifest => {
            format!("all {objects_total} objects are in {} as they were backed up", artifact.store().place())
        }
        VerifyLevel::Checksum => format!(
            "{objects_checked} of {objects_total} objects read ({bytes_read} bytes) and whole: {objects_hashed} by their hash, \
             {objects_parsed} by what is inside; {} %, seed {}",
            figures.sample_percent, figures.seed
        ),
    }
}
