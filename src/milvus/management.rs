//! The management port: pausing the server's garbage collection while files are copied.
//!
//! It has no log-in of its own. In a cluster the proxies serve these routes (milvus-wire.md 4.2).

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::Milvus;
use super::error::words;

/// Port of metrics and management.
pub const MANAGEMENT_PORT: u16 = 9091;
/// The server answers at once.
const DEADLINE: Duration = Duration::from_secs(10);
const ROUTE: &str = "/management/datacoord/garbage_collection";

/// A call to the management port that was not carried out. Never fatal: a pause is a precaution.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// This server does not have it.
    #[error("milvus at {place} cannot pause its garbage collection")]
    Absent {
        /// `host:port`.
        place: String,
    },
    /// Nobody answers there.
    #[error("the management port of milvus at {place} does not answer: {cause}")]
    Unreachable {
        /// `host:port`.
        place: String,
        /// Why.
        cause: String,
    },
    /// It said no.
    #[error("milvus at {place} refused to {act} its garbage collection: {cause}")]
    Refused {
        /// `host:port`.
        place: String,
        /// `pause` or `resume`.
        act: &'static str,
        /// Its words.
        cause: String,
    },
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcPause {
    /// Ends exactly this pause; none on servers before 2.6.8, where a resume ends every pause.
    ticket: Option<String>,
}

impl GcPause {
    /// A pause by what the server answered.
    pub(crate) fn new(ticket: Option<String>) -> GcPause {
        GcPause { ticket: ticket.filter(|ticket| !ticket.is_empty()) }
    }

    /// Whether it can be told from other pauses.
    pub fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    msg: String,
    #[serde(default)]
    ticket: Option<String>,
}

impl Milvus {
    /// Pauses garbage collection of the whole cluster; it goes on by itself after that time.
    ///
    /// A pause cannot be prolonged: make another one, keep its ticket, and end the one before (milvus-wire.md 4.2).
    pub async fn pause_gc(&self, time: Duration) -> Result<GcPause, ManagementError> {
        let said = self.manage("pause", &format!("{ROUTE}/pause?pause_seconds={}", time.as_secs())).await?;
        Ok(GcPause::new(said.ticket))
    }

    /// Ends a pause.
    pub async fn resume_gc(&self, pause: &GcPause) -> Result<(), ManagementError> {
        let path = match &pause.ticket {
            None => format!("{ROUTE}/resume"),
            // Base64 has characters that mean something else in a query.
            Some(ticket) => format!("{ROUTE}/resume?ticket={}", utf8_percent_encode(ticket, NON_ALPHANUMERIC)),
        };
        self.manage("resume", &path).await.map(drop)
    }

    async fn manage(&self, act: &'static str, path: &str) -> Result<Said, ManagementError> {
        let http = match self.session.management() {
            Ok(http) => http,
            Err(cause) => return Err(ManagementError::Unreachable { place: self.server().to_owned(), cause }),
        };
        let place = http.authority();
        let unreachable = |cause| ManagementError::Unreachable { place: place.clone(), cause };
        let (status, body) = match tokio::time::timeout(DEADLINE, http.send(path, &[], None)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => return Err(unreachable(broken.cause)),
            Err(_) => return Err(unreachable(format!("no answer within {} s", DEADLINE.as_secs()))),
        };
        let said: Option<Said> = serde_json::from_slice(&body).ok();
        match (status.as_u16(), said) {
            (404, _) => Err(ManagementError::Absent { place }),
            (200, Some(said)) => Ok(said),
            (_, said) => {
                let cause = said.map_or_else(|| format!("HTTP {status}"), |said| words(&said.msg));
                Err(ManagementError::Refused { place, act, cause })
            }
        }
    }
}
