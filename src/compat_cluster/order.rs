//! Pure: from a request to the object that asks the operator for it.
//!
//! A wish for which the object has no field is refused by the name the request gives it; none is ignored. Fields that are left
//! out get the defaults of the definitions.

use serde_json::{Value, json};

use super::Scope;
use super::names::{ID_ANNOTATION, NAME_ANNOTATION, object_name};
use super::plan;
use crate::api::{API_VERSION, MilvusBackup, MilvusRestore};
use crate::compat::errors::OperationError;
use crate::engine::secret::KeyMapping;
use crate::engine::task::RestorePath;
use crate::local::filter::{Collections, Filter};
use crate::local::request::{CreateRequest, Format, RestoreRequest, Strategy};

/// The object of `POST /create`.
///
/// # Errors
/// An option a MilvusBackup has no field for.
pub fn backup(scope: &Scope, name: &str, id: &str, request: &CreateRequest) -> Result<MilvusBackup, OperationError> {
    let CreateRequest {
        id: _,
        name: _,
        filter,
        strategy,
        format,
        rbac,
        index_extra,
        // A MilvusBackup pauses garbage collection unless it says otherwise, and requests cannot say otherwise.
        pause_gc: _,
        gc_address,
        backup_root_path,
    } = request;
    refuse(*format == Format::Snapshot, "format snapshot", "leave it out; where Milvus has snapshots, they are used")?;
    refuse(*index_extra, "with_index_extra", "leave it out; index definitions are in every backup")?;
    refuse(gc_address.is_some(), "gc_pause_address", "leave it out; the address is found from the Milvus resource")?;
    refuse(
        backup_root_path.is_some(),
        "backup_root_path",
        "leave it out; a MilvusBackupLocation says where backups go",
    )?;
    let mut spec = json!({"source": {"milvusRef": {"name": scope.milvus}}});
    if let Some(location) = &scope.location {
        spec["locationRef"] = json!({"name": location});
    }
    if let Some(secret) = &scope.password_secret {
        spec["auth"] = json!({"passwordSecretRef": {"name": secret}});
    }
    if let Some(filter) = filter {
        spec["selection"] = selection("filter", filter)?;
    }
    spec["content"] = json!({"data": data(*strategy == Strategy::MetaOnly), "rbac": rbac});
    // The operator flushes all selected collections at once, so the other strategies are the same.
    if *strategy == Strategy::SkipFlush {
        spec["consistency"] = json!({"flush": "Skip"});
    }
    object(json!({
        "apiVersion": API_VERSION,
        "kind": "MilvusBackup",
        "metadata": {
            "name": object_name(&scope.milvus, name),
            "namespace": scope.namespace,
            "annotations": {NAME_ANNOTATION: name, ID_ANNOTATION: id},
        },
        "spec": spec,
    }))
}

/// Where a restore comes from and what it may drop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ground {
    /// Name of the MilvusBackup.
    pub backup: String,
    /// UID of the Milvus resource.
    pub milvus_uid: String,
}

/// The object of `POST /restore`.
///
/// # Errors
/// An option a MilvusRestore has no field for.
pub fn restore(
    scope: &Scope,
    id: &str,
    request: &RestoreRequest,
    ground: &Ground,
) -> Result<MilvusRestore, OperationError> {
    can_be_asked_for(request)?;
    let (mapping, selection) = names(request)?;
    let mut target = json!({"milvusRef": {"name": scope.milvus}});
    if let Some(secret) = &scope.password_secret {
        target["auth"] = json!({"passwordSecretRef": {"name": secret}});
    }
    let mut spec = json!({
        "from": {"backupRef": {"name": ground.backup}},
        "target": target,
        "mapping": mapping,
        "content": {"data": data(request.meta_only), "rbac": request.rbac},
        "indexes": match (request.rebuild_index, request.use_auto_index) {
            (Some(false), _) => "Skip",
            (_, true) => "Auto",
            (_, false) => "Rebuild",
        },
        "restorePath": match request.restore_path {
            RestorePath::Auto => "Auto",
            RestorePath::Import => "Import",
            RestorePath::Insert => "Insert",
        },
    });
    if let Some(selection) = selection {
        spec["selection"] = selection;
    }
    if request.meta_only {
        spec["load"] = json!("None");
    }
    if request.drop_exist_collection {
        spec["onConflict"] = json!("Replace");
        spec["confirmTargetUID"] = json!(ground.milvus_uid);
    }
    object(json!({
        "apiVersion": API_VERSION,
        "kind": "MilvusRestore",
        "metadata": {
            "name": object_name(&scope.milvus, id),
            "namespace": scope.namespace,
            "annotations": {NAME_ANNOTATION: request.name, ID_ANNOTATION: id},
        },
        "spec": spec,
    }))
}

/// Refuses options a MilvusRestore has no field for, each by its name in the body. Which way rows are imported
/// (`useV2Restore`) is the operator's choice.
fn can_be_asked_for(request: &RestoreRequest) -> Result<(), OperationError> {
    let alone = "leave it out";
    let place = "leave it out; the MilvusBackup knows where its copy is";
    refuse(request.bucket_name.is_some(), "bucket_name", place)?;
    refuse(request.path.is_some(), "path", place)?;
    refuse(request.target.is_some(), "db_collections_after_rename", "use db_collections, with names in the backup")?;
    refuse(request.drop_exist_index, "dropExistIndex", "use dropExistCollection to make the collection anew")?;
    refuse(request.skip_create_collection, "skipCreateCollection", "restore under another name")?;
    refuse(request.max_shard_num != 0, "maxShardNum", alone)?;
    refuse(!request.skip_params.is_empty(), "skipParams", alone)?;
    refuse(request.truncate_binlog_by_ts, "truncateBinlogByTs", alone)?;
    refuse(request.ezk_mapping != KeyMapping::default(), "ezkMapping", alone)
}

fn data(schema_only: bool) -> &'static str {
    if schema_only { "SchemaOnly" } else { "Full" }
}

/// New names, and what is selected.
fn names(request: &RestoreRequest) -> Result<(Value, Option<Value>), OperationError> {
    let chosen = || request.source.as_ref().map(|filter| selection("db_collections", filter)).transpose();
    match &request.plan {
        Some(asked) => {
            let plan::Said { rules, selection } = plan::said(asked, request.source.as_ref())?;
            let rules: Vec<Value> =
                rules.iter().map(|(from, to)| json!({"from": from.to_string(), "to": to.to_string()})).collect();
            let selection = match selection {
                Some(selection) => Some(selection),
                None => chosen()?,
            };
            Ok((json!({"collections": rules}), selection))
        }
        None => Ok((mapping(request), chosen()?)),
    }
}

/// New names. Renamings win over the suffix, as in milvus-backup 0.5.16.
fn mapping(request: &RestoreRequest) -> Value {
    let renames = &request.renames;
    if renames.is_empty() {
        return match request.suffix.as_deref() {
            Some(suffix) if !suffix.is_empty() => json!({"suffix": suffix}),
            _ => json!({}),
        };
    }
    let databases: Vec<Value> = renames.databases().map(|(from, to)| json!({"from": from, "to": to})).collect();
    let collections = renames.collections().map(|(from, to)| json!({"from": from.to_string(), "to": to.to_string()}));
    json!({"databases": databases, "collections": collections.collect::<Vec<Value>>()})
}

/// Refuses databases that are named without their collections.
pub(super) fn with_collections(field: &str, filter: &Filter) -> Result<(), OperationError> {
    match filter.bare_databases().next() {
        None => Ok(()),
        Some(database) => Err(OperationError::failed(format!(
            "{field} names database {database} without its collections, for which a selection has no field: use {database}.*"
        ))),
    }
}

fn selection(field: &str, filter: &Filter) -> Result<Value, OperationError> {
    with_collections(field, filter)?;
    let include = filter.databases().map(|(database, wanted)| match wanted {
        Collections::Named(names) => json!({"database": database, "collections": names}),
        Collections::All | Collections::NoneOfThem => json!({"database": database}),
    });
    Ok(json!({"include": include.collect::<Vec<Value>>()}))
}

pub(super) fn refuse(asked: bool, option: &str, advice: &str) -> Result<(), OperationError> {
    match asked {
        true => Err(OperationError::failed(format!("{option} is not supported by a server in a cluster: {advice}"))),
        false => Ok(()),
    }
}

fn object<K: serde::de::DeserializeOwned>(body: Value) -> Result<K, OperationError> {
    serde_json::from_value(body)
        .map_err(|error| OperationError::failed(format!("the request makes no valid object: {error}")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::{self, ContentData, Flush, Indexes, Load, OnConflict, Rename};
    use crate::compat::{body, translate};

    fn scope() -> Scope {
        Scope {
            namespace: "search".into(),
            milvus: "prod".into(),
            location: Some("offsite".into()),
            password_secret: Some("login".into()),
        }
    }

    fn ordered(text: &str) -> Result<MilvusBackup, OperationError> {
        let request: crate::compat::wire::CreateRequest = body::read(text.as_bytes()).unwrap();
        backup(&scope(), &request.backup_name, "req-1", &translate::create(&request, "req-1")?)
    }

    fn brought_back(text: &str) -> Result<MilvusRestore, OperationError> {
        let request: crate::compat::wire::RestoreRequest = body::read(text.as_bytes()).unwrap();
        let ground = Ground { backup: "b-1".into(), milvus_uid: "uid-1".into() };
        restore(&scope(), "r_1", &translate::restore(&request, "r_1")?, &ground)
    }

    #[test]
    fn a_backup_names_milvus_location_and_login_and_keeps_its_name_and_id() {
        let made = ordered(r#"{"backup_name":"Nightly_1","gc_pause_enable":true}"#).unwrap();
        assert_eq!(made.metadata.name, Some(object_name("prod", "Nightly_1")));
        assert_eq!(made.metadata.namespace.as_deref(), Some("search"));
        let annotations = made.metadata.annotations.unwrap();
        assert_eq!(
            (annotations[NAME_ANNOTATION].as_str(), annotations[ID_ANNOTATION].as_str()),
            ("Nightly_1", "req-1")
        );
        assert_eq!(made.spec.source.milvus_ref.unwrap().name, "prod");
        assert_eq!(made.spec.location_ref.unwrap().name, "offsite");
        assert_eq!(made.spec.auth.unwrap().password_secret_ref.unwrap().name, "login");
        assert_eq!(made.spec.lifecycle.deletion_policy, None, "the copy outlives its object");
        assert!(made.spec.content.index_metadata && made.spec.selection.include.is_empty());
        assert!(made.spec.consistency.pause_gc && !made.spec.content.rbac);
    }

    #[test]
    fn a_filter_becomes_a_selection_and_a_strategy_its_field() {
        let made = ordered(
            r#"{"backup_name":"b","strategy":"meta_only","filter":{"a":{"colls":["y","x"]},"c":{"colls":["*"]}}}"#,
        )
        .unwrap();
        let include: Vec<_> =
            made.spec.selection.include.iter().map(|p| (p.database.as_str(), p.collections.join(","))).collect();
        assert_eq!(include, [("a", "x,y".to_owned()), ("c", String::new())]);
        assert_eq!(made.spec.content.data, ContentData::SchemaOnly);
        let skipped = ordered(r#"{"backup_name":"b","force":true}"#).unwrap();
        assert_eq!((skipped.spec.consistency.flush, skipped.spec.content.data), (Flush::Skip, ContentData::Full));
    }

    #[rstest]
    #[case(r#""format":"snapshot""#, "format snapshot")]
    #[case(r#""with_index_extra":true"#, "with_index_extra")]
    #[case(r#""gc_pause_address":"http://m:9091""#, "gc_pause_address")]
    #[case(r#""backup_root_path":"p""#, "backup_root_path")]
    #[case(r#""filter":{"a":{"colls":[]}}"#, "database a without")]
    fn an_option_a_backup_has_no_field_for_is_refused_by_name(#[case] option: &str, #[case] said: &str) {
        let error = ordered(&format!(r#"{{"backup_name":"b",{option}}}"#)).unwrap_err();
        assert!(error.message().contains(said), "{error}");
        assert_eq!(error.code(), crate::compat::wire::code::FAIL);
    }

    #[test]
    fn a_restore_names_backup_and_target_and_keeps_the_defaults_of_the_definition() {
        let made = brought_back(r#"{"backup_name":"b","useV2Restore":true}"#).unwrap();
        assert_eq!(made.spec.from.backup_ref.unwrap().name, "b-1");
        assert_eq!(made.spec.target.milvus_ref.unwrap().name, "prod");
        assert_eq!(made.spec.target.auth.unwrap().password_secret_ref.unwrap().name, "login");
        assert_eq!((made.spec.target.wait_ready_seconds, made.spec.cleanup_on_failure), (1800, true));
        assert_eq!((made.spec.on_conflict, made.spec.confirm_target_uid), (OnConflict::Fail, None));
        assert_eq!((made.spec.indexes, made.spec.load), (Indexes::Rebuild, Load::Original));
        assert_eq!(made.metadata.name, Some(object_name("prod", "r_1")));
        assert_eq!(made.spec.restore_path, api::RestorePath::Auto);
    }

    #[test]
    fn the_way_rows_take_stands_in_the_object() {
        let ground = Ground { backup: "b-1".into(), milvus_uid: "uid-1".into() };
        let ways = [RestorePath::Auto, RestorePath::Import, RestorePath::Insert].map(|restore_path| {
            let request = RestoreRequest { name: "b".into(), restore_path, ..RestoreRequest::default() };
            restore(&scope(), "r_1", &request, &ground).unwrap().spec.restore_path
        });
        assert_eq!(ways, [api::RestorePath::Auto, api::RestorePath::Import, api::RestorePath::Insert]);
    }

    #[test]
    fn users_are_backed_up_and_brought_back_where_they_are_asked_for() {
        let content = ordered(r#"{"backup_name":"b","rbac":true}"#).unwrap().spec.content;
        assert_eq!((content.rbac, content.data), (true, ContentData::Full));
        let content = brought_back(r#"{"backup_name":"b","rbac":true}"#).unwrap().spec.content;
        assert_eq!((content.rbac, content.data), (true, ContentData::Full));
    }

    #[test]
    fn renamings_win_over_the_suffix() {
        let suffix = brought_back(r#"{"backup_name":"b","collection_suffix":"_s"}"#).unwrap().spec.mapping;
        assert_eq!((suffix.suffix.as_deref(), suffix.collections.len()), (Some("_s"), 0));
        let renamed = brought_back(
            r#"{"backup_name":"b","collection_suffix":"_s","collection_renames":{"x":"y","d.*":"e.*"},
                "db_collections":{"d":["c"]}}"#,
        )
        .unwrap();
        let mapping = renamed.spec.mapping;
        assert_eq!(mapping.suffix, None);
        assert_eq!(mapping.collections, [Rename { from: "default.x".into(), to: "default.y".into() }]);
        assert_eq!(mapping.databases, [Rename { from: "d".into(), to: "e".into() }]);
        assert_eq!(renamed.spec.selection.include[0].collections, ["c"]);
    }

    #[test]
    fn a_plan_names_the_collections_that_it_renames_and_what_its_filter_leaves() {
        let made = brought_back(
            r#"{"backup_name":"b","db_collections":{"a":["x"]},"restorePlan":{"mapping":[{"source":"a","target":"b",
                "colls":[{"source":"x","target":"y"},{"source":"x","target":"z"},{"source":"other","target":"o"}]}]}}"#,
        )
        .unwrap()
        .spec;
        let to = |to: &str| Rename { from: "a.x".into(), to: to.into() };
        assert_eq!(made.mapping.collections, [to("b.y"), to("b.z")]);
        assert_eq!(
            (made.mapping.databases.len(), made.selection.include[0].collections.as_slice()),
            (0, ["x".into()].as_slice())
        );
        let filtered = brought_back(
            r#"{"backup_name":"b","restorePlan":{"filter":{"b":{"colls":["z"]}},"mapping":[{"source":"a","target":"b",
                "colls":[{"source":"x","target":"y"},{"source":"x","target":"z"}]}]}}"#,
        )
        .unwrap()
        .spec;
        assert_eq!(filtered.mapping.collections, [to("b.z")]);
        let chosen = &filtered.selection.include[0];
        assert_eq!((chosen.database.as_str(), chosen.collections.as_slice()), ("a", ["x".to_owned()].as_slice()));
    }

    #[test]
    fn dropping_collections_is_confirmed_with_the_uid_of_the_milvus() {
        let made =
            brought_back(r#"{"backup_name":"b","dropExistCollection":true,"metaOnly":true,"restoreIndex":false}"#)
                .unwrap()
                .spec;
        assert_eq!((made.on_conflict, made.confirm_target_uid.as_deref()), (OnConflict::Replace, Some("uid-1")));
        assert_eq!((made.content.data, made.load, made.indexes), (ContentData::SchemaOnly, Load::None, Indexes::Skip));
    }

    #[rstest]
    #[case(r#""bucket_name":"k""#, "bucket_name")]
    #[case(r#""path":"p""#, "path")]
    #[case(r#""restorePlan":{"mapping":[{"source":"a","target":"b"}]}"#, "restorePlan that gives database a")]
    #[case(r#""db_collections_after_rename":{"a":["b"]}"#, "db_collections_after_rename")]
    #[case(r#""dropExistIndex":true"#, "dropExistIndex")]
    #[case(r#""skipCreateCollection":true"#, "skipCreateCollection")]
    #[case(r#""maxShardNum":1"#, "maxShardNum")]
    #[case(r#""skipParams":{"indexParams":["x"]}"#, "skipParams")]
    #[case(r#""truncateBinlogByTs":true"#, "truncateBinlogByTs")]
    #[case(r#""ezkMapping":{"a":"b"}"#, "ezkMapping")]
    fn an_option_a_restore_has_no_field_for_is_refused_by_name(#[case] option: &str, #[case] said: &str) {
        let error = brought_back(&format!(r#"{{"backup_name":"b",{option}}}"#)).unwrap_err();
        assert!(error.message().starts_with(said), "{error}");
    }
}
