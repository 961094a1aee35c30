//! What a restore has begun: written to the artifact before each step that cannot be repeated.
//!
//! A second attempt reads it and continues: it never imports twice, and a clean-up drops only what this run created. Each
//! write is conditional on the one before, so that an older attempt which wakes up is stopped at its next step. The ledger
//! lies at `operator/restores/<run uid>/ledger.json` in the artifact.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::engine::artifact::BRIEF;
use crate::engine::error::EngineError;
use crate::engine::lock::{Fence, GOOD_FOR};
use crate::engine::select::Name;
use crate::engine::task::Run;
use crate::storage::{Condition, Store, StoreError, Written};

/// Version of the format.
const VERSION: u32 = 1;

/// How far a collection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    /// An existing collection of this name is about to be dropped (`onConflict: Replace`).
    Dropping,
    /// About to be created: a collection of this name that exists from now on is ours.
    Creating,
    /// Exists with its partitions; import jobs are in [`Entry::imports`].
    Created,
    /// All rows are in.
    Imported,
    /// Indexes, aliases, load state and row counts are done.
    Done,
}

/// How far an import job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// About to be asked for: look for it on the server by its directory before asking again.
    Intended,
    /// The server answered this id.
    Started {
        /// Task id.
        task: i64,
    },
    /// Completed.
    Done {
        /// Rows the server says it imported.
        rows: i64,
    },
    /// No job: its rows are being inserted by us. Whoever finds this state cannot know which of them are in.
    Inserting,
    /// Inserted to the last row; perhaps not sealed as long as the collection has not come to [`Step::Imported`].
    Inserted {
        /// Rows the server says it took.
        rows: i64,
    },
}

impl Job {
    /// Whether the rows come by insert.
    pub fn is_insert(self) -> bool {
        matches!(self, Job::Inserting | Job::Inserted { .. })
    }
}

/// One import job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Its first directory, and more where it has more: identifies the job.
    pub directory: String,
    /// State.
    pub job: Job,
}

/// One target collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Target database.
    pub database: String,
    /// Target collection.
    pub collection: String,
    /// State.
    pub step: Step,
    /// It was there before this run, which adds rows to it and must never drop it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Import jobs by directory.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// How often the collection was started over.
    #[serde(default)]
    pub restarts: u32,
    /// Jobs that went into a collection which was dropped since.
    #[serde(default)]
    pub abandoned: Vec<i64>,
}

impl Entry {
    /// Target name.
    pub fn name(&self) -> Name {
        Name::new(&self.database, &self.collection)
    }

    /// Jobs the server gave ids to and that are known here, those of a dropped collection included.
    pub fn job_ids(&self) -> Vec<i64> {
        let started = self.imports.iter().filter_map(|import| match import.job {
            Job::Started { task } => Some(task),
            Job::Intended | Job::Done { .. } | Job::Inserting | Job::Inserted { .. } => None,
        });
        started.chain(self.abandoned.iter().copied()).collect()
    }

    /// Begins again with the collection, which has been dropped, and forgets its jobs.
    pub fn make_anew(&mut self) {
        self.step = Step::Creating;
        self.abandoned = self.job_ids();
        self.imports.clear();
    }
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    version: u32,
    uid: String,
    attempt: u32,
    /// Databases this run created, or was about to.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Prefix of staged copies in Milvus' bucket, once there are any.
    #[serde(default)]
    pub staging: Option<String>,
    /// Collections.
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// The record of this run, saved at each change.
#[derive(Debug)]
pub struct Ledger<'a> {
    store: &'a dyn Store,
    key: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    record: Record,
    /// Tag of the ledger as we know it, none while there is none.
    etag: Option<String>,
    /// When it was known to be so.
    seen: Instant,
}

impl<'a> Ledger<'a> {
    /// Reads what earlier attempts of this run wrote.
    ///
    /// # Errors
    /// A newer attempt has written it, or the file is unreadable.
    pub async fn open(store: &'a dyn Store, key: String, run: &Run) -> Result<Ledger<'a>, EngineError> {
        // The tag first: should the content change between the two, the next conditional write is refused.
        let listed = store.list_page(&key, None).await?.objects.into_iter().find(|object| object.key == key);
        let etag = listed.map(|object| object.etag);
        let mut record = match load(store, &key).await? {
            Some(record) if etag.is_some() => record,
            _ => Record::default(),
        };
        judge(&record, &key, run.attempt)?;
        record.version = VERSION;
        record.uid = run.uid.clone();
        record.attempt = run.attempt;
        Ok(Ledger { store, key, state: Mutex::new(State { record, etag, seen: Instant::now() }) })
    }

    /// Writes our attempt's number: from now on an older attempt cannot write.
    ///
    /// # Errors
    /// As [`Ledger::change`].
    pub async fn take(&self) -> Result<(), EngineError> {
        self.change(|_| {}).await
    }

    /// A copy of the record.
    pub async fn read(&self) -> Record {
        self.state.lock().await.record.clone()
    }

    /// The entry of a collection, if it was begun.
    pub async fn entry(&self, name: &Name) -> Option<Entry> {
        self.state.lock().await.record.entries.iter().find(|entry| entry.name() == *name).cloned()
    }

    /// Changes the record and saves it before the lock is given back: what follows may rely on it.
    ///
    /// # Errors
    /// The store's; [`EngineError::LostLock`] when a newer attempt has written it, [`EngineError::Interrupted`] when an
    /// older one did so since we read it.
    pub async fn change(&self, edit: impl FnOnce(&mut Record)) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        self.look(&mut state).await?;
        edit(&mut state.record);
        let body = serde_json::to_vec(&state.record)
            .map_err(|error| EngineError::Damaged(format!("{} cannot be written: {error}", self.key)))?;
        let condition = state.etag.clone().map_or(Condition::Absent, Condition::Matches);
        match self.store.put_if(&self.key, Bytes::from(body), condition).await? {
            Written::Yes(etag) => {
                state.etag = Some(etag);
                state.seen = Instant::now();
                Ok(())
            }
            Written::Refused => {
                let found = load(self.store, &self.key).await?.unwrap_or_default();
                judge(&found, &self.key, state.record.attempt)?;
                Err(EngineError::Interrupted(format!("{} was changed by another attempt at the same time", self.key)))
            }
        }
    }

    /// For stores that do not keep to conditions, and for what is done between two changes.
    async fn look(&self, state: &mut State) -> Result<(), EngineError> {
        if state.etag.is_some() && state.seen.elapsed() > GOOD_FOR {
            let found = load(self.store, &self.key).await?.unwrap_or_default();
            judge(&found, &self.key, state.record.attempt)?;
            state.seen = Instant::now();
        }
        Ok(())
    }

    /// Sets the step of a collection, adding its entry when it is new.
    ///
    /// # Errors
    /// The store's.
    pub async fn step(&self, name: &Name, step: Step) -> Result<(), EngineError> {
        self.change(|record| record.entry_mut(name).step = step).await
    }

    /// Sets the state of one import job of a collection.
    ///
    /// # Errors
    /// The store's.
    pub async fn job(&self, name: &Name, directory: &str, job: Job) -> Result<(), EngineError> {
        self.jobs(name, vec![Import { directory: directory.to_owned(), job }]).await
    }

    /// Sets the states of several imports of a collection in one write.
    ///
    /// # Errors
    /// The store's.
    pub async fn jobs(&self, name: &Name, jobs: Vec<Import>) -> Result<(), EngineError> {
        self.change(|record| {
            let entry = record.entry_mut(name);
            for new in jobs {
                match entry.imports.iter_mut().find(|import| import.directory == new.directory) {
                    Some(import) => *import = new,
                    None => entry.imports.push(new),
                }
            }
        })
        .await
    }
}

#[async_trait]
impl Fence for Ledger<'_> {
    async fn hold(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        self.look(&mut state).await
    }
}

async fn load(store: &dyn Store, key: &str) -> Result<Option<Record>, EngineError> {
    match store.get_within(key, BRIEF).await {
        Ok(body) => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| EngineError::Damaged(format!("{key} is not a ledger of this program: {error}"))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn judge(found: &Record, key: &str, attempt: u32) -> Result<(), EngineError> {
    if found.attempt > attempt {
        return Err(EngineError::LostLock { artifact: key.to_owned(), newer: found.attempt, attempt });
    }
    Ok(())
}

impl Record {
    /// The entry of a collection; a new one begins at [`Step::Creating`].
    pub fn entry_mut(&mut self, name: &Name) -> &mut Entry {
        let at = match self.entries.iter().position(|entry| entry.name() == *name) {
            Some(at) => at,
            None => {
                self.entries.push(Entry {
                    database: name.database.clone(),
                    collection: name.collection.clone(),
                    step: Step::Creating,
                    kept: false,
                    imports: Vec::new(),
                    restarts: 0,
                    abandoned: Vec::new(),
                });
                self.entries.len() - 1
            }
        };
        &mut self.entries[at]
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::storage::memory::MemoryService;

    proptest! {
        #[test]
        fn a_ledger_that_is_none_is_refused_by_its_key_and_any_other_is_read(
            at in any::<prop::sample::Index>(), with in "[-0-9a-zA-Z\"{}\\[\\]:,.]{0,6}", cut in any::<bool>(),
        ) {
            let mut record = Record { version: VERSION, uid: "u".into(), attempt: 1, ..Record::default() };
            let entry = record.entry_mut(&Name::new("default", "docs"));
            entry.imports = vec![Import { directory: "dir/".into(), job: Job::Started { task: 7 } }];
            entry.abandoned = vec![5];
            let mut text = serde_json::to_string(&record).unwrap();
            let at = at.index(text.len());
            if cut { text.truncate(at) } else { text.replace_range(at..(at + with.len()).min(text.len()), &with) }
            let store = MemoryService::new("test").bucket("b");
            let run = run(u32::MAX);
            let opened = async {
                store.put("x/ledger.json", Bytes::from(text)).await.unwrap();
                match Ledger::open(&store, "x/ledger.json".into(), &run).await {
                    Ok(ledger) => ledger.take().await.map(|()| String::new()).unwrap_or_else(|error| error.to_string()),
                    Err(error) => error.to_string(),
                }
            };
            let said = opened.now_or_never().unwrap();
            prop_assert!(said.is_empty() || said.contains("x/ledger.json is not a ledger of this program"), "{said}");
        }
    }

    fn run(attempt: u32) -> Run {
        Run { uid: "u".into(), namespace: String::new(), name: String::new(), attempt }
    }

    #[tokio::test]
    async fn a_second_attempt_reads_what_the_first_began() {
        let store = MemoryService::new("test").bucket("b");
        let name = Name::new("default", "docs");
        let first = Ledger::open(&store, "ledger".into(), &run(1)).await.unwrap();
        first.step(&name, Step::Created).await.unwrap();
        first.job(&name, "dir/", Job::Intended).await.unwrap();
        first.job(&name, "dir/", Job::Started { task: 7 }).await.unwrap();
        let second = Ledger::open(&store, "ledger".into(), &run(2)).await.unwrap();
        let entry = second.entry(&name).await.unwrap();
        assert_eq!(entry.step, Step::Created);
        assert_eq!(entry.imports, [Import { directory: "dir/".into(), job: Job::Started { task: 7 } }]);
    }

    #[tokio::test]
    async fn an_older_attempt_that_wakes_up_cannot_write() {
        let store = MemoryService::new("test").bucket("b");
        let name = Name::new("default", "docs");
        let first = Ledger::open(&store, "ledger".into(), &run(1)).await.unwrap();
        first.step(&name, Step::Creating).await.unwrap();
        let second = Ledger::open(&store, "ledger".into(), &run(2)).await.unwrap();
        second.take().await.unwrap();
        assert!(matches!(
            first.step(&name, Step::Created).await,
            Err(EngineError::LostLock { newer: 2, attempt: 1, .. })
        ));
        assert_eq!(second.entry(&name).await.unwrap().step, Step::Creating);
        second.step(&name, Step::Created).await.unwrap();
    }

    #[tokio::test]
    async fn what_an_older_attempt_wrote_after_we_read_is_not_written_over() {
        let store = MemoryService::new("test").bucket("b");
        let name = Name::new("default", "docs");
        let first = Ledger::open(&store, "ledger".into(), &run(1)).await.unwrap();
        let second = Ledger::open(&store, "ledger".into(), &run(2)).await.unwrap();
        first.job(&name, "dir/", Job::Started { task: 7 }).await.unwrap();
        assert!(matches!(second.take().await, Err(EngineError::Interrupted(_))));
    }

    #[tokio::test]
    async fn an_older_attempt_that_starts_late_stops() {
        let store = MemoryService::new("test").bucket("b");
        let second = Ledger::open(&store, "ledger".into(), &run(2)).await.unwrap();
        second.step(&Name::new("default", "docs"), Step::Creating).await.unwrap();
        assert!(matches!(
            Ledger::open(&store, "ledger".into(), &run(1)).await,
            Err(EngineError::LostLock { newer: 2, .. })
        ));
    }
}
