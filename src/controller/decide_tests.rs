use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::*;
use crate::{
    controller::observe::Problem,
    engine::task::{Progress, Report},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn open(number: i32, started: i64) -> Attempt {
    Attempt {
        number,
        job_name: format!("mbk-00000000-a{number}"),
        started_at: Some(Time(at(started))),
        ..Attempt::default()
    }
}

fn closed(number: i32, class: EndClass, ended: i64, retry: Option<i64>) -> Attempt {
    Attempt {
        ended_at: Some(Time(at(ended))),
        exit_class: Some(class.text().to_owned()),
        next_retry_at: retry.map(|second| Time(at(second))),
        ..open(number, ended - 10)
    }
}

fn ended(class: EndClass) -> Seen {
    Seen::Ended(Box::new(Ending { class, message: "why".to_owned(), report: None, started: None, at: None }))
}

struct Case {
    now: i64,
    cancel: bool,
    retry: Retry,
    deadlines: Deadlines,
    attempts: Vec<Attempt>,
    seen: Seen,
}

impl Case {
    fn new(now: i64, attempts: Vec<Attempt>, seen: Seen) -> Case {
        let (retry, deadlines) = (Retry::default(), Deadlines::default());
        Case { now, cancel: false, retry, deadlines, attempts, seen }
    }

    fn cancelled(self) -> Case {
        Case { cancel: true, ..self }
    }

    fn step(&self) -> Step {
        decide(&Situation {
            now: at(self.now),
            created: at(0),
            cancel: self.cancel,
            retry: &self.retry,
            deadlines: &self.deadlines,
            attempts: &self.attempts,
            seen: &self.seen,
            heartbeat: None,
        })
    }

    fn next(&self) -> Next {
        match self.step() {
            Step::Close { next, .. } => next,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_new_run_begins_its_first_attempt() {
    assert_eq!(Case::new(0, vec![], Seen::Absent).step(), Step::Begin { number: 1 });
}

#[test]
fn a_job_that_status_does_not_know_yet_is_attached_to() {
    let seen = Seen::Running { progress: None, since: Some(at(1)) };
    assert_eq!(Case::new(2, vec![], seen).step(), Step::Follow);
}

#[test]
fn a_job_that_vanished_is_a_lost_attempt_and_the_next_starts_at_once() {
    let case = Case::new(100, vec![open(1, 10)], Seen::Absent);
    let Step::Close { ending, next, delete } = case.step() else { panic!() };
    assert_eq!((ending.class, next, delete), (EndClass::Lost, Next::Retry { at: at(100) }, false));
    assert!(ending.message.contains("mbk-00000000-a1"));
}

#[rstest]
#[case(EndClass::Crashed { killed: true })]
#[case(EndClass::Lost)]
#[case(EndClass::Exit(Class::Cancelled))]
fn a_killed_pod_is_retried_at_once_and_a_second_kill_in_a_row_with_a_pause(#[case] class: EndClass) {
    assert_eq!(Case::new(100, vec![open(1, 0)], ended(class)).next(), Next::Retry { at: at(100) });
    let history = vec![closed(1, class, 50, Some(50)), open(2, 50)];
    assert_eq!(Case::new(100, history, ended(class)).next(), Next::Retry { at: at(160) });
}

#[test]
fn a_retryable_exit_pauses_doubling() {
    let class = EndClass::Exit(Class::Retry);
    assert_eq!(Case::new(100, vec![open(1, 0)], ended(class)).next(), Next::Retry { at: at(130) });
    let history = vec![closed(1, class, 50, Some(80)), open(2, 80)];
    assert_eq!(Case::new(100, history, ended(class)).next(), Next::Retry { at: at(160) });
    let retry = Retry::default();
    assert_eq!([1, 2, 5, 6, 60].map(|number| backoff(&retry, number)), [30, 60, 480, 900, 900]);
}

#[test]
fn the_last_attempt_is_not_followed_by_another() {
    let class = EndClass::Exit(Class::Retry);
    let history = vec![closed(1, class, 1, Some(2)), closed(2, class, 3, Some(4)), open(3, 5)];
    assert_eq!(Case::new(100, history, ended(class)).next(), Next::Failed);
}

#[rstest]
#[case(EndClass::Exit(Class::Configuration))]
#[case(EndClass::Exit(Class::Data))]
#[case(EndClass::Unproven)]
#[case(EndClass::DeadlineExceeded)]
fn what_nobody_but_a_person_can_change_is_final_at_once(#[case] class: EndClass) {
    assert_eq!(Case::new(100, vec![open(1, 0)], ended(class)).next(), Next::Failed);
}

#[test]
fn a_pause_is_kept_and_then_ends() {
    let history = vec![closed(1, EndClass::Exit(Class::Retry), 50, Some(80))];
    assert_eq!(Case::new(79, history.clone(), Seen::Absent).step(), Step::Pause { until: at(80) });
    assert_eq!(Case::new(80, history, Seen::Absent).step(), Step::Begin { number: 2 });
}

#[test]
fn cancel_stops_the_pod_and_waits_for_it() {
    let running = Seen::Running { progress: None, since: None };
    assert_eq!(Case::new(5, vec![open(1, 0)], running).cancelled().step(), Step::Stop);
    assert_eq!(Case::new(6, vec![open(1, 0)], Seen::Stopping).cancelled().step(), Step::Follow);
    assert_eq!(Case::new(7, vec![open(1, 0)], Seen::Absent).cancelled().next(), Next::Cancelled);
    let gone = Case::new(7, vec![open(1, 0)], Seen::Absent).cancelled().step();
    assert!(matches!(gone, Step::Close { ending, .. } if ending.class == EndClass::Exit(Class::Cancelled)));
    let stopped = ended(EndClass::Exit(Class::Cancelled));
    assert_eq!(Case::new(7, vec![open(1, 0)], stopped).cancelled().next(), Next::Cancelled);
}

#[test]
fn cancel_before_anything_ran_ends_at_once() {
    assert_eq!(Case::new(5, vec![], Seen::Absent).cancelled().step(), Step::Cancelled);
    let pausing = vec![closed(1, EndClass::Exit(Class::Retry), 4, Some(80))];
    assert_eq!(Case::new(5, pausing, Seen::Absent).cancelled().step(), Step::Cancelled);
}

#[test]
fn a_run_that_was_done_before_cancel_came_is_done() {
    assert_eq!(Case::new(7, vec![open(1, 0)], ended(EndClass::Succeeded)).cancelled().next(), Next::Succeeded);
}

#[test]
fn silence_longer_than_the_stall_deadline_stops_the_pod_and_slowness_does_not() {
    let heard = |second| {
        let progress = Progress { time: Some(at(second)), ..Progress::default() };
        Seen::Running { progress: Some(Box::new(progress)), since: Some(at(1)) }
    };
    assert_eq!(Case::new(10_000, vec![open(1, 0)], heard(9_100)).step(), Step::Follow);
    let Step::Close { ending, next, delete } = Case::new(10_000, vec![open(1, 0)], heard(9_099)).step() else {
        panic!()
    };
    assert_eq!((ending.class, delete), (EndClass::Stalled, true));
    assert_eq!(next, Next::Retry { at: at(10_030) });
}

#[test]
fn a_pod_that_never_said_a_word_counts_from_its_start() {
    let seen = Seen::Running { progress: None, since: Some(at(1_000)) };
    assert_eq!(Case::new(1_900, vec![open(1, 0)], seen.clone()).step(), Step::Follow);
    assert!(matches!(Case::new(1_901, vec![open(1, 0)], seen).step(), Step::Close { .. }));
}

#[test]
fn a_pod_that_does_not_start_in_time_fails_the_run_with_its_problem() {
    let problem = Problem { reason: "ImagePullFailed", message: "no such image".to_owned() };
    let seen = Seen::Starting { problem: Some(problem) };
    assert_eq!(Case::new(3_600, vec![open(1, 0)], seen.clone()).step(), Step::Follow);
    let Step::Close { ending, next, delete } = Case::new(3_601, vec![open(1, 0)], seen).step() else { panic!() };
    assert_eq!((next, delete), (Next::StartDeadlineExceeded, true));
    assert!(ending.message.contains("no such image"), "{}", ending.message);
}

#[test]
fn the_start_deadline_of_a_later_attempt_counts_from_the_end_of_the_one_before() {
    let history = vec![closed(1, EndClass::Lost, 5_000, Some(5_000)), open(2, 5_000)];
    assert_eq!(Case::new(8_600, history, Seen::Starting { problem: None }).step(), Step::Follow);
}

#[test]
fn a_missing_secret_is_waited_for_and_costs_no_attempt() {
    let report = Report { reason: SECRET_NOT_FOUND.to_owned(), ..Report::default() };
    let missing = |number: i32| {
        let mut attempt = closed(number, EndClass::Exit(Class::Configuration), i64::from(number), Some(0));
        attempt.exit_class = Some(EndClass::WAITED.to_owned());
        attempt
    };
    let seen = Seen::Ended(Box::new(Ending {
        class: EndClass::Exit(Class::Configuration),
        message: "key a of Secret b does not exist".to_owned(),
        report: Some(report),
        started: None,
        at: None,
    }));
    assert_eq!(Case::new(100, vec![open(1, 0)], seen.clone()).next(), Next::Retry { at: at(105) });
    let history: Vec<_> = (4..=7).map(missing).chain([open(8, 90)]).collect();
    assert_eq!(Case::new(100, history.clone(), seen.clone()).next(), Next::Retry { at: at(140) });
    let lost = ended(EndClass::Exit(Class::Retry));
    assert!(matches!(Case::new(100, history.clone(), lost).next(), Next::Retry { .. }), "the first one that counts");
    assert_eq!(Case::new(3_601, history, seen).next(), Next::StartDeadlineExceeded);
}

#[test]
fn patience_grows_to_a_quarter_of_a_minute() {
    assert_eq!([0, 9, 20, 149, 10_000].map(|second| patience(at(0), at(second))), [1, 1, 2, 14, 15]);
}
