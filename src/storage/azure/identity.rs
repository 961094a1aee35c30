//! Tokens for Azure from the environment of a pod or machine, in the order of the vendor's libraries: a client secret,
//! workload identity, the managed identity of the machine.
//!
//! Sources: "OAuth 2.0 client credentials flow" of the Microsoft identity platform; "Workload identity" of AKS for the
//! variables and the file; "How to use managed identities on an Azure VM to acquire an access token".

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use crate::storage::StoreError;
use crate::storage::failure::{Failure, Kind};
use crate::storage::login::{Login, Source, encoded, form, read, token};
use crate::storage::transport::{Proxy, Wire};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const MACHINE: &str = "http://169.254.169.254";
const RESOURCE: &str = "https://storage.azure.com/";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a token is asked for with.
#[derive(Clone, PartialEq, Eq)]
enum Way {
    /// At the tenant's identity service.
    Tenant {
        /// Address without a slash at its end.
        authority: String,
        tenant: String,
        client: String,
        proof: Proof,
    },
    /// At the machine's own service; a client where it has several identities.
    Machine { address: String, client: Option<String> },
}

#[derive(Clone, PartialEq, Eq)]
enum Proof {
    Secret(String),
    /// A token of the cluster, which the kubelet renews in this file.
    TokenFile(PathBuf),
}

/// The identity that the environment gives.
pub(super) struct Identity {
    way: Way,
    wire: Wire,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// Looks at the variables; asks nobody yet.
    ///
    /// # Errors
    /// Certificates of the system that cannot be used.
    pub(super) fn of_environment() -> Result<Identity, StoreError> {
        let way = way(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let wire = match &way {
            Way::Tenant { authority, .. } => Wire::open(None, !authority.starts_with("http://"), Proxy::Environment)?,
            Way::Machine { .. } => Wire::open(None, false, Proxy::None)?,
        };
        Ok(Identity { way, wire })
    }
}

fn way(variable: impl Fn(&str) -> Option<String>) -> Way {
    let client = variable("AZURE_CLIENT_ID");
    let proof = variable("AZURE_CLIENT_SECRET")
        .map(Proof::Secret)
        .or_else(|| variable("AZURE_FEDERATED_TOKEN_FILE").map(|path| Proof::TokenFile(path.into())));
    match (variable("AZURE_TENANT_ID"), client, proof) {
        (Some(tenant), Some(client), Some(proof)) => {
            let authority = variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
            Way::Tenant { authority: authority.trim_end_matches('/').to_owned(), tenant, client, proof }
        }
        (_, client, _) => {
            let address = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| MACHINE.to_owned());
            Way::Machine { address: address.trim_end_matches('/').to_owned(), client }
        }
    }
}

#[async_trait]
impl Source for Identity {
    async fn login(&self) -> Result<Login, Failure> {
        match &self.way {
            Way::Tenant { authority, tenant, client, proof } => {
                let proof = match proof {
                    Proof::Secret(secret) => form(&[("client_secret", secret)]),
                    Proof::TokenFile(path) => {
                        form(&[("client_assertion_type", ASSERTION), ("client_assertion", &read(path).await?)])
                    }
                };
                let scope = format!("{RESOURCE}.default");
                let rest = form(&[("grant_type", "client_credentials"), ("client_id", client), ("scope", &scope)]);
                let request = http::Request::post(format!("{authority}/{}/oauth2/v2.0/token", encoded(tenant)))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(Bytes::from(format!("{rest}&{proof}")));
                token(&self.wire, "the identity service of the Azure tenant", request.map_err(unusable)?).await
            }
            Way::Machine { address, client } => {
                let mut query = vec![("api-version", "2018-02-01"), ("resource", RESOURCE)];
                query.extend(client.as_deref().map(|client| ("client_id", client)));
                let request = http::Request::get(format!("{address}/metadata/identity/oauth2/token?{}", form(&query)))
                    .header("metadata", "true")
                    .body(Bytes::new());
                token(&self.wire, "the identity service of the machine", request.map_err(unusable)?).await
            }
        }
    }
}

fn unusable(error: http::Error) -> Failure {
    Failure::new(
        Kind::Setup,
        "NoCredentials",
        format!("AZURE_AUTHORITY_HOST or AZURE_TENANT_ID cannot be used: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Way {
        way(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_variables_of_a_pod_decide_which_service_is_asked() {
        let pod = [
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
            ("AZURE_AUTHORITY_HOST", "https://login.example/"),
        ];
        let Way::Tenant { authority, proof, .. } = of(&pod) else { panic!("not the tenant's") };
        assert_eq!(authority, "https://login.example");
        assert!(proof == Proof::TokenFile("/var/run/token".into()));
        let secret = of(&[pod[0], pod[1], pod[2], ("AZURE_CLIENT_SECRET", "s")]);
        assert!(matches!(secret, Way::Tenant { proof: Proof::Secret(_), .. }));
        assert!(of(&[pod[0]]) == Way::Machine { address: MACHINE.into(), client: Some("c".into()) });
        assert!(of(&[]) == Way::Machine { address: MACHINE.into(), client: None });
    }
}
