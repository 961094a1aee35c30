//! Pure: what the filters of a request mean, by names in the backup and in the target.

use std::collections::BTreeSet;

use super::mapping::database_targets;
use crate::engine::error::EngineError;
use crate::engine::select::Name;
use crate::engine::task::{Pattern, Selection};
use crate::local::filter::{Collections, Filter};
use crate::local::request::RestoreRequest;
use crate::manifest::BackupInfo;

pub(super) fn selection(filter: &Filter) -> Selection {
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

pub(super) fn exactly(name: &Name) -> Pattern {
    Pattern { database: name.database.clone(), collections: vec![name.collection.clone()] }
}

pub(super) fn target_filter(request: &RestoreRequest) -> Option<&Filter> {
    match &request.plan {
        Some(plan) => plan.filter.as_ref(),
        None => request.target.as_ref(),
    }
}

/// Databases of the backup that the filters name without their collections.
///
/// # Errors
/// One that is not in the backup.
pub(super) fn bare_databases(request: &RestoreRequest, info: &BackupInfo) -> Result<Vec<String>, EngineError> {
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

/// A collection that a filter names and that is not there.
pub(super) fn missing<'n>(
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

#[cfg(test)]
mod tests {
    use super::super::samples::{filter, info, noon, refused, request, shop, shown};
    use super::super::{backup, restore};
    use super::*;
    use crate::config::Settings;
    use crate::engine::task::{Mapping, Rename};
    use crate::local::filter::Renames;
    use crate::local::request::CreateRequest;

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
}
