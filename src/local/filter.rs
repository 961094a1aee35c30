//! Which collections a person means, in the Go tool's words: `--filter`, `--rename`, and what requests hold.
//!
//! Source: milvus-backup 0.5.16, `internal/filter`. Where that parser crashes or selects nothing without a word (a database
//! named as a whole and again by collection; a filter that is there but empty) the answer here is a sentence.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::select::Name;
use crate::engine::task::Rename;

/// Database of a name that has none.
pub const DEFAULT_DATABASE: &str = "default";

/// What is meant of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collections {
    /// Every collection.
    All,
    /// These.
    Named(BTreeSet<String>),
    /// The database without its collections.
    NoneOfThem,
}

/// What an empty list of collections means; the fields of a request differ in this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyMeans {
    /// All of the database (`db_collections`).
    All,
    /// The database itself (`filter`).
    DatabaseOnly,
}

/// Databases with what is meant of each. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(BTreeMap<String, Collections>);

impl Filter {
    /// Reads `db.*,db.coll,coll,db.`; an empty text is no filter.
    ///
    /// # Errors
    /// The word that is not understood, or a database that is named in two ways.
    pub fn parse(text: &str) -> Result<Option<Filter>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        Filter::of_words(text.split(','))
    }

    /// Reads a list of `coll` or `db.coll` (`collection_names`, `--colls`); an empty list is no filter.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn of_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Option<Filter>, String> {
        let mut databases = BTreeMap::new();
        for word in words {
            let wanted = match word.split_once('.') {
                None if is_word(word) => {
                    Some((DEFAULT_DATABASE, Collections::Named(BTreeSet::from([word.to_owned()]))))
                }
                Some((database, "")) if is_word(database) => Some((database, Collections::NoneOfThem)),
                Some((database, "*")) if is_word(database) => Some((database, Collections::All)),
                Some((database, name)) if is_word(database) && is_word(name) => {
                    Some((database, Collections::Named(BTreeSet::from([name.to_owned()]))))
                }
                _ => None,
            };
            let Some((database, wanted)) = wanted else {
                return Err(format!(
                    "{word:?} is no filter: write db.coll, coll, db.* or db. with letters, digits and _, separated by commas"
                ));
            };
            join(&mut databases, database, wanted)?;
        }
        Ok((!databases.is_empty()).then_some(Filter(databases)))
    }

    /// Reads a map of databases to collections, as requests hold it. `["*"]` is all of a database.
    ///
    /// # Errors
    /// A map without entries, or a name that Milvus would refuse.
    pub fn of_map<D, C>(map: impl IntoIterator<Item = (D, C)>, empty: EmptyMeans) -> Result<Filter, String>
    where
        D: AsRef<str>,
        C: IntoIterator,
        C::Item: AsRef<str>,
    {
        let mut databases = BTreeMap::new();
        for (database, collections) in map {
            let database = match database.as_ref() {
                "" => DEFAULT_DATABASE,
                name => name,
            };
            let names: BTreeSet<String> = collections.into_iter().map(|name| name.as_ref().to_owned()).collect();
            if let Some(bad) =
                std::iter::once(database).chain(names.iter().map(String::as_str)).find(|n| !is_word(n) && *n != "*")
            {
                return Err(format!("{bad:?} is no name of a database or collection: use letters, digits and _"));
            }
            let wanted = match (names.is_empty(), names.contains("*"), empty) {
                (true, _, EmptyMeans::All) => Collections::All,
                (true, _, EmptyMeans::DatabaseOnly) => Collections::NoneOfThem,
                (false, true, _) => Collections::All,
                (false, false, _) => Collections::Named(names),
            };
            join(&mut databases, database, wanted)?;
        }
        if databases.is_empty() {
            return Err("the filter names no database, so it selects nothing: leave it out to select everything".into());
        }
        Ok(Filter(databases))
    }

    /// The databases with what is meant of each, in order.
    pub fn databases(&self) -> impl Iterator<Item = (&str, &Collections)> {
        self.0.iter().map(|(database, collections)| (database.as_str(), collections))
    }

    /// Whether a collection is meant.
    pub fn admits(&self, name: &Name) -> bool {
        match self.0.get(&name.database) {
            Some(Collections::All) => true,
            Some(Collections::Named(names)) => names.contains(&name.collection),
            Some(Collections::NoneOfThem) | None => false,
        }
    }

    /// Databases that are meant without their collections.
    pub fn bare_databases(&self) -> impl Iterator<Item = &str> {
        self.databases().filter(|(_, wanted)| **wanted == Collections::NoneOfThem).map(|(database, _)| database)
    }

    /// Whether a database is named in any way.
    pub fn names_database(&self, database: &str) -> bool {
        self.0.contains_key(database)
    }
}

fn join(databases: &mut BTreeMap<String, Collections>, database: &str, wanted: Collections) -> Result<(), String> {
    match (databases.get_mut(database), wanted) {
        (Some(Collections::Named(there)), Collections::Named(more)) => there.extend(more),
        (Some(there), wanted) if *there == wanted => {}
        (Some(_), _) => {
            return Err(format!(
                "the filter names database {database} as a whole and again in another way: keep one of db.*, db. and db.coll"
            ));
        }
        (None, wanted) => {
            databases.insert(database.to_owned(), wanted);
        }
    }
    Ok(())
}

/// One word of the filter's grammar.
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Rules of `--rename` and `collection_renames`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renames {
    /// Database to databases, from `a.*:b.*`.
    databases: BTreeMap<String, Vec<String>>,
    /// Collection to collections, in the order of the rules.
    collections: BTreeMap<Name, Vec<Name>>,
}

impl Renames {
    /// Reads `old:new,old:new`.
    ///
    /// # Errors
    /// The rule that is not understood.
    pub fn parse(text: &str) -> Result<Renames, String> {
        let pairs = text.split(',').filter(|rule| !rule.is_empty()).map(|rule| {
            rule.split_once(':')
                .map(|(from, to)| Rename { from: from.into(), to: to.into() })
                .ok_or_else(|| format!("{rule:?} is no renaming: write old:new, separated by commas"))
        });
        Renames::of(pairs.collect::<Result<Vec<_>, _>>()?)
    }

    /// Reads rules one by one; several for one name give it several. `a.:b.` is accepted and says nothing about collections.
    ///
    /// # Errors
    /// Sides of different form, or a rule that is there twice.
    pub fn of(rules: impl IntoIterator<Item = Rename>) -> Result<Renames, String> {
        let mut renames = Renames::default();
        for rule in rules {
            let Rename { from, to } = &rule;
            match (side(from), side(to)) {
                (Some(Side::Database), Some(Side::Database)) => {}
                (Some(Side::All(from)), Some(Side::All(to))) => {
                    once(renames.databases.entry(from.to_owned()).or_default(), to.to_owned(), from)?;
                }
                (Some(Side::One(from)), Some(Side::One(to))) => renames.add(from, to)?,
                _ => {
                    return Err(format!(
                        "{from}:{to} is no renaming: both sides have the same form, db.*:db.*, db.coll:db.coll or coll:coll"
                    ));
                }
            }
        }
        Ok(renames)
    }

    /// Adds a rule for one collection, beside those it has.
    ///
    /// # Errors
    /// It is there already.
    pub fn add(&mut self, from: Name, to: Name) -> Result<(), String> {
        let said = from.to_string();
        once(self.collections.entry(from).or_default(), to, &said)
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.collections.is_empty()
    }

    /// Old and new names of databases that are renamed as a whole.
    pub fn databases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.databases.iter().flat_map(|(from, to)| to.iter().map(move |to| (from.as_str(), to.as_str())))
    }

    /// Old and new names of single collections; they come before those of their databases.
    pub fn collections(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.collections.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
    }

    /// The names in the target: by the rules for the collection, else by those for its database, else the same.
    pub fn targets(&self, source: &Name) -> Vec<Name> {
        if let Some(targets) = self.collections.get(source) {
            return targets.clone();
        }
        match self.databases.get(&source.database) {
            Some(databases) => databases.iter().map(|database| Name::new(database, &source.collection)).collect(),
            None => vec![source.clone()],
        }
    }

    /// A collection that has a rule and is none of `names`.
    pub fn unknown<'s>(&'s self, names: &BTreeSet<Name>) -> Option<&'s Name> {
        self.collections.keys().find(|name| !names.contains(name))
    }
}

/// Adds a new name, of which there is none yet.
fn once<T: PartialEq + std::fmt::Display>(names: &mut Vec<T>, name: T, from: &str) -> Result<(), String> {
    if names.contains(&name) {
        return Err(format!("{from} is renamed to {name} twice: keep one of the rules"));
    }
    names.push(name);
    Ok(())
}

enum Side<'t> {
    /// `db.`
    Database,
    /// `db.*`
    All(&'t str),
    /// `db.coll` or `coll`
    One(Name),
}

fn side(text: &str) -> Option<Side<'_>> {
    match text.split_once('.') {
        None => is_word(text).then(|| Side::One(Name::new(DEFAULT_DATABASE, text))),
        Some((database, _)) if !is_word(database) => None,
        Some((_, "")) => Some(Side::Database),
        Some((database, "*")) => Some(Side::All(database)),
        Some((database, collection)) => is_word(collection).then(|| Side::One(Name::new(database, collection))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn named(names: &[&str]) -> Collections {
        Collections::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn shown(filter: &Filter) -> Vec<(&str, Collections)> {
        filter.databases().map(|(database, wanted)| (database, wanted.clone())).collect()
    }

    #[test]
    fn the_four_forms_of_a_filter_are_read() {
        let filter = Filter::parse("a.*,b.one,two,b.three,c.").unwrap().unwrap();
        let expected = [
            ("a", Collections::All),
            ("b", named(&["one", "three"])),
            ("c", Collections::NoneOfThem),
            ("default", named(&["two"])),
        ];
        assert_eq!(shown(&filter), expected);
        assert_eq!(filter.bare_databases().collect::<Vec<_>>(), ["c"]);
        assert!(filter.names_database("b") && !filter.names_database("d"));
        assert_eq!(Filter::parse("").unwrap(), None);
    }

    #[rstest]
    #[case("a.*,a.b")]
    #[case("a.,a.b")]
    #[case("a.b,a.*")]
    #[case("a.*,a.")]
    fn a_database_named_in_two_ways_is_refused(#[case] text: &str) {
        assert!(Filter::parse(text).unwrap_err().contains("database a"), "{text}");
    }

    #[rstest]
    #[case("a b")]
    #[case("a,,b")]
    #[case(".b")]
    #[case("a.b.c")]
    #[case("*")]
    #[case("*.a")]
    #[case("a.b*")]
    #[case("a-b")]
    fn a_word_outside_the_grammar_is_named(#[case] text: &str) {
        assert!(Filter::parse(text).unwrap_err().contains("is no filter"), "{text}");
    }

    #[test]
    fn an_empty_list_means_what_its_field_means_and_an_empty_map_is_an_error() {
        let none: [&str; 0] = [];
        let of = |empty| shown(&Filter::of_map([("a", none)], empty).unwrap())[0].1.clone();
        assert_eq!(of(EmptyMeans::All), Collections::All);
        assert_eq!(of(EmptyMeans::DatabaseOnly), Collections::NoneOfThem);
        assert_eq!(
            shown(&Filter::of_map([("", ["*"])], EmptyMeans::DatabaseOnly).unwrap()),
            [("default", Collections::All)]
        );
        let nothing: [(&str, [&str; 0]); 0] = [];
        assert!(Filter::of_map(nothing, EmptyMeans::All).unwrap_err().contains("selects nothing"));
        assert!(Filter::of_map([("a", ["b-c"])], EmptyMeans::All).unwrap_err().contains("b-c"));
    }

    #[test]
    fn the_rule_for_a_collection_comes_before_that_for_its_database() {
        let renames = Renames::parse("a.*:b.*,a.one:c.uno,two:deux,x.:y.").unwrap();
        let target = |database, collection| {
            let targets = renames.targets(&Name::new(database, collection));
            assert_eq!(targets.len(), 1);
            targets[0].to_string()
        };
        assert_eq!(target("a", "one"), "c.uno");
        assert_eq!(target("a", "other"), "b.other");
        assert_eq!(target("default", "two"), "default.deux");
        assert_eq!(target("x", "same"), "x.same");
    }

    #[test]
    fn several_rules_for_a_name_give_it_several_names_in_their_order() {
        let renames = Renames::parse("a.*:c.*,x:z,a.*:b.*,x:y").unwrap();
        let targets = |database, collection| {
            let targets = renames.targets(&Name::new(database, collection));
            targets.iter().map(Name::to_string).collect::<Vec<_>>()
        };
        assert_eq!(targets("default", "x"), ["default.z", "default.y"]);
        assert_eq!(targets("a", "one"), ["c.one", "b.one"]);
        assert_eq!(renames.databases().collect::<Vec<_>>(), [("a", "c"), ("a", "b")]);
        assert_eq!(renames.collections().count(), 2);
    }

    #[rstest]
    #[case("a.*:b.c", "no renaming")]
    #[case("a:b.*", "no renaming")]
    #[case("a.:b", "no renaming")]
    #[case("a", "no renaming")]
    #[case("a:b:c", "no renaming")]
    #[case("a:b-c", "no renaming")]
    #[case("a:b,a:b", "default.a is renamed to default.b twice")]
    #[case("a.*:b.*,a.*:b.*", "a is renamed to b twice")]
    fn a_rule_that_is_none_is_named(#[case] text: &str, #[case] expected: &str) {
        assert!(Renames::parse(text).unwrap_err().contains(expected), "{text}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,40}") {
            let _ = (Filter::parse(&text), Renames::parse(&text));
        }

        #[test]
        fn a_filter_admits_what_it_names_and_nothing_else(
            names in proptest::collection::btree_set(("[a-c]", "[a-c]{1,2}"), 1..6), other in ("[a-d]", "[a-d]{1,2}"),
        ) {
            let text: Vec<String> = names.iter().map(|(database, collection)| format!("{database}.{collection}")).collect();
            let filter = Filter::parse(&text.join(",")).unwrap().unwrap();
            let admitted = filter.admits(&Name::new(&other.0, &other.1));
            prop_assert_eq!(admitted, names.contains(&other));
        }
    }
}
