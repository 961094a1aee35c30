//! Every call to the API server, each with its longest time and an error that names act and object. Rights: [`super::rights`].

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::compat::errors::OperationError;
use crate::exit::Class;

/// Longest time of one call that is no watch.
const CALL_TIME: Duration = Duration::from_secs(30);
/// Objects in one page of a list.
const PAGE: u32 = 250;
/// Pages that are looked through; a namespace with more objects of a kind than this many pages is not searched to its end.
const PAGES: usize = 80;
/// Failures of a watch, one after another, after which it is given up.
const WATCH_FAILURES: usize = 12;

/// One of our kinds.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + Unpin
    + 'static
{
}

impl Kind for crate::api::MilvusBackup {}
impl Kind for crate::api::MilvusRestore {}

/// The objects of one namespace.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespace: String,
}

impl Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Objects {
    /// Through this client.
    pub fn new(client: Client, namespace: &str) -> Objects {
        Objects { client, namespace: namespace.to_owned() }
    }

    fn all<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn named<K: Kind>(&self, act: &str, name: &str) -> String {
        format!("{act} {} {}/{name}", K::kind(&()), self.namespace)
    }

    /// An object, or none.
    ///
    /// # Errors
    /// The API server's.
    pub async fn get<K: Kind>(&self, name: &str) -> Result<Option<K>, OperationError> {
        call(&self.named::<K>("read", name), self.all::<K>().get_opt(name)).await
    }

    /// Creates an object; none where one of its name is there.
    ///
    /// # Errors
    /// The API server's.
    pub async fn create<K: Kind>(&self, name: &str, object: &K) -> Result<Option<K>, OperationError> {
        let created = async {
            match self.all::<K>().create(&PostParams::default(), object).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
                other => other.map(Some),
            }
        };
        call(&self.named::<K>("create", name), created).await
    }

    /// Looks at every object that a field selector selects, page by page.
    ///
    /// # Errors
    /// The API server's; more objects than are looked through.
    pub async fn each<K: Kind>(&self, fields: &str, mut look: impl FnMut(K) + Send) -> Result<(), OperationError> {
        let act = format!("list {} in {}", K::plural(&()), self.namespace);
        let mut params = ListParams::default().fields(fields).limit(PAGE);
        for _ in 0..PAGES {
            let page = call(&act, self.all::<K>().list(&params)).await?;
            page.items.into_iter().for_each(&mut look);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
        let bound = PAGES * usize::try_from(PAGE).unwrap_or_default();
        Err(OperationError::failed(format!("could not {act}: there are more than {bound}; delete what is not needed")))
    }

    /// Changes an object by a merge patch; none where it is gone or was changed by somebody else since it was read.
    ///
    /// # Errors
    /// The API server's.
    pub async fn merge<K: Kind>(&self, name: &str, patch: &Value) -> Result<Option<K>, OperationError> {
        let patched = async {
            match self.all::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(None),
                other => other.map(Some),
            }
        };
        call(&self.named::<K>("change", name), patched).await
    }

    /// Deletes exactly this object; one that is gone is deleted already.
    ///
    /// # Errors
    /// The API server's.
    pub async fn delete<K: Kind>(&self, name: &str, uid: &str) -> Result<(), OperationError> {
        let preconditions = Preconditions { resource_version: None, uid: Some(uid.to_owned()) };
        let params = DeleteParams::background().preconditions(preconditions);
        let deleted = async {
            match self.all::<K>().delete(name, &params).await {
                // Another object has the name by now: the one that was meant is gone.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
                other => other.map(|_| ()),
            }
        };
        call(&self.named::<K>("delete", name), deleted).await
    }

    /// Waits on a watch until `holds`, and answers the object; none once it is gone. Ends when it is dropped.
    ///
    /// # Errors
    /// The rights are missing, or the watch failed again and again.
    pub async fn until<K: Kind>(
        &self,
        name: &str,
        uid: &str,
        holds: impl Fn(&K) -> bool + Send,
    ) -> Result<Option<K>, OperationError> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = std::pin::pin!(watcher(self.all::<K>(), config).default_backoff());
        let (mut listed, mut failures) = (false, 0);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = false,
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    failures = 0;
                    listed = true;
                    if object.meta().uid.as_deref() != Some(uid) {
                        return Ok(None);
                    }
                    if holds(&object) {
                        return Ok(Some(object));
                    }
                }
                Ok(Event::InitDone) if listed => {}
                Ok(Event::InitDone | Event::Delete(_)) => return Ok(None),
                Err(error) => {
                    failures += 1;
                    let error = refused(&self.named::<K>("watch", name), error_of(&error), &error.to_string());
                    if failures >= WATCH_FAILURES || error.class() == Class::Configuration {
                        return Err(error);
                    }
                }
            }
        }
        let message = format!("could not {}: the watch ended", self.named::<K>("watch", name));
        Err(OperationError::Failed { class: Class::Retry, message })
    }

    /// The Milvus resource, or none.
    ///
    /// # Errors
    /// The API server's.
    pub async fn milvus(&self, name: &str) -> Result<Option<DynamicObject>, OperationError> {
        let kind = GroupVersionKind::gvk("milvus.io", "v1beta1", "Milvus");
        let resource = ApiResource::from_gvk_with_plural(&kind, "milvuses");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        call(&format!("read Milvus {}/{name}", self.namespace), api.get_opt(name)).await
    }

    /// Version of the API server.
    ///
    /// # Errors
    /// The API server's.
    pub async fn version(&self) -> Result<String, OperationError> {
        Ok(call("reach the API server", self.client.apiserver_version()).await?.git_version)
    }

    /// Whether the kind is served and may be listed.
    ///
    /// # Errors
    /// The API server's; it names what is missing.
    pub async fn is_served<K: Kind>(&self) -> Result<(), OperationError> {
        let act = format!("list {} in {}", K::plural(&()), self.namespace);
        call(&act, self.all::<K>().list(&ListParams::default().limit(1))).await.map(|_| ())
    }
}

/// A call with its longest time.
async fn call<T>(act: &str, made: impl Future<Output = kube::Result<T>>) -> Result<T, OperationError> {
    match tokio::time::timeout(CALL_TIME, made).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let status = match &error {
                kube::Error::Api(status) => Some(status.as_ref()),
                _ => None,
            };
            Err(refused(act, status, &error.to_string()))
        }
        Err(_) => {
            let message = format!("could not {act}: no answer from the API server in {} s", CALL_TIME.as_secs());
            Err(OperationError::Failed { class: Class::Retry, message })
        }
    }
}

/// The API server's own word in a failure of a watch.
fn error_of(error: &watcher::Error) -> Option<&kube::core::Status> {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => match error {
            kube::Error::Api(status) => Some(status),
            _ => None,
        },
        WatchError(status) => Some(status),
        NoResourceVersion => None,
    }
}

/// What a client is told of a failed call.
fn refused(act: &str, status: Option<&kube::core::Status>, error: &str) -> OperationError {
    let Some(status) = status else {
        return OperationError::Failed { class: Class::Retry, message: format!("could not {act}: {error}") };
    };
    let said = &status.message;
    match status.code {
        400 | 422 => OperationError::Parameter(format!("could not {act}: {said}")),
        401 | 403 => {
            OperationError::failed(format!("could not {act}: {said}; give the server's ServiceAccount this right"))
        }
        404 => OperationError::failed(format!(
            "could not {act}: the cluster does not know the kind; install the operator's custom resource definitions"
        )),
        _ => OperationError::Failed { class: Class::Retry, message: format!("could not {act}: {said}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::wire::code;

    fn said(code: u16) -> OperationError {
        let status = kube::core::Status { code, message: "why".into(), ..kube::core::Status::default() };
        refused("create MilvusBackup ns/b", Some(&status), "")
    }

    #[test]
    fn a_refusal_names_the_act_and_whose_turn_it_is() {
        assert_eq!(said(422).code(), code::PARAMETER);
        assert_eq!(said(403).class(), Class::Configuration);
        assert!(said(403).message().contains("create MilvusBackup ns/b: why; give"), "{}", said(403));
        assert!(said(404).message().contains("custom resource definitions"));
        assert_eq!(said(500).class(), Class::Retry);
        assert_eq!(refused("a", None, "no route").class(), Class::Retry);
    }
}
