//! One function for each route: read the request, have the work done ([`super::service`]), answer.
//!
//! Which answers hold a `requestId` and which `data` is as in milvus-backup 0.5.16, core/server.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::body;
use super::errors::{OperationError, Refusal, json};
use super::limits::read_body;
use super::service::Api;
use super::wire::{
    Answer, BackupBrief, BackupSummary, BareAnswer, CreateRequest, RestoreRequest, RestoreSecondaryRequest,
    RestoreTask, StoppedTask, code,
};
use crate::local::operations::new_id;

/// An answer, or a request that is not looked at.
type Answered = Result<Response, Refusal>;

/// `POST /create`.
pub async fn create(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answered {
    let bytes = read_body(&api.limits, &headers, body).await?;
    let _turn = api.turn_for(bytes.len()).await?;
    let request: CreateRequest = body::read(&bytes).map_err(Refusal::create_body)?;
    drop(bytes);
    let id = or_new(request_id(&headers));
    let outcome = api.service.create(&request, &id).await;
    let (msg, data) = match outcome {
        Ok(None) => ("create backup is executing asynchronously".to_owned(), None),
        Ok(Some(brief)) => ("success".to_owned(), Some(brief)),
        Err(error) => return Ok(ok(&failed::<BackupBrief>(id, &error))),
    };
    Ok(ok(&Answer { request_id: id, code: code::SUCCESS, msg, data }))
}

/// `POST /restore`. What fails answers without the id of its request.
pub async fn restore(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answered {
    let bytes = read_body(&api.limits, &headers, body).await?;
    let _turn = api.turn_for(bytes.len()).await?;
    let request: RestoreRequest = body::read(&bytes).map_err(|detail| Refusal::restore_body(&detail))?;
    drop(bytes);
    let request_id = or_new(request.request_id.clone());
    Ok(match api.service.restore(&request).await {
        Ok(task) => {
            let msg = if request.asynchronous { "restore backup is executing asynchronously" } else { "success" };
            ok(&Answer { request_id, code: code::SUCCESS, msg: msg.to_owned(), data: Some(task) })
        }
        Err(error) => ok(&failed::<RestoreTask>(String::new(), &error)),
    })
}

/// `POST /restore_secondary`: known, looked at, and not offered.
pub async fn restore_secondary(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Answered {
    let bytes = read_body(&api.limits, &headers, body).await?;
    let _turn = api.turn_for(bytes.len()).await?;
    let request: RestoreSecondaryRequest = body::read(&bytes).map_err(|detail| Refusal::restore_body(&detail))?;
    let missing = [
        (&request.backup_name, "backup name is required"),
        (&request.source_cluster_id, "source cluster id is required"),
        (&request.target_cluster_id, "target cluster id is required"),
    ];
    let error = match missing.into_iter().find(|(field, _)| field.is_empty()) {
        Some((_, sentence)) => OperationError::Parameter(sentence.to_owned()),
        None => OperationError::NotSupported(
            "this version restores into no replica: use POST /restore, or milvus-backup itself".to_owned(),
        ),
    };
    Ok(ok(&failed::<RestoreTask>(or_new(request.request_id), &error)))
}

/// Query of `GET /list`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    collection_name: String,
}

/// `GET /list`.
pub async fn list(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answered {
    let query = queried(query)?;
    let request_id = request_id(&headers);
    if !query.collection_name.is_empty() {
        let error = OperationError::Parameter("collection_name is deprecated".to_owned());
        return Ok(ok(&failed::<Vec<BackupSummary>>(request_id, &error)));
    }
    let outcome = in_time(api.limits.answer_time, api.service.list()).await?;
    // Success has no `msg` here, and an empty list is a list.
    Ok(match outcome {
        Ok(found) => ok(&Answer { request_id, code: code::SUCCESS, msg: String::new(), data: Some(found) }),
        Err(error) => ok(&failed::<Vec<BackupSummary>>(request_id, &error)),
    })
}

/// Query of `GET /get_backup`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BackupQuery {
    backup_name: String,
    backup_id: String,
    path: String,
}

/// `GET /get_backup`.
pub async fn get_backup(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<BackupQuery>, QueryRejection>,
) -> Answered {
    let BackupQuery { backup_name, backup_id, path } = queried(query)?;
    let outcome = in_time(api.limits.answer_time, api.service.get_backup(&backup_name, &backup_id, &path)).await?;
    Ok(ok(&succeeded(request_id(&headers), outcome)))
}

/// Query of `GET /get_restore` and `DELETE /task`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskQuery {
    id: String,
}

/// `GET /get_restore`.
pub async fn get_restore(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<TaskQuery>, QueryRejection>,
) -> Answered {
    let TaskQuery { id } = queried(query)?;
    let outcome = in_time(api.limits.answer_time, api.service.get_restore(&id)).await?;
    Ok(ok(&succeeded(request_id(&headers), outcome)))
}

/// `DELETE /task`.
pub async fn stop_task(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<TaskQuery>, QueryRejection>,
) -> Answered {
    let TaskQuery { id } = queried(query)?;
    let outcome: Result<StoppedTask, _> = api.service.stop_task(&id).await;
    Ok(ok(&succeeded(request_id(&headers), outcome)))
}

/// Query of `DELETE /delete`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeleteQuery {
    backup_name: String,
}

/// `DELETE /delete`.
pub async fn delete(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    query: Result<Query<DeleteQuery>, QueryRejection>,
) -> Answered {
    let DeleteQuery { backup_name } = queried(query)?;
    let outcome = in_time(api.limits.delete_time, api.service.delete(&backup_name)).await?;
    let request_id = or_new(request_id(&headers));
    Ok(match outcome {
        Ok(()) => ok(&BareAnswer { request_id, code: code::SUCCESS, msg: "success".to_owned() }),
        Err(error) => ok(&BareAnswer { request_id, code: error.code(), msg: error.message() }),
    })
}

/// `GET /check`.
pub async fn check(State(api): State<Arc<Api>>) -> Answered {
    let outcome = in_time(api.limits.answer_time, api.service.check()).await?;
    let text = outcome.map_err(|error| Refusal::check(error.message()))?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

fn queried<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query.map(|Query(query)| query).map_err(|rejection| Refusal::query(rejection.body_text()))
}

/// The header `request_id`, empty where there is none.
fn request_id(headers: &HeaderMap) -> String {
    headers.get("request_id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned()).unwrap_or_default()
}

fn or_new(id: String) -> String {
    if id.is_empty() { new_id() } else { id }
}

fn ok<T: serde::Serialize>(answer: &T) -> Response {
    json(StatusCode::OK, answer)
}

fn succeeded<T>(request_id: String, outcome: Result<T, OperationError>) -> Answer<T> {
    match outcome {
        Ok(data) => Answer { request_id, code: code::SUCCESS, msg: "success".to_owned(), data: Some(data) },
        Err(error) => failed(request_id, &error),
    }
}

fn failed<T>(request_id: String, error: &OperationError) -> Answer<T> {
    Answer { request_id, code: error.code(), msg: error.message(), data: None }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(limit, work).await.map_err(|_| Refusal::too_slow(limit.as_secs()))
}
