//! Verification of an artifact by itself: compared with a listing, and read as far as is asked for.
//!
//! Owns what is told of an artifact that nobody restores. Must never write, neither into the store nor anywhere else, and
//! speaks to no Milvus. What is compared and how is `proof`'s, as before a restore.
//!
//! - `choose`: which objects are read (pure).
//! - `read`: one object, its hash and its content.

mod choose;
mod read;

use std::collections::{BTreeSet, HashSet};

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

use self::choose::Choice;
use self::read::{Look, Objects};
use super::artifact::{Artifact, Contents};
use super::connect;
use super::counted::Counted;
use super::error::{EngineError, bounded, named};
use super::inventory::Inventory;
use super::progress::Counters;
use super::proof::{self, Compared, Findings, Wrong};
use super::reader::Reader;
use super::task::{ObjectNames, Report, Stage, Summary, TASK_VERSION, Verification, VerifyLevel, VerifyTask};
use crate::exit::Class;
use crate::manifest::layout::log_path;
use crate::manifest::{BackupInfo, sealed};
use crate::storage::{ObjectMeta, Tag};

/// Objects named in the message.
const NAMED: usize = 5;

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

fn report(
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

/// What is found, piece by piece.
#[derive(Debug, Default)]
struct Verified {
    figures: Verification,
    findings: Findings,
    warnings: Vec<String>,
}

/// A file of a bundle.
#[derive(Debug)]
struct File {
    key: String,
    size: u64,
    tag: Tag,
}

/// What the ETags of a store have shown.
#[derive(Debug, Default)]
struct Hashes {
    /// Some of them are the hash of the content.
    believed: bool,
    /// Objects whose content has another hash.
    doubted: ObjectNames,
}

impl Verified {
    /// The listing beside the metadata.
    async fn compare(
        &mut self,
        artifact: &Artifact,
        contents: &Contents,
        counters: &Counters,
    ) -> Result<(), EngineError> {
        let logs = Inventory::of(&contents.info.collection_backups);
        let mut listed = 0;
        let mut count = |_: Option<usize>, _: &ObjectMeta| {
            listed += 1;
            counters.objects(1, 0);
        };
        let compared = proof::compare_noting(artifact, contents, &logs, &mut count).await?;
        self.compared(contents, compared, listed);
        self.figures.objects_checked = self.figures.objects_total;
        counters.plan(contents.info.collection_backups.len() as u64, self.figures.objects_total, 0);
        Ok(())
    }

    fn compared(&mut self, contents: &Contents, compared: Compared, listed: u64) {
        self.findings = compared.findings;
        self.figures.objects_total = listed + self.findings.missing.total + self.findings.corrupt.total;
        if self.findings.unknown > 0 {
            self.warnings.push(format!(
                "{} objects below binlogs/ or bundle/ are no part of the backup; nothing reads them",
                self.findings.unknown
            ));
        }
        if contents.manifest.is_none() {
            self.warnings.push(
                "milvus-backup made this backup: it records no hashes, so an object that was replaced by a whole one of the same size \
                 and ids is not told from the original"
                    .to_owned(),
            );
        }
    }

    /// The listing, and the content of the chosen objects.
    async fn read(
        &mut self,
        artifact: &Artifact,
        contents: &Contents,
        (choice, reader): (Choice, &Reader),
        counters: &Counters,
    ) -> Result<(), EngineError> {
        let logs = Inventory::of(&contents.info.collection_backups);
        let chosen = choice.logs(&logs);
        let mut tags: Vec<Option<Tag>> = vec![None; logs.places()];
        let mut files = Files::of(&contents.info, choice);
        let mut listed = 0;
        let mut note = |place: Option<usize>, object: &ObjectMeta| {
            listed += 1;
            match place {
                Some(place) if chosen[place] => tags[place] = Some(Tag::from(object.etag.as_str())),
                Some(_) => {}
                None => files.offer(artifact.keys.relative(&object.key).unwrap_or_default(), object),
            }
        };
        let compared = proof::compare_noting(artifact, contents, &logs, &mut note).await?;
        self.compared(contents, compared, listed);
        let files = files.taken();
        let picked = logs.logs().filter(|log| tags[log.place].is_some());
        let (count, bytes) = picked.fold((0, 0), |(count, bytes), log| (count + 1, bytes + log.size));
        let of_files: u64 = files.iter().map(|file| file.size).sum();
        let collections = contents.info.collection_backups.len() as u64;
        counters.plan(collections, count + files.len() as u64, bytes + of_files);
        let objects = Objects { artifact, reader };
        let mut hashes = Hashes { believed: objects.tags_are_digests().await?, ..Hashes::default() };
        self.read_logs(objects, contents, (&logs, &tags), counters, &mut hashes).await?;
        self.read_files(objects, files, counters, &mut hashes).await?;
        self.settle(hashes);
        counters.collections(collections);
        Ok(())
    }

    async fn read_logs(
        &mut self,
        objects: Objects<'_>,
        contents: &Contents,
        (logs, tags): (&Inventory<'_>, &[Option<Tag>]),
        counters: &Counters,
        hashes: &mut Hashes,
    ) -> Result<(), EngineError> {
        let sealed: HashSet<i64> = sealed::collections(&contents.info);
        let sealed = &sealed;
        let picked = logs.segments().flat_map(|(segment, logs)| logs.map(move |log| (segment, log)));
        let picked = picked.filter_map(|(segment, log)| Some((segment, log, tags.get(log.place)?.as_ref()?)));
        let mut looks = stream::iter(picked)
            .map(|(segment, log, tag)| async move {
                let etag = tag.to_string();
                let look = match sealed.contains(&log.key.collection) {
                    true => objects.opaque(&objects.artifact.keys.log(&log.key, log.group), log.size, &etag).await?,
                    false => objects.log(&log, &etag).await?,
                };
                Ok::<_, EngineError>((segment, log, look))
            })
            .buffered(objects.reader.at_once());
        let mut counted = Counted::default();
        while let Some(look) = looks.next().await {
            let (segment, log, look) = look?;
            let rows = self.take(&log_path(&log.key, log.group), log.size, look, hashes);
            self.uneven(counted.add(segment, &log, rows));
            counters.objects(1, log.size);
        }
        self.uneven(counted.end());
        Ok(())
    }

    async fn read_files(
        &mut self,
        objects: Objects<'_>,
        files: Vec<File>,
        counters: &Counters,
        hashes: &mut Hashes,
    ) -> Result<(), EngineError> {
        let mut looks = stream::iter(files)
            .map(|file| async move {
                let look = objects.opaque(&file.key, file.size, &file.tag.to_string()).await?;
                Ok::<_, EngineError>((file, look))
            })
            .buffered(objects.reader.at_once());
        while let Some(look) = looks.next().await {
            let (file, look) = look?;
            self.take(objects.artifact.keys.relative(&file.key).unwrap_or_default(), file.size, look, hashes);
            counters.objects(1, file.size);
        }
        Ok(())
    }

    /// One object that was read; its rows, where they can be counted.
    fn take(&mut self, path: &str, size: u64, look: Option<Look>, hashes: &mut Hashes) -> Option<u64> {
        let Some(Look { bytes, found, matches, inside }) = look else {
            self.findings.add(Wrong::Missing, || format!("{path} is missing"));
            return None;
        };
        self.figures.objects_checked += 1;
        self.figures.bytes_read += bytes;
        self.figures.objects_hashed += u64::from(matches.is_some());
        self.figures.objects_parsed += u64::from(inside.is_some());
        hashes.believed |= matches == Some(true);
        if found != size {
            self.findings.add(Wrong::Corrupt, || format!("{path} has {found} bytes instead of {size}"));
            return None;
        }
        match inside {
            Some(Err(error)) => {
                self.findings.add(Wrong::Corrupt, || format!("{path}: {error}"));
                return None;
            }
            _ if matches == Some(false) => {
                hashes.doubted.add(|| format!("{path}: its content has not the MD5 that is its ETag"));
            }
            _ => {}
        }
        inside.and_then(Result::ok)
    }

    fn uneven(&mut self, said: Vec<String>) {
        said.into_iter().for_each(|said| self.findings.add(Wrong::Corrupt, || said));
    }

    /// Where not one ETag is the hash of what it stands for, they are none, and say nothing.
    fn settle(&mut self, hashes: Hashes) {
        let Hashes { believed, doubted } = hashes;
        if doubted.total == 0 {
            return;
        }
        if believed {
            self.findings.corrupt.append(doubted);
            return;
        }
        self.figures.objects_hashed = self.figures.objects_hashed.saturating_sub(doubted.total);
        self.warnings.push(
            "the ETags of this store are no MD5 of the content (it may encrypt with a key of its own): no hash was compared"
                .to_owned(),
        );
    }
}

/// The chosen files of a bundle: the metadata of each snapshot, and a share of the others, at least one.
struct Files<'c> {
    choice: Choice,
    metadata: BTreeSet<&'c str>,
    taken: Vec<File>,
    /// The file that is taken if no other is.
    lowest: Option<(u64, File)>,
}

impl Files<'_> {
    fn of(info: &BackupInfo, choice: Choice) -> Files<'_> {
        let snapshots = info.collection_backups.iter().filter_map(|one| one.snapshot_backup.as_ref());
        let metadata = snapshots.map(|snapshot| snapshot.metadata_path.as_str()).collect();
        Files { choice, metadata, taken: Vec::new(), lowest: None }
    }

    fn offer(&mut self, path: &str, object: &ObjectMeta) {
        let rank = self.choice.rank(path);
        let file = || File { key: object.key.clone(), size: object.size, tag: Tag::from(object.etag.as_str()) };
        if self.choice.takes(rank) || self.metadata.contains(path) {
            self.taken.push(file());
        } else if self.lowest.as_ref().is_none_or(|(lowest, _)| rank < *lowest) {
            self.lowest = Some((rank, file()));
        }
    }

    fn taken(mut self) -> Vec<File> {
        if self.taken.is_empty() {
            self.taken.extend(self.lowest.map(|(_, file)| file));
        }
        self.taken
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
