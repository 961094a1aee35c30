//! Pure: from requests and settings to tasks of the engine.
//!
//! What the engine cannot do is refused by a sentence that names the option. What it does in its own way is done and told in
//! a warning. Nothing is ignored in silence.

mod mapping;
#[cfg(test)]
mod samples;
mod selection;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::mapping::mapping;
pub use self::mapping::names;
use self::selection::{bare_databases, exactly, selection, target_filter};
use super::filter::is_word;
use super::request::{CreateRequest, Format, RestoreRequest, Strategy};
use crate::config::Settings;
use crate::engine::error::EngineError;
use crate::engine::task;
use crate::engine::task::{
    BackupTask, Content, Flush, Indexes, Load, OnCollectionError, OnConflict, RestoreTask, Selection, VerifyBackup,
};
use crate::manifest::{BackupInfo, validate_artifact_name};

/// A task, and what a person should know about how it differs from what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<T> {
    /// For the engine.
    pub task: T,
    /// Sentences for the report.
    pub warnings: Vec<String>,
}

/// `backup_2026_11_21_01_40_43_417648966`: the name of a backup that was given none.
pub fn default_name(prefix: &str, now: Timestamp) -> String {
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y_%m_%d_%H_%M_%S").to_string();
    format!("{prefix}_{time}_{}", now.subsec_nanosecond())
}

/// The task of a backup.
///
/// # Errors
/// A bad name, an option the engine cannot carry out, settings it has no client for.
pub fn backup(
    settings: &Settings,
    request: &CreateRequest,
    now: Timestamp,
) -> Result<Planned<BackupTask>, EngineError> {
    let CreateRequest {
        id: _,
        name,
        filter,
        strategy,
        format,
        rbac,
        index_extra,
        pause_gc,
        gc_address,
        backup_root_path,
    } = request;
    let settings = settings.with_backups_at(None, backup_root_path.as_deref());
    let artifact = name.clone().unwrap_or_else(|| default_name("backup", now));
    validate_artifact_name(&artifact)?;
    let mut warnings = Vec::new();
    if let Strategy::BulkFlush | Strategy::SerialFlush = strategy {
        warnings.push(
            "strategies bulk_flush and serial_flush are the same here: all selected collections are flushed at once"
                .to_owned(),
        );
    }
    let mut milvus = settings.milvus_target()?;
    if gc_address.is_some() {
        milvus.management.clone_from(gc_address);
    }
    let task = BackupTask {
        artifact,
        milvus,
        destination: settings.backup_target()?,
        selection: match filter {
            Some(filter) => selection(filter),
            None => Selection::default(),
        },
        content: if *strategy == Strategy::MetaOnly { Content::SchemaOnly } else { Content::Full },
        index_metadata: true,
        etcd: index_extra.then(|| settings.etcd_target()),
        flush: if *strategy == Strategy::SkipFlush { Flush::Skip } else { Flush::Auto },
        format: match format {
            Format::Auto => task::Format::Auto,
            Format::Binlog => task::Format::Binlog,
            Format::Snapshot => task::Format::Snapshot,
        },
        on_collection_error: OnCollectionError::Fail,
        verify: VerifyBackup::Manifest,
        rbac: *rbac,
        pause_gc: pause_gc.unwrap_or(settings.pause_gc),
        limits: settings.transfer.limits(),
    };
    Ok(Planned { task, warnings })
}

/// The task of a restore, for a backup that holds `info`.
///
/// # Errors
/// As [`backup`]; a selection that is empty, a rule for a collection that is not in the backup.
pub fn restore(
    settings: &Settings,
    request: &RestoreRequest,
    info: &BackupInfo,
) -> Result<Planned<RestoreTask>, EngineError> {
    can_be_restored(request)?;
    let settings = settings.with_backups_at(request.bucket_name.as_deref(), request.path.as_deref());
    let pairs = names(request, info)?;
    let everything = request.source.is_none() && target_filter(request).is_none();
    let include = match everything {
        true => Vec::new(),
        false => pairs.iter().map(|(source, _)| source).collect::<BTreeSet<_>>().into_iter().map(exactly).collect(),
    };
    let databases = if everything { Vec::new() } else { bare_databases(request, info)? };
    let task = RestoreTask {
        artifact: request.name.clone(),
        manifest_digest: None,
        source: settings.backup_target()?,
        target: settings.milvus_target()?,
        selection: Selection { include, databases, ..Selection::default() },
        mapping: mapping(request, &pairs),
        on_conflict: match (request.drop_exist_collection, request.skip_create_collection) {
            (true, _) => OnConflict::Replace,
            (false, true) => OnConflict::Append,
            (false, false) => OnConflict::Fail,
        },
        create_missing: !request.skip_create_collection,
        drop_indexes: request.drop_exist_index,
        content: if request.meta_only { Content::SchemaOnly } else { Content::Full },
        indexes: match (request.rebuild_index, request.use_auto_index) {
            (Some(false), _) => Indexes::Skip,
            (_, true) => Indexes::Auto,
            (_, false) => Indexes::Rebuild,
        },
        load: if request.meta_only { Load::None } else { Load::Original },
        verify: request.verify,
        restore_path: request.restore_path,
        rbac: request.rbac,
        keys: request.ezk_mapping.clone(),
        cut_to_recovery_point: request.truncate_binlog_by_ts,
        preflight_only: false,
        cleanup_on_failure: true,
        last_attempt: true,
        limits: settings.transfer.limits(),
    };
    let mut warnings = Vec::new();
    if request.skip_create_collection {
        warnings.push(
            "rows were added to collections that exist: keys that were there already are there twice, and deletes of the backup \
             also take older rows with the same keys"
                .to_owned(),
        );
    }
    Ok(Planned { task, warnings })
}

/// Options of a restore the engine cannot carry out, each by the names that the flags and the bodies give it.
fn can_be_restored(request: &RestoreRequest) -> Result<(), EngineError> {
    validate_artifact_name(&request.name)?;
    let rejected = |message: &str| Err(EngineError::Rejected(message.to_owned()));
    if request.drop_exist_collection && request.skip_create_collection {
        return rejected("drop_exist_collection and skip_create_collection exclude each other: keep one of them");
    }
    if request.plan.is_some()
        && (request.suffix.as_deref().is_some_and(|s| !s.is_empty()) || !request.renames.is_empty())
    {
        return rejected("restorePlan excludes collection_suffix and collection_renames: put all names into the plan");
    }
    if let Some(suffix) = request.suffix.as_deref().filter(|suffix| !suffix.is_empty() && !is_word(suffix)) {
        return Err(EngineError::Rejected(format!("{suffix:?} is no suffix: use letters, digits and _")));
    }
    if request.max_shard_num < 0 {
        return Err(EngineError::Rejected(format!(
            "maxShardNum is {}: use 1 or more, or leave it out",
            request.max_shard_num
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::samples::{noon, refused, request, shop};
    use super::*;
    use crate::engine::task::AuthFiles;

    #[test]
    fn a_backup_without_a_name_gets_that_of_its_moment() {
        let planned = backup(&Settings::default(), &CreateRequest::default(), noon()).unwrap();
        assert_eq!(planned.task.artifact, "backup_2026_11_21_01_40_43_417648966");
        assert_eq!(planned.task.destination.prefix, "backup");
        assert_eq!(planned.task.selection, Selection::default());
    }

    #[test]
    fn strategies_decide_what_is_flushed_and_copied() {
        let of = |strategy| {
            let planned =
                backup(&Settings::default(), &CreateRequest { strategy, ..CreateRequest::default() }, noon()).unwrap();
            (planned.task.content, planned.task.flush, planned.warnings.join("\n").contains("bulk_flush"))
        };
        assert_eq!(of(Strategy::Auto), (Content::Full, Flush::Auto, false));
        assert_eq!(of(Strategy::MetaOnly), (Content::SchemaOnly, Flush::Auto, false));
        assert_eq!(of(Strategy::SkipFlush), (Content::Full, Flush::Skip, false));
        assert_eq!(of(Strategy::BulkFlush), (Content::Full, Flush::Auto, true));
        assert_eq!(of(Strategy::SerialFlush), (Content::Full, Flush::Auto, true));
    }

    #[test]
    fn the_format_is_the_servers_choice_unless_it_is_named() {
        let of = |format| {
            let request = CreateRequest { format, ..CreateRequest::default() };
            backup(&Settings::default(), &request, noon()).unwrap().task.format
        };
        assert_eq!(of(Format::Auto), task::Format::Auto);
        assert_eq!(of(Format::Binlog), task::Format::Binlog);
        assert_eq!(of(Format::Snapshot), task::Format::Snapshot);
    }

    #[test]
    fn a_request_decides_whether_garbage_collection_pauses_and_else_the_settings_do() {
        let of = |paused_by_default, pause_gc| {
            let settings = Settings { pause_gc: paused_by_default, ..Settings::default() };
            let gc_address = Some("http://milvus:9191".to_owned());
            let planned =
                backup(&settings, &CreateRequest { pause_gc, gc_address, ..CreateRequest::default() }, noon());
            let task = planned.unwrap().task;
            assert_eq!(task.milvus.management.as_deref(), Some("http://milvus:9191"));
            task.pause_gc
        };
        assert!(of(true, None) && of(false, Some(true)) && of(true, Some(true)));
        assert!(!of(false, None) && !of(true, Some(false)));
    }

    #[test]
    fn etcd_is_read_where_that_is_asked_for() {
        let of = |index_extra| {
            let request = CreateRequest { index_extra, ..CreateRequest::default() };
            backup(&Settings::default(), &request, noon()).unwrap().task.etcd
        };
        assert_eq!(of(false), None);
        let target = task::EtcdTarget { endpoints: vec!["localhost:2379".into()], root_path: "by-dev".into() };
        assert_eq!(of(true), Some(target));
    }

    #[test]
    fn users_and_the_cut_to_the_recovery_point_reach_the_engine() {
        let create = CreateRequest { rbac: true, ..CreateRequest::default() };
        assert!(backup(&Settings::default(), &create, noon()).unwrap().task.rbac);
        let asked = RestoreRequest { rbac: true, truncate_binlog_by_ts: true, ..request() };
        let task = restore(&Settings::default(), &asked, &shop()).unwrap().task;
        assert!(task.rbac && task.cut_to_recovery_point);
    }

    #[test]
    fn a_request_may_put_backups_elsewhere() {
        let create = CreateRequest { backup_root_path: Some("other/root".into()), ..CreateRequest::default() };
        let planned = backup(&Settings::default(), &create, noon()).unwrap();
        assert_eq!(planned.task.destination.prefix, "other/root");
        let request = RestoreRequest { bucket_name: Some("b2".into()), path: Some("p".into()), ..request() };
        let task = restore(&Settings::default(), &request, &shop()).unwrap().task;
        assert_eq!((task.source.bucket.as_str(), task.source.prefix.as_str()), ("b2", "p"));
        assert_eq!(task.target.store.bucket, "a-bucket");
    }

    #[test]
    fn indexes_are_built_unless_they_are_declined() {
        let of = |rebuild_index, use_auto_index| {
            let request = RestoreRequest { rebuild_index, use_auto_index, ..request() };
            restore(&Settings::default(), &request, &shop()).unwrap().task.indexes
        };
        assert_eq!(of(None, false), Indexes::Rebuild);
        assert_eq!(of(Some(true), false), Indexes::Rebuild);
        assert_eq!(of(Some(false), false), Indexes::Skip);
        assert_eq!(of(None, true), Indexes::Auto);
    }

    #[test]
    fn options_that_exclude_each_other_and_bounds_that_are_none_are_refused() {
        let bound = RestoreRequest { max_shard_num: -1, ..request() };
        assert!(refused(&bound).contains("maxShardNum"));
        let exclude = RestoreRequest { drop_exist_collection: true, skip_create_collection: true, ..request() };
        assert!(refused(&exclude).contains("exclude each other"));
    }

    #[test]
    fn existing_collections_are_kept_dropped_or_appended_to() {
        let of = |drop_exist_collection, skip_create_collection| {
            let request = RestoreRequest { drop_exist_collection, skip_create_collection, ..request() };
            let planned = restore(&Settings::default(), &request, &shop()).unwrap();
            (planned.task.on_conflict, planned.task.create_missing, planned.warnings.len())
        };
        assert_eq!(of(false, false), (OnConflict::Fail, true, 0));
        assert_eq!(of(true, false), (OnConflict::Replace, true, 0));
        assert_eq!(of(false, true), (OnConflict::Append, false, 1));
        let dropped = RestoreRequest { drop_exist_index: true, ..request() };
        assert!(restore(&Settings::default(), &dropped, &shop()).unwrap().task.drop_indexes);
    }

    #[test]
    fn the_log_in_of_milvus_reaches_the_task_only_where_there_is_one() {
        let mut settings = Settings::default();
        let auth = |settings: &Settings| restore(settings, &request(), &shop()).unwrap().task.target.auth;
        assert_eq!(auth(&settings), None);
        settings.milvus.user = "root".into();
        assert!(matches!(auth(&settings), Some(AuthFiles::Values { username, .. }) if username == "root"));
    }
}
