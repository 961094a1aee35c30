//! Carries a backup over to Zilliz Cloud: uploads it to a volume of the cluster, proves the upload by a listing, and starts the
//! migration there.
//!
//! Source: milvus-backup 0.6, `core/migrate/task.go`. The path in the volume is made up anew for each run, as there: nothing of
//! an older upload can get into a migration.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::cloud::{CloudError, Volume, ZillizCloud};
use super::shipment::Shipment;
use crate::config::Settings;
use crate::engine::artifact::Artifact;
use crate::engine::error::EngineError;
use crate::engine::progress::Counters;
use crate::engine::task::{Report, Stage, Summary, TASK_VERSION};
use crate::engine::{self, connect};
use crate::exit::Class;
use crate::storage::{StoreError, TransferOptions};

/// Objects uploaded at once where the settings say nothing; memory is bounded apart from that.
const AT_ONCE: usize = 32;
/// Rounds in a row in which not one object arrives, before the upload is given up. Within each the store's client has
/// repeated its requests already.
const IDLE_ROUNDS: u32 = 3;
/// The same where the keys were refused: once more with fresh ones. That none arrived says little by itself, a refusal can
/// overtake the answers of writes that were done.
const DENIED_ROUNDS: u32 = 2;
/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Keys that run out so soon are not begun with.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Most bytes of a cluster's id that are believed to be one.
const LONGEST_CLUSTER: usize = 128;

/// Carry a backup over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrateRequest {
    /// Name of the backup.
    pub name: String,
    /// Id of the cluster in Zilliz Cloud.
    pub cluster: String,
}

/// How it ended.
#[derive(Debug, Clone, Default)]
pub struct Migration {
    /// The run by itself: ok once the migration was started.
    pub report: Report,
    /// The migration in Zilliz Cloud, which goes on by itself there.
    pub job: Option<String>,
}

/// Uploads a backup and starts the migration; never fails to say how it ended. The cluster is not waited for.
///
/// A cancelled run stops uploading and starts nothing. What it has uploaded stays in the volume, which is temporary.
pub async fn migrate(
    settings: &Settings,
    request: &MigrateRequest,
    counters: &Counters,
    cancel: &CancellationToken,
) -> Migration {
    match carry_over(settings, request, counters, cancel).await {
        Ok(started) => Migration {
            report: Report {
                version: TASK_VERSION,
                ok: true,
                reason: "MigrationStarted".into(),
                message: format!(
                    "uploaded {} objects for cluster {}; follow the migration in the console of Zilliz Cloud",
                    started.summary.objects, request.cluster
                ),
                summary: started.summary,
                progress: counters.read(Timestamp::now()),
                ..Report::default()
            },
            job: Some(started.job),
        },
        Err(error) => {
            let mut report = engine::failure(&error, counters);
            if matches!(error, EngineError::Cancelled) {
                report.message =
                    "stopped before a migration was started: run it again to upload the backup anew".into();
            }
            Migration { report, job: None }
        }
    }
}

struct Started {
    job: String,
    summary: Summary,
}

impl From<CloudError> for EngineError {
    fn from(error: CloudError) -> EngineError {
        match error.class() {
            Class::Retry => EngineError::Interrupted(error.to_string()),
            _ => EngineError::Setup { reason: error.reason(), message: error.to_string() },
        }
    }
}

async fn carry_over(
    settings: &Settings,
    request: &MigrateRequest,
    counters: &Counters,
    cancel: &CancellationToken,
) -> Result<Started, EngineError> {
    counters.enter(Stage::Preflight);
    let cloud = ZillizCloud::new(&settings.cloud)?;
    let cluster = cluster_id(&request.cluster)?;
    let backup = stoppable(cancel, read(settings, &request.name)).await?;
    let (objects, bytes) = (backup.count(), backup.bytes());
    counters.plan(0, objects, bytes);

    let path = super::operations::new_id();
    let volume = stoppable(cancel, async { Ok(cloud.volume(cluster, &path).await?) }).await?;
    let warnings = too_large(&volume, bytes).into_iter().collect();
    let upload = Upload { cloud: &cloud, cluster, path: &path, backup: &backup, counters, cancel };
    let at_once = settings.transfer.concurrency.and_then(|most| usize::try_from(most).ok());
    let volume = upload.all(volume, at_once.unwrap_or(AT_ONCE).max(1)).await?;

    if cancel.is_cancelled() {
        return Err(EngineError::Cancelled);
    }
    // From here on not to be stopped: whether there is a migration has to be known.
    counters.enter(Stage::Finalizing);
    let job = cloud.start(&volume.name, &path, cluster).await?;
    let summary = Summary { size_bytes: bytes, copied_bytes: bytes, objects, warnings, ..Summary::default() };
    Ok(Started { job, summary })
}

/// milvus-backup does not look at this limit, clients of volumes do.
fn too_large(volume: &Volume, bytes: u64) -> Option<String> {
    let most = volume.most_bytes.filter(|most| bytes > *most)?;
    Some(format!(
        "the backup has {bytes} bytes, and Zilliz Cloud names {most} as the most for an upload: if the migration fails, ask its \
         support to lift the limit"
    ))
}

fn cluster_id(id: &str) -> Result<&str, EngineError> {
    let sound = !id.is_empty() && id.len() <= LONGEST_CLUSTER && id.chars().all(|c| c.is_ascii_graphic());
    match sound {
        true => Ok(id),
        false => Err(EngineError::Rejected(format!(
            "{:?} is no id of a cluster: it stands on the cluster's page in the console of Zilliz Cloud",
            crate::engine::error::bounded(id, LONGEST_CLUSTER)
        ))),
    }
}

async fn stoppable<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(EngineError::Cancelled),
        outcome = work => outcome,
    }
}

/// Finds the backup.
async fn read(settings: &Settings, name: &str) -> Result<Shipment, EngineError> {
    let target = settings.backup_target()?;
    let store = connect::store(&target).await?;
    let artifact = Artifact::at(store.clone(), &target.prefix, name)?;
    let contents = artifact.read().await?;
    Shipment::of(store, &artifact, &contents).await
}

/// An upload into volumes of one place, whose keys change.
struct Upload<'u> {
    cloud: &'u ZillizCloud,
    cluster: &'u str,
    path: &'u str,
    backup: &'u Shipment,
    counters: &'u Counters,
    cancel: &'u CancellationToken,
}

impl Upload<'_> {
    /// Uploads in rounds, each of what a listing does not have yet: keys run out, and stores are away for a while. Answers
    /// the volume as it is in the end.
    async fn all(&self, mut volume: Volume, mut at_once: usize) -> Result<Volume, EngineError> {
        let mut idle = 0;
        loop {
            let mut moved = 0;
            let error = match self.round(&volume, at_once, &mut moved).await {
                Ok(()) => return Ok(volume),
                Err(error) => error,
            };
            idle = if moved > 0 { 0 } else { idle + 1 };
            let passes = match &error {
                EngineError::Store(StoreError::Denied { .. }) => idle < DENIED_ROUNDS,
                EngineError::Store(StoreError::Unavailable { .. }) => idle < IDLE_ROUNDS,
                _ => false,
            };
            if !passes {
                return Err(error);
            }
            tracing::warn!(moved, "the upload was broken off and goes on: {error}");
            at_once = (at_once / 2).max(1);
            let run_out = volume.expires <= Timestamp::now() + MARGIN;
            let denied = matches!(error, EngineError::Store(StoreError::Denied { .. }));
            volume = stoppable(self.cancel, async {
                tokio::time::sleep(PAUSE).await;
                if denied || run_out { self.renewed(&volume).await } else { Ok(volume.clone()) }
            })
            .await?;
        }
    }

    /// The volume with fresh keys.
    async fn renewed(&self, volume: &Volume) -> Result<Volume, EngineError> {
        let fresh = self.cloud.volume(self.cluster, self.path).await?;
        match fresh.same_place(volume) {
            true => Ok(fresh),
            false => Err(EngineError::Interrupted(
                "the keys of the upload ran out, and Zilliz Cloud gave out another place than before: run it again to upload \
                 the backup anew"
                    .into(),
            )),
        }
    }

    /// Uploads what is not there, and looks that everything is.
    async fn round(&self, volume: &Volume, at_once: usize, moved: &mut u64) -> Result<(), EngineError> {
        let store = stoppable(self.cancel, connect::store(&volume.store)).await?;
        self.counters.enter(Stage::CopyingData);
        let arrived = stoppable(self.cancel, self.backup.arrived(store.as_ref(), &volume.prefix)).await?;
        // Never by the service alone: the keys of the volume may read nothing but the volume.
        let options = TransferOptions { server_side: false, ..TransferOptions::default() };
        let landed = |size| {
            self.counters.objects(1, size);
            *moved += 1;
        };
        let to = (store.as_ref(), volume.prefix.as_str());
        let copied = stoppable(self.cancel, self.backup.carry(to, arrived, &options, at_once, landed)).await;
        if copied.is_err() {
            options.open.abort(store.as_ref()).await;
        }
        copied?;
        self.counters.enter(Stage::Verifying);
        stoppable(self.cancel, self.backup.prove(store.as_ref(), &volume.prefix)).await
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("in01 x")]
    #[case("in01\n")]
    #[case("ïn01")]
    fn what_is_no_cluster_is_refused_by_name(#[case] id: &str) {
        let error = cluster_id(id).unwrap_err();
        assert_eq!(error.class(), Class::Configuration);
        assert!(error.to_string().contains("is no id of a cluster"), "{error}");
    }

    #[test]
    fn a_job_that_nobody_knows_of_is_not_tried_again_by_a_script() {
        let place = || "api:443".to_owned();
        let unknown = CloudError::Unknown { place: place(), act: "start the migration", cause: "broken pipe".into() };
        assert_eq!(EngineError::from(unknown).class(), Class::Configuration);
        let away = CloudError::Unavailable { place: place(), act: "x", tries: 4, cause: "refused".into() };
        assert_eq!(EngineError::from(away).class(), Class::Retry);
    }
}
