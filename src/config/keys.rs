//! The keys of schema 2: names, kinds, defaults, environment variables, and what they do here.
//!
//! Source: milvus-backup 0.6, `internal/cfg/v2/cfg.go` and `storage.go`. Where this program does not act on a key the table
//! says so, and a value other than the default is answered with a warning.

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number in a range.
    Number(u64, u64),
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Empty, or `http(s)://host...`.
    Url,
    /// Words.
    List,
}

/// A port.
pub const PORT: Kind = Kind::Number(1, 65535);
const SOME: Kind = Kind::Number(1, u32::MAX as u64);
const ANY: Kind = Kind::Number(0, u32::MAX as u64);

/// Providers of storage.
pub const PROVIDERS: &[&str] =
    &["local", "minio", "s3", "aws", "gcp", "gcpnative", "azure", "aliyun", "tencent", "hwc"];

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Dotted name as it is documented; compared without regard to case.
    pub name: String,
    /// What a value must be.
    pub kind: Kind,
    /// Value where nothing sets it.
    pub default: &'static str,
    /// Environment variables.
    pub env: Vec<String>,
    /// Whether its value is never shown.
    pub secret: bool,
    /// Why it does nothing here; none where it does.
    pub idle: Option<&'static str>,
    /// What it means.
    pub about: &'static str,
}

fn key(name: impl Into<String>, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name: name.into(), kind, default, env: Vec::new(), secret: false, idle: None, about }
}

impl Key {
    fn env(mut self, name: impl Into<String>) -> Key {
        self.env.push(name.into());
        self
    }

    fn secret(mut self) -> Key {
        self.secret = true;
        self
    }

    fn idle(mut self, why: &'static str) -> Key {
        self.idle = Some(why);
        self
    }
}

const LOGS: &str = "logs go to standard error";
const BOUNDS: &str = "the engine bounds itself";
const UNUSED: &str = "this version makes no call to it";

/// All keys in the order of the file.
pub fn schema2() -> Vec<Key> {
    let mut keys = vec![
        key(
            "log.level",
            Kind::Choice(&["debug", "info", "warn", "error", "panic", "fatal"]),
            "info",
            "level of the log",
        ),
        key("log.console", Kind::Flag, "true", "also log to the terminal").idle(LOGS),
        key("log.file.path", Kind::Text, "logs/backup.log", "file of the log").idle(LOGS),
        key("log.file.maxSizeMiB", ANY, "300", "rotation").idle(LOGS),
        key("log.file.maxDays", ANY, "0", "rotation").idle(LOGS),
        key("log.file.maxBackups", ANY, "0", "rotation").idle(LOGS),
        key("server.debugMode", Kind::Flag, "false", "debug handlers of the server").idle("there are none"),
        key("server.swaggerBasePath", Kind::Text, "", "prefix of the server's pages behind a proxy"),
        key("milvus.user", Kind::Text, "", "user; empty where Milvus asks for none").env("MILVUS_USER"),
        key("milvus.password", Kind::Text, "", "password").env("MILVUS_PASSWORD").secret(),
        key("milvus.grpc.address", Kind::Text, "localhost", "host of the proxy"),
        key("milvus.grpc.port", PORT, "19530", "gRPC port"),
        key("milvus.grpc.tlsMode", Kind::Choice(&["disabled", "server", "mutual"]), "disabled", "encryption"),
        key("milvus.grpc.caCertPath", Kind::Text, "", "certificate authority; empty for the system's"),
        key("milvus.grpc.serverName", Kind::Text, "", "name in the certificate where it is not the host"),
        key("milvus.grpc.mtlsCertPath", Kind::Text, "", "client certificate for mutual"),
        key("milvus.grpc.mtlsKeyPath", Kind::Text, "", "its key"),
        key("milvus.rest.endpoint", Kind::Url, "", "REST interface of Milvus; empty for its gRPC port"),
        key("milvus.management.endpoint", Kind::Url, "http://localhost:9091", "management interface of Milvus"),
        key("milvus.replicate.rpcChannelName", Kind::Text, "by-dev-replicate-msg", "channel of replication")
            .idle(UNUSED),
        key(
            "milvus.etcd.endpoints",
            Kind::List,
            "localhost:2379",
            "etcd of Milvus, for `--backup_index_extra`; plain TCP, no login",
        ),
        key("milvus.etcd.rootPath", Kind::Text, "by-dev", "root of Milvus in it"),
    ];
    keys.extend(storage("milvus.storage", "MILVUS_STORAGE", "files"));
    keys.extend(storage("backup.storage", "BACKUP_STORAGE", "backup"));
    keys.extend([
        key("backup.concurrency.collections", SOME, "4", "collections at once").idle(BOUNDS),
        key("backup.concurrency.segments", SOME, "1024", "segments at once").idle(BOUNDS),
        key("backup.pauseGC", Kind::Flag, "true", "pause garbage collection of Milvus while copying"),
        key("restore.concurrency.collections", SOME, "2", "collections at once").idle(BOUNDS),
        key("restore.concurrency.importJobs", SOME, "768", "import jobs at once").idle(BOUNDS),
        key("restore.maxSegmentsPerImportJob", SOME, "256", "segments of one import job").idle(BOUNDS),
        key("restore.keepTempFiles", Kind::Flag, "false", "leave staged copies behind").idle("they are always removed"),
        key("transfer.mode", Kind::Choice(&["auto", "direct", "streaming"]), "auto", "how objects are copied")
            .idle("the engine copies on the server where one service holds both buckets, and streams otherwise"),
        key(
            "transfer.concurrency",
            SOME,
            "128",
            "most objects copied at once; fewer where the store asks to be spared",
        ),
        key("transfer.multipartCopyThresholdMiB", SOME, "500", "copy in parts from this size").idle(BOUNDS),
        key("zillizCloud.endpoint", Kind::Url, "https://api.cloud.zilliz.com", "API of Zilliz Cloud"),
        key("zillizCloud.apiKey", Kind::Text, "", "its key").env("ZILLIZ_CLOUD_API_KEY").secret(),
    ]);
    keys
}

/// A storage section. `backup.storage` takes what is not set from `milvus.storage`, but for [`OWN`].
fn storage(section: &str, env: &str, root: &'static str) -> Vec<Key> {
    let name = |tail: &str| format!("{section}.{tail}");
    let env = |tail: &str| format!("{env}_{tail}");
    vec![
        key(name("provider"), Kind::Choice(PROVIDERS), "minio", "whose service"),
        key(name("address"), Kind::Text, "localhost", "host without scheme"),
        key(name("port"), PORT, "9000", "port"),
        key(name("region"), Kind::Text, "", "region"),
        key(name("useSSL"), Kind::Flag, "false", "https"),
        key(name("accountName"), Kind::Text, "", "Azure account").env(env("ACCOUNT_NAME")),
        key(name("bucketName"), Kind::Text, "a-bucket", "bucket"),
        key(name("rootPath"), Kind::Text, root, "key prefix; a directory for local"),
        key(name("localPath"), Kind::Text, "", "that directory as Milvus sees it"),
        key(name("milvusAddress"), Kind::Text, "", "the store's host as Milvus sees it").idle("only snapshots need it"),
        key(name("milvusPort"), Kind::Number(0, 65535), "0", "its port").idle("only snapshots need it"),
        key(
            name("auth.type"),
            Kind::Choice(&["static", "iam", "sharedKey", "serviceAccount", "default"]),
            "static",
            "log-in",
        ),
        key(name("auth.accessKeyID"), Kind::Text, "minioadmin", "access key (static)").env(env("AUTH_ACCESS_KEY_ID")),
        key(name("auth.secretAccessKey"), Kind::Text, "minioadmin", "secret key (static)")
            .env(env("AUTH_SECRET_ACCESS_KEY"))
            .secret(),
        key(name("auth.sessionToken"), Kind::Text, "", "token of temporary keys (static)")
            .env(env("AUTH_SESSION_TOKEN"))
            .secret(),
        key(name("auth.accountKey"), Kind::Text, "", "Azure key (sharedKey)").env(env("AUTH_ACCOUNT_KEY")).secret(),
        key(name("auth.credentialsFile"), Kind::Text, "", "Google file (serviceAccount)")
            .env(env("AUTH_CREDENTIALS_FILE")),
        key(name("auth.endpoint"), Kind::Text, "", "where identities come from (iam)").idle("the client finds it"),
    ]
}

/// Keys that `backup.storage` does not take from `milvus.storage`.
pub const OWN: &[&str] = &["rootPath", "localPath", "milvusAddress", "milvusPort"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_whatever_may_be_secret_is_marked() {
        let keys = schema2();
        let names: std::collections::BTreeSet<String> = keys.iter().map(|key| key.name.to_lowercase()).collect();
        assert_eq!(names.len(), keys.len());
        for key in keys {
            let telling = ["password", "secretAccessKey", "sessionToken", "accountKey", "apiKey"];
            assert_eq!(key.secret, telling.iter().any(|end| key.name.ends_with(end)), "{}", key.name);
        }
    }
}
