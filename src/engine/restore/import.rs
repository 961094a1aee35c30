//! Import jobs: started once, waited for, found again after a crash.
//!
//! A job that was asked for and never answered is looked for on the server by its directory before it is asked for again,
//! because the same data imported twice doubles its rows without a word (real-milvus.md 4). Where the server cannot tell, the
//! collection is made anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{Job, Ledger};
use super::plan::Route;
use crate::engine::error::EngineError;
use crate::engine::patience::{Pauses, SERVER_RETURNS, patient};
use crate::engine::progress::Counters;
use crate::engine::select::Name;
use crate::exit::Class;
use crate::milvus::{Import, ImportState, ImportTask, Milvus, MilvusError, Missing};

/// No job may take longer; the server's own bound is 900 s in its default configuration, but it may be raised.
const DEADLINE: Duration = Duration::from_secs(4 * 3600);

/// A restarted 2.3 server hands tasks out to the data nodes it had before as long as their sessions live: 30 s
/// (`common.session.ttl`), counted anew when etcd restarts too. Nobody works on such a task, and it ends after 900 s.
const OLD_SESSIONS: Duration = Duration::from_secs(35);
/// A task that was handed out, on a server that was away, and shows nothing new for this long is worked on by nobody ...
const STALLED: Duration = Duration::from_secs(60);
/// ... with more time for more data: 10 MB a second until the first sign.
const STALLED_BYTES: u64 = 10_000_000;

/// A server that has as many unfinished jobs as it takes is asked again this often.
const FULL: Duration = Duration::from_secs(5);

/// One job as the server sees it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Target collection.
    pub name: &'a Name,
    /// How the server is asked.
    pub route: Route,
    /// Target partition; empty for deletes of all partitions.
    pub partition: &'a str,
    /// Names the job in the ledger.
    pub identity: String,
    /// Key prefixes in Milvus' own bucket: an insert directory and, where there are deletes, a delta directory each; of
    /// delete-only segments the delta directory.
    pub files: Vec<Vec<String>>,
    /// Options of the import (milvus-wire.md 2.9).
    pub options: Vec<(String, String)>,
    /// Bytes, for progress.
    pub bytes: u64,
    /// Objects, for progress.
    pub objects: u64,
    /// Set once another job of the collection is lost. The collection is made anew then, so that nothing more is asked for
    /// or waited for: jobs that stand in line behind a lost one may never come to their turn.
    pub given_up: &'a AtomicBool,
}

impl Request<'_> {
    /// The directory that no other job of the collection has.
    fn directory(&self) -> &str {
        self.files.first().and_then(|files| files.first()).map_or("", String::as_str)
    }
}

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Rows (or deletes) imported.
    Rows(u64),
    /// The server gave up, with its reason.
    Failed(String),
}

/// What became of a job that was asked for without an answer.
enum Sought {
    /// It is there.
    Found(i64),
    /// It is not there.
    Absent,
    /// This server cannot tell. Asking again could import twice.
    Unknown,
}

/// Carries one job through, from wherever the ledger says it is.
///
/// # Errors
/// The server's or the store's; a failed job is no error but [`Ended::Failed`].
pub async fn carry(
    milvus: &Milvus,
    ledger: &Ledger<'_>,
    request: &Request<'_>,
    counters: &Counters,
) -> Result<Ended, EngineError> {
    let known = ledger.entry(request.name).await.and_then(|entry| {
        entry.imports.into_iter().find(|import| import.directory == request.identity).map(|import| import.job)
    });
    let task = match known {
        Some(Job::Done { rows }) => {
            counters.objects(request.objects, request.bytes);
            return Ok(Ended::Rows(u64::try_from(rows).unwrap_or_default()));
        }
        Some(Job::Started { task }) => task,
        Some(Job::Inserting | Job::Inserted { .. }) => {
            return Ok(Ended::Failed("an earlier attempt inserted its rows".to_owned()));
        }
        Some(Job::Intended) => match find(milvus, ledger, request, counters).await? {
            Sought::Found(task) => task,
            Sought::Absent => match start(milvus, ledger, request, counters).await? {
                Ok(task) => task,
                Err(lost) => return Ok(lost),
            },
            Sought::Unknown => return Ok(lost()),
        },
        None if request.given_up.load(Ordering::Relaxed) => return Ok(given_up()),
        None => {
            ledger.job(request.name, &request.identity, Job::Intended).await?;
            match start(milvus, ledger, request, counters).await? {
                Ok(task) => task,
                Err(lost) => return Ok(lost),
            }
        }
    };
    ledger.job(request.name, &request.identity, Job::Started { task }).await?;
    let ended = wait(milvus, request, task, counters).await?;
    if let Ended::Rows(rows) = ended {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        ledger.job(request.name, &request.identity, Job::Done { rows }).await?;
    }
    Ok(ended)
}

fn given_up() -> Ended {
    Ended::Failed("another import of the collection was lost".to_owned())
}

fn lost() -> Ended {
    Ended::Failed("an import was asked for, no answer came, and the server cannot tell whether it has begun".to_owned())
}

/// Asks for the job until the answer is known; or what has become of it instead.
async fn start(
    milvus: &Milvus,
    ledger: &Ledger<'_>,
    request: &Request<'_>,
    counters: &Counters,
) -> Result<Result<i64, Ended>, EngineError> {
    let (started, mut waited_full) = (Instant::now(), Duration::ZERO);
    let mut pauses = Pauses::new(Duration::from_millis(500), Duration::from_secs(5));
    let mut import = Import {
        database: request.name.database.clone(),
        collection: request.name.collection.clone(),
        partition: request.partition.to_owned(),
        files: Vec::new(),
        options: request.options.clone(),
    };
    loop {
        if request.given_up.load(Ordering::Relaxed) {
            return Ok(Err(given_up()));
        }
        if request.route == Route::Partitions {
            settle(milvus).await;
        }
        let asked = {
            // Broken off, it would leave a job nobody knows of.
            let _call = counters.unbroken();
            match request.route {
                Route::Jobs => milvus.create_import_job(&import, &request.files).await,
                Route::Segments | Route::Partitions => {
                    import.files = request.files.first().cloned().unwrap_or_default();
                    milvus.import(&import).await
                }
            }
        };
        match asked {
            Ok(task) => {
                ledger.job(request.name, &request.identity, Job::Started { task }).await?;
                return Ok(Ok(task));
            }
            Err(MilvusError::Refused { cause, .. }) if is_full(&cause) && waited_full < DEADLINE => {
                tracing::info!(collection = %request.name, "milvus takes no more import jobs at the moment: {cause}");
                tokio::time::sleep(FULL).await;
                waited_full += FULL;
            }
            Err(error) if error.class() == Class::Retry && started.elapsed() < SERVER_RETURNS + waited_full => {
                tracing::warn!(collection = %request.name, "import was not answered: {error}");
                tokio::time::sleep(pauses.next()).await;
                match find(milvus, ledger, request, counters).await? {
                    Sought::Found(task) => return Ok(Ok(task)),
                    Sought::Absent => {}
                    Sought::Unknown if error.is_outcome_unknown() => return Ok(Err(lost())),
                    Sought::Unknown => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// `the number of jobs has reached the limit` (milvus-wire.md 2.9, `dataCoord.import.maxImportJobNum`).
fn is_full(cause: &str) -> bool {
    cause.contains("reached the limit")
}

/// After an outage, waits until the server knows which of its nodes are gone.
async fn settle(milvus: &Milvus) {
    while let Some(left) = milvus.away_for().and_then(|away| OLD_SESSIONS.checked_sub(away)) {
        if left.is_zero() {
            break;
        }
        tracing::info!(seconds = left.as_secs(), "milvus was away: waiting until it has noticed which nodes are gone");
        tokio::time::sleep(left).await;
    }
}

/// The server's job with our directory, the newest where there are several.
async fn find(
    milvus: &Milvus,
    ledger: &Ledger<'_>,
    request: &Request<'_>,
    counters: &Counters,
) -> Result<Sought, EngineError> {
    match request.route {
        Route::Partitions => {
            let task = newest(listed(milvus, request, counters).await?, request.directory());
            Ok(task.map_or(Sought::Absent, |task| Sought::Found(task.id)))
        }
        // From 2.4 on ListImportTasks answers neither ids nor files (milvus-wire.md 2.9).
        Route::Segments => Ok(Sought::Unknown),
        Route::Jobs => find_job(milvus, ledger, request).await,
    }
}

/// Jobs are told apart by the files in their details. Jobs of an earlier collection of this name do not count.
async fn find_job(milvus: &Milvus, ledger: &Ledger<'_>, request: &Request<'_>) -> Result<Sought, EngineError> {
    let (database, collection) = (&request.name.database, &request.name.collection);
    let known = ledger.entry(request.name).await.map(|entry| entry.job_ids()).unwrap_or_default();
    let mut ids = patient(|| milvus.import_jobs(database, collection)).await?;
    ids.retain(|id| !known.contains(id));
    ids.sort_unstable();
    let mut silent = false;
    for id in ids.into_iter().rev() {
        let job = match patient(|| milvus.import_job(database, id)).await {
            Ok(job) => job,
            Err(EngineError::Milvus(error)) if error.is_missing(Missing::ImportJob) => continue,
            Err(error) => return Err(error),
        };
        match &job.files {
            None => silent = true,
            Some(files) if files.contains(request.directory()) && !job.state.is_failed() => {
                return Ok(Sought::Found(id));
            }
            Some(_) => {}
        }
    }
    Ok(if silent { Sought::Unknown } else { Sought::Absent })
}

fn newest(tasks: Vec<ImportTask>, inserts: &str) -> Option<ImportTask> {
    tasks
        .into_iter()
        .filter(|task| task.files.as_deref().is_some_and(|files| files.split(',').any(|file| file == inserts)))
        .filter(|task| !task.state.is_failed())
        .max_by_key(|task| task.id)
}

/// Polls a job. After a lost connection the server's list is asked first: polling a task that a restarted 2.3.5 has
/// forgotten can take it down (real-milvus.md 6).
async fn wait(milvus: &Milvus, request: &Request<'_>, task: i64, counters: &Counters) -> Result<Ended, EngineError> {
    let started = Instant::now();
    let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(1));
    let mut shown = 0;
    let (mut sign, mut since) = (None, Instant::now());
    let mut unanswered: Option<Instant> = None;
    loop {
        let state = match asked(milvus, request, task, counters).await {
            Ok(state) => state,
            Err(error) if error.is_missing(Missing::ImportJob) => return Ok(forgotten(task)),
            Err(error) if error.class() == Class::Retry && request.route != Route::Partitions => {
                // Asking again harms these servers not.
                if unanswered.get_or_insert_with(Instant::now).elapsed() > SERVER_RETURNS {
                    return Err(error.into());
                }
                tokio::time::sleep(pauses.next()).await;
                continue;
            }
            Err(error) if error.class() == Class::Retry => match known(milvus, request, task, counters).await? {
                Some(state) => state,
                None => return Ok(forgotten(task)),
            },
            Err(error) => return Err(error.into()),
        };
        unanswered = None;
        if request.given_up.load(Ordering::Relaxed) {
            return Ok(given_up());
        }
        if state.state.is_failed() {
            return Ok(Ended::Failed(state.failed_reason.unwrap_or_else(|| "no reason given".to_owned())));
        }
        if state.state == ImportState::Completed {
            counters.objects(request.objects, request.bytes - shown);
            return Ok(Ended::Rows(u64::try_from(state.row_count).unwrap_or_default()));
        }
        if sign != Some((state.state, state.progress_percent)) {
            (sign, since) = (Some((state.state, state.progress_percent)), Instant::now());
        }
        let patience = STALLED + Duration::from_secs(request.bytes / STALLED_BYTES);
        let old_sessions = request.route == Route::Partitions && milvus.away_for().is_some();
        // Started: handed to a node that is gone. Persisted: written, and the node that came back does not know the segment it
        // is told to flush ("segment not found", for ever; seen on 2.3.5).
        let handed_out = matches!(state.state, ImportState::Started | ImportState::Persisted);
        if old_sessions && handed_out && since.elapsed() > patience {
            return Ok(Ended::Failed(format!("the server restarted, and nobody works on import task {task}")));
        }
        let now = request.bytes * u64::from(state.progress_percent.unwrap_or_default().min(99)) / 100;
        counters.objects(0, now.saturating_sub(shown));
        shown = shown.max(now);
        if started.elapsed() > DEADLINE {
            let act = format!("import task {task} into {}", request.name);
            return Err(EngineError::Deadline { act, seconds: DEADLINE.as_secs() });
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

fn forgotten(task: i64) -> Ended {
    Ended::Failed(format!("the server no longer knows import task {task}"))
}

/// One question for a job's state. Broken off, it takes a 2.3.5 server down, like a question that is answered late.
async fn asked(
    milvus: &Milvus,
    request: &Request<'_>,
    task: i64,
    counters: &Counters,
) -> Result<ImportTask, MilvusError> {
    if request.route == Route::Jobs {
        return milvus.import_job(&request.name.database, task).await;
    }
    let _call = counters.unbroken();
    milvus.import_state(task).await
}

async fn known(
    milvus: &Milvus,
    request: &Request<'_>,
    task: i64,
    counters: &Counters,
) -> Result<Option<ImportTask>, EngineError> {
    Ok(listed(milvus, request, counters).await?.into_iter().find(|known| known.id == task))
}

/// The jobs of a collection. A 2.3.5 that cannot answer this question, because it has just been started, falls over: so it
/// is only asked once it has answered a harmless one.
async fn listed(milvus: &Milvus, request: &Request<'_>, counters: &Counters) -> Result<Vec<ImportTask>, EngineError> {
    let (database, collection) = (&request.name.database, &request.name.collection);
    patient(|| async {
        milvus.list_databases().await?;
        let _call = counters.unbroken();
        milvus.list_imports(database, collection).await
    })
    .await
}
