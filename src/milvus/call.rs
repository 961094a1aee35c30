//! What a call is about, how long it may take, and whether it may be made again.

use std::time::Duration;

use super::error::{MilvusError, Missing};

/// Longest wait for a rate limit.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// One call: its name, what it is about, how long it may take and whether it may be sent twice.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) name: &'static str,
    pub(super) database: &'a str,
    pub(super) subject: String,
    pub(super) deadline: Option<Duration>,
    pub(super) once: bool,
    segments_may_vanish: bool,
}

impl<'a> Call<'a> {
    /// About the server.
    pub(super) fn server(name: &'static str) -> Call<'a> {
        Call { name, database: "", subject: String::new(), deadline: None, once: false, segments_may_vanish: false }
    }

    /// About a database.
    pub(super) fn database(name: &'static str, database: &'a str) -> Call<'a> {
        Call { database, subject: format!("database {database}"), ..Call::server(name) }
    }

    /// About a collection.
    pub(super) fn collection(name: &'static str, database: &'a str, collection: &str) -> Call<'a> {
        Call { database, subject: format!("collection {database}.{collection}"), ..Call::server(name) }
    }

    /// About something else.
    pub(super) fn about(mut self, subject: String) -> Call<'a> {
        self.subject = subject;
        self
    }

    /// At least this deadline for one try.
    pub(super) fn within(mut self, deadline: Duration) -> Call<'a> {
        self.deadline = Some(deadline);
        self
    }

    /// Not to be sent again once it may have taken effect.
    pub(super) fn once(mut self) -> Call<'a> {
        self.once = true;
        self
    }

    /// Compaction can take a segment away between two look-ups inside the server; asking again helps.
    pub(super) fn segments_may_vanish(mut self) -> Call<'a> {
        self.segments_may_vanish = true;
        self
    }

    /// Whether a failed try may be followed by another.
    pub(super) fn may_repeat(&self, error: &MilvusError) -> bool {
        match error {
            MilvusError::RateLimited { .. } => true,
            MilvusError::Unreachable { .. } | MilvusError::Busy { .. } => !self.once,
            MilvusError::NotFound { missing: Missing::Segment, .. } => self.segments_may_vanish,
            _ => false,
        }
    }
}

/// Servers that limit a rate below one a second say so: `rate limit exceeded[rate=0.1]` (milvus-newer.md 1).
pub(super) fn asked_pause(error: &MilvusError) -> Duration {
    let MilvusError::RateLimited { cause, .. } = error else {
        return Duration::ZERO;
    };
    let rate = cause
        .split_once("rate=")
        .map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default())
        .and_then(|rate| rate.parse::<f64>().ok())
        .filter(|rate| *rate > 0.0);
    match rate {
        Some(rate) => Duration::try_from_secs_f64(1.0 / rate).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::CallSite;
    use super::*;
    use rstest::rstest;

    fn site() -> Box<CallSite> {
        Box::new(CallSite { server: "milvus:19530".into(), call: "Flush", subject: String::new() })
    }

    #[rstest]
    #[case("rate limit exceeded[rate=0.1]", 10_000)]
    #[case("rate limit exceeded[rate=4]", 250)]
    #[case("rate limit exceeded[rate=0.001]", 15_000)]
    #[case("rate limit exceeded[rate=0]", 0)]
    #[case("rate limit exceeded", 0)]
    fn the_pause_is_what_the_rate_asks_for(#[case] cause: &str, #[case] millis: u64) {
        let error = MilvusError::RateLimited { site: site(), cause: cause.into() };
        assert_eq!(asked_pause(&error), Duration::from_millis(millis));
    }

    #[test]
    fn a_vanished_segment_is_looked_for_again_only_where_the_call_says_so() {
        let error = MilvusError::NotFound { site: site(), missing: Missing::Segment, cause: String::new() };
        let call = Call::collection("GetPersistentSegmentInfo", "default", "c1");
        assert!(!call.may_repeat(&error));
        assert!(call.segments_may_vanish().may_repeat(&error));
    }

    #[test]
    fn refusals_and_logins_are_never_tried_again() {
        let call = Call::server("GetVersion");
        assert!(!call.may_repeat(&MilvusError::AuthRequired { site: site() }));
        assert!(!call.may_repeat(&MilvusError::Refused { site: site(), code: 1100, cause: String::new() }));
        assert!(!call.may_repeat(&MilvusError::TimedOut { site: site(), after: Duration::ZERO }));
    }
}
