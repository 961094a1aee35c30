//! Where things are: stores, servers, and the files that hold their keys. No secret, but where it is given by value.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::yes;
use crate::engine::secret::Secret;

/// Where objects are kept: a bucket, a container or a directory, or a part of one.
///
/// Writers fill in what they know and take the rest from [`StoreTarget::default`], so that a field can be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreTarget {
    /// A directory (a mounted volume) in place of a bucket: objects are files below it, named by their keys, as the Go
    /// tool's provider `local` keeps them below its rootPath. It must exist. Endpoint, region, bucket, credentials and
    /// what else is about S3 then mean nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What the service speaks.
    #[serde(default, skip_serializing_if = "Service::is_default")]
    pub service: Service,
    /// `http(s)://host:port`; none for AWS and Google themselves. Of Azure the address of the account:
    /// `https://ACCOUNT.blob.core.windows.net`, or `http://host:port/ACCOUNT` of an emulator.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region; `us-east-1` where none is given. Of S3 alone.
    #[serde(default)]
    pub region: Option<String>,
    /// Bucket name, container in Azure; empty where there is a folder.
    #[serde(default)]
    pub bucket: String,
    /// Key prefix without leading or trailing slash; may be empty.
    #[serde(default)]
    pub prefix: String,
    /// `true` addresses `endpoint/bucket/key`, `false` `bucket.endpoint/key`.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Where keys come from.
    #[serde(default)]
    pub credentials: Credentials,
    /// PEM file with the certificate authority of the endpoint.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Checksums sent with requests and asked for with answers.
    #[serde(default, skip_serializing_if = "Checksums::is_default")]
    pub checksums: Checksums,
}

impl Default for StoreTarget {
    /// Path style and ambient keys, nothing else: not usable before a bucket or a folder is named.
    fn default() -> Self {
        StoreTarget {
            folder: None,
            service: Service::default(),
            endpoint: None,
            region: None,
            bucket: String::new(),
            prefix: String::new(),
            path_style: true,
            credentials: Credentials::default(),
            ca_file: None,
            checksums: Checksums::default(),
        }
    }
}

/// The protocols of object stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// S3, and whatever speaks it.
    #[default]
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage by its own protocol.
    Gcs,
}

impl Service {
    fn is_default(&self) -> bool {
        *self == Service::default()
    }
}

/// When S3 requests carry checksums (CRC32 in trailers) and answers are checked against theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checksums {
    /// Only where S3 asks for them: many services that speak S3 know no others.
    #[default]
    WhenRequired,
    /// Wherever S3 knows them: AWS itself.
    WhenSupported,
}

impl Checksums {
    fn is_default(&self) -> bool {
        *self == Checksums::default()
    }
}

/// Where the keys of a store come from. Files are read anew for every attempt, and when the store refuses what was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credentials {
    /// Mounted files, one value each.
    Files {
        /// File with the access key id; in Azure with the name of the account.
        access_key: PathBuf,
        /// File with the secret key; in Azure with the key of the account.
        secret_key: PathBuf,
        /// File with a session token, for temporary keys.
        session_token: Option<PathBuf>,
    },
    /// The key file (JSON) of a Google service account.
    ServiceAccount {
        /// The file.
        key_file: PathBuf,
    },
    /// The environment's own identity: IRSA, pod identity, instance role, environment variables; in Azure workload
    /// identity or a managed identity, in Google workload identity or the instance's service account.
    #[default]
    Ambient,
    /// The keys themselves, for a task that is carried out in the process that made it. Cannot be written as JSON.
    #[serde(skip)]
    Values {
        /// Access key id; in Azure the name of the account.
        access_key: Secret,
        /// Secret key; in Azure the key of the account.
        secret_key: Secret,
        /// Session token, for temporary keys.
        session_token: Option<Secret>,
    },
}

/// A Milvus server and the bucket it keeps its data in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MilvusTarget {
    /// Host name or address of the proxy.
    pub host: String,
    /// gRPC port.
    pub port: u16,
    /// Encryption of the connection; none for plain text.
    #[serde(default)]
    pub tls: Option<TlsTarget>,
    /// Log-in; none where the server asks for none.
    #[serde(default)]
    pub auth: Option<AuthFiles>,
    /// Milvus' own bucket; its `prefix` is Milvus' rootPath.
    pub store: StoreTarget,
    /// `http(s)://host:port` of the REST API; none for the gRPC port, which serves it too by default.
    #[serde(default)]
    pub rest: Option<String>,
    /// `http(s)://host:port` of the management port; none for port 9091 of `host`.
    #[serde(default)]
    pub management: Option<String>,
    /// Mounted `user.yaml` of the live server, compared with `store` before anything is done.
    #[serde(default)]
    pub live_config: Option<PathBuf>,
}

/// The etcd of a Milvus, read over plain TCP and without a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdTarget {
    /// `host:port` of its members, tried in turn.
    pub endpoints: Vec<String>,
    /// Milvus' `etcd.rootPath`.
    pub root_path: String,
}

/// How the server's certificate is checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsTarget {
    /// PEM file with the certificate authority; none for the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Name in the certificate where it is not the host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Client certificate and key (PEM files) for mutual TLS.
    #[serde(default)]
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Mounted log-in files, or a log-in known to this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthFiles {
    /// User name and password.
    Password {
        /// File with the user name.
        username: PathBuf,
        /// File with the password.
        password: PathBuf,
    },
    /// One token (`user:password` or an API key).
    Token {
        /// File with the token.
        token: PathBuf,
    },
    /// The log-in itself, for a task that is carried out in the process that made it. Cannot be written as JSON.
    #[serde(skip)]
    Values {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
}
