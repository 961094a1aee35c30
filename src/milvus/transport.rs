//! Failures below Milvus: gRPC's own statuses, broken connections, TLS.

use std::error::Error;

use tonic::{Code, ConnectError, Status};

use super::error::{CallSite, MilvusError, words};

/// A failure of one try, and whether the call may have taken effect all the same.
pub(super) struct Failure {
    pub(super) error: MilvusError,
    pub(super) outcome_open: bool,
}

/// Reads a gRPC status. Milvus itself uses only the codes for logins, permissions and unknown calls (milvus-wire.md
/// 1.4); the rest comes from the connection or from proxies between.
pub(super) fn failure(status: &Status, site: Box<CallSite>, logged_in: bool) -> Failure {
    let settled = |error| Failure { error, outcome_open: false };
    let open = |error| Failure { error, outcome_open: true };
    let cause = words(status.message());
    match status.code() {
        Code::Unauthenticated if logged_in => settled(MilvusError::AuthFailed { site, cause }),
        Code::Unauthenticated => settled(MilvusError::AuthRequired { site }),
        Code::PermissionDenied => settled(MilvusError::PermissionDenied { site, cause }),
        Code::Unimplemented => settled(MilvusError::Unimplemented { site, cause }),
        // A message beyond a size limit, on either side; anything else is a gateway's way to limit the rate.
        Code::ResourceExhausted if !cause.contains("message") => settled(MilvusError::RateLimited { site, cause }),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::ResourceExhausted => settled(MilvusError::Refused { site, code: 0, cause }),
        _ if is_tls(status) => settled(MilvusError::Tls { site, cause: root_cause(status) }),
        _ => {
            let never_sent = chain(status).any(|error| error.is::<ConnectError>());
            let error = MilvusError::Unreachable { site, cause: words(&root_cause(status)) };
            if never_sent { settled(error) } else { open(error) }
        }
    }
}

/// Reads a failed first connection.
pub(super) fn not_connected(error: &tonic::transport::Error, site: Box<CallSite>) -> MilvusError {
    let cause = words(&root_cause(error));
    if is_tls(error) { MilvusError::Tls { site, cause } } else { MilvusError::Unreachable { site, cause } }
}

/// Whether certificates or the handshake are at fault: waiting does not mend that.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        // An io error hides the error it was made from: its source is that error's source.
        let hidden = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.is::<rustls::Error>() || hidden.is_some_and(|hidden| hidden.is::<rustls::Error>())
    })
}

/// The words of the outermost and of the innermost error: tonic's own say only "transport error".
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let outer = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    match chain(error).last().map(ToString::to_string) {
        Some(inner) if inner.contains(&outer) => inner,
        Some(inner) if !outer.contains(&inner) && error.source().is_some() => format!("{outer}: {inner}"),
        _ => outer,
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Class;
    use rstest::rstest;

    fn site() -> Box<CallSite> {
        Box::new(CallSite { server: "milvus:19530".into(), call: "Flush", subject: "collection default.c1".into() })
    }

    #[rstest]
    #[case(Status::unauthenticated("missing authorization in header"), false, "AuthRequired", Class::Configuration)]
    #[case(Status::unauthenticated("auth check failure"), true, "AuthFailed", Class::Configuration)]
    #[case(Status::permission_denied("PrivilegeFlush"), true, "AuthFailed", Class::Configuration)]
    #[case(Status::unimplemented("unknown method"), false, "UnsupportedVersion", Class::Configuration)]
    #[case(Status::unavailable("starting"), false, "Unreachable", Class::Retry)]
    #[case(Status::unknown("transport error"), false, "Unreachable", Class::Retry)]
    #[case(Status::resource_exhausted("too many requests"), false, "RateLimited", Class::Retry)]
    #[case(Status::resource_exhausted("received message larger than max"), false, "Refused", Class::Configuration)]
    #[case(Status::out_of_range("decoded message length too large"), false, "Refused", Class::Configuration)]
    fn every_grpc_status_has_a_reason_and_a_class(
        #[case] status: Status,
        #[case] logged_in: bool,
        #[case] reason: &str,
        #[case] class: Class,
    ) {
        let error = failure(&status, site(), logged_in).error;
        assert_eq!((error.reason(), error.class()), (reason, class), "{error}");
        let text = error.to_string();
        assert!(text.contains("Flush of collection default.c1") && text.contains("milvus:19530"), "{text}");
    }

    #[test]
    fn a_connection_that_broke_off_leaves_the_outcome_open_and_a_refusal_does_not() {
        assert!(failure(&Status::unknown("connection reset"), site(), false).outcome_open);
        assert!(!failure(&Status::permission_denied("no"), site(), false).outcome_open);
    }

    #[test]
    fn a_connection_that_was_never_made_leaves_nothing_open() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        let failure = failure(&status, site(), false);
        assert!(!failure.outcome_open);
        assert!(failure.error.to_string().contains("connection refused"), "{}", failure.error);
    }

    #[test]
    fn a_refused_certificate_is_a_setting_and_not_an_outage() {
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let status = Status::from_error(Box::new(ConnectError(Box::new(std::io::Error::other(bad)))));
        let error = failure(&status, site(), false).error;
        assert_eq!((error.reason(), error.class()), ("TLSUnresolved", Class::Configuration), "{error}");
    }
}
