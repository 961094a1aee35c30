//! Keys of log files, made of ids and read back to ids.

use std::fmt::{self, Write};

use super::{join, strip};

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
    /// Partition; [`crate::manifest::backup_info::ALL_PARTITIONS`] for deletes of all partitions.
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
    pub(super) fn tail(&self, group: Option<i64>, key: &mut String) {
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
