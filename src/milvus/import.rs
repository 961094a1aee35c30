//! Import: making the server read binlogs from its bucket.

use std::time::Duration;

use super::call::Call;
use super::proto::milvus as wire;
use super::{Milvus, MilvusError, key_values};

/// Servers list and check the files before they answer, and look for a missing collection for 50 s.
const IMPORT_DEADLINE: Duration = Duration::from_secs(300);

/// What to import where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// Database.
    pub database: String,
    /// Collection.
    pub collection: String,
    /// Partition. Empty only for deletes that cover all partitions.
    pub partition: String,
    /// Keys in Milvus' own bucket without the bucket's name: the insert directory, then the delta directory or an empty
    /// text; for deletes alone the delta directory only.
    pub files: Vec<String>,
    /// `backup` = `true` and so on (milvus-wire.md 2.9).
    pub options: Vec<(String, String)>,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportState {
    /// Waits for its turn.
    Pending,
    /// Failed for good. 2.4 and later also report jobs that wait for a commit so.
    Failed,
    /// Being worked on.
    Started,
    /// Written, not yet to be seen (up to 2.3).
    Persisted,
    /// Done. Does not prove that anything was imported: rows must be counted.
    Completed,
    /// Failed, and its remains were removed (up to 2.3).
    FailedAndCleaned,
    /// Written and flushed (2.3).
    Flushed,
    /// Newer than this client.
    Unknown(i32),
}

impl ImportState {
    /// Whether the job has failed.
    pub fn is_failed(self) -> bool {
        matches!(self, ImportState::Failed | ImportState::FailedAndCleaned)
    }

    /// Whether the job is over, for good or ill.
    pub fn is_final(self) -> bool {
        self.is_failed() || self == ImportState::Completed
    }
}

impl From<i32> for ImportState {
    fn from(number: i32) -> ImportState {
        use wire::ImportState as Wire;
        match Wire::try_from(number) {
            Ok(Wire::ImportPending) => ImportState::Pending,
            Ok(Wire::ImportFailed) => ImportState::Failed,
            Ok(Wire::ImportStarted) => ImportState::Started,
            Ok(Wire::ImportPersisted) => ImportState::Persisted,
            Ok(Wire::ImportCompleted) => ImportState::Completed,
            Ok(Wire::ImportFailedAndCleaned) => ImportState::FailedAndCleaned,
            Ok(Wire::ImportFlushed) => ImportState::Flushed,
            Err(_) => ImportState::Unknown(number),
        }
    }
}

/// An import job. Servers from 2.4 on fill only state, rows, progress and the failure's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportTask {
    /// Id; 0 in lists of servers from 2.4 on, which therefore identify nothing.
    pub id: i64,
    /// How far it is.
    pub state: ImportState,
    /// Rows (or deletes) imported.
    pub row_count: i64,
    /// 0 to 100.
    pub progress_percent: Option<u8>,
    /// Why it failed.
    pub failed_reason: Option<String>,
    /// The files as the server prints them.
    pub files: Option<String>,
    /// Collection.
    pub collection: Option<String>,
    /// Partition.
    pub partition: Option<String>,
    /// Segments made.
    pub segment_ids: Vec<i64>,
    /// When it was made, unix seconds.
    pub create_ts: i64,
}

impl Milvus {
    /// Starts an import, answers its job.
    ///
    /// Sent once: released servers import the same rows again when asked again. Where a broken connection or a silent
    /// server leaves open whether it took effect, the error is [`MilvusError::OutcomeUnknown`]. Only a refusal for the
    /// rate is waited for.
    pub async fn import(&self, import: &Import) -> Result<i64, MilvusError> {
        let call = Call::collection("Import", &import.database, &import.collection)
            .about(import_subject(import))
            .within(IMPORT_DEADLINE)
            .once();
        let request = import_request(import);
        let answer = self.session.call(call.clone(), request, |mut c, r| async move { c.import(r).await }).await?;
        match answer.tasks.as_slice() {
            [task] => Ok(*task),
            other => Err(MilvusError::OutcomeUnknown {
                site: self.session.site(&call),
                cause: format!("{} jobs were answered instead of one", other.len()),
            }),
        }
    }

    /// How far an import is.
    ///
    /// On 2.3.5 a lost connection here can mean that the question brought the server down; [`Milvus::list_imports`]
    /// finds the job after its restart. A question that is broken off, or whose deadline passes, does so too: hence the long
    /// deadline, and callers do not drop it. It is not repeated, since a server that is coming up cannot bear it either.
    pub async fn import_state(&self, task: i64) -> Result<ImportTask, MilvusError> {
        let call = Call::server("GetImportState").about(format!("import job {task}")).within(IMPORT_DEADLINE).once();
        let request = wire::GetImportStateRequest { task };
        let answer = self.session.call(call, request, |mut c, r| async move { c.get_import_state(r).await }).await?;
        Ok(ImportTask { id: task, ..import_task(answer) })
    }

    /// The imports of a collection the server remembers. Up to 2.3 complete; from 2.4 on without ids. As dangerous to a 2.3.5
    /// as [`Milvus::import_state`], and neither repeated.
    pub async fn list_imports(&self, database: &str, collection: &str) -> Result<Vec<ImportTask>, MilvusError> {
        let call = Call::collection("ListImportTasks", database, collection).within(IMPORT_DEADLINE).once();
        let request = list_request(database, collection);
        let answer = self.session.call(call, request, |mut c, r| async move { c.list_import_tasks(r).await }).await?;
        Ok(answer.tasks.into_iter().map(import_task).collect())
    }
}

fn import_subject(import: &Import) -> String {
    let Import { database, collection, partition, .. } = import;
    match partition.as_str() {
        "" => format!("collection {database}.{collection}"),
        partition => format!("partition {partition} of collection {database}.{collection}"),
    }
}

fn import_request(import: &Import) -> wire::ImportRequest {
    wire::ImportRequest {
        collection_name: import.collection.clone(),
        partition_name: import.partition.clone(),
        files: import.files.clone(),
        options: key_values(&import.options),
        db_name: import.database.clone(),
        ..Default::default()
    }
}

fn list_request(database: &str, collection: &str) -> wire::ListImportTasksRequest {
    // Without a limit: a list cut short could hide the job that is looked for.
    wire::ListImportTasksRequest { collection_name: collection.to_owned(), limit: 0, db_name: database.to_owned() }
}

fn import_task(answer: wire::GetImportStateResponse) -> ImportTask {
    let info = |key: &str| {
        let pair = answer.infos.iter().find(|pair| pair.key == key && !pair.value.is_empty());
        pair.map(|pair| pair.value.clone())
    };
    ImportTask {
        id: answer.id,
        state: answer.state.into(),
        row_count: answer.row_count,
        progress_percent: info("progress_percent")
            .and_then(|text| text.parse::<u8>().ok())
            .map(|percent| percent.min(100)),
        failed_reason: info("failed_reason"),
        files: info("files"),
        collection: info("collection"),
        partition: info("partition"),
        segment_ids: answer.segment_ids,
        create_ts: answer.create_ts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::proto::common::KeyValuePair;
    use prost::Message as _;

    #[test]
    fn an_import_has_no_base_and_its_database_is_number_7() {
        let import = Import {
            database: "d".into(),
            collection: "c".into(),
            partition: "p".into(),
            files: vec!["i/".into(), String::new()],
            options: vec![("k".into(), "v".into())],
        };
        let expected = [
            [0x0a, 1, b'c'].as_slice(),
            &[0x12, 1, b'p'],
            &[0x2a, 2, b'i', b'/', 0x2a, 0],
            &[0x32, 6, 0x0a, 1, b'k', 0x12, 1, b'v'],
            &[0x3a, 1, b'd'],
        ];
        assert_eq!(import_request(&import).encode_to_vec(), expected.concat());
    }

    #[test]
    fn imports_are_listed_with_the_collection_as_1_and_the_database_as_3() {
        assert_eq!(list_request("d", "c").encode_to_vec(), [0x0a, 1, b'c', 0x1a, 1, b'd']);
    }

    #[test]
    fn the_details_of_a_job_are_read_from_its_infos() {
        let pair = |key: &str, value: &str| KeyValuePair { key: key.into(), value: value.into() };
        let task = import_task(wire::GetImportStateResponse {
            state: 1,
            row_count: 5,
            id: 9,
            infos: vec![
                pair("failed_reason", "no binlog file"),
                pair("progress_percent", "40"),
                pair("files", "i/,"),
                pair("collection", "c1"),
                pair("partition", ""),
            ],
            ..Default::default()
        });
        assert_eq!((task.id, task.state, task.row_count, task.progress_percent), (9, ImportState::Failed, 5, Some(40)));
        assert_eq!(task.failed_reason.as_deref(), Some("no binlog file"));
        assert_eq!((task.collection.as_deref(), task.partition.as_deref()), (Some("c1"), None));
    }

    #[test]
    fn both_failures_and_completion_are_final_and_nothing_else() {
        let finals: Vec<i32> = (0..12).filter(|number| ImportState::from(*number).is_final()).collect();
        assert_eq!(finals, [1, 6, 7]);
        assert!(ImportState::FailedAndCleaned.is_failed() && !ImportState::Completed.is_failed());
        assert_eq!(ImportState::from(3), ImportState::Unknown(3));
    }
}
