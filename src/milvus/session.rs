//! The connection and the one way a call is made: metadata, deadline, retries, judging the answer.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::Retryable as _;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::call::{Call, asked_pause};
use super::connect::{backoff, closed_at_once, connect};
use super::error::{CallSite, MilvusError, words};
use super::http::Http;
use super::management::MANAGEMENT_PORT;
use super::options::ConnectOptions;
use super::proto::common::ClientInfo;
use super::proto::milvus::milvus_service_client::MilvusServiceClient;
use super::proto::milvus::{ConnectRequest, GetVersionRequest};
use super::status::{Answer, Kind, Refusal, check};
use super::transport::{Failure, failure};
use super::version::ServerVersion;

/// The generated client.
pub(super) type Client = MilvusServiceClient<Channel>;

/// Largest answer read. Servers send up to 256 MiB (milvus-wire.md 1.6).
const DECODE_LIMIT: usize = 1 << 30;

/// A connection with a login.
#[derive(Clone)]
pub(super) struct Session {
    channel: Channel,
    server: String,
    authorization: Option<MetadataValue<Ascii>>,
    identifier: Option<MetadataValue<Ascii>>,
    deadline: Duration,
    patience: Duration,
    /// When the server was last found away.
    away: Arc<Mutex<Option<Instant>>>,
    /// REST and management, or why they cannot be addressed.
    rest: Result<Http, String>,
    management: Result<Http, String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.server)
            .field("logged_in", &self.authorization.is_some())
            .finish()
    }
}

impl Session {
    /// Connects, registers as a client and learns the version.
    pub(super) async fn open(options: ConnectOptions) -> Result<(Session, ServerVersion), MilvusError> {
        let mut session = Session {
            channel: connect(&options).await?,
            server: options.server(),
            authorization: options.credentials.as_ref().and_then(|login| login.authorization()),
            identifier: None,
            deadline: options.deadline,
            patience: options.connect_patience,
            away: Arc::default(),
            rest: rest(&options),
            management: management(&options),
        };
        let user = options.credentials.as_ref().map_or(String::new(), |login| login.user().to_owned());
        let registered = session.register(user, options.client_version).await;
        let tag = registered.map_err(|error| closed_at_once(error, options.tls.as_ref()))?;
        let version = session.version(tag).await?;
        session.patience = options.patience;
        Ok((session, version))
    }

    /// `host:port`.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The REST API.
    pub(super) fn rest(&self) -> Result<&Http, Status> {
        self.rest.as_ref().map_err(|cause| Status::unimplemented(cause.clone()))
    }

    /// The management port.
    pub(super) fn management(&self) -> Result<&Http, String> {
        self.management.as_ref().map_err(Clone::clone)
    }

    /// How long ago the server was last found unreachable, none where it always answered.
    pub(super) fn away_for(&self) -> Option<Duration> {
        self.away.lock().ok().and_then(|away| *away).map(|away| away.elapsed())
    }

    /// Notes that the server is unreachable now.
    pub(super) fn note_away(&self) {
        if let Ok(mut away) = self.away.lock() {
            *away = Some(Instant::now());
        }
    }

    /// Calls Connect; answers the build tag, or none where the server does not have the call. Without `dbname`, which
    /// the server would want to exist.
    async fn register(&mut self, user: String, client_version: String) -> Result<Option<String>, MilvusError> {
        let client = ClientInfo {
            sdk_type: env!("CARGO_PKG_NAME").to_owned(),
            sdk_version: client_version,
            user,
            ..ClientInfo::default()
        };
        let request = ConnectRequest { client_info: Some(client) };
        let answer = self.call(Call::server("Connect"), request, |mut c, r| async move { c.connect(r).await }).await;
        match answer {
            Ok(answer) => {
                self.identifier = MetadataValue::try_from(answer.identifier.to_string()).ok();
                Ok(Some(answer.server_info.unwrap_or_default().build_tags))
            }
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A full version in the build tag is taken; else GetVersion is asked too.
    async fn version(&self, tag: Option<String>) -> Result<ServerVersion, MilvusError> {
        if let Some(tag) = tag.as_deref().filter(|tag| ServerVersion::is_exact(tag)) {
            return Ok(ServerVersion::parse(tag));
        }
        let asked = self
            .call(Call::server("GetVersion"), GetVersionRequest {}, |mut c, r| async move { c.get_version(r).await })
            .await;
        let said = match asked {
            Ok(answer) => Some(answer.version),
            Err(error) if error.is_unimplemented() && tag.is_some() => None,
            Err(error) if error.is_unimplemented() => {
                return Err(MilvusError::NotMilvus { server: self.server.clone(), cause: words(&error.to_string()) });
            }
            Err(error) => return Err(error),
        };
        Ok(ServerVersion::best(tag, said))
    }

    /// Makes a call: every call to Milvus goes through here.
    ///
    /// Repeats it while the server is unreachable, busy or limits its rate, until the session's patience ends; a call
    /// made [`Call::once`] only where the server refused it for its rate.
    pub(super) async fn call<Q, A, S, F>(&self, call: Call<'_>, request: Q, send: S) -> Result<A, MilvusError>
    where
        Q: Clone,
        A: Answer,
        S: Fn(Client, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let started = Instant::now();
        let attempt = || self.attempt(&call, &request, &send);
        attempt
            .retry(backoff())
            .when(|error| call.may_repeat(error))
            .adjust(|error, pause| {
                let pause = pause.map(|pause| pause.max(asked_pause(error)))?;
                (started.elapsed() + pause <= self.patience).then_some(pause)
            })
            .notify(|error, pause| tracing::debug!(%error, ?pause, "milvus call is repeated"))
            .await
    }

    async fn attempt<Q, A, S, F>(&self, call: &Call<'_>, request: &Q, send: &S) -> Result<A, MilvusError>
    where
        Q: Clone,
        A: Answer,
        S: Fn(Client, Request<Q>) -> F,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = call.deadline.map_or(self.deadline, |deadline| deadline.max(self.deadline));
        let mut request = Request::new(request.clone());
        request.set_timeout(deadline);
        self.put_metadata(request.metadata_mut(), call.database);
        let client = Client::new(self.channel.clone()).max_decoding_message_size(DECODE_LIMIT);

        let failed = match tokio::time::timeout(deadline, send(client, request)).await {
            Ok(Ok(response)) => {
                let answer = response.into_inner();
                match check(answer.status()) {
                    Ok(()) => return Ok(answer),
                    Err(refusal) => self.refused(refusal, self.site(call)),
                }
            }
            Ok(Err(status)) if is_timeout(&status) => self.timed_out(deadline, call),
            Ok(Err(status)) => failure(&status, self.site(call), self.authorization.is_some()),
            Err(_) => self.timed_out(deadline, call),
        };
        if matches!(failed.error, MilvusError::Unreachable { .. }) {
            self.note_away();
        }
        if call.once && failed.outcome_open {
            let cause = words(&failed.error.to_string());
            return Err(MilvusError::OutcomeUnknown { site: self.site(call), cause });
        }
        Err(failed.error)
    }

    /// Both the request field and the metadata name the database: older servers read only the one or the other
    /// (milvus-wire.md 1.3).
    fn put_metadata(&self, metadata: &mut MetadataMap, database: &str) {
        if let Some(login) = &self.authorization {
            metadata.insert("authorization", login.clone());
        }
        if let Some(identifier) = &self.identifier {
            metadata.insert("identifier", identifier.clone());
        }
        // A name that is no valid metadata is no valid database name either; the server says so from the field.
        if let Some(name) = MetadataValue::try_from(database).ok().filter(|_| !database.is_empty()) {
            metadata.insert("dbname", name);
        }
    }

    fn refused(&self, refusal: Refusal, site: Box<CallSite>) -> Failure {
        let Refusal { kind, code, reason, outcome_open } = refusal;
        let cause = words(&reason);
        let error = match kind {
            Kind::Busy => MilvusError::Busy { site, code, cause },
            Kind::RateLimited => MilvusError::RateLimited { site, cause },
            Kind::NotFound(missing) => MilvusError::NotFound { site, missing, cause },
            Kind::AlreadyExists => MilvusError::AlreadyExists { site, cause },
            Kind::Unauthenticated if self.authorization.is_some() => MilvusError::AuthFailed { site, cause },
            Kind::Unauthenticated => MilvusError::AuthRequired { site },
            Kind::PermissionDenied => MilvusError::PermissionDenied { site, cause },
            Kind::Unimplemented => MilvusError::Unimplemented { site, cause },
            Kind::Refused => MilvusError::Refused { site, code, cause },
        };
        Failure { error, outcome_open }
    }

    fn timed_out(&self, after: Duration, call: &Call<'_>) -> Failure {
        Failure { error: MilvusError::TimedOut { site: self.site(call), after }, outcome_open: true }
    }

    /// For an answer that lacks what it must have.
    pub(super) fn malformed(&self, call: &Call<'_>, cause: impl fmt::Display) -> MilvusError {
        MilvusError::Malformed { site: self.site(call), cause: words(&cause.to_string()) }
    }

    /// Where a call goes, for messages.
    pub(super) fn site(&self, call: &Call<'_>) -> Box<CallSite> {
        Box::new(CallSite { server: self.server.clone(), call: call.name, subject: call.subject.clone() })
    }
}

fn rest(options: &ConnectOptions) -> Result<Http, String> {
    let login = options.credentials.as_ref().and_then(|login| login.bearer());
    match &options.rest {
        Some(url) => Http::at(url, options.tls.as_ref(), login),
        None => Http::beside_grpc(&options.host, options.port, options.tls.as_ref(), login),
    }
}

fn management(options: &ConnectOptions) -> Result<Http, String> {
    match &options.management {
        Some(url) => Http::at(url, options.tls.as_ref(), None),
        None => Http::beside_grpc(&options.host, MANAGEMENT_PORT, None, None),
    }
}

/// The client's own deadline and the server's look alike.
fn is_timeout(status: &Status) -> bool {
    match status.code() {
        tonic::Code::DeadlineExceeded => true,
        tonic::Code::Cancelled => status.message() == tonic::TimeoutExpired(()).to_string(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Class;
    use crate::milvus::Credentials;
    use rstest::rstest;
    use tonic::transport::Endpoint;

    fn session(login: Option<Credentials>) -> Session {
        Session {
            channel: Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
            server: "milvus:19530".into(),
            authorization: login.and_then(|login| login.authorization()),
            identifier: MetadataValue::try_from("42").ok(),
            deadline: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            away: Arc::default(),
            rest: Err("none".into()),
            management: Err("none".into()),
        }
    }

    fn root() -> Option<Credentials> {
        Some(Credentials::UserPassword { user: "root".into(), password: "Milvus".into() })
    }

    fn ok<A>(answer: A) -> Result<Response<A>, Status> {
        Ok(Response::new(answer))
    }

    use crate::milvus::proto::common::Status as Outcome;

    fn outcome(code: i32, reason: &str) -> Outcome {
        Outcome { code, error_code: 1, reason: reason.into(), ..Outcome::default() }
    }

    #[tokio::test]
    async fn a_call_carries_login_identifier_database_and_deadline() {
        let call = Call::collection("Flush", "db1", "c1");
        session(root())
            .call(call, 0_u8, |_, request: Request<u8>| async move {
                let text = |key: &str| request.metadata().get(key).map(|value| value.to_str().unwrap().to_owned());
                assert_eq!(text("authorization").as_deref(), Some("cm9vdDpNaWx2dXM="));
                assert_eq!(text("dbname").as_deref(), Some("db1"));
                assert_eq!(text("identifier").as_deref(), Some("42"));
                assert!(text("grpc-timeout").is_some());
                ok(Outcome::default())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_call_without_login_and_database_carries_neither() {
        session(None)
            .call(Call::server("GetVersion"), 0_u8, |_, request: Request<u8>| async move {
                assert!(request.metadata().get("authorization").is_none());
                assert!(request.metadata().get("dbname").is_none());
                ok(Outcome::default())
            })
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_server_is_asked_again() {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let answered = session(None)
            .call(Call::server("GetVersion"), 0_u8, |_, _| {
                let nth = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move { ok(if nth < 3 { outcome(1, "not ready") } else { Outcome::default() }) }
            })
            .await;
        assert!(answered.is_ok());
        assert_eq!(tries.into_inner(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let started = Instant::now();
        let error = session(None)
            .call(Call::server("GetVersion"), 0_u8, |_, _| async { ok(outcome(2, "unavailable")) })
            .await
            .unwrap_err();
        assert_eq!((error.class(), error.reason()), (Class::Retry, "NotReady"));
        let waited = started.elapsed();
        assert!(waited > Duration::from_secs(50) && waited <= Duration::from_secs(60), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limit_is_waited_for_as_long_as_the_server_says() {
        let started = Instant::now();
        let tries = std::sync::atomic::AtomicU32::new(0);
        session(None)
            .call(Call::collection("Flush", "default", "c1"), 0_u8, |_, _| {
                let nth = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move {
                    ok(if nth == 0 {
                        outcome(8, "rate limit exceeded[rate=0.1]")
                    } else {
                        Outcome::default()
                    })
                }
            })
            .await
            .unwrap();
        assert_eq!(tries.into_inner(), 2);
        assert_eq!(started.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_at_the_deadline() {
        let error = session(None)
            .call(Call::server("GetVersion"), 0_u8, |_, _| std::future::pending::<Result<Response<Outcome>, Status>>())
            .await
            .unwrap_err();
        assert!(matches!(error, MilvusError::TimedOut { after, .. } if after == Duration::from_secs(30)), "{error}");
    }

    #[rstest]
    #[case(Err(Status::unavailable("connection reset")))]
    #[case(Err(Status::deadline_exceeded("late")))]
    #[case(Ok(outcome(65535, "rpc error: code = Unavailable")))]
    #[case(Ok(outcome(2, "unavailable")))]
    #[tokio::test(start_paused = true)]
    async fn a_call_made_once_is_sent_once_and_its_outcome_is_called_unknown(#[case] answer: Result<Outcome, Status>) {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let error = session(None)
            .call(Call::collection("Import", "default", "c1").once(), 0_u8, |_, _| {
                tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let answer = answer.clone();
                async move { answer.map(Response::new) }
            })
            .await
            .unwrap_err();
        assert_eq!(tries.into_inner(), 1);
        assert!(error.is_outcome_unknown(), "{error}");
        assert!(error.to_string().contains("outcome is unknown"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_made_once_is_refused_plainly_and_may_be_repeated_for_its_rate() {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let error = session(None)
            .call(Call::collection("Import", "default", "c1").once(), 0_u8, |_, _| {
                let nth = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move { ok(outcome(if nth == 0 { 8 } else { 1100 }, "partition not specified")) }
            })
            .await
            .unwrap_err();
        assert_eq!(tries.into_inner(), 2);
        assert!(matches!(error, MilvusError::Refused { code: 1100, .. }), "{error}");
    }

    #[rstest]
    #[case(None, "AuthRequired")]
    #[case(root(), "AuthFailed")]
    #[tokio::test]
    async fn a_missing_login_and_a_wrong_one_are_told_apart(#[case] login: Option<Credentials>, #[case] reason: &str) {
        let session = session(login);
        let by_grpc = session
            .call(Call::server("GetVersion"), 0_u8, |_, _| async {
                Err::<Response<Outcome>, _>(Status::unauthenticated("auth check failure"))
            })
            .await
            .unwrap_err();
        let by_status = session
            .call(Call::server("GetVersion"), 0_u8, |_, _| async { ok(outcome(1400, "not authenticated")) })
            .await
            .unwrap_err();
        assert_eq!((by_grpc.reason(), by_status.reason()), (reason, reason));
        assert_eq!(by_grpc.class(), Class::Configuration);
        assert!(!by_grpc.to_string().contains("Milvus"), "{by_grpc}");
    }
}
