//! One leader among several replicas, by a Lease.
//!
//! A holder is replaced when its Lease did not change for its whole duration by the *candidate's* clock, so skewed clocks make
//! nobody a second leader. A leader that cannot renew in time gives up before anybody else may take over.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    cluster::{Cluster, ClusterError},
    lease::{Claim, claim},
};

/// A replica that leads or wants to.
#[derive(Debug)]
pub struct Candidate {
    cluster: Cluster,
    name: String,
    identity: String,
    ttl: Duration,
    seen: Option<Seen>,
}

/// The Lease as last seen, and since when it has looked like that.
#[derive(Debug, Clone)]
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    since: Timestamp,
}

/// Leadership is over.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else leads.
    #[error("{0} took the leader's Lease over")]
    Taken(String),
    /// The Lease could not be renewed in time.
    #[error("the leader's Lease was not renewed within {0:?}: {1}")]
    Late(Duration, String),
}

impl Candidate {
    /// A candidate for the Lease `name`.
    pub fn new(cluster: Cluster, name: String, identity: String, ttl: Duration) -> Candidate {
        Candidate { cluster, name, identity, ttl, seen: None }
    }

    /// Waits until this replica leads. Errors are logged and tried again.
    pub async fn elected(&mut self) {
        loop {
            match timeout(self.ttl / 3, self.attempt()).await {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(leader))) => tracing::debug!(leader, "another replica leads"),
                Ok(Err(error)) => tracing::warn!("{error}"),
                Err(_) => tracing::warn!("the leader's Lease could not be read in time"),
            }
            sleep(self.ttl / 3).await;
        }
    }

    /// Renews until leadership is lost; answers why.
    pub async fn keep(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            sleep(self.ttl / 3).await;
            let why = match timeout(self.ttl / 3, self.attempt()).await {
                Ok(Ok(None)) => {
                    renewed = Instant::now();
                    continue;
                }
                Ok(Ok(Some(leader))) => return Lost::Taken(leader),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            tracing::warn!("could not renew the leader's Lease: {why}");
            // The next try ends at the latest when the Lease does.
            if renewed.elapsed() + self.ttl / 3 >= self.ttl {
                return Lost::Late(self.ttl, why);
            }
        }
    }

    /// Gives the Lease back, so that another replica need not wait for it to lapse.
    pub async fn resign(&self) -> Result<(), ClusterError> {
        let Some(mut lease) = self.cluster.lease(&self.name).await? else {
            return Ok(());
        };
        let Some(spec) = lease.spec.as_mut() else {
            return Ok(());
        };
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = None;
        self.cluster.replace_lease(&self.name, &lease).await.map(|_| ())
    }

    /// Takes or renews the Lease; answers who has it otherwise.
    async fn attempt(&mut self) -> Result<Option<String>, ClusterError> {
        let current = self.cluster.lease(&self.name).await?;
        let now = Timestamp::now();
        let spec = current.as_ref().and_then(|lease| lease.spec.as_ref());
        let spec = spec.map(|spec| by_own_clock(spec, &mut self.seen, now));
        let spec = match claim(spec.as_ref(), &self.identity, self.ttl, now) {
            Claim::Held { by, .. } => return Ok(Some(by)),
            Claim::Kept => return Ok(None),
            Claim::Write { spec, .. } => *spec,
        };
        let written = match current {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                self.cluster.create_lease(&Lease { metadata, spec: Some(spec) }).await
            }
            Some(lease) => self.cluster.replace_lease(&self.name, &Lease { spec: Some(spec), ..lease }).await,
        };
        match written {
            Ok(_) => Ok(None),
            Err(error) if error.is_conflict() => Ok(Some("another replica".to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// The Lease with the time it was last seen to change instead of the time its holder wrote.
fn by_own_clock(spec: &LeaseSpec, seen: &mut Option<Seen>, now: Timestamp) -> LeaseSpec {
    let (holder, renewed) = (spec.holder_identity.clone(), spec.renew_time.clone());
    let since = match seen {
        Some(seen) if seen.holder == holder && seen.renewed == renewed => seen.since,
        _ => now,
    };
    *seen = Some(Seen { holder, renewed, since });
    LeaseSpec { renew_time: Some(MicroTime(since)), ..spec.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn lease(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(at(renewed))),
            ..LeaseSpec::default()
        }
    }

    fn held(spec: &LeaseSpec, seen: &mut Option<Seen>, now: i64) -> bool {
        let spec = by_own_clock(spec, seen, at(now));
        matches!(claim(Some(&spec), "me", Duration::from_secs(15), at(now)), Claim::Held { .. })
    }

    #[test]
    fn a_holder_with_a_slow_clock_is_not_replaced_while_it_renews() {
        let mut seen = None;
        // Its clock is an hour behind; each renewal moves its time on.
        for second in 0..60 {
            assert!(held(&lease("other", second - 3600), &mut seen, second), "{second}");
        }
    }

    #[test]
    fn a_lease_that_stands_still_for_its_duration_is_free() {
        let mut seen = None;
        let spec = lease("other", 0);
        assert!(held(&spec, &mut seen, 100));
        assert!(held(&spec, &mut seen, 114));
        assert!(!held(&spec, &mut seen, 115));
    }
}
