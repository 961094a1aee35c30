//! What the stores that are spoken to by plain requests (Azure, Google) have in common: where they are, who they are to
//! the service, and how often a request is sent.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;

use super::failure::{Failure, Kind};
use super::login::Ring;
use super::reading::{Opened, Reading, collect};
use super::retry::{Meter, Outcome, RetryPolicy, send};
use super::transport::Wire;
use super::{ObjectRef, Place, StoreError};

/// Deletions sent at a time.
pub(super) const DELETIONS: usize = 16;

/// A place behind a wire. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) place: Place,
    pub(super) wire: Wire,
    pub(super) ring: Arc<Ring>,
    pub(super) policy: RetryPolicy,
    pub(super) meter: Arc<Meter>,
}

impl Rest {
    pub(super) fn new(place: Place, wire: Wire, ring: Ring) -> Rest {
        Rest { place, wire, ring: Arc::new(ring), policy: RetryPolicy::default(), meter: Arc::default() }
    }

    /// Sends a request as often as the policy says, and once more where its login was refused and there is another.
    pub(super) async fn send<T, F, Sent>(&self, act: &str, limit: Duration, mut request: F) -> Outcome<T>
    where
        F: FnMut() -> Sent,
        Sent: Future<Output = Result<T, Failure>>,
    {
        let changes = self.ring.changes().await;
        let first = send(&self.policy, &self.meter, act, limit, &mut request).await;
        match &first.result {
            Err(failure) if failure.doubts_keys() && self.ring.renew(changes).await => {}
            _ => return first,
        }
        let second = send(&self.policy, &self.meter, act, limit, &mut request).await;
        Outcome { tries: first.tries + second.tries, doubtful: first.doubtful || second.doubtful, ..second }
    }

    /// Sends a request that moves no content and has nothing special about its failures.
    pub(super) async fn control<T, F, Sent>(&self, act: &str, key: &str, request: F) -> Result<T, StoreError>
    where
        F: FnMut() -> Sent,
        Sent: Future<Output = Result<T, Failure>>,
    {
        let limit = self.policy.control_limit;
        self.settle(self.send(act, limit, request).await, act, key)
    }

    pub(super) fn settle<T>(&self, outcome: Outcome<T>, act: &str, key: &str) -> Result<T, StoreError> {
        outcome.result.map_err(|failure| failure.into_error(&self.place, act, key, outcome.tries))
    }

    /// A failed copy can be about either bucket: the message names both where it cannot know.
    pub(super) fn settle_copy<T>(&self, outcome: Outcome<T>, act: &str, from: &ObjectRef) -> Result<T, StoreError> {
        outcome.result.map_err(|failure| {
            let mut place = self.place.clone();
            match failure.kind {
                Kind::NoKey => place.bucket.clone_from(&from.bucket),
                Kind::NoBucket if from.bucket != place.bucket => {
                    place.bucket = format!("{} or {}", from.bucket, place.bucket);
                }
                // The only condition of a copy is the version of its source.
                Kind::ConditionFailed => {
                    return StoreError::Replaced { key: from.key.clone(), place: place.to_string() };
                }
                _ => {}
            }
            failure.into_error(&place, act, &from.key, outcome.tries)
        })
    }

    /// A whole object with the ETag of its version. `open` asks for it.
    pub(super) async fn fetch<Open, Opening>(&self, open: Open) -> Outcome<(Bytes, String)>
    where
        Open: Fn() -> Opening,
        Opening: Future<Output = Result<Opened, Failure>>,
    {
        // The limit of the whole attempt is open: `collect` watches over each piece, this over the answer's beginning.
        let begin = self.policy.control_limit;
        let open = &open;
        self.send(GET, Duration::MAX, || async move {
            let opened = tokio::time::timeout(begin, open()).await.map_err(|_| Failure::timed_out(begin))??;
            let mut body = BytesMut::new();
            collect(begin, opened.body, opened.announced, None, &mut body).await?;
            Ok((body.freeze(), opened.etag.unwrap_or_default()))
        })
        .await
    }

    /// A range of the version with this ETag, or of the one that is there. `open` asks for so many bytes from an offset.
    pub(super) async fn read<Open, Opening>(
        &self,
        key: &str,
        etag: Option<&str>,
        (offset, length): (u64, u64),
        open: Open,
    ) -> Result<Bytes, StoreError>
    where
        Open: Fn(u64, u64) -> Opening,
        Opening: Future<Output = Result<Opened, Failure>>,
    {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let act = "read a part of an object";
        // What earlier attempts have brought stays; attempts come one after another.
        let (reading, open, limit) = (&Mutex::new(Reading::of(etag)), &open, self.policy.control_limit);
        let outcome = self
            .send(act, Duration::MAX, || async move {
                let mut reading = reading.lock().await;
                reading.go_on(limit, offset, length, open).await?;
                Ok(std::mem::take(&mut reading.body).freeze())
            })
            .await;
        match &outcome.result {
            Err(failure) if failure.kind == Kind::BehindEnd => Ok(Bytes::new()),
            _ => self.settle(outcome, act, key),
        }
    }
}

/// What [`Rest::fetch`] does, in messages.
pub(super) const GET: &str = "read an object";
