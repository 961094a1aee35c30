//! The configuration: both schemas, every source, what is refused, and that no secret ever shows.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use milvus_backup_operator::config::keys::schema2;
use milvus_backup_operator::config::{
    Auth, ConfigError, Configuration, Provider, Schema, Settings, Sources, TlsMode, file, load, overrides,
};
use milvus_backup_operator::engine::task::{Credentials, Service};
use proptest::prelude::*;
use rstest::rstest;

const SCHEMA_1: &str = include_str!("fixtures/config/schema1.yaml");
const SCHEMA_2: &str = include_str!("fixtures/config/schema2.yaml");

fn sources(text: &str, environment: &[(&str, &str)], set: &[&str]) -> Sources {
    let parsed = file::parse(text).unwrap_or_else(|why| panic!("{why}"));
    let set: Vec<String> = set.iter().map(|item| (*item).to_owned()).collect();
    Sources {
        file: Some(file::File { path: PathBuf::from("backup.yaml"), ..parsed }),
        environment: environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        overrides: overrides(&set).unwrap(),
    }
}

fn loaded(text: &str) -> Configuration {
    load(&sources(text, &[], &[])).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match load(&sources(text, &[], &[])) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

fn keys(auth: &Auth) -> (&str, &str, Option<&str>) {
    match auth {
        Auth::Static { access_key, secret_key, session_token } => {
            (access_key.expose(), secret_key.expose(), session_token.as_ref().map(|token| token.expose()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_of_schema_1_means_what_its_keys_say() {
    let configuration = loaded(SCHEMA_1);
    assert_eq!(configuration.schema, Schema::One);
    let Settings { milvus, milvus_storage, backup_storage, pause_gc, transfer, cloud, .. } = configuration.settings;
    assert_eq!((milvus.address.as_str(), milvus.port), ("milvus.example", 19531));
    assert_eq!((milvus.user.as_str(), milvus.password.expose()), ("root", "milvus-Password"));
    assert_eq!(milvus.tls, TlsMode::Server);
    assert_eq!(milvus.ca_file, Some(PathBuf::from("/etc/milvus/ca.pem")));
    assert_eq!(milvus.server_name.as_deref(), Some("milvus.internal"));
    assert_eq!(milvus.etcd.endpoints, ["127.0.0.1:2379", "127.0.0.1:2380"]);
    assert_eq!(milvus.etcd.root_path, "by-dev");
    assert_eq!(milvus_storage.provider, Provider::Minio);
    assert_eq!((milvus_storage.bucket.as_str(), milvus_storage.root_path.as_str()), ("milvus-bucket", "files"));
    assert_eq!(keys(&milvus_storage.auth), ("primary-key", "primary-Secret", None));
    assert_eq!(backup_storage.provider, Provider::Aws);
    assert_eq!((backup_storage.port, backup_storage.use_ssl), (443, true));
    assert_eq!(
        (backup_storage.bucket.as_str(), backup_storage.root_path.as_str()),
        ("backup-bucket", "milvus/nightly")
    );
    assert_eq!(keys(&backup_storage.auth), ("backup-key", "backup-Secret", Some("backup-Token")));
    assert!(!pause_gc);
    assert_eq!(transfer.concurrency, Some(64));
    assert_eq!(cloud.api_key.expose(), "<your-api-key>");
}

#[test]
fn the_same_deployment_in_schema_2_gives_the_same_settings() {
    let configuration = loaded(SCHEMA_2);
    assert_eq!(configuration.schema, Schema::Two);
    assert_eq!(configuration.settings, loaded(SCHEMA_1).settings);
}

#[test]
fn without_a_file_the_defaults_hold() {
    let configuration = load(&Sources::default()).unwrap();
    assert_eq!(configuration.settings, Settings::default());
    assert!(configuration.warnings.is_empty(), "{:?}", configuration.warnings);
}

#[test]
fn an_empty_file_is_one_of_schema_1_and_puts_backups_below_the_root_of_milvus() {
    let configuration = loaded("");
    assert_eq!(configuration.schema, Schema::One);
    assert_eq!(configuration.settings.backup_storage.root_path, "files");
    let moved = loaded("minio:\n  rootPath: elsewhere\n");
    assert_eq!(moved.settings.backup_storage.root_path, "elsewhere");
}

#[rstest]
#[case::default(&[], &[], "", "localhost")]
#[case::file(&[], &[], "milvus: {address: of-file}", "of-file")]
#[case::environment(&[("MILVUS_ADDRESS", "of-env")], &[], "milvus: {address: of-file}", "of-env")]
#[case::set(&[("MILVUS_ADDRESS", "of-env")], &["Milvus.Address=of-set"], "milvus: {address: of-file}", "of-set")]
#[case::variable_by_set(&[], &["milvus_address=of-set"], "milvus: {address: of-file}", "of-set")]
fn set_wins_over_the_environment_and_that_over_the_file(
    #[case] environment: &[(&str, &str)],
    #[case] set: &[&str],
    #[case] text: &str,
    #[case] expected: &str,
) {
    let configuration = load(&sources(text, environment, set)).unwrap();
    assert_eq!(configuration.settings.milvus.address, expected);
}

#[test]
fn schema_2_takes_its_credentials_from_its_own_variables_only() {
    let environment = [
        ("MILVUS_PASSWORD", "p"),
        ("MILVUS_STORAGE_AUTH_SECRET_ACCESS_KEY", "s"),
        ("BACKUP_STORAGE_AUTH_ACCESS_KEY_ID", "b"),
        ("MILVUS_ADDRESS", "not-looked-at"),
        ("MINIO_SECRET_KEY", "not-looked-at"),
    ];
    let settings = load(&sources("configVersion: v2", &environment, &[])).unwrap().settings;
    assert_eq!(settings.milvus.address, "localhost");
    assert_eq!(settings.milvus.password.expose(), "p");
    assert_eq!(keys(&settings.milvus_storage.auth), ("minioadmin", "s", None));
    assert_eq!(keys(&settings.backup_storage.auth), ("b", "s", None));
}

#[test]
fn a_service_named_milvus_does_not_break_the_port() {
    let environment = [("MILVUS_PORT", "tcp://10.0.0.1:19530"), ("MINIO_PORT", "tcp://10.0.0.2:9000")];
    let settings = load(&sources("milvus: {port: 19540}", &environment, &[])).unwrap().settings;
    assert_eq!((settings.milvus.port, settings.milvus_storage.port), (19540, 9000));
    assert_eq!(load(&sources("", &[("MILVUS_PORT", "19541")], &[])).unwrap().settings.milvus.port, 19541);
}

#[rstest]
#[case("ali", Provider::Aliyun)]
#[case("alibaba", Provider::Aliyun)]
#[case("AliCloud", Provider::Aliyun)]
#[case("tc", Provider::Tencent)]
#[case("hwc", Provider::Hwc)]
#[case("S3", Provider::S3)]
fn old_names_of_providers_are_understood(#[case] word: &str, #[case] expected: Provider) {
    let settings = loaded(&format!("minio: {{storageType: {word}}}")).settings;
    assert_eq!((settings.milvus_storage.provider, settings.backup_storage.provider), (expected, expected));
    let older = loaded(&format!("minio: {{cloudProvider: {word}}}")).settings;
    assert_eq!(older.milvus_storage.provider, expected);
}

#[test]
fn the_log_in_of_schema_1_follows_provider_and_use_iam() {
    let azure = "minio: {storageType: azure, accessKeyID: account, secretAccessKey: k3y}";
    let settings = loaded(azure).settings;
    assert_eq!(settings.milvus_storage.account_name, "account");
    assert!(matches!(&settings.backup_storage.auth, Auth::SharedKey(key) if key.expose() == "k3y"));
    let iam = loaded("minio: {storageType: aws, useIAM: true}").settings;
    assert_eq!((iam.milvus_storage.auth, iam.backup_storage.auth), (Auth::Ambient, Auth::Ambient));
    let google = "minio: {storageType: gcpnative, gcpCredentialJSON: /a.json, backupGcpCredentialJSON: /b.json}";
    let google = loaded(google).settings;
    assert_eq!(google.milvus_storage.auth, Auth::ServiceAccount("/a.json".into()));
    assert_eq!(google.backup_storage.auth, Auth::ServiceAccount("/b.json".into()));
}

#[test]
fn mutual_tls_without_a_key_pair_is_server_tls_in_schema_1_and_refused_in_schema_2() {
    let old = loaded("milvus: {tlsMode: 2}");
    assert_eq!(old.settings.milvus.tls, TlsMode::Server);
    assert!(old.warnings.iter().any(|warning| warning.contains("milvus.tlsMode")), "{:?}", old.warnings);
    let with_pair = loaded("milvus: {tlsMode: 2, mtlsCertPath: /c, mtlsKeyPath: /k}").settings.milvus;
    assert_eq!((with_pair.tls, with_pair.client), (TlsMode::Mutual, Some(("/c".into(), "/k".into()))));
    let said = problems("configVersion: v2\nmilvus: {grpc: {tlsMode: mutual}}");
    assert!(said[0].contains("milvus.grpc.mtlsCertPath"), "{said:?}");
}

#[test]
fn every_problem_is_told_at_once_and_by_its_key() {
    let said = problems(
        "configVersion: v2\nmilvus: {grpc: {port: 0, tlsMode: 1}, etcd: {endpoints: 'a,b'}}\nbackup: {pauseGC: maybe, storage: {provider: floppy}}\ntransfer: {concurrency: 0}\n",
    );
    for key in [
        "milvus.grpc.port",
        "milvus.grpc.tlsMode",
        "milvus.etcd.endpoints",
        "backup.pauseGC",
        "backup.storage.provider",
        "transfer.concurrency",
    ] {
        assert!(said.iter().any(|problem| problem.starts_with(key)), "{key} in {said:?}");
    }
}

#[rstest]
#[case("provider: azure, accountName: a, auth: {type: sharedKey}", "auth.accountKey is needed")]
#[case("provider: azure, auth: {type: default}", "accountName is needed for azure")]
#[case("provider: azure, accountName: a, auth: {type: static}", "auth.type is one of sharedKey, default")]
#[case("provider: minio, auth: {type: iam, secretAccessKey: x}", "auth.secretAccessKey is for")]
#[case("provider: minio, auth: {secretAccessKey: ''}", "auth.secretAccessKey is needed")]
#[case("provider: minio, accountName: a", "accountName is for the provider azure only")]
#[case("provider: minio, localPath: /a", "localPath is for the provider local only")]
#[case("provider: minio, address: 'http://minio'", "address is a host")]
#[case("provider: minio, bucketName: ''", "bucketName is needed")]
fn a_storage_section_that_contradicts_itself_is_refused(#[case] section: &str, #[case] expected: &str) {
    let said = problems(&format!("configVersion: v2\nbackup: {{storage: {{{section}}}}}"));
    assert!(said.iter().any(|problem| problem.contains(&format!("backup.storage.{expected}"))), "{said:?}");
}

#[test]
fn unknown_keys_are_named_with_what_took_their_place() {
    let said = loaded("configVersion: v2\nminio: {address: a}\nmilvus: {grcp: {port: 1}}").warnings.join("\n");
    assert!(
        said.contains("minio.address in the file is not known") && said.contains("milvus.storage.address"),
        "{said}"
    );
    assert!(said.contains("milvus.grcp.port"), "{said}");
    let said = loaded("milvus: {grpc: {port: 1}}").warnings.join("\n");
    assert!(said.contains("milvus.grpc.port") && said.contains("configVersion: v2"), "{said}");
    let said = load(&sources("", &[], &["milvus.prot=1"])).unwrap().warnings.join("\n");
    assert!(said.contains("milvus.prot in --set"), "{said}");
}

#[test]
fn keys_without_effect_are_told_once_and_only_where_they_are_set_to_something() {
    let said = loaded(SCHEMA_1).warnings;
    let idle: Vec<&String> = said.iter().filter(|warning| warning.starts_with("without effect here")).collect();
    assert_eq!(idle.len(), 1, "{said:?}");
    assert!(idle[0].contains("transfer.mode") && !idle[0].contains("milvus.etcd"), "{}", idle[0]);
    assert!(!idle[0].contains("backup.concurrency.segments") && !idle[0].contains("log.file"), "{}", idle[0]);
}

#[test]
fn a_version_nobody_knows_is_refused() {
    let error = load(&sources("configVersion: v3", &[], &[])).unwrap_err();
    assert!(error.to_string().contains("configVersion is v1 or v2"), "{error}");
}

#[test]
fn an_item_of_set_without_a_value_is_counted_and_not_shown() {
    let said = overrides(&["a=b,c=d".to_owned(), "hunter2".to_owned()]).unwrap_err();
    assert_eq!(said, "item 3 of --set is no KEY=VALUE");
}

#[test]
fn the_first_place_that_has_the_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (conf, here) = (folder.path().join("conf"), folder.path().join("here"));
    std::fs::create_dir_all(here.join("configs")).unwrap();
    std::fs::create_dir_all(&conf).unwrap();
    std::fs::write(here.join("configs/backup.yaml"), "milvus: {address: configs}").unwrap();
    let places = |given: &std::path::Path| file::places(given, conf.to_str(), &here);
    let missing = folder.path().join("missing/backup.yaml");
    assert_eq!(file::read(&places(&missing)).unwrap().path, here.join("configs/backup.yaml"));
    std::fs::write(conf.join("backup.yaml"), "milvus: {address: conf}").unwrap();
    assert_eq!(file::read(&places(&missing)).unwrap().path, conf.join("backup.yaml"));
    let given = folder.path().join("backup.yaml");
    std::fs::write(&given, "").unwrap();
    assert_eq!(file::read(&places(&given)).unwrap().path, given);
    let said = file::read(&places(&folder.path().join("other.yaml"))).err().unwrap().to_string();
    assert!(said.contains("conf/other.yaml") && said.contains("configs/other.yaml"), "{said}");
}

#[test]
fn keys_reach_the_engine_without_files_and_amazon_gets_its_own_endpoint() {
    let settings = loaded(SCHEMA_1).settings;
    let milvus = settings.milvus_target().unwrap();
    assert_eq!((milvus.host.as_str(), milvus.port), ("milvus.example", 19531));
    assert_eq!(milvus.store.endpoint.as_deref(), Some("http://minio.example:9000"));
    assert_eq!((milvus.store.path_style, milvus.store.prefix.as_str()), (true, "files"));
    assert!(
        matches!(&milvus.store.credentials, Credentials::Values { secret_key, .. } if secret_key.expose() == "primary-Secret")
    );
    let backup = settings.backup_target().unwrap();
    assert_eq!((backup.endpoint, backup.region.as_deref(), backup.path_style), (None, Some("eu-central-1"), false));
    let aliyun = loaded("minio: {storageType: ali, address: oss.example, port: 443, useSSL: true}").settings;
    let target = aliyun.backup_target().unwrap();
    assert_eq!((target.endpoint.as_deref(), target.path_style), (Some("https://oss.example:443"), false));
}

#[test]
fn a_task_with_keys_in_it_cannot_be_written_down() {
    let target = loaded(SCHEMA_1).settings.milvus_target().unwrap();
    let error = serde_json::to_string(&target).unwrap_err().to_string();
    assert!(error.contains("Values"), "{error}");
}

#[test]
fn backups_may_lie_in_a_directory_and_the_data_of_milvus_may_not() {
    let settings = loaded("minio: {storageType: local, backupRootPath: /var/backups}").settings;
    let target = settings.backup_target().unwrap();
    assert_eq!(target.folder.as_deref(), Some(std::path::Path::new("/var/backups")));
    let said = settings.milvus_target().unwrap_err().to_string();
    assert!(said.contains("milvus.storage.provider local"), "{said}");
}

#[rstest]
#[case("core.windows.net, port: 443", "https://acc.blob.core.windows.net:443")]
#[case("blob.core.chinacloudapi.cn, port: 443", "https://acc.blob.core.chinacloudapi.cn:443")]
#[case("acc.blob.core.windows.net, port: 443", "https://acc.blob.core.windows.net:443")]
#[case("10.0.0.1, port: 10000", "http://10.0.0.1:10000/acc")]
#[case("azurite, port: 10000, useSSL: true", "https://azurite:10000/acc")]
fn an_azure_account_is_a_host_of_its_own_but_for_emulators(#[case] address: &str, #[case] expected: &str) {
    let section = format!("storageType: azure, accessKeyID: acc, secretAccessKey: k3y, address: {address}");
    let settings = loaded(&format!("minio: {{{section}, bucketName: c, backupBucketName: d}}")).settings;
    let (milvus, backup) = (settings.milvus_storage_target().unwrap(), settings.backup_target().unwrap());
    assert_eq!((milvus.service, milvus.endpoint.as_deref()), (Service::Azure, Some(expected)));
    assert_eq!((milvus.bucket.as_str(), backup.bucket.as_str()), ("c", "d"));
    let Credentials::Values { access_key, secret_key, session_token: None } = &backup.credentials else {
        panic!("{backup:?}")
    };
    assert_eq!((access_key.expose(), secret_key.expose()), ("acc", "k3y"));
    assert!(!format!("{backup:?}").contains("k3y"));
    let iam = loaded("minio: {storageType: azure, accessKeyID: acc, useIAM: true, address: core.windows.net}").settings;
    assert_eq!(iam.backup_target().unwrap().credentials, Credentials::Ambient);
}

#[rstest]
#[case("storage.googleapis.com, port: 443, useSSL: true", None)]
#[case("fake-gcs, port: 4443", Some("http://fake-gcs:4443"))]
fn google_is_where_the_client_knows_it_but_for_emulators(#[case] address: &str, #[case] expected: Option<&str>) {
    let section = format!(
        "storageType: gcpnative, gcpCredentialJSON: /k.json, backupGcpCredentialJSON: /b.json, address: {address}"
    );
    let target = loaded(&format!("minio: {{{section}}}")).settings.milvus_storage_target().unwrap();
    assert_eq!((target.service, target.endpoint.as_deref()), (Service::Gcs, expected));
    assert_eq!(target.credentials, Credentials::ServiceAccount { key_file: "/k.json".into() });
}

/// Everything a configuration can be made to say.
fn said(configuration: &Configuration) -> String {
    let shown = serde_json::to_string(&configuration.shown()).unwrap();
    let targets = (configuration.settings.milvus_target(), configuration.settings.backup_target());
    format!("{configuration:?}\n{shown}\n{}\n{:?}\n{targets:?}", configuration.table(), configuration.settings)
}

#[test]
fn no_secret_is_in_debug_output_table_or_json() {
    for text in [SCHEMA_1, SCHEMA_2] {
        let said = said(&loaded(text));
        for secret in ["milvus-Password", "primary-Secret", "backup-Secret", "backup-Token", "<your-api-key>"] {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
        assert!(said.contains("***") && said.contains("milvus-bucket"), "{said}");
    }
}

#[test]
fn the_table_says_who_set_a_value() {
    let sources = sources("milvus: {port: 19531}", &[("MILVUS_USER", "me")], &["milvus.password=x"]);
    let table = load(&sources).unwrap().table();
    let line = |key: &str| {
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("PARAMETER"), "PARAMETER VALUE SOURCE SOURCE_KEY");
    assert_eq!(line("milvus.grpc.port"), "milvus.grpc.port 19531 config milvus.port");
    assert_eq!(line("milvus.user"), "milvus.user me env MILVUS_USER");
    assert_eq!(line("milvus.password"), "milvus.password *** override milvus.password");
    assert_eq!(line("transfer.mode"), "transfer.mode auto default");
    assert_eq!(table.lines().count(), schema2().len() + 1);
}

#[test]
fn a_secret_of_the_environment_is_not_written_into_a_migrated_file() {
    let environment = [("MINIO_SECRET_KEY", "of-the-environment"), ("MILVUS_PASSWORD", "also-there")];
    let configuration = load(&sources("minio: {accessKeyID: k}", &environment, &[])).unwrap();
    let (text, notes) = configuration.migrated().unwrap();
    assert!(!text.contains("of-the-environment") && !text.contains("also-there"), "{text}");
    let notes = notes.join("\n");
    for variable in
        ["MILVUS_STORAGE_AUTH_SECRET_ACCESS_KEY", "BACKUP_STORAGE_AUTH_SECRET_ACCESS_KEY", "MILVUS_PASSWORD"]
    {
        assert!(notes.contains(variable), "{variable} in {notes}");
    }
    assert!(!notes.contains("also-there"), "{notes}");
}

#[test]
fn a_file_of_schema_2_is_not_migrated_again() {
    let error = loaded(SCHEMA_2).migrated().unwrap_err().to_string();
    assert!(error.contains("backup.yaml is of schema 2 already"), "{error}");
}

/// The table of docs/command-line.md; `UPDATE_DOCS=1` writes it.
#[test]
fn the_keys_in_the_documentation_are_those_of_the_program() {
    let mut table = String::from("| key | default | variable | |\n|---|---|---|---|\n");
    for key in schema2().iter().filter(|key| !key.name.starts_with("backup.storage.")) {
        let (mut default, mut names) = (key.default.to_owned(), key.env.clone());
        let name = match key.name.strip_prefix("milvus.storage.") {
            Some(tail) => format!("`*.storage.{tail}`"),
            None => format!("`{}`", key.name),
        };
        if key.name == "milvus.storage.rootPath" {
            default = "files`, `backup".to_owned();
        }
        names
            .iter_mut()
            .for_each(|variable| *variable = format!("`{}`", variable.replace("MILVUS_STORAGE", "*_STORAGE")));
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let idle = if key.idle.is_some() { "- " } else { "" };
        table.push_str(&format!("| {name} | {default} | {} | {idle}{} |\n", names.join(" "), key.about));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/command-line.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("<!-- keys: begin -->\n").unwrap();
    let (there, after) = rest.split_once("<!-- keys: end -->").unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}<!-- keys: begin -->\n{table}<!-- keys: end -->{after}")).unwrap();
        return;
    }
    assert_eq!(there, table, "write it anew with UPDATE_DOCS=1 cargo test --test config");
}

/// Any text a YAML string can hold, with what YAML reads as something else.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_./-]{1,12}",
        "[ -~]{1,16}",
        Just("true".to_owned()),
        Just("12".to_owned()),
        Just("null".to_owned()),
        Just("é: #\"'\\\u{1F600}".to_owned()),
    ]
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A file of schema 1 with any of its keys set to something that can be meant.
fn any_schema_1() -> impl Strategy<Value = String> {
    let provider = prop_oneof![
        Just("minio"),
        Just("s3"),
        Just("aws"),
        Just("gcp"),
        Just("ali"),
        Just("tc"),
        Just("hwc"),
        Just("azure"),
        Just("local")
    ];
    let flag = any::<bool>().prop_map(|flag| flag.to_string());
    let port = (1..=65535_u32).prop_map(|port| port.to_string());
    let text = || any_text().prop_map(|text| quoted(&text));
    let host = || "[a-z][a-z0-9.-]{0,20}".prop_map(|host| quoted(&host));
    let entry = prop_oneof![
        (
            prop_oneof![
                Just("milvus.user"),
                Just("milvus.password"),
                Just("milvus.caCertPath"),
                Just("milvus.serverName"),
                Just("milvus.mtlsCertPath"),
                Just("milvus.mtlsKeyPath"),
                Just("minio.region"),
                Just("minio.accessKeyID"),
                Just("minio.secretAccessKey"),
                Just("minio.token"),
                Just("minio.bucketName"),
                Just("minio.rootPath"),
                Just("minio.backupRegion"),
                Just("minio.backupAccessKeyID"),
                Just("minio.backupSecretAccessKey"),
                Just("minio.backupToken"),
                Just("minio.backupBucketName"),
                Just("minio.backupRootPath"),
                Just("cloud.apikey"),
                Just("http.swaggerBasePath"),
                Just("minio.iamEndpoint")
            ],
            text()
        ),
        (prop_oneof![Just("milvus.address"), Just("minio.address"), Just("minio.backupAddress")], host()),
        (prop_oneof![Just("milvus.port"), Just("minio.port"), Just("minio.backupPort")], port),
        (
            prop_oneof![
                Just("minio.useSSL"),
                Just("minio.backupUseSSL"),
                Just("minio.useIAM"),
                Just("minio.backupUseIAM"),
                Just("minio.crossStorage"),
                Just("backup.gcPause.enable")
            ],
            flag
        ),
        (prop_oneof![Just("minio.storageType"), Just("minio.backupStorageType")], provider.prop_map(str::to_owned)),
        (Just("milvus.tlsMode"), (0..=2_u8).prop_map(|mode| mode.to_string())),
        (
            prop_oneof![Just("backup.parallelism.copydata"), Just("backup.parallelism.importJob")],
            (1..5000_u32).prop_map(|number| number.to_string())
        ),
    ];
    proptest::collection::vec(entry, 0..24).prop_map(|entries| {
        // Dotted keys nested as a file has them.
        let mut sections: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (key, value) in entries {
            let (section, name) = key.rsplit_once('.').unwrap();
            sections.entry(section).or_default().insert(name, value);
        }
        let mut tree: BTreeMap<&str, String> = BTreeMap::new();
        for (section, names) in sections {
            let body: String = names.iter().map(|(name, value)| format!("{name}: {value}, ")).collect();
            match section.split_once('.') {
                None => tree.entry(section).or_default().push_str(&body),
                Some((top, below)) => tree.entry(top).or_default().push_str(&format!("{below}: {{{body}}}, ")),
            }
        }
        tree.iter().map(|(section, body)| format!("{section}: {{{body}}}\n")).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The file that `config migrate` writes, read again, is the same deployment.
    #[test]
    fn schema_1_turned_into_schema_2_keeps_its_meaning(text in any_schema_1()) {
        let Ok(first) = load(&sources(&text, &[], &[])) else { return Ok(()) };
        let (migrated, _) = first.migrated().unwrap();
        let second = load(&sources(&migrated, &[], &[]));
        prop_assert!(second.is_ok(), "{second:?}\n{text}\n{migrated}");
        let second = second.unwrap();
        prop_assert_eq!(second.schema, Schema::Two);
        // The one default that differs is written down: what nobody set is then set to what it was.
        let mut expected = first.settings.clone();
        expected.transfer.concurrency = second.settings.transfer.concurrency;
        prop_assert_eq!(&second.settings, &expected, "{}\n{}", text, migrated);
        prop_assert_eq!(first.settings.transfer.concurrency.unwrap_or(128), second.settings.transfer.concurrency.unwrap_or(128));
    }

    #[test]
    fn no_secret_of_any_file_is_ever_shown(
        password in "[a-z]{3}[A-Z]{6}", key in "[A-Z]{3}[a-z]{6}", token in "[0-9]{4}[A-Z]{5}",
    ) {
        let text = format!("milvus: {{password: {password}}}\nminio: {{secretAccessKey: {key}, backupToken: {token}}}\n");
        let said = said(&load(&sources(&text, &[], &[])).unwrap());
        for secret in [&password, &key, &token] {
            prop_assert!(!said.contains(secret.as_str()), "{} in {}", secret, said);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
        if let Ok(file) = file::parse(&text) {
            let _ = load(&Sources { file: Some(file), ..Sources::default() });
        }
    }
}
