//! Where a Milvus is and how to log in: shared by backups (source) and restores (target).

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Another object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
}

/// The Milvus to back up: `milvusRef` or `connection`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_milvus("source"), validation = rules::overrides_need_ref("source"))]
pub struct Source {
    /// A Milvus made by Milvus Operator in this namespace. Address, bucket and keys are found from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milvus_ref: Option<LocalRef>,
    /// Any other Milvus: everything is written out here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Replaces single values found by `milvusRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
}

/// A Milvus that no custom resource describes (Helm, Compose, outside the cluster).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Address of the proxy.
    pub grpc: GrpcAddress,
    /// The bucket Milvus keeps its data in.
    pub storage: ConnectionStorage,
    /// Present: the gRPC connection is encrypted. Absent: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ConnectionTls>,
}

/// A gRPC address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAddress {
    /// Host name or IP address, without scheme and port.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::host())]
    pub host: String,
    /// Port.
    #[serde(default = "grpc_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Milvus' own object store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStorage {
    /// `http(s)://host:port` of an S3-compatible server; absent for AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::endpoint())]
    pub endpoint: Option<String>,
    /// Region; `us-east-1` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub region: Option<String>,
    /// Bucket (`minio.bucketName` of milvus.yaml; the Helm chart uses `milvus-bucket`, Compose `a-bucket`).
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::bucket())]
    pub bucket: String,
    /// Path of Milvus' data in it (`minio.rootPath`; the Helm chart uses `file`, Compose `files`).
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::path("rootPath"))]
    pub root_path: String,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`. Default: true with an `endpoint`, false without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Secret with the keys; absent: the identity of the Job's ServiceAccount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<S3SecretRef>,
    /// Certificate authority of an https endpoint; absent: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// A Secret of this namespace with S3 keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3SecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Field with the access key id.
    #[serde(default = "access_key_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub access_key_field: String,
    /// Field with the secret key.
    #[serde(default = "secret_key_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub secret_key_field: String,
    /// Field with a session token, for temporary keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub session_token_field: Option<String>,
}

impl S3SecretRef {
    /// The Secret `name` with the fields Milvus Operator expects: `accesskey` and `secretkey`.
    pub fn named(name: &str) -> Self {
        S3SecretRef {
            name: name.to_owned(),
            access_key_field: access_key_field(),
            secret_key_field: secret_key_field(),
            session_token_field: None,
        }
    }
}

/// Encryption of the gRPC connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionTls {
    /// Certificate authority of the server; absent: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
    /// Name in the server's certificate where it is not the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::host())]
    pub server_name: Option<String>,
    /// Certificate of this client; needed where Milvus asks for one (`tlsMode: 2`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_ref: Option<ClientSecretRef>,
}

/// A Secret of this namespace with a client certificate and its key (PEM).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Field with the certificate.
    #[serde(default = "certificate_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub certificate_field: String,
    /// Field with its private key.
    #[serde(default = "private_key_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub private_key_field: String,
}

/// A Secret of this namespace with a certificate authority (PEM).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Field with the PEM text.
    #[serde(default = "ca_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub key: String,
}

/// Values that replace what `milvusRef` finds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// gRPC port of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub grpc_port: Option<i32>,
    /// Milvus' bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::bucket())]
    pub bucket: Option<String>,
    /// Path of Milvus' data in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::path("rootPath"))]
    pub root_path: Option<String>,
    /// `http(s)://host:port` of the object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::endpoint())]
    pub storage_endpoint: Option<String>,
    /// Secret with the fields `accesskey` and `secretkey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub storage_secret_name: Option<String>,
    /// ServiceAccount whose cloud identity may read the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub service_account_name: Option<String>,
    /// Encryption of the gRPC connection: certificate authority, name in the certificate, client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ConnectionTls>,
}

/// How to log in to Milvus: a password or a token. Needed only where Milvus asks for it. Read anew at each attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::at_most_one(
    "passwordSecretRef",
    "tokenSecretRef",
    "auth takes passwordSecretRef or tokenSecretRef, not both: remove one"
))]
pub struct Auth {
    /// Secret with user name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<PasswordSecretRef>,
    /// Secret with a token (`user:password` or an API key).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<TokenSecretRef>,
}

/// A Secret of this namespace with a user name and a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Field with the user name.
    #[serde(default = "username_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub username_key: String,
    /// Field with the password.
    #[serde(default = "password_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub password_key: String,
}

/// A Secret of this namespace with a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// Field with the token.
    #[serde(default = "token_field")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::secret_field())]
    pub key: String,
}

/// Port of a Milvus whose resource names none (Milvus' default).
pub(super) fn grpc_port() -> i32 {
    19530
}

fn access_key_field() -> String {
    "accesskey".to_owned()
}

fn secret_key_field() -> String {
    "secretkey".to_owned()
}

fn ca_field() -> String {
    "ca.crt".to_owned()
}

fn certificate_field() -> String {
    "tls.crt".to_owned()
}

fn private_key_field() -> String {
    "tls.key".to_owned()
}

fn username_field() -> String {
    "username".to_owned()
}

fn password_field() -> String {
    "password".to_owned()
}

fn token_field() -> String {
    "token".to_owned()
}
