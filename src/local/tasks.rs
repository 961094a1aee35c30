//! Pure: from requests and settings to tasks of the engine.
//!
//! What the engine cannot do is refused by a sentence that names the option. What it does in its own way is done and told in
//! a warning. Nothing is ignored in silence.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::filter::{Collections, Filter, is_word};
use super::request::{CreateRequest, Format, RestorePlan, RestoreRequest, Strategy};
use crate::config::Settings;
use crate::engine::error::EngineError;
use crate::engine::select::Name;
use crate::engine::task;
use crate::engine::task::{
    BackupTask, Content, Flush, Indexes, Limits, Load, Mapping, OnCollectionError, OnConflict, Override, Pattern,
    Rename, RestoreTask, Selection, VerifyBackup, VerifyRestore,
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
        limits: Limits { concurrency: settings.transfer.concurrency, ..Limits::default() },
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
        verify: VerifyRestore::RowCounts,
        restore_path: request.restore_path,
        rbac: request.rbac,
        keys: request.ezk_mapping.clone(),
        cut_to_recovery_point: request.truncate_binlog_by_ts,
        preflight_only: false,
        cleanup_on_failure: true,
        last_attempt: true,
        limits: Limits { concurrency: settings.transfer.concurrency, ..Limits::default() },
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

/// New names, and what is made otherwise under them.
fn mapping(request: &RestoreRequest, pairs: &[(Name, Name)]) -> Mapping {
    let databases: Vec<Rename> = database_targets(request)
        .into_iter()
        .map(|(from, to)| Rename { from: from.to_owned(), to: to.to_owned() })
        .collect();
    // What rules for the database alone would make of a name.
    let by_databases = |source: &Name| {
        let rules = databases.iter().filter(|rule| rule.from == source.database);
        let named: Vec<Name> = rules.map(|rule| Name::new(&rule.to, &source.collection)).collect();
        if named.is_empty() { vec![source.clone()] } else { named }
    };
    let collections = pairs
        .chunk_by(|(one, _), (other, _)| one == other)
        .filter(|of_one| {
            let (source, _) = &of_one[0];
            !of_one.iter().map(|(_, target)| target).eq(&by_databases(source))
        })
        .flatten()
        .map(|(source, target)| Rename { from: source.to_string(), to: target.to_string() })
        .collect();
    Mapping {
        collections,
        suffix: None,
        overrides: overrides(request, pairs),
        max_shards: (request.max_shard_num != 0).then_some(request.max_shard_num),
        skip_params: request.skip_params.clone(),
        databases,
    }
}

/// Changes of a plan to the collections that are restored.
fn overrides(request: &RestoreRequest, pairs: &[(Name, Name)]) -> Vec<Override> {
    let plan = request.plan.iter().flat_map(|plan| &plan.mapping);
    plan.flat_map(|database| database.collections.iter().map(|one| (Name::new(&database.target, &one.target), one)))
        .filter(|(target, one)| one.changes() && pairs.iter().any(|(_, restored)| restored == target))
        .map(|(target, one)| Override {
            collection: target.to_string(),
            shards: (one.shard_num != 0).then_some(one.shard_num),
            description: (!one.description.is_empty()).then(|| one.description.clone()),
        })
        .collect()
}

/// New names of databases as such: those of a plan, else those that are renamed as a whole. One that also keeps its name among
/// others is there with it too.
fn database_targets(request: &RestoreRequest) -> Vec<(&str, &str)> {
    let Some(plan) = &request.plan else { return request.renames.databases().collect() };
    let mut targets: Vec<(&str, &str)> = Vec::new();
    for pair in plan.mapping.iter().map(|one| (one.source.as_str(), one.target.as_str())) {
        if !targets.contains(&pair) {
            targets.push(pair);
        }
    }
    let all = targets.clone();
    targets.retain(|(from, to)| from != to || all.iter().any(|other| other.0 == *from && other.1 != *to));
    targets
}

fn target_filter(request: &RestoreRequest) -> Option<&Filter> {
    match &request.plan {
        Some(plan) => plan.filter.as_ref(),
        None => request.target.as_ref(),
    }
}

/// Databases of the backup that the filters name without their collections.
///
/// # Errors
/// One that is not in the backup.
fn bare_databases(request: &RestoreRequest, info: &BackupInfo) -> Result<Vec<String>, EngineError> {
    let recorded: Vec<&str> = info.database_backups.iter().map(|database| database.db_name.as_str()).collect();
    let rules = database_targets(request);
    let targets = |source: &str| -> Vec<String> {
        let named = rules.iter().filter(|(from, _)| *from == source).map(|(_, to)| (*to).to_owned());
        let named: Vec<String> = named.collect();
        if named.is_empty() { vec![source.to_owned()] } else { named }
    };
    let absent = |name: &str| {
        Err(EngineError::Rejected(format!(
            "the filter names database {name}, which is not in the backup: correct the filter"
        )))
    };
    let mut wanted: Option<Vec<String>> = None;
    if let Some(filter) = &request.source {
        if let Some(gone) = filter.bare_databases().find(|name| !recorded.contains(name)) {
            return absent(gone);
        }
        wanted = Some(filter.bare_databases().map(str::to_owned).collect());
    }
    if let Some(filter) = target_filter(request) {
        let named: Vec<&str> = filter.bare_databases().collect();
        let becomes = |source: &str, name: &str| targets(source).iter().any(|target| target == name);
        if let Some(gone) = named.iter().find(|name| !recorded.iter().any(|source| becomes(source, name))) {
            return absent(gone);
        }
        let both = |source: &&str| {
            let asked = request.source.as_ref().is_none_or(|filter| filter.names_database(source));
            asked && named.iter().any(|name| becomes(source, name))
        };
        wanted = Some(recorded.iter().copied().filter(both).map(str::to_owned).collect());
    }
    Ok(wanted.unwrap_or_default())
}

/// Which collection of the backup becomes which in the target; one that gets several names is there with each.
///
/// # Errors
/// As [`restore`].
pub fn names(request: &RestoreRequest, info: &BackupInfo) -> Result<Vec<(Name, Name)>, EngineError> {
    let in_backup: BTreeSet<Name> = info
        .collection_backups
        .iter()
        .map(|collection| Name::new(&collection.db_name, &collection.collection_name))
        .collect();
    let planned = request.plan.as_ref().map(RestorePlan::renames).transpose().map_err(EngineError::Rejected)?;
    let renames = planned.as_ref().unwrap_or(&request.renames);
    if let Some(unknown) = renames.unknown(&in_backup) {
        return Err(EngineError::Rejected(format!(
            "{unknown} is to be renamed and is not in backup {}: correct the name",
            request.name
        )));
    }
    let suffix = request.suffix.as_deref().filter(|_| renames.is_empty() && planned.is_none()).unwrap_or_default();
    let target_filter = target_filter(request);
    let pairs = in_backup
        .iter()
        .filter(|source| request.source.as_ref().is_none_or(|filter| filter.admits(source)))
        .flat_map(|source| renames.targets(source).into_iter().map(move |target| (source, target)))
        .map(|(source, target)| {
            (source.clone(), Name { collection: format!("{}{suffix}", target.collection), ..target })
        });
    let pairs: Vec<(Name, Name)> =
        pairs.filter(|(_, target)| target_filter.is_none_or(|filter| filter.admits(target))).collect();
    missing(request.source.as_ref(), in_backup.iter(), "in the backup")?;
    missing(target_filter, pairs.iter().map(|(_, target)| target), "among the names after renaming")?;
    let mut filters = request.source.iter().chain(target_filter);
    if pairs.is_empty() && !in_backup.is_empty() && !filters.any(|filter| filter.bare_databases().next().is_some()) {
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
    if request.max_shard_num < 0 {
        return Err(EngineError::Rejected(format!(
            "maxShardNum is {}: use 1 or more, or leave it out",
            request.max_shard_num
        )));
    }
    Ok(())
}

fn selection(filter: &Filter) -> Selection {
    let include = filter.databases().filter_map(|(database, wanted)| {
        let collections = match wanted {
            Collections::Named(names) => names.iter().cloned().collect(),
            Collections::All => Vec::new(),
            Collections::NoneOfThem => return None,
        };
        Some(Pattern { database: database.to_owned(), collections })
    });
    let databases = filter.bare_databases().map(str::to_owned).collect();
    Selection { include: include.collect(), databases, ..Selection::default() }
}

fn exactly(name: &Name) -> Pattern {
    Pattern { database: name.database.clone(), collections: vec![name.collection.clone()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::task::AuthFiles;
    use crate::local::filter::{EmptyMeans, Renames};
    use crate::local::request::{PlanCollection, PlanDatabase, SkipParams};
    use crate::manifest::CollectionBackupInfo;

    fn info(names: &[&str]) -> BackupInfo {
        let collection = |name: &&str| {
            let (database, collection) = name.split_once('.').unwrap();
            CollectionBackupInfo {
                db_name: database.into(),
                collection_name: collection.into(),
                ..CollectionBackupInfo::default()
            }
        };
        BackupInfo { collection_backups: names.iter().map(collection).collect(), ..BackupInfo::default() }
    }

    fn shop() -> BackupInfo {
        info(&["default.docs", "sales.orders", "sales.items"])
    }

    fn request() -> RestoreRequest {
        RestoreRequest { name: "b".into(), ..RestoreRequest::default() }
    }

    fn filter(text: &str) -> Option<Filter> {
        Filter::parse(text).unwrap()
    }

    fn shown(request: &RestoreRequest) -> Vec<String> {
        names(request, &shop()).unwrap().iter().map(|(source, target)| format!("{source}>{target}")).collect()
    }

    fn refused(request: &RestoreRequest) -> String {
        restore(&Settings::default(), request, &shop()).unwrap_err().to_string()
    }

    fn noon() -> Timestamp {
        "2026-11-21T01:40:43.417648966Z".parse().unwrap()
    }

    #[test]
    fn a_backup_without_a_name_gets_that_of_its_moment() {
        let planned = backup(&Settings::default(), &CreateRequest::default(), noon()).unwrap();
        assert_eq!(planned.task.artifact, "backup_2026_11_21_01_40_43_417648966");
        assert_eq!(planned.task.destination.prefix, "backup");
        assert_eq!(planned.task.selection, Selection::default());
    }

    #[test]
    fn a_filter_becomes_a_selection_of_exactly_that() {
        let request = CreateRequest { filter: filter("a.*,b.one,two"), ..CreateRequest::default() };
        let planned = backup(&Settings::default(), &request, noon()).unwrap();
        let include: Vec<(String, Vec<String>)> =
            planned.task.selection.include.into_iter().map(|pattern| (pattern.database, pattern.collections)).collect();
        let of =
            |database: &str, names: &[&str]| (database.to_owned(), names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(include, [of("a", &[]), of("b", &["one"]), of("default", &["two"])]);
        assert!(!planned.task.selection.allow_empty);
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
    fn names_stay_get_a_suffix_or_follow_their_rules() {
        assert_eq!(
            shown(&request()),
            ["default.docs>default.docs", "sales.items>sales.items", "sales.orders>sales.orders"]
        );
        let suffix = RestoreRequest { suffix: Some("_r".into()), source: filter("sales.*"), ..request() };
        assert_eq!(shown(&suffix), ["sales.items>sales.items_r", "sales.orders>sales.orders_r"]);
        let renames = Renames::parse("sales.*:shop.*,docs:papers").unwrap();
        let both = RestoreRequest { renames, suffix: Some("_r".into()), ..request() };
        assert_eq!(shown(&both), ["default.docs>default.papers", "sales.items>shop.items", "sales.orders>shop.orders"]);
    }

    #[test]
    fn a_target_filter_speaks_of_names_after_renaming() {
        let found = RestoreRequest { suffix: Some("_r".into()), target: filter("sales.orders_r"), ..request() };
        assert_eq!(shown(&found), ["sales.orders>sales.orders_r"]);
        let task = restore(&Settings::default(), &found, &shop()).unwrap().task;
        assert_eq!(task.selection.include, [Pattern { database: "sales".into(), collections: vec!["orders".into()] }]);
        assert_eq!(task.mapping.collections, [Rename { from: "sales.orders".into(), to: "sales.orders_r".into() }]);
        let old_name = RestoreRequest { suffix: Some("_r".into()), target: filter("sales.orders"), ..request() };
        assert!(refused(&old_name).contains("sales.orders, which is not among the names after renaming"));
    }

    #[test]
    fn without_filters_the_engine_takes_everything_even_an_empty_backup() {
        let task = restore(&Settings::default(), &request(), &info(&[])).unwrap().task;
        assert_eq!((task.selection, task.mapping), (Selection::default(), Mapping::default()));
    }

    #[test]
    fn a_plan_gives_names_and_without_a_filter_takes_everything() {
        let orders = PlanCollection { source: "orders".into(), target: "o2".into(), ..PlanCollection::default() };
        let mapping =
            vec![PlanDatabase { source: "sales".into(), target: "shop".into(), collections: vec![orders.clone()] }];
        let plan = RestorePlan { mapping: mapping.clone(), filter: None };
        let planned = RestoreRequest { plan: Some(plan.clone()), ..request() };
        assert_eq!(shown(&planned), ["default.docs>default.docs", "sales.items>sales.items", "sales.orders>shop.o2"]);
        let only = Filter::of_map([("shop", ["o2"])], EmptyMeans::DatabaseOnly).unwrap();
        let narrow = RestoreRequest { plan: Some(RestorePlan { filter: Some(only), ..plan.clone() }), ..request() };
        assert_eq!(shown(&narrow), ["sales.orders>shop.o2"]);
        let twice = PlanDatabase { collections: vec![orders.clone(), orders], ..mapping[0].clone() };
        let twice = RestoreRequest { plan: Some(RestorePlan { mapping: vec![twice], filter: None }), ..request() };
        assert!(refused(&twice).contains("sales.orders is renamed to shop.o2 twice"));
        let both = RestoreRequest { suffix: Some("_r".into()), ..planned };
        assert!(refused(&both).contains("restorePlan excludes"));
    }

    /// Orders under three names in two databases, one of them its own.
    fn one_to_many() -> Vec<PlanDatabase> {
        let to = |target: &str, shard_num| PlanCollection {
            source: "orders".into(),
            target: target.into(),
            shard_num,
            ..PlanCollection::default()
        };
        let database =
            |target: &str, collections| PlanDatabase { source: "sales".into(), target: target.into(), collections };
        vec![database("shop", vec![to("o2", 2), to("o1", 0)]), database("sales", vec![to("orders", 3)])]
    }

    #[test]
    fn a_plan_restores_a_collection_under_every_name_it_gives() {
        let plan = RestorePlan { mapping: one_to_many(), filter: None };
        let all = RestoreRequest { plan: Some(plan), ..request() };
        let of_orders = ["sales.orders>shop.o2", "sales.orders>shop.o1", "sales.orders>sales.orders"];
        assert_eq!(shown(&all), [&["default.docs>default.docs", "sales.items>sales.items"], &of_orders[..]].concat());
        let task = restore(&Settings::default(), &all, &shop()).unwrap().task;
        let rules: Vec<String> =
            task.mapping.collections.iter().map(|rule| format!("{}>{}", rule.from, rule.to)).collect();
        // The plan speaks of orders only, and its databases would take items along.
        assert_eq!(rules, [&["sales.items>sales.items"], &of_orders[..]].concat());
        let shards: Vec<_> = task.mapping.overrides.iter().map(|one| (one.collection.as_str(), one.shards)).collect();
        assert_eq!(shards, [("shop.o2", Some(2)), ("sales.orders", Some(3))]);
        assert_eq!(task.selection, Selection::default());
    }

    #[test]
    fn a_filter_of_a_plan_chooses_among_the_names_of_a_collection() {
        let filter = Filter::of_map([("shop", ["o2"]), ("sales", ["orders"])], EmptyMeans::DatabaseOnly).unwrap();
        let plan = RestorePlan { mapping: one_to_many(), filter: Some(filter) };
        let some = RestoreRequest { plan: Some(plan), ..request() };
        assert_eq!(shown(&some), ["sales.orders>shop.o2", "sales.orders>sales.orders"]);
        let task = restore(&Settings::default(), &some, &shop()).unwrap().task;
        assert_eq!(task.selection.include, [Pattern { database: "sales".into(), collections: vec!["orders".into()] }]);
        assert_eq!(task.mapping.collections.len(), 2);
        let alone = Filter::of_map([("sales", ["orders"])], EmptyMeans::DatabaseOnly).unwrap();
        let plan = RestorePlan { mapping: one_to_many(), filter: Some(alone) };
        let one = RestoreRequest { plan: Some(plan), ..request() };
        let task = restore(&Settings::default(), &one, &shop()).unwrap().task;
        let rule = Rename { from: "sales.orders".into(), to: "sales.orders".into() };
        assert_eq!(task.mapping.collections, [rule], "its databases would give it another name");
    }

    #[test]
    fn an_empty_database_gets_every_name_of_a_plan_and_keeps_its_own_where_that_is_one_of_them() {
        let database =
            |target: &str| PlanDatabase { source: "empty".into(), target: target.into(), collections: vec![] };
        let rules = |targets: &[&str]| {
            let plan = RestorePlan { mapping: targets.iter().map(|name| database(name)).collect(), filter: None };
            let request = RestoreRequest { plan: Some(plan), ..request() };
            let mapping = restore(&Settings::default(), &request, &shop()).unwrap().task.mapping;
            mapping.databases.into_iter().map(|rule| rule.to).collect::<Vec<_>>()
        };
        assert_eq!(rules(&["empty", "void", "void"]), ["empty", "void"]);
        assert_eq!(rules(&["empty"]), Vec::<String>::new());
    }

    #[test]
    fn renamings_may_give_several_names_too() {
        let renames = Renames::parse("sales.*:a.*,sales.*:b.*,docs:x,docs:docs").unwrap();
        let many = RestoreRequest { renames, source: filter("docs,sales.items"), ..request() };
        let names =
            ["default.docs>default.x", "default.docs>default.docs", "sales.items>a.items", "sales.items>b.items"];
        assert_eq!(shown(&many), names);
        let mapping = restore(&Settings::default(), &many, &shop()).unwrap().task.mapping;
        let rules: Vec<&str> = mapping.collections.iter().map(|rule| rule.to.as_str()).collect();
        assert_eq!(rules, ["default.x", "default.docs"], "those of the databases say the rest");
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
    fn changes_of_a_plan_follow_the_collections_that_are_restored() {
        let orders =
            PlanCollection { source: "orders".into(), target: "o2".into(), shard_num: 2, description: "new".into() };
        let items =
            PlanCollection { source: "items".into(), target: "items".into(), shard_num: 3, ..Default::default() };
        let database = PlanDatabase { source: "sales".into(), target: "shop".into(), collections: vec![orders, items] };
        let only = Filter::of_map([("shop", ["o2"])], EmptyMeans::DatabaseOnly).unwrap();
        let skip_params = SkipParams { index_params: vec!["k".into()], ..SkipParams::default() };
        let of = |filter| {
            let plan = RestorePlan { mapping: vec![database.clone()], filter };
            let request =
                RestoreRequest { plan: Some(plan), max_shard_num: 4, skip_params: skip_params.clone(), ..request() };
            restore(&Settings::default(), &request, &shop()).unwrap().task.mapping
        };
        let changed: Vec<String> = of(None).overrides.into_iter().map(|change| change.collection).collect();
        assert_eq!(changed, ["shop.o2", "shop.items"]);
        let mapping = of(Some(only));
        let change = Override { collection: "shop.o2".into(), shards: Some(2), description: Some("new".to_owned()) };
        assert_eq!(mapping.overrides, [change]);
        assert_eq!((mapping.max_shards, &mapping.skip_params), (Some(4), &skip_params));
    }

    #[test]
    fn databases_without_their_collections_are_selected_by_either_name() {
        let mut backup = shop();
        backup.database_backups = ["default", "sales", "empty"].map(database_info).into();
        let of = |request: &RestoreRequest| {
            restore(&Settings::default(), request, &backup)
                .map(|planned| (planned.task.selection, planned.task.mapping))
        };
        let (selection, _) = of(&RestoreRequest { source: filter("empty.,docs"), ..request() }).unwrap();
        assert_eq!((selection.databases.as_slice(), selection.include.len()), (["empty".to_owned()].as_slice(), 1));
        let renames = Renames::parse("sales.*:shop.*").unwrap();
        let renamed = RestoreRequest { renames, target: filter("shop."), ..request() };
        let (selection, mapping) = of(&renamed).unwrap();
        assert_eq!((selection.databases.as_slice(), selection.include.len()), (["sales".to_owned()].as_slice(), 0));
        assert_eq!(mapping.databases, [Rename { from: "sales".into(), to: "shop".into() }]);
        assert_eq!(mapping.collections, []);
        for gone in [
            RestoreRequest { source: filter("gone."), ..request() },
            RestoreRequest {
                target: filter("sales."),
                renames: Renames::parse("sales.*:shop.*").unwrap(),
                ..request()
            },
        ] {
            assert!(of(&gone).unwrap_err().to_string().contains("which is not in the backup"));
        }
        let create = CreateRequest { filter: filter("a.,b.one"), ..CreateRequest::default() };
        let selection = backup_selection(&create);
        assert_eq!((selection.databases.as_slice(), selection.include.len()), (["a".to_owned()].as_slice(), 1));
    }

    fn database_info(name: &str) -> crate::manifest::backup_info::DatabaseBackupInfo {
        crate::manifest::backup_info::DatabaseBackupInfo { db_name: name.into(), ..Default::default() }
    }

    fn backup_selection(create: &CreateRequest) -> Selection {
        backup(&Settings::default(), create, noon()).unwrap().task.selection
    }

    #[test]
    fn what_the_filter_names_and_the_backup_lacks_is_told() {
        let gone = RestoreRequest { source: filter("sales.gone"), ..request() };
        assert!(refused(&gone).contains("sales.gone, which is not in the backup"));
        let gone = RestoreRequest { source: filter("gone.*"), ..request() };
        assert!(refused(&gone).contains("gone.*, which is not in the backup"));
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
