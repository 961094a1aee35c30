//! The routes, carried out by objects: made, watched, read, deleted. Nothing is kept here, so every replica answers the same.

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::Scope;
use super::names::{backup_answers_to, backup_has_id, backup_id, object_name, restore_has_id, restore_id};
use super::objects::{Kind, Objects};
use super::order::{self, Ground};
use super::show::{self, Standing};
use crate::api::{DeletionPolicy, FINALIZER, MilvusBackup, MilvusRestore};
use crate::compat::errors::OperationError;
use crate::compat::limits::Limits;
use crate::compat::service::Service;
use crate::compat::translate::{self, valid_id};
use crate::compat::wire::{BackupBrief, BackupSummary, CreateRequest, RestoreRequest, RestoreTask, StoppedTask};
use crate::exit::Class;
use crate::local::tasks::default_name;

/// Tries to change an object that others change at the same time.
const CHANGES: usize = 5;

/// The API of one Milvus, by its objects.
#[derive(Debug)]
pub struct ClusterService {
    objects: Objects,
    scope: Scope,
    limits: Limits,
    /// Requests that may wait for the end of a run; and, apart from them, for that of a deletion. Without a bound they would
    /// take every turn of the server.
    waits: Semaphore,
    deletions: Semaphore,
    stopping: CancellationToken,
}

impl ClusterService {
    /// Through this client.
    pub fn new(client: kube::Client, scope: Scope, limits: Limits) -> ClusterService {
        let objects = Objects::new(client, &scope.namespace);
        let (waits, deletions) = (Semaphore::new(limits.tasks), Semaphore::new(limits.tasks));
        ClusterService { objects, scope, limits, waits, deletions, stopping: CancellationToken::new() }
    }

    fn is_ours(&self, backup: &MilvusBackup) -> bool {
        backup.spec.source.milvus_ref.as_ref().is_some_and(|milvus| milvus.name == self.scope.milvus)
    }

    fn our_backups(&self) -> String {
        format!("spec.source.milvusRef.name={}", self.scope.milvus)
    }

    fn our_restores(&self) -> String {
        format!("spec.target.milvusRef.name={}", self.scope.milvus)
    }

    /// The backup that answers best to a name; of equals the youngest.
    async fn named(&self, name: &str) -> Result<Option<MilvusBackup>, OperationError> {
        let made_here = self.objects.get::<MilvusBackup>(&object_name(&self.scope.milvus, name)).await?;
        let made_here = made_here.filter(|backup| self.is_ours(backup) && backup_answers_to(backup, name) == Some(3));
        if made_here.is_some() {
            return Ok(made_here);
        }
        self.best_backup(|backup| backup_answers_to(backup, name)).await
    }

    async fn with_id(&self, id: &str) -> Result<Option<MilvusBackup>, OperationError> {
        self.best_backup(|backup| backup_has_id(backup, id).then_some(1)).await
    }

    async fn best_backup(
        &self,
        rank: impl Fn(&MilvusBackup) -> Option<u8> + Send + Sync,
    ) -> Result<Option<MilvusBackup>, OperationError> {
        let mut best: Option<((u8, Option<Time>), MilvusBackup)> = None;
        let look = |backup: MilvusBackup| {
            let Some(rank) = rank(&backup) else { return };
            let key = (rank, backup.creation_timestamp());
            if best.as_ref().is_none_or(|(there, _)| *there < key) {
                best = Some((key, backup));
            }
        };
        self.objects.each(&self.our_backups(), look).await?;
        Ok(best.map(|(_, backup)| backup))
    }

    async fn restore_with_id(&self, id: &str) -> Result<Option<MilvusRestore>, OperationError> {
        let made_here = self.objects.get::<MilvusRestore>(&object_name(&self.scope.milvus, id)).await?;
        if let Some(restore) = made_here.filter(|restore| restore_has_id(restore, id)) {
            return Ok(Some(restore));
        }
        let mut found = None;
        let look = |restore: MilvusRestore| {
            if restore_has_id(&restore, id) {
                found = Some(restore);
            }
        };
        self.objects.each(&self.our_restores(), look).await?;
        Ok(found)
    }

    /// Waits for the end of a run, or of this server.
    async fn ended<K: Kind>(
        &self,
        object: &K,
        standing: impl Fn(&K) -> Standing + Send + Sync,
    ) -> Result<Option<K>, OperationError> {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        tokio::select! {
            ended = self.objects.until::<K>(&name, &uid, |object| standing(object).ended()) => ended,
            () = self.stopping.cancelled() => Err(stopping(&name)),
        }
    }

    /// Sets `cancel`, and waits a while for the end; answers the state it came to.
    async fn cancel<K: Kind>(
        &self,
        id: &str,
        object: &K,
        standing: impl Fn(&K) -> Standing + Send + Sync + Copy,
    ) -> Result<StoppedTask, OperationError> {
        if standing(object).ended() {
            return Err(OperationError::failed(format!("task {id} has ended already")));
        }
        let patch = json!({"metadata": {"uid": object.uid()}, "spec": {"cancel": true}});
        let Some(told) = self.objects.merge::<K>(&object.name_any(), &patch).await? else {
            return Err(not_found());
        };
        let waited = tokio::time::timeout(self.limits.stop_time, self.ended(&told, standing)).await;
        let last = match waited {
            Ok(Ok(Some(ended))) => ended,
            Ok(Ok(None) | Err(_)) | Err(_) => told,
        };
        Ok(StoppedTask { id: id.to_owned(), state_code: standing(&last).code() })
    }

    /// A restore that has not ended and reads this backup.
    async fn reader_of(&self, backup: &str) -> Result<Option<String>, OperationError> {
        let mut reader = None;
        let look = |restore: MilvusRestore| {
            if !show::of_restore(&restore).ended() {
                reader = Some(restore_id(&restore));
            }
        };
        self.objects.each(&format!("spec.from.backupRef.name={backup}"), look).await?;
        Ok(reader)
    }

    /// Has the data go with the object, whatever else changes it at the same time; none where it is gone.
    async fn dooms(&self, mut backup: MilvusBackup) -> Result<Option<MilvusBackup>, OperationError> {
        for _ in 0..CHANGES {
            if backup.metadata.deletion_timestamp.is_some() {
                return Ok(Some(backup));
            }
            if let Some(doomed) = self.objects.merge(&backup.name_any(), &doom(&backup)).await? {
                return Ok(Some(doomed));
            }
            match self.objects.get::<MilvusBackup>(&backup.name_any()).await? {
                Some(again) if again.uid() == backup.uid() => backup = again,
                _ => return Ok(None),
            }
        }
        let message = format!("MilvusBackup {} is changed by others all the time: ask again", backup.name_any());
        Err(OperationError::Failed { class: Class::Retry, message })
    }
}

#[async_trait]
impl Service for ClusterService {
    /// The backup goes on when a client leaves that waits for it.
    async fn create(&self, request: &CreateRequest, id: &str) -> Result<Option<BackupBrief>, OperationError> {
        valid_id("request_id", id)?;
        let order = translate::create(request, id)?;
        let name = &request.backup_name;
        let object = order::backup(&self.scope, name, id, &order)?;
        let _turn = turn(&self.waits, !request.asynchronous)?;
        if self.named(name).await?.is_some() {
            return Err(taken(name));
        }
        let Some(made) = self.objects.create(&object.name_any(), &object).await? else {
            return Err(taken(name));
        };
        tracing::info!(id, backup = name, object = made.name_any(), "made a MilvusBackup");
        if request.asynchronous {
            return Ok(None);
        }
        let Some(ended) = self.ended(&made, show::of_backup).await? else {
            return Err(OperationError::failed(format!("backup {name} was deleted before it was done")));
        };
        show::of_backup(&ended).outcome()?;
        Ok(Some(show::brief(&ended)))
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<RestoreTask, OperationError> {
        let id = match request.id.as_str() {
            "" => default_name("restore", Timestamp::now()),
            given => given.to_owned(),
        };
        valid_id("id", &id)?;
        let order = translate::restore(request, &id)?;
        let _turn = turn(&self.waits, !request.asynchronous)?;
        let name = &request.backup_name;
        let Some(backup) = self.named(name).await? else {
            return Err(OperationError::Parameter(format!(
                "backup {name} not found: no MilvusBackup of Milvus {} has this name",
                self.scope.milvus
            )));
        };
        if show::of_backup(&backup) != Standing::Done || backup.metadata.deletion_timestamp.is_some() {
            return Err(OperationError::failed(format!("backup {name} is not finished, or not there any more")));
        }
        // Only what drops collections needs to know which Milvus it is.
        let milvus_uid = match order.drop_exist_collection {
            true => self.objects.milvus(&self.scope.milvus).await?.and_then(|milvus| milvus.uid()),
            false => Some(String::new()),
        };
        let Some(milvus_uid) = milvus_uid else { return Err(no_milvus(&self.scope)) };
        let ground = Ground { backup: backup.name_any(), milvus_uid };
        let object = order::restore(&self.scope, &id, &order, &ground)?;
        let Some(made) = self.objects.create(&object.name_any(), &object).await? else {
            return Err(OperationError::failed(format!("a restore with id {id} exists already: choose another id")));
        };
        tracing::info!(id, backup = name, object = made.name_any(), "made a MilvusRestore");
        if request.asynchronous {
            return Ok(show::restore_task(&made));
        }
        let Some(ended) = self.ended(&made, show::of_restore).await? else {
            return Err(OperationError::failed(format!("restore {id} was deleted before it was done")));
        };
        show::of_restore(&ended).outcome()?;
        Ok(show::restore_task(&ended))
    }

    async fn list(&self) -> Result<Vec<BackupSummary>, OperationError> {
        let mut found = Vec::new();
        self.objects.each(&self.our_backups(), |backup| found.extend(show::summary(&backup))).await?;
        Ok(found)
    }

    async fn get_backup(&self, name: &str, id: &str, path: &str) -> Result<BackupBrief, OperationError> {
        if !path.is_empty() {
            let sentence = "path is not supported by a server in a cluster: leave it out";
            return Err(OperationError::failed(sentence));
        }
        let (found, gone) = match (id, name) {
            ("", "") => {
                let sentence = "empty backup name and backup id, please set a backup name or id";
                return Err(OperationError::Parameter(sentence.to_owned()));
            }
            ("", name) => (self.named(name).await?, format!("backup {name} not found")),
            (id, _) => (self.with_id(id).await?, "get backup task: task not found".to_owned()),
        };
        found.as_ref().map(show::brief).ok_or_else(|| OperationError::failed(gone))
    }

    async fn get_restore(&self, id: &str) -> Result<RestoreTask, OperationError> {
        if id.is_empty() {
            return Err(OperationError::failed("empty restore id"));
        }
        self.restore_with_id(id).await?.as_ref().map(show::restore_task).ok_or_else(not_found)
    }

    async fn stop_task(&self, id: &str) -> Result<StoppedTask, OperationError> {
        if id.is_empty() {
            let sentence = "id is required: the id of a restore, or the request_id of a create";
            return Err(OperationError::Parameter(sentence.to_owned()));
        }
        if let Some(restore) = self.restore_with_id(id).await? {
            return self.cancel(id, &restore, show::of_restore).await;
        }
        match self.with_id(id).await? {
            Some(backup) => self.cancel(id, &backup, show::of_backup).await,
            None => Err(not_found()),
        }
    }

    /// Deletes the object with its data, and waits until both are gone.
    async fn delete(&self, name: &str) -> Result<(), OperationError> {
        if name.is_empty() {
            return Err(OperationError::Parameter("backup name is required".to_owned()));
        }
        let _turn = turn(&self.deletions, true)?;
        let Some(backup) = self.named(name).await? else { return Ok(()) };
        can_go(name, &backup)?;
        if let Some(id) = self.reader_of(&backup.name_any()).await? {
            return Err(busy(&id, name));
        }
        let Some(doomed) = self.dooms(backup).await? else { return Ok(()) };
        let (object, uid) = (doomed.name_any(), doomed.uid().unwrap_or_default());
        self.objects.delete::<MilvusBackup>(&object, &uid).await?;
        let kept = tokio::select! {
            kept = self.objects.until::<MilvusBackup>(&object, &uid, |backup| show::kept_by(backup).is_some()) => kept?,
            () = self.stopping.cancelled() => return Err(stopping(&object)),
        };
        match kept.as_ref().and_then(show::kept_by) {
            None => Ok(()),
            Some(why) => Err(OperationError::failed(format!(
                "backup {name} goes as soon as this is out of its way: {why} (MilvusBackup {object})"
            ))),
        }
    }

    async fn check(&self) -> Result<String, OperationError> {
        let version = self.objects.version().await?;
        self.objects.is_served::<MilvusBackup>().await?;
        self.objects.is_served::<MilvusRestore>().await?;
        let milvus = self.objects.milvus(&self.scope.milvus).await?.ok_or_else(|| no_milvus(&self.scope))?;
        Ok(report(&self.scope, &version, &milvus.data))
    }

    async fn tend(&self, stop: CancellationToken) {
        stop.cancelled().await;
        self.stopping.cancel();
    }
}

/// Leave to wait, for a request that does.
fn turn(turns: &Semaphore, waits: bool) -> Result<Option<SemaphorePermit<'_>>, OperationError> {
    if !waits {
        return Ok(None);
    }
    turns.try_acquire().map(Some).map_err(|_| OperationError::Failed {
        class: Class::Retry,
        message:
            "as many requests as may wait for an end do so already: ask again when one is answered, or with async: true"
                .to_owned(),
    })
}

/// The patch that has the data go with the object. It holds the version it was made for, so that no other finalizer is lost,
/// and brings the finalizer itself: an object deleted before the operator saw the new policy would leave its data behind.
fn doom(backup: &MilvusBackup) -> Value {
    let mut finalizers = backup.finalizers().to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    json!({
        "metadata": {
            "uid": backup.uid(),
            "resourceVersion": backup.resource_version(),
            "finalizers": finalizers,
        },
        "spec": {"lifecycle": {"deletionPolicy": DeletionPolicy::Delete}},
    })
}

/// Whether a backup may be deleted with its data.
fn can_go(name: &str, backup: &MilvusBackup) -> Result<(), OperationError> {
    let going = backup.metadata.deletion_timestamp.is_some();
    if !going && !show::of_backup(backup).ended() {
        return Err(busy(&backup_id(backup), name));
    }
    if backup.spec.lifecycle.hold {
        return Err(OperationError::failed(format!(
            "backup {name} is held: set spec.lifecycle.hold of MilvusBackup {} to false first",
            backup.name_any()
        )));
    }
    Ok(())
}

/// The text of `GET /check`: version first and an outcome last, as in milvus-backup 0.5.16.
fn report(scope: &Scope, kubernetes: &str, milvus: &Value) -> String {
    let status = milvus["status"]["status"].as_str().unwrap_or("unknown");
    let version = milvus["spec"]["components"]["image"].as_str().unwrap_or("the default of Milvus Operator");
    let location = scope.location.as_deref().unwrap_or("the default of the namespace");
    let end = match status {
        "Healthy" => "Success!".to_owned(),
        other => format!("Warning: Milvus is {other}; a backup waits until it is Healthy"),
    };
    format!(
        "\nMilvus image: {version}\nMilvus status: {status}\nKubernetes version: {kubernetes}\nObjects:\n  namespace: {}\n  \
         milvus: {}\n  location: {location}\n\n{end}\n",
        scope.namespace, scope.milvus
    )
}

fn no_milvus(scope: &Scope) -> OperationError {
    OperationError::failed(format!(
        "there is no Milvus {}/{}: correct --namespace and --milvus of this server, or create it",
        scope.namespace, scope.milvus
    ))
}

fn taken(name: &str) -> OperationError {
    OperationError::failed(format!("backup {name} exists already: choose another name, or delete it first"))
}

fn busy(id: &str, name: &str) -> OperationError {
    let message = format!("task {id} works with backup {name}: wait for it, or stop it with DELETE /task?id={id}");
    OperationError::Failed { class: Class::Retry, message }
}

fn not_found() -> OperationError {
    OperationError::failed("task not found")
}

fn stopping(object: &str) -> OperationError {
    let message = format!("this server is stopping; {object} goes on in the cluster: ask for its state later");
    OperationError::Failed { class: Class::Retry, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(metadata: Value, spec: Value, status: Value) -> MilvusBackup {
        let mut spec = spec;
        spec["source"] = json!({"milvusRef": {"name": "prod"}});
        serde_json::from_value(json!({
            "apiVersion": crate::api::API_VERSION, "kind": "MilvusBackup", "metadata": metadata, "spec": spec, "status": status
        }))
        .unwrap()
    }

    fn done() -> Value {
        json!({"conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed", "message": "",
            "lastTransitionTime": "2026-11-21T10:00:00Z"}]})
    }

    #[test]
    fn a_doomed_backup_keeps_the_finalizers_of_others_and_gets_ours_once() {
        let metadata = json!({"name": "b", "uid": "u", "resourceVersion": "7", "finalizers": ["other"]});
        let patch = doom(&backup(metadata, json!({}), done()));
        assert_eq!(patch["metadata"]["finalizers"], json!(["other", FINALIZER]));
        assert_eq!((&patch["metadata"]["resourceVersion"], &patch["metadata"]["uid"]), (&json!("7"), &json!("u")));
        assert_eq!(patch["spec"]["lifecycle"]["deletionPolicy"], "Delete");
        let again = backup(json!({"name": "b", "finalizers": [FINALIZER]}), json!({}), done());
        assert_eq!(doom(&again)["metadata"]["finalizers"], json!([FINALIZER]));
    }

    #[test]
    fn no_more_requests_wait_than_may_and_one_that_does_not_wait_needs_no_leave() {
        let turns = Semaphore::new(1);
        let first = turn(&turns, true).unwrap();
        assert!(first.is_some());
        assert_eq!(turn(&turns, true).unwrap_err().class(), Class::Retry);
        assert!(turn(&turns, false).unwrap().is_none());
        drop(first);
        assert!(turn(&turns, true).is_ok());
    }

    #[test]
    fn a_backup_that_runs_or_is_held_is_not_deleted() {
        let running = backup(json!({"name": "b", "uid": "u"}), json!({}), json!({}));
        let said = can_go("b", &running).unwrap_err();
        assert!(said.class() == Class::Retry && said.message().contains("DELETE /task?id=u"), "{said}");
        let held = backup(json!({"name": "b"}), json!({"lifecycle": {"hold": true}}), done());
        assert!(can_go("b", &held).unwrap_err().message().contains("hold"));
        assert_eq!(can_go("b", &backup(json!({"name": "b"}), json!({}), done())), Ok(()));
    }

    #[test]
    fn the_text_of_a_check_names_the_milvus_and_ends_with_the_outcome() {
        let scope = Scope { namespace: "search".into(), milvus: "prod".into(), ..Scope::default() };
        let said = report(&scope, "v1.35.4", &json!({"status": {"status": "Healthy"}}));
        assert!(said.contains("milvus: prod") && said.contains("v1.35.4") && said.ends_with("Success!\n"), "{said}");
        let waits = report(&scope, "v1.35.4", &json!({"status": {"status": "Pending"}}));
        assert!(waits.contains("Warning: Milvus is Pending"), "{waits}");
    }
}
