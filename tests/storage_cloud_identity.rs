//! Tokens for Azure and Google from identity services, renewed when the store refuses them. Talks over loopback.
//!
//! The environment is a process's own, so where it decides, the case runs [`the_pod`] in a process with the variables that
//! the cloud sets.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod identity_pod;

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use milvus_backup_operator::storage::{AzureConfig, AzureStore, GcsConfig, GcsLogin, GcsStore, Keys};
use percent_encoding::percent_decode_str;
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData};
use rustls::SignatureScheme;

use identity_pod::{answer, beside, endpoint, once, read};

const CLOUD: &str = "IDENTITY_TEST_CLOUD";

/// Identity services that give the tokens T1, T2, ..., and a store that takes T2 only, as if T1 had been revoked.
#[derive(Debug, Clone, Default)]
struct Cloud {
    /// What was asked for a token with: the path, the headers that matter and the body.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cloud {
    fn services(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(State(cloud): State<Cloud>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let path = head.uri.path().to_owned();
    if path.contains("token") {
        let body = String::from_utf8(to_bytes(body, 1 << 16).await.unwrap().to_vec()).unwrap();
        let mut asked = cloud.asked.lock().unwrap();
        let flavor = header("metadata") + &header("metadata-flavor");
        asked.push(format!("{path} {flavor} {} {body}", head.uri.query().unwrap_or_default()));
        let nth = asked.len();
        return answer(200, format!(r#"{{"access_token": "T{nth}", "expires_in": "3600", "token_type": "Bearer"}}"#));
    }
    match header("authorization").as_str() {
        "Bearer T2" => answer(200, "x"),
        "Bearer T1" => Response::builder()
            .status(401)
            .header("x-ms-error-code", "InvalidAuthenticationInfo")
            .body(Body::from("Invalid Credentials"))
            .unwrap(),
        _ => answer(403, "nobody"),
    }
}

/// Runs [`the_pod`] with these variables; answers what tokens were asked for with.
async fn run(name: &str, variables: impl FnOnce(&str, &Path) -> Vec<(&'static str, String)>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("assertion");
    std::fs::write(&token, "from-the-cluster\n").unwrap();
    let cloud = Cloud::default();
    let variables = |endpoint: &str| {
        let mut variables = variables(endpoint, &token);
        variables.push((CLOUD, name.to_owned()));
        variables
    };
    identity_pod::run(cloud.services(), folder.path(), variables).await;
    cloud.asked()
}

fn bucket(endpoint: String, login: GcsLogin) -> GcsStore {
    let config = GcsConfig { endpoint: Some(endpoint), bucket: "b".into(), login, ca_pem: None };
    GcsStore::open(config).unwrap().with_retry(once())
}

#[tokio::test]
#[ignore = "run by the others, in a process of its own"]
async fn the_pod() {
    let endpoint = endpoint();
    if std::env::var(CLOUD).unwrap() == "google" {
        return read(&bucket(endpoint, GcsLogin::Ambient)).await;
    }
    let endpoint = format!("{endpoint}/account");
    let config = AzureConfig { endpoint, container: "c".into(), keys: Keys::Ambient, ca_pem: None };
    read(&AzureStore::open(config).unwrap().with_retry(once())).await;
}

#[tokio::test]
async fn workload_identity_of_azure_exchanges_the_token_of_the_cluster() {
    let asked = run("azure", |endpoint, token| {
        vec![
            ("AZURE_CLIENT_ID", "client".to_owned()),
            ("AZURE_TENANT_ID", "tenant".to_owned()),
            ("AZURE_FEDERATED_TOKEN_FILE", token.to_str().unwrap().to_owned()),
            ("AZURE_AUTHORITY_HOST", endpoint.to_owned()),
        ]
    })
    .await;
    assert_eq!(asked.len(), 2);
    assert!(asked[0].starts_with("/tenant/oauth2/v2.0/token "), "{asked:?}");
    assert!(asked[0].ends_with("&client_assertion=from%2Dthe%2Dcluster"), "{asked:?}");
}

#[tokio::test]
async fn a_managed_identity_of_azure_comes_from_the_machine() {
    let asked = run("azure", |endpoint, _| {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.to_owned()), ("AZURE_CLIENT_ID", "client".to_owned())]
    })
    .await;
    assert_eq!(asked.len(), 2);
    assert!(asked[0].starts_with("/metadata/identity/oauth2/token true api-version=2018"), "{asked:?}");
    assert!(asked[0].contains("&client_id=client"), "{asked:?}");
}

#[tokio::test]
async fn the_metadata_service_of_google_is_asked_again_when_its_token_is_refused() {
    let asked =
        run("google", |endpoint, _| vec![("GCE_METADATA_HOST", endpoint.trim_start_matches("http://").to_owned())])
            .await;
    let expected = "/computeMetadata/v1/instance/service-accounts/default/token Google  ";
    assert_eq!(asked, [expected, expected]);
}

#[tokio::test]
async fn a_service_account_of_google_signs_for_its_token() {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    let cloud = Cloud::default();
    beside(cloud.services(), async |endpoint: String| {
        let account = serde_json::json!({
            "type": "service_account", "client_email": "backup@test", "private_key_id": "kid",
            "private_key": key.serialize_pem(), "token_uri": format!("{endpoint}/token"),
        });
        std::fs::write(&file, account.to_string()).unwrap();
        read(&bucket(endpoint, GcsLogin::KeyFile(file.clone()))).await;
    })
    .await;
    let asked = cloud.asked();
    assert_eq!(asked.len(), 2);
    let assertion = asked[0].rsplit_once("assertion=").unwrap().1;
    let assertion = percent_decode_str(assertion).decode_utf8().unwrap().into_owned();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], "backup@test");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    let known = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let (_, algorithms) =
        known.mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    algorithms[0].verify_signature(key.der_bytes(), signed.as_bytes(), &signature).unwrap();
}
