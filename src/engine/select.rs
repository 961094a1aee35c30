//! Pure: which of the collections that exist are meant.

use std::collections::BTreeSet;

use super::task::{Pattern, Selection};

/// A collection by database and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Database.
    pub database: String,
    /// Collection.
    pub collection: String,
}

impl Name {
    /// A name from its parts.
    pub fn new(database: impl Into<String>, collection: impl Into<String>) -> Self {
        Name { database: database.into(), collection: collection.into() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.collection)
    }
}

/// The selected names in order, or the sentence that says which include matched nothing.
///
/// # Errors
/// An include that matches nothing, unless `allow_empty`. The sentence names the databases that were searched.
pub fn select(selection: &Selection, existing: &[Name]) -> Result<Vec<Name>, String> {
    let mut chosen = BTreeSet::new();
    if selection.include.is_empty() && selection.databases.is_empty() {
        chosen.extend(existing.iter().cloned());
    }
    for pattern in &selection.include {
        for wanted in collections_of(pattern) {
            let before = chosen.len();
            let mut matched = false;
            for name in existing.iter().filter(|name| matches(&pattern.database, wanted, name)) {
                matched = true;
                chosen.insert(name.clone());
            }
            debug_assert!(chosen.len() >= before);
            if !matched && !selection.allow_empty {
                return Err(nothing_matched(&pattern.database, wanted, existing));
            }
        }
    }
    chosen.retain(|name| {
        !selection
            .exclude
            .iter()
            .any(|pattern| collections_of(pattern).any(|wanted| matches(&pattern.database, wanted, name)))
    });
    Ok(chosen.into_iter().collect())
}

/// The databases that are meant by themselves, whatever becomes of their collections: those named, or where nothing is named
/// all that are not excluded as a whole.
///
/// # Errors
/// A named database that is not there, unless `allow_empty`.
pub fn databases(selection: &Selection, existing: &[String]) -> Result<Vec<String>, String> {
    let Selection { include, exclude, databases, allow_empty } = selection;
    if include.is_empty() && databases.is_empty() {
        let whole = |pattern: &&Pattern| collections_of(pattern).any(|wanted| wanted == "*");
        let excluded = |name: &str| exclude.iter().filter(whole).any(|pattern| glob(&pattern.database, name));
        return Ok(existing.iter().filter(|name| !excluded(name)).cloned().collect());
    }
    let (there, missing): (Vec<&String>, Vec<&String>) = databases.iter().partition(|name| existing.contains(name));
    match missing.first() {
        Some(missing) if !allow_empty => {
            Err(format!("there is no database {missing}: correct the selection, or set allowEmpty"))
        }
        _ => Ok(there.into_iter().cloned().collect()),
    }
}

fn collections_of(pattern: &Pattern) -> impl Iterator<Item = &str> {
    let all = pattern.collections.is_empty().then_some("*");
    all.into_iter().chain(pattern.collections.iter().map(String::as_str))
}

fn matches(database: &str, collection: &str, name: &Name) -> bool {
    glob(database, &name.database) && glob(collection, &name.collection)
}

fn nothing_matched(database: &str, collection: &str, existing: &[Name]) -> String {
    let searched: BTreeSet<&str> =
        existing.iter().map(|name| name.database.as_str()).filter(|name| glob(database, name)).collect();
    let searched: Vec<String> = searched.into_iter().map(str::to_owned).collect();
    if searched.is_empty() {
        return format!(
            "no collection matches {database}.{collection}: there is no database {database} with collections; correct the \
             selection, or set allowEmpty"
        );
    }
    format!(
        "no collection matches {database}.{collection}: searched {} {}; correct the selection, or set allowEmpty",
        if searched.len() == 1 { "database" } else { "databases" },
        super::error::named(&searched, 5)
    )
}

/// Whether `text` matches `pattern`, where `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(database: &str, collections: &[&str]) -> Pattern {
        Pattern { database: database.into(), collections: collections.iter().map(|c| (*c).to_owned()).collect() }
    }

    fn existing() -> Vec<Name> {
        [("default", "docs"), ("default", "docs_old"), ("sales", "orders"), ("sales", "items")]
            .map(|(database, collection)| Name::new(database, collection))
            .to_vec()
    }

    fn shown(selection: &Selection) -> Vec<String> {
        select(selection, &existing()).unwrap().iter().map(Name::to_string).collect()
    }

    #[test]
    fn no_include_means_everything() {
        assert_eq!(shown(&Selection::default()).len(), 4);
    }

    #[test]
    fn exclude_wins_over_include() {
        let selection = Selection {
            include: vec![pattern("*", &["*"])],
            exclude: vec![pattern("default", &["*_old"]), pattern("sales", &["items"])],
            ..Selection::default()
        };
        assert_eq!(shown(&selection), ["default.docs", "sales.orders"]);
    }

    #[test]
    fn an_include_without_collections_takes_the_whole_database() {
        let selection = Selection { include: vec![pattern("sales", &[])], ..Selection::default() };
        assert_eq!(shown(&selection), ["sales.items", "sales.orders"]);
    }

    #[test]
    fn an_include_that_matches_nothing_is_named_with_the_databases_searched() {
        let selection = Selection { include: vec![pattern("default", &["docs", "gone"])], ..Selection::default() };
        let said = select(&selection, &existing()).unwrap_err();
        assert!(said.contains("default.gone") && said.contains("searched database default"), "{said}");
    }

    #[test]
    fn an_unknown_database_is_named() {
        let selection = Selection { include: vec![pattern("nope", &["*"])], ..Selection::default() };
        assert!(select(&selection, &existing()).unwrap_err().contains("no database nope"));
    }

    #[test]
    fn allow_empty_accepts_an_include_that_matches_nothing() {
        let selection = Selection { include: vec![pattern("nope", &["*"])], allow_empty: true, ..Selection::default() };
        assert_eq!(shown(&selection), Vec::<String>::new());
    }

    #[test]
    fn a_database_may_be_meant_without_its_collections() {
        let there = ["default".to_owned(), "sales".to_owned()];
        let named = Selection { databases: vec!["sales".into()], ..Selection::default() };
        assert_eq!(shown(&named), Vec::<String>::new());
        assert_eq!(databases(&named, &there).unwrap(), ["sales"]);
        assert_eq!(databases(&Selection::default(), &there).unwrap(), there);
        let some = Selection { include: vec![pattern("default", &[])], ..Selection::default() };
        assert_eq!(databases(&some, &there).unwrap(), Vec::<String>::new());
        let without =
            Selection { exclude: vec![pattern("sales", &[]), pattern("default", &["docs"])], ..Selection::default() };
        assert_eq!(databases(&without, &there).unwrap(), ["default"]);
        let gone = Selection { databases: vec!["gone".into()], ..Selection::default() };
        assert!(databases(&gone, &there).unwrap_err().contains("no database gone"));
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("docs", "docs", true),
            ("docs", "docs_old", false),
            ("docs*", "docs", true),
            ("*_old", "docs_old", true),
            ("d*c*d", "docs_old", true),
            ("d*x*d", "docs_old", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
