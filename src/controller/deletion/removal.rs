//! Pure: what the delete Jobs of an object amount to.

use jiff::{SignedDuration, Timestamp};

use super::LONGEST_PAUSE;
use crate::{
    api::conditions::reason,
    controller::observe::{EndClass, Ending, Seen},
};

/// What the delete Jobs of an object amount to.
#[derive(Debug, Clone, PartialEq)]
pub enum Removal {
    /// Create this one.
    Begin {
        /// From 1.
        number: u32,
    },
    /// It works.
    Working,
    /// The last one failed; the next follows then.
    Pause {
        /// How it ended.
        ending: Box<Ending>,
        /// Not before.
        until: Timestamp,
    },
    /// The data is gone.
    Done,
    /// The bucket is gone, and the data with it.
    BucketGone,
}

/// Judges the last delete Job: `seen` is what it does, `number` which it is.
pub fn removal(number: Option<u32>, seen: &Seen, now: Timestamp) -> Removal {
    let Some(number) = number else {
        return Removal::Begin { number: 1 };
    };
    let ending = match seen {
        Seen::Absent => return Removal::Begin { number: number.saturating_add(1) },
        Seen::Starting { .. } | Seen::Running { .. } | Seen::Stopping => return Removal::Working,
        Seen::Ended(ending) => ending,
    };
    if ending.class == EndClass::Succeeded {
        return Removal::Done;
    }
    if ending.report.as_ref().is_some_and(|report| report.reason == reason::BUCKET_NOT_FOUND) {
        return Removal::BucketGone;
    }
    let pause = (10_i64 << number.min(6)).min(LONGEST_PAUSE);
    let until = ending.at.unwrap_or(now).saturating_add(SignedDuration::from_secs(pause)).unwrap_or(now);
    if until > now {
        return Removal::Pause { ending: ending.clone(), until };
    }
    Removal::Begin { number: number.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{engine::task::Report, exit::Class};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn ended(class: EndClass, reason: &str) -> Seen {
        Seen::Ended(Box::new(Ending {
            class,
            message: "m".to_owned(),
            report: Some(Report { reason: reason.to_owned(), ..Report::default() }),
            started: None,
            at: Some(at(0)),
        }))
    }

    #[test]
    fn the_first_job_is_followed_to_its_end() {
        assert_eq!(removal(None, &Seen::Absent, at(0)), Removal::Begin { number: 1 });
        assert_eq!(removal(Some(1), &Seen::Starting { problem: None }, at(0)), Removal::Working);
        assert_eq!(removal(Some(1), &ended(EndClass::Succeeded, "Completed"), at(0)), Removal::Done);
    }

    #[test]
    fn a_bucket_that_is_gone_took_the_data_with_it() {
        let seen = ended(EndClass::Exit(Class::Configuration), "BucketNotFound");
        assert_eq!(removal(Some(1), &seen, at(0)), Removal::BucketGone);
    }

    #[rstest]
    #[case(1, 20)]
    #[case(3, 80)]
    #[case(9, 600)]
    fn a_failed_removal_is_tried_again_ever_more_rarely(#[case] number: u32, #[case] pause: i64) {
        let seen = ended(EndClass::Exit(Class::Configuration), "AccessDenied");
        assert!(
            matches!(removal(Some(number), &seen, at(pause - 1)), Removal::Pause { until, .. } if until == at(pause))
        );
        assert_eq!(removal(Some(number), &seen, at(pause)), Removal::Begin { number: number + 1 });
    }
}
