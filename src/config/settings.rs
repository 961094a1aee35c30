//! The settings of a shell run or of the REST server, typed and resolved.
//!
//! Only what is acted upon is here; the keys behind it, with those that have no effect, are in [`super::keys`].

use std::path::PathBuf;

use crate::engine::secret::Secret;
use crate::engine::task::Limits;

/// Everything a run needs to know about its surroundings. Holds no secret that `Debug` would show.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The Milvus server.
    pub milvus: Milvus,
    /// Where that server keeps its data.
    pub milvus_storage: Storage,
    /// Where backups are kept.
    pub backup_storage: Storage,
    /// Whether garbage collection of Milvus is asked to pause while a backup copies.
    pub pause_gc: bool,
    /// How objects get from one store to the other.
    pub transfer: Transfer,
    /// The REST server.
    pub server: Server,
    /// Zilliz Cloud.
    pub cloud: Cloud,
    /// Level of the log: `debug`, `info`, `warn`, `error`.
    pub log_level: String,
}

/// Address of and log-in to a Milvus.
#[derive(Debug, Clone, PartialEq)]
pub struct Milvus {
    /// Host name or address of the proxy.
    pub address: String,
    /// gRPC port.
    pub port: u16,
    /// User; empty where the server asks for none.
    pub user: String,
    /// Password of that user.
    pub password: Secret,
    /// Encryption of the connection.
    pub tls: TlsMode,
    /// PEM file with the certificate authority; none for the system's.
    pub ca_file: Option<PathBuf>,
    /// Name in the certificate where it is not the host.
    pub server_name: Option<String>,
    /// Client certificate and key for [`TlsMode::Mutual`].
    pub client: Option<(PathBuf, PathBuf)>,
    /// `http(s)://host:port` of the REST interface; empty for the gRPC port.
    pub rest_endpoint: String,
    /// `http(s)://host:port` of the management interface.
    pub management_endpoint: String,
    /// Its etcd; read only where a request asks for it.
    pub etcd: Etcd,
}

/// The etcd of a Milvus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// `host:port` of its members.
    pub endpoints: Vec<String>,
    /// Root of Milvus' keys.
    pub root_path: String,
}

/// Encryption of the connection to Milvus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain text.
    #[default]
    Disabled,
    /// The server shows a certificate.
    Server,
    /// Both sides do.
    Mutual,
}

/// A bucket, or a directory, with its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Whose service it is.
    pub provider: Provider,
    /// Host without scheme.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Region, may be empty.
    pub region: String,
    /// Whether the endpoint speaks https.
    pub use_ssl: bool,
    /// Bucket, or container in Azure.
    pub bucket: String,
    /// Key prefix without slashes at its ends; a directory for [`Provider::Local`].
    pub root_path: String,
    /// [`Provider::Local`]: the same directory as the Milvus process sees it.
    pub local_path: String,
    /// Azure account.
    pub account_name: String,
    /// Where its keys come from.
    pub auth: Auth,
}

/// Services the Go tool knows (milvus-backup 0.6, `internal/cfg/v2/storage.go`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Provider {
    /// A directory.
    Local,
    /// MinIO, and whatever speaks S3 with the bucket in the path.
    #[default]
    Minio,
    /// Another S3 service.
    S3,
    /// Amazon.
    Aws,
    /// Google by its S3 interface.
    Gcp,
    /// Google by its own.
    GcpNative,
    /// Azure blobs.
    Azure,
    /// Alibaba OSS.
    Aliyun,
    /// Tencent COS.
    Tencent,
    /// Huawei OBS.
    Hwc,
}

impl Provider {
    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Provider::Local => "local",
            Provider::Minio => "minio",
            Provider::S3 => "s3",
            Provider::Aws => "aws",
            Provider::Gcp => "gcp",
            Provider::GcpNative => "gcpnative",
            Provider::Azure => "azure",
            Provider::Aliyun => "aliyun",
            Provider::Tencent => "tencent",
            Provider::Hwc => "hwc",
        }
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Where the keys of a store come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Auth {
    /// Keys in the settings.
    Static {
        /// Access key id.
        access_key: Secret,
        /// Secret key.
        secret_key: Secret,
        /// Session token of temporary keys.
        session_token: Option<Secret>,
    },
    /// The identity of the machine or pod (`iam`, `default`).
    Ambient,
    /// Azure account key.
    SharedKey(Secret),
    /// Google service-account file.
    ServiceAccount(PathBuf),
}

/// How objects get from one store to the other, and how they are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Objects in flight at once; none for the engine's own bound.
    pub concurrency: Option<u32>,
    /// Most bytes in a second. No key of a file: said for a single run.
    pub bytes_per_second: Option<u64>,
    /// Most requests in a second. No key of a file: said for a single run.
    pub requests_per_second: Option<u32>,
}

/// The REST server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Prefix of the pages behind a proxy.
    pub swagger_base_path: String,
}

/// Zilliz Cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloud {
    /// Base of its API.
    pub endpoint: String,
    /// Key of its API.
    pub api_key: Secret,
}

impl Transfer {
    /// The bounds of a task.
    pub fn limits(&self) -> Limits {
        let Transfer { concurrency, bytes_per_second, requests_per_second } = *self;
        Limits { concurrency, bytes_per_second, requests_per_second }
    }
}

impl Settings {
    /// The same settings with backups in another bucket or below another prefix, as a request may ask.
    pub fn with_backups_at(&self, bucket: Option<&str>, root_path: Option<&str>) -> Settings {
        let mut settings = self.clone();
        if let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) {
            settings.backup_storage.bucket = bucket.to_owned();
        }
        if let Some(root) = root_path.filter(|root| !root.is_empty()) {
            settings.backup_storage.root_path = root.to_owned();
        }
        settings
    }
}

impl Default for Settings {
    /// What holds where nothing is set (milvus-backup 0.6, `internal/cfg/v2/cfg.go`).
    fn default() -> Self {
        Settings {
            milvus: Milvus {
                address: "localhost".into(),
                port: 19530,
                user: String::new(),
                password: Secret::default(),
                tls: TlsMode::Disabled,
                ca_file: None,
                server_name: None,
                client: None,
                rest_endpoint: String::new(),
                management_endpoint: "http://localhost:9091".into(),
                etcd: Etcd { endpoints: vec!["localhost:2379".into()], root_path: "by-dev".into() },
            },
            milvus_storage: Storage::default(),
            backup_storage: Storage { root_path: "backup".into(), ..Storage::default() },
            pause_gc: true,
            transfer: Transfer::default(),
            server: Server::default(),
            cloud: Cloud { endpoint: "https://api.cloud.zilliz.com".into(), api_key: Secret::default() },
            log_level: "info".into(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            provider: Provider::default(),
            address: "localhost".into(),
            port: 9000,
            region: String::new(),
            use_ssl: false,
            bucket: "a-bucket".into(),
            root_path: "files".into(),
            local_path: String::new(),
            account_name: String::new(),
            auth: Auth::Static {
                access_key: Secret::new("minioadmin"),
                secret_key: Secret::new("minioadmin"),
                session_token: None,
            },
        }
    }
}
