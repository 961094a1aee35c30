use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::storage::script::{Reply, Script};
use crate::storage::{Condition, ObjectRef, Part, Store, Upload, Written};

fn open(script: &Script) -> GcsStore {
    let config = GcsConfig { endpoint: None, bucket: "b".into(), login: GcsLogin::Anonymous, ca_pem: None };
    GcsStore::open_over(config, script.connector()).unwrap()
}

fn answer(status: u16, body: &'static str) -> Reply {
    Reply::Answer(status, vec![], body)
}

const WRITTEN: &str = r#"{"generation": "7"}"#;

#[tokio::test(start_paused = true)]
async fn a_throttling_service_is_asked_again_when_it_says_so() {
    let script = Script::new([Reply::Answer(429, vec![("retry-after", "9")], ""), answer(200, WRITTEN)]);
    let (store, started) = (open(&script), Instant::now());
    assert_eq!(store.put("a", Bytes::from_static(b"x")).await.unwrap(), "7");
    assert_eq!((started.elapsed(), store.traffic().throttled), (Duration::from_secs(9), 1));
}

#[tokio::test]
async fn a_refusal_is_never_tried_again() {
    let script = Script::new([answer(403, r#"{"error": {"message": "no", "errors": [{"reason": "forbidden"}]}}"#)]);
    let store = open(&script);
    let error = store.list_page("", None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { code, .. } if code == "forbidden"), "{error}");
    assert_eq!(store.traffic().requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_whose_answer_was_lost_is_looked_at() {
    for (there, expected) in [("mine", Written::Yes("8".into())), ("another's", Written::Refused)] {
        let found = Reply::Answer(200, vec![("x-goog-generation", "8")], there);
        let script = Script::new([Reply::Lost, answer(412, ""), found]);
        let done = open(&script).put_if("lock", Bytes::from_static(b"mine"), Condition::Absent).await.unwrap();
        assert_eq!(done, expected);
        assert!(script.asked()[0].contains("ifGenerationMatch=0"), "{:?}", script.asked());
    }
}

#[tokio::test]
async fn a_long_copy_goes_on_where_the_service_left_off_and_of_one_version_only() {
    let script = Script::new([
        answer(200, r#"{"done": false, "rewriteToken": "next"}"#),
        answer(200, r#"{"done": true, "resource": {"generation": "9"}}"#),
        answer(412, ""),
    ]);
    let from = ObjectRef { bucket: "other".into(), key: "a/b c".into(), etag: Some("5".into()) };
    let store = open(&script);
    assert_eq!(store.copy(&from, "to").await.unwrap(), "9");
    let asked = script.asked();
    let path = "POST https://storage.googleapis.com/storage/v1/b/other/o/a%2Fb%20c/rewriteTo/b/b/o/to";
    assert_eq!(asked[0], format!("{path}?ifSourceGenerationMatch=5"));
    assert_eq!(asked[1], format!("{path}?ifSourceGenerationMatch=5&rewriteToken=next"));
    assert!(matches!(store.copy(&from, "to").await, Err(StoreError::Replaced { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_write_in_parts_whose_last_answer_was_lost_is_looked_for() {
    let gone = "<Error><Code>NoSuchUpload</Code></Error>";
    let script = Script::new([Reply::Lost, answer(404, gone), answer(200, WRITTEN), answer(404, gone)]);
    let upload = Upload { key: "a".into(), id: "u".into() };
    let (store, parts) = (open(&script), vec![Part { number: 1, etag: "e".into() }]);
    assert_eq!(store.finish_upload(&upload, parts.clone()).await.unwrap(), "7");
    assert!(matches!(store.finish_upload(&upload, parts).await, Err(StoreError::Rejected { .. })));
}
