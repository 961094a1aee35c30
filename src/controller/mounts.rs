//! Pure: the Secrets and ConfigMaps a Job mounts, and the paths the task names them by.
//!
//! The controller reads neither. Every volume is optional, so that a missing Secret or key does not leave the pod hanging in
//! `ContainerCreating` where no status tells why: the runner starts, sees which file is missing and names key and Secret,
//! which it reads off the path.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use super::discovery::{Keys, PemKind, PemRef, Store};
use crate::{
    api::{MilvusBackupLocationSpec, S3Location, S3SecretRef},
    engine::task::{Credentials, StoreTarget},
};

/// Folder in the pod; below it one folder per Secret, with one file per key.
pub const SECRETS: &str = "/var/run/milvus-backup";
/// Folder in the pod; below it one folder per ConfigMap.
pub const CONFIG_MAPS: &str = "/var/run/milvus-backup-config";
/// Files are read by the runner's user, which owns none of them.
const READABLE: i32 = 0o444;

/// A bucket, or a part of one, with its keys by name.
#[derive(Debug, Clone, PartialEq)]
pub struct StorePlace {
    /// `http(s)://host:port`; none for AWS.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Prefix without leading or trailing slash.
    pub prefix: String,
    /// Addressing.
    pub path_style: bool,
    /// Keys; none for the identity of the Job's ServiceAccount.
    pub keys: Option<S3SecretRef>,
    /// Certificate authority.
    pub ca: Option<PemRef>,
}

impl StorePlace {
    /// Milvus' own bucket, with another prefix than its data has.
    pub fn of_milvus(store: &Store, prefix: &str) -> StorePlace {
        StorePlace {
            endpoint: store.endpoint.as_ref().map(|endpoint| endpoint.value.clone()),
            region: store.region.as_ref().map(|region| region.value.clone()),
            bucket: store.bucket.value.clone(),
            prefix: prefix.trim_matches('/').to_owned(),
            path_style: store.path_style.value,
            keys: match &store.keys {
                Keys::Secret(secret) => Some(secret.value.clone()),
                Keys::Ambient(_) => None,
            },
            ca: store.ca.as_ref().map(|ca| ca.value.clone()),
        }
    }

    /// The bucket of a location.
    pub fn of_location(spec: &MilvusBackupLocationSpec) -> StorePlace {
        let S3Location { bucket, prefix, region, endpoint, path_style } = &spec.s3;
        let ca = spec.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref());
        StorePlace {
            endpoint: endpoint.clone(),
            region: region.clone(),
            bucket: bucket.clone(),
            prefix: prefix.trim_matches('/').to_owned(),
            path_style: path_style.unwrap_or(endpoint.is_some()),
            keys: spec.credentials.as_ref().and_then(|credentials| credentials.secret_ref.clone()),
            ca: ca.map(|ca| PemRef::secret(&ca.name, &ca.key)),
        }
    }

    /// `s3://bucket/prefix/name`.
    pub fn uri(&self, name: &str) -> String {
        let parts = [self.bucket.as_str(), self.prefix.trim_matches('/'), name];
        let path: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("s3://{}", path.join("/"))
    }
}

/// What a Job mounts, collected while its task is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    secrets: BTreeMap<String, BTreeSet<String>>,
    config_maps: BTreeMap<String, BTreeSet<String>>,
}

impl Mounts {
    /// Mounts one key of a Secret; answers its path.
    pub fn secret(&mut self, secret: &str, key: &str) -> PathBuf {
        self.secrets.entry(secret.to_owned()).or_default().insert(key.to_owned());
        PathBuf::from(format!("{SECRETS}/{secret}/{key}"))
    }

    /// Mounts one key of a ConfigMap; answers its path.
    pub fn config_map(&mut self, name: &str, key: &str) -> PathBuf {
        self.config_maps.entry(name.to_owned()).or_default().insert(key.to_owned());
        PathBuf::from(format!("{CONFIG_MAPS}/{name}/{key}"))
    }

    /// Mounts a PEM text.
    pub fn pem(&mut self, pem: &PemRef) -> PathBuf {
        match pem.kind {
            PemKind::Secret => self.secret(&pem.name, &pem.key),
            PemKind::ConfigMap => self.config_map(&pem.name, &pem.key),
        }
    }

    /// A store as the task names it.
    pub fn store(&mut self, place: &StorePlace) -> StoreTarget {
        let StorePlace { endpoint, region, bucket, prefix, path_style, keys, ca } = place;
        StoreTarget {
            endpoint: endpoint.clone(),
            region: region.clone(),
            bucket: bucket.clone(),
            prefix: prefix.trim_matches('/').to_owned(),
            path_style: *path_style,
            credentials: match keys {
                Some(S3SecretRef { name, access_key_field, secret_key_field, session_token_field }) => {
                    Credentials::Files {
                        access_key: self.secret(name, access_key_field),
                        secret_key: self.secret(name, secret_key_field),
                        session_token: session_token_field.as_ref().map(|field| self.secret(name, field)),
                    }
                }
                None => Credentials::Ambient,
            },
            ca_file: ca.as_ref().map(|ca| self.pem(ca)),
            ..StoreTarget::default()
        }
    }

    /// The volumes and where they are mounted.
    pub fn volumes(&self) -> (Vec<Volume>, Vec<VolumeMount>) {
        let mut volumes = Vec::new();
        let mut mounts = Vec::new();
        let mut add = |volume: Volume, path: String| {
            mounts.push(VolumeMount {
                name: volume.name.clone(),
                mount_path: path,
                read_only: Some(true),
                ..VolumeMount::default()
            });
            volumes.push(volume);
        };
        for (index, (secret, keys)) in self.secrets.iter().enumerate() {
            let source = SecretVolumeSource {
                secret_name: Some(secret.clone()),
                items: Some(items(keys)),
                optional: Some(true),
                default_mode: Some(READABLE),
            };
            let volume = Volume { name: format!("secret-{index}"), secret: Some(source), ..Volume::default() };
            add(volume, format!("{SECRETS}/{secret}"));
        }
        for (index, (name, keys)) in self.config_maps.iter().enumerate() {
            let source = ConfigMapVolumeSource {
                name: name.clone(),
                items: Some(items(keys)),
                optional: Some(true),
                default_mode: Some(READABLE),
            };
            let volume = Volume { name: format!("config-{index}"), config_map: Some(source), ..Volume::default() };
            add(volume, format!("{CONFIG_MAPS}/{name}"));
        }
        (volumes, mounts)
    }
}

fn items(keys: &BTreeSet<String>) -> Vec<KeyToPath> {
    keys.iter().map(|key| KeyToPath { key: key.clone(), path: key.clone(), mode: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bucket: &str, prefix: &str) -> StorePlace {
        StorePlace {
            endpoint: Some("http://minio:9000".to_owned()),
            region: None,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            path_style: true,
            keys: Some(S3SecretRef::named("keys")),
            ca: Some(PemRef { kind: PemKind::ConfigMap, name: "ca".to_owned(), key: "ca.crt".to_owned() }),
        }
    }

    #[test]
    fn a_secret_used_twice_is_mounted_once_with_both_keys() {
        let mut mounts = Mounts::default();
        let first = mounts.store(&place("a", "x/"));
        mounts.store(&place("b", "y"));
        assert_eq!(first.prefix, "x");
        let (volumes, paths) = mounts.volumes();
        assert_eq!(volumes.len(), 2, "one Secret, one ConfigMap");
        let source = volumes[0].secret.as_ref().unwrap();
        assert_eq!(source.items.as_ref().unwrap().len(), 2);
        assert_eq!(source.optional, Some(true), "a missing Secret must not leave the pod hanging");
        assert_eq!(paths[0].mount_path, "/var/run/milvus-backup/keys");
        assert_eq!(first.ca_file.unwrap().to_str(), Some("/var/run/milvus-backup-config/ca/ca.crt"));
    }

    #[test]
    fn a_uri_has_no_empty_parts() {
        assert_eq!(place("b", "").uri("name"), "s3://b/name");
        assert_eq!(place("b", "x/y/").uri("name"), "s3://b/x/y/name");
    }
}
