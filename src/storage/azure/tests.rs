use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::storage::script::{Reply, Script};
use crate::storage::{Condition, ObjectRef, Store, Written};

/// "very-secret"
const KEY: &str = "dmVyeS1zZWNyZXQ=";

fn config(keys: Keys) -> AzureConfig {
    AzureConfig { endpoint: "https://acc.blob.test".into(), container: "c".into(), keys, ca_pem: None }
}

fn given() -> Keys {
    Keys::Static { access_key: "acc".into(), secret_key: KEY.into(), session_token: None }
}

fn open(script: &Script) -> AzureStore {
    AzureStore::open_over(config(given()), script.connector()).unwrap()
}

fn error(status: u16, code: &'static str, more: &[(&'static str, &'static str)]) -> Reply {
    let mut headers = vec![("x-ms-error-code", code)];
    headers.extend(more);
    Reply::Answer(status, headers, "")
}

fn written() -> Reply {
    Reply::Answer(201, vec![("etag", "\"0x1\"")], "")
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_is_asked_again_when_it_says_so() {
    let script = Script::new([error(503, "ServerBusy", &[("retry-after", "9")]), written()]);
    let (store, started) = (open(&script), Instant::now());
    assert_eq!(store.put("a", Bytes::from_static(b"x")).await.unwrap(), "0x1");
    assert_eq!(started.elapsed(), Duration::from_secs(9));
    assert_eq!((store.traffic().requests, store.traffic().throttled), (2, 1));
}

#[tokio::test]
async fn a_refusal_is_never_tried_again_and_shows_no_key() {
    let script = Script::new([error(403, "AuthorizationPermissionMismatch", &[])]);
    let store = open(&script);
    let error = store.list_page("", None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { code, .. } if code.contains("Permission")), "{error}");
    assert_eq!(store.traffic().requests, 1);
    let shown = format!("{error} {store:?} {:?}", config(given()));
    assert!(!shown.contains("very") && !shown.contains(KEY), "{shown}");
}

#[tokio::test]
async fn keys_are_read_again_when_they_are_refused_and_have_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("account"), "acc\n").unwrap();
    std::fs::write(file("key"), "b2xk\n").unwrap();
    let keys = Keys::Files { access_key: file("account"), secret_key: file("key"), session_token: None };
    let refused = || error(403, "AuthenticationFailed", &[]);
    let script = Script::new([written(), refused(), written(), refused()]);
    let store = AzureStore::open_over(config(keys), script.connector()).unwrap();
    store.put("a", Bytes::new()).await.unwrap();
    std::fs::write(file("key"), KEY).unwrap();
    store.put("a", Bytes::new()).await.unwrap();
    assert!(matches!(store.put("a", Bytes::new()).await, Err(StoreError::Denied { .. })));
    assert_eq!(script.asked().len(), 4);
    std::fs::remove_file(file("key")).unwrap();
    let lost = AzureStore::open(config(Keys::Files {
        access_key: file("account"),
        secret_key: file("key"),
        session_token: None,
    }));
    let said = lost.unwrap().get("a").await.unwrap_err();
    assert!(matches!(&said, StoreError::Setup(said) if said.contains("key")), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_whose_answer_was_lost_is_looked_at() {
    let exists = || error(409, "BlobAlreadyExists", &[]);
    for (there, expected) in [("mine", Written::Yes("0x2".into())), ("another's", Written::Refused)] {
        let found = Reply::Answer(200, vec![("etag", "\"0x2\"")], there);
        let script = Script::new([Reply::Lost, exists(), found]);
        let done = open(&script).put_if("lock", Bytes::from_static(b"mine"), Condition::Absent).await.unwrap();
        assert_eq!(done, expected);
    }
    let script = Script::new([exists()]);
    let done = open(&script).put_if("lock", Bytes::new(), Condition::Absent).await.unwrap();
    assert_eq!((done, script.asked().len()), (Written::Refused, 1));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_goes_on_is_waited_for() {
    let state = |status: &'static str| Reply::Answer(200, vec![("x-ms-copy-status", status), ("etag", "\"0x3\"")], "");
    let begun = Reply::Answer(202, vec![("x-ms-copy-status", "pending"), ("x-ms-copy-id", "id")], "");
    let script = Script::new([begun, state("pending"), state("success")]);
    let from = ObjectRef { bucket: "other".into(), key: "a b".into(), etag: Some("0x1".into()) };
    assert_eq!(open(&script).copy(&from, "b").await.unwrap(), "0x3");
    assert_eq!(script.asked()[1], "HEAD https://acc.blob.test/c/b");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_does_not_end_is_stopped_and_one_that_fails_is_told() {
    let begun = || Reply::Answer(202, vec![("x-ms-copy-status", "pending"), ("x-ms-copy-id", "id")], "");
    let pending = || Reply::Answer(200, vec![("x-ms-copy-status", "pending")], "");
    let replies = [begun(), pending(), pending(), Reply::Answer(204, vec![], "")];
    let policy = RetryPolicy { tries: 1, copy_limit: Duration::from_millis(250), ..RetryPolicy::default() };
    let script = Script::new(replies);
    let error = open(&script).with_retry(policy).copy(&ObjectRef::default(), "b").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(script.asked()[3].ends_with("/c/b?comp=copy&copyid=id"), "{:?}", script.asked());
    let failed = Reply::Answer(
        200,
        vec![("x-ms-copy-status", "failed"), ("x-ms-copy-status-description", "500 InternalServerError")],
        "",
    );
    let error = open(&Script::new([begun(), failed])).copy(&ObjectRef::default(), "b").await.unwrap_err();
    assert!(matches!(&error, StoreError::Rejected { cause, .. } if cause.contains("500")), "{error}");
}

#[tokio::test]
async fn a_copy_of_another_version_is_replaced_and_of_nothing_is_not_found() {
    let from = ObjectRef { bucket: "other".into(), key: "a".into(), etag: Some("0x1".into()) };
    let store =
        open(&Script::new([error(412, "SourceConditionNotMet", &[]), error(404, "CannotVerifyCopySource", &[])]));
    assert!(matches!(store.copy(&from, "b").await, Err(StoreError::Replaced { .. })));
    let missing = store.copy(&from, "b").await.unwrap_err();
    assert!(missing.to_string().contains("bucket other"), "{missing}");
}

#[test]
fn an_account_is_the_host_or_the_path_and_nothing_else() {
    let of = |endpoint: &str| address(endpoint).map(|(base, root)| format!("{base}|{root}"));
    assert_eq!(of("https://acc.blob.core.windows.net").unwrap(), "https://acc.blob.core.windows.net:443|");
    assert_eq!(of("http://127.0.0.1:10000/devstoreaccount1/").unwrap(), "http://127.0.0.1:10000|/devstoreaccount1");
    for bad in ["acc.blob.core.windows.net", "https://h/acc/container", "https://h/acc?sv=token", "https://u:pw@h/acc"]
    {
        let error = of(bad).unwrap_err().to_string();
        assert!(!error.contains("token") && !error.contains("pw"), "{error}");
    }
}

#[test]
fn a_key_that_is_none_is_refused_without_showing_it() {
    let keys = Keys::Static { access_key: "acc".into(), secret_key: "hunter2!".into(), session_token: None };
    let error = AzureStore::open_over(config(keys), Script::default().connector()).unwrap_err().to_string();
    assert!(error.contains("base64") && !error.contains("hunter"), "{error}");
}

#[test]
fn what_an_error_means_is_told_by_its_code_before_its_status() {
    let kind = |status, code| answered_failure(status, Some(code), None).kind;
    for (status, code) in [(503, "ServerBusy"), (500, "OperationTimedOut"), (409, "PendingCopyOperation"), (429, "x")] {
        assert_eq!(kind(status, code), Kind::Passing, "{code}");
    }
    assert!(answered_failure(503, Some("ServerBusy"), None).throttles());
    assert!(answered_failure(403, Some("AuthenticationFailed"), None).doubts_keys());
    assert!(!answered_failure(403, Some("AuthorizationFailure"), None).doubts_keys());
    assert_eq!(kind(404, "ContainerNotFound"), Kind::NoBucket);
    assert_eq!(kind(404, "BlobNotFound"), Kind::NoKey);
    assert_eq!(kind(409, "BlobAlreadyExists"), Kind::ConditionFailed);
    // Somebody holds a lease of the blob: no condition of ours.
    assert_eq!(kind(412, "LeaseIdMissing"), Kind::Rejected);
    assert_eq!(kind(416, "InvalidRange"), Kind::BehindEnd);
}
