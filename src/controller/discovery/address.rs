//! Host and port of the proxy.
//!
//! Not from `.status.endpoint` of the resource: it ignores a changed port and is empty or without a host for some kinds of
//! Service.

use k8s_openapi::api::core::v1::Service;

use super::resource::Resource;
use super::{DiscoveryError, Found, service_name};
use crate::api::{Overrides, Provenance};

/// Milvus' own gRPC port, and Milvus Operator's.
const DEFAULT_PORT: u16 = 19530;
/// Name of the gRPC port in the Service.
const PORT_NAME: &str = "milvus";

pub(super) fn host(resource: &Resource<'_>) -> Found<String> {
    let host = format!("{}.{}.svc", service_name(resource.name), resource.namespace);
    Found::new(host, Provenance::OperatorDefault)
}

/// Override, else the Service where it differs, else the resource, else the default.
pub(super) fn port(
    resource: &Resource<'_>,
    service: Option<&Service>,
    overrides: &Overrides,
) -> Result<Found<u16>, DiscoveryError> {
    let invalid = |what: String| DiscoveryError::Invalid { milvus: resource.id(), what };
    let served = match service {
        Some(service) => {
            let owners = service.metadata.owner_references.iter().flatten();
            if !owners.into_iter().any(|owner| owner.uid == resource.uid) {
                let name = service_name(resource.name);
                return Err(invalid(format!(
                    "the Service {name} is not owned by it: something else made it, remove it or use connection instead"
                )));
            }
            served_port(service)
        }
        None => None,
    };
    let pointer = format!("/spec/components/{}/port", resource.serving_component());
    let written = match resource.number(&pointer) {
        None | Some(0) => None,
        Some(port) => Some(
            u16::try_from(port)
                .map_err(|_| invalid(format!("{} is {port}, which is no port", pointer.replace('/', "."))))?,
        ),
    };
    if let Some(port) = overrides.grpc_port.and_then(|port| u16::try_from(port).ok()) {
        return Ok(Found::new(port, Provenance::Override));
    }
    let expected = match written {
        Some(port) => Found::new(port, Provenance::Spec),
        None => Found::new(DEFAULT_PORT, Provenance::OperatorDefault),
    };
    Ok(match served {
        Some(port) if port != expected.value => Found::new(port, Provenance::Service),
        _ => expected,
    })
}

fn served_port(service: &Service) -> Option<u16> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    let port = ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME))?;
    u16::try_from(port.port).ok()
}
