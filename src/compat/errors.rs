//! What is answered when a request is not carried out.
//!
//! Two ways, as the Go tool has them: work that was looked at and refused or failed is HTTP 200 with a `code`
//! ([`OperationError`]); a request that could not be looked at is an HTTP status with `{"error": ...}` ([`Refusal`]).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::wire::{Refused, code};
use crate::engine::error::{EngineError, bounded};
use crate::exit::Class;

/// Longest message in an answer.
const MESSAGE_LIMIT: usize = 2000;
/// Type of all JSON answers.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Work that was refused or failed; variants are the codes a client sees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A parameter is missing or wrong: nothing was begun.
    #[error("{0}")]
    Parameter(String),
    /// This version does not offer it.
    #[error("{0}")]
    NotSupported(String),
    /// It was told to stop.
    #[error("{0}")]
    Cancelled(String),
    /// It failed.
    #[error("{message}")]
    Failed {
        /// What a caller does about it.
        class: Class,
        /// The sentence.
        message: String,
    },
}

impl OperationError {
    /// A failure that a person has to do something about.
    pub fn failed(message: impl Into<String>) -> OperationError {
        OperationError::Failed { class: Class::Configuration, message: message.into() }
    }

    /// `code` of the answer.
    pub fn code(&self) -> i32 {
        match self {
            OperationError::Parameter(_) => code::PARAMETER,
            OperationError::NotSupported(_) => code::NOT_SUPPORTED,
            OperationError::Cancelled(_) | OperationError::Failed { .. } => code::FAIL,
        }
    }

    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            OperationError::Parameter(_) | OperationError::NotSupported(_) => Class::Configuration,
            OperationError::Cancelled(_) => Class::Cancelled,
            OperationError::Failed { class, .. } => *class,
        }
    }

    /// `msg` of the answer.
    pub fn message(&self) -> String {
        bounded(&self.to_string(), MESSAGE_LIMIT)
    }
}

impl From<EngineError> for OperationError {
    fn from(error: EngineError) -> Self {
        match error.class() {
            Class::Cancelled => OperationError::Cancelled(error.to_string()),
            class => OperationError::Failed { class, message: error.to_string() },
        }
    }
}

/// A request that is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    body: Refused,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>, detail: impl Into<String>) -> Refusal {
        let (error, detail) = (error.into(), bounded(&detail.into(), MESSAGE_LIMIT));
        Refusal { status, body: Refused { error, detail } }
    }

    /// The body of `POST /create` is none.
    pub fn create_body(detail: String) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "Invalid request body", detail)
    }

    /// The body of a restore is none.
    pub fn restore_body(detail: &str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, bounded(&format!("invalid request body: {detail}"), MESSAGE_LIMIT), "")
    }

    /// The query is none.
    pub fn query(detail: String) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid query", detail)
    }

    /// The body is larger than `limit` bytes.
    pub fn too_large(limit: usize) -> Refusal {
        let detail = format!("a body has at most {limit} bytes; select collections by `*` in place of listing them");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request body too large", detail)
    }

    /// The body did not arrive in time, or not whole.
    pub fn body_not_read(detail: &str) -> Refusal {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "request body not received", detail)
    }

    /// The token is missing or another.
    pub fn unauthorized() -> Refusal {
        let detail = "send the header Authorization: Bearer <token> with the token this server was started with";
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// A page of another site makes a browser send this.
    pub fn foreign_origin() -> Refusal {
        let detail = "this request comes from a web page of another origin, which this API does not answer";
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// As many requests as allowed are being answered.
    pub fn busy(seconds: u64) -> Refusal {
        let detail =
            format!("this server answers as many requests as it may; none ended within {seconds} s, ask again");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once", detail)
    }

    /// The answer took too long.
    pub fn too_slow(seconds: u64) -> Refusal {
        let detail =
            format!("Milvus or the store took more than {seconds} s to answer; see whether they are up, ask again");
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, "no answer in time", detail)
    }

    /// `GET /check` found something wrong.
    pub fn check(message: String) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message, "")
    }

    /// There is no such route.
    pub fn no_route(method: &str, path: &str) -> Refusal {
        let detail = format!("there is no {method} {path}; see /api/v1/docs/index.html");
        Refusal::new(StatusCode::NOT_FOUND, "not found", detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.body);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

/// An answer with a JSON body.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, JSON)], bytes).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
