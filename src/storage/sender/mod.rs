//! How a service is asked, whichever it is: with which login, how often, and what a failure means to the caller.
//!
//! S3, Azure and Google differ in how a request is written and signed and in how an answer is read. All else is here, and
//! what their verbs have in common is in `verbs`.

mod verbs;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, Kind};
use super::login::Ring;
use super::retry::{Meter, Outcome, RetryPolicy, send};
use super::{ObjectRef, Place, StoreError};

pub(super) use self::verbs::UploadPage;

/// The requests to one place. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) place: Place,
    pub(super) ring: Arc<Ring>,
    pub(super) policy: RetryPolicy,
    pub(super) meter: Arc<Meter>,
}

impl Sender {
    pub(super) fn new(place: Place, ring: Ring) -> Sender {
        Sender { place, ring: Arc::new(ring), policy: RetryPolicy::default(), meter: Arc::default() }
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

    /// Sends a request with so many bytes of content.
    pub(super) async fn write<T, F, Sent>(
        &self,
        act: &str,
        key: &str,
        bytes: usize,
        request: F,
    ) -> Result<T, StoreError>
    where
        F: FnMut() -> Sent,
        Sent: Future<Output = Result<T, Failure>>,
    {
        let limit = self.policy.upload_limit(bytes);
        self.settle(self.send(act, limit, request).await, act, key)
    }

    pub(super) fn settle<T>(&self, outcome: Outcome<T>, act: &str, key: &str) -> Result<T, StoreError> {
        outcome.result.map_err(|failure| failure.into_error(&self.place, act, key, outcome.tries))
    }

    /// Sends the request of a copy. Its failure can be about either bucket: the message names both where it cannot know.
    pub(super) async fn copy<T, F, Sent>(
        &self,
        act: &str,
        limit: Duration,
        from: &ObjectRef,
        request: F,
    ) -> Result<T, StoreError>
    where
        F: FnMut() -> Sent,
        Sent: Future<Output = Result<T, Failure>>,
    {
        let outcome = self.send(act, limit, request).await;
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
}

/// What a copy does, in messages.
pub(super) const COPY: &str = "copy an object";
