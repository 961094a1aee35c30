//! `migrate` as a person runs it: the program itself, an S3 service in this process for the backup and for the volume, and a fake
//! of the two calls of Zilliz Cloud.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::generate_simple_self_signed;
use rustls::pki_types::PrivateKeyDer;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

const ACCESS_KEY: &str = "AKEXAMPLE";
const SECRET_KEY: &str = "a-secret-of-this-test";
const VOLUME_ACCESS_KEY: &str = "ASIATEMPORARY";
const VOLUME_SECRET_KEY: &str = "a-secret-of-the-volume";
const API_KEY: &str = "the-key-of-the-API";
const BUCKET: &str = "a-bucket";
const VOLUMES: &str = "volumes";
const APPLY: &str = "/v2/volumes/apply";
const START: &str = "/v2/migrations/startByRemote";
const META: [(&str, &[u8]); 5] = [
    ("backup_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/backup_meta.json")),
    ("collection_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/collection_meta.json")),
    ("partition_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/partition_meta.json")),
    ("segment_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/segment_meta.json")),
    ("full_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/full_meta.json")),
];

/// A request as the fake got it.
#[derive(Debug, Clone)]
struct Call {
    path: String,
    authorization: String,
    body: Value,
}

/// What both fakes know.
struct Fake {
    s3_port: u16,
    calls: Mutex<Vec<Call>>,
    /// Answers to give before those of a service in good health.
    script: Mutex<BTreeMap<&'static str, VecDeque<(u16, &'static str)>>>,
    /// Fields of the volume that are to be others, from this answer on.
    other: Mutex<Option<(usize, &'static str, Value)>>,
    applied: AtomicUsize,
    /// Writes that the keys of the first answer are good for.
    writes_of_first_keys: AtomicUsize,
    /// Keys of objects written into the volume, in order.
    written: Mutex<Vec<String>>,
    /// Whether writes into the volume are never answered.
    hold: AtomicBool,
    /// Told of each write that is held.
    held: Mutex<mpsc::Sender<()>>,
}

impl Fake {
    fn calls_of(&self, path: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.path == path).cloned().collect()
    }

    fn answer_first(&self, path: &'static str, answers: &[(u16, &'static str)]) {
        self.script.lock().unwrap().entry(path).or_default().extend(answers.iter().copied());
    }

    fn volume(&self, path: &Value) -> Value {
        let number = self.applied.fetch_add(1, Ordering::SeqCst) + 1;
        let mut volume = json!({
            "volumeName": "vol-of-cluster", "bucketName": VOLUMES, "cloud": "aws", "region": "us-west-2",
            "endpoint": format!("http://127.0.0.1:{}", self.s3_port),
            "uploadPath": format!("org/{}/", path.as_str().unwrap()),
            "condition": {"maxContentLength": 1_000_000},
            "credentials": {
                "expireTime": "2999-01-01T00:00:00Z", "sessionToken": format!("token-{number}"),
                "tmpAK": VOLUME_ACCESS_KEY, "tmpSK": VOLUME_SECRET_KEY
            }
        });
        if let Some((from, field, value)) = self.other.lock().unwrap().clone()
            && number >= from
        {
            volume[field] = value;
        }
        volume
    }
}

async fn api(State(fake): State<Arc<Fake>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = head.uri.path().to_owned();
    let authorization = head.headers["authorization"].to_str().unwrap().to_owned();
    fake.calls.lock().unwrap().push(Call { path: path.clone(), authorization, body: body.clone() });
    let scripted = fake.script.lock().unwrap().get_mut(path.as_str()).and_then(VecDeque::pop_front);
    let (status, text) = match scripted {
        Some((status, text)) => (status, text.to_owned()),
        None => (200, json!({"code": 0, "data": healthy(&fake, &path, &body)}).to_string()),
    };
    Response::builder().status(status).header("retry-after", "0").body(Body::from(text)).unwrap()
}

fn healthy(fake: &Fake, path: &str, body: &Value) -> Value {
    match path {
        APPLY => fake.volume(&body["path"]),
        START => json!({"jobId": "job-42"}),
        other => panic!("nobody calls {other}"),
    }
}

/// How the API is spoken to.
#[derive(Clone, Copy, PartialEq)]
enum Wire {
    Plain,
    Encrypted,
}

/// A folder with the objects, a configuration, and the services until this is dropped.
struct World {
    folder: TempDir,
    fake: Arc<Fake>,
    held: mpsc::Receiver<()>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> World {
        World::over(Wire::Plain)
    }

    fn over(wire: Wire) -> World {
        let folder = tempfile::tempdir().unwrap();
        for bucket in [BUCKET, VOLUMES] {
            std::fs::create_dir_all(folder.path().join("s3").join(bucket)).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listen = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (s3, cloud) = (listen(), listen());
        let (s3_port, cloud_port) = (s3.local_addr().unwrap().port(), cloud.local_addr().unwrap().port());
        let (sender, held) = mpsc::channel();
        let fake = Arc::new(Fake {
            s3_port,
            calls: Mutex::default(),
            script: Mutex::default(),
            other: Mutex::default(),
            applied: AtomicUsize::new(0),
            writes_of_first_keys: AtomicUsize::new(usize::MAX),
            written: Mutex::default(),
            hold: AtomicBool::new(false),
            held: Mutex::new(sender),
        });
        runtime.spawn(serve_s3(s3, folder.path().join("s3"), fake.clone()));
        let router = axum::Router::new().fallback(api).with_state(fake.clone());
        let endpoint = match wire {
            Wire::Plain => {
                runtime.spawn(async move { axum::serve(cloud, router).await });
                format!("http://127.0.0.1:{cloud_port}")
            }
            Wire::Encrypted => {
                let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                std::fs::write(folder.path().join("ca.pem"), certificate.cert.pem()).unwrap();
                runtime.spawn(serve_encrypted(cloud, router, certificate));
                format!("https://localhost:{cloud_port}")
            }
        };
        let config = format!(
            "configVersion: v2\nbackup:\n  storage:\n    provider: minio\n    address: 127.0.0.1\n    port: {s3_port}\n    \
             bucketName: {BUCKET}\n    rootPath: backup\n    auth:\n      accessKeyID: {ACCESS_KEY}\n      \
             secretAccessKey: {SECRET_KEY}\nzillizCloud:\n  endpoint: {endpoint}\n"
        );
        std::fs::write(folder.path().join("backup.yaml"), config).unwrap();
        World { folder, fake, held, runtime }
    }

    /// A backup as the Go tool leaves it, with a folder of ours; answers what of it is to be uploaded.
    fn backup(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut objects: BTreeMap<String, Vec<u8>> =
            META.iter().map(|(file, body)| (format!("meta/{file}"), body.to_vec())).collect();
        for log in 1..=6 {
            objects.insert(format!("binlogs/insert_log/1/2/3/3/100/{log}"), vec![b'r'; 100 * log]);
        }
        for (key, body) in &objects {
            self.put(&format!("backup/{name}/{key}"), body);
        }
        self.put(&format!("backup/{name}/operator/restores/u/ledger.json"), b"{}");
        objects
    }

    fn put(&self, key: &str, body: &[u8]) {
        let path = self.folder.path().join("s3").join(BUCKET).join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    }

    /// What is in the volume below the path of the first request.
    fn uploaded(&self) -> BTreeMap<String, Vec<u8>> {
        let calls = self.fake.calls_of(APPLY);
        let root =
            self.folder.path().join("s3").join(VOLUMES).join("org").join(calls[0].body["path"].as_str().unwrap());
        let mut found = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let key = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                        found.insert(key, std::fs::read(&path).unwrap());
                    }
                }
            }
        }
        found
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-backup"));
        command.current_dir(self.folder.path()).args(arguments).env_clear();
        command.env("HOME", self.folder.path()).env("ZILLIZ_CLOUD_API_KEY", API_KEY);
        command
    }

    fn migrate(&self, more: &[&str]) -> Ran {
        Ran::of(self.command(&[&["migrate", "-n", "nightly", "-c", "in01-cluster"], more].concat()).output().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let spare = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::mem::replace(&mut self.runtime, spare).shutdown_background();
    }
}

/// S3 for both buckets. Requests to the volume need the session token of an answer that still counts.
async fn serve_s3(listener: TcpListener, root: PathBuf, fake: Arc<Fake>) {
    let mut auth = SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY);
    auth.register(VOLUME_ACCESS_KEY.into(), VOLUME_SECRET_KEY.into());
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(auth);
    let service = builder.build();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, fake) = (service.clone(), fake.clone());
        let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (service, fake) = (service.clone(), fake.clone());
            async move {
                if let Some(refused) = at_the_volume(&fake, &request).await {
                    return Ok(refused);
                }
                service.call(request.map(s3s::Body::from)).await
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn at_the_volume(
    fake: &Fake,
    request: &hyper::Request<hyper::body::Incoming>,
) -> Option<hyper::Response<s3s::Body>> {
    let key = request.uri().path().strip_prefix(&format!("/{VOLUMES}/"))?.to_owned();
    let token = request.headers().get("x-amz-security-token").and_then(|token| token.to_str().ok());
    let number: Option<usize> = token.and_then(|token| token.strip_prefix("token-")?.parse().ok());
    if request.method() == hyper::Method::PUT && fake.hold.load(Ordering::SeqCst) {
        let _ = fake.held.lock().unwrap().send(());
        return std::future::pending().await;
    }
    let mut written = fake.written.lock().unwrap();
    let run_out = number == Some(1) && written.len() >= fake.writes_of_first_keys.load(Ordering::SeqCst);
    if number.is_none() || run_out {
        let body = "<Error><Code>ExpiredToken</Code><Message>m</Message></Error>";
        return Some(hyper::Response::builder().status(400).body(s3s::Body::from(body.to_owned())).unwrap());
    }
    if request.method() == hyper::Method::PUT {
        written.push(key);
    }
    None
}

async fn serve_encrypted(
    listener: TcpListener,
    router: axum::Router,
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
) {
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(Output { status, stdout, stderr }: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: status.code().expect("ended by a signal"), out: text(stdout), err: text(stderr) }
    }

    /// Fails, with everything that was said, unless it ended so. No secret may be in it.
    fn expect(self, code: i32, words: &[&str]) -> Ran {
        let said = format!("{}\n{}", self.out, self.err);
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        assert!(
            self.code == code && missing.is_empty(),
            "code {}, expected {code}; missing {missing:?} in\n{said}",
            self.code
        );
        for secret in [API_KEY, SECRET_KEY, VOLUME_SECRET_KEY, "token-"] {
            assert!(!said.contains(secret), "{secret} is in {said}");
        }
        self
    }
}

#[test]
fn a_backup_is_uploaded_and_its_migration_started() {
    let world = World::new();
    let objects = world.backup("nightly");
    world
        .migrate(&["--log", "trace"])
        .expect(0, &["migration job id: job-42", "nightly: uploaded 11 objects for cluster in01-cluster"]);
    assert_eq!(world.uploaded(), objects);
    let (applied, started) = (world.fake.calls_of(APPLY), world.fake.calls_of(START));
    assert_eq!((applied.len(), started.len()), (1, 1));
    let path = &applied[0].body["path"];
    assert_eq!(applied[0].body, json!({"clusterId": "in01-cluster", "path": path}));
    let source = json!({"stageName": "vol-of-cluster", "dataPath": path});
    assert_eq!(started[0].body, json!({"source": source, "destination": {"clusterId": "in01-cluster"}}));
    assert!(applied.iter().chain(&started).all(|call| call.authorization == format!("Bearer {API_KEY}")));
}

#[test]
fn the_outcome_as_json_has_the_job_and_each_run_a_path_of_its_own() {
    let world = World::new();
    world.backup("nightly");
    for _ in 0..2 {
        let ran = world.migrate(&["--output", "json"]).expect(0, &[]);
        let ended: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&ended["jobId"], &ended["ok"]), (&json!("job-42"), &json!(true)), "{ended}");
        assert_eq!((&ended["name"], &ended["summary"]["objects"]), (&json!("nightly"), &json!(11)), "{ended}");
    }
    let applied = world.fake.calls_of(APPLY);
    assert_ne!(applied[0].body["path"], applied[1].body["path"]);
}

#[test]
fn keys_that_run_out_are_asked_for_again_and_only_the_rest_is_uploaded() {
    let world = World::new();
    let objects = world.backup("nightly");
    world.fake.writes_of_first_keys.store(4, Ordering::SeqCst);
    world.migrate(&[]).expect(0, &["migration job id: job-42", "goes on"]);
    assert_eq!(world.uploaded(), objects);
    let applied = world.fake.calls_of(APPLY);
    assert_eq!(applied.len(), 2);
    assert_eq!(applied[0].body, applied[1].body);
    // A write whose answer was dropped with the others may come a second time; those of the listing do not.
    assert!(world.fake.written.lock().unwrap().len() < 2 * objects.len());
}

#[test]
fn fresh_keys_for_another_place_end_the_upload_and_start_nothing() {
    let world = World::new();
    world.backup("nightly");
    world.fake.writes_of_first_keys.store(4, Ordering::SeqCst);
    *world.fake.other.lock().unwrap() = Some((2, "volumeName", json!("another")));
    world.migrate(&[]).expect(10, &["error: the keys of the upload ran out", "run it again"]);
    assert!(world.fake.calls_of(START).is_empty());
}

#[test]
fn keys_that_are_never_good_are_not_asked_for_for_ever() {
    let world = World::new();
    world.backup("nightly");
    let void = json!({
        "expireTime": "2999-01-01T00:00:00Z", "sessionToken": "void", "tmpAK": VOLUME_ACCESS_KEY, "tmpSK": VOLUME_SECRET_KEY
    });
    *world.fake.other.lock().unwrap() = Some((1, "credentials", void));
    world.migrate(&[]).expect(20, &["error: bucket volumes", "ExpiredToken"]);
    assert_eq!((world.fake.calls_of(APPLY).len(), world.fake.calls_of(START).len()), (2, 0));
}

#[test]
fn a_busy_service_is_asked_again() {
    let world = World::new();
    world.backup("nightly");
    world.fake.answer_first(APPLY, &[(503, ""), (429, "")]);
    world.fake.answer_first(START, &[(429, "")]);
    world.migrate(&[]).expect(0, &["migration job id: job-42", "trying again"]);
    assert_eq!((world.fake.calls_of(APPLY).len(), world.fake.calls_of(START).len()), (3, 2));
}

#[test]
fn a_service_that_stays_away_ends_with_the_code_to_try_again() {
    let world = World::new();
    world.backup("nightly");
    world.fake.answer_first(APPLY, &[(429, ""); 9]);
    world.migrate(&[]).expect(10, &["error: could not give out a volume", "after 4 tries", "HTTP 429"]);
    assert_eq!(world.fake.calls_of(APPLY).len(), 4);
}

#[test]
fn a_start_without_a_clear_answer_is_not_repeated() {
    for answer in [(502, ""), (200, r#"{"code":0,"data":{}}"#), (200, "<html>")] {
        let world = World::new();
        world.backup("nightly");
        world.fake.answer_first(START, &[answer]);
        world.migrate(&[]).expect(20, &["did not say whether it did", "look at the jobs of the cluster"]);
        assert_eq!(world.fake.calls_of(START).len(), 1);
    }
}

#[test]
fn a_refusal_is_passed_on_without_the_key_in_it() {
    let world = World::new();
    world.backup("nightly");
    world.fake.answer_first(
        APPLY,
        &[
            (200, r#"{"code":80001,"message":"the-key-of-the-API may not"}"#),
            (401, r#"{"code":1,"message":"who are you"}"#),
        ],
    );
    world.migrate(&[]).expect(20, &["refused to give out a volume", "*** may not", "code 80001"]);
    let ran = world.migrate(&["--output", "json"]).expect(20, &["who are you", "zillizCloud.apiKey"]);
    let ended: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&ended["jobId"], &ended["reason"]), (&Value::Null, &json!("CloudRefused")));
    assert_eq!(world.fake.calls_of(APPLY).len(), 2);
    assert!(world.fake.written.lock().unwrap().is_empty());
}

#[test]
fn a_cluster_of_another_cloud_is_refused_by_its_name() {
    let world = World::new();
    world.backup("nightly");
    *world.fake.other.lock().unwrap() = Some((1, "cloud", json!("gcp")));
    world.migrate(&[]).expect(20, &["the cloud \"gcp\""]);
}

#[test]
fn an_upload_above_the_named_limit_is_warned_of() {
    let world = World::new();
    world.backup("nightly");
    *world.fake.other.lock().unwrap() = Some((1, "condition", json!({"maxContentLength": 10})));
    world.migrate(&[]).expect(0, &["warning: the backup has", "names 10 as the most"]);
}

#[test]
fn what_cannot_be_migrated_is_told_before_the_service_is_asked() {
    let world = World::new();
    world.backup("nightly");
    world.backup("begun");
    world.put("backup/begun/operator/lock.json", br#"{"uid":"u","attempt":1}"#);
    let run = |arguments: &[&str]| Ran::of(world.command(arguments).output().unwrap());
    run(&["migrate", "-n", "nothing", "-c", "c"]).expect(20, &["there is no backup backup/nothing"]);
    run(&["migrate", "-n", "begun", "-c", "c"]).expect(30, &["was never finished"]);
    run(&["migrate", "-n", "nightly", "-c", "a b"]).expect(20, &["\"a b\" is no id of a cluster"]);
    run(&["migrate", "-n", "nightly"]).expect(20, &["--cluster_id"]);
    let open = ["migrate", "-n", "nightly", "-c", "c", "--set", "zillizCloud.endpoint=http://api.example"];
    run(&open).expect(20, &["zillizCloud.endpoint", "is not encrypted"]);
    let keyless = world.command(&["migrate", "-n", "nightly", "-c", "c"]).env_remove("ZILLIZ_CLOUD_API_KEY").output();
    Ran::of(keyless.unwrap()).expect(20, &["there is no API key", "ZILLIZ_CLOUD_API_KEY"]);
    assert!(world.fake.calls.lock().unwrap().is_empty());
}

#[test]
fn the_api_is_spoken_to_encrypted_and_only_if_its_certificate_is_trusted() {
    let world = World::over(Wire::Encrypted);
    world.backup("nightly");
    let run = |authority: &Path| {
        let mut command = world.command(&["migrate", "-n", "nightly", "-c", "in01-cluster"]);
        Ran::of(command.env("SSL_CERT_FILE", authority).output().unwrap())
    };
    let stranger = world.folder.path().join("stranger.pem");
    std::fs::write(&stranger, generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()).unwrap();
    run(&stranger).expect(20, &["a certificate that is not trusted here", "nothing was sent"]);
    assert!(world.fake.calls.lock().unwrap().is_empty());
    run(&world.folder.path().join("ca.pem")).expect(0, &["migration job id: job-42"]);
}

#[test]
fn a_stopped_upload_starts_no_migration() {
    let world = World::new();
    world.backup("nightly");
    world.fake.hold.store(true, Ordering::SeqCst);
    let mut command = world.command(&["migrate", "-n", "nightly", "-c", "in01-cluster"]);
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.held.recv_timeout(Duration::from_secs(60)).expect("nothing was uploaded");
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).expect(40, &["stopped before a migration was started"]);
    assert!(world.fake.calls_of(START).is_empty());
}
