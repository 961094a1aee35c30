//! For tests of this folder: connections that answer as written down, and remember what was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::error::ConnectorError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};

/// What comes for one request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, &'static str)>, &'static str),
    /// The connection breaks; whether the request was carried out nobody knows.
    Lost,
}

/// A request that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) authorization: String,
    pub(super) body: String,
}

/// Answers in order; a request too many breaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    pub(super) sent: Arc<Mutex<Vec<Sent>>>,
}

impl Script {
    pub(super) fn new(replies: impl IntoIterator<Item = Reply>) -> Script {
        Script { replies: Arc::new(Mutex::new(replies.into_iter().collect())), sent: Arc::default() }
    }

    pub(super) fn connector(&self) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    /// Method and address of each request so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|sent| format!("{} {}", sent.method, sent.uri)).collect()
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name: &str| request.headers().get(name).unwrap_or_default().to_owned();
        let body = request.body().bytes().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default();
        self.sent.lock().unwrap().push(Sent {
            method: request.method().to_owned(),
            uri: request.uri().to_owned(),
            authorization: header("authorization"),
            body,
        });
        HttpConnectorFuture::ready(match self.replies.lock().unwrap().pop_front() {
            Some(Reply::Answer(status, headers, body)) => {
                let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                for (name, value) in headers {
                    answer.headers_mut().insert(name, value);
                }
                Ok(answer)
            }
            Some(Reply::Lost) => Err(ConnectorError::io("connection reset".into())),
            None => Err(ConnectorError::io("the script is at its end".into())),
        })
    }
}
