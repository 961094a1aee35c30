//! Encryption of the gRPC connection: which Secret holds what the client needs.
//!
//! Milvus' configuration names files inside its container. They are followed through the mounts and volumes of the resource
//! to the object that holds them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::resource::Resource;
use super::{DiscoveryError, Found};
use crate::api::{ConnectionTls, Overrides, Provenance};

/// Milvus runs in this directory; relative paths of its configuration start here.
const WORK_DIR: &str = "/milvus";
const CONFIG: &str = "/spec/config/common/tls";

/// Encryption of the gRPC connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Certificate authority of the server; none for the system's.
    pub ca: Option<Found<PemRef>>,
    /// Name in the server's certificate; none for the host.
    pub server_name: Option<Found<String>>,
    /// Certificate and key of the client, for mutual TLS.
    pub client: Option<Found<ClientPair>>,
}

/// A PEM text in an object of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PemRef {
    /// Kind of the object.
    pub kind: PemKind,
    /// Name of the object.
    pub name: String,
    /// Field in it.
    pub key: String,
}

/// Kinds of objects that hold PEM texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PemKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// Certificate and key of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientPair {
    /// Certificate.
    pub certificate: PemRef,
    /// Its private key.
    pub private_key: PemRef,
}

impl PemRef {
    /// A field of a Secret.
    pub fn secret(name: &str, key: &str) -> Self {
        PemRef { kind: PemKind::Secret, name: name.to_owned(), key: key.to_owned() }
    }
}

impl fmt::Display for PemRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PemKind::Secret => "Secret",
            PemKind::ConfigMap => "ConfigMap",
        };
        write!(f, "{kind} {}, key {}", self.name, self.key)
    }
}

pub(super) fn find(resource: &Resource<'_>, overrides: &Overrides) -> Result<Option<Tls>, DiscoveryError> {
    let mode = resource.number("/spec/config/common/security/tlsMode").unwrap_or(0);
    if mode <= 0 {
        return Ok(overrides.tls.as_ref().map(|tls| written(tls, Tls::default(), Provenance::Override)));
    }
    let replaced = overrides.tls.clone().unwrap_or_default();
    let mut found = Tls::default();
    if replaced.ca_secret_ref.is_none() {
        found.ca = Some(Found::new(server_authority(resource)?, Provenance::Spec));
    }
    let tls = written(&replaced, found, Provenance::Override);
    if mode >= 2 && tls.client.is_none() {
        return Err(DiscoveryError::TlsUnresolved {
            milvus: resource.id(),
            what: "asks every client for a certificate (tlsMode 2)".to_owned(),
            instead: "name a Secret with tls.crt and tls.key in overrides.tls.clientSecretRef",
        });
    }
    Ok(Some(tls))
}

/// What the user wrote, on top of what was found.
pub(super) fn written(tls: &ConnectionTls, found: Tls, from: Provenance) -> Tls {
    let ConnectionTls { ca_secret_ref, server_name, client_secret_ref } = tls;
    let ca = ca_secret_ref.as_ref().map(|ca| Found::new(PemRef::secret(&ca.name, &ca.key), from));
    let client = client_secret_ref.as_ref().map(|client| {
        let certificate = PemRef::secret(&client.name, &client.certificate_field);
        let private_key = PemRef::secret(&client.name, &client.private_key_field);
        Found::new(ClientPair { certificate, private_key }, from)
    });
    Tls {
        ca: ca.or(found.ca),
        server_name: server_name.clone().map(|name| Found::new(name, from)).or(found.server_name),
        client: client.or(found.client),
    }
}

/// The authority Milvus names, else `ca.crt` beside its own certificate, as cert-manager lays them.
fn server_authority(resource: &Resource<'_>) -> Result<PemRef, DiscoveryError> {
    let unresolved = |what: String| DiscoveryError::TlsUnresolved {
        milvus: resource.id(),
        what,
        instead: "name a Secret with the certificate authority in overrides.tls.caSecretRef",
    };
    if let Some(path) = resource.text(&format!("{CONFIG}/caPemPath")) {
        return mounted(resource, path).ok_or_else(|| {
            unresolved(format!("encrypts its connections, and {path} (caPemPath) is in no mounted Secret or ConfigMap"))
        });
    }
    let certificate = resource.text(&format!("{CONFIG}/serverPemPath"));
    certificate.and_then(|path| mounted(resource, &beside(path, "ca.crt"))).ok_or_else(|| {
        unresolved(
            "encrypts its connections, and its configuration names no certificate authority (caPemPath)".to_owned(),
        )
    })
}

fn beside(path: &str, file: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{file}"),
        None => file.to_owned(),
    }
}

/// The Secret or ConfigMap behind a path inside Milvus' container.
pub(super) fn mounted(resource: &Resource<'_>, path: &str) -> Option<PemRef> {
    use PemKind::{ConfigMap, Secret};
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{WORK_DIR}/{path}") };
    let component = format!("/spec/components/{}", resource.serving_component());
    let lists = |field: &str| -> Vec<&Value> {
        [component.as_str(), "/spec/components"]
            .into_iter()
            .filter_map(|owner| resource.at(&format!("{owner}/{field}"))?.as_array())
            .flatten()
            .collect()
    };
    let volumes = lists("volumes");
    // The longest mount path wins, as in the container.
    let (mount, inside) = lists("volumeMounts")
        .into_iter()
        .filter_map(|mount| Some((mount, below(&path, mount["mountPath"].as_str()?)?)))
        .min_by_key(|(_, inside)| inside.len())?;
    let file = match (mount["subPath"].as_str().filter(|sub| !sub.is_empty()), inside) {
        (Some(sub), "") => sub.to_owned(),
        (Some(sub), inside) => format!("{sub}/{inside}"),
        (None, inside) => inside.to_owned(),
    };
    let volume = volumes.into_iter().find(|volume| volume["name"] == mount["name"])?;
    let sources = match volume["projected"]["sources"].as_array() {
        Some(sources) => sources
            .iter()
            .flat_map(|source| [(&source["secret"], "name", Secret), (&source["configMap"], "name", ConfigMap)])
            .collect(),
        None => vec![(&volume["secret"], "secretName", Secret), (&volume["configMap"], "name", ConfigMap)],
    };
    let sources =
        || sources.iter().filter_map(|(source, field, kind)| Some((*source, source[*field].as_str()?, *kind)));
    // An item that is listed under this name is certain; a whole object only may hold it.
    sources()
        .find_map(|(source, name, kind)| Some(PemRef { kind, name: name.to_owned(), key: listed(source, &file)? }))
        .or_else(|| {
            let (_, name, kind) = sources().find(|(source, ..)| source["items"].is_null())?;
            let plain = !file.is_empty() && !file.contains('/');
            plain.then(|| PemRef { kind, name: name.to_owned(), key: file.clone() })
        })
}

/// The field that a Secret or ConfigMap volume shows as `file`, by its list of items.
fn listed(source: &Value, file: &str) -> Option<String> {
    let item = source["items"].as_array()?.iter().find(|item| item["path"] == file)?;
    item["key"].as_str().map(str::to_owned)
}

/// What is left of a path below a folder; empty for the folder itself.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_folder_is_no_prefix_of_its_neighbour() {
        assert_eq!(below("/tls/ca.crt", "/tls"), Some("ca.crt"));
        assert_eq!(below("/tls/ca.crt", "/tls/"), Some("ca.crt"));
        assert_eq!(below("/tls/ca.crt", "/tls/ca.crt"), Some(""));
        assert_eq!(below("/tls-old/ca.crt", "/tls"), None);
    }
}
