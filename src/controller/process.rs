//! The controller process: start, lead, reconcile, stop.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Client, Resource,
    client::ClientBuilder,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller,
        controller::{self, Action},
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    bounded::Bounded,
    cluster::{Cluster, ClusterError, MANAGER},
    context::{Context, Stores},
    health::Health,
    job::KIND_LABEL,
    leader::Candidate,
    location,
    metrics::Metrics,
    rbac::Guard,
    reconcile::{self, ReconcileError},
    server::{self, Shown},
};
use crate::api::{MilvusBackup, MilvusBackupLocation, MilvusRestore};

/// Watches end and begin anew after this, below the idle limit of common load balancers (240 s).
const WATCH_SECONDS: u32 = 200;
/// Time for running passes to end after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long missing rights are waited for at the start.
const RIGHTS_LIMIT: Duration = Duration::from_secs(30);
const DEFINITIONS: &str = "custom resource definitions";

/// Runs the controller until SIGTERM or SIGINT. An error means that the process has to be started anew: the lead was lost, the
/// rights are missing, a loop ended.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let cluster = kube::Config::infer().await.context("found no way to the API server")?;
    let signals = stop.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        signalled(&signals).await?;
        signals.cancel();
        Ok::<_, anyhow::Error>(())
    });
    let worked = run_until(config, cluster, Guard::default(), stop.clone()).await;
    stop.cancel();
    match tasks.join_next().await {
        Some(Ok(Err(error))) => worked.and(Err(error)),
        _ => worked,
    }
}

/// Runs the controller against one API server until `stop`; `guard` remembers which rights it used.
pub async fn run_until(
    config: Config,
    cluster: kube::Config,
    guard: Guard,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let until = stop.clone();
    tasks.spawn(async move {
        until.cancelled().await;
        Ok(())
    });
    let worked = work(&config, cluster, &guard, &stop, &mut tasks).await;
    stop.cancel();
    drain(&mut tasks).await;
    worked
}

/// Lets running passes end.
async fn drain(tasks: &mut JoinSet<anyhow::Result<()>>) {
    let ended = tokio::time::timeout(STOP_LIMIT, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("passes still ran {STOP_LIMIT:?} after the stop; the next start goes on from there");
    }
}

async fn signalled(stop: &CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM"),
        _ = interrupt.recv() => tracing::info!("SIGINT"),
        () = stop.cancelled() => {}
    }
    Ok(())
}

/// A client that sends only what the controller's role grants, and waits for no answer for ever.
fn guarded_client(config: kube::Config, guard: &Guard) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from(config).context("could not set up the client")?;
    Ok(builder.with_layer(guard).with_layer(&Bounded).build())
}

async fn work(
    config: &Config,
    cluster: kube::Config,
    guard: &Guard,
    stop: &CancellationToken,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let client = guarded_client(cluster, guard)?;
    let identity = identity(config);
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(identity.clone()) };
    let cluster = Cluster::new(client.clone(), Recorder::new(client, reporter), config.namespace.clone());
    let health = Arc::new(Health::new(Timestamp::now(), [DEFINITIONS.to_owned()]));
    let metrics: Arc<Metrics> = Arc::default();
    let shown = Shown { health: Arc::clone(&health), metrics: Arc::clone(&metrics) };
    let (listen, until) = (config.listen, stop.clone());
    tasks.spawn(async move {
        server::serve(listen, shown, until).await.with_context(|| format!("could not serve on {listen}"))
    });
    let (turning, until) = (Arc::clone(&health), stop.clone());
    tasks.spawn(async move {
        while !until.is_cancelled() {
            turning.turned(Timestamp::now());
            tokio::select! { () = sleep(Duration::from_secs(5)) => {}, () = until.cancelled() => {} }
        }
        Ok(())
    });
    // The process ends when one of its tasks does, or at a signal.
    tokio::select! {
        served = definitions(&cluster, config) => served?,
        ended = first_ended(tasks) => return ended,
    }
    health.done(DEFINITIONS);
    let mut candidate = config.leader_election.then(|| {
        let ttl = Duration::from_secs(u64::from(config.lease_seconds));
        Candidate::new(cluster.clone(), config.lease_name.clone(), identity, ttl)
    });
    if let Some(candidate) = &mut candidate {
        tokio::select! {
            () = candidate.elected() => tracing::info!(lease = config.lease_name, "leading"),
            ended = first_ended(tasks) => return ended,
        }
    }
    metrics.leader.set(1);
    lead(config, &cluster, &health, &metrics, stop, tasks);
    let ended = tokio::select! {
        lost = keep(&mut candidate) => Err(lost),
        ended = first_ended(tasks) => ended,
    };
    metrics.leader.set(0);
    stop.cancel();
    if let Some(candidate) = &candidate {
        // Passes end before another replica may begin.
        drain(tasks).await;
        if ended.is_ok()
            && let Err(error) = candidate.resign().await
        {
            tracing::warn!("could not give the leader's Lease back: {error}");
        }
    }
    ended
}

async fn keep(candidate: &mut Option<Candidate>) -> anyhow::Error {
    match candidate {
        Some(candidate) => candidate.keep().await.into(),
        None => std::future::pending().await,
    }
}

/// The first task that ends ends the process: the signal's in order, any other as an error of its own.
async fn first_ended(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(anyhow!("a task ended badly: {error}")),
        None => Err(anyhow!("no task runs any more")),
    }
}

fn identity(config: &Config) -> String {
    let named = config.identity.clone().filter(|name| !name.is_empty());
    let host = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    named.or_else(host).unwrap_or_else(|| format!("process-{}", std::process::id()))
}

/// Waits until the API server serves our kinds. Rights that are still missing after [`RIGHTS_LIMIT`] are an error; a role that was
/// made a moment ago takes effect a moment later.
async fn definitions(cluster: &Cluster, config: &Config) -> anyhow::Result<()> {
    for scope in config.scopes() {
        let scope = scope.as_deref();
        served::<MilvusBackup>(cluster, scope).await?;
        served::<MilvusRestore>(cluster, scope).await?;
        served::<MilvusBackupLocation>(cluster, scope).await?;
    }
    Ok(())
}

async fn served<K>(cluster: &Cluster, scope: Option<&str>) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let mut pause = Duration::from_millis(250);
    let started = Instant::now();
    loop {
        let answer = tokio::time::timeout(Duration::from_secs(15), cluster.served::<K>(scope)).await;
        let why = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if error.is_refused() && started.elapsed() > RIGHTS_LIMIT => return Err(refused(error)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        tracing::warn!(kind = %K::kind(&()), "waiting for its definition: {why}");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

fn refused(error: ClusterError) -> anyhow::Error {
    anyhow::Error::new(error).context("the operator's ServiceAccount lacks rights: install its role")
}

/// Starts the three controllers in every scope.
fn lead(
    config: &Config,
    cluster: &Cluster,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) {
    let (freed, moved) = watch::channel(0);
    let mut stores = Stores::default();
    let mut backups = Vec::new();
    let mut restores = Vec::new();
    let mut locations = Vec::new();
    for scope in config.scopes() {
        let scope = scope.as_deref();
        let (backup, restore) =
            (controller::<MilvusBackup>(cluster, scope, config, stop), controller(cluster, scope, config, stop));
        stores.backups.push(backup.store());
        stores.restores.push(restore.store());
        backups.push(backup.reconcile_all_on(changes(moved.clone())));
        restores.push(restore.reconcile_all_on(changes(moved.clone())));
        locations.push(controller::<MilvusBackupLocation>(cluster, scope, config, stop));
    }
    let context = Arc::new(Context::new(cluster.clone(), config.clone(), Arc::clone(metrics), stores, freed));
    let sweeping = Arc::clone(&context);
    let until = stop.clone();
    tasks.spawn(async move {
        while !until.is_cancelled() {
            tokio::select! { () = sleep(Duration::from_secs(5)) => sweeping.sweep().await, () = until.cancelled() => {} }
        }
        Ok(())
    });
    for controller in backups {
        follow(controller, reconcile::run::<MilvusBackup>, Context::listed, &context, health, stop, tasks);
    }
    for controller in restores {
        follow(controller, reconcile::run::<MilvusRestore>, Context::listed, &context, health, stop, tasks);
    }
    for controller in locations {
        follow(controller, location::run, |_| (), &context, health, stop, tasks);
    }
}

/// One item each time a Milvus becomes free.
fn changes(freed: watch::Receiver<u64>) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(freed, async |mut freed| match freed.changed().await {
        Ok(()) => Some(((), freed)),
        Err(_) => std::future::pending().await,
    })
}

fn controller<K>(
    cluster: &Cluster,
    scope: Option<&str>,
    config: &Config,
    stop: &CancellationToken,
) -> Controller<DeserializeGuard<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let watching = || watcher::Config::default().timeout(WATCH_SECONDS);
    // Of Jobs only the metadata is kept in flight; which Job it was is read when it is needed.
    let jobs = watching().labels(&format!("{KIND_LABEL}={}", K::kind(&())));
    Controller::new(cluster.scope::<DeserializeGuard<K>>(scope), watching())
        .owns(cluster.scope::<PartialObjectMeta<Job>>(scope), jobs)
        .with_config(controller::Config::default().concurrency(config.concurrency))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
}

/// Runs a controller as one of the process's tasks; `listed` is told once its store holds the first list.
fn follow<K, F, R>(
    controller: Controller<DeserializeGuard<K>>,
    reconciler: F,
    listed: fn(&Context),
    context: &Arc<Context>,
    health: &Arc<Health>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
    F: Fn(Arc<DeserializeGuard<K>>, Arc<Context>) -> R + Send + 'static,
    R: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
{
    let name = format!("first list of {}", K::kind(&()));
    health.wait_for(name.clone());
    let store: Store<DeserializeGuard<K>> = controller.store();
    let (health, context, stop) = (Arc::clone(health), Arc::clone(context), stop.clone());
    tasks.spawn(async move {
        let passes = controller.run(reconciler, reconcile::after_error::<DeserializeGuard<K>>, Arc::clone(&context));
        let first = async {
            if store.wait_until_ready().await.is_ok() {
                health.done(&name);
                listed(&context);
            }
            std::future::pending::<()>().await;
        };
        let passes = passes.for_each(|pass| {
            note(pass, &health);
            std::future::ready(())
        });
        tokio::select! { () = passes => {}, () = first => {} }
        if stop.is_cancelled() { Ok(()) } else { Err(anyhow!("the watch of {} ended", K::kind(&()))) }
    });
}

type PassResult<K> =
    Result<(ObjectRef<DeserializeGuard<K>>, Action), controller::Error<ReconcileError, watcher::Error>>;

fn note<K>(pass: PassResult<K>, health: &Health)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match pass {
        // The object went before its turn came; or the pass failed and was logged by the error policy.
        Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(error) => {
            health.watch_failed(Timestamp::now());
            tracing::warn!(kind = %K::kind(&()), "watch: {error}");
        }
    }
}
