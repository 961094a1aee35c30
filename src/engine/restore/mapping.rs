//! Pure: which target name each selected collection gets.

use std::collections::BTreeMap;

use crate::engine::select::Name;
use crate::engine::task::{Mapping, Rename};

/// Database of a name that has none.
pub const DEFAULT_DATABASE: &str = "default";

/// Target names for the selected source names, in the order of `selected`.
///
/// An explicit collection rule wins; else the database rule and the suffix apply together; else the name stays.
///
/// # Errors
/// A sentence: two sources with one target, a rule whose source is not in the backup, a name Milvus would refuse.
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
        let target = match rules.iter().find(|(from, _)| from == source) {
            Some((_, to)) => to.clone(),
            None => Name {
                database: database(&mapping.databases, &source.database),
                collection: format!("{}{suffix}", source.collection),
            },
        };
        valid(&target.database)?;
        valid(&target.collection)?;
        if let Some(other) = taken.insert(target.clone(), source) {
            return Err(format!("{other} and {source} would both become {target}: map one of them to another name"));
        }
        pairs.push((source.clone(), target));
    }
    Ok(pairs)
}

/// Target name of a database that is restored without regard to its collections.
///
/// # Errors
/// A name Milvus would refuse.
pub fn target_database(mapping: &Mapping, source: &str) -> Result<String, String> {
    let target = database(&mapping.databases, source);
    valid(&target).map(|()| target)
}

fn database(rules: &[Rename], source: &str) -> String {
    rules.iter().find(|rule| rule.from == source).map_or_else(|| source.to_owned(), |rule| rule.to.clone())
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
        fn no_two_collections_ever_share_a_target(
            names in proptest::collection::btree_set(("[a-c]", "[a-c]{1,2}"), 1..8),
            suffix in "[a-c]{0,2}",
            from in "[a-c]", to in "[a-c]",
        ) {
            let selected: Vec<Name> = names.into_iter().map(|(d, c)| Name::new(d, c)).collect();
            let mapping = Mapping {
                databases: vec![Rename { from, to }], suffix: Some(suffix), ..Mapping::default()
            };
            if let Ok(pairs) = map(&mapping, &selected) {
                let targets: std::collections::BTreeSet<_> = pairs.iter().map(|(_, target)| target).collect();
                prop_assert_eq!(targets.len(), selected.len());
            }
        }
    }
}
