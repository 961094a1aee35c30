//! What the verbs of S3, Azure and Google have in common. What a service is asked with is an argument.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::Sender;
use crate::storage::failure::{Failure, Kind};
use crate::storage::reading::{Opened, Reading, whole};
use crate::storage::retry::Outcome;
use crate::storage::{Condition, ObjectRef, StoreError, Upload, Written};

const GET: &str = "read an object";
/// Deletions sent at a time.
const DELETIONS: usize = 16;

/// Where a list of multipart writes goes on: behind this key and, where the service says so, this upload.
pub(in crate::storage) type Mark = (String, Option<String>);

/// One page of the multipart writes that are open.
pub(in crate::storage) struct UploadPage {
    pub(in crate::storage) uploads: Vec<Upload>,
    /// None on the last page.
    pub(in crate::storage) next: Option<Mark>,
}

impl Sender {
    /// A whole object of at most so many bytes. `open` asks for it.
    pub(in crate::storage) async fn get<Open, Opening>(
        &self,
        key: &str,
        most: u64,
        open: Open,
    ) -> Result<Bytes, StoreError>
    where
        Open: Fn() -> Opening,
        Opening: Future<Output = Result<Opened, Failure>>,
    {
        Ok(self.settle(self.fetch(most, open).await, GET, key)?.0)
    }

    /// A whole object with the ETag of its version.
    async fn fetch<Open, Opening>(&self, most: u64, open: Open) -> Outcome<(Bytes, String)>
    where
        Open: Fn() -> Opening,
        Opening: Future<Output = Result<Opened, Failure>>,
    {
        // The limit of the whole attempt is open: `whole` watches over each piece, this over the answer's beginning.
        let begin = self.policy.control_limit;
        let open = &open;
        self.send(GET, Duration::MAX, || async move {
            let opened = tokio::time::timeout(begin, open()).await.map_err(|_| Failure::timed_out(begin))??;
            whole(begin, opened, most).await
        })
        .await
    }

    /// A range of the version with this ETag, or of the one that is there. `open` asks for so many bytes from an offset.
    pub(in crate::storage) async fn read<Open, Opening>(
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

    /// Writes an object; `write` sends the body and answers its ETag.
    pub(in crate::storage) async fn put<Write, Writing>(
        &self,
        key: &str,
        body: &Bytes,
        write: Write,
    ) -> Result<String, StoreError>
    where
        Write: FnMut() -> Writing,
        Writing: Future<Output = Result<String, Failure>>,
    {
        self.write("write an object", key, body.len(), write).await
    }

    /// Writes an object on a condition, which `write` sends along; `open` asks for what is there.
    pub(in crate::storage) async fn put_if<Write, Writing, Open, Opening>(
        &self,
        key: &str,
        body: &Bytes,
        condition: &Condition,
        write: Write,
        open: Open,
    ) -> Result<Written, StoreError>
    where
        Write: FnMut() -> Writing,
        Writing: Future<Output = Result<String, Failure>>,
        Open: Fn() -> Opening,
        Opening: Future<Output = Result<Opened, Failure>>,
    {
        let act = "write an object on a condition";
        let outcome = self.send(act, self.policy.upload_limit(body.len()), write).await;
        match &outcome.result {
            Err(failure) if failure.kind == Kind::ConditionFailed => {}
            // An object that is gone matches no ETag.
            Err(failure) if failure.kind == Kind::NoKey && matches!(condition, Condition::Matches(_)) => {}
            _ => return Ok(Written::Yes(self.settle(outcome, act, key)?)),
        }
        if !outcome.doubtful {
            return Ok(Written::Refused);
        }
        // An attempt whose answer was lost may be what stands in the way now.
        match self.settle(self.fetch(body.len() as u64, open).await, GET, key) {
            Ok((found, etag)) if found == *body => Ok(Written::Yes(etag)),
            Ok(_) | Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => Ok(Written::Refused),
            Err(error) => Err(error),
        }
    }

    /// Removes objects one by one; `remove` asks for one, and may say that it is not there.
    pub(in crate::storage) async fn delete<'k, Remove, Removing>(
        &self,
        keys: &'k [String],
        remove: Remove,
    ) -> Result<(), StoreError>
    where
        Remove: Fn(&'k str) -> Removing,
        Removing: Future<Output = Result<(), Failure>>,
    {
        let remove = &remove;
        let gone = |at: usize| async move {
            let key = keys[at].as_str();
            let gone = self.control("delete an object", key, || remove(key)).await;
            match gone {
                Err(StoreError::NotFound { .. }) => Ok(()),
                other => other,
            }
        };
        futures::stream::iter(0..keys.len()).map(gone).buffer_unordered(DELETIONS).try_collect().await
    }

    /// All multipart writes below a prefix; `page` asks for those behind a mark.
    pub(in crate::storage) async fn uploads<Ask, Asking>(
        &self,
        prefix: &str,
        page: Ask,
    ) -> Result<Vec<Upload>, StoreError>
    where
        Ask: Fn(Option<Mark>) -> Asking,
        Asking: Future<Output = Result<UploadPage, Failure>>,
    {
        let mut found = Vec::new();
        let mut mark = None;
        loop {
            let listed = self.control("list multipart writes", "", || page(mark.clone())).await?;
            found.extend(listed.uploads.into_iter().filter(|upload| upload.key.starts_with(prefix)));
            // The second half catches services that say there is more and do not move on.
            if listed.next.is_none() || listed.next == mark {
                return Ok(found);
            }
            mark = listed.next;
        }
    }

    /// What a service says to a copied part that copies any object by one request.
    pub(in crate::storage) fn copies_whole(&self, from: &ObjectRef) -> StoreError {
        let cause = "a copy is one request of any size here".to_owned();
        let act = format!("copy a part of {}", from.key);
        StoreError::Rejected { place: self.place.to_string(), act, cause }
    }
}
