//! Every call to the API server, and nothing else: the only file (with the watches' set-up) that makes an `Api`.
//!
//! Each call names the act and the object in its error. Rights: see [`super::rbac`].

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        coordination::v1::Lease,
        core::v1::{Pod, Service},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
    runtime::events::{Event, Recorder},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{API_VERSION, MilvusBackupLocation};

/// Our field manager and the name Events are signed with.
pub const MANAGER: &str = "milvus-backup-operator";
/// Label with the UID of the object a Job, and its pod, belongs to.
pub const RUN_LABEL: &str = "backup.milvus.io/run";
/// Lines of log read to find the last progress line.
const TAIL_LINES: i64 = 60;

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[error("could not {act}: {source}")]
pub struct ClusterError {
    act: String,
    #[source]
    source: Box<kube::Error>,
}

impl ClusterError {
    fn api(&self) -> Option<&kube::core::Status> {
        match self.source.as_ref() {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Somebody else was first.
    pub fn is_conflict(&self) -> bool {
        self.api().is_some_and(|status| status.code == 409)
    }

    /// The object, or its kind, is not there.
    pub fn is_not_found(&self) -> bool {
        self.api().is_some_and(|status| status.code == 404)
    }

    /// A JSON patch whose test failed, or an object the API server calls invalid.
    pub fn is_invalid(&self) -> bool {
        self.api().is_some_and(|status| status.code == 422)
    }

    /// Our credentials are not accepted, or may not do this.
    pub fn is_refused(&self) -> bool {
        self.api().is_some_and(|status| status.code == 401 || status.code == 403)
    }

    /// The namespace admits nothing new because it is being deleted. Read from the refusal itself, so that no right to
    /// read namespaces is needed.
    pub fn namespace_is_terminating(&self) -> bool {
        self.api().is_some_and(|status| status.code == 403 && status.message.contains("is being terminated"))
    }

    /// A quota, a policy or an admission webhook refused the object: the API server's own sentence.
    pub fn refusal(&self) -> Option<&str> {
        let status = self.api()?;
        matches!(status.code, 400 | 403 | 422).then_some(status.message.as_str())
    }
}

trait Act<T> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, ClusterError>;
}

impl<T> Act<T> for Result<T, kube::Error> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, ClusterError> {
        self.map_err(|source| ClusterError { act: act(), source: Box::new(source) })
    }
}

/// What a look-up of a Milvus resource found.
#[derive(Debug, Clone)]
pub enum MilvusLookup {
    /// It is there.
    Found(Box<DynamicObject>),
    /// There is none of that name.
    Absent,
    /// The cluster does not know the kind: Milvus Operator is not installed.
    NoSuchKind,
}

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    recorder: Recorder,
    own_namespace: String,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("own_namespace", &self.own_namespace).finish_non_exhaustive()
    }
}

impl Cluster {
    /// `recorder` is the one of the process: it counts repeated Events. `own_namespace` holds the Leases.
    pub fn new(client: Client, recorder: Recorder, own_namespace: String) -> Cluster {
        Cluster { client, recorder, own_namespace }
    }

    fn in_namespace<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The API of a kind in a scope of [`super::Config::scopes`], for watches.
    pub fn scope<K>(&self, scope: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match scope {
            Some(namespace) => self.in_namespace(namespace),
            None => Api::all(self.client.clone()),
        }
    }

    async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let found = self.in_namespace::<K>(namespace).get_opt(name).await;
        found.act(|| format!("get {} {namespace}/{name}", K::kind(&())))
    }

    /// One of our own objects.
    pub async fn object<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        self.get(namespace, name).await
    }

    /// Whether the kind is served and we may list it.
    pub async fn served<K>(&self, scope: Option<&str>) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api = self.scope::<PartialObjectMeta<K>>(scope);
        let listed = api.list_metadata(&ListParams::default().limit(1)).await;
        listed.act(|| format!("list {}", K::plural(&()))).map(|_| ())
    }

    /// A Milvus resource of Milvus Operator.
    pub async fn milvus(&self, namespace: &str, name: &str) -> Result<MilvusLookup, ClusterError> {
        let kind = GroupVersionKind::gvk("milvus.io", "v1beta1", "Milvus");
        let resource = ApiResource::from_gvk_with_plural(&kind, "milvuses");
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        match api.get(name).await {
            Ok(milvus) => Ok(MilvusLookup::Found(Box::new(milvus))),
            // Of a missing object the answer holds its name, of a missing kind it does not.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
                Ok(if named { MilvusLookup::Absent } else { MilvusLookup::NoSuchKind })
            }
            Err(error) => Err(error).act(|| format!("get Milvus {namespace}/{name}")),
        }
    }

    /// A Service.
    pub async fn service(&self, namespace: &str, name: &str) -> Result<Option<Service>, ClusterError> {
        self.get(namespace, name).await
    }

    /// The locations of a namespace.
    pub async fn locations(&self, namespace: &str) -> Result<Vec<MilvusBackupLocation>, ClusterError> {
        let listed = self.in_namespace::<MilvusBackupLocation>(namespace).list(&ListParams::default()).await;
        listed.act(|| format!("list the MilvusBackupLocations of {namespace}")).map(|list| list.items)
    }

    /// A Job.
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<Job>, ClusterError> {
        self.get(namespace, name).await
    }

    /// The Jobs of one object, whatever their number.
    pub async fn jobs(&self, namespace: &str, uid: &str) -> Result<Vec<Job>, ClusterError> {
        let params = ListParams::default().labels(&format!("{RUN_LABEL}={uid}"));
        let listed = self.in_namespace::<Job>(namespace).list(&params).await;
        listed.act(|| format!("list the Jobs of {uid} in {namespace}")).map(|list| list.items)
    }

    /// The pods of all attempts of one object.
    pub async fn pods(&self, namespace: &str, uid: &str) -> Result<Vec<Pod>, ClusterError> {
        let params = ListParams::default().labels(&format!("{RUN_LABEL}={uid}"));
        let listed = self.in_namespace::<Pod>(namespace).list(&params).await;
        listed.act(|| format!("list the pods of run {uid} in {namespace}")).map(|list| list.items)
    }

    /// The last lines of a pod's log; empty while it has none.
    pub async fn log_tail(&self, namespace: &str, pod: &str) -> Result<String, ClusterError> {
        let params = LogParams { tail_lines: Some(TAIL_LINES), ..LogParams::default() };
        self.in_namespace::<Pod>(namespace)
            .logs(pod, &params)
            .await
            .act(|| format!("read the log of pod {namespace}/{pod}"))
    }

    /// Creates a Job, or leaves an equal one as it is.
    pub async fn apply_job(&self, namespace: &str, job: &Job) -> Result<Job, ClusterError> {
        let name = job.name_any();
        let params = PatchParams::apply(MANAGER).force();
        let applied = self.in_namespace::<Job>(namespace).patch(&name, &params, &Patch::Apply(job)).await;
        applied.act(|| format!("create Job {namespace}/{name}"))
    }

    /// Deletes a Job; its pod gets SIGTERM and its grace period. A missing one is fine.
    pub async fn delete_job(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        match self.in_namespace::<Job>(namespace).delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.act(|| format!("delete Job {namespace}/{name}")).map(|_| ()),
        }
    }

    /// A Lease of our own namespace.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, ClusterError> {
        self.get(&self.own_namespace, name).await
    }

    /// Creates a Lease in our own namespace; a conflict when somebody was first.
    pub async fn create_lease(&self, lease: &Lease) -> Result<Lease, ClusterError> {
        let api = self.in_namespace::<Lease>(&self.own_namespace);
        api.create(&PostParams::default(), lease).await.act(|| format!("create Lease {}", lease.name_any()))
    }

    /// Replaces a Lease of the same resource version; a conflict when somebody was first.
    pub async fn replace_lease(&self, name: &str, lease: &Lease) -> Result<Lease, ClusterError> {
        let api = self.in_namespace::<Lease>(&self.own_namespace);
        api.replace(name, &PostParams::default(), lease).await.act(|| format!("write Lease {name}"))
    }

    /// Deletes exactly this version of a Lease.
    pub async fn delete_lease(&self, lease: &Lease) -> Result<(), ClusterError> {
        let name = lease.name_any();
        let preconditions = Preconditions { resource_version: lease.resource_version(), uid: lease.uid() };
        let params = DeleteParams::default().preconditions(preconditions);
        match self.in_namespace::<Lease>(&self.own_namespace).delete(&name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.act(|| format!("delete Lease {name}")).map(|_| ()),
        }
    }

    /// Writes the whole status of one of our objects.
    pub async fn write_status<K>(&self, namespace: &str, name: &str, status: &Value) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let kind = K::kind(&());
        let body = json!({
            "apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "status": status
        });
        let params = PatchParams::apply(MANAGER).force();
        let api = self.in_namespace::<PartialObjectMeta<K>>(namespace);
        let written = api.patch_subresource("status", name, &params, &Patch::Apply(body)).await;
        written.act(|| format!("write the status of {kind} {namespace}/{name}")).map(|_| ())
    }

    /// Changes the finalizers by a JSON patch that tests what it found.
    pub async fn patch_finalizers<K>(&self, namespace: &str, name: &str, patch: &Value) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let act = || format!("change the finalizers of {} {namespace}/{name}", K::kind(&()));
        let patch = match serde_json::from_value(patch.clone()) {
            Ok(patch) => Patch::<()>::Json(patch),
            Err(error) => return Err(kube::Error::SerdeError(error)).act(act),
        };
        let api = self.in_namespace::<PartialObjectMeta<K>>(namespace);
        api.patch(name, &PatchParams::default(), &patch).await.act(act).map(|_| ())
    }

    /// Deletes exactly this one of our objects.
    pub async fn delete_object<K>(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let preconditions = Preconditions { resource_version: None, uid: Some(uid.to_owned()) };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.in_namespace::<K>(namespace).delete(name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.act(|| format!("delete {} {namespace}/{name}", K::kind(&()))).map(|_| ()),
        }
    }

    /// Tells people. A failure is logged and forgotten: an Event is never worth failing a reconcile.
    pub async fn tell(&self, event: &Event, about: &k8s_openapi::api::core::v1::ObjectReference) {
        if let Err(error) = self.recorder.publish(event, about).await {
            tracing::warn!(reason = event.reason, object = about.name, "could not write an Event: {error}");
        }
    }
}
