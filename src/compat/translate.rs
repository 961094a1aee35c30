//! Pure: from the bodies of the API to requests of [`crate::local`].
//!
//! Which field wins over which is as in milvus-backup 0.5.16, core/server/create.go and restore.go. What there selects
//! nothing and succeeds (a filter that is present and empty) is an error here.

use std::collections::BTreeMap;

use super::errors::OperationError;
use super::wire::{self, CollectionFilter, DbCollections};
use crate::engine::task::{Rename, RestorePath, VerifyRestore};
use crate::local::filter::{EmptyMeans, Filter, Renames, is_word};
use crate::local::request::{
    CreateRequest, Format, PlanCollection, PlanDatabase, RestorePlan, RestoreRequest, SkipParams, Strategy,
};
use crate::manifest::layout::NAME_LIMIT;

/// Longest id a client may choose.
const ID_LIMIT: usize = 256;

/// An id that a client chose.
///
/// # Errors
/// It is too long, or not printable.
pub fn valid_id(what: &str, id: &str) -> Result<(), OperationError> {
    match id.len() <= ID_LIMIT && !id.chars().any(char::is_control) {
        true => Ok(()),
        false => parameter(format!("{what} has more than {ID_LIMIT} bytes or unprintable characters")),
    }
}

/// The name of a backup.
///
/// # Errors
/// What is wrong with it. The sentence about characters is the Go tool's.
pub fn valid_name(name: &str) -> Result<(), OperationError> {
    if name.is_empty() {
        return parameter("backup name is required");
    }
    if name.len() > NAME_LIMIT {
        return parameter(format!("backup name should have at most {NAME_LIMIT} characters"));
    }
    if !is_word(name) {
        return parameter("backup name should only contain numbers, letters and underscores");
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return parameter("backup name should start with a letter or an underscore");
    }
    Ok(())
}

/// A backup.
///
/// # Errors
/// A bad name, a filter that is not understood or empty, an unknown strategy or format.
pub fn create(request: &wire::CreateRequest, id: &str) -> Result<CreateRequest, OperationError> {
    valid_name(&request.backup_name)?;
    let collections = in_field("db_collections", request.db_collections.read())?;
    let filter = match &request.filter {
        Some(filter) => Some(by_database("filter", filter)?),
        None if !collections.is_empty() => {
            Some(in_field("db_collections", Filter::of_map(&collections, EmptyMeans::All))?)
        }
        None => in_field("collection_names", Filter::of_words(request.collection_names.iter().map(String::as_str)))?,
    };
    Ok(CreateRequest {
        id: Some(id.to_owned()),
        name: Some(request.backup_name.clone()),
        filter,
        strategy: strategy(request)?,
        format: match request.format.to_ascii_lowercase().as_str() {
            "" | "auto" => Format::Auto,
            "binlog" => Format::Binlog,
            "snapshot" => Format::Snapshot,
            other => return Err(failed(format!("format: {other:?} is none of auto, binlog, snapshot"))),
        },
        rbac: request.rbac,
        index_extra: request.with_index_extra,
        pause_gc: request.gc_pause_enable.then_some(true),
        gc_address: given(&request.gc_pause_address),
        backup_root_path: given(&request.backup_root_path),
    })
}

fn strategy(request: &wire::CreateRequest) -> Result<Strategy, OperationError> {
    Ok(match request.strategy.as_str() {
        "" if request.force => Strategy::SkipFlush,
        "" if request.meta_only => Strategy::MetaOnly,
        "" | "auto" => Strategy::Auto,
        "meta_only" => Strategy::MetaOnly,
        "skip_flush" => Strategy::SkipFlush,
        "bulk_flush" => Strategy::BulkFlush,
        "serial_flush" => Strategy::SerialFlush,
        other => {
            let known = "auto, meta_only, skip_flush, bulk_flush, serial_flush";
            return Err(failed(format!("strategy: {other:?} is none of {known}")));
        }
    })
}

/// A restore.
///
/// # Errors
/// Options that exclude each other, a filter or renaming that is not understood.
pub fn restore(request: &wire::RestoreRequest, id: &str) -> Result<RestoreRequest, OperationError> {
    exclusive(request)?;
    valid_name(&request.backup_name)?;
    let in_backup = in_field("db_collections", request.db_collections.read())?;
    let source = match in_backup.is_empty() {
        false => Some(in_field("db_collections", Filter::of_map(&in_backup, EmptyMeans::All))?),
        true => in_field("collection_names", Filter::of_words(request.collection_names.iter().map(String::as_str)))?,
    };
    let renames = request.collection_renames.iter().map(|(from, to)| Rename { from: from.clone(), to: to.clone() });
    Ok(RestoreRequest {
        id: Some(id.to_owned()),
        name: request.backup_name.clone(),
        bucket_name: given(&request.bucket_name),
        path: given(&request.path),
        source,
        target: after_rename(&request.db_collections_after_rename)?,
        suffix: given(&request.collection_suffix),
        renames: in_field("collection_renames", Renames::of(renames))?,
        plan: request.restore_plan.as_ref().map(plan).transpose()?,
        meta_only: request.meta_only,
        rebuild_index: request.restore_index,
        use_auto_index: request.use_auto_index,
        drop_exist_collection: request.drop_exist_collection,
        drop_exist_index: request.drop_exist_index,
        skip_create_collection: request.skip_create_collection,
        // Not in the Go tool's body.
        restore_path: RestorePath::Auto,
        verify: VerifyRestore::RowCounts,
        rbac: request.rbac,
        use_v2_restore: request.use_v2_restore,
        max_shard_num: request.max_shard_num,
        skip_params: SkipParams {
            collection_properties: request.skip_params.collection_properties.clone(),
            field_type_params: request.skip_params.field_type_params.clone(),
            field_index_params: request.skip_params.field_index_params.clone(),
            index_params: request.skip_params.index_params.clone(),
        },
        truncate_binlog_by_ts: request.truncate_binlog_by_ts,
        ezk_mapping: request.ezk_mapping.clone().into_iter().collect(),
    })
}

/// Options that exclude each other, in the Go tool's order and words.
fn exclusive(request: &wire::RestoreRequest) -> Result<(), OperationError> {
    let (plan, suffix) = (request.restore_plan.is_some(), request.collection_suffix.as_str());
    if request.backup_name.is_empty() {
        return parameter("backup name is required");
    }
    if plan && !suffix.is_empty() {
        return parameter("restore plan and collection suffix cannot be set at the same time");
    }
    if plan && !request.collection_renames.is_empty() {
        return parameter("restore plan and collection renames cannot be set at the same time");
    }
    if !suffix.is_empty() && !is_word(suffix) {
        return parameter("only alphanumeric characters and underscores are allowed in collection suffix");
    }
    if request.drop_exist_collection && request.skip_create_collection {
        return parameter("drop_exist_collection and skip_create_collection cannot be true at the same time");
    }
    Ok(())
}

fn plan(plan: &wire::RestorePlan) -> Result<RestorePlan, OperationError> {
    if plan.mapping.is_empty() {
        return parameter("restorePlan has no mapping, so it selects nothing: name databases in it, or leave it out");
    }
    let collection = |mapping: &wire::CollectionMapping| {
        let overrides = mapping.overrides.clone().unwrap_or_default();
        PlanCollection {
            source: mapping.source.clone(),
            target: mapping.target.clone(),
            shard_num: overrides.shard_num,
            description: overrides.description,
        }
    };
    let database = |mapping: &wire::DatabaseMapping| PlanDatabase {
        source: mapping.source.clone(),
        target: mapping.target.clone(),
        collections: mapping.colls.iter().map(collection).collect(),
    };
    Ok(RestorePlan {
        mapping: plan.mapping.iter().map(database).collect(),
        filter: plan.filter.as_ref().map(|filter| by_database("restorePlan.filter", filter)).transpose()?,
    })
}

fn after_rename(collections: &DbCollections) -> Result<Option<Filter>, OperationError> {
    let field = "db_collections_after_rename";
    let collections = in_field(field, collections.read())?;
    match collections.is_empty() {
        true => Ok(None),
        false => Ok(Some(in_field(field, Filter::of_map(&collections, EmptyMeans::All))?)),
    }
}

fn by_database(field: &str, filter: &BTreeMap<String, CollectionFilter>) -> Result<Filter, OperationError> {
    if filter.is_empty() {
        return parameter(format!(
            "{field} names no database, so it selects nothing: leave it out to select everything"
        ));
    }
    in_field(field, Filter::of_map(filter.iter().map(|(name, wanted)| (name, &wanted.colls)), EmptyMeans::DatabaseOnly))
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn in_field<T>(field: &str, read: Result<T, String>) -> Result<T, OperationError> {
    read.map_err(|cause| failed(format!("{field}: {cause}")))
}

fn failed(message: String) -> OperationError {
    OperationError::failed(message)
}

fn parameter<T>(message: impl Into<String>) -> Result<T, OperationError> {
    Err(OperationError::Parameter(message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::wire::code;

    fn read(body: &str) -> wire::CreateRequest {
        super::super::body::read(body.as_bytes()).unwrap()
    }

    fn read_restore(body: &str) -> wire::RestoreRequest {
        super::super::body::read(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_is_judged_in_the_go_tools_words() {
        for (name, said) in [
            ("has-hyphen", "only contain numbers, letters and underscores"),
            ("has space", "only contain numbers, letters and underscores"),
            ("größer", "only contain numbers, letters and underscores"),
            ("", "required"),
            ("1st", "start with a letter"),
            (&"x".repeat(129), "at most 128"),
        ] {
            let error = valid_name(name).unwrap_err();
            assert_eq!(error.code(), code::PARAMETER);
            assert!(error.message().contains(said), "{name} {error}");
        }
        valid_name("_a1").unwrap();
    }

    #[test]
    fn a_filter_wins_over_the_deprecated_fields() {
        let body =
            r#"{"backup_name":"b","filter":{"f":{"colls":["*"]}},"db_collections":{"d":[]},"collection_names":["c"]}"#;
        let by = |request: &wire::CreateRequest| {
            create(request, "i").unwrap().filter.map(|f| f.databases().next().unwrap().0.to_owned())
        };
        let mut request = read(body);
        assert_eq!(by(&request).as_deref(), Some("f"));
        request.filter = None;
        assert_eq!(by(&request).as_deref(), Some("d"));
        request.db_collections = DbCollections::default();
        assert_eq!(by(&request).as_deref(), Some("default"));
        request.collection_names.clear();
        assert_eq!(by(&request), None);
    }

    #[test]
    fn a_strategy_wins_over_force_and_force_over_meta_only() {
        let strategy = |body: &str| create(&read(body), "i").unwrap().strategy;
        assert_eq!(strategy(r#"{"backup_name":"b","strategy":"bulk_flush","force":true}"#), Strategy::BulkFlush);
        assert_eq!(strategy(r#"{"backup_name":"b","force":true,"meta_only":true}"#), Strategy::SkipFlush);
        assert_eq!(strategy(r#"{"backup_name":"b","meta_only":true}"#), Strategy::MetaOnly);
        assert_eq!(strategy(r#"{"backup_name":"b"}"#), Strategy::Auto);
        let unknown = create(&read(r#"{"backup_name":"b","strategy":"fast"}"#), "i").unwrap_err();
        assert!(unknown.code() == code::FAIL && unknown.message().contains("skip_flush"), "{unknown}");
    }

    #[test]
    fn a_filter_that_selects_nothing_is_an_error() {
        let said = create(&read(r#"{"backup_name":"b","filter":{}}"#), "i").unwrap_err();
        assert!(said.code() == code::PARAMETER && said.message().contains("leave it out"), "{said}");
        for plan in [r#"{"mapping":[]}"#, r#"{"mapping":[{"source":"a","target":"a"}],"filter":{}}"#] {
            let request = read_restore(&format!(r#"{{"backup_name":"b","restorePlan":{plan}}}"#));
            assert_eq!(restore(&request, "i").unwrap_err().code(), code::PARAMETER, "{plan}");
        }
    }

    #[test]
    fn a_plan_without_a_filter_means_all_that_is_mapped() {
        let request = read_restore(
            r#"{"backup_name":"b","restorePlan":{"mapping":[{"source":"a","target":"z","colls":[
                {"source":"x","target":"y","override":{"shardNum":2,"description":"d"}}]}]}}"#,
        );
        let plan = restore(&request, "i").unwrap().plan.unwrap();
        assert_eq!(plan.filter, None);
        assert_eq!((plan.mapping[0].collections[0].shard_num, plan.mapping[0].target.as_str()), (2, "z"));
    }

    #[test]
    fn options_that_exclude_each_other_are_refused_in_the_go_tools_words() {
        for (options, said) in [
            (
                r#""restorePlan":{"mapping":[]},"collection_suffix":"_a""#,
                "restore plan and collection suffix cannot be set",
            ),
            (
                r#""restorePlan":{"mapping":[]},"collection_renames":{"a":"b"}"#,
                "restore plan and collection renames cannot",
            ),
            (
                r#""collection_suffix":"-a""#,
                "only alphanumeric characters and underscores are allowed in collection suffix",
            ),
            (r#""dropExistCollection":true,"skipCreateCollection":true"#, "cannot be true at the same time"),
        ] {
            let error = restore(&read_restore(&format!(r#"{{"backup_name":"b",{options}}}"#)), "i").unwrap_err();
            assert!(error.code() == code::PARAMETER && error.message().contains(said), "{options}: {error}");
        }
    }

    #[test]
    fn every_field_of_a_restore_arrives() {
        let request = read_restore(
            r#"{"backup_name":"b","bucket_name":"k","path":"p","collection_names":["c","d.e"],"collection_suffix":"_s",
                "db_collections_after_rename":"{\"d\":[\"e_s\"]}","metaOnly":true,"restoreIndex":false,"useAutoIndex":true,
                "dropExistIndex":true,"skipCreateCollection":true,"rbac":true,"useV2Restore":true,"maxShardNum":3,
                "skipParams":{"collectionProperties":["x"],"fieldTypeParams":["y"],"fieldIndexParams":["z"],"indexParams":["w"]},
                "truncateBinlogByTs":true,"ezkMapping":{"o":"n"}}"#,
        );
        let made = restore(&request, "i").unwrap();
        let expected = RestoreRequest {
            id: Some("i".into()),
            name: "b".into(),
            bucket_name: Some("k".into()),
            path: Some("p".into()),
            source: Filter::of_words(["c", "d.e"]).unwrap(),
            target: Filter::of_words(["d.e_s"]).unwrap(),
            suffix: Some("_s".into()),
            renames: Renames::default(),
            plan: None,
            meta_only: true,
            rebuild_index: Some(false),
            use_auto_index: true,
            drop_exist_collection: false,
            drop_exist_index: true,
            skip_create_collection: true,
            restore_path: RestorePath::Auto,
            verify: VerifyRestore::RowCounts,
            rbac: true,
            use_v2_restore: true,
            max_shard_num: 3,
            skip_params: SkipParams {
                collection_properties: vec!["x".into()],
                field_type_params: vec!["y".into()],
                field_index_params: vec!["z".into()],
                index_params: vec!["w".into()],
            },
            truncate_binlog_by_ts: true,
            ezk_mapping: [("o".to_owned(), "n".to_owned())].into_iter().collect(),
        };
        assert_eq!(made, expected);
    }
}
