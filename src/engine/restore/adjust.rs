//! Pure: what is made otherwise than the backup records it.
//!
//! Applied to the metadata when the plan is made, so that everything after it makes what it is given.

use std::borrow::Cow;

use serde_json::Value;

use super::mapping::parse;
use crate::engine::select::Name;
use crate::engine::task::{Mapping, SkipParams};
use crate::manifest::schema::FieldSchema;
use crate::manifest::sealed::CIPHER;
use crate::manifest::{CollectionBackupInfo, IndexInfo, KeyValuePair};

/// Parameter of an index that holds further ones as JSON (milvus-backup.md 3.3).
const NESTED: &str = "params";

/// Whether the changes of a mapping can be applied to the collections it gives these names.
///
/// # Errors
/// A sentence: a change to a collection that is not restored, a number of shards below one.
pub fn check(mapping: &Mapping, pairs: &[(Name, Name)]) -> Result<(), String> {
    if let Some(bound) = mapping.max_shards.filter(|bound| *bound < 1) {
        return Err(format!("no collection can have at most {bound} shards: use 1 or more"));
    }
    for change in &mapping.overrides {
        let name = parse(&change.collection);
        if !pairs.iter().any(|(_, target)| *target == name) {
            return Err(format!(
                "{name} is to be made otherwise and is not among the names that are restored: correct it"
            ));
        }
        if let Some(shards) = change.shards.filter(|shards| *shards < 1) {
            return Err(format!("{name} cannot have {shards} shards: use 1 or more"));
        }
    }
    Ok(())
}

/// The metadata of a collection as it is to be made under its name in the target. That of a large collection is large: it is
/// copied only where something is to be made otherwise.
pub fn adjusted<'b>(info: &'b CollectionBackupInfo, target: &Name, mapping: &Mapping) -> Cow<'b, CollectionBackupInfo> {
    let change = mapping.overrides.iter().find(|change| parse(&change.collection) == *target);
    let shards = match (change.and_then(|change| change.shards), mapping.max_shards) {
        (Some(shards), _) => shards,
        (None, Some(bound)) => info.shards_num.min(bound),
        (None, None) => info.shards_num,
    };
    let description = change.and_then(|change| change.description.clone());
    let mut info = Cow::Borrowed(info);
    if shards != info.shards_num {
        info.to_mut().shards_num = shards;
    }
    if let Some(description) = description {
        info.to_mut().schema.description = description;
    }
    if mapping.skip_params != SkipParams::default() {
        skip(info.to_mut(), &mapping.skip_params);
    }
    // They belong to the encryption of the cluster that was backed up (milvus-wire.md 2.2).
    let sealed = |pair: &KeyValuePair| pair.key.starts_with(CIPHER);
    if info.properties.iter().chain(&info.schema.properties).any(sealed) {
        let info = info.to_mut();
        info.properties.retain(|pair| !sealed(pair));
        info.schema.properties.retain(|pair| !sealed(pair));
    }
    info
}

fn skip(info: &mut CollectionBackupInfo, skipped: &SkipParams) {
    without(&mut info.properties, &skipped.collection_properties);
    without(&mut info.schema.properties, &skipped.collection_properties);
    let inside = info.schema.struct_array_fields.iter_mut().flat_map(|group| &mut group.fields);
    for FieldSchema { type_params, index_params, .. } in info.schema.fields.iter_mut().chain(inside) {
        without(type_params, &skipped.field_type_params);
        without(index_params, &skipped.field_index_params);
    }
    for index in &mut info.index_infos {
        skip_of_index(index, &skipped.index_params);
    }
}

fn without(pairs: &mut Vec<KeyValuePair>, keys: &[String]) {
    pairs.retain(|pair| !keys.contains(&pair.key));
}

fn skip_of_index(index: &mut IndexInfo, keys: &[String]) {
    index.params.retain(|key, _| !keys.contains(key));
    let Some(nested) = index.params.get_mut(NESTED) else { return };
    // Rewritten only where a key goes: servers compare the text of parameters.
    if let Ok(Value::Object(mut inner)) = serde_json::from_str(nested)
        && keys.iter().any(|key| inner.contains_key(key))
    {
        inner.retain(|key, _| !keys.contains(key));
        *nested = Value::Object(inner).to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::task::Override;
    use crate::manifest::schema::StructArrayFieldSchema;

    fn pair(key: &str) -> KeyValuePair {
        KeyValuePair { key: key.into(), value: "x".into() }
    }

    fn keys(pairs: &[KeyValuePair]) -> Vec<&str> {
        pairs.iter().map(|pair| pair.key.as_str()).collect()
    }

    fn collection() -> CollectionBackupInfo {
        let field = FieldSchema {
            type_params: vec![pair("dim"), pair("mmap.enabled")],
            index_params: vec![pair("metric_type"), pair("a")],
            ..FieldSchema::default()
        };
        let params = [("index_type", "HNSW"), ("mmap.enabled", "true"), ("params", r#"{"M":16,"ef":200}"#)];
        let mut info = CollectionBackupInfo {
            shards_num: 4,
            properties: vec![pair("ttl"), pair("mmap.enabled"), pair("cipher.ezID")],
            index_infos: vec![IndexInfo {
                params: params.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                ..IndexInfo::default()
            }],
            ..CollectionBackupInfo::default()
        };
        info.schema.description = "old".into();
        info.schema.properties = vec![pair("ttl")];
        info.schema.struct_array_fields =
            vec![StructArrayFieldSchema { fields: vec![field.clone()], ..StructArrayFieldSchema::default() }];
        info.schema.fields = vec![field];
        info
    }

    fn named(collection: &str, shards: Option<i32>, description: Option<&str>) -> Override {
        Override { collection: collection.into(), shards, description: description.map(str::to_owned) }
    }

    #[test]
    fn an_override_wins_over_the_bound_and_the_bound_never_raises() {
        let target = Name::new("default", "docs");
        let recorded = collection();
        let of = |mapping: Mapping| adjusted(&recorded, &target, &mapping);
        let mut open = recorded.clone();
        open.properties.pop();
        assert_eq!(*of(Mapping::default()), open, "but for what belongs to the encryption of another cluster");
        assert!(matches!(adjusted(&open, &target, &Mapping::default()), Cow::Borrowed(_)), "nothing else is copied");
        assert_eq!(of(Mapping { max_shards: Some(2), ..Mapping::default() }).shards_num, 2);
        assert_eq!(of(Mapping { max_shards: Some(8), ..Mapping::default() }).shards_num, 4);
        let overrides = vec![named("docs", Some(6), Some("new")), named("default.other", Some(1), None)];
        let both = of(Mapping { overrides, max_shards: Some(2), ..Mapping::default() });
        assert_eq!((both.shards_num, both.schema.description.as_str()), (6, "new"));
    }

    #[test]
    fn skipped_keys_are_nowhere_and_nothing_else_is_missing() {
        let list = |key: &str| vec![key.to_owned()];
        let skip_params = SkipParams {
            collection_properties: list("ttl"),
            field_type_params: list("mmap.enabled"),
            field_index_params: list("a"),
            index_params: vec!["mmap.enabled".into(), "ef".into()],
        };
        let mapping = Mapping { skip_params, ..Mapping::default() };
        let recorded = collection();
        let made = adjusted(&recorded, &Name::new("default", "docs"), &mapping);
        assert_eq!((keys(&made.properties), keys(&made.schema.properties)), (vec!["mmap.enabled"], vec![]));
        for field in made.schema.fields.iter().chain(&made.schema.struct_array_fields[0].fields) {
            assert_eq!((keys(&field.type_params), keys(&field.index_params)), (vec!["dim"], vec!["metric_type"]));
        }
        let index: Vec<(&str, &str)> =
            made.index_infos[0].params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(index, [("index_type", "HNSW"), ("params", r#"{"M":16}"#)]);
    }

    #[test]
    fn nested_parameters_keep_their_text_where_no_key_goes() {
        let mut info = collection();
        info.index_infos[0].params.insert("params".into(), r#"{ "M": 16 }"#.into());
        let skip_params = SkipParams { index_params: vec!["other".into()], ..SkipParams::default() };
        let mapping = Mapping { skip_params, ..Mapping::default() };
        let made = adjusted(&info, &Name::new("default", "docs"), &mapping);
        assert_eq!(made.index_infos, info.index_infos);
    }

    #[test]
    fn a_change_to_nothing_and_a_number_of_shards_that_is_none_are_refused() {
        let pairs = [(Name::new("default", "docs"), Name::new("shop", "docs"))];
        let said = |overrides| check(&Mapping { overrides, ..Mapping::default() }, &pairs);
        assert_eq!(said(vec![named("shop.docs", Some(1), None)]), Ok(()));
        assert!(said(vec![named("docs", Some(1), None)]).unwrap_err().contains("default.docs"));
        assert!(said(vec![named("shop.docs", Some(0), None)]).unwrap_err().contains("0 shards"));
        let bound = Mapping { max_shards: Some(-1), ..Mapping::default() };
        assert!(check(&bound, &pairs).unwrap_err().contains("at most -1"));
    }
}
