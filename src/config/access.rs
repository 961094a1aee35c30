//! Pure: from settings to the engine's targets.

use super::error::ConfigError;
use super::settings::{Auth, Provider, Settings, Storage, TlsMode};
use crate::engine::task::{AuthFiles, Checksums, Credentials, MilvusTarget, StoreTarget, TlsTarget};

impl Settings {
    /// The Milvus with its bucket, as a task names it.
    ///
    /// # Errors
    /// A provider or a kind of log-in the engine has no client for.
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
        let unsupported = |what: &str| {
            Err(ConfigError::Unsupported(format!(
                "{section}.{what} is not supported by this version: use an S3-compatible store (minio, s3, aws, gcp, aliyun, \
                 tencent, hwc)"
            )))
        };
        match self.provider {
            // A folder is the backup's own place only: a Milvus on local storage cannot be asked to import from elsewhere.
            Provider::Local if section == "backup.storage" => {
                return Ok(StoreTarget { folder: Some(self.root_path.clone().into()), ..StoreTarget::default() });
            }
            Provider::Local => return unsupported("provider local"),
            Provider::Azure => return unsupported("provider azure"),
            Provider::GcpNative => return unsupported("provider gcpnative"),
            _ => {}
        }
        let credentials = match &self.auth {
            Auth::Static { access_key, secret_key, session_token } => Credentials::Values {
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
                session_token: session_token.clone(),
            },
            Auth::Ambient => Credentials::Ambient,
            Auth::SharedKey(_) => return unsupported("auth.type sharedKey"),
            Auth::ServiceAccount(_) => return unsupported("auth.type serviceAccount"),
        };
        Ok(StoreTarget {
            endpoint: self.endpoint(),
            region: (!self.region.is_empty()).then(|| self.region.clone()),
            bucket: self.bucket.clone(),
            prefix: self.root_path.trim_matches('/').to_owned(),
            path_style: self.path_style(),
            credentials,
            checksums: if self.provider == Provider::Aws { Checksums::WhenSupported } else { Checksums::WhenRequired },
            ..StoreTarget::default()
        })
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
