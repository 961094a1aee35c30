//! Pure: new names of what is restored, and what is made otherwise under them.

use std::collections::BTreeSet;

use super::selection::{missing, target_filter};
use crate::engine::error::EngineError;
use crate::engine::select::Name;
use crate::engine::task::{Mapping, Override, Rename};
use crate::local::request::{RestorePlan, RestoreRequest};
use crate::manifest::BackupInfo;

/// Which collection of the backup becomes which in the target; one that gets several names is there with each.
///
/// # Errors
/// As [`super::restore`].
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

/// New names, and what is made otherwise under them.
pub(super) fn mapping(request: &RestoreRequest, pairs: &[(Name, Name)]) -> Mapping {
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
pub(super) fn overrides(request: &RestoreRequest, pairs: &[(Name, Name)]) -> Vec<Override> {
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
pub(super) fn database_targets(request: &RestoreRequest) -> Vec<(&str, &str)> {
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

#[cfg(test)]
mod tests {
    use super::super::restore;
    use super::super::samples::{filter, refused, request, shop, shown};
    use super::*;
    use crate::config::Settings;
    use crate::engine::task::{Pattern, Selection};
    use crate::local::filter::{EmptyMeans, Filter, Renames};
    use crate::local::request::{PlanCollection, PlanDatabase, SkipParams};

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
}
