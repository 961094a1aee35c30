//! A namespace of a real API server with the controller at work in it, and a hand that plays the kubelet.
//!
//! The control plane alone runs (API server, controller manager): Jobs get pods, and nobody runs them, so a test says itself
//! what their containers do. The controller acts as a ServiceAccount with exactly the rights of its tables.

use std::{fmt::Debug, sync::OnceLock, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        coordination::v1::Lease,
        core::v1::{Namespace, Pod, Secret},
        events::v1::Event,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::wait::{await_condition, conditions},
};
use milvus_backup_operator::{
    api::{self, MilvusBackup, MilvusRestore},
    controller::{
        Config,
        rbac::{Guard, RBAC, RBAC_OWN_NAMESPACE, Rule},
        run_until,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything the controller or the controller manager should do.
const PATIENCE: Duration = Duration::from_secs(60);
const OPERATOR: &str = "operator";

/// A digest as a runner reports it.
pub const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One namespace, one controller.
pub struct World {
    pub client: Client,
    pub namespace: String,
    pub guard: Guard,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

/// A running controller, apart from a [`World`].
pub struct Operator {
    pub stop: CancellationToken,
    pub ended: JoinHandle<anyhow::Result<()>>,
}

static DEFINITIONS: OnceCell<()> = OnceCell::const_new();

/// What the controllers of all tests log.
const LOG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/controller_world.log");

fn provider() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
        let log = std::sync::Mutex::new(std::fs::File::create(LOG).unwrap());
        let filter = "info,milvus_backup_operator=debug,kube=debug";
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(log).init();
    });
}

pub async fn kube_config() -> kube::Config {
    provider();
    kube::Config::infer().await.expect("KUBECONFIG names an API server")
}

/// The definitions of our kinds and the stand-in for Milvus Operator's, once for the whole program.
async fn definitions(client: &Client) {
    DEFINITIONS
        .get_or_init(async || {
            let all: Api<CustomResourceDefinition> = Api::all(client.clone());
            let stand_in =
                std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/env/cluster/milvus-crd.yaml"));
            let mut texts: Vec<String> = api::crds().unwrap().into_iter().map(|(_, text)| text).collect();
            texts.push(stand_in.unwrap());
            for text in texts {
                let definition: Value = serde_saphyr::from_str(&text).unwrap();
                let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
                let params = PatchParams::apply("test").force();
                all.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
                let served = await_condition(all.clone(), &name, conditions::is_crd_established());
                timeout(PATIENCE, served).await.expect("the definition is served").unwrap();
            }
        })
        .await;
}

fn rules(table: &[Rule]) -> Vec<Value> {
    table
        .iter()
        .map(|(group, resources, verbs)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs}))
        .collect()
}

impl World {
    /// A namespace with a healthy Milvus `prod` and a controller.
    pub async fn new(name: &str) -> World {
        let mut world = World::empty(name).await;
        world.milvus("prod", "Healthy").await;
        world.start().await;
        world
    }

    /// A namespace without a Milvus and without a controller.
    pub async fn empty(name: &str) -> World {
        let client = Client::try_from(kube_config().await).unwrap();
        definitions(&client).await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let unique = format!("{name}-{}", std::process::id());
        let body = json!({
            "metadata": {"name": unique, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
        });
        let namespace = serde_json::from_value(body).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let world = World { client, namespace: unique, guard: Guard::default(), running: None };
        world.grant().await;
        world.account().await;
        world
    }

    /// Pods need the namespace's default ServiceAccount, which the controller manager makes.
    async fn account(&self) {
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = self.all();
        let there = |account: Option<&k8s_openapi::api::core::v1::ServiceAccount>| account.is_some();
        timeout(PATIENCE, await_condition(accounts, "default", there)).await.expect("default account").unwrap();
    }

    async fn grant(&self) {
        for (name, table) in [("watched", RBAC), ("own", RBAC_OWN_NAMESPACE)] {
            let role: Role =
                serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules(table)})).unwrap();
            self.all::<Role>().create(&PostParams::default(), &role).await.unwrap();
            let binding: RoleBinding = serde_json::from_value(json!({
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": self.namespace}]
            }))
            .unwrap();
            self.all::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
        }
    }

    /// The same rights from outside the namespace, which outlive it.
    pub async fn grant_from_outside(&self) {
        let name = &self.namespace;
        let both: Vec<Value> = rules(RBAC).into_iter().chain(rules(RBAC_OWN_NAMESPACE)).collect();
        let role: ClusterRole = serde_json::from_value(json!({"metadata": {"name": name}, "rules": both})).unwrap();
        Api::all(self.client.clone()).create(&PostParams::default(), &role).await.unwrap();
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": self.namespace}]
        }))
        .unwrap();
        Api::all(self.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    }

    /// Starts a controller; `leading` with leader election under that identity.
    pub async fn operator(&self, leading: Option<&str>) -> Operator {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            config: Config,
        }
        let election = leading.is_some().to_string();
        let arguments = [
            "controller",
            "--runner-image=registry.test/runner:1",
            "--watch-namespaces",
            &self.namespace,
            "--namespace",
            &self.namespace,
            "--identity",
            leading.unwrap_or("test"),
            "--leader-election",
            &election,
            "--lease-seconds=3",
            "--listen=127.0.0.1:0",
        ];
        let Flags { config } = clap::Parser::parse_from(arguments);
        let mut cluster = kube_config().await;
        cluster.auth_info.impersonate = Some(format!("system:serviceaccount:{}:{OPERATOR}", self.namespace));
        let stop = CancellationToken::new();
        let ended = tokio::spawn(run_until(config, cluster, self.guard.clone(), stop.clone()));
        Operator { stop, ended }
    }

    /// Starts the controller.
    pub async fn start(&mut self) {
        let Operator { stop, ended } = self.operator(None).await;
        self.running = Some((stop, ended));
    }

    /// The last lines of all controllers' log that are of this namespace or of none.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(LOG).unwrap_or_default();
        let mine = |line: &&str| line.contains(&self.namespace) || !line.contains("namespace=");
        let mut lines: Vec<&str> = text.lines().rev().filter(mine).take(40).collect();
        lines.reverse();
        lines.join("\n")
    }

    fn works(&self) -> bool {
        self.running.as_ref().is_some_and(|(_, ended)| !ended.is_finished())
    }

    /// Kills the controller where it stands, as a SIGKILL would.
    pub fn kill(&mut self) {
        let (_, ended) = self.running.take().expect("the controller runs");
        ended.abort();
    }

    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn milvuses(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("milvus.io", "v1beta1", "Milvus");
        Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &ApiResource::from_gvk_with_plural(&kind, "milvuses"),
        )
    }

    /// A Milvus in this state, with its Service.
    pub async fn milvus(&self, name: &str, state: &str) -> DynamicObject {
        let milvus = json!({
            "apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "metadata": {"name": name},
            "spec": {
                "mode": "standalone",
                "dependencies": {"storage": {
                    "type": "MinIO", "external": true, "endpoint": "minio:9000", "secretRef": format!("{name}-s3")
                }}
            }
        });
        let milvuses = self.milvuses();
        let params = PatchParams::apply("test").force();
        let made = milvuses.patch(name, &params, &Patch::Apply(&milvus)).await.unwrap();
        let status = json!({
            "apiVersion": "milvus.io/v1beta1", "kind": "Milvus",
            "status": {"status": state, "observedGeneration": made.metadata.generation, "conditions": [
                {"type": "MilvusReady", "status": if state == "Healthy" {"True"} else {"False"}}
            ]}
        });
        milvuses.patch_status(name, &params, &Patch::Apply(&status)).await.unwrap();
        let service: k8s_openapi::api::core::v1::Service = serde_json::from_value(json!({
            "metadata": {"name": format!("{name}-milvus"), "ownerReferences": [{
                "apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "name": name, "uid": made.uid().unwrap(),
                "controller": true
            }]},
            "spec": {"ports": [{"name": "milvus", "port": 19530}]}
        }))
        .unwrap();
        let services = self.all::<k8s_openapi::api::core::v1::Service>();
        if services.get_opt(&format!("{name}-milvus")).await.unwrap().is_none() {
            services.create(&PostParams::default(), &service).await.unwrap();
        }
        made
    }

    pub async fn create<K>(&self, body: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let object: K = serde_json::from_value(body).unwrap();
        self.all().create(&PostParams::default(), &object).await.unwrap()
    }

    /// A backup of `prod` with these fields of its spec.
    pub async fn backup(&self, name: &str, mut spec: Value) -> MilvusBackup {
        if spec.get("source").is_none() {
            spec["source"] = json!({"milvusRef": {"name": "prod"}});
        }
        self.create(json!({
            "apiVersion": api::API_VERSION, "kind": "MilvusBackup", "metadata": {"name": name}, "spec": spec
        }))
        .await
    }

    /// A restore with this spec.
    pub async fn restore(&self, name: &str, spec: Value) -> MilvusRestore {
        self.create(json!({
            "apiVersion": api::API_VERSION, "kind": "MilvusRestore", "metadata": {"name": name}, "spec": spec
        }))
        .await
    }

    pub async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.all::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn set_status<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.all::<K>().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Deletes an object; the garbage collector may have been faster.
    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        match self.all::<K>().delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other.unwrap()),
        }
    }

    /// Waits until an object is as it should be; on failure the object is shown.
    pub async fn until<K>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + Send
            + 'static,
    {
        let condition = |object: Option<&K>| object.is_some_and(&holds);
        match timeout(PATIENCE, await_condition(self.all(), name, condition)).await {
            Ok(found) => found.unwrap().expect("the condition saw it"),
            Err(_) => {
                let object = self.all::<K>().get_opt(name).await.unwrap();
                let all =
                    serde_json::to_string(&self.all::<MilvusBackup>().list(&ListParams::default()).await.unwrap());
                panic!(
                    "{name} never came to {what}; the controller {}: {}\nbackups: {}\nlog:\n{}",
                    if self.works() { "works" } else { "has ended" },
                    serde_json::to_string_pretty(&object).unwrap(),
                    all.unwrap(),
                    self.log()
                );
            }
        }
    }

    /// Waits until an object is gone.
    pub async fn gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + Send
            + 'static,
    {
        let condition = |object: Option<&K>| object.is_none();
        if timeout(PATIENCE, await_condition(self.all::<K>(), name, condition)).await.is_err() {
            let object = self.all::<K>().get_opt(name).await.unwrap();
            panic!("{name} never went: {}", serde_json::to_string_pretty(&object).unwrap());
        }
    }

    /// The pod of a Job, once it is there.
    pub async fn pod(&self, job: &str) -> Pod {
        self.until::<Job>(job, "being there", |_| true).await;
        let params = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
        let pods = self.all::<Pod>();
        let found = async {
            loop {
                if let Some(pod) = pods.list(&params).await.unwrap().items.pop() {
                    return pod;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("Job {job} got no pod"))
    }

    /// Plays the kubelet: what the container of a Job's pod does.
    pub async fn container(&self, job: &str, phase: &str, state: Value) {
        let pod = self.pod(job).await;
        let status = json!({"status": {
            "phase": phase,
            "containerStatuses": [{
                "name": "runner", "image": "i", "imageID": "i", "ready": phase == "Running", "restartCount": 0, "state": state
            }]
        }});
        self.all::<Pod>().patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    pub async fn runs(&self, job: &str) {
        let started = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap();
        self.container(job, "Running", json!({"running": {"startedAt": started}})).await;
    }

    pub async fn ends(&self, job: &str, code: i32, message: &str) {
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap();
        let state = json!({"terminated": {
            "exitCode": code, "message": message, "reason": if code == 0 {"Completed"} else {"Error"},
            "startedAt": now, "finishedAt": now
        }});
        self.container(job, if code == 0 { "Succeeded" } else { "Failed" }, state).await;
    }

    /// The container ends well and proves it.
    pub async fn succeeds(&self, job: &str) {
        let report = json!({
            "version": 1, "ok": true, "reason": "Completed", "message": "all done", "manifestDigest": DIGEST,
            "summary": {"sizeBytes": 2048, "collections": 2}
        });
        self.ends(job, 0, &report.to_string()).await;
    }

    /// Reasons of the Events about an object, once `wanted` is among them.
    pub async fn told(&self, name: &str, wanted: &str) -> Vec<String> {
        let events = self.all::<Event>();
        let found = async {
            loop {
                let all = events.list(&ListParams::default()).await.unwrap();
                let about =
                    |event: &Event| event.regarding.as_ref().is_some_and(|who| who.name.as_deref() == Some(name));
                let reasons: Vec<String> =
                    all.items.iter().filter(|event| about(event)).filter_map(|event| event.reason.clone()).collect();
                if reasons.iter().any(|reason| reason == wanted) {
                    return reasons;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no Event {wanted} about {name}"))
    }

    pub async fn leases(&self) -> Vec<Lease> {
        self.all::<Lease>().list(&ListParams::default()).await.unwrap().items
    }

    pub async fn secret(&self, name: &str) -> Secret {
        self.create(json!({"metadata": {"name": name}, "stringData": {"accesskey": "a", "secretkey": "s"}})).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.running {
            stop.cancel();
        }
    }
}

/// Status, reason and message of a condition of any of our objects.
pub fn condition<K: Serialize>(object: &K, type_: &str) -> (String, String, String) {
    let value = serde_json::to_value(object).unwrap();
    let conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Whether `Succeeded` has this reason.
pub fn stage<K: Serialize>(reason: &str) -> impl Fn(&K) -> bool {
    move |object| condition(object, "Succeeded").1 == reason
}

/// First eight characters of an object's UID.
pub fn uid8<K: Resource<DynamicType = ()>>(object: &K) -> String {
    milvus_backup_operator::controller::job::uid8(object.meta().uid.as_deref().unwrap_or_default())
}
