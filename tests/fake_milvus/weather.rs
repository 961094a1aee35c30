//! What happens to requests to the object store on their way: refusals, broken connections, slow and cut answers, keys that
//! have run out. Repeatable: what becomes of a request follows from a seed, the request and how often it was sent.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use s3s::service::S3Service;

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query: bucket, key, what is asked.
    pub target: String,
    /// Access key id that signed it.
    pub signed_by: String,
    /// How often this method with this target was sent, from 1.
    pub nth: usize,
    /// Requests so far, from 1.
    pub total: usize,
    seed: u64,
}

impl Asked {
    /// True for about one request in so many.
    pub fn one_in(&self, many: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, &self.method, &self.target, self.nth).hash(&mut hasher);
        hasher.finish().is_multiple_of(many)
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy)]
pub enum Mishap {
    /// Nothing.
    Pass,
    /// It does not arrive: this comes in its place, a status and a code.
    Answer(u16, &'static str),
    /// It does not arrive: the connection breaks.
    Reset,
    /// It is carried out, then the connection breaks.
    Lost,
    /// The answer comes in pieces with pauses.
    Slow,
    /// The connection breaks in the middle of the answer's body.
    Cut,
}

type Plan = Arc<dyn Fn(&Asked) -> Mishap + Send + Sync>;

/// Clones share.
#[derive(Clone)]
pub struct Weather(Arc<Mutex<State>>);

struct State {
    plan: Plan,
    seed: u64,
    asked: Vec<Asked>,
    sent: HashMap<(String, String), usize>,
}

impl Weather {
    /// Everything passes.
    pub fn fair() -> Weather {
        let state = State { plan: Arc::new(|_| Mishap::Pass), seed: 0, asked: Vec::new(), sent: HashMap::new() };
        Weather(Arc::new(Mutex::new(state)))
    }

    /// From now on; forgets what was asked.
    pub fn turn(&self, seed: u64, plan: impl Fn(&Asked) -> Mishap + Send + Sync + 'static) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { plan: Arc::new(plan), seed, asked: Vec::new(), sent: HashMap::new() };
    }

    /// Everything that was asked since the last turn.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    fn meets(&self, request: &Request<Incoming>) -> Mishap {
        let (plan, asked) = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let method = request.method().to_string();
            // The SDK adds a name of its own for each operation (`x-id`), which stays.
            let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let sent = state.sent.entry((method.clone(), target.clone())).or_default();
            *sent += 1;
            let nth = *sent;
            let signature = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            let credential = signature.and_then(|text| text.split_once("Credential=")).map_or("", |(_, rest)| rest);
            let signed_by = credential.split('/').next().unwrap_or_default().to_owned();
            let asked = Asked { method, target, signed_by, nth, total: state.asked.len() + 1, seed: state.seed };
            state.asked.push(asked.clone());
            (state.plan.clone(), asked)
        };
        plan(&asked)
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Carries a request to the service, or what becomes of it.
pub async fn through(
    weather: Weather,
    service: S3Service,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, Failure> {
    let mishap = weather.meets(&request);
    let broken = || Failure::from("the connection breaks");
    let carried = async |request: Request<Incoming>| {
        let answer = service.call(request.map(s3s::Body::from)).await;
        answer.map_err(|error| Failure::from(format!("{error:?}")))
    };
    match mishap {
        Mishap::Pass => carried(request).await,
        Mishap::Answer(status, code) => {
            let body = format!("<Error><Code>{code}</Code><Message>made up by the test</Message></Error>");
            Ok(Response::builder().status(status).header("content-type", "application/xml").body(body.into())?)
        }
        Mishap::Reset => Err(broken()),
        Mishap::Lost => {
            carried(request).await?;
            Err(broken())
        }
        Mishap::Slow => Ok(pieces(carried(request).await?, usize::MAX).await?),
        Mishap::Cut => Ok(pieces(carried(request).await?, 2).await?),
    }
}

/// The body in so many pieces of four, with pauses; less than four, and the connection breaks behind them.
async fn pieces(answer: Response<s3s::Body>, shown: usize) -> Result<Response<s3s::Body>, Failure> {
    let (head, body) = answer.into_parts();
    let chunks: Vec<Bytes> = body.collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?;
    let whole = Bytes::from(chunks.concat());
    if whole.is_empty() {
        return Ok(Response::from_parts(head, whole.into()));
    }
    let size = whole.len().div_ceil(4);
    let parts: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
    let cut = shown < parts.len();
    let shown = parts.into_iter().take(shown).map(Ok::<_, Failure>).chain(cut.then(|| Err("cut".into())));
    let paced = futures::stream::iter(shown).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        piece.map(Frame::data)
    });
    let mut answer = Response::from_parts(head, s3s::Body::http_body_unsync(StreamBody::new(Box::pin(paced))));
    answer.headers_mut().insert("content-length", whole.len().into());
    Ok(answer)
}
