//! The compatible API against the answers of milvus-backup 0.5.16, request by request, errors included.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compat_world;

use std::io::Read;
use std::sync::Arc;

use compat_world::{Played, Reply, Server, converse, golden_info};
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Empty};
use milvus_backup_operator::compat::openapi;
use milvus_backup_operator::compat::routes::{BASE, Route};
use milvus_backup_operator::compat::{Limits, Listening, TlsFiles, serve};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// A request of the Go tool's golden files with its answer.
struct Golden {
    request: Value,
    status: u64,
    kind: String,
    raw: String,
}

impl Golden {
    fn read(name: &str) -> Golden {
        let path = format!("{}/tests/golden/rest/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Golden {
            request: file["request"].clone(),
            status: file["status"].as_u64().unwrap(),
            kind: file["content_type"].as_str().unwrap_or_default().to_owned(),
            raw: file["raw"].as_str().unwrap().to_owned(),
        }
    }

    /// Sends the request to our server.
    async fn ask(&self, server: &Server) -> Reply {
        let headers: Vec<(String, String)> = self.request["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = match &self.request["body"] {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let (method, path) = (self.request["method"].as_str().unwrap(), self.request["path"].as_str().unwrap());
        server.ask(method, path, &headers, &body).await
    }

    /// Sends the request and compares everything but what is different each time.
    async fn same(&self, server: &Server) -> Value {
        let reply = self.ask(server).await;
        assert_eq!((u64::from(reply.status), reply.kind()), (self.status, self.kind.as_str()));
        assert_eq!(masked(reply.json()), masked(serde_json::from_str(&self.raw).unwrap()));
        reply.json()
    }
}

/// Times, ids that were made up and the words of failures become what they are; collections are put in order.
fn masked(mut value: Value) -> Value {
    let failed = value.get("code").is_some();
    mask(&mut value);
    if failed {
        value["msg"] = json!("(words)");
    }
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                let text = value.as_str().unwrap_or_default();
                match key.as_str() {
                    "start_time" | "end_time" | "backup_physical_timestamp" => {
                        let time = value.as_i64().unwrap();
                        *value = json!(if time == -62_135_596_800 { "(none)" } else { "(time)" });
                    }
                    "requestId" if text.len() == 36 && text.matches('-').count() == 4 => *value = json!("(made)"),
                    "id" if text.starts_with("restore_2") => *value = json!("(made)"),
                    _ => mask(value),
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(mask);
            items.sort_by_key(|item| {
                let name = item.get("target_collection_name").or_else(|| item.get("collection_name"));
                name.map(Value::to_string)
            });
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_go_tool_is_ours_key_by_key() {
    let server = Server::start().await;
    let hello = Golden::read("01-hello").ask(&server).await;
    assert_eq!((hello.status, hello.kind()), (200, "text/plain; charset=utf-8"));
    assert_eq!(hello.text(), Golden::read("01-hello").raw);
    for name in ["02-list-empty", "04-get_backup-unknown-id", "05-get_restore-unknown"] {
        Golden::read(name).same(&server).await;
    }
    let made = Golden::read("06-create-sync").ask(&server).await.json();
    assert_eq!(made["msg"], "success");
    for name in
        ["08-create-bad-name", "10-create-missing-collection", "12-list", "13-get_backup", "14-restore-sync-suffix"]
    {
        Golden::read(name).same(&server).await;
    }
    server.played.held.send_replace(true);
    Golden::read("15-restore-async-suffix").same(&server).await;
    let planned = |answer: &Value| !answer["data"]["collection_restore_tasks"].is_null();
    server.until("/api/v1/get_restore?id=restore_golden_2", planned).await;
    let golden = Golden::read("16-get_restore-early");
    let (ours, theirs) = (masked(golden.ask(&server).await.json()), masked(serde_json::from_str(&golden.raw).unwrap()));
    assert_eq!(ours["data"]["state_code"], theirs["data"]["state_code"]);
    assert_eq!(keys(&ours), keys(&theirs));
    server.played.held.send_replace(false);
    let done = |answer: &Value| answer["data"]["state_code"] == 2;
    server.until("/api/v1/get_restore?id=restore_golden_2", done).await;
    for name in ["17-get_restore-done", "19-restore-unknown-backup"] {
        Golden::read(name).same(&server).await;
    }
    server.played.held.send_replace(true);
    Golden::read("20-create-async").same(&server).await;
    let golden = Golden::read("21-get_backup-early");
    let early =
        server.until(golden.request["path"].as_str().unwrap(), |answer| answer["data"]["state_code"] == 1).await;
    assert_eq!(keys(&masked(early)), keys(&masked(serde_json::from_str(&golden.raw).unwrap())));
    server.played.held.send_replace(false);
    server.until("/api/v1/get_backup?backup_id=req-golden-4", done).await;
    let golden = Golden::read("22-get_backup-async-done");
    let (mut ours, mut theirs) =
        (golden.ask(&server).await.json(), serde_json::from_str::<Value>(&golden.raw).unwrap());
    // The size of metadata depends on how long the times in it are.
    (ours["data"]["meta_size"], theirs["data"]["meta_size"]) = (json!(0), json!(0));
    assert_eq!(masked(ours), masked(theirs));
    Golden::read("23-list-two").same(&server).await;
    Golden::read("25-delete-async-one").same(&server).await;
}

/// Paths of all keys.
fn keys(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, keys: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(key, value)| walk(value, &format!("{path}.{key}"), keys));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), keys)),
            _ => keys.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_keys_is_the_go_tools_too() {
    let server = Server::start().await;
    let golden = Golden::read("10-create-missing-collection");
    let reply = golden.ask(&server).await.text();
    let order = |text: &str| ["requestId", "code", "msg", "data"].map(|key| text.find(&format!("\"{key}\"")).unwrap());
    assert!(order(&reply).is_sorted() && order(&golden.raw).is_sorted(), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_in_the_go_tool_is_answered() {
    let server = Server::start().await;
    // 03: a backup nobody knows is not "initial" for ever.
    let unknown = Golden::read("03-get_backup-unknown-name").ask(&server).await.json();
    assert_eq!((&unknown["code"], &unknown["msg"]), (&json!(3), &json!("backup nope not found")));
    // 06: a synchronous create answers what it made.
    let made = Golden::read("06-create-sync").ask(&server).await.json();
    assert_eq!(made["requestId"], "req-golden-1");
    assert_eq!(made["data"]["state_code"], 2);
    assert_eq!(made["data"]["collection_backups"].as_array().unwrap().len(), 3);
    // 07 and 09: where it crashed.
    let again = Golden::read("07-create-sync-duplicate-name").ask(&server).await.json();
    assert!(again["code"] == 3 && again["msg"].as_str().unwrap().contains("exists already"), "{again}");
    let nameless = Golden::read("09-create-empty-name").ask(&server).await.json();
    assert_eq!((&nameless["code"], &nameless["msg"]), (&json!(400), &json!("backup name is required")));
    // 26: a second deletion finds nothing and is content. 27: the name is free again.
    for name in ["20-create-async", "25-delete-async-one", "26-delete-again"] {
        let golden = Golden::read(name);
        assert_eq!(
            golden.ask(&server).await.json()["msg"],
            if name.starts_with("20") { "create backup is executing asynchronously" } else { "success" }
        );
        if name.starts_with("20") {
            server.until("/api/v1/get_backup?backup_id=req-golden-4", |answer| answer["data"]["state_code"] == 2).await;
        }
    }
    let anew = Golden::read("27-create-same-name-after-delete").ask(&server).await.json();
    assert_eq!(anew["msg"], "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_understood_is_refused_by_status() {
    let server = Server::start().await;
    let golden = Golden::read("11-create-unparsable");
    let error = serde_json::from_str::<Value>(&golden.raw).unwrap()["error"].clone();
    for body in ["", "{", "[]", "7", "\u{0}", r#"{"backup_name":7}"#, r#"{"async":"yes"}"#, r#"{"filter":"x"}"#] {
        let reply = server.ask("POST", "/api/v1/create", &[], body).await;
        assert_eq!((u64::from(reply.status), reply.kind()), (golden.status, golden.kind.as_str()), "{body}");
        assert_eq!(reply.json()["error"], error, "{body}");
        assert!(!reply.json()["detail"].as_str().unwrap().is_empty(), "{body}");
    }
    for path in ["/api/v1/restore", "/api/v1/restore_secondary"] {
        let reply = server.ask("POST", path, &[], r#"{"backup_name":[]}"#).await;
        assert_eq!(reply.status, 400);
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with("invalid request body: backup_name: expected a string"), "{error}");
    }
    assert_eq!(server.played.begun.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_answered_with_their_codes() {
    let server = Server::start().await;
    server.played.put("backup", &golden_info()).await;
    for (method, path, body, code, said) in [
        ("GET", "/api/v1/list?collection_name=c", "", 400, "collection_name is deprecated"),
        ("GET", "/api/v1/get_backup", "", 400, "please set a backup name or id"),
        ("GET", "/api/v1/get_backup?backup_name=a-b", "", 400, "only contain numbers, letters and underscores"),
        ("GET", "/api/v1/get_backup?backup_id=..%2F..%2Fx", "", 3, "task not found"),
        ("GET", "/api/v1/get_restore", "", 3, "empty restore id"),
        ("GET", "/api/v1/get_restore?id=..%2F..%2Fx", "", 3, "task not found"),
        ("DELETE", "/api/v1/delete", "", 400, "backup name is required"),
        ("DELETE", "/api/v1/delete?backup_name=..", "", 400, "only contain numbers"),
        ("DELETE", "/api/v1/task", "", 400, "id is required"),
        ("DELETE", "/api/v1/task?id=nope", "", 3, "task not found"),
        ("POST", "/api/v1/create", r#"{"backup_name":"b","filter":{}}"#, 400, "leave it out to select everything"),
        ("POST", "/api/v1/create", r#"{"backup_name":"b","strategy":"fast"}"#, 3, "skip_flush"),
        ("POST", "/api/v1/create", r#"{"backup_name":"b","collection_names":["a-b"]}"#, 3, "collection_names"),
        ("POST", "/api/v1/create", r#"{"backup_name":"b","db_collections":"{"}"#, 3, "db_collections"),
        ("POST", "/api/v1/restore", "{}", 400, "backup name is required"),
        (
            "POST",
            "/api/v1/restore",
            r#"{"backup_name":"golden_small","collection_suffix":"-x"}"#,
            400,
            "collection suffix",
        ),
        (
            "POST",
            "/api/v1/restore",
            r#"{"backup_name":"golden_small","collection_suffix":"_taken"}"#,
            3,
            "exist already",
        ),
        ("POST", "/api/v1/restore", r#"{"backup_name":"golden_small","collection_names":["gone"]}"#, 3, "default.gone"),
        ("POST", "/api/v1/restore_secondary", r#"{"backup_name":"b"}"#, 400, "source cluster id is required"),
        (
            "POST",
            "/api/v1/restore_secondary",
            r#"{"backup_name":"b","sourceClusterID":"a"}"#,
            400,
            "target cluster id is required",
        ),
        (
            "POST",
            "/api/v1/restore_secondary",
            r#"{"backup_name":"b","sourceClusterID":"a","targetClusterID":"z"}"#,
            1,
            "POST /restore",
        ),
    ] {
        let reply = server.ask(method, path, &[], body).await;
        let answer = reply.json();
        assert_eq!((reply.status, &answer["code"]), (200, &json!(code)), "{method} {path} {body}: {answer}");
        assert!(answer["msg"].as_str().unwrap().contains(said), "{method} {path} {body}: {answer}");
    }
    let long = "x".repeat(300);
    let reply = server.ask("POST", "/api/v1/create", &[("request_id", &long)], r#"{"backup_name":"b"}"#).await;
    assert_eq!(reply.json()["code"], 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_and_other_letter_case_are_taken_as_the_go_tool_takes_them() {
    let server = Server::start().await;
    let body = r#"{"BACKUP_NAME":"b","Collection_Names":["small_0"],"use_v2_restore":true,"x":{"y":[1]},"gc_pause_seconds":7}"#;
    // As `curl -d` sends it.
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let answer = server.ask("POST", "/api/v1/create", &kind, body).await.json();
    assert_eq!(answer["msg"], "success", "{answer}");
    assert_eq!(answer["data"]["collection_backups"][0]["collection_name"], "small_0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_the_request_is_where_the_backup_goes_and_is_found() {
    let server = Server::start().await;
    let body = json!({"backup_name": "b", "backup_root_path": "elsewhere"});
    assert_eq!(server.post("/api/v1/create", &body).await.json()["data"]["state_code"], 2);
    assert_eq!(server.get("/api/v1/get_backup?backup_name=b&path=elsewhere").await.json()["data"]["state_code"], 2);
    assert_eq!(server.get("/api/v1/list").await.json()["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_answers_text_and_its_failure_a_status() {
    let server = Server::start().await;
    let reply = server.get("/api/v1/check").await;
    assert_eq!((reply.status, reply.kind()), (200, "text/plain; charset=utf-8"));
    assert!(reply.text().ends_with("Success!\n"));
    server.played.away.send_replace(true);
    let reply = server.get("/api/v1/check").await;
    assert_eq!((reply.status, reply.json()), (500, json!({"error": "milvus: no answer"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_route_is_not_found_and_there_are_no_debug_handlers() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "/debug/pprof"),
        ("GET", "/debug/pprof/heap"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/create"),
        ("PUT", "/api/v1/create"),
        ("GET", "/api/v2/list"),
        ("GET", "/api/v1/docs/../../x"),
        ("GET", "/api/v1/docs/other.js"),
    ] {
        let reply = server.ask(method, path, &[], "").await;
        assert_eq!((reply.status, &reply.json()["error"]), (404, &json!("not found")), "{method} {path}");
    }
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(server.ask(method, "/", &[], "").await.text(), "Hello, This is backup service");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_every_route_and_no_other() {
    let server = Server::start().await;
    let document = server.get("/api/v1/docs/doc.json").await.json();
    assert_eq!(document, openapi::document());
    let mut described = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        described.extend(operations.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let mut routes: Vec<_> =
        Route::ALL.iter().map(|route| (route.method().to_string(), route.path().to_owned())).collect();
    described.sort();
    routes.sort();
    assert_eq!(described, routes);
    for (method, path) in described {
        let reply = server.ask(&method, &format!("{BASE}{path}"), &[], "{}").await;
        assert!(
            reply.status != 404 && reply.status != 405,
            "{method} {path} is described and not there: {}",
            reply.status
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_in_the_document_is_in_it() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = openapi::document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let create = document.pointer("/components/schemas/CreateRequest/properties").unwrap().as_object().unwrap();
    for key in ["backup_name", "async", "filter", "db_collections", "collection_names", "strategy", "rbac", "requestId"]
    {
        assert!(create.contains_key(key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_come_whole_from_the_server_and_from_nowhere_else() {
    let server = Server::start().await;
    let page = server.get("/api/v1/docs/index.html").await;
    assert_eq!((page.status, page.kind()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let text = page.text();
    let (mut linked, mut packed, mut whole) = (0, 0, 0);
    for link in
        text.split(['"']).filter(|word| word.ends_with(".js") || word.ends_with(".css") || word.ends_with(".png"))
    {
        assert!(!link.contains("//"), "{link}");
        let file = server.get(&format!("/api/v1/docs/{link}")).await;
        assert_eq!(file.status, 200, "{link}");
        assert!(!file.body.is_empty(), "{link}");
        if let Some(coding) = file.headers.get("content-encoding") {
            assert_eq!(coding, "gzip", "{link}");
            let mut plain = Vec::new();
            GzDecoder::new(&file.body[..]).read_to_end(&mut plain).unwrap();
            packed += file.body.len();
            whole += plain.len();
        }
        linked += 1;
    }
    assert_eq!(linked, 4);
    assert!(whole > 1_000_000 && packed < whole / 3, "{packed} of {whole} bytes");
    for (folder, page) in [("/api/v1/docs/", "index.html"), ("/api/v1/docs", "docs/index.html")] {
        let reply = server.get(folder).await;
        assert_eq!((reply.status, reply.headers["location"].to_str().unwrap()), (308, page));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_only_the_greeting_and_the_pages_answer() {
    let server = Server::with(Played::in_memory(), Some("s3cret"), Limits::default()).await;
    for route in Route::ALL.into_iter().filter(|route| !route.is_open()) {
        let path = format!("{BASE}{}", route.path());
        for headers in [&[][..], &[("authorization", "Bearer other")], &[("authorization", "Basic s3cret")]] {
            let reply = server.ask(route.method().as_str(), &path, headers, "{}").await;
            assert_eq!((reply.status, &reply.json()["error"]), (401, &json!("unauthorized")), "{path} {headers:?}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
        }
        let reply = server.ask(route.method().as_str(), &path, &[("authorization", "Bearer s3cret")], "{}").await;
        assert_ne!(reply.status, 401, "{path}");
    }
    assert_eq!(server.get("/api/v1/hello").await.status, 200);
    assert_eq!(server.get("/api/v1/docs/index.html").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_cannot_make_a_browser_restore() {
    let server = Server::start().await;
    let headers = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    let reply =
        server.ask("POST", "/api/v1/restore", &headers, r#"{"backup_name":"b","dropExistCollection":true}"#).await;
    assert_eq!((reply.status, &reply.json()["error"]), (403, &json!("forbidden")));
    let own = format!("http://{}", server.address);
    assert_eq!(server.ask("GET", "/api/v1/list", &[("origin", &own)], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_answers_by_https() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let listening = Listening::on(([127, 0, 0, 1], 0).into(), Some(files.clone())).await.unwrap();
    let (address, stop) = (listening.address(), CancellationToken::new());
    assert_eq!(listening.scheme(), "https");
    let running = tokio::spawn(serve(listening, Played::in_memory(), None, Limits::default(), stop.clone()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let nothing = || Empty::new().map_err(|never| match never {}).boxed();
    let reply = converse(stream, "localhost", "GET", "/api/v1/list", &[], nothing()).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"data": []})));
    stop.cancel();
    running.await.unwrap();
    // A key that is none is named, and not shown.
    std::fs::write(&files.key, "s3cret").unwrap();
    let said = Listening::on(([127, 0, 0, 1], 0).into(), Some(files)).await.unwrap_err().to_string();
    assert!(said.contains("tls.key") && !said.contains("s3cret"), "{said}");
}
