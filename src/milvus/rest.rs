//! Calls by REST v2, for what gRPC does not offer: exact files of segments, import jobs with many segments.
//!
//! Every answer is HTTP 200 with a `code` inside (0, or 200 in the first 2.4 releases, is success), so a call is judged by
//! the same rules as one by gRPC. Source: milvus-wire.md 4.1; answers seen on 2.5.27 and 2.6.18.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use super::import::{Import, ImportState, ImportTask};
use super::proto::common;
use super::status::Answer;
use super::{Milvus, MilvusError};

/// Creating a job lists and checks its files first.
const CREATE_DEADLINE: Duration = Duration::from_secs(600);
/// Segments asked for in one call.
const SEGMENTS_OF_CALL: usize = 100;

/// An answer with its outcome inside.
#[derive(Debug, Default)]
pub(super) struct RestAnswer {
    status: Option<common::Status>,
    data: Value,
}

impl Answer for RestAnswer {
    fn status(&self) -> Option<&common::Status> {
        self.status.as_ref()
    }
}

/// Exact files of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentFiles {
    /// Segment.
    pub segment: i64,
    /// Virtual channel; empty where the server tells none.
    pub channel: String,
    /// Field (or column group) and id of each insert log.
    pub inserts: Vec<(i64, i64)>,
    /// Ids of delta logs.
    pub deltas: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    segment_infos: Vec<SegmentInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SegmentInfo {
    #[serde(rename = "segmentID", default)]
    segment_id: i64,
    #[serde(default)]
    v_channel: String,
    #[serde(default)]
    insert_logs: Option<Vec<Logs>>,
    #[serde(default)]
    delta_logs: Option<Vec<Logs>>,
}

#[derive(Deserialize)]
struct Logs {
    #[serde(rename = "fieldID", default)]
    field: i64,
    #[serde(rename = "logIDs", default)]
    ids: Option<Vec<i64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    job_id: Value,
    #[serde(default)]
    state: String,
    #[serde(default)]
    progress: i64,
    #[serde(default)]
    imported_rows: i64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    details: Option<Vec<Detail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    file_name: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    records: Option<Vec<Job>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Create<'a> {
    db_name: &'a str,
    collection_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    partition_name: &'a str,
    files: &'a [Vec<String>],
    options: BTreeMap<&'a str, &'a str>,
}

impl Milvus {
    /// Whether REST import jobs can be asked for: the server has them, and nothing on the way keeps HTTP/1.1 out. Asked
    /// once, in few seconds.
    pub async fn has_import_jobs(&self) -> bool {
        let call = Call::server("jobs/import/list").once();
        let body = serde_json::json!({ "dbName": super::DEFAULT_DATABASE });
        match self.post(call, "jobs/import/list", &body).await {
            Ok(_) => true,
            Err(error) => {
                tracing::info!("import by REST is not used: {error}");
                false
            }
        }
    }

    /// Exact files and channels of segments; none where the server (before 2.5.8) does not have the call. A segment that
    /// compaction has taken away meanwhile is [`super::Missing::Segment`].
    pub async fn segment_files(
        &self,
        database: &str,
        collection: (&str, i64),
        segments: &[i64],
    ) -> Result<Option<Vec<SegmentFiles>>, MilvusError> {
        let mut files = Vec::with_capacity(segments.len());
        for some in segments.chunks(SEGMENTS_OF_CALL) {
            let call = Call::collection("segments/describe", database, collection.0);
            let body = serde_json::json!({ "dbName": database, "collectionID": collection.1, "segmentIDs": some });
            let data = match self.post(call.clone(), "segments/describe", &body).await {
                Ok(data) => data,
                Err(error) if error.is_unimplemented() => return Ok(None),
                Err(error) => return Err(error),
            };
            let described: Described = self.read(&call, data)?;
            files.extend(described.segment_infos.into_iter().map(segment_files));
        }
        Ok(Some(files))
    }

    /// Starts a job that imports several segments into one partition, answers its id. Sent once, like [`Milvus::import`].
    pub async fn create_import_job(&self, import: &Import, files: &[Vec<String>]) -> Result<i64, MilvusError> {
        let call = Call::collection("jobs/import/create", &import.database, &import.collection)
            .about(format!(
                "{} segments into partition {:?} of collection {}.{}",
                files.len(),
                import.partition,
                import.database,
                import.collection
            ))
            .within(CREATE_DEADLINE)
            .once();
        let body = Create {
            db_name: &import.database,
            collection_name: &import.collection,
            partition_name: &import.partition,
            files,
            options: import.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        };
        let data = self.post(call.clone(), "jobs/import/create", &body).await?;
        job_id(data.get("jobId")).ok_or_else(|| MilvusError::OutcomeUnknown {
            site: self.session.site(&call),
            cause: "the answer names no job".to_owned(),
        })
    }

    /// How far a job is. A job the server does not know is [`super::Missing::ImportJob`].
    pub async fn import_job(&self, database: &str, job: i64) -> Result<ImportTask, MilvusError> {
        let call = Call::database("jobs/import/describe", database).about(format!("import job {job}"));
        let body = serde_json::json!({ "dbName": database, "jobId": job.to_string() });
        let data = match self.post(call.clone(), "jobs/import/describe", &body).await {
            // The name of the call in 2.4 (milvus-wire.md 4.1).
            Err(error) if error.is_unimplemented() => {
                self.post(call.clone(), "jobs/import/get_progress", &body).await?
            }
            answer => answer?,
        };
        let read: Job = self.read(&call, data)?;
        let state = match state(&read.state) {
            // An answer of zeros is what some servers say of a job they have forgotten.
            None if read.state.is_empty() => {
                return Err(MilvusError::NotFound {
                    site: self.session.site(&call),
                    missing: super::Missing::ImportJob,
                    cause: "the answer has no state".to_owned(),
                });
            }
            None => ImportState::Unknown(0),
            Some(state) => state,
        };
        Ok(task(job, state, read))
    }

    /// Ids of the jobs of a collection that the server remembers.
    pub async fn import_jobs(&self, database: &str, collection: &str) -> Result<Vec<i64>, MilvusError> {
        let call = Call::collection("jobs/import/list", database, collection);
        let body = serde_json::json!({ "dbName": database, "collectionName": collection });
        let data = self.post(call.clone(), "jobs/import/list", &body).await?;
        let listed: Listed = self.read(&call, data)?;
        Ok(listed.records.unwrap_or_default().iter().filter_map(|job| job_id(Some(&job.job_id))).collect())
    }

    async fn post<Q: Serialize>(&self, call: Call<'_>, path: &str, body: &Q) -> Result<Value, MilvusError> {
        let body = serde_json::to_vec(body).map_err(|error| self.session.malformed(&call, error))?;
        let path = format!("/v2/vectordb/{path}");
        // The server's own default is 30 s, also where the client would wait longer.
        let seconds = call.deadline.unwrap_or(Duration::from_secs(30)).as_secs();
        let headers = vec![("Request-Timeout", seconds.to_string()), ("DB-Name", call.database.to_owned())];
        let answer = self
            .session
            .call(call, Bytes::from(body), |_, request| {
                let (http, path, headers) = (self.session.rest(), path.clone(), headers.clone());
                async move { answer(http, &path, &headers, request.into_inner()).await }
            })
            .await?;
        Ok(answer.data)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, call: &Call<'_>, data: Value) -> Result<T, MilvusError> {
        serde_json::from_value(data).map_err(|error| self.session.malformed(call, error))
    }
}

/// One request; failures are put as gRPC would put them.
async fn answer(
    http: Result<&super::http::Http, tonic::Status>,
    path: &str,
    headers: &[(&'static str, String)],
    body: Bytes,
) -> Result<tonic::Response<RestAnswer>, tonic::Status> {
    let (status, body) = http?.send(path, headers, Some(body)).await.map_err(|broken| match broken.never_sent {
        true => tonic::Status::from_error(Box::new(tonic::ConnectError(broken.cause.into()))),
        false => tonic::Status::unavailable(broken.cause),
    })?;
    let said: Option<Value> = serde_json::from_slice(&body).ok().filter(Value::is_object);
    match (status.as_u16(), said) {
        (404 | 405 | 415, None) => Err(tonic::Status::unimplemented(format!("HTTP {status}"))),
        (502..=504, None) => Err(tonic::Status::unavailable(format!("HTTP {status}"))),
        (_, None) => Err(tonic::Status::unimplemented(format!("HTTP {status} without JSON: no REST API of milvus"))),
        (401, Some(said)) => Err(tonic::Status::unauthenticated(message(&said))),
        (403, Some(said)) => Err(tonic::Status::permission_denied(message(&said))),
        (_, Some(said)) => Ok(tonic::Response::new(outcome(said))),
    }
}

fn message(said: &Value) -> String {
    said.get("message").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn outcome(mut said: Value) -> RestAnswer {
    let code = said.get("code").and_then(Value::as_i64).unwrap_or(65535);
    let status = (code != 0 && code != 200).then(|| common::Status {
        // Codes of REST itself that say the same as one of gRPC.
        code: match code {
            1800 => 1400,
            1807 => 8,
            other => i32::try_from(other).unwrap_or(65535),
        },
        reason: message(&said),
        ..common::Status::default()
    });
    let data = said.get_mut("data").map(Value::take).unwrap_or_default();
    // Lists and objects may be absent where there is nothing to tell.
    RestAnswer { status, data: if data.is_null() { Value::Object(serde_json::Map::new()) } else { data } }
}

/// A text, and in some answers a number.
fn job_id(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

fn segment_files(info: SegmentInfo) -> SegmentFiles {
    let ids = |logs: Logs| logs.ids.unwrap_or_default().into_iter().map(move |id| (logs.field, id));
    SegmentFiles {
        segment: info.segment_id,
        channel: info.v_channel,
        inserts: info.insert_logs.unwrap_or_default().into_iter().flat_map(ids).collect(),
        deltas: info.delta_logs.unwrap_or_default().into_iter().flat_map(ids).map(|(_, id)| id).collect(),
    }
}

/// Names of states as REST reports them (milvus-wire.md 3.2).
fn state(name: &str) -> Option<ImportState> {
    Some(match name {
        "Pending" => ImportState::Pending,
        "PreImporting" | "Importing" | "IndexBuilding" | "Sorting" | "Stats" | "Uncommitted" | "Committing" => {
            ImportState::Started
        }
        "Failed" => ImportState::Failed,
        "Completed" => ImportState::Completed,
        _ => return None,
    })
}

fn task(id: i64, state: ImportState, job: Job) -> ImportTask {
    let files: Vec<String> = job.details.unwrap_or_default().into_iter().map(|detail| detail.file_name).collect();
    ImportTask {
        id,
        state,
        row_count: job.imported_rows,
        progress_percent: u8::try_from(job.progress).ok().map(|percent| percent.min(100)),
        failed_reason: Some(job.reason).filter(|reason| !reason.is_empty()),
        files: (!files.is_empty()).then(|| files.join(",")),
        collection: None,
        partition: None,
        segment_ids: Vec::new(),
        create_ts: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn success_is_0_and_in_the_first_2_4_releases_200() {
        for code in [0, 200] {
            let answer = outcome(json!({"code": code, "data": {"jobId": "7"}}));
            assert!(answer.status.is_none());
            assert_eq!(job_id(answer.data.get("jobId")), Some(7));
        }
        assert_eq!(outcome(json!({"code": 2100, "message": "no"})).status.unwrap().code, 2100);
        assert_eq!(outcome(json!({"message": "no code at all"})).status.unwrap().code, 65535);
    }

    #[test]
    fn ids_beyond_what_a_float_can_hold_are_read_exactly() {
        let text = r#"{"segmentInfos":[{"segmentID":470609052561971955,"vChannel":"ch_0v0",
            "insertLogs":[{"fieldID":0,"logIDs":[470609052561971967]},{"fieldID":100,"logIDs":[1,2]}],
            "deltaLogs":[{"fieldID":100,"logIDs":[9]}],"statsLogs":null,"level":1}]}"#;
        let described: Described = serde_json::from_str(text).unwrap();
        let files = segment_files(described.segment_infos.into_iter().next().unwrap());
        assert_eq!(
            files,
            SegmentFiles {
                segment: 470_609_052_561_971_955,
                channel: "ch_0v0".into(),
                inserts: vec![(0, 470_609_052_561_971_967), (100, 1), (100, 2)],
                deltas: vec![9],
            }
        );
    }

    #[test]
    fn a_state_nobody_knows_is_neither_success_nor_failure() {
        assert_eq!(state("Completed"), Some(ImportState::Completed));
        assert_eq!(state("Uncommitted"), Some(ImportState::Started));
        assert_eq!(state("Melting"), None);
    }
}
