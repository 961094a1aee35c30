//! Proof that an artifact is whole: compared with a listing, and looked into where tags say too little.
//!
//! Our own artifacts are proven by one listing against `operator/objects.jsonl.zst`. Those of the Go tool carry no tags, so
//! every object is read and looked into (`inspect`): a flipped bit would kill the Milvus that is asked to import it
//! (real-milvus.md 6).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::artifact::{Artifact, Contents};
use super::bundle;
use super::copy::is_digest;
use super::error::{EngineError, Tally};
use super::inspect::inspect;
use super::inventory::{Inventory, Named};
use super::reader::Reader;
use super::task::ObjectNames;
use crate::manifest::layout::{log_path, parse_log_path};
use crate::manifest::sealed;
use crate::storage::{Listing, ObjectMeta, Tag};

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It is not what was backed up.
    Corrupt,
    /// It is there and no part of the backup.
    Stray,
}

/// Told of every object of the backup that is listed in its size: the place of a log (none for a file of a bundle), and how it
/// is listed.
pub type Note<'n> = &'n mut (dyn FnMut(Option<usize>, &ObjectMeta) + Send);

/// An artifact beside the listing of its bucket.
#[derive(Debug, Default)]
pub struct Compared {
    /// Partitions in whose directories lie objects that are no part of the backup: an attempt that was stopped for long
    /// and woke up can leave some. An import of the directory would take them along.
    pub strays: BTreeSet<i64>,
    /// What is missing, of another size, replaced or too much, by collection.
    damage: BTreeMap<i64, Tally>,
    /// The same of files that belong to all collections.
    shared: Tally,
    /// All of it by object.
    pub(super) findings: Findings,
    /// By place: logs that have to be looked into.
    suspects: Vec<bool>,
}

/// Compares every log that the metadata names with one listing of the artifact, page by page; of snapshots every file.
///
/// # Errors
/// The store's; an object list that is not of this metadata.
pub async fn compare(artifact: &Artifact, contents: &Contents, logs: &Inventory<'_>) -> Result<Compared, EngineError> {
    compare_noting(artifact, contents, logs, &mut |_, _| {}).await
}

/// [`compare`] that tells what it sees.
///
/// # Errors
/// As [`compare`].
pub async fn compare_noting(
    artifact: &Artifact,
    contents: &Contents,
    logs: &Inventory<'_>,
    note: Note<'_>,
) -> Result<Compared, EngineError> {
    if bundle::is_in(&contents.info) {
        return bundle::compare(artifact, contents, logs, note).await;
    }
    let tags = tags(artifact, contents, logs)?;
    let mut compared = Compared::unsuspected(logs);
    let collections = logs.collections();
    let mut seen = vec![false; logs.places()];
    let mut finder = logs.finder();
    let mut listing = Listing::new(artifact.store(), artifact.keys.binlogs());
    while let Some(page) = listing.next().await? {
        for object in page {
            let Some((key, group)) = artifact.keys.parse_log(&object.key) else {
                compared.findings.unknown += 1;
                continue;
            };
            let Some(log) = finder.find(&key, group) else {
                compared.strays.insert(key.partition);
                let of =
                    collections.range((key.segment, i64::MIN)..).next().filter(|(segment, _)| *segment == key.segment);
                let path = || log_path(&key, group);
                match of {
                    Some((_, collection)) => {
                        let said = || format!("{} is no part of it: remove it", path());
                        compared.damaged(Some(*collection), Wrong::Stray, said);
                    }
                    None => compared.findings.unknown += 1,
                }
                continue;
            };
            if std::mem::replace(&mut seen[log.place], true) {
                continue;
            }
            let path = || log_path(&key, group);
            if object.size != log.size {
                let said = || format!("{} has {} bytes instead of {}", path(), object.size, log.size);
                compared.damaged(Some(key.collection), Wrong::Corrupt, said);
                continue;
            }
            match tags.get(log.place).and_then(Option::as_ref).map(Tag::to_string) {
                Some(etag) if object.etag == etag => {}
                Some(etag) if is_digest(&etag) && is_digest(&object.etag) => {
                    let said = || format!("{} was replaced: its content is not what was backed up", path());
                    compared.damaged(Some(key.collection), Wrong::Corrupt, said);
                    continue;
                }
                _ => compared.suspects[log.place] = true,
            }
            note(Some(log.place), &object);
        }
    }
    for log in logs.unseen(&seen) {
        let said = || format!("{} is missing", log_path(&log.key, log.group));
        compared.damaged(Some(log.key.collection), Wrong::Missing, said);
    }
    Ok(compared)
}

/// The recorded tags by place; none for artifacts of the Go tool.
fn tags(artifact: &Artifact, contents: &Contents, logs: &Inventory<'_>) -> Result<Vec<Option<Tag>>, EngineError> {
    let Some(records) = contents.records()? else { return Ok(Vec::new()) };
    let mut tags = vec![None; logs.places()];
    let mut finder = logs.finder();
    for record in records {
        let record = record?;
        let log = parse_log_path(&record.key).and_then(|(key, group)| finder.find(&key, group));
        match log.filter(|log| log.size == record.size) {
            Some(log) => tags[log.place] = Some(Tag::from(record.etag.as_str())),
            None => {
                return Err(EngineError::Damaged(format!(
                    "backup {} is damaged: operator/objects.jsonl.zst names {} with {} bytes, its metadata does not",
                    artifact.keys.name(),
                    record.key,
                    record.size
                )));
            }
        }
    }
    Ok(tags)
}

impl Compared {
    /// Nothing found yet.
    pub(super) fn unsuspected(logs: &Inventory<'_>) -> Compared {
        Compared { suspects: vec![false; logs.places()], ..Compared::default() }
    }

    /// Notes what is wrong with an object of a collection, or of all of them.
    pub(super) fn damaged(&mut self, collection: Option<i64>, wrong: Wrong, what: impl Fn() -> String) {
        self.findings.add(wrong, &what);
        match collection {
            Some(collection) => self.damage.entry(collection).or_default().add(what),
            None => self.shared.add(what),
        }
    }

    /// Proves every object of the selected collections before anything is done with it.
    ///
    /// # Errors
    /// [`EngineError::Damaged`], naming what is missing, of another size, replaced or damaged inside.
    pub async fn prove(
        self,
        artifact: &Artifact,
        contents: &Contents,
        logs: &Inventory<'_>,
        collections: &HashSet<i64>,
        reader: &Reader,
    ) -> Result<(), EngineError> {
        let mut damage = if collections.is_empty() { Tally::default() } else { self.shared };
        for (_, found) in self.damage.into_iter().filter(|(collection, _)| collections.contains(collection)) {
            damage.append(found);
        }
        // Nobody but the server can look into what is encrypted: its size has to do.
        let sealed = sealed::collections(&contents.info);
        let readable = |collection| collections.contains(&collection) && !sealed.contains(&collection);
        let picked = |log: &Named| self.suspects[log.place] && readable(log.key.collection);
        damage.append(inspect(artifact, logs, picked, reader).await?);
        if damage.is_empty() {
            return Ok(());
        }
        Err(EngineError::Damaged(format!("backup {} is damaged, nothing was restored: {damage}", artifact.keys.name())))
    }
}

/// What is wrong with which objects: the first few of each kind, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Not there.
    pub missing: ObjectNames,
    /// Not what was backed up.
    pub corrupt: ObjectNames,
    /// Too much, in a segment of the backup.
    pub stray: ObjectNames,
    /// Too much elsewhere: nothing would read it.
    pub unknown: u64,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, wrong: Wrong, what: impl FnOnce() -> String) {
        match wrong {
            Wrong::Missing => self.missing.add(what),
            Wrong::Corrupt => self.corrupt.add(what),
            Wrong::Stray => self.stray.add(what),
        }
    }
}
