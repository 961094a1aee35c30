//! Names of conditions and reasons, and how they are written.
//!
//! There is no `phase`: the stage of a run is the reason of [`SUCCEEDED`], so people, `kubectl wait`, Flux and Argo CD read
//! one value.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub mod reason;

/// The run is over, well (`True`) or badly (`False`); `Unknown` while it goes on.
pub const SUCCEEDED: &str = "Succeeded";
/// Backup: it can be restored. Location: it can be used. Restore: the data is there.
pub const READY: &str = "Ready";
/// Work is going on (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// It ended badly or cannot go on without a person (kstatus).
pub const STALLED: &str = "Stalled";
/// The Milvus was found and understood.
pub const SOURCE_RESOLVED: &str = "SourceResolved";
/// The location can be used.
pub const LOCATION_AVAILABLE: &str = "LocationAvailable";
/// The run was let in: no other run in the way, Milvus not in the middle of an upgrade, the pod placed.
pub const ADMITTED: &str = "Admitted";
/// The copy, or the restored data, was proven.
pub const VERIFIED: &str = "Verified";
/// The copy would be lost together with Milvus.
pub const SHARED_FATE: &str = "SharedFate";
/// The data was removed from the bucket.
pub const DATA_DELETED: &str = "DataDeleted";
/// Restore: the target was found and is healthy.
pub const TARGET_READY: &str = "TargetReady";
/// Restore: the backup was found.
pub const SOURCE_AVAILABLE: &str = "SourceAvailable";
/// Location: the server answers.
pub const REACHABLE: &str = "Reachable";
/// Location: objects can be written.
pub const WRITABLE: &str = "Writable";
/// Location: the keys are accepted.
pub const CREDENTIALS_VALID: &str = "CredentialsValid";

/// All conditions of a MilvusBackup; each is set from the first reconcile on.
pub const BACKUP: [&str; 10] = [
    SUCCEEDED,
    READY,
    RECONCILING,
    STALLED,
    SOURCE_RESOLVED,
    LOCATION_AVAILABLE,
    ADMITTED,
    VERIFIED,
    SHARED_FATE,
    DATA_DELETED,
];
/// All conditions of a MilvusRestore.
pub const RESTORE: [&str; 8] =
    [SUCCEEDED, READY, RECONCILING, STALLED, TARGET_READY, SOURCE_AVAILABLE, ADMITTED, VERIFIED];
/// All conditions of a MilvusBackupLocation.
pub const LOCATION: [&str; 6] = [READY, RECONCILING, STALLED, REACHABLE, WRITABLE, CREDENTIALS_VALID];

/// Longest message, in bytes.
pub const MESSAGE_LIMIT: usize = 1024;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known.
    Unknown,
}

impl Status {
    /// As written in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Status::True } else { Status::False }
    }
}

/// Sets one condition. `lastTransitionTime` moves only when the status changes; the message is cut to [`MESSAGE_LIMIT`].
/// Answers whether anything but `observedGeneration` changed.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Status,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let mut new = Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: cut(message, MESSAGE_LIMIT),
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = (&old.status, &old.reason, &old.message) != (&new.status, &new.reason, &new.message);
    *old = new;
    changed
}

/// Sets every condition of `types` that is missing to `Unknown`, reason `Pending`.
pub fn init_conditions(conditions: &mut Vec<Condition>, types: &[&str], generation: Option<i64>, now: Timestamp) {
    for type_ in types {
        if find(conditions, type_).is_none() {
            set_condition(conditions, type_, Status::Unknown, reason::PENDING, "", generation, now);
        }
    }
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition is there and `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Where an object stands, for tools that wait (Flux, Argo CD, cli-utils).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Waiting or working: in progress.
    Working {
        /// Stage.
        reason: &'a str,
        /// In a sentence.
        message: &'a str,
    },
    /// Done and usable: current.
    Done {
        /// Of `Ready`.
        reason: &'a str,
        /// In a sentence.
        message: &'a str,
    },
    /// Ended badly, or a person has to act: failed.
    Failed {
        /// Why.
        reason: &'a str,
        /// In a sentence.
        message: &'a str,
    },
}

/// Writes `Ready`, `Reconciling` and `Stalled` so that kstatus reads the standing: working is in progress, done is current,
/// failed is failed. Answers whether anything changed.
pub fn set_standing(
    conditions: &mut Vec<Condition>,
    standing: &Standing<'_>,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    use Status::{False, True};
    let (ready, reconciling, stalled) = match standing {
        Standing::Working { reason, message } => {
            ((False, reason::NOT_YET, *message), (True, *reason, *message), (False, reason::IDLE, ""))
        }
        Standing::Done { reason, message } => {
            ((True, *reason, *message), (False, reason::IDLE, ""), (False, reason::IDLE, ""))
        }
        Standing::Failed { reason, message } => {
            ((False, *reason, *message), (False, reason::IDLE, ""), (True, *reason, *message))
        }
    };
    let mut changed = false;
    for (type_, (status, reason, message)) in [(READY, ready), (RECONCILING, reconciling), (STALLED, stalled)] {
        changed |= set_condition(conditions, type_, status, reason, message, generation, now);
    }
    changed
}

/// At most `limit` bytes, ending in `...` when something is missing.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// How kstatus (Flux, cli-utils) reads an object: deletion, generation, Reconciling, Stalled, Ready, in this order.
    fn kstatus(conditions: &[Condition], generation: i64, observed: Option<i64>, deleting: bool) -> &'static str {
        if deleting {
            return "Terminating";
        }
        if observed.is_some_and(|observed| observed != generation) || is_true(conditions, RECONCILING) {
            return "InProgress";
        }
        if is_true(conditions, STALLED) {
            return "Failed";
        }
        match find(conditions, READY) {
            Some(ready) if ready.status == "True" => "Current",
            Some(_) => "InProgress",
            None => "Current",
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, SUCCEEDED, Status::Unknown, reason::QUEUED, "1st", Some(1), at(0)));
        assert!(set_condition(&mut conditions, SUCCEEDED, Status::Unknown, reason::FLUSHING, "2nd", Some(2), at(5)));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Time(at(0)));
        assert_eq!((conditions[0].reason.as_str(), conditions[0].observed_generation), ("Flushing", Some(2)));
        assert!(set_condition(&mut conditions, SUCCEEDED, Status::True, reason::COMPLETED, "", Some(2), at(9)));
        assert_eq!(conditions[0].last_transition_time, Time(at(9)));
    }

    #[test]
    fn the_same_condition_again_is_no_change() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, READY, Status::False, reason::NOT_YET, "wait", Some(1), at(0));
        let before = conditions.clone();
        assert!(!set_condition(&mut conditions, READY, Status::False, reason::NOT_YET, "wait", Some(1), at(60)));
        assert_eq!(conditions, before);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        let message = "\u{e9}".repeat(2000);
        set_condition(&mut conditions, READY, Status::False, reason::FAILED, &message, None, at(0));
        let kept = &conditions[0].message;
        assert!(kept.len() <= MESSAGE_LIMIT && kept.len() > MESSAGE_LIMIT - 8, "{}", kept.len());
        assert!(kept.ends_with("\u{e9}..."));
        let exact = "x".repeat(MESSAGE_LIMIT);
        set_condition(&mut conditions, READY, Status::False, reason::FAILED, &exact, None, at(0));
        assert_eq!(conditions[0].message, exact);
    }

    #[test]
    fn every_condition_is_there_from_the_start_and_keeps_what_is_known() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, READY, Status::True, reason::RESTORABLE, "", Some(1), at(0));
        init_conditions(&mut conditions, &BACKUP, Some(1), at(1));
        assert_eq!(conditions.len(), BACKUP.len());
        assert!(is_true(&conditions, READY));
        assert_eq!(find(&conditions, ADMITTED).unwrap().status, "Unknown");
    }

    #[test]
    fn kstatus_reads_the_truth_table() {
        assert_eq!(kstatus(&[], 1, Some(-1), false), "InProgress", "a new object");
        let table = [
            (Standing::Working { reason: reason::QUEUED, message: "2nd in line" }, "InProgress"),
            (Standing::Working { reason: reason::COPYING_DATA, message: "" }, "InProgress"),
            (Standing::Done { reason: reason::RESTORABLE, message: "" }, "Current"),
            (Standing::Failed { reason: reason::FAILED, message: "no such bucket" }, "Failed"),
            (Standing::Failed { reason: reason::PARTIALLY_FAILED, message: "" }, "Failed"),
            (Standing::Failed { reason: reason::CANCELLED, message: "" }, "Failed"),
        ];
        let mut conditions = Vec::new();
        init_conditions(&mut conditions, &BACKUP, Some(1), at(0));
        for (standing, expected) in table {
            assert!(set_standing(&mut conditions, &standing, Some(1), at(1)));
            assert!(!set_standing(&mut conditions, &standing, Some(1), at(2)));
            assert_eq!(kstatus(&conditions, 1, Some(1), false), expected, "{standing:?}");
            assert_eq!(kstatus(&conditions, 2, Some(1), false), "InProgress", "{standing:?} of an old spec");
            assert_eq!(kstatus(&conditions, 1, Some(1), true), "Terminating", "{standing:?} being deleted");
        }
    }

    #[test]
    fn a_standing_never_stalls_and_works_at_once() {
        let standings = [
            Standing::Working { reason: reason::PREFLIGHT, message: "" },
            Standing::Done { reason: reason::RESTORABLE, message: "" },
            Standing::Failed { reason: reason::REJECTED, message: "" },
        ];
        for standing in standings {
            let mut conditions = Vec::new();
            set_standing(&mut conditions, &standing, None, at(0));
            let truths = [READY, RECONCILING, STALLED].into_iter().filter(|type_| is_true(&conditions, type_)).count();
            assert_eq!(truths, 1, "{standing:?}");
        }
    }
}
