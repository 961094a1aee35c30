//! Everything about a Milvus, found from its custom resource, or taken from a written-out connection.
//!
//! Pure: a resource and its Service in, [`Resolved`] out, each value with where it came from. Owns the rules of Milvus
//! Operator for fields left out (names, ports, bucket, Secrets). Must never use a client, and never needs the content of a
//! Secret or a ConfigMap: only their names leave here. The engine compares the result with the live configuration.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use serde::Serialize;
use serde_json::Value;

use crate::api::{Auth, Connection, Overrides, Provenance, ResolvedValue, Source};

mod address;
mod connection;
mod error;
mod fate;
mod resource;
mod state;
mod store;
mod tls;

pub use error::DiscoveryError;
pub use fate::{Destination, SharedFate, shared_fate};
pub use state::MilvusState;
pub use store::{Keys, Store};
pub use tls::{ClientPair, PemKind, PemRef, Tls};

use resource::Resource;

/// What the controller read from the cluster.
#[derive(Debug, Clone, Copy)]
pub struct MilvusView<'a> {
    /// The `Milvus` object (`milvus.io/v1beta1`), whole.
    pub object: &'a Value,
    /// The Service [`service_name`] of its namespace; none where it does not exist yet.
    pub service: Option<&'a Service>,
}

/// A value and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Where it was found.
    pub from: Provenance,
}

impl<T> Found<T> {
    /// A value with its origin.
    pub fn new(value: T, from: Provenance) -> Self {
        Found { value, from }
    }
}

/// Which Milvus resource it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Name of the resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID; another one after it was deleted and made again.
    pub uid: String,
    /// `standalone` or `cluster`.
    pub mode: Found<String>,
    /// Server version by the image tag, without `v`; the server itself is asked later.
    pub version: Option<Found<String>>,
}

/// All a Job needs to know about a Milvus.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The resource; none for a written-out connection.
    pub milvus: Option<Identity>,
    /// Host of the proxy.
    pub grpc_host: Found<String>,
    /// gRPC port.
    pub grpc_port: Found<u16>,
    /// Encryption; none for plain text.
    pub tls: Option<Tls>,
    /// Milvus' own object store.
    pub store: Store,
    /// ServiceAccount whose cloud identity the Job has to borrow.
    pub service_account: Option<Found<String>>,
    /// ConfigMap with the live configuration (key `user.yaml`), to be mounted and compared; none for a connection.
    pub live_config: Option<Found<String>>,
    /// Whether Milvus asks for a login; unknown for a connection.
    pub auth_required: Option<Found<bool>>,
    /// Whether a run can start now.
    pub state: MilvusState,
    /// What a person should know, in sentences.
    pub notes: Vec<String>,
}

/// Name of the Service that Milvus Operator makes for a Milvus.
pub fn service_name(milvus: &str) -> String {
    format!("{milvus}-milvus")
}

/// Finds everything about a Milvus of Milvus Operator.
pub fn discover(view: MilvusView<'_>, overrides: Option<&Overrides>) -> Result<Resolved, DiscoveryError> {
    let none = Overrides::default();
    let overrides = overrides.unwrap_or(&none);
    let resource = Resource::read(view.object)?;
    if resource.text("/metadata/deletionTimestamp").is_some() {
        return Err(DiscoveryError::Deleting { milvus: resource.id() });
    }
    let mut notes = Vec::new();
    let store = store::find(&resource, overrides, &mut notes)?;
    Ok(Resolved {
        grpc_host: address::host(&resource),
        grpc_port: address::port(&resource, view.service, overrides)?,
        tls: tls::find(&resource, overrides)?,
        service_account: store::service_account(&resource, &store, overrides),
        store,
        live_config: Some(resource.or("/spec/components/activeConfigMap", resource.name, Provenance::OperatorDefault)),
        auth_required: Some(resource.flag_or("/spec/config/common/security/authorizationEnabled", false)),
        state: state::find(&resource),
        milvus: Some(resource.identity()),
        notes,
    })
}

/// The same for a Milvus that is written out.
pub fn connect(connection: &Connection) -> Result<Resolved, DiscoveryError> {
    connection::resolve(connection)
}

impl Resolved {
    /// An error if Milvus asks for a login and none is named.
    pub fn require_auth(&self, auth: Option<&Auth>) -> Result<(), DiscoveryError> {
        let named = auth.is_some_and(|auth| auth.password_secret_ref.is_some() || auth.token_secret_ref.is_some());
        match (&self.milvus, &self.auth_required) {
            (Some(milvus), Some(Found { value: true, .. })) if !named => {
                Err(DiscoveryError::AuthRequired { milvus: format!("{}/{}", milvus.namespace, milvus.name) })
            }
            _ => Ok(()),
        }
    }

    /// For `status.resolved`: names and addresses, never a secret.
    pub fn to_status(&self) -> BTreeMap<String, ResolvedValue> {
        let mut status = BTreeMap::new();
        let mut put = |name: &str, value: String, from: Provenance| {
            status.insert(name.to_owned(), ResolvedValue { value, from });
        };
        if let Some(Identity { uid, mode, version, .. }) = &self.milvus {
            put("milvusUID", uid.clone(), Provenance::Spec);
            put("mode", mode.value.clone(), mode.from);
            if let Some(version) = version {
                put("milvusVersion", version.value.clone(), version.from);
            }
        }
        put("grpcHost", self.grpc_host.value.clone(), self.grpc_host.from);
        put("grpcPort", self.grpc_port.value.to_string(), self.grpc_port.from);
        if let Some(Tls { ca, server_name, client }) = &self.tls {
            if let Some(ca) = ca {
                put("tlsCA", ca.value.to_string(), ca.from);
            }
            if let Some(name) = server_name {
                put("tlsServerName", name.value.clone(), name.from);
            }
            if let Some(client) = client {
                put("tlsClient", client.value.certificate.to_string(), client.from);
            }
        }
        let Store {
            endpoint,
            region,
            bucket,
            root_path,
            path_style: _,
            keys,
            ca,
            in_cluster: _,
            deleted_with_milvus: _,
        } = &self.store;
        if let Some(endpoint) = endpoint {
            put("storageEndpoint", endpoint.value.clone(), endpoint.from);
        }
        if let Some(region) = region {
            put("storageRegion", region.value.clone(), region.from);
        }
        put("bucket", bucket.value.clone(), bucket.from);
        put("rootPath", root_path.value.clone(), root_path.from);
        match keys {
            Keys::Secret(secret) => put("storageSecret", secret.value.name.clone(), secret.from),
            Keys::Ambient(from) => put("storageIdentity", "ambient".to_owned(), *from),
        }
        if let Some(ca) = ca {
            put("storageCA", ca.value.to_string(), ca.from);
        }
        if let Some(account) = &self.service_account {
            put("serviceAccount", account.value.clone(), account.from);
        }
        if let Some(config) = &self.live_config {
            put("configMap", config.value.clone(), config.from);
        }
        if let Some(required) = &self.auth_required {
            put("authorizationEnabled", required.value.to_string(), required.from);
        }
        status
    }
}

/// The name to look up, or the connection to take, of a source that passed validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Where<'a> {
    /// A Milvus resource of the object's own namespace.
    Milvus {
        /// Its name.
        name: &'a str,
        /// What replaces single values.
        overrides: Option<&'a Overrides>,
    },
    /// A written-out connection.
    Connection(&'a Connection),
}

impl<'a> Where<'a> {
    /// Of a backup's source.
    pub fn of_source(source: &'a Source) -> Result<Self, DiscoveryError> {
        Self::of(source.milvus_ref.as_ref(), source.connection.as_ref(), source.overrides.as_ref())
    }

    /// Of a restore's target.
    pub fn of_target(target: &'a crate::api::RestoreTarget) -> Result<Self, DiscoveryError> {
        Self::of(target.milvus_ref.as_ref(), target.connection.as_ref(), target.overrides.as_ref())
    }

    fn of(
        name: Option<&'a crate::api::LocalRef>,
        connection: Option<&'a Connection>,
        overrides: Option<&'a Overrides>,
    ) -> Result<Self, DiscoveryError> {
        match (name, connection) {
            (Some(milvus), None) => Ok(Where::Milvus { name: &milvus.name, overrides }),
            (None, Some(connection)) => Ok(Where::Connection(connection)),
            _ => Err(DiscoveryError::NoMilvusNamed),
        }
    }
}
