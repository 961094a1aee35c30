//! Pure: a `restorePlan` as a MilvusRestore can say it.
//!
//! The plan chooses by names in the target, the object by names in the backup. Which collections there are is not known
//! here, so what would need it, and what the object has no field for, is refused by its name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::order::{refuse, with_collections};
use crate::compat::errors::OperationError;
use crate::engine::select::Name;
use crate::local::filter::{Collections, Filter, Renames};
use crate::local::request::RestorePlan;

/// What of a plan goes into an object.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    /// New names, as the object's `mapping.collections`.
    pub rules: Vec<(Name, Name)>,
    /// The object's `selection`, where the plan has a filter.
    pub selection: Option<Value>,
}

/// Rules and selection of a plan. `source` is the filter by names in the backup.
///
/// # Errors
/// What the object cannot say.
pub(super) fn said(plan: &RestorePlan, source: Option<&Filter>) -> Result<Said, OperationError> {
    for database in &plan.mapping {
        let (from, to) = (&database.source, &database.target);
        refuse(
            database.collections.is_empty() && from != to,
            &format!("restorePlan that gives database {from} the name {to} without a collection"),
            "name its collections",
        )?;
        if let Some(changed) = database.collections.iter().find(|one| one.changes()) {
            let option = format!("restorePlan with an override for {to}.{}", changed.target);
            refuse(true, &option, "leave it out; shards and description come back as they were")?;
        }
    }
    let renames = plan.renames().map_err(OperationError::failed)?;
    let Some(filter) = &plan.filter else {
        let rules = renames.collections().filter(|(from, _)| source.is_none_or(|source| source.admits(from)));
        return Ok(Said { rules: rules.map(owned).collect(), selection: None });
    };
    refuse(source.is_some(), "restorePlan.filter beside db_collections", "keep one of them")?;
    with_collections("restorePlan.filter", filter)?;
    let mut rules: Vec<(Name, Name)> = renames.collections().filter(|(_, to)| filter.admits(to)).map(owned).collect();
    rules.extend(kept(filter, &renames)?);
    let whole = whole(filter, &renames)?;
    let chosen: BTreeSet<&Name> = rules.iter().map(|(from, _)| from).collect();
    let elsewhere = renames.collections().map(|(from, _)| from);
    let left_out: BTreeSet<&Name> =
        elsewhere.filter(|from| whole.names.contains(&from.database.as_str()) && !chosen.contains(from)).collect();
    let mut include = patterns(&chosen);
    include.extend(whole.names.iter().map(|database| json!({"database": database})));
    let selection = json!({"include": include, "exclude": patterns(&left_out), "allowEmpty": whole.may_be_empty});
    Ok(Said { rules, selection: Some(selection) })
}

fn owned((from, to): (&Name, &Name)) -> (Name, Name) {
    (from.clone(), to.clone())
}

/// Collections that the filter names and that keep their names. As rules, so that one that is not in the backup is told.
fn kept(filter: &Filter, renames: &Renames) -> Result<Vec<(Name, Name)>, OperationError> {
    let mut rules = Vec::new();
    for (database, wanted) in filter.databases() {
        let Collections::Named(names) = wanted else { continue };
        for name in names.iter().map(|name| Name::new(database, name)) {
            if renames.collections().any(|(_, to)| *to == name) {
                continue;
            }
            if renames.collections().any(|(from, _)| *from == name) {
                return Err(OperationError::failed(format!(
                    "restorePlan.filter names {name}, which is not among the names after renaming: correct the filter"
                )));
            }
            rules.push((name.clone(), name));
        }
    }
    Ok(rules)
}

/// Databases of which the filter takes everything.
struct Whole<'f> {
    names: Vec<&'f str>,
    /// Whether such a database may have nothing in the backup, because renamed collections go there.
    may_be_empty: bool,
}

fn whole<'f>(filter: &'f Filter, renames: &Renames) -> Result<Whole<'f>, OperationError> {
    let all = filter.databases().filter(|(_, wanted)| **wanted == Collections::All).map(|(database, _)| database);
    let goes_to = |database: &&str| renames.collections().any(|(_, to)| to.database == *database);
    let (filled, plain): (Vec<&str>, Vec<&str>) = all.partition(goes_to);
    if let (Some(one), Some(other)) = (filled.first(), plain.first()) {
        // A selection allows all of its patterns to match nothing, or none of them.
        let option = format!("restorePlan.filter with {one}.* beside {other}.*");
        refuse(true, &option, &format!("name the collections of {other}"))?;
    }
    let may_be_empty = !filled.is_empty();
    Ok(Whole { names: if may_be_empty { filled } else { plain }, may_be_empty })
}

/// Exactly these collections.
fn patterns(names: &BTreeSet<&Name>) -> Vec<Value> {
    let mut by_database: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        by_database.entry(&name.database).or_default().push(&name.collection);
    }
    by_database
        .into_iter()
        .map(|(database, collections)| json!({"database": database, "collections": collections}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::filter::EmptyMeans;
    use crate::local::request::{PlanCollection, PlanDatabase};

    fn database(source: &str, target: &str, collections: &[(&str, &str)]) -> PlanDatabase {
        let one = |(source, target): &(&str, &str)| PlanCollection {
            source: (*source).into(),
            target: (*target).into(),
            ..PlanCollection::default()
        };
        PlanDatabase {
            source: source.into(),
            target: target.into(),
            collections: collections.iter().map(one).collect(),
        }
    }

    /// `sales.orders` as two of `shop`, `sales.items` as one of `attic`.
    fn plan(filter: &[(&str, &[&str])]) -> RestorePlan {
        let filter =
            Filter::of_map(filter.iter().map(|(name, wanted)| (name, wanted.iter())), EmptyMeans::DatabaseOnly);
        RestorePlan {
            mapping: vec![
                database("sales", "shop", &[("orders", "o2"), ("orders", "o1")]),
                database("sales", "attic", &[("items", "old")]),
            ],
            filter: filter.ok(),
        }
    }

    fn shown(plan: &RestorePlan) -> (Vec<String>, Option<Value>) {
        let Said { rules, selection } = said(plan, None).unwrap();
        (rules.iter().map(|(from, to)| format!("{from}>{to}")).collect(), selection)
    }

    fn refused(plan: &RestorePlan) -> String {
        said(plan, None).unwrap_err().message().to_owned()
    }

    #[test]
    fn without_a_filter_the_rules_say_it_all() {
        let rules = ["sales.items>attic.old", "sales.orders>shop.o2", "sales.orders>shop.o1"];
        assert_eq!(shown(&plan(&[])), (rules.map(str::to_owned).into(), None));
    }

    #[test]
    fn named_targets_select_their_sources_and_what_keeps_its_name_is_a_rule_to_itself() {
        let (rules, selection) = shown(&plan(&[("shop", &["o1"]), ("sales", &["gifts"])]));
        assert_eq!(rules, ["sales.orders>shop.o1", "sales.gifts>sales.gifts"]);
        let include = json!([{"database": "sales", "collections": ["gifts", "orders"]}]);
        assert_eq!(selection.unwrap(), json!({"include": include, "exclude": [], "allowEmpty": false}));
    }

    #[test]
    fn all_of_a_target_database_is_what_is_renamed_into_it_and_what_has_been_there() {
        let (rules, selection) = shown(&plan(&[("shop", &["*"])]));
        assert_eq!(rules, ["sales.orders>shop.o2", "sales.orders>shop.o1"]);
        let include = json!([{"database": "sales", "collections": ["orders"]}, {"database": "shop"}]);
        assert_eq!(selection.unwrap(), json!({"include": include, "exclude": [], "allowEmpty": true}));
    }

    #[test]
    fn all_of_a_database_leaves_out_what_is_renamed_elsewhere() {
        let (rules, selection) = shown(&plan(&[("sales", &["*"]), ("shop", &["o2"])]));
        assert_eq!(rules, ["sales.orders>shop.o2"]);
        let include = json!([{"database": "sales", "collections": ["orders"]}, {"database": "sales"}]);
        let exclude = json!([{"database": "sales", "collections": ["items"]}]);
        assert_eq!(selection.unwrap(), json!({"include": include, "exclude": exclude, "allowEmpty": false}));
    }

    #[test]
    fn a_filter_that_an_object_cannot_say_is_refused_by_name() {
        let gone = refused(&plan(&[("sales", &["orders"])]));
        assert!(gone.contains("sales.orders, which is not among the names after renaming"), "{gone}");
        let bare = refused(&plan(&[("shop", &[])]));
        assert!(bare.contains("database shop without its collections"), "{bare}");
        let both = refused(&plan(&[("shop", &["*"]), ("default", &["*"])]));
        assert!(both.starts_with("restorePlan.filter with shop.* beside default.*"), "{both}");
    }

    #[test]
    fn what_has_no_field_is_refused_by_name() {
        let mut changed = plan(&[]);
        changed.mapping[0].collections[1].shard_num = 2;
        assert!(refused(&changed).starts_with("restorePlan with an override for shop.o1"));
        let renamed = RestorePlan { mapping: vec![database("a", "b", &[])], filter: None };
        assert!(refused(&renamed).starts_with("restorePlan that gives database a the name b"));
        let nameless = RestorePlan { mapping: vec![database("", "b", &[("x", "y")])], filter: None };
        assert!(refused(&nameless).contains("no source or no target"));
        let twice = RestorePlan { mapping: vec![database("a", "b", &[("x", "y"), ("x", "y")])], filter: None };
        assert!(refused(&twice).contains("a.x is renamed to b.y twice"));
        let source = Filter::parse("sales.*").unwrap();
        let both = said(&plan(&[("shop", &["*"])]), source.as_ref()).unwrap_err();
        assert!(both.message().starts_with("restorePlan.filter beside db_collections"));
    }
}
