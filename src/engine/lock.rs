//! The lock object of an artifact: attempts are fenced by their number.
//!
//! `operator/lock.json` holds the run's UID and the highest attempt that writes. An attempt takes it with a conditional
//! write and looks at it once more before it commits; an older attempt that wakes up finds a higher number and stops.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::artifact::BRIEF;
use super::error::EngineError;
use super::task::Run;
use crate::storage::{Condition, Store, StoreError, Written};

/// How long a look at a lock is good for: a process that was stopped longer than this looks again before it writes.
pub const GOOD_FOR: Duration = Duration::from_secs(2);

/// Keeps an attempt from writing once a newer one has taken over.
#[async_trait]
pub trait Fence: Sync {
    /// Looks whether we still may write, at most once in [`GOOD_FOR`].
    ///
    /// # Errors
    /// [`EngineError::LostLock`].
    async fn hold(&self) -> Result<(), EngineError>;
}

/// Tries to win the conditional write against a concurrent one.
const TRIES: usize = 5;

/// Content of the lock object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// Run.
    uid: String,
    /// Highest attempt.
    attempt: u32,
}

/// The lock of an artifact, taken by this attempt.
#[derive(Debug)]
pub struct Lock<'a> {
    store: &'a dyn Store,
    key: String,
    artifact: &'a str,
    run: &'a Run,
    seen: Mutex<Instant>,
}

#[async_trait]
impl Fence for Lock<'_> {
    async fn hold(&self) -> Result<(), EngineError> {
        let mut seen = self.seen.lock().await;
        if seen.elapsed() > GOOD_FOR {
            self.still_held().await?;
            *seen = Instant::now();
        }
        Ok(())
    }
}

/// Takes the lock for this attempt.
///
/// # Errors
/// [`EngineError::LostLock`] when a newer attempt holds it, [`EngineError::Rejected`] when another run owns the artifact.
pub async fn take<'a>(
    store: &'a dyn Store,
    key: String,
    artifact: &'a str,
    run: &'a Run,
) -> Result<Lock<'a>, EngineError> {
    let ours = Holder { uid: run.uid.clone(), attempt: run.attempt };
    let body = Bytes::from(serde_json::to_vec(&ours).unwrap_or_default());
    for _ in 0..TRIES {
        let condition = match read(store, &key).await? {
            None => Condition::Absent,
            Some((lock, etag)) => {
                judge(&lock, artifact, run)?;
                Condition::Matches(etag)
            }
        };
        if let Written::Yes(_) = store.put_if(&key, body.clone(), condition).await? {
            return Ok(Lock { store, key, artifact, run, seen: Mutex::new(Instant::now()) });
        }
    }
    Err(EngineError::Interrupted(format!("another attempt is taking the lock of {artifact} at the same time")))
}

impl Lock<'_> {
    /// Whether the lock is still ours; asked before anything is committed.
    ///
    /// # Errors
    /// As [`take`].
    pub async fn still_held(&self) -> Result<(), EngineError> {
        match read(self.store, &self.key).await? {
            Some((holder, _)) => judge(&holder, self.artifact, self.run),
            None => {
                Err(EngineError::Interrupted(format!("the lock of {} was removed while it was written", self.artifact)))
            }
        }
    }
}

fn judge(lock: &Holder, artifact: &str, run: &Run) -> Result<(), EngineError> {
    if lock.uid != run.uid {
        return Err(EngineError::Rejected(format!(
            "artifact {artifact} belongs to another run ({}): choose another name or delete it first",
            lock.uid
        )));
    }
    if lock.attempt > run.attempt {
        return Err(EngineError::LostLock { artifact: artifact.to_owned(), newer: lock.attempt, attempt: run.attempt });
    }
    Ok(())
}

async fn read(store: &dyn Store, key: &str) -> Result<Option<(Holder, String)>, EngineError> {
    let page = store.list_page(key, None).await?;
    let Some(found) = page.objects.into_iter().find(|object| object.key == key) else {
        return Ok(None);
    };
    match store.get_within(key, BRIEF).await {
        Ok(body) => {
            let lock = serde_json::from_slice(&body)
                .map_err(|_| EngineError::Damaged(format!("{key} is not a lock of this program")))?;
            Ok(Some((lock, found.etag)))
        }
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
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
        fn a_lock_that_is_none_is_refused_by_its_key_and_any_other_is_judged(
            at in any::<prop::sample::Index>(), with in "[-0-9a-zA-Z\"{}:,.]{0,6}", cut in any::<bool>(),
        ) {
            let mut text = serde_json::to_string(&Holder { uid: "u".into(), attempt: 3 }).unwrap();
            let at = at.index(text.len());
            if cut { text.truncate(at) } else { text.replace_range(at..(at + with.len()).min(text.len()), &with) }
            let store = MemoryService::new("test").bucket("b");
            let run = run("u", 3);
            let taken = async {
                store.put("x/lock.json", Bytes::from(text)).await.unwrap();
                take(&store, "x/lock.json".into(), "nightly", &run).await.map(drop)
            };
            match taken.now_or_never().unwrap() {
                Ok(()) | Err(EngineError::Rejected(_) | EngineError::LostLock { newer: 4.., .. }) => {}
                Err(error) => prop_assert_eq!(error.to_string(), "x/lock.json is not a lock of this program"),
            }
        }
    }

    fn run(uid: &str, attempt: u32) -> Run {
        Run { uid: uid.into(), namespace: String::new(), name: String::new(), attempt }
    }

    #[tokio::test]
    async fn a_later_attempt_takes_over_and_the_older_one_stops() {
        let store = MemoryService::new("test").bucket("b");
        let (first, second) = (run("u", 1), run("u", 2));
        let older = take(&store, "lock".into(), "a", &first).await.unwrap();
        let newer = take(&store, "lock".into(), "a", &second).await.unwrap();
        assert!(matches!(older.still_held().await, Err(EngineError::LostLock { newer: 2, attempt: 1, .. })));
        newer.still_held().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_slept_looks_before_it_goes_on() {
        let store = MemoryService::new("test").bucket("b");
        let (first, second) = (run("u", 1), run("u", 2));
        let older = take(&store, "lock".into(), "a", &first).await.unwrap();
        take(&store, "lock".into(), "a", &second).await.unwrap();
        older.hold().await.unwrap();
        tokio::time::advance(GOOD_FOR * 2).await;
        assert!(matches!(older.hold().await, Err(EngineError::LostLock { .. })));
    }

    #[tokio::test]
    async fn another_run_cannot_write_the_same_artifact() {
        let store = MemoryService::new("test").bucket("b");
        take(&store, "lock".into(), "a", &run("u", 1)).await.unwrap();
        assert!(matches!(take(&store, "lock".into(), "a", &run("v", 9)).await, Err(EngineError::Rejected(_))));
    }

    #[tokio::test]
    async fn the_same_attempt_may_take_it_twice() {
        let store = MemoryService::new("test").bucket("b");
        take(&store, "lock".into(), "a", &run("u", 3)).await.unwrap();
        take(&store, "lock".into(), "a", &run("u", 3)).await.unwrap();
    }
}
