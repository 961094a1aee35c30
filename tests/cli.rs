//! The commands as a person runs them: the program itself, with a configuration file, against an S3 service in this process.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Output};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::Value;
use tempfile::TempDir;

const ACCESS_KEY: &str = "AKEXAMPLE";
const SECRET_KEY: &str = "a-secret-of-this-test";
const BUCKET: &str = "a-bucket";
const META: [(&str, &[u8]); 5] = [
    ("backup_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/backup_meta.json")),
    ("collection_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/collection_meta.json")),
    ("partition_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/partition_meta.json")),
    ("segment_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/segment_meta.json")),
    ("full_meta.json", include_bytes!("golden/milvus-backup-0.5.16/meta/full_meta.json")),
];

/// A folder with the objects, a configuration for them, and the service until this is dropped.
struct World {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("s3").join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path().join("s3")).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(served);
            }
        });
        // Nothing listens at port 9 of this machine: what needs Milvus fails there.
        let config = format!(
            "milvus:\n  address: 127.0.0.1\n  port: 9\n  user: root\n  password: the-Milvus-password\nminio:\n  address: 127.0.0.1\n  port: {port}\n  \
             accessKeyID: {ACCESS_KEY}\n  secretAccessKey: {SECRET_KEY}\n  bucketName: {BUCKET}\n  backupRootPath: backup\n"
        );
        std::fs::create_dir(folder.path().join("configs")).unwrap();
        std::fs::write(folder.path().join("configs/backup.yaml"), config).unwrap();
        World { folder, runtime }
    }

    /// A backup as the Go tool leaves it.
    fn backup_of_the_go_tool(&self, name: &str) {
        for (file, body) in META {
            self.put(&format!("backup/{name}/meta/{file}"), body);
        }
        self.put(&format!("backup/{name}/binlogs/insert_log/1/2/3/3/100/5"), b"rows");
    }

    fn put(&self, key: &str, body: &[u8]) {
        let path = self.folder.path().join("s3").join(BUCKET).join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    }

    fn exists(&self, key: &str) -> bool {
        self.folder.path().join("s3").join(BUCKET).join(key).exists()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run_in(self.folder.path(), arguments)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let spare = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::mem::replace(&mut self.runtime, spare).shutdown_background();
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// Fails, with everything that was said, unless it ended so.
    fn expect(self, code: i32, words: &[&str]) -> Ran {
        let Ran { code: found, out, err } = &self;
        let said = format!("{out}\n{err}");
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        assert!(*found == code && missing.is_empty(), "code {found}, expected {code}; missing {missing:?} in\n{said}");
        assert!(!said.contains(SECRET_KEY) && !said.contains("the-Milvus-password"), "a secret is in {said}");
        self
    }
}

fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-backup"));
    command.current_dir(folder).args(arguments).env_clear().env("HOME", folder);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().expect("ended by a signal"), out: text(stdout), err: text(stderr) }
}

#[test]
fn backups_of_the_go_tool_are_listed_by_name_and_half_made_ones_are_not() {
    let world = World::new();
    assert_eq!(world.run(&["list"]).expect(0, &[]).out, ">> Backups:\n");
    world.backup_of_the_go_tool("zulu");
    world.backup_of_the_go_tool("alpha");
    world.put("backup/no_metadata/binlogs/insert_log/1/2/3/3/100/5", b"rows");
    world.backup_of_the_go_tool("being_made");
    world.put("backup/being_made/operator/lock.json", br#"{"uid":"u","attempt":1}"#);
    world.backup_of_the_go_tool("damaged");
    world.put("backup/damaged/meta/backup_meta.json", b"{");
    let listed = world.run(&["list"]).expect(0, &["damaged"]);
    assert_eq!(listed.out, ">> Backups:\nalpha\nzulu\n");
    let listed = world.run(&["list", "--output", "json"]).expect(0, &[]).json();
    assert_eq!(listed[0]["name"], "alpha");
    assert_eq!(listed[0]["id"], "req-golden-1");
    assert_eq!((&listed[0]["size"], &listed[0]["milvus_version"]), (&4_757_425.into(), &"v2.3.5-lite".into()));
}

#[test]
fn get_answers_as_the_go_tool_does() {
    let world = World::new();
    world.backup_of_the_go_tool("golden_small");
    let found = world.run(&["get", "-n", "golden_small"]).expect(0, &[]).json();
    assert_eq!(
        (&found["name"], &found["state_code"], &found["size"]),
        (&"golden_small".into(), &0.into(), &4_757_425.into())
    );
    assert_eq!(found["collection_backups"].as_array().unwrap().len(), 3);
    assert_eq!(found["collection_backups"][0]["collection_name"], "small_1");
    assert_eq!(found["collection_backups"][0]["collection_id"], 470_607_493_923_216_217_i64);
    assert!(found["collection_backups"][0].get("partition_backups").is_none());
    let bytes: usize = META.iter().map(|(_, body)| body.len()).sum();
    assert_eq!(found["meta_size"], bytes);
    world.run(&["get", "-n", "golden_small", "-d"]).expect(0, &["warning: --detail is deprecated"]);
}

#[test]
fn a_backup_that_is_not_there_is_named_with_its_place() {
    let world = World::new();
    world.run(&["get", "-n", "nothing"]).expect(20, &["error: there is no backup backup/nothing", BUCKET]);
    world.run(&["restore", "-n", "nothing"]).expect(20, &["there is no backup backup/nothing"]);
    world.run(&["get", "-n", "a-dash"]).expect(20, &["a-dash", "letters, digits and underscores"]);
    world.run(&["get", "-n", ""]).expect(20, &["a name is needed"]);
    world.run(&["get"]).expect(20, &["--name"]);
}

#[test]
fn delete_takes_everything_of_one_backup_and_is_content_a_second_time() {
    let world = World::new();
    world.backup_of_the_go_tool("old");
    world.backup_of_the_go_tool("older");
    world.run(&["delete", "-n", "old"]).expect(0, &["delete backup done", "objects of old from bucket a-bucket"]);
    assert!(!world.exists("backup/old/meta/full_meta.json") && world.exists("backup/older/meta/full_meta.json"));
    assert_eq!(world.run(&["list"]).expect(0, &[]).out, ">> Backups:\nolder\n");
    world.run(&["delete", "-n", "old"]).expect(0, &["there is nothing named old in bucket a-bucket"]);
    world.put("backup/half/binlogs/insert_log/1/2/3/3/100/5", b"rows");
    let done = world.run(&["delete", "-n", "half", "--output", "json"]).expect(0, &[]).json();
    assert_eq!((&done["ok"], &done["name"]), (&true.into(), &"half".into()));
    assert!(!world.exists("backup/half/binlogs/insert_log/1/2/3/3/100/5"));
}

#[test]
fn a_name_that_is_taken_is_refused_before_milvus_is_asked() {
    let world = World::new();
    world.backup_of_the_go_tool("nightly");
    let ran = world.run(&["create", "-n", "nightly", "--output", "json"]);
    let ran = ran.expect(20, &["error: there is already something named nightly", "choose another name or delete it"]);
    let report = ran.json();
    assert_eq!(
        (&report["ok"], &report["name"], &report["reason"]),
        (&false.into(), &"nightly".into(), &"Rejected".into())
    );
    assert!(ran.err.lines().any(|line| line.starts_with("{\"progress\":")), "{}", ran.err);
}

#[test]
fn what_a_run_cannot_do_is_refused_by_the_name_of_its_flag() {
    let world = World::new();
    world.backup_of_the_go_tool("b");
    for (arguments, words) in [
        (["create", "--filter", "db.*,db.c"].as_slice(), ["names database db as a whole and again"].as_slice()),
        (&["create", "--filter", "a b"], &["\"a b\" is no filter"]),
        (&["create", "-n", "a-b"], &["a-b", "letters, digits and underscores"]),
        (&["restore", "-n", "b", "--filter", "db."], &["database db, which is not in the backup"]),
        (&["restore", "-n", "b", "-s", "a-b"], &["\"a-b\" is no suffix"]),
        (&["restore", "-n", "b", "-r", "a:b:c"], &["a:b:c is no renaming"]),
        (&["restore", "-n", "b", "-r", "gone:here"], &["default.gone", "not in backup b"]),
        (&["restore", "-n", "b", "--filter", "small_0", "-s", "_r"], &["default.small_0", "after renaming"]),
        (&["restore", "-n", "b", "-c", "gone"], &["default.gone", "in the backup", "--collections is deprecated"]),
        (
            &["restore", "secondary", "-n", "b", "--source_cluster_id", "s", "--target_cluster_id", "t"],
            &["restore secondary is not supported"],
        ),
        (&["list", "-c", "docs"], &["--collection was removed"]),
        (&["l0compact", "-n", "b", "--force"], &["l0compact is not supported"]),
    ] {
        world.run(arguments).expect(20, words);
    }
}

#[test]
fn arguments_that_make_no_sense_end_with_the_code_for_settings() {
    let world = World::new();
    for arguments in [
        ["restore", "-n", "b", "-s", "_r", "-r", "a:b"].as_slice(),
        &["restore", "-n", "b", "--drop_exist_collection=maybe"],
        &["create", "--strategy", "fast"],
        &["create", "--nonsense"],
        &["verify", "-n", "b", "--requests-per-second", "0"],
        &["nonsense"],
    ] {
        world.run(arguments).expect(20, &["error:"]);
    }
    world.run(&["--help"]).expect(0, &["create", "restore", "Exit codes:"]);
    world.run(&["--version"]).expect(0, &["milvus-backup"]);
}

#[test]
fn check_names_what_cannot_be_used_and_leaves_nothing_behind() {
    let world = World::new();
    let checked = world
        .run(&["check"])
        .expect(10, &["backup-rootpath: backup", "error: milvus:", "warning: there is nothing below"]);
    assert!(!checked.out.contains("Success!") && !checked.err.contains("storage: "), "{}", checked.err);
    let wrong = ["check", "--output", "json", "--set", "minio.backupSecretAccessKey=wrong"];
    let json = world.run(&wrong).expect(20, &["error: backup.storage:"]).json();
    let parts: Vec<&str> = json["problems"].as_array().unwrap().iter().filter_map(|p| p["part"].as_str()).collect();
    assert_eq!((&json["ok"], parts), (&false.into(), vec!["milvus", "backup.storage"]));
    let left = world.folder.path().join("s3").join(BUCKET).join("backup");
    assert!(!left.exists() || std::fs::read_dir(left).unwrap().next().is_none());
}

#[test]
fn the_configuration_is_found_shown_and_overridden() {
    let world = World::new();
    let shown = world.run(&["config", "show"]).expect(0, &["PARAMETER", "milvus.grpc.port", "milvus.port"]);
    assert!(shown.out.contains(ACCESS_KEY), "{}", shown.out);
    let json = world
        .run(&["config", "show", "--output", "json", "--set", "MILVUS_USER=me,milvus.port=19531"])
        .expect(0, &[])
        .json();
    let row = |key: &str| json.as_array().unwrap().iter().find(|row| row["parameter"] == key).unwrap().clone();
    assert_eq!(row("milvus.user")["source"], "override");
    assert_eq!(row("milvus.grpc.port")["value"], "19531");
    assert_eq!(row("milvus.password")["value"], "***");
    world.run(&["--config", "elsewhere.yaml", "list"]).expect(20, &["elsewhere.yaml", "configs/elsewhere.yaml"]);
    world.run(&["list", "--set", "nonsense"]).expect(20, &["item 1 of --set"]);
    world.run(&["config", "show", "--set", "milvus.prot=1"]).expect(0, &["warning: milvus.prot in --set is not known"]);
    world.run(&["check", "config"]).expect(0, &["PARAMETER", "check config is deprecated"]);
    world.run(&["config", "show", "--config", ""]).expect(0, &["localhost"]);
    std::fs::write(world.folder.path().join("broken.yaml"), "milvus: [").unwrap();
    world.run(&["list", "--config", "broken.yaml"]).expect(20, &["broken.yaml", "YAML"]);
}

#[test]
fn a_migrated_file_is_for_its_owner_and_works() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.backup_of_the_go_tool("kept");
    let written = world.run(&["config", "migrate", "-o", "new.yaml"]).expect(0, &["new.yaml"]);
    assert!(written.out.is_empty(), "{}", written.out);
    let path = world.folder.path().join("new.yaml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("configVersion: v2\n"));
    assert_eq!(world.run(&["--config", "new.yaml", "list"]).expect(0, &[]).out, ">> Backups:\nkept\n");
    world.run(&["config", "migrate", "-o", "new.yaml"]).expect(20, &["exists: use --force"]);
    world.run(&["config", "migrate", "-o", "new.yaml", "--force"]).expect(0, &[]);
    world.run(&["config", "migrate", "--config", "new.yaml"]).expect(20, &["schema 2 already"]);
}

#[test]
fn completions_and_manual_pages_are_made_of_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        world.run(&["completions", shell]).expect(0, &["restore", "drop_exist_collection"]);
    }
    world.run(&["man"]).expect(0, &[".TH milvus-backup 1"]);
    world.run(&["man", "--out", "pages"]).expect(0, &[]);
    for page in ["milvus-backup.1", "milvus-backup-create.1", "milvus-backup-restore.1"] {
        assert!(world.folder.path().join("pages").join(page).exists(), "{page}");
    }
}

#[test]
fn a_backup_is_compared_with_its_listing_and_what_is_wrong_is_named() {
    let world = World::new();
    world.backup_of_the_go_tool("golden_small");
    let ran =
        world.run(&["verify", "-n", "golden_small", "--level", "manifest"]).expect(30, &["is damaged", "is missing"]);
    assert!(ran.out.is_empty(), "{}", ran.out);
    let shape = ["verify", "-n", "golden_small", "--level", "manifest", "--output", "json"];
    let found = world.run(&shape).expect(30, &["is damaged"]).json();
    assert_eq!((&found["reason"], &found["verification"]["level"]), (&"Damaged".into(), &"Manifest".into()));
    let missing = &found["verification"]["missing"];
    assert_eq!(missing["first"].as_array().unwrap().len(), 20);
    assert_eq!(missing["total"], found["verification"]["objectsTotal"]);
    for (path, size) in golden_listing() {
        world.put(&format!("backup/golden_small/{path}"), &vec![0; size]);
    }
    let ran = world.run(&["verify", "-n", "golden_small", "--level", "manifest"]).expect(0, &[]);
    assert!(ran.out.starts_with("verify backup success\ngolden_small: all "), "{}", ran.out);
    // Of the right size, and nothing that Milvus would read.
    world.run(&["verify", "-n", "golden_small"]).expect(30, &["does not begin as a Milvus log file does"]);
    world.run(&["verify", "-n", "gone"]).expect(20, &["there is no backup"]);
    world.run(&["verify", "-n", "golden_small", "--sample-percent", "0"]).expect(20, &["1..=100"]);
}

/// Paths in the artifact and sizes of the golden backup's logs.
fn golden_listing() -> Vec<(String, usize)> {
    let listing: Vec<Value> =
        serde_json::from_slice(include_bytes!("golden/milvus-backup-0.5.16/listing.json")).unwrap();
    let path = |one: &Value| one["key"].as_str()?.strip_prefix("backup/golden_small/").map(str::to_owned);
    let listed = listing.iter().map(|one| (path(one).unwrap(), one["size"].as_u64().unwrap() as usize));
    listed.filter(|(path, _)| path.starts_with("binlogs/")).collect()
}
