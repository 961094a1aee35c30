//! Keeps Milvus' garbage collection from taking away what is being copied, and lets go of snapshots, which do so by themselves.
//!
//! In short leases that are renewed while the backup works and ended on every orderly exit, cancelled ones included. A run
//! that is killed leaves one that ends by itself. Nothing here is fatal: a backup without a pause is a good backup, or one
//! that finds an object gone and is tried again.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};

use crate::engine::progress::Counters;
use crate::engine::select::Name;
use crate::milvus::{Gate, GcPause, ManagementError, Milvus};

/// One lease.
const LEASE: Duration = Duration::from_secs(600);
/// Time between two leases.
const RENEW: Duration = Duration::from_secs(240);

/// Tries to drop a snapshot ...
const DROPS: u32 = 3;
/// ... with this time for each ...
const DROP_TIME: Duration = Duration::from_secs(5);
/// ... and this between two.
const DROP_PAUSE: Duration = Duration::from_secs(1);

/// The pause of one run.
#[derive(Debug, Default)]
pub struct Pause {
    held: Mutex<Option<Held>>,
    pins: Mutex<Vec<Pin>>,
}

/// A snapshot, which keeps its files from being removed until it is dropped.
#[derive(Debug, Clone)]
struct Pin {
    milvus: Milvus,
    collection: Name,
    snapshot: String,
}

impl Pin {
    /// Drops the snapshot. One that remains costs space in the server's store until a person drops it.
    async fn end(self) {
        let Pin { milvus, collection, snapshot } = self;
        for _ in 0..DROPS {
            let dropped = milvus.drop_snapshot(&collection.database, &collection.collection, &snapshot);
            match tokio::time::timeout(DROP_TIME, dropped).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!("snapshot {snapshot} of {collection} was not dropped: {error}"),
                Err(_) => tracing::warn!("snapshot {snapshot} of {collection} was not dropped: no answer"),
            }
            tokio::time::sleep(DROP_PAUSE).await;
        }
        tracing::error!("snapshot {snapshot} of {collection} remains and holds its files: drop it");
    }
}

#[derive(Debug)]
struct Held {
    milvus: Milvus,
    /// The newest last.
    pauses: Vec<GcPause>,
}

impl Pause {
    /// Begins; answers a warning where that did not work although the server's version has it.
    pub async fn begin(&self, milvus: &Milvus, counters: &Counters) -> Option<String> {
        if !milvus.version().has(Gate::PauseGc) {
            return None;
        }
        // Broken off, the pause would be in force and its ticket unknown.
        let _call = counters.unbroken();
        match milvus.pause_gc(LEASE).await {
            Ok(pause) => {
                *self.lock() = Some(Held { milvus: milvus.clone(), pauses: vec![pause] });
                None
            }
            Err(error) => Some(format!("garbage collection was not paused during the backup: {error}")),
        }
    }

    /// Renews the lease for as long as it is polled. May be dropped at any point: what it holds is never unknown to
    /// [`Pause::end`].
    pub async fn keep(&self, counters: &Counters) -> Infallible {
        loop {
            tokio::time::sleep(RENEW).await;
            let Some(milvus) = self.lock().as_ref().map(|held| held.milvus.clone()) else { continue };
            let _call = counters.unbroken();
            match milvus.pause_gc(LEASE).await {
                Ok(next) => {
                    let old = self.renewed(next);
                    for pause in &old {
                        log(milvus.resume_gc(pause).await);
                    }
                }
                Err(error) => tracing::warn!("the pause of garbage collection was not renewed: {error}"),
            }
        }
    }

    /// Notes the new lease; answers those to end.
    fn renewed(&self, next: GcPause) -> Vec<GcPause> {
        let mut held = self.lock();
        let Some(held) = held.as_mut() else { return Vec::new() };
        replaced(&mut held.pauses, next)
    }

    /// Notes a snapshot that is about to be made.
    pub fn pin(&self, milvus: &Milvus, collection: &Name, snapshot: &str) {
        let pin = Pin { milvus: milvus.clone(), collection: collection.clone(), snapshot: snapshot.to_owned() };
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).push(pin);
    }

    /// Lets go of the snapshot of a collection.
    pub async fn unpin(&self, collection: &Name) {
        let pin = {
            let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
            let at = pins.iter().position(|pin| pin.collection == *collection);
            at.map(|at| pins.swap_remove(at))
        };
        if let Some(pin) = pin {
            pin.end().await;
        }
    }

    /// Ends what is held.
    pub async fn end(&self) {
        let pins = std::mem::take(&mut *self.pins.lock().unwrap_or_else(PoisonError::into_inner));
        stream::iter(pins).for_each_concurrent(8, Pin::end).await;
        let Some(Held { milvus, pauses }) = self.lock().take() else { return };
        for pause in &pauses {
            log(milvus.resume_gc(pause).await);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the new lease in the place of the old ones; answers those to end. Without tickets a resume would end the new one too.
fn replaced(pauses: &mut Vec<GcPause>, next: GcPause) -> Vec<GcPause> {
    let tickets = next.has_ticket();
    let old = std::mem::replace(pauses, vec![next]);
    if tickets { old } else { Vec::new() }
}

fn log(outcome: Result<(), ManagementError>) {
    if let Err(error) = outcome {
        tracing::warn!("{error}; it goes on by itself within {} s", LEASE.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_lease_is_ended_by_its_own_ticket_and_the_old_one_at_once() {
        let (first, second) = (GcPause::new(Some("a".into())), GcPause::new(Some("b".into())));
        let mut held = vec![first.clone()];
        assert_eq!(replaced(&mut held, second.clone()), [first]);
        assert_eq!(held, [second]);
    }

    #[test]
    fn without_tickets_the_old_lease_is_not_ended_because_that_would_end_the_new_one() {
        let mut held = vec![GcPause::new(None)];
        assert_eq!(replaced(&mut held, GcPause::new(None)), []);
        assert_eq!(held.len(), 1);
    }
}
