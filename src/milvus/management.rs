//! The management port: pausing the server's garbage collection while files are copied, and keys of encrypted databases.
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
const KEY_ROUTE: &str = "/management/rootcoord/ez/backup";
const PAUSE: &str = "pause its garbage collection";
const RESUME: &str = "resume its garbage collection";
const HAND_OUT: &str = "hand out the key of an encrypted database";

/// A call to the management port that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// This server does not have it.
    #[error("milvus at {place} cannot {act}")]
    Absent {
        /// `host:port`.
        place: String,
        /// What was asked for.
        act: &'static str,
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
    #[error("milvus at {place} refused to {act}: {cause}")]
    Refused {
        /// `host:port`.
        place: String,
        /// What was asked for.
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
    #[serde(default)]
    ezk: Option<String>,
}

impl Milvus {
    /// Pauses garbage collection of the whole cluster; it goes on by itself after that time.
    ///
    /// A pause cannot be prolonged: make another one, keep its ticket, and end the one before (milvus-wire.md 4.2).
    pub async fn pause_gc(&self, time: Duration) -> Result<GcPause, ManagementError> {
        let said = self.manage(PAUSE, &format!("{ROUTE}/pause?pause_seconds={}", time.as_secs())).await?;
        Ok(GcPause::new(said.ticket))
    }

    /// Ends a pause.
    pub async fn resume_gc(&self, pause: &GcPause) -> Result<(), ManagementError> {
        let path = match &pause.ticket {
            None => format!("{ROUTE}/resume"),
            // Base64 has characters that mean something else in a query.
            Some(ticket) => format!("{ROUTE}/resume?ticket={}", utf8_percent_encode(ticket, NON_ALPHANUMERIC)),
        };
        self.manage(RESUME, &path).await.map(drop)
    }

    /// The key of an encrypted database, in base64: what an import into another cluster needs. From 2.6.8 on; refused for a
    /// database that is not encrypted.
    pub async fn database_key(&self, database: &str) -> Result<String, ManagementError> {
        let path = format!("{KEY_ROUTE}?db_name={}", utf8_percent_encode(database, NON_ALPHANUMERIC));
        match self.manage(HAND_OUT, &path).await?.ezk.filter(|key| !key.is_empty()) {
            Some(key) => Ok(key),
            None => Err(ManagementError::Refused {
                place: self.server().to_owned(),
                act: HAND_OUT,
                cause: "the answer has no key".to_owned(),
            }),
        }
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
            (404, _) => Err(ManagementError::Absent { place, act }),
            (200, Some(said)) => Ok(said),
            (_, said) => {
                let cause = said.map_or_else(|| format!("HTTP {status}"), |said| words(&said.msg));
                Err(ManagementError::Refused { place, act, cause })
            }
        }
    }
}
