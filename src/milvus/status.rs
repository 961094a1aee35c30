//! Reads the outcome inside an answer.
//!
//! Milvus reports most failures in a `Status` inside an answer that is fine for gRPC, with two numberings side by side:
//! the old `error_code` and, since 2.3, `code`. Single paths set only one of them. Facts: milvus-wire.md 1.4 and 1.5.

use super::error::Missing;
use super::proto::common::Status;
use super::proto::milvus as wire;

/// An answer with its outcome inside.
pub(super) trait Answer {
    /// The outcome.
    fn status(&self) -> Option<&Status>;
}

impl Answer for Status {
    fn status(&self) -> Option<&Status> {
        Some(self)
    }
}

macro_rules! answers {
    ($($name:ident),* $(,)?) => {
        $(impl Answer for wire::$name {
            fn status(&self) -> Option<&Status> {
                self.status.as_ref()
            }
        })*
    };
}

answers!(
    ConnectResponse,
    GetVersionResponse,
    CheckHealthResponse,
    AllocTimestampResponse,
    BoolResponse,
    ListDatabasesResponse,
    DescribeDatabaseResponse,
    ShowCollectionsResponse,
    DescribeCollectionResponse,
    ShowPartitionsResponse,
    FlushResponse,
    FlushAllResponse,
    BackupRbacResponse,
    ListCredUsersResponse,
    SelectUserResponse,
    SelectRoleResponse,
    SelectGrantResponse,
    GetFlushStateResponse,
    GetPersistentSegmentInfoResponse,
    DescribeIndexResponse,
    GetLoadStateResponse,
    ListAliasesResponse,
    ImportResponse,
    GetImportStateResponse,
    ListImportTasksResponse,
    QueryResults,
    MutationResult,
    DescribeSnapshotResponse,
    ExportSnapshotResponse,
    GetExportSnapshotStateResponse,
    RestoreExternalSnapshotResponse,
    GetRestoreSnapshotStateResponse,
);

/// What a failed status means to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server, or a part of it, cannot answer now.
    Busy,
    /// Too many calls of this sort.
    RateLimited,
    /// Something named in the request is not there.
    NotFound(Missing),
    /// Something to be created is there already, in another shape.
    AlreadyExists,
    /// No or wrong credentials.
    Unauthenticated,
    /// The user may not do this.
    PermissionDenied,
    /// The server knows the call and does not do it.
    Unimplemented,
    /// Anything else.
    Refused,
}

/// A failed status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    /// `code`, or `error_code` of servers that have only that.
    pub(super) code: i32,
    /// The server's words.
    pub(super) reason: String,
    /// The work may have been begun although the answer is an error: a call inside the server broke off.
    pub(super) outcome_open: bool,
}

/// Code of an error the server did not classify.
const UNCLASSIFIED: i32 = 65535;

/// Judges an answer. A missing status is success, as a status of zeros is.
pub(super) fn check(status: Option<&Status>) -> Result<(), Refusal> {
    match status {
        Some(status) if status.code != 0 || status.error_code != 0 => Err(refusal(status)),
        _ => Ok(()),
    }
}

fn refusal(status: &Status) -> Refusal {
    let text = status.reason.to_ascii_lowercase();
    let kind = match (kind_of_code(status.code), kind_of_error_code(status.error_code)) {
        (Some(kind), _) => kind,
        (None, Some(kind)) if status.code == 0 || status.code == UNCLASSIFIED => kind,
        _ => kind_of_text(&text).unwrap_or(if status.retriable { Kind::Busy } else { Kind::Refused }),
    };
    let code = if status.code != 0 { status.code } else { status.error_code };
    let outcome_open = matches!(status.code, 2 | 10000 | 10001)
        || ["rpc error", "deadline exceeded", "context canceled", "connection refused"]
            .iter()
            .any(|sign| text.contains(sign));
    Refusal { kind, code, reason: status.reason.clone(), outcome_open }
}

fn kind_of_code(code: i32) -> Option<Kind> {
    Some(match code {
        1 | 2 | 4 | 12 => Kind::Busy,
        8 => Kind::RateLimited,
        10 => Kind::Unimplemented,
        100 => Kind::NotFound(Missing::Collection),
        200 => Kind::NotFound(Missing::Partition),
        600 => Kind::NotFound(Missing::Segment),
        700 => Kind::NotFound(Missing::Index),
        800 => Kind::NotFound(Missing::Database),
        1600 => Kind::NotFound(Missing::Alias),
        702 | 1602 => Kind::AlreadyExists,
        1400 => Kind::Unauthenticated,
        1401 => Kind::PermissionDenied,
        _ => return None,
    })
}

/// The old numbering, read where `code` says nothing: 2.2 has only this one, and DescribeCollection of 2.5 and 2.6
/// reports a missing collection only here.
fn kind_of_error_code(error_code: i32) -> Option<Kind> {
    Some(match error_code {
        3 => Kind::PermissionDenied,
        4 => Kind::NotFound(Missing::Collection),
        25 => Kind::NotFound(Missing::Index),
        47 => Kind::NotFound(Missing::Segment),
        49 => Kind::RateLimited,
        56 => Kind::Busy,
        _ => return None,
    })
}

/// Some failures share a general code and differ in words only.
fn kind_of_text(text: &str) -> Option<Kind> {
    let says = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    Some(if says(&["rate limit exceeded"]) {
        Kind::RateLimited
    } else if says(&["import job does not exist"]) {
        Kind::NotFound(Missing::ImportJob)
    } else if says(&["collection not found", "can't find collection", "collection not exist"]) {
        Kind::NotFound(Missing::Collection)
    } else if says(&["partition not found", "partition not exist"]) {
        Kind::NotFound(Missing::Partition)
    } else if says(&["index not found", "index not exist", "index doesn't exist"]) {
        Kind::NotFound(Missing::Index)
    } else if says(&["database not found", "database not exist"]) {
        Kind::NotFound(Missing::Database)
    } else if says(&["alias not found", "alias does not exist", "alias doesn't exist"]) {
        Kind::NotFound(Missing::Alias)
    } else if says(&["already exist", "duplicate collection"]) {
        Kind::AlreadyExists
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn status(code: i32, error_code: i32, reason: &str) -> Status {
        Status { code, error_code, reason: reason.to_owned(), ..Status::default() }
    }

    #[test]
    fn a_status_of_zeros_and_no_status_are_success() {
        assert_eq!(check(None), Ok(()));
        assert_eq!(check(Some(&Status::default())), Ok(()));
    }

    #[rstest]
    // Both numberings, as 2.3 and later.
    #[case(100, 4, "collection not found[collection=c1]", Kind::NotFound(Missing::Collection))]
    #[case(800, 1, "database not found[database=d]", Kind::NotFound(Missing::Database))]
    #[case(200, 15, "partition not found[partition=nope]", Kind::NotFound(Missing::Partition))]
    #[case(700, 25, "index not found", Kind::NotFound(Missing::Index))]
    #[case(600, 47, "segment not found", Kind::NotFound(Missing::Segment))]
    #[case(1600, 1, "alias not found", Kind::NotFound(Missing::Alias))]
    #[case(8, 49, "rate limit exceeded[rate=0.1]", Kind::RateLimited)]
    #[case(1, 56, "service not ready", Kind::Busy)]
    #[case(9, 48, "quota exceeded", Kind::Refused)]
    #[case(1400, 1, "unauthenticated", Kind::Unauthenticated)]
    #[case(1401, 3, "permission deny", Kind::PermissionDenied)]
    #[case(10, 1, "not implemented", Kind::Unimplemented)]
    #[case(1602, 1, "alias exists", Kind::AlreadyExists)]
    // Only the old one: DescribeCollection of 2.5 and 2.6, and everything of 2.2.
    #[case(0, 4, "collection not found[collection=c1]", Kind::NotFound(Missing::Collection))]
    #[case(0, 25, "index doesn't exist", Kind::NotFound(Missing::Index))]
    #[case(0, 3, "permission deny", Kind::PermissionDenied)]
    #[case(0, 49, "rate limited", Kind::RateLimited)]
    #[case(0, 56, "not ready", Kind::Busy)]
    #[case(0, 1, "something broke", Kind::Refused)]
    // Only the new one.
    #[case(100, 0, "", Kind::NotFound(Missing::Collection))]
    #[case(5, 0, "internal", Kind::Refused)]
    // General codes with telling words.
    #[case(0, 1, "can't find collection: c1", Kind::NotFound(Missing::Collection))]
    #[case(2100, 1, "import job does not exist, jobID=5: importing data failed", Kind::NotFound(Missing::ImportJob))]
    #[case(1100, 5, "database already exist: db1: invalid parameter", Kind::AlreadyExists)]
    #[case(65535, 1, "role [r1] already exists", Kind::AlreadyExists)]
    #[case(65535, 1, "create duplicate collection with different parameters", Kind::AlreadyExists)]
    #[case(65535, 4, "no words for it", Kind::NotFound(Missing::Collection))]
    // A number that means something outweighs words and the old number.
    #[case(1401, 4, "collection not found", Kind::PermissionDenied)]
    #[case(1100, 5, "partition not specified: invalid parameter", Kind::Refused)]
    fn every_failed_status_has_a_kind(#[case] code: i32, #[case] old: i32, #[case] reason: &str, #[case] kind: Kind) {
        let refusal = check(Some(&status(code, old, reason))).unwrap_err();
        assert_eq!((refusal.kind, refusal.reason.as_str()), (kind, reason));
        assert_eq!(refusal.code, if code != 0 { code } else { old });
    }

    #[test]
    fn an_unnamed_error_the_server_calls_retriable_is_a_busy_server() {
        let answer = Status { retriable: true, ..status(503, 1, "channel not available") };
        assert_eq!(check(Some(&answer)).unwrap_err().kind, Kind::Busy);
    }

    #[rstest]
    #[case(2, "service unavailable", true)]
    #[case(10001, "context deadline exceeded", true)]
    #[case(65535, "rpc error: code = Unavailable desc = transport is closing", true)]
    #[case(8, "rate limit exceeded[rate=0.1]", false)]
    #[case(1100, "partition not specified: invalid parameter", false)]
    fn a_call_that_broke_inside_the_server_leaves_the_outcome_open(
        #[case] code: i32,
        #[case] reason: &str,
        #[case] open: bool,
    ) {
        assert_eq!(check(Some(&status(code, 1, reason))).unwrap_err().outcome_open, open);
    }
}
