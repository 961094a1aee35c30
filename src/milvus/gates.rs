//! What a server of a version can do: one table, read by the client, by the engine's plans, and by the documentation.
//!
//! Pure. A gate tells what to try or to refuse before anything is done; where a call can say "unimplemented" itself, that
//! answer is what counts and the gate only saves the question. Pre-releases count as the release, builds without a version
//! as the newest (see [`ServerVersion`]). `docs/milvus-versions.md` is generated from [`GATES`] and [`DATA_TYPES`].

use std::fmt::Write as _;

use super::ServerVersion;

/// Something that not every supported server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Several databases.
    Databases,
    /// Flush answers a hybrid timestamp.
    FlushTimestamp,
    /// Flush answers a position for every channel.
    ChannelCheckpoints,
    /// Properties of databases can be read.
    DescribeDatabase,
    /// Properties of databases can be set at their creation.
    DatabaseProperties,
    /// Deletes live in segments of their own.
    DeleteSegments,
    /// The level of a segment is told.
    SegmentLevel,
    /// Users, roles and grants come and go in one call, with password hashes.
    WholeRbac,
    /// REST import jobs with many segments each.
    ImportJobs,
    /// Exact ids of the files of a segment.
    SegmentFiles,
    /// Garbage collection can be paused.
    PauseGc,
    /// Pauses of garbage collection have tickets.
    GcTickets,
    /// Fields can be added to a collection.
    AddField,
    /// Data in column groups.
    ColumnGroups,
    /// Several delete-only segments in one import job.
    ManyDeletesPerJob,
    /// The check of embedding functions can be switched off.
    FunctionCheck,
    /// Keys of encrypted databases are handed out, and taken by imports.
    Encryption,
    /// One flush for the whole cluster with a tick for every channel.
    FlushAll,
    /// Import bounds are hybrid timestamps.
    HybridImportBounds,
    /// Data that only the server's own snapshots can copy.
    SnapshotsOnly,
}

/// How it is found out whether a server has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detected {
    /// By the version.
    Version,
    /// By the call, which an older server does not have.
    Call,
    /// By the version, and by what the answer holds.
    Answer,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct GateFacts {
    /// The gate.
    pub gate: Gate,
    /// First version that has it.
    pub since: (u64, u64, u64),
    /// How it is found out.
    pub detected: Detected,
    /// What it is, for people.
    pub what: &'static str,
    /// What happens on servers that do not have it.
    pub without: &'static str,
    /// Where the fact comes from.
    pub source: &'static str,
}

/// The oldest server a backup or restore is tried on.
pub const OLDEST: (u64, u64, u64) = (2, 2, 9);

/// Every gate.
pub const GATES: &[GateFacts] = &[
    GateFacts {
        gate: Gate::Databases,
        since: (2, 2, 9),
        detected: Detected::Call,
        what: "several databases",
        without: "older servers are refused",
        source: "milvus-backup 0.5.16, feature MultiDatabase; Milvus 2.2.9 contract, ListDatabases",
    },
    GateFacts {
        gate: Gate::FlushTimestamp,
        since: (2, 3, 1),
        detected: Detected::Answer,
        what: "recovery point from the flush",
        without: "the backup has no recovery point; rows that arrive during the backup may be in it",
        source: "Milvus 2.3.1 contract, FlushResponse field 6",
    },
    GateFacts {
        gate: Gate::ChannelCheckpoints,
        since: (2, 4, 2),
        detected: Detected::Answer,
        what: "channel positions in the backup",
        without: "none are recorded (2.3.15 and later 2.3 have them too)",
        source: "Milvus 2.3.15 and 2.4.2 contracts, FlushResponse field 7",
    },
    GateFacts {
        gate: Gate::DescribeDatabase,
        since: (2, 4, 3),
        detected: Detected::Call,
        what: "properties of databases are backed up",
        without: "there are none",
        source: "milvus-backup 0.5.16, feature DescribeDatabase",
    },
    GateFacts {
        gate: Gate::DatabaseProperties,
        since: (2, 4, 6),
        detected: Detected::Version,
        what: "properties of databases are restored",
        without: "2.4.3 to 2.4.5 get them by AlterDatabase, older ones a warning",
        source: "Milvus 2.4.6 contract, CreateDatabaseRequest field 3",
    },
    GateFacts {
        gate: Gate::DeleteSegments,
        since: (2, 4, 0),
        detected: Detected::Version,
        what: "delete-only segments (level 0) are backed up and restored",
        without: "a backup that has them is refused as a source for such a target",
        source: "milvus-backup 0.5.16, core/restore; Milvus 2.4 import option l0_import",
    },
    GateFacts {
        gate: Gate::SegmentLevel,
        since: (2, 4, 7),
        detected: Detected::Answer,
        what: "the server tells which segments are delete-only",
        without: "2.4.0 to 2.4.6: a segment without rows that has delta logs only is one",
        source: "Milvus 2.4.7 contract, PersistentSegmentInfo field 6",
    },
    GateFacts {
        gate: Gate::WholeRbac,
        since: (2, 4, 10),
        detected: Detected::Call,
        what: "users with their password hashes, roles, grants, privilege groups",
        without: "users, roles and grants are read one by one and without hashes; users cannot be made anew, which is a warning",
        source: "Milvus 2.4.10 contract, BackupRBAC and RestoreRBAC; their absence seen on 2.3.5",
    },
    GateFacts {
        gate: Gate::ImportJobs,
        since: (2, 4, 0),
        detected: Detected::Call,
        what: "import by REST jobs, up to 256 segments each",
        without: "gRPC Import: 2.2 and 2.3 one job for each partition; later ones, where REST cannot be reached, one for each segment",
        source: "Milvus 2.4 REST v2 jobs/import; 404 seen on 2.3.5, answers seen on 2.5.27 and 2.6.18",
    },
    GateFacts {
        gate: Gate::SegmentFiles,
        since: (2, 5, 8),
        detected: Detected::Call,
        what: "exact ids of binlogs and the channel of each segment",
        without: "all files below the directory of a segment are taken, and must be equally many for every field",
        source: "milvus-backup 0.5.16, feature GetSegmentInfo; answers of segments/describe seen on 2.5.27 and 2.6.18",
    },
    GateFacts {
        gate: Gate::PauseGc,
        since: (2, 4, 0),
        detected: Detected::Call,
        what: "garbage collection is paused during a backup",
        without: "files of dropped segments stay for hours by default; a file that goes during the copy is a retry",
        source: "Milvus 2.4 management port; 404 seen on 2.3.5, answers seen on 2.5.27 and 2.6.18",
    },
    GateFacts {
        gate: Gate::GcTickets,
        since: (2, 6, 8),
        detected: Detected::Answer,
        what: "every pause has a ticket, which is what ends it",
        without: "one pause for all; whoever resumes first resumes for all",
        source: "milvus-backup 0.5.16, feature CollectionLevelGCControl; tickets seen on 2.6.18",
    },
    GateFacts {
        gate: Gate::ColumnGroups,
        since: (2, 6, 0),
        detected: Detected::Answer,
        what: "storage version 2 (several columns in one file)",
        without: "a backup that has such data is refused as a source for such a target",
        source: "import option storage_version, seen on 2.6.18; PersistentSegmentInfo field 8",
    },
    GateFacts {
        gate: Gate::AddField,
        since: (2, 6, 0),
        detected: Detected::Version,
        what: "collections with fields that were added later",
        without: "refused: field ids of a new collection have no gaps, and data is found by them",
        source: "Milvus 2.6 contract, AddCollectionField; UNIMPLEMENTED seen on 2.5.27",
    },
    GateFacts {
        gate: Gate::ManyDeletesPerJob,
        since: (2, 6, 5),
        detected: Detected::Version,
        what: "several delete-only segments in one import job",
        without: "one job for each",
        source: "milvus-backup 0.5.16, feature MultiL0InOneJob",
    },
    GateFacts {
        gate: Gate::FunctionCheck,
        since: (2, 6, 8),
        detected: Detected::Version,
        what: "functions are restored without asking their model provider",
        without: "the server asks the provider when the collection is made; where it does not answer, that fails",
        source: "milvus-backup 0.5.16, feature FuncRuntimeCheck",
    },
    GateFacts {
        gate: Gate::Encryption,
        since: (2, 6, 8),
        detected: Detected::Version,
        what: "encrypted databases are backed up with their key and restored by it",
        without: "refused, as a source and as a target of such a backup",
        source: "server source: management route rootcoord/ez/backup, import option ezk; not run",
    },
    GateFacts {
        gate: Gate::FlushAll,
        since: (2, 6, 11),
        detected: Detected::Answer,
        what: "one flush for the whole cluster, on request",
        without: "every selected collection is flushed",
        source: "milvus-backup 0.5.16, feature FlushAll; flush_all_msgs seen on 2.6.18",
    },
    GateFacts {
        gate: Gate::HybridImportBounds,
        since: (2, 5, 6),
        detected: Detected::Version,
        what: "rows after the recovery point can be cut off at import: bound as hybrid timestamp",
        without: "bound in milliseconds",
        source: "milliseconds seen on 2.3.5, hybrid wanted by 2.5.27 and 2.6.18",
    },
    GateFacts {
        gate: Gate::SnapshotsOnly,
        since: (3, 0, 0),
        detected: Detected::Version,
        what: "backup and restore by the server's own snapshots, within its own store; 3.0.0 answers that it cannot yet (3.0.1 can)",
        without: "files are copied; a snapshot is refused by an older target. A restore of an older backup into 3.0 has not been tried",
        source: "milvus-backup 0.6 notes: binlog backups are no option on Milvus 3.0; contract of 3.0 and later; not run",
    },
];

/// Data types by number with the first version that has them. Older servers would take the schema and mistake it.
/// Source: contracts of the versions named (`schema.DataType`).
pub const DATA_TYPES: &[(i32, &str, (u64, u64, u64))] = &[
    (22, "Array", (2, 2, 9)),
    (23, "JSON", (2, 2, 9)),
    (24, "Geometry", (2, 5, 0)),
    (25, "Text", (2, 6, 0)),
    (26, "Timestamptz", (2, 6, 1)),
    (27, "Mol", (3, 0, 0)),
    (28, "Date", (3, 0, 0)),
    (29, "Time", (3, 0, 0)),
    (30, "Decimal", (3, 0, 0)),
    (102, "Float16Vector", (2, 4, 0)),
    (103, "BFloat16Vector", (2, 4, 0)),
    (104, "SparseFloatVector", (2, 4, 0)),
    (105, "Int8Vector", (2, 6, 0)),
    (106, "ArrayOfVector", (2, 6, 0)),
    (200, "ArrayOfStruct", (2, 6, 0)),
    (201, "Struct", (2, 6, 3)),
];

/// First version with fields that may be null, and with functions. Source: Milvus 2.5 contract, FieldSchema field 15 and
/// CollectionSchema field 7.
pub const NULLABLE: (u64, u64, u64) = (2, 5, 0);

/// Versions the documentation shows: the oldest, and one for each change.
const SHOWN: &[&str] = &["2.2.9", "2.3.5", "2.4.0", "2.4.10", "2.5.0", "2.5.27", "2.6.0", "2.6.8", "2.6.18", "3.0.1"];

impl ServerVersion {
    /// Whether servers of this version have it.
    pub fn has(&self, gate: Gate) -> bool {
        GATES.iter().find(|facts| facts.gate == gate).is_some_and(|facts| self.since(facts.since))
    }

    /// [`ServerVersion::at_least`] with the three numbers in one.
    pub fn since(&self, (major, minor, patch): (u64, u64, u64)) -> bool {
        self.at_least(major, minor, patch)
    }

    /// The unit of `start_ts` and `end_ts` of an import for this server, given a hybrid timestamp (unix milliseconds
    /// shifted left by 18 bits).
    pub fn import_bound(&self, hybrid: u64) -> u64 {
        if self.has(Gate::HybridImportBounds) { hybrid } else { hybrid >> 18 }
    }
}

/// `2.6.8`.
pub fn dotted((major, minor, patch): (u64, u64, u64)) -> String {
    format!("{major}.{minor}.{patch}")
}

/// The page of the documentation about versions.
pub fn documentation() -> String {
    let mut page = String::from(
        "# Milvus versions\n\n\
         Generated from `src/milvus/gates.rs` by the test `versions_docs` (`UPDATE_DOCS=1` writes it); do not edit.\n\n\
         Backups and restores run on Milvus 2.2.9 to 2.6, and by snapshots on 3.0.1 and later. What a server does not have is refused with a sentence before \
         anything is touched, or done another way as the second table says.\n\n\
         Run against real servers: 2.3.5. Modelled by an in-process server in the tests, from answers that real 2.5.27 and \
         2.6.18 servers gave and from the contracts of the others: 2.2.9, 2.4, 2.5, 2.6, 3.0.1 (snapshots only).\n\n",
    );
    page.push_str("## What each version can do\n\n| |");
    for version in SHOWN {
        let _ = write!(page, " {version} |");
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(SHOWN.len()));
    page.push('\n');
    for facts in GATES {
        let _ = write!(page, "| {} |", facts.what);
        for version in SHOWN {
            let mark = if ServerVersion::parse(version).has(facts.gate) { "yes" } else { "-" };
            let _ = write!(page, " {mark} |");
        }
        page.push('\n');
    }
    page.push_str("\n## From which version, and what happens before it\n\n| | since | found out by | otherwise | source |\n|---|---|---|---|---|\n");
    for facts in GATES {
        let by = match facts.detected {
            Detected::Version => "version",
            Detected::Call => "the call itself",
            Detected::Answer => "the answer",
        };
        let GateFacts { what, since, without, source, .. } = facts;
        let _ = writeln!(page, "| {what} | {} | {by} | {without} | {source} |", dotted(*since));
    }
    page.push_str(
        "\n## Data types\n\nA restore to a server that is older than a type in the schema is refused: an older server ignores what it \
         does not know, without a word. Fields that may be null, and functions, need 2.5.0.\n\n| type | since |\n|---|---|\n",
    );
    for (_, name, since) in DATA_TYPES {
        let _ = writeln!(page, "| {name} | {} |", dotted(*since));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("v2.3.5-lite", Gate::ImportJobs, false)]
    #[case("2.4.0", Gate::ImportJobs, true)]
    #[case("2.5.7", Gate::SegmentFiles, false)]
    #[case("2.5.8", Gate::SegmentFiles, true)]
    #[case("v2.6.7", Gate::GcTickets, false)]
    #[case("2.6-20260404-1a2b", Gate::FlushAll, true)]
    #[case("2.5-20250301-1a2b", Gate::AddField, false)]
    #[case("3.0.0-beta", Gate::SnapshotsOnly, true)]
    fn a_gate_opens_with_its_version(#[case] version: &str, #[case] gate: Gate, #[case] open: bool) {
        assert_eq!(ServerVersion::parse(version).has(gate), open);
    }

    #[test]
    fn every_gate_is_in_the_table_once() {
        let mut gates: Vec<Gate> = GATES.iter().map(|facts| facts.gate).collect();
        gates.sort();
        let all = gates.len();
        gates.dedup();
        assert_eq!((gates.len(), all), (20, 20));
    }

    #[test]
    fn an_import_bound_is_in_the_unit_of_the_server() {
        let hybrid = (1_700_000_000_123_u64 << 18) | 7;
        assert_eq!(ServerVersion::parse("v2.3.5-lite").import_bound(hybrid), 1_700_000_000_123);
        assert_eq!(ServerVersion::parse("2.5.3").import_bound(hybrid), 1_700_000_000_123);
        assert_eq!(ServerVersion::parse("2.5.27").import_bound(hybrid), hybrid);
        assert_eq!(ServerVersion::parse("master-20260401").import_bound(hybrid), hybrid);
    }
}
