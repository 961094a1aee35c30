//! Pure: which Events a change of status is worth, one for each thing that happened and none for what only goes on.
//!
//! An Event repeated within minutes keeps its first text (the recorder counts it instead), so numbers belong into status.

use kube::runtime::events::{Event, EventType};

use super::{
    observe::EndClass,
    record::{Record, RunKind},
    text::bounded,
};
use crate::api::conditions::{self as cond, reason};

/// Longest text of an Event.
const NOTE_LIMIT: usize = 1000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Reason of the Event.
    pub reason: String,
    /// A warning.
    pub warning: bool,
    /// A sentence.
    pub note: String,
    /// Ends the run: told on the Milvus as well.
    pub ending: bool,
}

impl News {
    /// A piece of news.
    pub fn new(reason: impl Into<String>, warning: bool, note: impl Into<String>) -> News {
        News { reason: reason.into(), warning, note: note.into(), ending: false }
    }

    /// As Kubernetes writes it.
    pub fn event(&self, action: &str) -> Event {
        Event {
            type_: if self.warning { EventType::Warning } else { EventType::Normal },
            reason: self.reason.clone(),
            note: (!self.note.is_empty()).then(|| bounded(&self.note, NOTE_LIMIT)),
            action: action.to_owned(),
            secondary: None,
        }
    }
}

/// What happened between two records of a run.
pub fn of(kind: RunKind, old: &Record, new: &Record) -> Vec<News> {
    let mut news = Vec::new();
    let name = kind.event();
    let mut tell = |what: &str, warning: bool, note: &str| news.push(News::new(format!("{name}{what}"), warning, note));
    let stage = new.stage();
    let message = new.condition(cond::SUCCEEDED).map_or("", |condition| condition.message.as_str());
    if stage == reason::QUEUED && old.stage() != reason::QUEUED {
        tell("Queued", false, message);
    }
    if old.run.started_at.is_none() && new.run.started_at.is_some() {
        let job = new.run.attempts.last().map_or("", |attempt| attempt.job_name.as_str());
        tell("Started", false, &format!("Job {job} runs"));
    }
    let before = percent(old);
    if let Some(mark) = [75, 50, 25].into_iter().find(|mark| before < *mark && *mark <= percent(new))
        && new.outcome().is_none()
    {
        tell("Progress", false, &format!("{mark}% done"));
    }
    for attempt in new.run.attempts.iter().filter(|attempt| attempt.ended_at.is_some()) {
        let told = old.run.attempts.iter().any(|known| known.number == attempt.number && known.ended_at.is_some());
        if told {
            continue;
        }
        let note = attempt.message.as_deref().unwrap_or_default();
        if attempt.exit_class.as_deref() == Some(EndClass::Stalled.text()) {
            tell("Stalled", true, note);
        }
        if attempt.next_retry_at.is_some() {
            tell("Retrying", true, &format!("attempt {} ended: {note}", attempt.number));
        }
    }
    if cond::is_true(&new.run.conditions, cond::SHARED_FATE) && !cond::is_true(&old.run.conditions, cond::SHARED_FATE) {
        let note = new.condition(cond::SHARED_FATE).map_or("", |condition| condition.message.as_str());
        news.push(News::new("SharedFateWarning", true, note));
    }
    if let (None, Some(succeeded)) = (old.outcome(), new.outcome()) {
        news.push(ending(kind, succeeded, stage, message));
    }
    news
}

fn ending(kind: RunKind, succeeded: bool, stage: &str, message: &str) -> News {
    let (what, warning) = match stage {
        reason::ALREADY_RESTORED => ("AlreadyDone", false),
        reason::CONFLICT_FOUND => ("Conflict", true),
        reason::CANCELLED => ("Cancelled", true),
        _ if succeeded => ("Completed", false),
        _ => ("Failed", true),
    };
    let note = if succeeded || stage == reason::CANCELLED { message.to_owned() } else { format!("{stage}: {message}") };
    News { ending: true, ..News::new(format!("{}{what}", kind.event()), warning, note) }
}

fn percent(record: &Record) -> i32 {
    record.run.progress.as_ref().and_then(|progress| progress.percent).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        api::Progress,
        controller::{
            decide::Next,
            observe::{Ending, Seen},
            record::{Moment, Obstacle},
        },
        engine::task::Report,
        exit::Class,
    };

    fn moment(kind: RunKind) -> Moment {
        Moment { now: Timestamp::from_second(1_800_000_000).unwrap(), generation: Some(1), kind, proof: None }
    }

    fn reasons(kind: RunKind, old: &Record, new: &Record) -> Vec<String> {
        of(kind, old, new).into_iter().map(|news| news.reason).collect()
    }

    fn running(kind: RunKind) -> Record {
        let mut record = Record::default();
        record.observe_generation(&moment(kind));
        record.begun(&moment(kind), 1, "job");
        record.follow(&moment(kind), &Seen::Running { progress: None, since: None }, false);
        record
    }

    #[test]
    fn the_start_is_told_once() {
        let record = running(RunKind::Backup);
        assert_eq!(reasons(RunKind::Backup, &Record::default(), &record), ["BackupStarted"]);
        assert!(reasons(RunKind::Backup, &record, &record).is_empty());
    }

    #[test]
    fn standing_in_line_is_told_once() {
        let old = Record::default();
        let obstacle = Obstacle {
            condition: cond::ADMITTED,
            reason: reason::WAITING_FOR_LOCK,
            message: "somebody works".to_owned(),
            last_word: false,
        };
        let mut new = old.clone();
        new.waiting(&moment(RunKind::Restore), &obstacle, Some(1));
        assert_eq!(reasons(RunKind::Restore, &old, &new), ["RestoreQueued"]);
        let mut later = new.clone();
        later.waiting(&moment(RunKind::Restore), &obstacle, Some(2));
        assert!(reasons(RunKind::Restore, &new, &later).is_empty());
    }

    #[test]
    fn every_end_has_its_own_event_and_is_told_on_the_milvus() {
        let end = |class, reason: &str, next, kind| {
            let report = Report { reason: reason.to_owned(), ..Report::default() };
            let ending = Ending { class, message: "m".to_owned(), report: Some(report), started: None, at: None };
            let old = running(kind);
            let mut new = old.clone();
            new.close(&moment(kind), &ending, next, None);
            let news = of(kind, &old, &new);
            assert!(news.last().unwrap().ending);
            news.into_iter().map(|news| news.reason).collect::<Vec<_>>()
        };
        use RunKind::{Backup, Restore};
        assert_eq!(end(EndClass::Succeeded, "Completed", Next::Succeeded, Backup), ["BackupCompleted"]);
        assert_eq!(end(EndClass::Succeeded, "AlreadyRestored", Next::Succeeded, Restore), ["RestoreAlreadyDone"]);
        let configuration = EndClass::Exit(Class::Configuration);
        assert_eq!(end(configuration, "ConflictFound", Next::Failed, Restore), ["RestoreConflict"]);
        assert_eq!(end(configuration, "Rejected", Next::Failed, Backup), ["BackupFailed"]);
        assert_eq!(end(EndClass::Stalled, "", Next::Failed, Backup), ["BackupStalled", "BackupFailed"]);
        assert_eq!(end(EndClass::Exit(Class::Cancelled), "", Next::Cancelled, Backup), ["BackupCancelled"]);
    }

    #[test]
    fn a_retry_names_the_attempt_and_its_end() {
        let old = running(RunKind::Backup);
        let mut new = old.clone();
        let ending =
            Ending { class: EndClass::Lost, message: "node gone".to_owned(), report: None, started: None, at: None };
        new.close(&moment(RunKind::Backup), &ending, Next::Retry { at: moment(RunKind::Backup).now }, None);
        let news = of(RunKind::Backup, &old, &new);
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].reason.as_str(), news[0].note.as_str()), ("BackupRetrying", "attempt 1 ended: node gone"));
    }

    #[test]
    fn progress_is_told_at_the_quarters_only() {
        let at = |percent| {
            let mut record = running(RunKind::Backup);
            record.run.progress = Some(Progress { percent: Some(percent), ..Progress::default() });
            record
        };
        let told =
            |old, new| of(RunKind::Backup, &at(old), &at(new)).into_iter().map(|news| news.note).collect::<Vec<_>>();
        assert_eq!(told(10, 24), Vec::<String>::new());
        assert_eq!(told(10, 25), ["25% done"]);
        assert_eq!(told(10, 80), ["75% done"]);
        assert_eq!(told(80, 99), Vec::<String>::new());
    }

    #[test]
    fn a_shared_fate_is_warned_of_once() {
        let old = running(RunKind::Backup);
        let mut new = old.clone();
        let at = moment(RunKind::Backup);
        new.met(&at, cond::SHARED_FATE, reason::SAME_BUCKET, "same bucket");
        assert_eq!(reasons(RunKind::Backup, &old, &new), ["SharedFateWarning"]);
        assert!(reasons(RunKind::Backup, &new, &new).is_empty());
    }
}
