//! Pure: which target names each selected collection gets.

use std::collections::BTreeMap;

use crate::engine::select::Name;
use crate::engine::task::{Mapping, Rename};

/// Database of a name that has none.
pub const DEFAULT_DATABASE: &str = "default";

/// Pairs of source and target names, in the order of `selected`; those of one source in the order of the rules that name them.
///
/// Rules for the collection win, and each gives it a name; else the rules for its database, each with the suffix; else the
/// name stays, with the suffix. A target is there once, so it may stand for a pair.
///
/// # Errors
/// A sentence: a target that is named twice, a rule whose source is not in the backup, a name Milvus would refuse.
pub fn map(mapping: &Mapping, selected: &[Name]) -> Result<Vec<(Name, Name)>, String> {
    let rules: Vec<(Name, Name)> =
        mapping.collections.iter().map(|rule| (parse(&rule.from), parse(&rule.to))).collect();
    for (from, _) in &rules {
        if !selected.contains(from) {
            return Err(format!(
                "the mapping renames {from}, which is not among the selected collections of the backup: correct the name"
            ));
        }
    }
    let suffix = mapping.suffix.as_deref().unwrap_or_default();
    let mut taken: BTreeMap<Name, &Name> = BTreeMap::new();
    let mut pairs = Vec::with_capacity(selected.len());
    for source in selected {
        let named = rules.iter().filter(|(from, _)| from == source).map(|(_, to)| to.clone());
        let mut targets: Vec<Name> = named.collect();
        if targets.is_empty() {
            let collection = format!("{}{suffix}", source.collection);
            let databases = databases(&mapping.databases, &source.database);
            targets = databases.into_iter().map(|database| Name::new(database, &collection)).collect();
        }
        for target in targets {
            valid(&target.database)?;
            valid(&target.collection)?;
            match taken.insert(target.clone(), source) {
                Some(other) if other == source => {
                    return Err(format!("{source} is to become {target} twice: keep one of the rules"));
                }
                Some(other) => {
                    return Err(format!(
                        "{other} and {source} would both become {target}: map one of them to another name"
                    ));
                }
                None => pairs.push((source.clone(), target)),
            }
        }
    }
    Ok(pairs)
}

/// Target names of a database that is restored without regard to its collections.
///
/// # Errors
/// A name Milvus would refuse.
pub fn target_databases(mapping: &Mapping, source: &str) -> Result<Vec<String>, String> {
    let targets = databases(&mapping.databases, source);
    targets.iter().try_for_each(|target| valid(target)).map(|()| targets)
}

fn databases(rules: &[Rename], source: &str) -> Vec<String> {
    let named: Vec<String> = rules.iter().filter(|rule| rule.from == source).map(|rule| rule.to.clone()).collect();
    if named.is_empty() { vec![source.to_owned()] } else { named }
}

/// `database.collection`, or `collection` of the default database.
pub fn parse(text: &str) -> Name {
    match text.split_once('.') {
        Some((database, collection)) => Name::new(database, collection),
        None => Name::new(DEFAULT_DATABASE, text),
    }
}

/// Milvus' rule for database and collection names (milvus-wire.md 1.6).
fn valid(name: &str) -> Result<(), String> {
    let shape = name.bytes().enumerate().all(|(i, byte)| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'_' => true,
        b'0'..=b'9' => i > 0,
        _ => false,
    });
    if shape && !name.is_empty() && name.len() <= 255 {
        return Ok(());
    }
    Err(format!("{name:?} is no name Milvus accepts: use letters, digits and _, at most 255, no digit first"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rename(from: &str, to: &str) -> Rename {
        Rename { from: from.into(), to: to.into() }
    }

    fn selected() -> Vec<Name> {
        vec![Name::new("default", "docs"), Name::new("sales", "orders"), Name::new("sales", "items")]
    }

    fn targets(mapping: &Mapping) -> Vec<String> {
        map(mapping, &selected()).unwrap().iter().map(|(_, target)| target.to_string()).collect()
    }

    #[test]
    fn without_rules_names_stay() {
        assert_eq!(targets(&Mapping::default()), ["default.docs", "sales.orders", "sales.items"]);
    }

    #[test]
    fn a_suffix_and_a_database_rule_apply_together() {
        let mapping =
            Mapping { databases: vec![rename("sales", "sales_copy")], suffix: Some("_r".into()), ..Mapping::default() };
        assert_eq!(targets(&mapping), ["default.docs_r", "sales_copy.orders_r", "sales_copy.items_r"]);
    }

    #[test]
    fn a_collection_rule_may_change_the_database() {
        let mapping = Mapping {
            databases: vec![rename("sales", "other")],
            collections: vec![rename("sales.orders", "archive.orders_2026"), rename("docs", "papers")],
            ..Mapping::default()
        };
        assert_eq!(targets(&mapping), ["default.papers", "archive.orders_2026", "other.items"]);
    }

    #[test]
    fn a_collection_gets_every_name_that_its_rules_give_it_in_their_order() {
        let mapping = Mapping {
            databases: vec![rename("sales", "other")],
            collections: vec![
                rename("sales.orders", "z.orders"),
                rename("docs", "papers"),
                rename("sales.orders", "sales.orders"),
                rename("sales.orders", "a"),
            ],
            ..Mapping::default()
        };
        let pairs = map(&mapping, &selected()).unwrap();
        let shown: Vec<String> = pairs.iter().map(|(source, target)| format!("{source}>{target}")).collect();
        let of_orders = ["sales.orders>z.orders", "sales.orders>sales.orders", "sales.orders>default.a"];
        assert_eq!(shown[0], "default.docs>default.papers");
        assert_eq!(
            (&shown[1..4], shown[4].as_str()),
            (of_orders.map(str::to_owned).as_slice(), "sales.items>other.items")
        );
    }

    #[test]
    fn a_database_of_several_names_comes_back_under_each() {
        let databases = vec![rename("sales", "b"), rename("sales", "a")];
        let mapping = Mapping { databases, suffix: Some("_r".into()), ..Mapping::default() };
        assert_eq!(targets(&mapping), ["default.docs_r", "b.orders_r", "a.orders_r", "b.items_r", "a.items_r"]);
        assert_eq!(target_databases(&mapping, "sales").unwrap(), ["b", "a"]);
        assert_eq!(target_databases(&mapping, "default").unwrap(), ["default"]);
    }

    #[test]
    fn a_name_that_a_collection_gets_twice_is_named() {
        let collections = vec![rename("docs", "x"), rename("default.docs", "default.x")];
        let said = map(&Mapping { collections, ..Mapping::default() }, &selected()).unwrap_err();
        assert!(said.contains("default.docs is to become default.x twice"), "{said}");
    }

    #[test]
    fn two_sources_with_one_target_are_named() {
        let mapping = Mapping { collections: vec![rename("sales.orders", "sales.items")], ..Mapping::default() };
        let said = map(&mapping, &selected()).unwrap_err();
        assert!(said.contains("sales.orders and sales.items would both become sales.items"), "{said}");
    }

    #[test]
    fn a_rule_for_a_collection_that_is_not_there_is_named() {
        let mapping = Mapping { collections: vec![rename("sales.gone", "sales.x")], ..Mapping::default() };
        assert!(map(&mapping, &selected()).unwrap_err().contains("sales.gone"));
    }

    #[test]
    fn a_name_that_milvus_refuses_is_found_before_anything_is_created() {
        let mapping = Mapping { suffix: Some("-copy".into()), ..Mapping::default() };
        assert!(map(&mapping, &selected()).unwrap_err().contains("docs-copy"));
    }

    proptest! {
        #[test]
        fn no_two_collections_ever_share_a_target_and_every_rule_is_followed_once(
            names in proptest::collection::btree_set(("[a-c]", "[a-c]{1,2}"), 1..8),
            suffix in "[a-c]{0,2}",
            from in "[a-c]", to in "[a-c]",
            rules in proptest::collection::vec((any::<prop::sample::Index>(), "[a-c]", "[a-d]{1,2}"), 0..6),
        ) {
            let selected: Vec<Name> = names.into_iter().map(|(d, c)| Name::new(d, c)).collect();
            let rule = |(at, database, name): (prop::sample::Index, String, String)| {
                rename(&at.get(&selected).to_string(), &format!("{database}.{name}"))
            };
            let mapping = Mapping {
                databases: vec![Rename { from, to }],
                collections: rules.into_iter().map(rule).collect(),
                suffix: Some(suffix),
                ..Mapping::default()
            };
            if let Ok(pairs) = map(&mapping, &selected) {
                prop_assert_eq!(&map(&mapping, &selected).unwrap(), &pairs, "the next attempt maps otherwise");
                let targets: std::collections::BTreeSet<_> = pairs.iter().map(|(_, target)| target).collect();
                prop_assert_eq!(targets.len(), pairs.len());
                for source in &selected {
                    let wanted = mapping.collections.iter().filter(|rule| parse(&rule.from) == *source).count().max(1);
                    prop_assert_eq!(pairs.iter().filter(|(from, _)| from == source).count(), wanted, "{}", source);
                }
            }
        }
    }
}
