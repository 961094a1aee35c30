//! A written-out connection in the shape of a discovered one.

use super::store::{self, Keys, Store};
use super::tls::{self, Tls};
use super::{DiscoveryError, Found, MilvusState, Resolved};
use crate::api::{Connection, ConnectionStorage, GrpcAddress, Provenance};

pub(super) fn resolve(connection: &Connection) -> Result<Resolved, DiscoveryError> {
    let Connection { grpc: GrpcAddress { host, port }, storage, tls } = connection;
    let port = u16::try_from(*port).map_err(|_| DiscoveryError::Invalid {
        milvus: host.clone(),
        what: format!("connection.grpc.port is {port}, which is no port"),
    })?;
    Ok(Resolved {
        milvus: None,
        grpc_host: Found::new(host.clone(), Provenance::Connection),
        grpc_port: Found::new(port, Provenance::Connection),
        tls: tls.as_ref().map(|tls| tls::written(tls, Tls::default(), Provenance::Connection)),
        store: written_store(storage),
        service_account: None,
        live_config: None,
        auth_required: None,
        state: MilvusState::Healthy,
        notes: Vec::new(),
    })
}

fn written_store(storage: &ConnectionStorage) -> Store {
    let ConnectionStorage { endpoint, region, bucket, root_path, path_style, secret_ref, ca_secret_ref } = storage;
    let from = Provenance::Connection;
    let place = endpoint.as_deref().map(store::place_of_url).unwrap_or_default();
    Store {
        path_style: Found::new(path_style.unwrap_or(place.endpoint.is_some()), from),
        endpoint: place.endpoint.map(|endpoint| Found::new(endpoint, from)),
        region: region.clone().or(place.region).map(|region| Found::new(region, from)),
        bucket: Found::new(bucket.clone(), from),
        root_path: Found::new(root_path.trim_matches('/').to_owned(), from),
        keys: match secret_ref {
            Some(secret) => Keys::Secret(Found::new(secret.clone(), from)),
            None => Keys::Ambient(from),
        },
        ca: ca_secret_ref.as_ref().map(|ca| Found::new(tls::PemRef::secret(&ca.name, &ca.key), from)),
        in_cluster: false,
        deleted_with_milvus: false,
    }
}
