//! Keys: where Milvus keeps its logs, where an artifact keeps them, and how an artifact is called.
//!
//! Source: milvus-backup.md 3.1, 1.1 (names), 11.1; real-milvus.md 3. Keys are always built from ids, never taken from
//! metadata.

use std::fmt::{self, Write};

use super::error::ManifestError;

/// Longest artifact name in bytes.
pub const NAME_LIMIT: usize = 128;

/// Which of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogKind {
    /// Rows, one column per file.
    Insert,
    /// Deletes.
    Delta,
}

impl LogKind {
    /// The folder of this log.
    pub fn folder(self) -> &'static str {
        match self {
            LogKind::Insert => "insert_log",
            LogKind::Delta => "delta_log",
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogKind::Insert => "insert log",
            LogKind::Delta => "delta log",
        })
    }
}

/// The ids in the key of one log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogKey {
    /// Collection.
    pub collection: i64,
    /// Partition; [`super::backup_info::ALL_PARTITIONS`] for deletes of all partitions.
    pub partition: i64,
    /// Segment.
    pub segment: i64,
    /// Field or column group for an insert log, none for a delta log.
    pub field: Option<i64>,
    /// Id of the file.
    pub log: i64,
}

impl LogKey {
    /// Which log.
    pub fn kind(&self) -> LogKind {
        if self.field.is_some() { LogKind::Insert } else { LogKind::Delta }
    }

    /// Key in Milvus' bucket; `root` is its rootPath, which may be empty.
    pub fn in_milvus(&self, root: &str) -> String {
        let mut key = join(root, "");
        self.tail(None, &mut key);
        key
    }

    /// The ids of a key in Milvus' bucket; none for anything that is not an insert or delta log below `root`.
    pub fn parse_in_milvus(root: &str, key: &str) -> Option<LogKey> {
        match parse_tail(strip(root, key)?)? {
            (key, None) => Some(key),
            (_, Some(_)) => None,
        }
    }

    /// Adds everything from the log's folder on.
    fn tail(&self, group: Option<i64>, key: &mut String) {
        let LogKey { collection, partition, segment, field, log } = self;
        key.push_str(self.kind().folder());
        let ids = [Some(collection), Some(partition), group.as_ref(), Some(segment), field.as_ref(), Some(log)];
        for id in ids.into_iter().flatten() {
            // Never fails: it grows.
            let _ = write!(key, "/{id}");
        }
    }
}

/// Prefix of everything Milvus keeps of a collection in one log, with a trailing slash: what one listing covers.
pub fn milvus_collection_prefix(root: &str, kind: LogKind, collection: i64) -> String {
    join(root, &format!("{}/{collection}/", kind.folder()))
}

/// Prefix of a whole log in Milvus' bucket, with a trailing slash.
pub fn milvus_log_prefix(root: &str, kind: LogKind) -> String {
    join(root, &format!("{}/", kind.folder()))
}

/// The metadata files of the Go tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaFile {
    /// Name, size, version: its presence is how the Go tool sees that a backup exists.
    Backup,
    /// Collections.
    Collection,
    /// Partitions.
    Partition,
    /// Segments.
    Segment,
    /// Everything; written last, read first.
    Full,
}

impl MetaFile {
    /// File name below `meta/`.
    pub fn name(self) -> &'static str {
        match self {
            MetaFile::Backup => "backup_meta.json",
            MetaFile::Collection => "collection_meta.json",
            MetaFile::Partition => "partition_meta.json",
            MetaFile::Segment => "segment_meta.json",
            MetaFile::Full => "full_meta.json",
        }
    }
}

/// Our own files of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorFile {
    /// The commit point: a run without it never happened.
    Manifest,
    /// One line for every data object.
    Objects,
    /// How far an unfinished run came.
    Checkpoint,
    /// Which attempt may write.
    Lock,
    /// The full report of the last run.
    Report,
}

impl OperatorFile {
    /// File name below `operator/`.
    pub fn name(self) -> &'static str {
        match self {
            OperatorFile::Manifest => "manifest.json",
            OperatorFile::Objects => "objects.jsonl.zst",
            OperatorFile::Checkpoint => "checkpoint.json",
            OperatorFile::Lock => "lock.json",
            OperatorFile::Report => "report.json",
        }
    }
}

/// Where an artifact lies. Everything of it is below [`Artifact::dir`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    prefix: String,
    name: String,
}

impl Artifact {
    /// An artifact by the prefix of its location (may be empty, slashes at the ends are dropped) and its name.
    pub fn new(prefix: &str, name: &str) -> Result<Artifact, ManifestError> {
        validate_artifact_name(name)?;
        Ok(Artifact { prefix: prefix.trim_matches('/').to_owned(), name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Prefix of all its keys, with a trailing slash.
    pub fn dir(&self) -> String {
        join(&self.prefix, &format!("{}/", self.name))
    }

    /// Key of something by its path inside the artifact, as [`super::ObjectRecord::key`] holds it.
    pub fn key(&self, relative: &str) -> String {
        format!("{}{relative}", self.dir())
    }

    /// Path inside the artifact of a full key; none for keys elsewhere.
    pub fn relative<'k>(&self, key: &'k str) -> Option<&'k str> {
        let below = strip(&self.prefix, key)?.strip_prefix(self.name.as_str())?;
        below.strip_prefix('/').filter(|rest| !rest.is_empty())
    }

    /// Key of a metadata file of the Go tool.
    pub fn meta(&self, file: MetaFile) -> String {
        self.key(&format!("meta/{}", file.name()))
    }

    /// Key of one of our files.
    pub fn operator(&self, file: OperatorFile) -> String {
        self.key(&format!("operator/{}", file.name()))
    }

    /// Key of the ledger in which a restore writes every import job before it waits for it.
    pub fn restore_ledger(&self, run_uid: &str) -> String {
        self.key(&format!("operator/restores/{}/ledger.json", plain(run_uid)))
    }

    /// Prefix of all copied logs, with a trailing slash.
    pub fn binlogs(&self) -> String {
        self.key("binlogs/")
    }

    /// Key of a copied log. `group` is the level between partition and segment: the segment's id in what is written
    /// today, none for deletes of all partitions and in backups older than that level.
    pub fn log(&self, key: &LogKey, group: Option<i64>) -> String {
        let mut full = self.binlogs();
        key.tail(group, &mut full);
        full
    }

    /// Ids and group of a copied log; none for any other key.
    pub fn parse_log(&self, key: &str) -> Option<(LogKey, Option<i64>)> {
        parse_log_path(self.relative(key)?)
    }

    /// Prefix of the files of a collection in one log, with a trailing slash.
    pub fn collection_prefix(&self, kind: LogKind, collection: i64) -> String {
        self.key(&format!("binlogs/{}/{collection}/", kind.folder()))
    }

    /// Directory an import is pointed at: that of a group, or of a whole partition where there is no group, with a
    /// trailing slash.
    pub fn import_dir(&self, kind: LogKind, collection: i64, partition: i64, group: Option<i64>) -> String {
        let group = group.map(|group| format!("{group}/")).unwrap_or_default();
        self.key(&format!("binlogs/{}/{collection}/{partition}/{group}", kind.folder()))
    }

    /// Directory of a delete-only segment, with a trailing slash. The group of one in a partition is its own id.
    pub fn l0_dir(&self, collection: i64, partition: i64, segment: i64) -> String {
        self.key(&format!("binlogs/{}/{collection}/{partition}/{segment}/", LogKind::Delta.folder()))
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dir())
    }
}

/// Path of a copied log inside its artifact.
pub fn log_path(key: &LogKey, group: Option<i64>) -> String {
    let mut path = "binlogs/".to_owned();
    key.tail(group, &mut path);
    path
}

/// Ids and group of a path inside an artifact; none for anything but a copied log.
pub fn parse_log_path(path: &str) -> Option<(LogKey, Option<i64>)> {
    parse_tail(path.strip_prefix("binlogs/")?)
}

/// The artifact of an object: `<namespace>_<name>_<first 8 characters of its uid>`, other characters as `_`, cut in the
/// middle part to [`NAME_LIMIT`] bytes, and with a leading `_` where it would begin with a digit.
pub fn artifact_name(namespace: &str, name: &str, uid: &str) -> String {
    let uid: String = plain(uid).chars().take(8).collect();
    let mut head = plain(namespace);
    head.push('_');
    head.push_str(&plain(name));
    if head.starts_with(|first: char| first.is_ascii_digit()) {
        head.insert(0, '_');
    }
    head.truncate(NAME_LIMIT - 1 - uid.len());
    format!("{head}_{uid}")
}

/// The Go tool's rules for names: letters, digits and `_`, not beginning with a digit, at most [`NAME_LIMIT`] bytes.
pub fn validate_artifact_name(name: &str) -> Result<(), ManifestError> {
    let refuse = |rule| Err(ManifestError::Name { name: name.chars().take(NAME_LIMIT + 1).collect(), rule });
    let Some(first) = name.chars().next() else {
        return refuse("a name is needed");
    };
    if name.len() > NAME_LIMIT {
        return refuse("a name has at most 128 bytes");
    }
    if !(first.is_ascii_alphabetic() || first == '_') {
        return refuse("a name begins with a letter or an underscore");
    }
    if !name.chars().all(is_plain) {
        return refuse("a name holds letters, digits and underscores only");
    }
    Ok(())
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn plain(text: &str) -> String {
    text.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

fn join(root: &str, rest: &str) -> String {
    let root = root.trim_matches('/');
    if root.is_empty() { rest.to_owned() } else { format!("{root}/{rest}") }
}

fn strip<'k>(root: &str, key: &'k str) -> Option<&'k str> {
    let root = root.trim_matches('/');
    if root.is_empty() { Some(key) } else { key.strip_prefix(root)?.strip_prefix('/') }
}

/// Both layouts, told apart by the number of levels.
fn parse_tail(tail: &str) -> Option<(LogKey, Option<i64>)> {
    let (folder, ids) = tail.split_once('/')?;
    let insert = match folder {
        "insert_log" => true,
        "delta_log" => false,
        _ => return None,
    };
    let (mut found, mut count) = ([0; 6], 0);
    for id in ids.split('/') {
        *found.get_mut(count)? = parse_id(id)?;
        count += 1;
    }
    let key = |collection, partition, segment, field, log| LogKey { collection, partition, segment, field, log };
    match (insert, &found[..count]) {
        (true, &[c, p, s, f, l]) => Some((key(c, p, s, Some(f), l), None)),
        (true, &[c, p, g, s, f, l]) => Some((key(c, p, s, Some(f), l), Some(g))),
        (false, &[c, p, s, l]) => Some((key(c, p, s, None, l), None)),
        (false, &[c, p, g, s, l]) => Some((key(c, p, s, None, l), Some(g))),
        _ => None,
    }
}

/// An id as it is written: no sign but for negative ones, no leading zeros. So one key has one spelling.
fn parse_id(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|first: char| ('1'..='9').contains(&first)) || text == "0";
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = LogKey> {
        (0..i64::MAX, -1..i64::MAX, 0..i64::MAX, proptest::option::of(0..2000_i64), 0..i64::MAX).prop_map(
            |(collection, partition, segment, field, log)| LogKey { collection, partition, segment, field, log },
        )
    }

    proptest! {
        #[test]
        fn a_key_in_milvus_reads_back_as_it_was_written(key in any_key(), root in "(files|a/b|)") {
            prop_assert_eq!(LogKey::parse_in_milvus(&root, &key.in_milvus(&root)), Some(key));
        }

        #[test]
        fn a_key_in_an_artifact_reads_back_with_and_without_group(
            key in any_key(), group in proptest::option::of(1..i64::MAX), prefix in "(backup|a/b/c|)",
        ) {
            let artifact = Artifact::new(&prefix, "nightly_1").unwrap();
            prop_assert_eq!(artifact.parse_log(&artifact.log(&key, group)), Some((key, group)));
        }

        #[test]
        fn any_text_is_parsed_without_panic_and_what_parses_formats_back(
            path in "(binlogs/)?(insert_log|delta_log)?[-/0-9+a-z]{0,60}",
        ) {
            if let Some((key, group)) = parse_log_path(&path) {
                prop_assert_eq!(log_path(&key, group), path);
            }
        }

        #[test]
        fn artifact_names_are_always_valid(namespace in "\\PC{0,70}", name in "\\PC{0,260}", uid in "\\PC{0,40}") {
            let made = artifact_name(&namespace, &name, &uid);
            prop_assert!(validate_artifact_name(&made).is_ok(), "{made}");
        }

        #[test]
        fn objects_with_different_uids_never_share_an_artifact(
            namespace in "[a-z0-9-]{1,63}", one in "[a-z0-9.-]{1,253}", two in "[a-z0-9.-]{1,253}",
            uid_one in "[0-9a-f]{8}", uid_two in "[0-9a-f]{8}",
        ) {
            prop_assume!(uid_one != uid_two);
            prop_assert_ne!(artifact_name(&namespace, &one, &uid_one), artifact_name(&namespace, &two, &uid_two));
        }
    }

    #[test]
    fn an_object_name_becomes_a_readable_artifact_name() {
        assert_eq!(
            artifact_name("prod", "nightly-2026.11", "0d5f3b1c-7a11-4f5e-9d53-6d1f3f0e5a0c"),
            "prod_nightly_2026_11_0d5f3b1c"
        );
        assert_eq!(artifact_name("1st", "x", "abcdefgh"), "_1st_x_abcdefgh");
        assert_ne!(artifact_name("p", "a-b", "11111111"), artifact_name("p", "a_b", "22222222"));
    }

    #[test]
    fn names_the_go_tool_refuses_are_refused_with_the_rule() {
        for (name, rule) in [
            ("", "needed"),
            ("1a", "begins with"),
            ("a-b", "letters, digits"),
            ("a b", "letters, digits"),
            ("ä", "begins with"),
            (&"a".repeat(129), "128 bytes"),
        ] {
            let error = validate_artifact_name(name).unwrap_err();
            assert!(error.to_string().contains(rule), "{error}");
        }
        assert!(validate_artifact_name(&"a".repeat(128)).is_ok());
    }

    #[test]
    fn keys_that_are_no_logs_are_not_taken_for_one() {
        for key in [
            "files/stats_log/1/2/3/100/5",
            "files/insert_log/1/2/3/4",
            "files/insert_log/1/2/3/4/5/6/7",
            "files/insert_log/1/2/3/4/x",
            "files/insert_log/1/2/3/4/",
            "files/insert_log/1/2/3/04/5",
            "files/insert_log/1/2/3/+4/5",
            "file/insert_log/1/2/3/4/5",
            "filesinsert_log/1/2/3/4/5",
        ] {
            assert_eq!(LogKey::parse_in_milvus("files", key), None, "{key}");
        }
    }

    #[test]
    fn keys_of_an_artifact_are_those_of_the_go_tool() {
        let artifact = Artifact::new("/backup/", "golden_small").unwrap();
        let rows = LogKey { collection: 1, partition: 2, segment: 3, field: Some(100), log: 5 };
        assert_eq!(artifact.log(&rows, Some(3)), "backup/golden_small/binlogs/insert_log/1/2/3/3/100/5");
        let deletes = LogKey { partition: -1, field: None, ..rows };
        assert_eq!(artifact.log(&deletes, None), "backup/golden_small/binlogs/delta_log/1/-1/3/5");
        assert_eq!(artifact.meta(MetaFile::Full), "backup/golden_small/meta/full_meta.json");
        assert_eq!(artifact.operator(OperatorFile::Manifest), "backup/golden_small/operator/manifest.json");
        assert_eq!(
            artifact.import_dir(LogKind::Insert, 1, 2, Some(3)),
            "backup/golden_small/binlogs/insert_log/1/2/3/"
        );
        assert_eq!(artifact.import_dir(LogKind::Delta, 1, 2, None), "backup/golden_small/binlogs/delta_log/1/2/");
        assert_eq!(artifact.l0_dir(1, -1, 3), "backup/golden_small/binlogs/delta_log/1/-1/3/");
        assert_eq!(Artifact::new("", "a").unwrap().dir(), "a/");
        assert_eq!(artifact.restore_ledger("6d1f-x/.."), "backup/golden_small/operator/restores/6d1f_x___/ledger.json");
    }

    #[test]
    fn a_key_of_another_artifact_with_the_same_beginning_is_not_ours() {
        let artifact = Artifact::new("backup", "a").unwrap();
        assert_eq!(artifact.relative("backup/a/meta/full_meta.json"), Some("meta/full_meta.json"));
        assert_eq!(artifact.relative("backup/ab/meta/full_meta.json"), None);
        assert_eq!(artifact.relative("backup/a/"), None);
    }
}
