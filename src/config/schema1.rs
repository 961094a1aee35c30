//! Schema 1: its keys, and what each becomes in schema 2.
//!
//! Source: milvus-backup 0.5.16, `internal/cfg/cfg.go`; the translation is that of milvus-backup 0.6,
//! `internal/cfg/migrate`.

use super::keys::{Key, Kind, PORT};
use super::values::{Sources, Value, Values, resolve};

/// A key of schema 1 and where its value goes.
struct Old {
    key: Key,
    /// Other spellings in the file.
    also: &'static [&'static str],
    /// Key of schema 2, where the value moves as it is.
    to: Option<&'static str>,
}

fn old(name: &'static str, kind: Kind, default: &'static str, env: &'static str) -> Old {
    let env = if env.is_empty() { Vec::new() } else { vec![env.to_owned()] };
    let key = Key { name: name.into(), kind, default, env, secret: false, idle: None, about: "" };
    Old { key, also: &[], to: None }
}

impl Old {
    fn to(mut self, key: &'static str) -> Old {
        self.to = Some(key);
        self
    }

    fn secret(mut self) -> Old {
        self.key.secret = true;
        self
    }

    fn also(mut self, names: &'static [&'static str]) -> Old {
        self.also = names;
        self
    }
}

const SOME: Kind = Kind::Number(1, u32::MAX as u64);
const ANY: Kind = Kind::Number(0, u32::MAX as u64);
const TEXT: Kind = Kind::Text;
const FLAG: Kind = Kind::Flag;

fn schema1() -> Vec<Old> {
    let mut keys = vec![
        old("log.level", Kind::Choice(&["debug", "info", "warn", "error", "panic", "fatal"]), "info", "")
            .to("log.level"),
        old("log.console", FLAG, "true", "").to("log.console"),
        old("log.file.filename", TEXT, "logs/backup.log", "").to("log.file.path"),
        old("log.file.maxSize", ANY, "300", "").to("log.file.maxSizeMiB"),
        old("log.file.maxDays", ANY, "0", "").to("log.file.maxDays"),
        old("log.file.maxBackups", ANY, "0", "").to("log.file.maxBackups"),
        old("http.enabled", FLAG, "true", ""),
        old("http.debugMode", FLAG, "false", "").to("server.debugMode"),
        old("http.swaggerBasePath", TEXT, "", "").to("server.swaggerBasePath"),
        old("cloud.address", Kind::Url, "https://api.cloud.zilliz.com", "").to("zillizCloud.endpoint"),
        old("cloud.apikey", TEXT, "", "").to("zillizCloud.apiKey").secret(),
        old("milvus.address", TEXT, "localhost", "MILVUS_ADDRESS").to("milvus.grpc.address"),
        old("milvus.port", PORT, "19530", "MILVUS_PORT").to("milvus.grpc.port"),
        old("milvus.user", TEXT, "", "MILVUS_USER").to("milvus.user"),
        old("milvus.password", TEXT, "", "MILVUS_PASSWORD").to("milvus.password").secret(),
        old("milvus.tlsMode", Kind::Number(0, 2), "0", "MILVUS_TLS_MODE"),
        old("milvus.caCertPath", TEXT, "", "MILVUS_CA_CERT_PATH").to("milvus.grpc.caCertPath"),
        old("milvus.serverName", TEXT, "", "MILVUS_SERVER_NAME").to("milvus.grpc.serverName"),
        old("milvus.mtlsCertPath", TEXT, "", "MILVUS_MTLS_CERT_PATH").to("milvus.grpc.mtlsCertPath"),
        old("milvus.mtlsKeyPath", TEXT, "", "MILVUS_MTLS_KEY_PATH").to("milvus.grpc.mtlsKeyPath"),
        old("milvus.rpcChannelName", TEXT, "by-dev-replicate-msg", "MILVUS_RPC_CHANNEL_NAME")
            .to("milvus.replicate.rpcChannelName"),
        // A text with commas here, a list in schema 2.
        old("milvus.etcd.endpoints", TEXT, "localhost:2379", "").to("milvus.etcd.endpoints"),
        old("milvus.etcd.rootPath", TEXT, "by-dev", "").to("milvus.etcd.rootPath"),
        old("minio.crossStorage", FLAG, "false", ""),
        old("minio.multipartCopyThresholdMiB", SOME, "500", "").to("transfer.multipartCopyThresholdMiB"),
        old("backup.parallelism.copydata", SOME, "32", "BACKUP_PARALLELISM_COPYDATA").to("transfer.concurrency"),
        old("backup.parallelism.backupCollection", SOME, "4", "BACKUP_PARALLELISM_BACKUP_COLLECTION")
            .to("backup.concurrency.collections"),
        old("backup.parallelism.backupSegment", SOME, "1024", "").to("backup.concurrency.segments"),
        old("backup.parallelism.restoreCollection", SOME, "2", "BACKUP_PARALLELISM_RESTORE_COLLECTION")
            .to("restore.concurrency.collections"),
        old("backup.parallelism.importJob", SOME, "768", "").to("restore.concurrency.importJobs"),
        old("backup.keepTempFiles", FLAG, "false", "BACKUP_KEEP_TEMP_FILES").to("restore.keepTempFiles"),
        old("backup.gcPause.enable", FLAG, "true", "BACKUP_GC_PAUSE_ENABLE").to("backup.pauseGC"),
        old("backup.gcPause.address", Kind::Url, "http://localhost:9091", "BACKUP_GC_PAUSE_ADDRESS")
            .to("milvus.management.endpoint"),
    ];
    keys.extend(milvus_storage());
    keys.extend(backup_storage());
    keys
}

fn milvus_storage() -> [Old; 13] {
    [
        old("minio.storageType", TEXT, "minio", "").also(&["storage.storageType", "minio.cloudProvider"]),
        old("minio.address", TEXT, "localhost", "MINIO_ADDRESS").to("milvus.storage.address"),
        old("minio.port", PORT, "9000", "MINIO_PORT").to("milvus.storage.port"),
        old("minio.region", TEXT, "", "MINIO_REGION").to("milvus.storage.region"),
        old("minio.accessKeyID", TEXT, "minioadmin", "MINIO_ACCESS_KEY"),
        old("minio.secretAccessKey", TEXT, "minioadmin", "MINIO_SECRET_KEY").secret(),
        old("minio.token", TEXT, "", "MINIO_TOKEN").secret(),
        old("minio.gcpCredentialJSON", TEXT, "", "GCP_KEY_JSON").secret(),
        old("minio.useSSL", FLAG, "false", "MINIO_USE_SSL").to("milvus.storage.useSSL"),
        old("minio.bucketName", TEXT, "a-bucket", "MINIO_BUCKET_NAME").to("milvus.storage.bucketName"),
        old("minio.rootPath", TEXT, "files", "MINIO_ROOT_PATH").to("milvus.storage.rootPath"),
        old("minio.useIAM", FLAG, "false", "MINIO_USE_IAM"),
        old("minio.iamEndpoint", TEXT, "", "MINIO_IAM_ENDPOINT"),
    ]
}

/// The twins; an empty default stands for the value of the key without `backup`.
fn backup_storage() -> [Old; 13] {
    [
        old("minio.backupStorageType", TEXT, "", "").also(&["storage.backupStorageType"]),
        old("minio.backupAddress", TEXT, "", "MINIO_BACKUP_ADDRESS").to("backup.storage.address"),
        old("minio.backupPort", Kind::Number(0, 65535), "0", "MINIO_BACKUP_PORT").to("backup.storage.port"),
        old("minio.backupRegion", TEXT, "", "MINIO_BACKUP_REGION").to("backup.storage.region"),
        old("minio.backupAccessKeyID", TEXT, "", "MINIO_BACKUP_ACCESS_KEY"),
        old("minio.backupSecretAccessKey", TEXT, "", "MINIO_BACKUP_SECRET_KEY").secret(),
        old("minio.backupToken", TEXT, "", "MINIO_BACKUP_TOKEN").secret(),
        old("minio.backupGcpCredentialJSON", TEXT, "", "BACKUP_GCP_KEY_JSON").secret(),
        old("minio.backupUseSSL", FLAG, "false", "MINIO_BACKUP_USE_SSL").to("backup.storage.useSSL"),
        old("minio.backupBucketName", TEXT, "", "MINIO_BACKUP_BUCKET_NAME").to("backup.storage.bucketName"),
        old("minio.backupRootPath", TEXT, "", "MINIO_BACKUP_ROOT_PATH").to("backup.storage.rootPath"),
        old("minio.backupUseIAM", FLAG, "false", "MINIO_BACKUP_USE_IAM"),
        old("minio.backupIamEndpoint", TEXT, "", "MINIO_BACKUP_IAM_ENDPOINT"),
    ]
}

/// Twins with the key they take their value from where nobody sets them.
const TWINS: &[(&str, &str)] = &[
    ("minio.backupStorageType", "minio.storageType"),
    ("minio.backupAddress", "minio.address"),
    ("minio.backupPort", "minio.port"),
    ("minio.backupRegion", "minio.region"),
    ("minio.backupAccessKeyID", "minio.accessKeyID"),
    ("minio.backupSecretAccessKey", "minio.secretAccessKey"),
    ("minio.backupToken", "minio.token"),
    ("minio.backupUseSSL", "minio.useSSL"),
    ("minio.backupBucketName", "minio.bucketName"),
    ("minio.backupRootPath", "minio.rootPath"),
    ("minio.backupUseIAM", "minio.useIAM"),
    ("minio.backupIamEndpoint", "minio.iamEndpoint"),
];

/// Names of the file and of variables, in small letters, each with the key of schema 2 that took its place.
pub fn names() -> Vec<(String, Option<&'static str>)> {
    let mut names = Vec::new();
    for old in schema1() {
        let spellings = old.also.iter().map(|name| name.to_lowercase());
        let variables = old.key.env.iter().map(|name| name.to_lowercase());
        let to = old.to.or(special(&old.key.name));
        names.extend(std::iter::once(old.key.name.to_lowercase()).chain(spellings).chain(variables).map(|n| (n, to)));
    }
    names
}

/// What became of keys whose value does not move as it is.
fn special(name: &str) -> Option<&'static str> {
    let backup = name.to_lowercase().starts_with("minio.backup");
    let pick = |milvus, backups| Some(if backup { backups } else { milvus });
    match name.strip_prefix("minio.").unwrap_or(name).trim_start_matches("backup").to_lowercase().as_str() {
        "milvus.tlsmode" => Some("milvus.grpc.tlsMode"),
        "crossstorage" => Some("transfer.mode"),
        "storagetype" => pick("milvus.storage.provider", "backup.storage.provider"),
        "accesskeyid" => pick("milvus.storage.auth.accessKeyID", "backup.storage.auth.accessKeyID"),
        "secretaccesskey" => pick("milvus.storage.auth.secretAccessKey", "backup.storage.auth.secretAccessKey"),
        "token" => pick("milvus.storage.auth.sessionToken", "backup.storage.auth.sessionToken"),
        "gcpcredentialjson" => pick("milvus.storage.auth.credentialsFile", "backup.storage.auth.credentialsFile"),
        "useiam" => pick("milvus.storage.auth.type", "backup.storage.auth.type"),
        "iamendpoint" => pick("milvus.storage.auth.endpoint", "backup.storage.auth.endpoint"),
        _ => None,
    }
}

/// Resolves schema 1 and lays its values over the defaults of schema 2. `notes` tell what changed its meaning.
pub fn translate(mut values: Values, sources: &Sources, problems: &mut Vec<String>, notes: &mut Vec<String>) -> Values {
    let keys = schema1();
    let sources = with_one_spelling(&keys, sources);
    let plain: Vec<Key> = keys.iter().map(|old| old.key.clone()).collect();
    let mut first = resolve(&plain, &sources, problems);
    for (twin, from) in TWINS {
        if first.get(twin).is_some_and(Value::is_default)
            && let Some(value) = first.get(from)
        {
            // Who set it stays on record: a secret from the environment must not be written into a file by the way of a twin.
            let value = value.clone();
            first.set(twin, value);
        }
    }
    for old in &keys {
        if let (Some(to), Some(value)) = (old.to, first.get(&old.key.name)) {
            values.set(to, value.clone());
        }
    }
    tidy_endpoints(&mut values);
    tls(&first, &mut values, notes);
    if !first.flag("http.enabled") {
        notes.push("http.enabled is not looked at: the server runs when it is started by the command server".into());
    }
    moved(&first, "minio.crossStorage", &mut values, "transfer.mode", |text| {
        if text == "true" { "streaming" } else { "auto" }
    });
    storage(&first, "minio.", &mut values, "milvus.storage", problems);
    storage(&first, "minio.backup", &mut values, "backup.storage", problems);
    values
}

/// Puts the other spellings of a key in its place; the documented one wins.
fn with_one_spelling(keys: &[Old], sources: &Sources) -> Sources {
    let mut sources = sources.clone();
    for old in keys {
        let name = old.key.name.to_lowercase();
        for other in old.also.iter().map(|other| other.to_lowercase()) {
            if let Some(file) = &mut sources.file
                && !file.values.contains_key(&name)
                && let Some(found) = file.values.get(&other).cloned()
            {
                file.values.insert(name.clone(), found);
            }
            if !sources.overrides.contains_key(&name)
                && let Some(found) = sources.overrides.get(&other).cloned()
            {
                sources.overrides.insert(name.clone(), found);
            }
        }
    }
    sources
}

fn tidy_endpoints(values: &mut Values) {
    if let Some(value) = values.get("milvus.etcd.endpoints").cloned() {
        let items: Vec<&str> = value.text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        let text = items.join(",");
        values.set("milvus.etcd.endpoints", Value { text, ..value });
    }
}

/// Schema 1 took mutual TLS without a key pair for TLS of the server.
fn tls(first: &Values, values: &mut Values, notes: &mut Vec<String>) {
    let pair = !first.text("milvus.mtlsCertPath").is_empty() && !first.text("milvus.mtlsKeyPath").is_empty();
    if first.number("milvus.tlsMode") == 2 && !pair {
        notes.push("milvus.tlsMode 2 without mtlsCertPath and mtlsKeyPath means server, as it always has".into());
    }
    moved(first, "milvus.tlsMode", values, "milvus.grpc.tlsMode", |mode| match (mode, pair) {
        ("1", _) | ("2", false) => "server",
        ("2", true) => "mutual",
        _ => "disabled",
    });
}

/// One side of the storage: the log-in depends on provider and `useIAM`.
fn storage(first: &Values, from: &str, values: &mut Values, section: &str, problems: &mut Vec<String>) {
    let name = |tail: &str| match from {
        "minio." => format!("minio.{}{}", tail[..1].to_lowercase(), &tail[1..]),
        from => format!("{from}{tail}"),
    };
    let to = |tail: &str| format!("{section}.{tail}");
    let given = name("StorageType");
    let provider = match first.text(&given).to_lowercase().as_str() {
        "ali" | "alibaba" | "alicloud" => "aliyun".to_owned(),
        "tc" => "tencent".to_owned(),
        other => other.to_owned(),
    };
    if !super::keys::PROVIDERS.contains(&provider.as_str()) {
        problems.push(format!("{given} is one of {}, not {provider:?}", super::keys::PROVIDERS.join(", ")));
        return;
    }
    moved(first, &given, values, &to("provider"), |_| &provider);
    let mut set_type = |kind: &str| moved(first, &name("UseIAM"), values, &to("auth.type"), |_| kind);
    let iam = first.flag(&name("UseIAM"));
    let carried: &[(String, &str)] = match (provider.as_str(), iam) {
        ("local", _) => &[],
        ("azure", true) => {
            set_type("default");
            &[(name("AccessKeyID"), "accountName")]
        }
        ("azure", false) => {
            set_type("sharedKey");
            &[(name("AccessKeyID"), "accountName"), (name("SecretAccessKey"), "auth.accountKey")]
        }
        ("gcpnative", _) => {
            set_type("serviceAccount");
            &[(name("GcpCredentialJSON"), "auth.credentialsFile")]
        }
        (_, true) => {
            set_type("iam");
            &[(name("IamEndpoint"), "auth.endpoint")]
        }
        (_, false) => {
            set_type("static");
            &[
                (name("AccessKeyID"), "auth.accessKeyID"),
                (name("SecretAccessKey"), "auth.secretAccessKey"),
                (name("Token"), "auth.sessionToken"),
            ]
        }
    };
    for (old, tail) in carried {
        if let Some(value) = first.get(old) {
            values.set(&to(tail), value.clone());
        }
    }
}

/// Sets a key from one whose value changes on the way; who set it stays.
fn moved<'t>(first: &Values, from: &str, values: &mut Values, to: &str, change: impl Fn(&str) -> &'t str) {
    if let Some(value) = first.get(from) {
        values.set(to, Value { text: change(&value.text).to_owned(), ..value.clone() });
    }
}
