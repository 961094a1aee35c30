//! Import jobs: started once, waited for, found again after a crash.
//!
//! A job that was asked for and never answered is looked for on the server by its directory before it is asked for again,
//! because the same data imported twice doubles its rows without a word (real-milvus.md 4).

use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{Job, Ledger};
use crate::engine::error::EngineError;
use crate::engine::patience::{Pauses, SERVER_RETURNS, patient};
use crate::engine::progress::Counters;
use crate::engine::select::Name;
use crate::exit::Class;
use crate::milvus::{Import, ImportState, ImportTask, Milvus, MilvusError};

/// No job may take longer; the server's own bound is 900 s in its default configuration, but it may be raised.
const DEADLINE: Duration = Duration::from_secs(4 * 3600);

/// A restarted 2.3 server hands tasks out to the data nodes it had before as long as their sessions live: 30 s
/// (`common.session.ttl`), counted anew when etcd restarts too. Nobody works on such a task, and it ends after 900 s.
const OLD_SESSIONS: Duration = Duration::from_secs(35);
/// A task that was handed out, on a server that was away, and shows nothing for this long is worked on by nobody ...
const STALLED: Duration = Duration::from_secs(60);
/// ... with more time for more data: 10 MB a second until the first sign.
const STALLED_BYTES: u64 = 10_000_000;

/// One job as the server sees it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Target collection.
    pub name: &'a Name,
    /// Target partition.
    pub partition: &'a str,
    /// Insert directory: a key prefix in Milvus' own bucket.
    pub inserts: String,
    /// Delta directory, empty when there is none.
    pub deletes: String,
    /// Bytes, for progress.
    pub bytes: u64,
    /// Objects, for progress.
    pub objects: u64,
}

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Rows imported.
    Rows(u64),
    /// The server gave up, with its reason.
    Failed(String),
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
        entry.imports.into_iter().find(|import| import.directory == request.inserts).map(|import| import.job)
    });
    let task = match known {
        Some(Job::Done { rows }) => {
            counters.objects(request.objects, request.bytes);
            return Ok(Ended::Rows(u64::try_from(rows).unwrap_or_default()));
        }
        Some(Job::Started { task }) => task,
        Some(Job::Intended) => match find(milvus, request, counters).await? {
            Some(task) => task.id,
            None => start(milvus, ledger, request, counters).await?,
        },
        None => {
            ledger.job(request.name, &request.inserts, Job::Intended).await?;
            start(milvus, ledger, request, counters).await?
        }
    };
    ledger.job(request.name, &request.inserts, Job::Started { task }).await?;
    let ended = wait(milvus, request, task, counters).await?;
    if let Ended::Rows(rows) = ended {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        ledger.job(request.name, &request.inserts, Job::Done { rows }).await?;
    }
    Ok(ended)
}

/// Asks for the job until the answer is known.
async fn start(
    milvus: &Milvus,
    ledger: &Ledger<'_>,
    request: &Request<'_>,
    counters: &Counters,
) -> Result<i64, EngineError> {
    let started = Instant::now();
    let mut pauses = Pauses::new(Duration::from_millis(500), Duration::from_secs(5));
    let options = [("backup", "true"), ("skip_disk_quota_check", "true")];
    let import = Import {
        database: request.name.database.clone(),
        collection: request.name.collection.clone(),
        partition: request.partition.to_owned(),
        files: vec![request.inserts.clone(), request.deletes.clone()],
        options: options.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
    };
    loop {
        settle(milvus).await;
        match milvus.import(&import).await {
            Ok(task) => {
                ledger.job(request.name, &request.inserts, Job::Started { task }).await?;
                return Ok(task);
            }
            Err(error) if error.class() == Class::Retry && started.elapsed() < SERVER_RETURNS => {
                tracing::warn!(collection = %request.name, "import was not answered: {error}");
                tokio::time::sleep(pauses.next()).await;
                if let Some(task) = find(milvus, request, counters).await? {
                    return Ok(task.id);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
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

/// The server's task with our insert directory, the newest where there are several.
async fn find(milvus: &Milvus, request: &Request<'_>, counters: &Counters) -> Result<Option<ImportTask>, EngineError> {
    Ok(newest(listed(milvus, request, counters).await?, &request.inserts))
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
    loop {
        let state = match asked(milvus, task, counters).await {
            Ok(state) => state,
            Err(error) if error.class() == Class::Retry => match known(milvus, request, task, counters).await? {
                Some(state) => state,
                None => {
                    return Ok(Ended::Failed(format!("the server no longer knows import task {task}")));
                }
            },
            Err(error) => return Err(error.into()),
        };
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
        if milvus.away_for().is_some() && state.state == ImportState::Started && since.elapsed() > patience {
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

/// One question for a job's state. Broken off, it takes a 2.3.5 server down, like a question that is answered late.
async fn asked(milvus: &Milvus, task: i64, counters: &Counters) -> Result<ImportTask, MilvusError> {
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
