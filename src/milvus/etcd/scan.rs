//! All keys below a prefix as they were at one moment, page by page, within bounds of memory and pages.

use std::future::Future;

use crate::milvus::proto::etcd::{KeyValue, RangeRequest, RangeResponse};

/// Keys of one page.
pub(super) const PAGE: i64 = 100;
/// Of one prefix. Milvus keeps one key for each index and each field of a collection, some hundreds at most.
const MOST_PAGES: usize = 200;
/// Keys and values of one prefix together.
const MOST_BYTES: usize = 32 << 20;

/// Why there is not all of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfinished<E> {
    /// A page could not be had.
    Asked(E),
    /// It does not end within this.
    TooMuch(&'static str),
    /// The pages do not fit together.
    Senseless(&'static str),
}

/// Reads every key that begins with `prefix`, in order. The first answer fixes the revision of the others, so that what is
/// written meanwhile is neither half there nor there twice.
pub(super) async fn below<A, F, E>(prefix: &str, mut ask: A) -> Result<Vec<KeyValue>, Unfinished<E>>
where
    A: FnMut(RangeRequest) -> F,
    F: Future<Output = Result<RangeResponse, E>>,
{
    let range_end = end_of(prefix);
    let (mut all, mut bytes) = (Vec::<KeyValue>::new(), 0);
    let mut request = RangeRequest { key: prefix.as_bytes().to_vec(), range_end, limit: PAGE, revision: 0 };
    for _ in 0..MOST_PAGES {
        let RangeResponse { header, kvs, more } = ask(request.clone()).await.map_err(Unfinished::Asked)?;
        let before = all.len();
        for found in kvs {
            if !found.key.starts_with(prefix.as_bytes()) {
                return Err(Unfinished::Senseless("a key that was not asked for"));
            }
            if all.last().is_some_and(|last| last.key >= found.key) {
                return Err(Unfinished::Senseless("keys out of order"));
            }
            bytes += found.key.len() + found.value.len();
            if bytes > MOST_BYTES {
                return Err(Unfinished::TooMuch("32 MiB"));
            }
            all.push(found);
        }
        if !more {
            return Ok(all);
        }
        let Some(last) = all.get(before..).and_then(<[KeyValue]>::last) else {
            return Err(Unfinished::Senseless("an empty page with more to follow"));
        };
        request.key = [last.key.as_slice(), &[0]].concat();
        if request.revision == 0 {
            request.revision = header.map_or(0, |header| header.revision);
        }
        if request.revision <= 0 {
            return Err(Unfinished::Senseless("a page without its revision"));
        }
    }
    Err(Unfinished::TooMuch("20000 keys"))
}

/// The first key behind all that begin with `prefix`; prefixes here end with a slash.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // No byte of UTF-8 is 255.
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;
    use crate::milvus::proto::etcd::ResponseHeader;
    use proptest::prelude::*;

    const PREFIX: &str = "by-dev/meta/field-index/7/";

    type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

    /// What etcd answers.
    fn page(keys: &Keys, asked: &RangeRequest, revision: i64) -> RangeResponse {
        let found: Vec<KeyValue> = keys
            .range(asked.key.clone()..asked.range_end.clone())
            .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() })
            .collect();
        let limit = usize::try_from(asked.limit).unwrap();
        let more = found.len() > limit;
        let kvs = found.into_iter().take(limit).collect();
        RangeResponse { header: Some(ResponseHeader { revision }), kvs, more }
    }

    fn keys(count: usize) -> Keys {
        (0..count).map(|i| (format!("{PREFIX}{i:05}").into_bytes(), vec![i as u8])).collect()
    }

    async fn read(keys: &Keys) -> Result<Vec<KeyValue>, Unfinished<()>> {
        below(PREFIX, |asked| async move { Ok(page(keys, &asked, 5)) }).await
    }

    #[tokio::test]
    async fn pages_follow_each_other_at_the_revision_of_the_first() {
        let (keys, asked) = (keys(250), RefCell::new(Vec::new()));
        let all = below::<_, _, ()>(PREFIX, |request| {
            let revision = 41 + asked.borrow().len() as i64;
            let answer = page(&keys, &request, revision);
            asked.borrow_mut().push(request.revision);
            async move { Ok(answer) }
        })
        .await
        .unwrap();
        assert_eq!(all.len(), 250);
        assert_eq!(asked.into_inner(), [0, 41, 41]);
    }

    #[tokio::test]
    async fn neighbours_of_the_prefix_are_left_alone() {
        let mut keys = keys(2);
        keys.insert(b"by-dev/meta/field-index/70/1".to_vec(), vec![]);
        keys.insert(b"by-dev/meta/field-index/6/1".to_vec(), vec![]);
        assert_eq!(read(&keys).await.unwrap().len(), 2);
        assert_eq!(read(&Keys::new()).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_prefix_that_does_not_end_is_given_up() {
        assert_eq!(read(&keys(20_001)).await, Err(Unfinished::TooMuch("20000 keys")));
        let large: Keys = keys(40).into_keys().map(|key| (key, vec![0; 1 << 20])).collect();
        assert_eq!(read(&large).await, Err(Unfinished::TooMuch("32 MiB")));
    }

    #[tokio::test]
    async fn a_server_that_gives_the_same_page_for_ever_is_given_up() {
        let (first, pages) = (
            page(
                &keys(101),
                &RangeRequest { key: PREFIX.into(), range_end: end_of(PREFIX), limit: 100, revision: 0 },
                5,
            ),
            Cell::new(0),
        );
        let again = below::<_, _, ()>(PREFIX, |_| {
            pages.set(pages.get() + 1);
            let answer = first.clone();
            async move { Ok(answer) }
        });
        assert_eq!(again.await, Err(Unfinished::Senseless("keys out of order")));
        assert_eq!(pages.get(), 2);
    }

    #[tokio::test]
    async fn pages_that_do_not_fit_together_are_refused() {
        let one = |key: &str| vec![KeyValue { key: key.into(), value: vec![] }];
        let header = Some(ResponseHeader { revision: 5 });
        for (answer, why) in [
            (RangeResponse { header, kvs: vec![], more: true }, "an empty page with more to follow"),
            (
                RangeResponse { header: None, kvs: one("by-dev/meta/field-index/7/1"), more: true },
                "a page without its revision",
            ),
            (RangeResponse { header, kvs: one("elsewhere/1"), more: false }, "a key that was not asked for"),
        ] {
            let read = below::<_, _, ()>(PREFIX, |_| {
                let answer = answer.clone();
                async move { Ok(answer) }
            });
            assert_eq!(read.await, Err(Unfinished::Senseless(why)));
        }
    }

    #[tokio::test]
    async fn a_page_that_fails_ends_it() {
        let failed = below(PREFIX, |_| async { Err("away") });
        assert_eq!(failed.await, Err(Unfinished::Asked("away")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever keys there are, those below the prefix are read once each and in order.
        #[test]
        fn every_key_is_read_once(tails in proptest::collection::btree_set("[0-9/a-z]{0,6}", 0..400), others in proptest::collection::vec("[a-z/0-9-]{1,30}", 0..20)) {
            let keys: Keys = tails.iter().map(|tail| format!("{PREFIX}{tail}")).chain(others).map(|key| (key.into_bytes(), vec![1])).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read: Vec<Vec<u8>> = runtime.block_on(read(&keys)).unwrap().into_iter().map(|found| found.key).collect();
            let expected: Vec<Vec<u8>> = keys.into_keys().filter(|key| key.starts_with(PREFIX.as_bytes())).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
