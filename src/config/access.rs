//! Pure: from settings to the engine's targets.

use std::net::IpAddr;

use super::error::ConfigError;
use super::settings::{Auth, Provider, Settings, Storage, TlsMode};
use crate::engine::secret::Secret;
use crate::engine::task::{
    AuthFiles, Checksums, Credentials, EtcdTarget, MilvusTarget, Service, StoreTarget, TlsTarget,
};

impl Settings {
    /// The Milvus with its bucket, as a task names it.
    ///
    /// # Errors
    /// A provider the engine has no client for.
    pub fn milvus_target(&self) -> Result<MilvusTarget, ConfigError> {
        let milvus = &self.milvus;
        let tls = (milvus.tls != TlsMode::Disabled).then(|| TlsTarget {
            ca_file: milvus.ca_file.clone(),
            server_name: milvus.server_name.clone(),
            client: milvus.client.clone().filter(|_| milvus.tls == TlsMode::Mutual),
        });
        let auth = (!milvus.user.is_empty())
            .then(|| AuthFiles::Values { username: milvus.user.clone(), password: milvus.password.clone() });
        Ok(MilvusTarget {
            host: milvus.address.clone(),
            port: milvus.port,
            tls,
            auth,
            store: self.milvus_storage_target()?,
            live_config: None,
            rest: Some(milvus.rest_endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
            management: Some(milvus.management_endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
        })
    }

    /// The etcd of the Milvus, as a task names it.
    pub fn etcd_target(&self) -> EtcdTarget {
        let etcd = &self.milvus.etcd;
        EtcdTarget { endpoints: etcd.endpoints.clone(), root_path: etcd.root_path.clone() }
    }

    /// The bucket of Milvus, as a task names it; its prefix is Milvus' rootPath.
    ///
    /// # Errors
    /// As [`Settings::milvus_target`].
    pub fn milvus_storage_target(&self) -> Result<StoreTarget, ConfigError> {
        self.milvus_storage.target("milvus.storage")
    }

    /// The place of backups, as a task names it.
    ///
    /// # Errors
    /// As [`Settings::milvus_target`].
    pub fn backup_target(&self) -> Result<StoreTarget, ConfigError> {
        self.backup_storage.target("backup.storage")
    }
}

impl Storage {
    fn target(&self, section: &'static str) -> Result<StoreTarget, ConfigError> {
        let service = match self.provider {
            // A folder is the backup's own place only: a Milvus on local storage cannot be asked to import from elsewhere.
            Provider::Local if section == "backup.storage" => {
                return Ok(StoreTarget { folder: Some(self.root_path.clone().into()), ..StoreTarget::default() });
            }
            Provider::Local => {
                return Err(ConfigError::Unsupported(format!(
                    "{section}.provider local is not supported by this version: use an S3-compatible store (minio, s3, aws, \
                     gcp, aliyun, tencent, hwc), azure or gcpnative"
                )));
            }
            Provider::Azure => Service::Azure,
            Provider::GcpNative => Service::Gcs,
            _ => Service::S3,
        };
        let credentials = match &self.auth {
            Auth::Static { access_key, secret_key, session_token } => Credentials::Values {
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
                session_token: session_token.clone(),
            },
            Auth::Ambient => Credentials::Ambient,
            Auth::SharedKey(key) => Credentials::Values {
                access_key: Secret::new(&self.account_name),
                secret_key: key.clone(),
                session_token: None,
            },
            Auth::ServiceAccount(key_file) => Credentials::ServiceAccount { key_file: key_file.clone() },
        };
        Ok(StoreTarget {
            service,
            endpoint: match service {
                Service::S3 => self.endpoint(),
                Service::Azure => Some(self.azure_endpoint()),
                Service::Gcs => self.google_endpoint(),
            },
            region: (!self.region.is_empty()).then(|| self.region.clone()),
            bucket: self.bucket.clone(),
            prefix: self.root_path.trim_matches('/').to_owned(),
            path_style: self.path_style(),
            credentials,
            checksums: if self.provider == Provider::Aws { Checksums::WhenSupported } else { Checksums::WhenRequired },
            ..StoreTarget::default()
        })
    }

    /// The Go tool puts the account and `blob` before the address and always speaks https (milvus-backup 0.6,
    /// `internal/storage/azure.go`). An address that can have nothing before it is an emulator's, which takes the account in
    /// the path.
    fn azure_endpoint(&self) -> String {
        let (account, address, port) = (&self.account_name, &self.address, self.port);
        if address.parse::<IpAddr>().is_ok() || !address.contains('.') {
            let scheme = if self.use_ssl { "https" } else { "http" };
            return format!("{scheme}://{address}:{port}/{account}");
        }
        let suffix = address.strip_prefix(&format!("{account}.")).unwrap_or(address);
        let suffix = suffix.strip_prefix("blob.").unwrap_or(suffix);
        format!("https://{account}.blob.{suffix}:{port}")
    }

    /// Google's own hosts are the client's to know (milvus-backup 0.6, `internal/storage/gcp_native.go`); other addresses
    /// are emulators.
    fn google_endpoint(&self) -> Option<String> {
        let google = self.address == "googleapis.com" || self.address.ends_with(".googleapis.com");
        let scheme = if self.use_ssl { "https" } else { "http" };
        (!google && !self.address.is_empty()).then(|| format!("{scheme}://{}:{}", self.address, self.port))
    }

    /// Amazon's own endpoints are made by its client from the region; `s3.amazonaws.com` itself answers for one region only.
    fn endpoint(&self) -> Option<String> {
        if self.provider == Provider::Aws && self.address.ends_with(".amazonaws.com") && !self.region.is_empty() {
            return None;
        }
        let scheme = if self.use_ssl { "https" } else { "http" };
        Some(format!("{scheme}://{}:{}", self.address, self.port))
    }

    /// Alibaba, Tencent and Huawei accept the bucket in the host name only.
    fn path_style(&self) -> bool {
        !matches!(self.provider, Provider::Aliyun | Provider::Tencent | Provider::Hwc) && self.endpoint().is_some()
    }
}
