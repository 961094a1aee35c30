//! One endpoint: its address, its connection, and what its refusals mean.

use std::error::Error as _;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::EtcdError;
use crate::milvus::error::words;
use crate::milvus::proto::etcd::kv_client::KvClient;
use crate::milvus::proto::etcd::{RangeRequest, RangeResponse};
use crate::milvus::transport::root_cause;

/// For a connection, as the Go tool has it.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// For the answer to one page.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest page read. Definitions of indexes and fields have some hundred bytes each.
const DECODE_LIMIT: usize = 32 << 20;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Member {
    /// As given, for messages.
    pub(super) name: String,
    client: KvClient<Channel>,
}

/// Why a page was not given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No connection, or no answer: another endpoint may have one.
    Away(String),
    /// It will not.
    No(String),
    /// The revision is gone.
    Compacted,
    /// The page is larger than is read.
    TooLarge,
}

impl Member {
    /// `host:port`, with or without `http://`. Connects when it is first asked.
    pub(super) fn at(endpoint: &str) -> Result<Member, EtcdError> {
        let setup = |cause: String| EtcdError::Setup { endpoint: endpoint.to_owned(), cause };
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        if address.contains("://") {
            return Err(setup("only http:// may stand before it".to_owned()));
        }
        let described =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| setup(words(&error.to_string())))?;
        if described.uri().port_u16().is_none() || !matches!(described.uri().path(), "" | "/") {
            return Err(setup("it has no port, or more than a port".to_owned()));
        }
        let channel = described.connect_timeout(DIAL_TIMEOUT).tcp_nodelay(true).connect_lazy();
        let client = KvClient::new(channel).max_decoding_message_size(DECODE_LIMIT);
        Ok(Member { name: address.trim_end_matches('/').to_owned(), client })
    }

    /// One page.
    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Refusal> {
        let mut client = self.client.clone();
        match tokio::time::timeout(CALL_TIMEOUT, client.range(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(refusal(&status)),
            Err(_) => Err(Refusal::Away(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
        }
    }
}

/// What a status means. Words and codes of etcd: `api/v3rpc/rpctypes/error.go` of etcd 3.5.
fn refusal(status: &Status) -> Refusal {
    // Without a source it is the server's own answer.
    let cause = match status.source() {
        None => words(status.message()),
        Some(_) => words(&root_cause(status)),
    };
    match status.code() {
        Code::OutOfRange if status.message().contains("compacted") => Refusal::Compacted,
        // Said by our own side.
        Code::OutOfRange if status.message().contains("too large") => Refusal::TooLarge,
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::NotFound
        | Code::OutOfRange
        | Code::Unimplemented => Refusal::No(cause),
        _ => Refusal::Away(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Class;
    use rstest::rstest;

    #[rstest]
    #[case("localhost:2379", "localhost:2379")]
    #[case("http://etcd-0.etcd:2379", "etcd-0.etcd:2379")]
    #[case("[fd00::1]:2379/", "[fd00::1]:2379")]
    #[tokio::test]
    async fn an_endpoint_is_a_host_and_a_port(#[case] endpoint: &str, #[case] name: &str) {
        assert_eq!(Member::at(endpoint).unwrap().name, name);
    }

    #[rstest]
    #[case("https://etcd:2379")]
    #[case("unix:///run/etcd")]
    #[case("etcd")]
    #[case("etcd:2379/v3")]
    #[case("a b:2379")]
    #[case("")]
    #[tokio::test]
    async fn what_is_no_endpoint_is_refused_by_name(#[case] endpoint: &str) {
        let error = Member::at(endpoint).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(error.to_string().contains(&format!("{endpoint:?} is no endpoint of etcd")), "{error}");
    }

    #[rstest]
    #[case(Status::unavailable("etcdserver: leader changed"), Refusal::Away("etcdserver: leader changed".into()))]
    #[case(Status::deadline_exceeded("late"), Refusal::Away("late".into()))]
    #[case(Status::resource_exhausted("etcdserver: too many requests"), Refusal::Away("etcdserver: too many requests".into()))]
    #[case(Status::invalid_argument("etcdserver: user name is empty"), Refusal::No("etcdserver: user name is empty".into()))]
    #[case(Status::permission_denied("etcdserver: permission denied"), Refusal::No("etcdserver: permission denied".into()))]
    #[case(Status::unimplemented("unknown service"), Refusal::No("unknown service".into()))]
    #[case(Status::out_of_range("etcdserver: mvcc: required revision has been compacted"), Refusal::Compacted)]
    #[case(Status::out_of_range("Error, decoded message length too large: found 9 bytes"), Refusal::TooLarge)]
    fn every_status_has_a_meaning(#[case] status: Status, #[case] expected: Refusal) {
        assert_eq!(refusal(&status), expected);
    }
}
