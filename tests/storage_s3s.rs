//! The S3 store against an S3 service in this process, and against answers that a good service rarely gives.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::config::SharedHttpClient;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use milvus_backup_operator::storage::contract::{self, Fixture, Promise};
use milvus_backup_operator::storage::memory::MemoryService;
use milvus_backup_operator::storage::{
    Checksums, Condition, Keys, ObjectMeta, ObjectRef, Part, RetryPolicy, S3Config, S3Store, Store, StoreError,
    TransferOptions, Upload, Written, transfer,
};
use proptest::prelude::*;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::sync::Notify;

const ACCESS_KEY: &str = "AKEXAMPLE";
const SECRET_KEY: &str = "secret-example";

fn config(bucket: &str, secret_key: &str) -> S3Config {
    S3Config {
        endpoint: Some("http://s3.test:80".into()),
        region: "us-east-1".into(),
        bucket: bucket.into(),
        path_style: true,
        keys: Keys::Static { access_key: ACCESS_KEY.into(), secret_key: secret_key.into(), session_token: None },
        ca_pem: None,
        checksums: Checksums::default(),
    }
}

fn fast() -> RetryPolicy {
    RetryPolicy {
        tries: 4,
        first_delay: Duration::from_millis(1),
        longest_delay: Duration::from_millis(1),
        control_limit: Duration::from_secs(20),
        ..RetryPolicy::default()
    }
}

/// Two buckets, kept as files.
fn service() -> (TempDir, S3Service) {
    let folder = tempfile::tempdir().unwrap();
    for bucket in ["first", "second"] {
        std::fs::create_dir(folder.path().join(bucket)).unwrap();
    }
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    (folder, builder.build())
}

async fn open(service: &S3Service, bucket: &str) -> S3Store {
    open_over(s3s_aws::Client::from(service.clone()), bucket).await
}

async fn open_over(transport: impl HttpClient + 'static, bucket: &str) -> S3Store {
    let config = config(bucket, SECRET_KEY);
    let store = S3Store::open_over(config, SharedHttpClient::new(transport)).await;
    store.unwrap().with_retry(fast())
}

/// It keeps objects as files, so a name cannot be a file and a folder; its listings carry no ETags; it cannot list
/// multipart writes and does not know the ones that are gone; it does not look at the bucket before the object.
const MISSING: &[Promise] = &[
    Promise::ListedMeta,
    Promise::ByteOrder,
    Promise::CompletePaging,
    Promise::NameAndBelow,
    Promise::AbortUnknown,
    Promise::ListUploads,
    Promise::BucketNotFound,
];

#[tokio::test]
async fn a_service_in_process_keeps_its_promises_and_is_never_asked_for_heads() {
    let (_folder, service) = service();
    let wire = Script::new(&service);
    let first = open_over(wire.clone(), "first").await;
    let (second, nowhere) = (open(&service, "second").await, open(&service, "nowhere").await);
    let foreign = MemoryService::new("elsewhere").bucket("b");
    let fixture = Fixture {
        store: &first,
        twin: &second,
        foreign: &foreign,
        absent: Some(&nowhere),
        prefix: "contract".into(),
        smallest_part: 5 << 20,
    };
    if let Err(broken) = contract::prove(&fixture, MISSING).await {
        panic!("{broken}");
    }
    let sent = wire.sent.lock().unwrap();
    assert!(sent.len() > 1000 && sent.iter().all(|sent| sent.method != "HEAD"));
}

#[tokio::test]
async fn a_wrong_secret_is_denied_at_once_and_not_shown() {
    let (_folder, service) = service();
    let transport = SharedHttpClient::new(s3s_aws::Client::from(service));
    let store = S3Store::open_over(config("first", "another-secret"), transport).await.unwrap();
    let error = store.list_page("", None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { code, .. } if code == "SignatureDoesNotMatch"), "{error}");
    assert!(!format!("{error} {error:?} {store:?}").contains("another-secret"));
    assert_eq!(store.traffic().requests, 1);
}

/// What the wire does to a request.
#[derive(Debug, Clone)]
enum Wire {
    /// It reaches the service and the answer comes back.
    Pass,
    /// It never arrives: this answer comes instead.
    Answer(u16, &'static str),
    /// It never arrives: the connection breaks.
    Break,
    /// It arrives and is carried out; the answer is lost.
    Lose,
    /// The connection breaks after so many bytes of the answer's body.
    Cut(usize),
    /// As `Cut`, when the test has opened the gate.
    CutAt(usize, Arc<Gate>),
    /// Nothing comes any more after so many bytes of the answer's body.
    Stall(usize),
}

/// Where a body waits for a test.
#[derive(Debug, Default)]
struct Gate {
    reached: Notify,
    go: Notify,
}

/// A wire to the service with a script of mishaps; after the script everything passes. Keeps what was sent.
#[derive(Debug, Clone)]
struct Script {
    service: SharedHttpConnector,
    script: Arc<Mutex<VecDeque<Wire>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

#[derive(Debug, Clone)]
struct Sent {
    method: String,
    uri: String,
    range: Option<String>,
    content_md5: Option<String>,
    checksum: bool,
}

impl Script {
    fn new(service: &S3Service) -> Script {
        let service = SharedHttpConnector::new(s3s_aws::Connector::from(service.clone()));
        Script { service, script: Arc::default(), sent: Arc::default() }
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.sent.lock().unwrap().push(Sent {
            method: request.method().into(),
            uri: request.uri().into(),
            range: request.headers().get("range").map(str::to_owned),
            content_md5: request.headers().get("content-md5").map(str::to_owned),
            checksum: request
                .headers()
                .iter()
                .any(|(name, _)| name.starts_with("x-amz-checksum") || name == "x-amz-trailer"),
        });
        let broken = || ConnectorError::io(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        match self.script.lock().unwrap().pop_front().unwrap_or(Wire::Pass) {
            Wire::Pass => self.service.call(request),
            Wire::Answer(status, body) => {
                let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                HttpConnectorFuture::ready(Ok(answer))
            }
            Wire::Break => HttpConnectorFuture::ready(Err(broken())),
            Wire::Lose => {
                let done = self.service.call(request);
                HttpConnectorFuture::new(async move {
                    done.await?;
                    Err(broken())
                })
            }
            Wire::Cut(bytes) => maimed(self.service.call(request), bytes, std::future::ready(())),
            Wire::CutAt(bytes, gate) => maimed(self.service.call(request), bytes, async move {
                gate.reached.notify_one();
                gate.go.notified().await;
            }),
            Wire::Stall(bytes) => maimed(self.service.call(request), bytes, std::future::pending()),
        }
    }
}

/// The answer with its headers and the beginning of its body; the connection breaks when `then` has ended.
fn maimed(
    answer: HttpConnectorFuture,
    bytes: usize,
    then: impl Future<Output = ()> + Send + Sync + 'static,
) -> HttpConnectorFuture {
    HttpConnectorFuture::new(async move {
        let mut answer = answer.await?;
        let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
        let whole = ByteStream::new(body).collect().await.unwrap().into_bytes();
        let beginning = Full::new(whole.slice(..bytes.min(whole.len())));
        let beginning = beginning.map_err(|never| match never {});
        let end = async move {
            then.await;
            Some(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
        };
        *answer.body_mut() = SdkBody::from_body_1_x(BodyExt::boxed(beginning.with_trailers(Box::pin(end))));
        Ok(answer)
    })
}

impl HttpClient for Script {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A store whose wire can be scripted.
struct Lab {
    _folder: TempDir,
    wire: Script,
    store: S3Store,
}

impl Lab {
    async fn new() -> Lab {
        let (folder, service) = service();
        let wire = Script::new(&service);
        let store = open_over(wire.clone(), "first").await;
        Lab { _folder: folder, wire, store }
    }

    fn script(&self, mishaps: impl IntoIterator<Item = Wire>) {
        *self.wire.script.lock().unwrap() = mishaps.into_iter().collect();
        self.wire.sent.lock().unwrap().clear();
    }

    fn sent(&self) -> Vec<Sent> {
        self.wire.sent.lock().unwrap().clone()
    }
}

const SLOW_DOWN: Wire = Wire::Answer(503, "<Error><Code>SlowDown</Code><Message>Please slow down</Message></Error>");

#[tokio::test]
async fn throttling_and_broken_connections_are_overcome_and_counted() {
    let lab = Lab::new().await;
    lab.script([SLOW_DOWN, Wire::Break, Wire::Answer(500, "")]);
    lab.store.put("a", Bytes::from_static(b"x")).await.unwrap();
    let traffic = lab.store.traffic();
    assert_eq!((traffic.requests, traffic.retries, traffic.throttled), (4, 3, 1));
    assert_eq!(lab.store.get("a").await.unwrap(), "x");
}

#[tokio::test]
async fn throttling_without_end_is_unavailable_and_names_the_tries() {
    let lab = Lab::new().await;
    lab.script(vec![SLOW_DOWN; 20]);
    let error = lab.store.get("a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not read an object in bucket first at http://s3.test:80 after 4 tries: Please slow down (SlowDown)"
    );
    assert_eq!(lab.sent().len(), 4);
}

#[tokio::test]
async fn permission_errors_are_not_repeated() {
    for code in ["AccessDenied", "InvalidAccessKeyId"] {
        let lab = Lab::new().await;
        let answer: &'static str = format!("<Error><Code>{code}</Code><Message>no</Message></Error>").leak();
        lab.script([Wire::Answer(403, answer)]);
        let error = lab.store.put("a", Bytes::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        assert_eq!(lab.sent().len(), 1);
    }
}

#[tokio::test]
async fn a_copy_that_fails_after_a_good_beginning_has_failed() {
    let lab = Lab::new().await;
    lab.store.put("a", Bytes::from_static(b"x")).await.unwrap();
    let from = ObjectRef { bucket: "first".into(), key: "a".into(), ..ObjectRef::default() };
    let broken =
        Wire::Answer(200, "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>m</Message></Error>");
    lab.script(vec![broken.clone(); 4]);
    let error = lab.store.copy(&from, "b").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    lab.script([broken]);
    lab.store.copy(&from, "b").await.unwrap();
    assert_eq!(lab.sent().len(), 2);
}

#[tokio::test]
async fn a_copy_names_the_source_it_misses() {
    let lab = Lab::new().await;
    let from = ObjectRef { bucket: "second".into(), key: "none".into(), ..ObjectRef::default() };
    let error = lab.store.copy(&from, "b").await.unwrap_err();
    assert_eq!(error.to_string(), "object none does not exist in bucket second at http://s3.test:80");
}

#[tokio::test]
async fn a_conditional_write_whose_answer_was_lost_is_recognized() {
    let lab = Lab::new().await;
    lab.script([Wire::Lose]);
    let body = Bytes::from_static(b"mine");
    let written = lab.store.put_if("a", body, Condition::Absent).await.unwrap();
    let Written::Yes(etag) = written else { panic!("{written:?}") };
    assert_eq!(lab.sent().iter().map(|sent| sent.method.as_str()).collect::<Vec<_>>(), ["PUT", "PUT", "GET"]);
    let again = lab.store.put_if("a", Bytes::from_static(b"next"), Condition::Matches(etag)).await.unwrap();
    assert!(matches!(again, Written::Yes(_)), "{again:?}");
}

#[tokio::test]
async fn a_conditional_write_that_another_won_meanwhile_is_refused() {
    let lab = Lab::new().await;
    lab.store.put("a", Bytes::from_static(b"theirs")).await.unwrap();
    lab.script([Wire::Break]);
    let written = lab.store.put_if("a", Bytes::from_static(b"mine"), Condition::Absent).await.unwrap();
    assert_eq!(written, Written::Refused);
    lab.script([Wire::Answer(409, "<Error><Code>ConditionalRequestConflict</Code></Error>")]);
    let written = lab.store.put_if("a", Bytes::from_static(b"mine"), Condition::Absent).await.unwrap();
    assert_eq!((written, lab.sent().len()), (Written::Refused, 1));
}

#[tokio::test]
async fn a_multipart_write_whose_end_was_carried_out_unheard_is_finished() {
    let lab = Lab::new().await;
    let upload = Upload { key: "a".into(), id: "u1".into() };
    let gone = Wire::Answer(404, "<Error><Code>NoSuchUpload</Code></Error>");
    let listed =
        "<ListBucketResult><Contents><Key>a</Key><Size>1</Size><ETag>\"0123-1\"</ETag></Contents></ListBucketResult>";
    lab.script([Wire::Break, gone.clone(), Wire::Answer(200, listed)]);
    let part = || vec![Part { number: 1, etag: "e".into() }];
    assert_eq!(lab.store.finish_upload(&upload, part()).await.unwrap(), "0123-1");
    lab.script([gone]);
    let error = lab.store.finish_upload(&upload, part()).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
}

#[tokio::test]
async fn batches_that_fail_in_part_are_sent_again_and_denied_keys_are_named() {
    let lab = Lab::new().await;
    let keys = ["a".to_owned(), "b".to_owned()];
    let partly = |code: &str| -> Wire {
        let body =
            format!("<DeleteResult><Error><Key>b</Key><Code>{code}</Code><Message>m</Message></Error></DeleteResult>");
        Wire::Answer(200, body.leak())
    };
    lab.script([partly("InternalError")]);
    lab.store.delete(&keys).await.unwrap();
    assert_eq!(lab.sent().len(), 2);
    lab.script([partly("AccessDenied")]);
    let error = lab.store.delete(&keys).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
}

#[tokio::test]
async fn where_batches_are_unknown_objects_are_deleted_one_by_one() {
    let lab = Lab::new().await;
    for key in ["a", "b"] {
        lab.store.put(key, Bytes::new()).await.unwrap();
    }
    lab.script([Wire::Answer(501, "<Error><Code>NotImplemented</Code></Error>")]);
    lab.store.delete(&["a".to_owned(), "b".to_owned(), "none".to_owned()]).await.unwrap();
    assert_eq!(lab.store.list_page("", None).await.unwrap().objects, []);
}

#[tokio::test]
async fn a_listing_that_starts_again_from_the_beginning_is_an_error_and_no_endless_loop() {
    let lab = Lab::new().await;
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>";
    lab.script(vec![Wire::Answer(200, page); 2]);
    let error = milvus_backup_operator::storage::list_all(&lab.store, "").await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
}

#[tokio::test]
async fn folders_are_found_although_the_service_overlooks_the_delimiter() {
    let page = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a/b/1</Key><Size>1</Size></Contents>\
                <Contents><Key>a/b/2</Key><Size>1</Size></Contents><Contents><Key>a/c</Key><Size>1</Size></Contents>\
                <Contents><Key>a/d/e/3</Key><Size>1</Size></Contents></ListBucketResult>";
    let lab = Lab::new().await;
    lab.script([Wire::Answer(200, page)]);
    assert_eq!(lab.store.folders("a/").await.unwrap(), ["b", "d"]);
}

#[tokio::test]
async fn requests_carry_no_checksum_trailers_and_deletions_the_header_old_services_want() {
    let lab = Lab::new().await;
    lab.script([]);
    lab.store.put("a", Bytes::from_static(b"x")).await.unwrap();
    lab.store.delete(&["a".to_owned()]).await.unwrap();
    let sent = lab.sent();
    assert!(!sent[0].checksum, "{sent:?}");
    assert!(sent[1].content_md5.is_some(), "{sent:?}");
}

fn content(size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn ranges(sent: &[Sent]) -> Vec<&str> {
    sent.iter().filter_map(|sent| sent.range.as_deref()).collect()
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_where_it_broke() {
    let lab = Lab::new().await;
    let etag = lab.store.put("a", content(1000)).await.unwrap();
    lab.script([Wire::Cut(300), Wire::Break, Wire::Cut(200)]);
    assert_eq!(lab.store.read_range("a", Some(&etag), 0, 1000).await.unwrap(), content(1000));
    assert_eq!(ranges(&lab.sent()), ["bytes=0-999", "bytes=300-999", "bytes=300-999", "bytes=500-999"]);
    lab.script([Wire::Cut(7)]);
    assert_eq!(lab.store.get_range("a", 990, 50).await.unwrap(), content(1000)[990..]);
    assert_eq!(ranges(&lab.sent()), ["bytes=990-1039", "bytes=997-1039"]);
}

#[tokio::test]
async fn a_broken_stream_is_not_resumed_from_another_version() {
    let lab = Lab::new().await;
    lab.store.put("a", content(1000)).await.unwrap();
    let gate = Arc::new(Gate::default());
    lab.script([Wire::CutAt(300, gate.clone())]);
    let overwrite = async {
        gate.reached.notified().await;
        lab.store.put("a", Bytes::from(vec![7; 1000])).await.unwrap();
        gate.go.notify_one();
    };
    let (read, ()) = tokio::join!(lab.store.get_range("a", 0, 1000), overwrite);
    let error = read.unwrap_err();
    assert!(matches!(&error, StoreError::Replaced { key, .. } if key == "a"), "{error}");
    assert_eq!(ranges(&lab.sent()), ["bytes=0-999", "bytes=300-999"]);
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_and_resumed() {
    let lab = Lab::new().await;
    lab.store.put("a", content(1000)).await.unwrap();
    let impatient = RetryPolicy { control_limit: Duration::from_millis(200), ..fast() };
    let store = lab.store.clone().with_retry(impatient);
    lab.script([Wire::Stall(400)]);
    assert_eq!(store.get_range("a", 0, 1000).await.unwrap(), content(1000));
    assert_eq!(ranges(&lab.sent()), ["bytes=0-999", "bytes=400-999"]);
    assert_eq!(store.traffic().throttled, 1);
}

#[tokio::test]
async fn an_object_arrives_whole_through_every_mishap_of_the_wire() {
    let lab = Lab::new().await;
    let body = content(20 << 20);
    lab.store.put("a", body.clone()).await.unwrap();
    let elsewhere = MemoryService::new("elsewhere").bucket("b");
    let mishaps = [SLOW_DOWN, Wire::Cut(5 << 20), Wire::Break, Wire::Cut(0), Wire::Answer(500, ""), Wire::Cut(1 << 20)];
    lab.script(mishaps.clone());
    let from = ObjectMeta { key: "a".into(), size: body.len() as u64, etag: String::new() };
    let patient = lab.store.clone().with_retry(RetryPolicy { tries: 8, ..fast() });
    transfer(&patient, &elsewhere, &from, "there", &TransferOptions::default()).await.unwrap();
    assert!(elsewhere.get("there").await.unwrap() == body);
    lab.script(mishaps);
    let from = ObjectMeta { key: "there".into(), ..from };
    transfer(&elsewhere, &patient, &from, "back", &TransferOptions::default()).await.unwrap();
    assert!(lab.store.get("back").await.unwrap() == body);
}

/// A store whose keys are in files.
async fn with_key_files(wire: &Script, folder: &std::path::Path) -> S3Store {
    let keys =
        Keys::Files { access_key: folder.join("accesskey"), secret_key: folder.join("secretkey"), session_token: None };
    let config = S3Config { keys, ..config("first", "") };
    S3Store::open_over(config, SharedHttpClient::new(wire.clone())).await.unwrap().with_retry(fast())
}

#[tokio::test]
async fn keys_that_are_refused_are_read_from_their_files_again() {
    let lab = Lab::new().await;
    let secret = tempfile::tempdir().unwrap();
    let write = |key: &str| std::fs::write(secret.path().join("secretkey"), key).unwrap();
    std::fs::write(secret.path().join("accesskey"), ACCESS_KEY).unwrap();
    write("of-yesterday");
    let store = with_key_files(&lab.wire, secret.path()).await;
    let error = store.put("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert_eq!(lab.sent().len(), 1);
    // Kubernetes updates the mounted file; the run goes on.
    write(SECRET_KEY);
    store.put("a", Bytes::new()).await.unwrap();
    assert_eq!(lab.sent().len(), 3);
    store.get("a").await.unwrap();
    assert_eq!(lab.sent().len(), 4);
}

#[tokio::test]
async fn an_expired_token_is_replaced_in_the_middle_of_a_run() {
    let lab = Lab::new().await;
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("accesskey"), ACCESS_KEY).unwrap();
    std::fs::write(secret.path().join("secretkey"), SECRET_KEY).unwrap();
    let store = with_key_files(&lab.wire, secret.path()).await;
    store.put("a", Bytes::from_static(b"x")).await.unwrap();
    let expired = || Wire::Answer(400, "<Error><Code>ExpiredToken</Code><Message>m</Message></Error>");
    lab.script([expired()]);
    let error = store.get("a").await.unwrap_err();
    assert!(matches!(&error, StoreError::Denied { code, .. } if code == "ExpiredToken"), "{error}");
    std::fs::write(secret.path().join("secretkey"), format!("{SECRET_KEY}\n\n")).unwrap();
    lab.script([expired()]);
    // The same key once more: nobody changed it, so nothing is gained by asking again.
    store.get("a").await.unwrap_err();
    assert_eq!(lab.sent().len(), 1);
}

#[tokio::test]
async fn a_missing_key_file_is_a_matter_of_settings() {
    let lab = Lab::new().await;
    let secret = tempfile::tempdir().unwrap();
    let error = with_key_files(&lab.wire, secret.path()).await.get("a").await.unwrap_err();
    assert!(matches!(&error, StoreError::Setup(cause) if cause.contains("accesskey")), "{error}");
    assert_eq!(lab.sent().len(), 0);
}

#[tokio::test]
async fn a_wrong_clock_is_said_at_once() {
    let lab = Lab::new().await;
    lab.script([Wire::Answer(403, "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>")]);
    let error = lab.store.get("a").await.unwrap_err();
    assert!(matches!(&error, StoreError::Setup(cause) if cause.contains("clocks")), "{error}");
    assert_eq!(lab.sent().len(), 1);
}

#[tokio::test]
async fn a_bucket_is_addressed_by_path_or_by_host_and_checksums_are_sent_where_wanted() {
    let lab = Lab::new().await;
    for (path_style, expected) in [(true, "http://s3.test:80/first/a"), (false, "http://first.s3.test:80/a")] {
        for checksums in [Checksums::WhenRequired, Checksums::WhenSupported] {
            let config = S3Config { path_style, checksums, ..config("first", SECRET_KEY) };
            let wire = SharedHttpClient::new(lab.wire.clone());
            let store = S3Store::open_over(config, wire).await.unwrap().with_retry(fast());
            lab.script([Wire::Answer(403, "")]);
            store.put("a", Bytes::from_static(b"x")).await.unwrap_err();
            let sent = lab.sent();
            assert!(sent[0].uri.starts_with(expected), "{sent:?}");
            assert_eq!(sent[0].checksum, checksums == Checksums::WhenSupported, "{sent:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_whose_words_are_cut_off_is_asked_for_again() {
    let lab = Lab::new().await;
    lab.store.put("empty", Bytes::new()).await.unwrap();
    for (key, expected) in [("empty", true), ("none", false)] {
        lab.script([Wire::Cut(10)]);
        let read = lab.store.get_range(key, 0, 1).await;
        match expected {
            true => assert_eq!(read.unwrap(), ""),
            false => assert!(matches!(read, Err(StoreError::NotFound { .. })), "{read:?}"),
        }
        assert_eq!(lab.sent().len(), 2, "{key}");
    }
}

/// What can happen to a request that reads.
fn mishap() -> impl Strategy<Value = Wire> {
    prop_oneof![
        4 => Just(Wire::Pass),
        2 => Just(SLOW_DOWN),
        1 => Just(Wire::Answer(500, "")),
        2 => Just(Wire::Break),
        3 => (0usize..70_000).prop_map(Wire::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_wire_does_an_object_arrives_whole_or_not_at_all(
        size in 0usize..300_000,
        mishaps in proptest::collection::vec(mishap(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lab = Lab::new().await;
            let etag = lab.store.put("a", content(size)).await.unwrap();
            let there = MemoryService::new("elsewhere").bucket("b");
            let options = TransferOptions { part_size: 64 << 10, ..TransferOptions::default() };
            let from = ObjectMeta { key: "a".into(), size: size as u64, etag };
            lab.script(mishaps);
            match transfer(&lab.store, &there, &from, "to", &options).await {
                Ok(_) => assert!(there.get("to").await.unwrap() == content(size)),
                Err(error) => {
                    assert!(matches!(error, StoreError::Unavailable { tries: 4, .. }), "{error}");
                    assert!(there.get("to").await.is_err());
                }
            }
            assert_eq!(there.uploads("").await.unwrap(), []);
            assert_eq!(options.open.count(), 0);
        });
    }
}
