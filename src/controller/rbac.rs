//! What the controller may do, and a guard that lets no other request leave the process.
//!
//! The tables are the single source: the chart's roles are compared with them by a test, and [`Guard`] refuses every
//! request that is not in them, so code that needs more fails in its first test instead of at a user's cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::http;
use futures::{
    TryFutureExt as _,
    future::{Either, ErrInto, Ready, ready},
};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

/// One line of a role: API group, resources, verbs.
pub type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Rights in every watched namespace (a ClusterRole, or one Role for each).
pub const RBAC: &[Rule] = &[
    ("backup.milvus.io", &["milvusbackups"], &["get", "list", "watch", "patch", "delete"]),
    ("backup.milvus.io", &["milvusrestores"], &["get", "list", "watch"]),
    ("backup.milvus.io", &["milvusbackuplocations"], &["get", "list", "watch"]),
    (
        "backup.milvus.io",
        &["milvusbackups/status", "milvusrestores/status", "milvusbackuplocations/status"],
        &["patch"],
    ),
    ("milvus.io", &["milvuses"], &["get"]),
    ("", &["services"], &["get"]),
    ("batch", &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
    ("", &["pods"], &["list"]),
    ("", &["pods/log"], &["get"]),
    ("events.k8s.io", &["events"], &["create", "patch"]),
];

/// Rights in the controller's own namespace: the leader's Lease and one per Milvus with a run.
pub const RBAC_OWN_NAMESPACE: &[Rule] = &[("coordination.k8s.io", &["leases"], &["get", "create", "update", "delete"])];

/// One right: what an API server checks of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name, with the subresource behind a slash.
    pub resource: String,
    /// Verb.
    pub verb: &'static str,
}

impl Right {
    /// The right a request to the API server needs; `None` for paths that are no resource (`/version`).
    pub fn of(method: &http::Method, uri: &http::Uri) -> Option<Right> {
        let mut parts = uri.path().trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        let _version = parts.next()?;
        let mut parts: Vec<&str> = parts.collect();
        // `namespaces/<name>/<resource>` is a scope; `namespaces/<name>` alone is the object.
        if parts.first() == Some(&"namespaces") && parts.len() > 2 {
            parts.drain(..2);
        }
        let plural = parts.first()?;
        let named = parts.len() > 1;
        let resource = match parts.get(2) {
            Some(sub) => format!("{plural}/{sub}"),
            None => (*plural).to_owned(),
        };
        let watching = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let verb = match *method {
            http::Method::GET if named => "get",
            http::Method::GET if watching => "watch",
            http::Method::GET => "list",
            http::Method::POST => "create",
            http::Method::PUT => "update",
            http::Method::PATCH => "patch",
            http::Method::DELETE if named => "delete",
            http::Method::DELETE => "deletecollection",
            _ => return None,
        };
        Some(Right { group, resource, verb })
    }

    /// Whether one of the tables grants this.
    pub fn granted(&self) -> bool {
        RBAC.iter().chain(RBAC_OWN_NAMESPACE).any(|(group, resources, verbs)| {
            *group == self.group && resources.contains(&self.resource.as_str()) && verbs.contains(&self.verb)
        })
    }
}

/// Refuses requests that no table grants, and remembers which rights were used.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    used: Arc<Mutex<BTreeMap<Right, u64>>>,
}

impl Guard {
    /// The rights used so far, and how often; bounded by the tables' size.
    pub fn used(&self) -> BTreeMap<Right, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(&self, method: &http::Method, uri: &http::Uri) -> Result<(), NotGranted> {
        match Right::of(method, uri) {
            Some(right) if right.granted() => {
                *self.used.lock().unwrap_or_else(PoisonError::into_inner).entry(right).or_default() += 1;
                Ok(())
            }
            right => Err(NotGranted { request: format!("{method} {}", uri.path()), right }),
        }
    }
}

/// A request outside the tables: a defect of the controller, never of the cluster.
#[derive(Debug, thiserror::Error)]
#[error("request {request} needs the right {right:?}, which the controller's role does not have")]
pub struct NotGranted {
    request: String,
    right: Option<Right>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A client's service behind a [`Guard`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, R> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = R>,
    S::Error: Into<BoxError>,
{
    type Response = R;
    type Error = BoxError;
    type Future = Either<ErrInto<S::Future, BoxError>, Ready<Result<R, BoxError>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.guard.check(request.method(), request.uri()) {
            Ok(()) => Either::Left(self.inner.call(request).err_into()),
            Err(error) => Either::Right(ready(Err(error.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(method: http::Method, uri: &str) -> Option<(String, String, &'static str)> {
        Right::of(&method, &uri.parse().unwrap()).map(|right| (right.group, right.resource, right.verb))
    }

    #[test]
    fn rights_are_read_from_method_and_path() {
        use http::Method;
        let of = |group: &str, resource: &str, verb| Some((group.to_owned(), resource.to_owned(), verb));
        assert_eq!(right(Method::GET, "/api/v1/namespaces/a/pods/p/log?tailLines=20"), of("", "pods/log", "get"));
        assert_eq!(right(Method::GET, "/api/v1/namespaces/a/pods?labelSelector=x"), of("", "pods", "list"));
        assert_eq!(right(Method::GET, "/apis/batch/v1/jobs?watch=true&x=y"), of("batch", "jobs", "watch"));
        assert_eq!(right(Method::DELETE, "/apis/batch/v1/namespaces/a/jobs/j"), of("batch", "jobs", "delete"));
        assert_eq!(right(Method::DELETE, "/apis/batch/v1/namespaces/a/jobs"), of("batch", "jobs", "deletecollection"));
        assert_eq!(right(Method::GET, "/api/v1/namespaces/a"), of("", "namespaces", "get"));
        assert_eq!(right(Method::GET, "/version"), None);
    }

    #[test]
    fn secrets_and_config_maps_are_never_granted() {
        for resource in ["secrets", "configmaps"] {
            for verb in ["get", "list", "watch", "create", "delete"] {
                let right = Right { group: String::new(), resource: resource.to_owned(), verb };
                assert!(!right.granted(), "{right:?}");
            }
        }
    }

    #[test]
    fn a_request_outside_the_tables_is_refused_and_named() {
        let guard = Guard::default();
        let error = guard.check(&http::Method::GET, &"/api/v1/namespaces/a/secrets/s".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("secrets"), "{error}");
        assert!(guard.used().is_empty());
        guard.check(&http::Method::GET, &"/apis/batch/v1/namespaces/a/jobs/j".parse().unwrap()).unwrap();
        assert_eq!(guard.used().len(), 1);
    }
}
