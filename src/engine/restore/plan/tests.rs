use proptest::prelude::*;

use super::*;

fn pair(name: &str) -> (Name, Name) {
    (Name::new("default", name), Name::new("default", name))
}

fn set(names: &[&str]) -> BTreeSet<Name> {
    names.iter().map(|name| Name::new("default", *name)).collect()
}

#[test]
fn existing_targets_are_listed_and_nothing_is_planned() {
    let fail = (OnConflict::Fail, true);
    let said = actions(&[pair("a"), pair("b")], &set(&["b"]), &set(&[]), fail).unwrap_err().to_string();
    assert!(said.contains("1 of 2") && said.contains("default.b"), "{said}");
}

#[test]
fn a_collection_an_earlier_attempt_began_is_no_conflict() {
    let replace = (OnConflict::Replace, true);
    let actions = actions(&[pair("a"), pair("b")], &set(&["a", "b"]), &set(&["a"]), replace).unwrap();
    assert_eq!(actions, [Action::Continue, Action::Replace]);
}

#[test]
fn rows_go_into_what_exists_and_what_is_missing_is_made_or_told() {
    let pairs = [pair("a"), pair("b")];
    let of = |create_missing| actions(&pairs, &set(&["b"]), &set(&[]), (OnConflict::Append, create_missing));
    assert_eq!(of(true).unwrap(), [Action::Create, Action::Append]);
    let said = of(false).unwrap_err().to_string();
    assert!(said.contains("1 of 2") && said.contains("default.a"), "{said}");
}

fn any_names() -> impl Strategy<Value = BTreeSet<Name>> {
    let names = proptest::collection::btree_set(("[ab]", "[a-d]"), 0..8);
    names.prop_map(|names| names.into_iter().map(|(database, name)| Name::new(&database, &name)).collect())
}

fn any_conflict() -> impl Strategy<Value = OnConflict> {
    prop_oneof![Just(OnConflict::Fail), Just(OnConflict::Skip), Just(OnConflict::Replace), Just(OnConflict::Append)]
}

proptest! {
    #[test]
    fn an_attempt_goes_on_with_what_the_one_before_began_and_touches_nothing_else(
        selected in any_names(), existing in any_names(), stopped_after in any::<prop::sample::Index>(), policy in any_conflict(),
    ) {
        let pairs: Vec<(Name, Name)> = selected.iter().map(|name| (name.clone(), name.clone())).collect();
        let conflicts = selected.intersection(&existing).count();
        let first = actions(&pairs, &existing, &BTreeSet::new(), (policy, true));
        let Ok(first) = first else {
            prop_assert!(policy == OnConflict::Fail && conflicts > 0);
            return Ok(());
        };
        prop_assert!(policy != OnConflict::Fail || conflicts == 0);
        for ((_, target), action) in pairs.iter().zip(&first) {
            let wanted = match (existing.contains(target), policy) {
                (false, _) => Action::Create,
                (true, OnConflict::Skip) => Action::Skip,
                (true, OnConflict::Append) => Action::Append,
                (true, _) => Action::Replace,
            };
            prop_assert_eq!(*action, wanted);
        }
        // The first attempt was stopped somewhere: what it began is in the ledger and on the server. What it added rows to is
        // no collection of its own.
        let acted: Vec<&Name> =
            pairs.iter().zip(&first).filter(|(_, action)| ![Action::Skip, Action::Append].contains(action)).map(|((_, target), _)| target).collect();
        let begun: BTreeSet<Name> = acted.iter().take(stopped_after.index(acted.len() + 1)).map(|name| (*name).clone()).collect();
        let there: BTreeSet<Name> = existing.union(&begun).cloned().collect();
        let second = actions(&pairs, &there, &begun, (policy, true)).unwrap();
        for (((_, target), before), now) in pairs.iter().zip(&first).zip(second) {
            prop_assert_eq!(now, if begun.contains(target) { Action::Continue } else { *before }, "{}", target);
        }
    }
}
