//! Reads logs and looks inside: each has to be a whole log file of the ids in its key, and the fields of a segment to have its
//! rows.

use futures::stream::{self, StreamExt};

use super::artifact::Artifact;
use super::counted::Counted;
use super::error::{EngineError, Tally};
use super::inventory::{Inventory, Named};
use super::reader::Reader;
use crate::manifest::binlog::{self, Expected};
use crate::manifest::layout::log_path;
use crate::storage::StoreError;

/// Reads the picked logs and looks inside; answers what is wrong with which.
///
/// # Errors
/// The store's.
pub async fn inspect(
    artifact: &Artifact,
    logs: &Inventory<'_>,
    picked: impl Fn(&Named) -> bool + Send + Sync,
    reader: &Reader,
) -> Result<Tally, EngineError> {
    let all = logs.segments().flat_map(|(segment, logs)| logs.map(move |log| (segment, log)));
    let mut looks = stream::iter(all.filter(|(_, log)| picked(log)))
        .map(|(segment, log)| async move { Ok::<_, EngineError>((segment, log, look(artifact, &log, reader).await?)) })
        .buffered(reader.at_once());
    let (mut damage, mut counted) = (Tally::default(), Counted::default());
    while let Some(look) = looks.next().await {
        let (segment, log, found) = look?;
        let rows = found.as_ref().ok().copied();
        counted.add(segment, &log, rows).into_iter().for_each(|said| damage.add(|| said));
        if let Err(why) = found {
            damage.add(|| format!("{}: {why}", log_path(&log.key, log.group)));
        }
    }
    counted.end().into_iter().for_each(|said| damage.add(|| said));
    Ok(damage)
}

/// The rows in a log, or what is wrong with it.
async fn look(artifact: &Artifact, log: &Named, reader: &Reader) -> Result<Result<u64, String>, EngineError> {
    let body = match reader.whole(artifact.store(), &artifact.keys.log(&log.key, log.group), log.size).await {
        Err(StoreError::TooLarge { size, .. }) => {
            return Ok(Err(format!("it has {size} bytes instead of {}", log.size)));
        }
        other => other?,
    };
    if body.len() as u64 != log.size {
        return Ok(Err(format!("it has {} bytes instead of {}", body.len(), log.size)));
    }
    let found = binlog::inspect(&body, &Expected::from(&log.key));
    Ok(found.map(|inside| inside.rows).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::engine::golden::{Golden, IDS, ROWS, files};
    use crate::engine::proof;
    use crate::engine::task::Limits;
    use crate::storage::fault::{Fault, Verb};
    use crate::storage::memory::MemoryService;

    /// What the proof before a restore says is wrong; none where all is whole.
    async fn refusal(golden: &Golden) -> Option<String> {
        let (artifact, _) = golden.artifact().await;
        let contents = artifact.read().await.unwrap();
        let logs = Inventory::of(&contents.info.collection_backups);
        let compared = proof::compare(&artifact, &contents, &logs).await.unwrap();
        let reader = Reader::new(&golden.limits);
        let proven = compared.prove(&artifact, &contents, &logs, &[IDS[0]].into(), &reader).await;
        proven.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn rows_that_all_fields_of_a_segment_have_lost_are_missed_before_a_restore() {
        let mut golden = Golden::new(MemoryService::new("m")).await;
        assert_eq!(refusal(&golden).await, None);
        golden.segment().num_of_rows = ROWS + 7;
        let said = refusal(&golden).await.unwrap();
        assert!(said.contains("nothing was restored") && said.contains("has 200 rows, its segment 207"), "{said}");
    }

    #[tokio::test]
    async fn a_backup_that_names_no_rows_is_believed_where_its_fields_agree() {
        let mut golden = Golden::new(MemoryService::new("m")).await;
        golden.segment().num_of_rows = 0;
        assert_eq!(refusal(&golden).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn logs_are_looked_into_at_the_pace_of_the_run() {
        let mut golden = Golden::new(MemoryService::new("m")).await;
        golden.limits = Limits { requests_per_second: Some(1), ..Limits::default() };
        let began = Instant::now();
        assert_eq!(refusal(&golden).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(4));
        let bytes: u64 = files().iter().map(|path| path.metadata().unwrap().len()).sum();
        golden.limits = Limits { bytes_per_second: Some(bytes / 5), ..Limits::default() };
        let began = Instant::now();
        assert_eq!(refusal(&golden).await, None);
        assert!(began.elapsed() >= Duration::from_secs(4) && began.elapsed() < Duration::from_secs(6));
    }

    #[tokio::test]
    async fn an_object_of_another_size_than_recorded_is_named_and_not_looked_into() {
        let mut golden = Golden::new(MemoryService::new("m")).await;
        golden.plan =
            |call| match call.verb == Verb::Get && call.key.contains("/binlogs/") && call.key.contains("/100/") {
                true => {
                    let (place, key) = ("b".into(), call.key.clone());
                    Fault::Fail(StoreError::TooLarge { key, place, size: 1 << 40, most: 10 })
                }
                false => Fault::Pass,
            };
        let said = refusal(&golden).await.unwrap();
        assert!(said.contains(": it has 1099511627776 bytes instead of "), "{said}");
    }
}
