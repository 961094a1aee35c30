//! Pure: what `get_backup` shows of a backup (milvus-backup 0.5.16, internal/pbconv).

use super::operations::Stored;
use super::records::TaskRecord;
use super::wire::{BackupBrief, state};
use crate::local::brief::{CollectionBrief, DatabaseBrief};
use crate::manifest::BackupInfo;

/// A backup that is not there (yet): what is known of its task.
pub fn of_task(record: &TaskRecord) -> BackupBrief {
    BackupBrief {
        id: record.id.clone(),
        state_code: record.state,
        error_message: record.error.clone(),
        start_time: record.start_time(),
        end_time: record.end_time(),
        progress: record.progress,
        name: record.backup.clone(),
        ..BackupBrief::default()
    }
}

/// A finished backup. The record of its task tells when it was made; without one, `created` tells when it was done.
pub fn of_backup(stored: Stored, record: Option<&TaskRecord>) -> BackupBrief {
    let Stored { info, meta_size, created } = stored;
    let BackupInfo {
        id,
        state_code: _,
        name,
        backup_timestamp,
        collection_backups,
        size,
        milvus_version,
        rbac_meta: _,
        rpc_channel_info,
        database_backups,
        flush_all_msgs_base64: _,
        control_channel_name: _,
        physical_channel_names: _,
        format,
    } = info;
    let made = record.filter(|record| record.id == id && record.backup == name && record.ended.is_some());
    BackupBrief {
        state_code: state::SUCCESS,
        error_message: String::new(),
        start_time: made.map(TaskRecord::start_time).unwrap_or_default(),
        end_time: match (made, created) {
            (Some(record), _) => record.end_time(),
            (None, Some(created)) => created.as_second(),
            (None, None) => 0,
        },
        progress: 100,
        id,
        name,
        backup_timestamp,
        collection_backups: collection_backups.into_iter().map(CollectionBrief::from).collect(),
        size,
        milvus_version,
        rpc_channel_info,
        database_backups: database_backups.into_iter().map(DatabaseBrief::from).collect(),
        format,
        meta_size: i64::try_from(meta_size).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::compat::records::Kind;
    use crate::manifest::decode_full;

    fn golden() -> (Stored, Value) {
        let meta = include_bytes!("../../tests/golden/milvus-backup-0.5.16/meta/full_meta.json");
        let answer = include_str!("../../tests/golden/rest/13-get_backup.json");
        let answer: Value = serde_json::from_str(answer).unwrap();
        let answer = serde_json::from_str(answer["raw"].as_str().unwrap()).unwrap();
        (Stored { info: decode_full(meta).unwrap(), meta_size: 23014, created: None }, answer)
    }

    #[test]
    fn a_backup_is_shown_key_by_key_as_the_go_tool_shows_it() {
        let (stored, answer) = golden();
        let at = |key: &str| jiff::Timestamp::from_second(answer["data"][key].as_i64().unwrap()).unwrap();
        let mut record = TaskRecord::accepted("req-golden-1", Kind::Create, "golden_small", at("start_time"));
        record.ended = Some(at("end_time"));
        let brief = of_backup(stored, Some(&record));
        assert_eq!(serde_json::to_value(brief).unwrap(), answer["data"]);
    }

    #[test]
    fn a_backup_of_another_process_is_done_even_if_nobody_knows_when() {
        let brief = of_backup(golden().0, None);
        assert_eq!((brief.state_code, brief.progress, brief.start_time, brief.end_time), (2, 100, 0, 0));
        let (mut stored, _) = golden();
        stored.created = Some("2026-11-21T08:00:00Z".parse().unwrap());
        assert_eq!(of_backup(stored, None).end_time, 1_795_248_000);
    }

    #[test]
    fn the_key_of_an_encrypted_zone_stays_in_the_bucket() {
        let (mut stored, _) = golden();
        stored.info.database_backups[0].ezk = "zone-key".into();
        assert!(!serde_json::to_string(&of_backup(stored, None)).unwrap().contains("zone-key"));
    }
}
