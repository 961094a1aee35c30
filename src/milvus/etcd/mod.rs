//! What Milvus keeps in its etcd and tells nobody: index definitions as they are stored, and the hidden field of a collection
//! with undeclared keys. It is Milvus' own metadata, whose keys and messages are no contract: read only what is needed.
//!
//! Owns the reading of `{rootPath}/meta/...`: keys, messages, pages, endpoints. Plain TCP and no login, as the Go tool has it
//! (milvus-backup.md 2.8). Must never write, and must never know about backups.

mod error;
mod member;
mod scan;
mod stored;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

pub use error::EtcdError;
pub use stored::{StoredIndex, field, field_index};

use super::proto::etcd::{KeyValue, RangeRequest, RangeResponse};
use super::proto::schema::FieldSchema;
use member::{Member, Refusal};
use scan::Unfinished;

/// For all pages of one prefix.
const SCAN_DEADLINE: Duration = Duration::from_secs(60);
/// How often a prefix is begun again because its revision was compacted away meanwhile.
const COMPACTIONS: usize = 3;

/// The etcd of a Milvus.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    /// `{rootPath}/meta/`.
    root: String,
    /// The member that answered last.
    current: AtomicUsize,
}

impl Etcd {
    /// Finds an endpoint that answers, and sees that Milvus keeps something below `root_path`. Endpoints are `host:port`, and
    /// are tried in turn, now and whenever one stops to answer.
    ///
    /// # Errors
    /// An endpoint that is none; no endpoint that answers; nothing below the root.
    pub async fn open(endpoints: &[String], root_path: &str) -> Result<Etcd, EtcdError> {
        if endpoints.is_empty() {
            return Err(EtcdError::Setup { endpoint: String::new(), cause: "none is given".to_owned() });
        }
        let members = endpoints.iter().map(|endpoint| Member::at(endpoint)).collect::<Result<_, _>>()?;
        let root = match root_path.trim_end_matches('/') {
            "" => "meta/".to_owned(),
            root => format!("{root}/meta/"),
        };
        let etcd = Etcd { members, root, current: AtomicUsize::new(0) };
        let any = RangeRequest {
            key: etcd.root.clone().into_bytes(),
            range_end: scan::end_of(&etcd.root),
            limit: 1,
            revision: 0,
        };
        match etcd.ask(&etcd.root, any).await {
            Ok(found) if found.kvs.is_empty() => Err(EtcdError::Empty { endpoint: etcd.endpoint(), prefix: etcd.root }),
            Ok(_) => Ok(etcd),
            Err(refused) => Err(etcd.failed(refused, &etcd.root)),
        }
    }

    /// `host:port` that answered last.
    pub fn endpoint(&self) -> String {
        self.members.get(self.current.load(Ordering::Relaxed)).map(|member| member.name.clone()).unwrap_or_default()
    }

    /// Where the indexes of a collection are.
    pub fn index_prefix(&self, collection_id: i64) -> String {
        format!("{}field-index/{collection_id}/", self.root)
    }

    /// Where the fields of a collection are.
    pub fn field_prefix(&self, collection_id: i64) -> String {
        format!("{}root-coord/fields/{collection_id}/", self.root)
    }

    /// The indexes of a collection that are not dropped.
    ///
    /// # Errors
    /// A value that is no definition of this collection; the connection's.
    pub async fn indexes(&self, collection_id: i64) -> Result<Vec<StoredIndex>, EtcdError> {
        let prefix = self.index_prefix(collection_id);
        let mut indexes = Vec::new();
        for found in self.below(&prefix).await? {
            match field_index(&found.value) {
                Ok(None) => {}
                Ok(Some(index)) if index.collection_id == collection_id => indexes.push(index),
                Ok(Some(index)) => {
                    let cause = format!("it is of collection {}", index.collection_id);
                    return Err(self.malformed(&found, cause));
                }
                Err(cause) => return Err(self.malformed(&found, cause)),
            }
        }
        Ok(indexes)
    }

    /// The hidden field of a collection that takes undeclared keys; none where etcd has none. What is no field is passed over,
    /// as Milvus does when it starts.
    ///
    /// # Errors
    /// The connection's.
    pub async fn dynamic_field(&self, collection_id: i64) -> Result<Option<FieldSchema>, EtcdError> {
        let prefix = self.field_prefix(collection_id);
        let mut dynamic: Option<FieldSchema> = None;
        for found in self.below(&prefix).await? {
            let key = String::from_utf8_lossy(&found.key);
            match field(&found.value) {
                Ok(Some(field)) if field.is_dynamic => match &dynamic {
                    None => dynamic = Some(field),
                    Some(first) => tracing::warn!(%key, "a second dynamic field beside {} is passed over", first.name),
                },
                Ok(_) => {}
                Err(cause) => tracing::warn!(%key, "passed over: {cause}"),
            }
        }
        Ok(dynamic)
    }

    /// All keys below a prefix as of one revision.
    async fn below(&self, prefix: &str) -> Result<Vec<KeyValue>, EtcdError> {
        let scan = async {
            for _ in 0..COMPACTIONS {
                match scan::below(prefix, |request| self.ask(prefix, request)).await {
                    Ok(found) => return Ok(found),
                    Err(Unfinished::Asked(Refusal::Compacted)) => {}
                    Err(Unfinished::Asked(refused)) => return Err(self.failed(refused, prefix)),
                    Err(Unfinished::TooMuch(bound)) => return Err(self.too_much(prefix, bound)),
                    Err(Unfinished::Senseless(cause)) => {
                        let what = format!("an answer about keys below {prefix}");
                        return Err(EtcdError::Malformed { endpoint: self.endpoint(), what, cause: cause.to_owned() });
                    }
                }
            }
            Err(self.failed(Refusal::Compacted, prefix))
        };
        tokio::time::timeout(SCAN_DEADLINE, scan).await.unwrap_or_else(|_| {
            let (endpoint, seconds) = (self.endpoint(), SCAN_DEADLINE.as_secs());
            Err(EtcdError::TimedOut { endpoint, prefix: prefix.to_owned(), seconds })
        })
    }

    /// One page. Endpoints that do not answer are passed over; where none does, all of them are tried again, for some seconds:
    /// a member that restarts and one that elects a leader are back by then.
    async fn ask(&self, prefix: &str, request: RangeRequest) -> Result<RangeResponse, Refusal> {
        let rounds = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(2))
            .with_jitter()
            .with_max_times(4);
        let round = || self.round(&request);
        round
            .retry(rounds)
            .when(|refused| matches!(refused, Refusal::Away(_)))
            .notify(|_, pause| tracing::debug!(prefix, ?pause, "etcd is asked again"))
            .await
    }

    async fn round(&self, request: &RangeRequest) -> Result<RangeResponse, Refusal> {
        let first = self.current.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        for step in 0..self.members.len() {
            let place = (first + step) % self.members.len();
            let member = &self.members[place];
            match member.range(request.clone()).await {
                Err(Refusal::Away(cause)) => tried.push(format!("{}: {cause}", member.name)),
                settled => {
                    self.current.store(place, Ordering::Relaxed);
                    return settled;
                }
            }
        }
        Err(Refusal::Away(tried.join("; ")))
    }

    fn failed(&self, refused: Refusal, prefix: &str) -> EtcdError {
        let (endpoint, prefix) = (self.endpoint(), prefix.to_owned());
        match refused {
            Refusal::Away(tried) => EtcdError::Unreachable { prefix, tried },
            Refusal::No(cause) => EtcdError::Refused { endpoint, prefix, cause },
            Refusal::Compacted => EtcdError::Compacted { endpoint, prefix },
            Refusal::TooLarge => self.too_much(&prefix, "32 MiB in one page"),
        }
    }

    fn too_much(&self, prefix: &str, bound: &'static str) -> EtcdError {
        EtcdError::TooMuch { endpoint: self.endpoint(), prefix: prefix.to_owned(), bound }
    }

    fn malformed(&self, found: &KeyValue, cause: String) -> EtcdError {
        let what = format!("key {}", String::from_utf8_lossy(&found.key));
        EtcdError::Malformed { endpoint: self.endpoint(), what, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Class;

    #[tokio::test]
    async fn keys_are_where_milvus_keeps_them() {
        let at = |root: &str| Etcd { members: Vec::new(), root: root.to_owned(), current: AtomicUsize::new(0) };
        assert_eq!(at("by-dev/meta/").index_prefix(7), "by-dev/meta/field-index/7/");
        assert_eq!(at("by-dev/meta/").field_prefix(7), "by-dev/meta/root-coord/fields/7/");
    }

    #[tokio::test]
    async fn without_an_endpoint_nothing_is_tried() {
        let error = Etcd::open(&[], "by-dev").await.unwrap_err();
        assert_eq!((error.class(), error.reason()), (Class::Configuration, "InvalidConnection"));
        assert!(error.to_string().contains("milvus.etcd.endpoints takes host:port"), "{error}");
    }

    #[tokio::test]
    async fn endpoints_that_are_away_are_all_named_and_another_attempt_is_worth_it() {
        let error = Etcd::open(&["127.0.0.1:1".into(), "127.0.0.1:2".into()], "by-dev/").await.unwrap_err();
        assert_eq!((error.class(), error.reason()), (Class::Retry, "EtcdUnreachable"));
        let said = error.to_string();
        for words in ["127.0.0.1:1: ", "127.0.0.1:2: ", "below by-dev/meta/ ", "milvus.etcd.endpoints"] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
}
