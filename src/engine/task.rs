//! The contract between controller and engine: task in, progress and report out.
//!
//! The task travels as one environment variable ([`TASK_ENV`]) and holds no secret, only the paths of mounted files.
//! Progress leaves as one JSON line on standard output every two seconds. The report leaves as the termination message
//! (at most [`REPORT_LIMIT`] bytes). Both sides tolerate unknown fields and refuse a newer [`TASK_VERSION`].

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::secret::{KeyMapping, Secret};
use crate::exit::Class;

/// Version of the JSON in both directions.
pub const TASK_VERSION: u32 = 1;
/// Environment variable that carries the task into the pod.
pub const TASK_ENV: &str = "MILVUS_BACKUP_TASK";
/// Environment variable that names the file for the report; the default is Kubernetes' termination message path.
pub const REPORT_ENV: &str = "MILVUS_BACKUP_REPORT";
/// Where Kubernetes reads the termination message.
pub const REPORT_PATH: &str = "/dev/termination-log";
/// Kubernetes cuts a termination message at this many bytes.
pub const REPORT_LIMIT: usize = 4096;

/// One attempt of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// [`TASK_VERSION`] of the writer.
    pub version: u32,
    /// Identity of the run; the same for all its attempts.
    pub run: Run,
    /// What to do.
    pub work: Work,
}

/// Who asked, and which attempt this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// UID of the object (or of the shell run); names checkpoints, ledgers and staging prefixes.
    pub uid: String,
    /// Namespace of the object, empty in a shell.
    #[serde(default)]
    pub namespace: String,
    /// Name of the object.
    #[serde(default)]
    pub name: String,
    /// Counts from 1; also the fencing number of the artifact's lock.
    pub attempt: u32,
}

/// The work of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    /// Make an artifact.
    Backup(Box<BackupTask>),
    /// Bring an artifact back into a Milvus.
    Restore(Box<RestoreTask>),
    /// Remove an artifact and everything of it.
    Delete(DeleteTask),
    /// See whether a location can be reached, listed and written.
    Probe(ProbeTask),
}

/// Where objects are kept: a bucket, a container or a directory, or a part of one.
///
/// Writers fill in what they know and take the rest from [`StoreTarget::default`], so that a field can be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreTarget {
    /// A directory (a mounted volume) in place of a bucket: objects are files below it, named by their keys, as the Go
    /// tool's provider `local` keeps them below its rootPath. It must exist. Endpoint, region, bucket, credentials and
    /// what else is about S3 then mean nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What the service speaks.
    #[serde(default, skip_serializing_if = "Service::is_default")]
    pub service: Service,
    /// `http(s)://host:port`; none for AWS and Google themselves. Of Azure the address of the account:
    /// `https://ACCOUNT.blob.core.windows.net`, or `http://host:port/ACCOUNT` of an emulator.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region; `us-east-1` where none is given. Of S3 alone.
    #[serde(default)]
    pub region: Option<String>,
    /// Bucket name, container in Azure; empty where there is a folder.
    #[serde(default)]
    pub bucket: String,
    /// Key prefix without leading or trailing slash; may be empty.
    #[serde(default)]
    pub prefix: String,
    /// `true` addresses `endpoint/bucket/key`, `false` `bucket.endpoint/key`.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Where keys come from.
    #[serde(default)]
    pub credentials: Credentials,
    /// PEM file with the certificate authority of the endpoint.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Checksums sent with requests and asked for with answers.
    #[serde(default, skip_serializing_if = "Checksums::is_default")]
    pub checksums: Checksums,
}

impl Default for StoreTarget {
    /// Path style and ambient keys, nothing else: not usable before a bucket or a folder is named.
    fn default() -> Self {
        StoreTarget {
            folder: None,
            service: Service::default(),
            endpoint: None,
            region: None,
            bucket: String::new(),
            prefix: String::new(),
            path_style: true,
            credentials: Credentials::default(),
            ca_file: None,
            checksums: Checksums::default(),
        }
    }
}

/// The protocols of object stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// S3, and whatever speaks it.
    #[default]
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage by its own protocol.
    Gcs,
}

impl Service {
    fn is_default(&self) -> bool {
        *self == Service::default()
    }
}

/// When S3 requests carry checksums (CRC32 in trailers) and answers are checked against theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checksums {
    /// Only where S3 asks for them: many services that speak S3 know no others.
    #[default]
    WhenRequired,
    /// Wherever S3 knows them: AWS itself.
    WhenSupported,
}

impl Checksums {
    fn is_default(&self) -> bool {
        *self == Checksums::default()
    }
}

/// Where the keys of a store come from. Files are read anew for every attempt, and when the store refuses what was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credentials {
    /// Mounted files, one value each.
    Files {
        /// File with the access key id; in Azure with the name of the account.
        access_key: PathBuf,
        /// File with the secret key; in Azure with the key of the account.
        secret_key: PathBuf,
        /// File with a session token, for temporary keys.
        session_token: Option<PathBuf>,
    },
    /// The key file (JSON) of a Google service account.
    ServiceAccount {
        /// The file.
        key_file: PathBuf,
    },
    /// The environment's own identity: IRSA, pod identity, instance role, environment variables; in Azure workload
    /// identity or a managed identity, in Google workload identity or the instance's service account.
    #[default]
    Ambient,
    /// The keys themselves, for a task that is carried out in the process that made it. Cannot be written as JSON.
    #[serde(skip)]
    Values {
        /// Access key id; in Azure the name of the account.
        access_key: Secret,
        /// Secret key; in Azure the key of the account.
        secret_key: Secret,
        /// Session token, for temporary keys.
        session_token: Option<Secret>,
    },
}

/// A Milvus server and the bucket it keeps its data in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MilvusTarget {
    /// Host name or address of the proxy.
    pub host: String,
    /// gRPC port.
    pub port: u16,
    /// Encryption of the connection; none for plain text.
    #[serde(default)]
    pub tls: Option<TlsTarget>,
    /// Log-in; none where the server asks for none.
    #[serde(default)]
    pub auth: Option<AuthFiles>,
    /// Milvus' own bucket; its `prefix` is Milvus' rootPath.
    pub store: StoreTarget,
    /// `http(s)://host:port` of the REST API; none for the gRPC port, which serves it too by default.
    #[serde(default)]
    pub rest: Option<String>,
    /// `http(s)://host:port` of the management port; none for port 9091 of `host`.
    #[serde(default)]
    pub management: Option<String>,
    /// Mounted `user.yaml` of the live server, compared with `store` before anything is done.
    #[serde(default)]
    pub live_config: Option<PathBuf>,
}

/// How the server's certificate is checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsTarget {
    /// PEM file with the certificate authority; none for the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Name in the certificate where it is not the host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Client certificate and key (PEM files) for mutual TLS.
    #[serde(default)]
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Mounted log-in files, or a log-in known to this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuthFiles {
    /// User name and password.
    Password {
        /// File with the user name.
        username: PathBuf,
        /// File with the password.
        password: PathBuf,
    },
    /// One token (`user:password` or an API key).
    Token {
        /// File with the token.
        token: PathBuf,
    },
    /// The log-in itself, for a task that is carried out in the process that made it. Cannot be written as JSON.
    #[serde(skip)]
    Values {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
}

/// Which collections: `include` first, `exclude` wins. No include means everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// What to take.
    #[serde(default)]
    pub include: Vec<Pattern>,
    /// What to leave out.
    #[serde(default)]
    pub exclude: Vec<Pattern>,
    /// Databases taken by name without their collections. Where there are any, no include means no collection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// An include that matches nothing is an error unless this is set.
    #[serde(default)]
    pub allow_empty: bool,
}

/// Names with `*` as a wildcard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pattern {
    /// Database.
    pub database: String,
    /// Collections of it; empty means all.
    #[serde(default)]
    pub collections: Vec<String>,
}

/// How much of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Schema, indexes and rows.
    #[default]
    Full,
    /// Schema and indexes.
    SchemaOnly,
}

/// How the moment of consistency is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flush {
    /// Flush every selected collection.
    #[default]
    Auto,
    /// One flush of the whole cluster, other collections included; from Milvus 2.6.11 on.
    Cluster,
    /// Take what is flushed already; the recovery point is then that of the oldest flushed data.
    Skip,
}

/// How data gets into an artifact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// As the server can: its own snapshots from Milvus 3.0 on, before that copied log files.
    #[default]
    Auto,
    /// Copied log files.
    Binlog,
    /// Snapshots that the server exports itself.
    Snapshot,
}

/// What to do when one collection cannot be backed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCollectionError {
    /// The run fails.
    #[default]
    Fail,
    /// The others go on; the run ends `PartiallyFailed`.
    Continue,
}

/// Bounds a run keeps to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Most objects in flight at once; none for the engine's own bound. Fewer where the store asks to be spared.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Most bytes of objects copied in a second, whether they flow through the engine or the store copies by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Most requests in a second for copying objects; listings and metadata are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// How an artifact is proven after the copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyBackup {
    /// Trust the copy.
    None,
    /// Size and ETag of every object by one listing.
    #[default]
    Manifest,
    /// Read every object, check its framing and count its rows.
    Checksum,
}

/// Make an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupTask {
    /// Artifact name: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes.
    pub artifact: String,
    /// What is backed up.
    pub milvus: MilvusTarget,
    /// Where artifacts live; its `prefix` is their parent.
    pub destination: StoreTarget,
    /// Which collections.
    #[serde(default)]
    pub selection: Selection,
    /// How much of each.
    #[serde(default)]
    pub content: Content,
    /// Whether index definitions are recorded.
    #[serde(default = "yes")]
    pub index_metadata: bool,
    /// Consistency.
    #[serde(default)]
    pub flush: Flush,
    /// Shape; without rows it makes no difference.
    #[serde(default)]
    pub format: Format,
    /// Per-collection failures.
    #[serde(default)]
    pub on_collection_error: OnCollectionError,
    /// Proof.
    #[serde(default)]
    pub verify: VerifyBackup,
    /// Also record users with their password hashes, roles and grants of the whole cluster.
    #[serde(default)]
    pub rbac: bool,
    /// Pause Milvus' garbage collection while files are copied, where it can be paused.
    #[serde(default = "yes")]
    pub pause_gc: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// What happens where a target collection exists already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// Nothing is touched; the run ends `ConflictFound` with the list.
    #[default]
    Fail,
    /// Existing collections stay as they are, the others are restored.
    Skip,
    /// Existing collections are dropped first.
    Replace,
    /// Rows go into existing collections beside those that are there; nothing is dropped, whatever happens.
    Append,
}

/// How restored rows are proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyRestore {
    /// Trust the import.
    None,
    /// Count the rows of every collection.
    #[default]
    RowCounts,
}

/// Which collections are loaded at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// Those that were loaded when the backup was made.
    #[default]
    Original,
    /// All with an index on every vector field.
    All,
    /// None.
    None,
}

/// What becomes of the index definitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Indexes {
    /// Built again as recorded.
    #[default]
    Rebuild,
    /// Vector fields get AUTOINDEX with the recorded metric.
    Auto,
    /// None are made.
    Skip,
}

/// How rows get into the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestorePath {
    /// For each partition what is faster: small ones are inserted where an insert brings the same rows.
    #[default]
    Auto,
    /// The server imports binlogs.
    Import,
    /// Rows are read from the binlogs and inserted; what cannot be inserted is refused before anything is created.
    Insert,
}

impl RestorePath {
    fn is_default(&self) -> bool {
        *self == RestorePath::default()
    }
}

/// New names for restored collections, and what is made otherwise than recorded under them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// Database to database.
    #[serde(default)]
    pub databases: Vec<Rename>,
    /// `database.collection` (or `collection` of `default`) to the same form.
    #[serde(default)]
    pub collections: Vec<Rename>,
    /// Appended to every collection name.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Changes to single collections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// Most shards a collection is made with; an override is not bound by it. None for as many as recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_shards: Option<i32>,
    /// Keys that are left out of what is made.
    #[serde(default, skip_serializing_if = "SkipParams::is_empty")]
    pub skip_params: SkipParams,
}

/// What one collection gets in place of what is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// Its name in the target, `database.collection`.
    pub collection: String,
    /// Number of shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Keys of recorded parameters that are left out when a collection and its indexes are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SkipParams {
    /// Of collection properties.
    pub collection_properties: Vec<String>,
    /// Of the type parameters of fields.
    pub field_type_params: Vec<String>,
    /// Of the index parameters of fields.
    pub field_index_params: Vec<String>,
    /// Of the parameters of indexes, those inside their nested `params` included.
    pub index_params: Vec<String>,
}

impl SkipParams {
    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        let SkipParams { collection_properties, field_type_params, field_index_params, index_params } = self;
        [collection_properties, field_type_params, field_index_params, index_params].iter().all(|keys| keys.is_empty())
    }
}

/// One renaming.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rename {
    /// Name in the backup.
    pub from: String,
    /// Name in the target.
    pub to: String,
}

/// Bring an artifact back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreTask {
    /// Artifact name below `source`.
    pub artifact: String,
    /// SHA-256 of the operator manifest that was pinned; checked when given.
    #[serde(default)]
    pub manifest_digest: Option<String>,
    /// Where the artifact lives.
    pub source: StoreTarget,
    /// Where it goes.
    pub target: MilvusTarget,
    /// Which collections, by their names in the backup.
    #[serde(default)]
    pub selection: Selection,
    /// New names.
    #[serde(default)]
    pub mapping: Mapping,
    /// Existing targets.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Whether collections that the target lacks are made; else they are an error before anything is touched.
    #[serde(default = "yes")]
    pub create_missing: bool,
    /// Drop the indexes of collections that rows are appended to, before those of the backup are made.
    #[serde(default)]
    pub drop_indexes: bool,
    /// Rows or schema only.
    #[serde(default)]
    pub content: Content,
    /// Index definitions.
    #[serde(default)]
    pub indexes: Indexes,
    /// Loading.
    #[serde(default)]
    pub load: Load,
    /// Proof.
    #[serde(default)]
    pub verify: VerifyRestore,
    /// How rows get in.
    #[serde(default, skip_serializing_if = "RestorePath::is_default")]
    pub restore_path: RestorePath,
    /// Also bring back recorded users, roles and grants that the target does not have.
    #[serde(default)]
    pub rbac: bool,
    /// Keys that are used in place of recorded ones of encrypted databases. Cannot be written as JSON, as
    /// [`AuthFiles::Values`].
    #[serde(skip)]
    pub keys: KeyMapping,
    /// Leave out rows and deletes that are newer than the recovery point of their collection.
    #[serde(default)]
    pub cut_to_recovery_point: bool,
    /// Stop after the plan.
    #[serde(default)]
    pub preflight_only: bool,
    /// Drop what this run created when it fails for good.
    #[serde(default = "yes")]
    pub cleanup_on_failure: bool,
    /// This is the last attempt the retry policy allows: a failure is final, so clean up.
    #[serde(default)]
    pub last_attempt: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// Remove an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteTask {
    /// Artifact name below `location`.
    pub artifact: String,
    /// Where it lives.
    pub location: StoreTarget,
}

/// Try a location.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTask {
    /// What to try.
    pub location: StoreTarget,
    /// Also write and remove a small object.
    #[serde(default = "yes")]
    pub write: bool,
}

/// Stages of a run, as shown in `Succeeded.reason`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Connecting, probing, reading manifests.
    #[default]
    Preflight,
    /// Waiting for growing segments to reach the bucket.
    Flushing,
    /// Describing collections.
    CopyingMetadata,
    /// Moving objects or importing them.
    CopyingData,
    /// Proving the result.
    Verifying,
    /// Writing the last files, indexes, aliases, loading.
    Finalizing,
}

/// One progress line. Counters only grow within an attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Stage.
    pub stage: Stage,
    /// When the line was made.
    pub time: Option<Timestamp>,
    /// Bytes done (objects already there at the start of a resumed attempt count as done).
    pub bytes_done: u64,
    /// Bytes in all; 0 until the plan is known.
    pub bytes_total: u64,
    /// Objects done.
    pub objects_done: u64,
    /// Objects in all.
    pub objects_total: u64,
    /// Collections done.
    pub collections_done: u64,
    /// Collections in all.
    pub collections_total: u64,
    /// Over the last ten seconds.
    pub bytes_per_second: u64,
    /// Seconds to go at that rate; absent when unknown.
    pub eta_seconds: Option<u64>,
    /// Server version, once known.
    pub milvus_version: Option<String>,
    /// Set from the moment target data changes (a collection is dropped or created).
    pub data_touched: bool,
}

/// A line on standard output: `{"progress":{...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressLine {
    /// The counters.
    pub progress: Progress,
}

/// What a run amounted to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    /// Bytes of all objects of the artifact (backup) or imported (restore).
    pub size_bytes: u64,
    /// Bytes this attempt moved itself.
    pub copied_bytes: u64,
    /// Objects of the artifact.
    pub objects: u64,
    /// Collections.
    pub collections: u64,
    /// Databases.
    pub databases: u64,
    /// Rows by segment metadata, deleted ones included.
    pub rows: u64,
    /// Things a person should look at.
    pub warnings: Vec<String>,
}

/// Row counts of a restore.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowCounts {
    /// By the manifest, deletes taken into account.
    pub expected: u64,
    /// As counted in the target.
    pub actual: u64,
    /// `database.collection` where they differ; bounded.
    pub mismatched: Vec<String>,
}

/// The plan of a restore, bounded for status.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlanSummary {
    /// Collections that will be created.
    pub create: u64,
    /// Existing ones left alone.
    pub skip: u64,
    /// Existing ones dropped first.
    pub replace: u64,
    /// Existing ones that get rows besides their own.
    pub append: u64,
    /// The first mappings, `database.collection` each.
    pub mappings: Vec<Rename>,
}

/// How the rows of a restore got in: by import of binlogs, or inserted one by one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Paths {
    /// Partitions imported.
    pub imported: u64,
    /// Partitions inserted.
    pub inserted: u64,
    /// By collection; bounded.
    pub collections: Vec<CollectionPaths>,
}

/// How the partitions of a collection got in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectionPaths {
    /// `database.collection` in the target.
    pub name: String,
    /// Partitions imported.
    pub imported: u64,
    /// Partitions inserted.
    pub inserted: u64,
}

/// The outcome of an attempt: the termination message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// [`TASK_VERSION`] of the writer.
    pub version: u32,
    /// `true` only when the work is done and proven.
    pub ok: bool,
    /// Why not, for the retry policy.
    pub class: Option<Class>,
    /// CamelCase reason for the condition: `Completed`, `Failed`, `StoragePathMismatch`, `ConflictFound`, ...
    pub reason: String,
    /// A sentence that names the object, the act and what to do. Never a secret. At most 1,000 bytes.
    pub message: String,
    /// SHA-256 (hex) of `operator/manifest.json` as read back from the bucket.
    pub manifest_digest: Option<String>,
    /// The moment all collections are consistent to.
    pub recovery_point: Option<Timestamp>,
    /// Server version.
    pub milvus_version: Option<String>,
    /// Totals.
    pub summary: Summary,
    /// Last counters.
    pub progress: Progress,
    /// Collections that failed with the reason; bounded, `failed_total` counts all.
    pub failed_collections: Vec<String>,
    /// Number of failed collections.
    pub failed_total: u64,
    /// Restore: the plan.
    pub plan: Option<PlanSummary>,
    /// Restore: the counts.
    pub row_counts: Option<RowCounts>,
    /// Restore: how rows got in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Paths>,
    /// Restore: collections this run created.
    pub created_collections: u64,
    /// Probe: whether a conditional write is honoured.
    pub conditional_put: Option<bool>,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_an_older_writer_is_a_bucket_with_the_settings_of_then() {
        let old = r#"{"endpoint":"http://minio:9000","region":null,"bucket":"b","prefix":"p","pathStyle":false,
            "credentials":{"files":{"access_key":"/a","secret_key":"/s","session_token":null}},"caFile":null}"#;
        let target: StoreTarget = serde_json::from_str(old).unwrap();
        let expected = StoreTarget {
            endpoint: Some("http://minio:9000".into()),
            bucket: "b".into(),
            prefix: "p".into(),
            path_style: false,
            credentials: Credentials::Files { access_key: "/a".into(), secret_key: "/s".into(), session_token: None },
            ..StoreTarget::default()
        };
        assert_eq!(target, expected);
        let again = serde_json::to_string(&target).unwrap();
        assert!(!again.contains("folder") && !again.contains("checksums"), "{again}");
    }

    #[test]
    fn a_folder_needs_nothing_else() {
        let target: StoreTarget = serde_json::from_str(r#"{"folder":"/backups","checksums":"WhenSupported"}"#).unwrap();
        let expected = StoreTarget {
            folder: Some("/backups".into()),
            checksums: Checksums::WhenSupported,
            ..StoreTarget::default()
        };
        assert_eq!(target, expected);
    }

    #[test]
    fn limits_of_an_older_writer_bound_the_concurrency_only() {
        let limits: Limits = serde_json::from_str(r#"{"concurrency":7}"#).unwrap();
        assert_eq!(limits, Limits { concurrency: Some(7), ..Limits::default() });
        assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"concurrency":7}"#);
    }
}
