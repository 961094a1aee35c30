//! Pure: from sources to settings, whichever schema the file has.

use std::path::PathBuf;

use super::error::ConfigError;
use super::file::Raw;
use super::keys::{Key, OWN, schema2};
use super::schema1;
use super::settings::{Auth, Cloud, Etcd, Milvus, Provider, Server, Settings, Storage, TlsMode, Transfer};
use super::values::{Origin, Sources, Value, Values, resolve};
use crate::engine::secret::Secret;

/// Key that names the schema of a file.
pub const VERSION_KEY: &str = "configVersion";

/// Which keys a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Those of milvus-backup up to 0.5; a file that does not say otherwise.
    One,
    /// Those of milvus-backup 0.6; `configVersion: v2`, or no file.
    Two,
}

/// Settings with where they come from.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What runs go by.
    pub settings: Settings,
    /// Every key of schema 2 with who set it.
    pub values: Values,
    /// Schema of the file.
    pub schema: Schema,
    /// The file.
    pub path: Option<PathBuf>,
    /// What a person should look at: unknown keys, keys without effect.
    pub warnings: Vec<String>,
}

/// Resolves everything.
///
/// # Errors
/// Every problem at once, with the name of its key and never the value of a secret.
pub fn load(sources: &Sources) -> Result<Configuration, ConfigError> {
    let schema = schema(sources)?;
    let keys = schema2();
    let mut problems = Vec::new();
    let mut warnings = unknown(&keys, schema, sources);
    let values = match schema {
        Schema::Two => {
            let mut values = resolve(&keys, sources, &mut problems);
            inherit(&mut values, &keys);
            values
        }
        Schema::One => {
            let defaults = resolve(&keys, &Sources::default(), &mut problems);
            schema1::translate(defaults, sources, &mut problems, &mut warnings)
        }
    };
    let settings = settings(&values, &mut problems);
    if !problems.is_empty() {
        return Err(ConfigError::Invalid(problems));
    }
    warnings.extend(idle(&keys, &values));
    let path = sources.file.as_ref().map(|file| file.path.clone());
    Ok(Configuration { settings, values, schema, path, warnings })
}

fn schema(sources: &Sources) -> Result<Schema, ConfigError> {
    let Some(file) = &sources.file else { return Ok(Schema::Two) };
    match file.values.get(&VERSION_KEY.to_lowercase()) {
        None => Ok(Schema::One),
        Some((_, Raw::Scalar(version))) if version.eq_ignore_ascii_case("v1") => Ok(Schema::One),
        Some((_, Raw::Scalar(version))) if version.eq_ignore_ascii_case("v2") => Ok(Schema::Two),
        Some(_) => Err(ConfigError::File(format!("{}: {VERSION_KEY} is v1 or v2", file.path.display()))),
    }
}

/// Names nobody knows; those of the other schema with what they are called in this one.
fn unknown(keys: &[Key], schema: Schema, sources: &Sources) -> Vec<String> {
    let first = schema1::names();
    let known = |name: &str| match schema {
        Schema::Two => keys
            .iter()
            .any(|key| key.name.eq_ignore_ascii_case(name) || key.env.iter().any(|e| e.eq_ignore_ascii_case(name))),
        Schema::One => first.iter().any(|(there, _)| there == name),
    };
    let advice = |name: &str| match first.iter().find(|(there, _)| there == name) {
        Some((_, Some(to))) if schema == Schema::Two => format!("it is a key of schema 1, in schema 2 it is {to}"),
        _ if keys.iter().any(|key| key.name.eq_ignore_ascii_case(name)) => {
            format!("it is a key of schema 2, which a file has with {VERSION_KEY}: v2")
        }
        _ => "see that it is spelled as in the documentation".to_owned(),
    };
    let in_file =
        sources.file.iter().flat_map(|file| &file.values).map(|(name, (spelled, _))| (name, spelled, "the file"));
    let set = sources.overrides.iter().map(|(name, (spelled, _))| (name, spelled, "--set"));
    in_file
        .chain(set)
        .filter(|(name, ..)| !known(name) && *name != &VERSION_KEY.to_lowercase())
        .map(|(name, spelled, place)| format!("{spelled} in {place} is not known and not looked at: {}", advice(name)))
        .collect()
}

/// `backup.storage` describes what differs from `milvus.storage`.
fn inherit(values: &mut Values, keys: &[Key]) {
    let tails = keys.iter().filter_map(|key| key.name.strip_prefix("milvus.storage."));
    for tail in tails.filter(|tail| !OWN.contains(tail)) {
        let (from, to) = (format!("milvus.storage.{tail}"), format!("backup.storage.{tail}"));
        if let Some(value) = values.get(&from).cloned()
            && values.get(&to).is_some_and(Value::is_default)
        {
            let spelled = if value.is_default() { String::new() } else { from };
            values.set(&to, Value { origin: Origin::Default, spelled, ..value });
        }
    }
}

/// One sentence for all keys that are set to something else than their default and do nothing here.
fn idle(keys: &[Key], values: &Values) -> Option<String> {
    let idle = keys.iter().filter_map(|key| Some((key, key.idle?)));
    let set: Vec<String> = idle
        .filter(|(key, _)| values.get(&key.name).is_some_and(|value| !value.is_default() && value.text != key.default))
        .map(|(key, why)| format!("{} ({why})", key.name))
        .collect();
    (!set.is_empty()).then(|| format!("without effect here: {}", set.join(", ")))
}

fn settings(values: &Values, problems: &mut Vec<String>) -> Settings {
    let text = |key: &str| values.text(key).to_owned();
    let some = |key: &str| Some(values.text(key)).filter(|text| !text.is_empty());
    let transfer = values.get("transfer.concurrency").filter(|value| !value.is_default());
    Settings {
        milvus: milvus(values, problems),
        milvus_storage: storage(values, "milvus.storage", problems),
        backup_storage: storage(values, "backup.storage", problems),
        pause_gc: values.flag("backup.pauseGC"),
        transfer: Transfer { concurrency: transfer.and_then(|value| value.text.parse().ok()), ..Transfer::default() },
        server: Server { swagger_base_path: text("server.swaggerBasePath") },
        cloud: Cloud {
            endpoint: some("zillizCloud.endpoint").unwrap_or("https://api.cloud.zilliz.com").to_owned(),
            api_key: Secret::new(text("zillizCloud.apiKey")),
        },
        log_level: match values.text("log.level") {
            "panic" | "fatal" => "error".to_owned(),
            level => level.to_owned(),
        },
    }
}

fn milvus(values: &Values, problems: &mut Vec<String>) -> Milvus {
    let some = |key: &str| Some(values.text(key)).filter(|text| !text.is_empty());
    let tls = match values.text("milvus.grpc.tlsMode") {
        "server" => TlsMode::Server,
        "mutual" => TlsMode::Mutual,
        _ => TlsMode::Disabled,
    };
    let client = some("milvus.grpc.mtlsCertPath").zip(some("milvus.grpc.mtlsKeyPath"));
    if tls == TlsMode::Mutual && client.is_none() {
        problems.push(
            "milvus.grpc.mtlsCertPath and milvus.grpc.mtlsKeyPath are needed where milvus.grpc.tlsMode is mutual"
                .into(),
        );
    }
    Milvus {
        address: values.text("milvus.grpc.address").to_owned(),
        port: port(values, "milvus.grpc.port", problems),
        user: values.text("milvus.user").to_owned(),
        password: Secret::new(values.text("milvus.password")),
        tls,
        ca_file: some("milvus.grpc.caCertPath").map(PathBuf::from),
        server_name: some("milvus.grpc.serverName").map(str::to_owned),
        client: client.map(|(certificate, key)| (PathBuf::from(certificate), PathBuf::from(key))),
        rest_endpoint: values.text("milvus.rest.endpoint").to_owned(),
        management_endpoint: values.text("milvus.management.endpoint").to_owned(),
        etcd: Etcd {
            endpoints: list(values.text("milvus.etcd.endpoints")),
            root_path: values.text("milvus.etcd.rootPath").to_owned(),
        },
    }
}

/// The items of a [`super::keys::Kind::List`].
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn port(values: &Values, key: &str, problems: &mut Vec<String>) -> u16 {
    match u16::try_from(values.number(key)) {
        Ok(port) if port > 0 => port,
        _ => {
            problems.push(format!("{key} is a number from 1 to 65535"));
            0
        }
    }
}

fn storage(values: &Values, section: &str, problems: &mut Vec<String>) -> Storage {
    let key = |tail: &str| format!("{section}.{tail}");
    let text = |tail: &str| values.text(&key(tail)).to_owned();
    let provider = provider(values.text(&key("provider")));
    let local = provider == Provider::Local;
    if provider == Provider::Azure && text("accountName").is_empty() {
        problems.push(format!("{} is needed for azure", key("accountName")));
    }
    if !local && text("bucketName").is_empty() {
        problems.push(format!("{} is needed", key("bucketName")));
    }
    if !local && (text("address").is_empty() || text("address").contains("://")) {
        problems.push(format!("{} is a host without http:// (see useSSL)", key("address")));
    }
    for (tail, whose, applies) in [("accountName", "azure", provider == Provider::Azure), ("localPath", "local", local)]
    {
        if !applies && values.get(&key(tail)).is_some_and(|value| !value.is_default() && !value.text.is_empty()) {
            problems.push(format!("{} is for the provider {whose} only", key(tail)));
        }
    }
    Storage {
        provider,
        address: text("address"),
        port: if local { 0 } else { port(values, &key("port"), problems) },
        region: text("region"),
        use_ssl: values.flag(&key("useSSL")),
        bucket: text("bucketName"),
        root_path: match local {
            true => text("rootPath"),
            false => text("rootPath").trim_matches('/').to_owned(),
        },
        // Inherited from a store of another provider, these would say nothing.
        local_path: if local { text("localPath") } else { String::new() },
        account_name: if provider == Provider::Azure { text("accountName") } else { String::new() },
        auth: auth(values, section, provider, problems),
    }
}

fn provider(word: &str) -> Provider {
    match word {
        "local" => Provider::Local,
        "s3" => Provider::S3,
        "aws" => Provider::Aws,
        "gcp" => Provider::Gcp,
        "gcpnative" => Provider::GcpNative,
        "azure" => Provider::Azure,
        "aliyun" => Provider::Aliyun,
        "tencent" => Provider::Tencent,
        "hwc" => Provider::Hwc,
        _ => Provider::Minio,
    }
}

/// Credentials with the kind of log-in they belong to.
pub(super) const CREDENTIALS: &[(&str, &str)] = &[
    ("auth.accessKeyID", "static"),
    ("auth.secretAccessKey", "static"),
    ("auth.sessionToken", "static"),
    ("auth.accountKey", "sharedKey"),
    ("auth.credentialsFile", "serviceAccount"),
    ("auth.endpoint", "iam"),
];

fn auth(values: &Values, section: &str, provider: Provider, problems: &mut Vec<String>) -> Auth {
    let key = |tail: &str| format!("{section}.{tail}");
    let allowed: &[&str] = match provider {
        // A directory needs no keys.
        Provider::Local => return Auth::Ambient,
        Provider::Azure => &["sharedKey", "default"],
        Provider::GcpNative => &["serviceAccount", "default"],
        _ => &["static", "iam", "default"],
    };
    let kind = values.text(&key("auth.type"));
    if !allowed.contains(&kind) {
        let provider = values.text(&key("provider"));
        problems.push(format!(
            "{} is one of {} for the provider {provider}, not {kind:?}",
            key("auth.type"),
            allowed.join(", ")
        ));
        return Auth::Ambient;
    }
    let mut need = |tail: &str| {
        let value = values.text(&key(tail)).to_owned();
        if value.is_empty() {
            problems.push(format!("{} is needed where {} is {kind}", key(tail), key("auth.type")));
        }
        Secret::new(value)
    };
    let auth = match kind {
        "static" => Auth::Static {
            access_key: need("auth.accessKeyID"),
            secret_key: need("auth.secretAccessKey"),
            session_token: Some(Secret::new(values.text(&key("auth.sessionToken")))).filter(|token| !token.is_empty()),
        },
        "sharedKey" => Auth::SharedKey(need("auth.accountKey")),
        "serviceAccount" => Auth::ServiceAccount(PathBuf::from(need("auth.credentialsFile").expose())),
        _ => Auth::Ambient,
    };
    for (tail, belongs) in CREDENTIALS {
        let set = values.get(&key(tail)).is_some_and(|value| !value.is_default() && !value.text.is_empty());
        if set && *belongs != kind {
            problems.push(format!("{} is for {} {belongs}, and that is {kind}", key(tail), key("auth.type")));
        }
    }
    auth
}
