//! Keys from the environment: web identity (IRSA) and pod identity, renewed when the store refuses them. Talks over loopback.
//!
//! The environment is a process's own, so each case runs [`the_pod`] in a process with the variables that Kubernetes sets.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod identity_pod;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use milvus_backup_operator::storage::{Checksums, Keys, S3Config, S3Store};

use identity_pod::{answer, endpoint, once, read};

/// Identity services and a store that takes the second keys only, as if the first had been revoked.
#[derive(Debug, Clone)]
struct Cloud {
    token: PathBuf,
    /// The token shown at each request for keys.
    shown: Arc<Mutex<Vec<String>>>,
}

impl Cloud {
    /// Keys number 1, 2, ...; the token in the file is changed after each, as the kubelet does.
    fn issue(&self, token: String) -> usize {
        let mut shown = self.shown.lock().unwrap();
        shown.push(token);
        std::fs::write(&self.token, format!("token-{}", shown.len() + 1)).unwrap();
        shown.len()
    }
}

async fn serve(State(cloud): State<Cloud>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let authorization = header("authorization");
    if head.uri.path().starts_with("/pod") {
        let nth = cloud.issue(authorization);
        return answer(
            200,
            format!(
                r#"{{"AccessKeyId":"K{nth}","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}}"#
            ),
        );
    }
    if head.uri.path().starts_with("/sts") {
        let form = to_bytes(body, 1 << 16).await.unwrap();
        let form = String::from_utf8(form.to_vec()).unwrap();
        let token = form.split('&').find_map(|pair| pair.strip_prefix("WebIdentityToken=")).unwrap();
        let nth = cloud.issue(token.to_owned());
        return answer(
            200,
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>K{nth}</AccessKeyId>\
                 <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                 <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
                 </AssumeRoleWithWebIdentityResponse>"
            ),
        );
    }
    match authorization.contains("Credential=K2/") && header("x-amz-security-token") == "t" {
        true => answer(200, "x"),
        false => answer(400, "<Error><Code>ExpiredToken</Code><Message>m</Message></Error>"),
    }
}

/// Runs [`the_pod`] with these variables; answers the tokens that were shown.
async fn run(variables: impl FnOnce(&str, &Path) -> Vec<(&'static str, String)>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "token-1").unwrap();
    let cloud = Cloud { token: token.clone(), shown: Arc::default() };
    let services = Router::new().fallback(serve).with_state(cloud.clone());
    let variables = |endpoint: &str| {
        let mut variables = variables(endpoint, &token);
        variables.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
        variables
    };
    identity_pod::run(services, folder.path(), variables).await;
    let shown = cloud.shown.lock().unwrap();
    shown.clone()
}

#[tokio::test]
#[ignore = "run by the others, in a process of its own"]
async fn the_pod() {
    let store = S3Store::open(S3Config {
        endpoint: Some(endpoint()),
        region: String::new(),
        bucket: "b".into(),
        path_style: true,
        keys: Keys::Ambient,
        ca_pem: None,
        checksums: Checksums::default(),
    });
    read(&store.await.unwrap().with_retry(once())).await;
}

#[tokio::test]
async fn a_web_identity_that_is_refused_is_asked_for_again_with_the_token_of_now() {
    let shown = run(|endpoint, token| {
        vec![
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup".to_owned()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap().to_owned()),
            ("AWS_ENDPOINT_URL_STS", format!("{endpoint}/sts")),
        ]
    });
    assert_eq!(shown.await, ["token-1", "token-2"]);
}

#[tokio::test]
async fn a_pod_identity_that_is_refused_is_asked_for_again_with_the_token_of_now() {
    let shown = run(|endpoint, token| {
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{endpoint}/pod")),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap().to_owned()),
        ]
    });
    assert_eq!(shown.await, ["token-1", "token-2"]);
}
