//! Pure: from requests and settings to tasks of the engine.
//!
//! What the engine cannot do is refused by a sentence that names the option. What it does in its own way is done and told in
//! a warning. Nothing is ignored in silence.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::filter::{Collections, Filter, Renames, is_word};
use super::request::{CreateRequest, Format, RestoreRequest, Strategy};
use crate::config::Settings;
use crate::engine::error::EngineError;
use crate::engine::select::Name;
use crate::engine::task::{
    BackupTask, Content, Flush, Indexes, Limits, Load, Mapping, OnCollectionError, OnConflict, Pattern, Rename,
    RestoreTask, Selection, VerifyBackup, VerifyRestore,
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
    refuse(*format == Format::Snapshot, "format snapshot", "leave it out, or use binlog")?;
    refuse(*rbac, "rbac", "leave it out and carry users and roles over by hand")?;
    refuse(
        *index_extra,
        "backup_index_extra (with_index_extra)",
        "leave it out; index definitions are in every backup",
    )?;
    refuse(*pause_gc == Some(true), "gc_pause_enable", GC_ADVICE)?;
    refuse(gc_address.is_some(), "gc_pause_address", GC_ADVICE)?;
    let mut warnings = Vec::new();
    if let Strategy::BulkFlush | Strategy::SerialFlush = strategy {
        warnings.push(
            "strategies bulk_flush and serial_flush are the same here: all selected collections are flushed at once"
                .to_owned(),
        );
    }
    if settings.pause_gc && *pause_gc != Some(false) && *strategy != Strategy::MetaOnly {
        warnings.push(format!("backup.pauseGC has no effect in this version: {GC_ADVICE}"));
    }
    let task = BackupTask {
        artifact,
        milvus: settings.milvus_target()?,
        destination: settings.backup_target()?,
        selection: match filter {
            Some(filter) => selection(filter)?,
            None => Selection::default(),
        },
        content: if *strategy == Strategy::MetaOnly { Content::SchemaOnly } else { Content::Full },
        index_metadata: true,
        flush: if *strategy == Strategy::SkipFlush { Flush::Skip } else { Flush::Auto },
        on_collection_error: OnCollectionError::Fail,
        verify: VerifyBackup::Manifest,
        limits: Limits { concurrency: settings.transfer.concurrency },
    };
    Ok(Planned { task, warnings })
}

const GC_ADVICE: &str = "raise dataCoord.gc.dropTolerance of Milvus above the time a backup takes";

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
    let include = match request.source.is_none() && request.target.is_none() {
        true => Vec::new(),
        false => pairs.iter().map(|(source, _)| exactly(source)).collect(),
    };
    let renamed = pairs.iter().filter(|(source, target)| source != target);
    let collections =
        renamed.map(|(source, target)| Rename { from: source.to_string(), to: target.to_string() }).collect();
    let task = RestoreTask {
        artifact: request.name.clone(),
        manifest_digest: None,
        source: settings.backup_target()?,
        target: settings.milvus_target()?,
        selection: Selection { include, ..Selection::default() },
        mapping: Mapping { collections, ..Mapping::default() },
        on_conflict: if request.drop_exist_collection { OnConflict::Replace } else { OnConflict::Fail },
        content: if request.meta_only { Content::SchemaOnly } else { Content::Full },
        indexes: match (request.rebuild_index, request.use_auto_index) {
            (Some(false), _) => Indexes::Skip,
            (_, true) => Indexes::Auto,
            (_, false) => Indexes::Rebuild,
        },
        load: if request.meta_only { Load::None } else { Load::Original },
        verify: VerifyRestore::RowCounts,
        preflight_only: false,
        cleanup_on_failure: true,
        last_attempt: true,
        limits: Limits { concurrency: settings.transfer.concurrency },
    };
    Ok(Planned { task, warnings: Vec::new() })
}

/// Which collection of the backup becomes which in the target.
///
/// # Errors
/// As [`restore`].
pub fn names(request: &RestoreRequest, info: &BackupInfo) -> Result<Vec<(Name, Name)>, EngineError> {
    let in_backup: BTreeSet<Name> = info
        .collection_backups
        .iter()
        .map(|collection| Name::new(&collection.db_name, &collection.collection_name))
        .collect();
    let planned = request.plan.as_ref().map(plan_renames).transpose()?;
    let renames = planned.as_ref().unwrap_or(&request.renames);
    if let Some(unknown) = renames.unknown(&in_backup) {
        return Err(EngineError::Rejected(format!(
            "{unknown} is to be renamed and is not in backup {}: correct the name",
            request.name
        )));
    }
    let suffix = request.suffix.as_deref().filter(|_| renames.is_empty() && planned.is_none()).unwrap_or_default();
    let target_filter = match &request.plan {
        Some(plan) => plan.filter.as_ref(),
        None => request.target.as_ref(),
    };
    for filter in request.source.iter().chain(target_filter) {
        refuse_bare_database(filter)?;
    }
    let pairs = in_backup
        .iter()
        .filter(|source| request.source.as_ref().is_none_or(|filter| filter.admits(source)))
        .map(|source| {
            let target = renames.target(source);
            (source.clone(), Name { collection: format!("{}{suffix}", target.collection), ..target })
        });
    let pairs: Vec<(Name, Name)> =
        pairs.filter(|(_, target)| target_filter.is_none_or(|filter| filter.admits(target))).collect();
    missing(request.source.as_ref(), in_backup.iter(), "in the backup")?;
    missing(target_filter, pairs.iter().map(|(_, target)| target), "among the names after renaming")?;
    if pairs.is_empty() && !in_backup.is_empty() {
        return Err(EngineError::Rejected(format!(
            "nothing of backup {} is selected: correct the filter, or leave it out",
            request.name
        )));
    }
    Ok(pairs)
}

/// A collection that a filter names and that is not there.
fn missing<'n>(
    filter: Option<&Filter>,
    there: impl Iterator<Item = &'n Name>,
    where_: &str,
) -> Result<(), EngineError> {
    let Some(filter) = filter else { return Ok(()) };
    let there: BTreeSet<&Name> = there.collect();
    for (database, wanted) in filter.databases() {
        let absent = match wanted {
            Collections::Named(names) => names
                .iter()
                .map(|name| Name::new(database, name))
                .find(|name| !there.contains(name))
                .map(|name| name.to_string()),
            Collections::All => (!there.iter().any(|name| name.database == database)).then(|| format!("{database}.*")),
            Collections::NoneOfThem => None,
        };
        if let Some(absent) = absent {
            return Err(EngineError::Rejected(format!(
                "the filter names {absent}, which is not {where_}: correct the filter"
            )));
        }
    }
    Ok(())
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
    let alone = "leave it out";
    refuse(request.rbac, "rbac", "leave it out and make users and roles by hand")?;
    refuse(request.drop_exist_index, "drop_exist_index", "use drop_exist_collection to make the collection anew")?;
    refuse(
        request.skip_create_collection,
        "skip_create_collection",
        "restore under another name, or drop the collection",
    )?;
    refuse(request.max_shard_num != 0, "maxShardNum", alone)?;
    refuse(!request.skip_params.is_empty(), "skipParams", alone)?;
    refuse(request.truncate_binlog_by_ts, "truncateBinlogByTs", alone)?;
    refuse(!request.ezk_mapping.is_empty(), "ezkMapping", alone)?;
    let plan = request.plan.iter().flat_map(|plan| &plan.mapping);
    let overridden =
        plan.flat_map(|database| &database.collections).any(|c| c.shard_num != 0 || !c.description.is_empty());
    refuse(overridden, "restorePlan override (shardNum, description)", alone)
}

fn plan_renames(plan: &super::request::RestorePlan) -> Result<Renames, EngineError> {
    let mut renames = Renames::default();
    for database in &plan.mapping {
        if database.source.is_empty() || database.target.is_empty() {
            return Err(EngineError::Rejected(
                "a database of restorePlan has no source or no target: name both".into(),
            ));
        }
        for collection in &database.collections {
            let from = Name::new(&database.source, &collection.source);
            renames.add(from, Name::new(&database.target, &collection.target)).map_err(EngineError::Rejected)?;
        }
    }
    Ok(renames)
}

fn selection(filter: &Filter) -> Result<Selection, EngineError> {
    refuse_bare_database(filter)?;
    let include = filter.databases().map(|(database, wanted)| Pattern {
        database: database.to_owned(),
        collections: match wanted {
            Collections::Named(names) => names.iter().cloned().collect(),
            Collections::All | Collections::NoneOfThem => Vec::new(),
        },
    });
    Ok(Selection { include: include.collect(), ..Selection::default() })
}

fn exactly(name: &Name) -> Pattern {
    Pattern { database: name.database.clone(), collections: vec![name.collection.clone()] }
}

fn refuse_bare_database(filter: &Filter) -> Result<(), EngineError> {
    match filter.bare_database() {
        Some(database) => Err(EngineError::Rejected(format!(
            "the filter names database {database} without its collections, which this version cannot do: use {database}.*"
        ))),
        None => Ok(()),
    }
}

fn refuse(asked: bool, option: &str, advice: &str) -> Result<(), EngineError> {
    match asked {
        true => Err(EngineError::Rejected(format!("{option} is not supported by this version: {advice}"))),
        false => Ok(()),
    }
}
