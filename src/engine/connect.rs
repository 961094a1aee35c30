//! From a task's targets to open stores and a connected server.
//!
//! The only place that reads mounted files, but for keys, which the store reads again when they are refused. A missing
//! file is named by its Secret and key, which are the last two parts of its path by the controller's convention; its
//! content never reaches a message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::EngineError;
use super::task::{self, AuthFiles, Credentials, MilvusTarget, Service, StoreTarget};
use crate::milvus::{self, ConnectOptions, Milvus};
use crate::storage::{
    AzureConfig, AzureStore, Checksums, FolderStore, GcsConfig, GcsLogin, GcsStore, Keys, S3Config, S3Store, Store,
    StoreError,
};

/// Region for stores that do not care but whose signature needs one.
const DEFAULT_REGION: &str = "us-east-1";
/// How long one call is repeated inside the client; longer waits are the engine's (`patience`).
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the bucket or the folder of a target.
///
/// # Errors
/// Missing or unreadable key files, an endpoint that is no URL.
pub async fn store(target: &StoreTarget) -> Result<Arc<dyn Store>, EngineError> {
    if let Some(folder) = &target.folder {
        return Ok(Arc::new(FolderStore::open(folder)?));
    }
    let ca_pem = match &target.ca_file {
        Some(path) => Some(bytes(path).await?),
        None => None,
    };
    match target.service {
        Service::S3 => s3(target, ca_pem).await,
        Service::Azure => azure(target, ca_pem).await,
        Service::Gcs => gcs(target, ca_pem).await,
    }
}

async fn s3(target: &StoreTarget, ca_pem: Option<Vec<u8>>) -> Result<Arc<dyn Store>, EngineError> {
    let store = S3Store::open(S3Config {
        endpoint: target.endpoint.clone(),
        region: target.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        bucket: target.bucket.clone(),
        path_style: target.path_style,
        keys: keys(&target.credentials).await?,
        ca_pem,
        checksums: match target.checksums {
            task::Checksums::WhenRequired => Checksums::WhenRequired,
            task::Checksums::WhenSupported => Checksums::WhenSupported,
        },
    })
    .await?;
    Ok(Arc::new(store))
}

async fn azure(target: &StoreTarget, ca_pem: Option<Vec<u8>>) -> Result<Arc<dyn Store>, EngineError> {
    let Some(endpoint) = target.endpoint.clone() else {
        let said =
            "a container of Azure is named with the address of its account: https://ACCOUNT.blob.core.windows.net";
        return Err(StoreError::Setup(said.into()).into());
    };
    let keys = keys(&target.credentials).await?;
    Ok(Arc::new(AzureStore::open(AzureConfig { endpoint, container: target.bucket.clone(), keys, ca_pem })?))
}

async fn gcs(target: &StoreTarget, ca_pem: Option<Vec<u8>>) -> Result<Arc<dyn Store>, EngineError> {
    let login = match &target.credentials {
        Credentials::Ambient => GcsLogin::Ambient,
        Credentials::ServiceAccount { key_file } => {
            // The store reads it itself, now and later; here a missing one can still be named by its Secret.
            text(key_file).await?;
            GcsLogin::KeyFile(key_file.clone())
        }
        Credentials::Files { .. } | Credentials::Values { .. } => {
            let said = "Google Cloud Storage knows no access keys but by its S3 interface: give the key file of a service account";
            return Err(StoreError::Setup(said.into()).into());
        }
    };
    let config = GcsConfig { endpoint: target.endpoint.clone(), bucket: target.bucket.clone(), login, ca_pem };
    Ok(Arc::new(GcsStore::open(config)?))
}

async fn keys(credentials: &Credentials) -> Result<Keys, EngineError> {
    Ok(match credentials.clone() {
        Credentials::Ambient => Keys::Ambient,
        Credentials::Values { access_key, secret_key, session_token } => Keys::Static {
            access_key: access_key.expose().to_owned(),
            secret_key: secret_key.expose().to_owned(),
            session_token: session_token.as_ref().map(|token| token.expose().to_owned()),
        },
        Credentials::Files { access_key, secret_key, session_token } => {
            // The store reads them itself, now and later; here a missing one can still be named by its Secret.
            for path in [&access_key, &secret_key].into_iter().chain(&session_token) {
                text(path).await?;
            }
            Keys::Files { access_key, secret_key, session_token }
        }
        Credentials::ServiceAccount { .. } => {
            let said = "the key file of a service account opens buckets of Google Cloud Storage only";
            return Err(StoreError::Setup(said.into()).into());
        }
    })
}

/// Connects to the server of a target.
///
/// # Errors
/// Missing files, an unreachable server, a refused log-in.
pub async fn milvus(target: &MilvusTarget) -> Result<Milvus, EngineError> {
    let tls = match &target.tls {
        None => None,
        Some(tls) => Some(milvus::Tls {
            ca_pem: match &tls.ca_file {
                Some(path) => Some(bytes(path).await?),
                None => None,
            },
            server_name: tls.server_name.clone(),
            client: match &tls.client {
                Some((certificate, key)) => Some((bytes(certificate).await?, bytes(key).await?)),
                None => None,
            },
        }),
    };
    let credentials = match &target.auth {
        None => None,
        Some(AuthFiles::Password { username, password }) => {
            Some(milvus::Credentials::UserPassword { user: text(username).await?, password: text(password).await? })
        }
        Some(AuthFiles::Values { username, password }) => {
            Some(milvus::Credentials::UserPassword { user: username.clone(), password: password.expose().to_owned() })
        }
        Some(AuthFiles::Token { token }) => Some(milvus::Credentials::Token(text(token).await?)),
    };
    let options = ConnectOptions {
        tls,
        credentials,
        rest: target.rest.clone(),
        management: target.management.clone(),
        patience: PATIENCE,
        ..ConnectOptions::new(target.host.clone(), target.port)
    };
    Ok(Milvus::connect(options).await?)
}

async fn text(path: &Path) -> Result<String, EngineError> {
    let raw = bytes(path).await?;
    let text = String::from_utf8(raw).map_err(|_| setup(format!("{} is not text", origin(path))))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn bytes(path: &Path) -> Result<Vec<u8>, EngineError> {
    tokio::fs::read(path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => setup(format!("{} does not exist: create it, or name another", origin(path))),
        _ => setup(format!("{} cannot be read: {error}", origin(path))),
    })
}

/// `key k of Secret s` for a mounted file.
fn origin(path: &Path) -> String {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    format!("key {} of Secret {}", part(Some(path)), part(path.parent()))
}

fn setup(message: String) -> EngineError {
    EngineError::Setup { reason: "SecretNotFound", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_key_is_named_with_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prod-keys").join("accesskey");
        let said = text(&path).await.unwrap_err().to_string();
        assert_eq!(said, "key accesskey of Secret prod-keys does not exist: create it, or name another");
    }

    #[tokio::test]
    async fn a_store_whose_key_file_is_missing_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join("prod-keys").join(name);
        let credentials =
            Credentials::Files { access_key: file("accesskey"), secret_key: file("secretkey"), session_token: None };
        let target = StoreTarget { bucket: "b".into(), credentials, ..StoreTarget::default() };
        std::fs::create_dir(folder.path().join("prod-keys")).unwrap();
        std::fs::write(file("accesskey"), "a").unwrap();
        let said = store(&target).await.unwrap_err().to_string();
        assert!(said.contains("key secretkey of Secret prod-keys"), "{said}");
        std::fs::write(file("secretkey"), "s").unwrap();
        store(&target).await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_is_a_store_without_keys() {
        let folder = tempfile::tempdir().unwrap();
        let target = StoreTarget { folder: Some(folder.path().to_owned()), ..StoreTarget::default() };
        let store = store(&target).await.unwrap();
        store.put("backup/a", bytes::Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("backup/a")).unwrap(), b"x");
    }

    #[tokio::test]
    async fn a_trailing_line_end_is_no_part_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "abc\n").unwrap();
        assert_eq!(text(&path).await.unwrap(), "abc");
    }
}
