//! What answers mean and what the settings must not do; the calls themselves are in `tests/migrate.rs`.

use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::engine::task::{Checksums, Credentials};

fn answer() -> Value {
    json!({
        "volumeName": "vol-1", "bucketName": "zilliz-volumes", "cloud": "aws", "region": "us-west-2",
        "endpoint": "s3.us-west-2.amazonaws.com", "uploadPath": "org/vol-1/run",
        "condition": {"maxContentLength": 1000},
        "credentials": {"expireTime": "2026-01-02T03:04:05Z", "sessionToken": "the-token", "tmpAK": "AK", "tmpSK": "the-secret"}
    })
}

fn volume(answer: Value) -> Result<Volume, String> {
    serde_json::from_value::<ApplyAnswer>(answer).unwrap().volume()
}

fn without(field: &str) -> Value {
    let mut answer = answer();
    answer[field] = json!("");
    answer
}

#[test]
fn a_volume_is_opened_where_and_as_the_answer_says() {
    let volume = volume(answer()).unwrap();
    assert_eq!((volume.name.as_str(), volume.prefix.as_str()), ("vol-1", "org/vol-1/run/"));
    assert_eq!((volume.most_bytes, volume.expires.as_second()), (Some(1000), 1_767_323_045));
    let store = &volume.store;
    assert_eq!(store.endpoint.as_deref(), Some("https://s3.us-west-2.amazonaws.com"));
    assert_eq!((store.region.as_deref(), store.bucket.as_str()), (Some("us-west-2"), "zilliz-volumes"));
    assert!(!store.path_style && store.checksums == Checksums::WhenSupported);
    let Credentials::Values { access_key, secret_key, session_token } = &store.credentials else { panic!("{store:?}") };
    assert_eq!((access_key.expose(), secret_key.expose()), ("AK", "the-secret"));
    assert_eq!(session_token.as_ref().map(Secret::expose), Some("the-token"));
    let shown = format!("{volume:?}");
    assert!(!shown.contains("the-token") && !shown.contains("the-secret"), "{shown}");
}

#[rstest]
#[case("volumeName")]
#[case("bucketName")]
#[case("endpoint")]
#[case("uploadPath")]
fn a_volume_that_lacks_something_is_refused_by_its_name(#[case] field: &str) {
    assert!(volume(without(field)).unwrap_err().contains(field));
}

#[rstest]
#[case("cloud", json!("gcp"), "the cloud \"gcp\"")]
#[case("endpoint", json!("http://volumes.example"), "not encrypted")]
#[case("credentials", json!({"expireTime": "soon", "sessionToken": "", "tmpAK": "a", "tmpSK": "s"}), "expireTime")]
fn a_volume_that_cannot_be_opened_says_why(#[case] field: &str, #[case] value: Value, #[case] why: &str) {
    let mut answer = answer();
    answer[field] = value;
    let said = volume(answer).unwrap_err();
    assert!(said.contains(why), "{said}");
}

#[rstest]
#[case(200, r#"{"code":80001,"message":"no such cluster"}"#, "refused", "no such cluster (HTTP 200 OK, code 80001)")]
#[case(401, "", "refused", "HTTP 401")]
#[case(403, r#"{"code":1,"message":"not yours"}"#, "refused", "not yours")]
#[case(500, "<html>", "doubtful", "HTTP 500")]
#[case(504, "", "doubtful", "HTTP 504")]
#[case(302, "", "unusable", "HTTP 302")]
#[case(200, "<html>", "unusable", "no JSON")]
#[case(200, r#"{"code":0,"data":{"jobId":5}}"#, "unusable", "of another kind at line 1")]
fn an_answer_is_told_apart_by_what_was_done(
    #[case] status: u16,
    #[case] body: &str,
    #[case] kind: &str,
    #[case] said: &str,
) {
    let status = StatusCode::from_u16(status).unwrap();
    let Err(failure) = understood::<StartAnswer>(status, &HeaderMap::new(), body.as_bytes()) else { panic!("taken") };
    let found = match failure.cause {
        Cause::NotDone(_) => "not done",
        Cause::Doubtful => "doubtful",
        Cause::Refused => "refused",
        Cause::Unusable => "unusable",
        Cause::Untrusted => "untrusted",
    };
    assert!(found == kind && failure.text.contains(said), "{found}: {}", failure.text);
}

#[test]
fn a_service_that_asks_for_time_gets_what_it_asks_for() {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
    let Err(failure) = understood::<StartAnswer>(StatusCode::TOO_MANY_REQUESTS, &headers, b"") else { panic!("taken") };
    assert!(matches!(failure.cause, Cause::NotDone(Some(asked)) if asked == Duration::from_secs(7)));
}

#[rstest]
#[case("http://api.cloud.zilliz.com", "is not encrypted")]
#[case("ftp://api.cloud.zilliz.com", "does not begin with https://")]
#[case("", "is no URL")]
fn an_endpoint_that_would_show_the_key_is_refused(#[case] endpoint: &str, #[case] why: &str) {
    let settings = Cloud { endpoint: endpoint.into(), api_key: Secret::new("the-key") };
    let error = ZillizCloud::new(&settings).unwrap_err();
    assert_eq!(error.class(), Class::Configuration);
    assert!(error.to_string().contains(why) && !error.to_string().contains("the-key"), "{error}");
}

#[test]
fn no_key_and_one_that_cannot_be_sent_are_told_before_anything_is_sent() {
    let open = |key: &str| {
        ZillizCloud::new(&Cloud { endpoint: "https://127.0.0.1".into(), api_key: Secret::new(key) }).map(|_| ())
    };
    assert!(open("").unwrap_err().to_string().contains("ZILLIZ_CLOUD_API_KEY"));
    let said = open("a\nkey").unwrap_err().to_string();
    assert!(said.contains("line end") && !said.contains("a\nkey"), "{said}");
}
