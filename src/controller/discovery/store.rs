//! Milvus' own object store: bucket, path, endpoint, keys.

use serde::Serialize;

use super::resource::Resource;
use super::tls::{self, PemRef};
use super::{DiscoveryError, Found};
use crate::api::{Overrides, Provenance, S3SecretRef};

/// `minio.rootPath` of the Milvus image; Milvus Operator sets none.
const ROOT_PATH: &str = "files";
const CONFIG: &str = "/spec/config/minio";
const STORAGE: &str = "/spec/dependencies/storage";
const ONLY_S3: &str = "only S3 and S3-compatible stores can be backed up";
const FROM_A_SHELL: &str = "in a cluster only S3 and S3-compatible stores can be backed up; the commands of a shell know this one (milvus-backup create)";

/// Milvus' own object store.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// `http(s)://host[:port]`, the port only where it is not the scheme's own; none for AWS itself.
    pub endpoint: Option<Found<String>>,
    /// Region; none for the default.
    pub region: Option<Found<String>>,
    /// Bucket.
    pub bucket: Found<String>,
    /// Path of Milvus' data, without slashes at the ends.
    pub root_path: Found<String>,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    pub path_style: Found<bool>,
    /// Where the keys come from.
    pub keys: Keys,
    /// Certificate authority of the endpoint; none for the system's.
    pub ca: Option<Found<PemRef>>,
    /// Milvus Operator runs the store itself.
    pub in_cluster: bool,
    /// Deleting the Milvus resource removes the store.
    pub deleted_with_milvus: bool,
}

/// Where the keys of a store come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Keys {
    /// A Secret of the namespace.
    Secret(Found<S3SecretRef>),
    /// The cloud identity of the Job's ServiceAccount.
    Ambient(Provenance),
}

pub(super) fn find(
    resource: &Resource<'_>,
    overrides: &Overrides,
    notes: &mut Vec<String>,
) -> Result<Store, DiscoveryError> {
    refuse_other_stores(resource, overrides)?;
    let config = |field: &str| format!("{CONFIG}/{field}");
    let in_cluster = resource.flag(&format!("{STORAGE}/external")) != Some(true);
    let place = place(resource, overrides, in_cluster)?;
    let region = match resource.text(&config("region")) {
        Some(region) => Some(Found::new(region.to_owned(), Provenance::Spec)),
        None => place.region.map(|region| Found::new(region, place.from)),
    };
    let deletion_policy = resource.text(&format!("{STORAGE}/inCluster/deletionPolicy"));
    let root_path = match &overrides.root_path {
        Some(path) => Found::new(path.clone(), Provenance::Override),
        None => resource.or(&config("rootPath"), ROOT_PATH, Provenance::ImageDefault),
    };
    Ok(Store {
        path_style: path_style(resource, place.endpoint.is_none()),
        region,
        bucket: match &overrides.bucket {
            Some(bucket) => Found::new(bucket.clone(), Provenance::Override),
            None => resource.or(&config("bucketName"), resource.name, Provenance::OperatorDefault),
        },
        root_path: Found::new(root_path.value.trim_matches('/').to_owned(), root_path.from),
        keys: keys(resource, overrides, in_cluster)?,
        ca: certificate_authority(resource, notes),
        endpoint: place.endpoint.map(|endpoint| Found::new(endpoint, place.from)),
        in_cluster,
        deleted_with_milvus: in_cluster && deletion_policy == Some("Delete"),
    })
}

/// The ServiceAccount to borrow: only where its cloud identity opens the bucket, or an override names one.
pub(super) fn service_account(resource: &Resource<'_>, store: &Store, overrides: &Overrides) -> Option<Found<String>> {
    if let Some(name) = &overrides.service_account_name {
        return Some(Found::new(name.clone(), Provenance::Override));
    }
    if !matches!(store.keys, Keys::Ambient(_)) {
        return None;
    }
    // In a cluster the data nodes write the bucket; the proxy does not touch it.
    let components: &[&str] = if resource.is_cluster() { &["dataNode", "proxy"] } else { &["standalone"] };
    let own = components
        .iter()
        .find_map(|component| resource.text(&format!("/spec/components/{component}/serviceAccountName")));
    own.or_else(|| resource.text("/spec/components/serviceAccountName"))
        .map(|name| Found::new(name.to_owned(), Provenance::Spec))
}

fn refuse_other_stores(resource: &Resource<'_>, overrides: &Overrides) -> Result<(), DiscoveryError> {
    let refuse = |what: &str, instead: &'static str| {
        Err(DiscoveryError::Unsupported { milvus: resource.id(), what: what.to_owned(), instead })
    };
    let provider = resource.text(&format!("{CONFIG}/cloudProvider")).unwrap_or("aws");
    let iam = resource.flag(&format!("{CONFIG}/useIAM")) == Some(true) && overrides.storage_secret_name.is_none();
    if resource.text(&format!("{STORAGE}/type")) == Some("Azure") || provider == "azure" {
        return refuse("keeps its data in Azure Blob storage", FROM_A_SHELL);
    }
    if provider == "gcpnative" {
        return refuse("keeps its data in Google Cloud Storage by its native protocol", FROM_A_SHELL);
    }
    if resource.text("/spec/config/common/storageType") == Some("local") {
        return refuse("keeps its data on a local disk", ONLY_S3);
    }
    if iam && provider != "aws" {
        let what = format!("opens its bucket with the cloud identity of {provider} (useIAM)");
        return refuse(&what, "name a Secret with accesskey and secretkey in overrides.storageSecretName");
    }
    Ok(())
}

/// Endpoint and region as they were found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
}

struct FoundPlace {
    endpoint: Option<String>,
    region: Option<String>,
    from: Provenance,
}

fn place(resource: &Resource<'_>, overrides: &Overrides, in_cluster: bool) -> Result<FoundPlace, DiscoveryError> {
    if let Some(url) = &overrides.storage_endpoint {
        let Place { endpoint, region } = place_of_url(url);
        return Ok(FoundPlace { endpoint, region, from: Provenance::Override });
    }
    let ssl = resource.flag(&format!("{CONFIG}/useSSL")) == Some(true)
        || resource.flag(&format!("{STORAGE}/ssl/enabled")) == Some(true);
    let (address, from) = if in_cluster {
        // Milvus Operator writes over what a user puts here.
        (format!("{}-minio.{}:9000", resource.name, resource.namespace), Provenance::OperatorDefault)
    } else {
        let written = resource.text(&format!("{STORAGE}/endpoint")).ok_or_else(|| DiscoveryError::Invalid {
            milvus: resource.id(),
            what: "spec.dependencies.storage is external and names no endpoint: set it there, or in overrides.storageEndpoint"
                .to_owned(),
        })?;
        (written.to_owned(), Provenance::Spec)
    };
    let url =
        if address.contains("://") { address } else { format!("{}://{address}", if ssl { "https" } else { "http" }) };
    let Place { endpoint, region } = place_of_url(&url);
    Ok(FoundPlace { endpoint, region, from })
}

/// One spelling per endpoint: no trailing slash, no port that the scheme implies, none at all for AWS, whose region is in
/// the name.
pub(super) fn place_of_url(url: &str) -> Place {
    let url = url.trim().trim_end_matches('/');
    let (scheme, authority) = url.split_once("://").unwrap_or(("http", url));
    let implied = if scheme == "https" { ":443" } else { ":80" };
    let host = authority.strip_suffix(implied).unwrap_or(authority);
    match aws_region(host) {
        Some(region) => Place { endpoint: None, region: region.map(str::to_owned) },
        None => Place { endpoint: Some(format!("{scheme}://{host}")), region: None },
    }
}

/// `Some` for the public endpoints of AWS S3, with the region if the name holds one.
fn aws_region(host: &str) -> Option<Option<&str>> {
    let name = host.strip_suffix(".amazonaws.com.cn").or_else(|| host.strip_suffix(".amazonaws.com"))?;
    if name == "s3" {
        return Some(None);
    }
    let region = name.strip_prefix("s3.").or_else(|| name.strip_prefix("s3-"))?;
    (!region.contains('.')).then_some(Some(region))
}

/// Milvus asks AWS and other clouds by virtual host, everything else by path.
fn path_style(resource: &Resource<'_>, aws: bool) -> Found<bool> {
    if let Some(virtual_host) = resource.flag(&format!("{CONFIG}/useVirtualHost")) {
        return Found::new(!virtual_host, Provenance::Spec);
    }
    let other_cloud = resource.text(&format!("{CONFIG}/cloudProvider")).is_some_and(|provider| provider != "aws");
    if other_cloud {
        return Found::new(false, Provenance::OperatorDefault);
    }
    Found::new(!aws, Provenance::ImageDefault)
}

fn keys(resource: &Resource<'_>, overrides: &Overrides, in_cluster: bool) -> Result<Keys, DiscoveryError> {
    if let Some(name) = &overrides.storage_secret_name {
        return Ok(Keys::Secret(Found::new(S3SecretRef::named(name), Provenance::Override)));
    }
    if resource.flag(&format!("{CONFIG}/useIAM")) == Some(true) {
        return Ok(Keys::Ambient(Provenance::Spec));
    }
    if in_cluster {
        let name = format!("{}-minio", resource.name);
        return Ok(Keys::Secret(Found::new(S3SecretRef::named(&name), Provenance::OperatorDefault)));
    }
    match resource.text(&format!("{STORAGE}/secretRef")) {
        Some(name) => Ok(Keys::Secret(Found::new(S3SecretRef::named(name), Provenance::Spec))),
        None => Err(DiscoveryError::Invalid {
            milvus: resource.id(),
            what: "spec.dependencies.storage names no secretRef and useIAM is off, so the keys of its bucket are unknown: \
                   name a Secret with accesskey and secretkey there, or in overrides.storageSecretName"
                .to_owned(),
        }),
    }
}

fn certificate_authority(resource: &Resource<'_>, notes: &mut Vec<String>) -> Option<Found<PemRef>> {
    if resource.flag(&format!("{STORAGE}/ssl/insecureSkipVerify")) == Some(true) {
        notes.push(format!(
            "Milvus {} does not check its object store's certificate (insecureSkipVerify); this operator does",
            resource.id()
        ));
    }
    if let Some(name) = resource.text(&format!("{STORAGE}/ssl/caCertificateRef")) {
        return Some(Found::new(PemRef::secret(name, "ca.crt"), Provenance::Spec));
    }
    let path = resource.text(&format!("{CONFIG}/ssl/tlsCACert"))?;
    let found = tls::mounted(resource, path);
    if found.is_none() {
        notes.push(format!(
            "Milvus {} reads its object store's certificate authority from {path}, which is in no mounted Secret or \
             ConfigMap; the system's authorities are used",
            resource.id()
        ));
    }
    found.map(|pem| Found::new(pem, Provenance::Spec))
}

#[cfg(test)]
mod tests {
    use super::{Place, place_of_url};

    #[test]
    fn an_endpoint_has_one_spelling() {
        let endpoint = |url| place_of_url(url).endpoint.unwrap();
        assert_eq!(endpoint("http://minio:80/"), "http://minio");
        assert_eq!(endpoint("https://minio:443"), "https://minio");
        assert_eq!(endpoint("https://minio:9000"), "https://minio:9000");
        assert_eq!(endpoint("http://minio:443"), "http://minio:443");
        assert_eq!(endpoint("http://[2001:db8::80]:9000"), "http://[2001:db8::80]:9000");
    }

    #[test]
    fn aws_is_known_by_its_name_and_tells_its_region() {
        let aws = |region: Option<&str>| Place { endpoint: None, region: region.map(str::to_owned) };
        assert_eq!(place_of_url("https://s3.eu-central-1.amazonaws.com:443"), aws(Some("eu-central-1")));
        assert_eq!(place_of_url("http://s3-us-west-2.amazonaws.com"), aws(Some("us-west-2")));
        assert_eq!(place_of_url("https://s3.cn-north-1.amazonaws.com.cn"), aws(Some("cn-north-1")));
        assert_eq!(place_of_url("https://s3.amazonaws.com"), aws(None));
        assert!(place_of_url("https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com").endpoint.is_some());
        assert!(place_of_url("https://s3.amazonaws.com.example.org").endpoint.is_some());
    }
}
