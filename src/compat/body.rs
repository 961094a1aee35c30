//! From the bytes of a body to a request, as tolerant as the Go tool's reader and with better answers.
//!
//! Keys are taken in any letter case, unknown ones are ignored, null is as good as left out (Go 1.25, encoding/json). What
//! is wrong is named by its path. The shape is that of the type's JSON schema, so nothing is listed twice.

use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::wire::{CreateRequest, RestoreRequest, RestoreSecondaryRequest};

/// Where definitions are in an OpenAPI document; schemas refer to each other by this.
pub const DEFINITIONS: &str = "/components/schemas";
/// Unknown keys named in the log.
const SHOWN: usize = 5;

/// A request that comes as a body.
pub trait Body: DeserializeOwned {
    /// Its schema.
    fn shape() -> &'static Shape;
}

macro_rules! body {
    ($type:ty) => {
        impl Body for $type {
            fn shape() -> &'static Shape {
                static SHAPE: LazyLock<Shape> = LazyLock::new(Shape::of::<$type>);
                &SHAPE
            }
        }
    };
}

body!(CreateRequest);
body!(RestoreRequest);
body!(RestoreSecondaryRequest);

/// A schema with the definitions it refers to.
#[derive(Debug)]
pub struct Shape {
    root: Schema,
    definitions: Map<String, Value>,
}

impl Shape {
    fn of<T: JsonSchema>() -> Shape {
        let mut generator = generator();
        let root = generator.subschema_for::<T>();
        Shape { root, definitions: generator.take_definitions(true) }
    }

    /// Follows a reference, and takes the shape of a value that may also be null.
    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        loop {
            let reference =
                schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
            let choice = schema.get("anyOf").and_then(Value::as_array);
            let nullable = choice.filter(|options| options.iter().any(|option| option["type"] == "null"));
            schema = match (reference, nullable) {
                (Some(name), _) => match self.definitions.get(name) {
                    Some(found) => found,
                    None => return schema,
                },
                (None, Some(options)) => match options.iter().find(|option| option["type"] != "null") {
                    Some(found) => found,
                    None => return schema,
                },
                (None, None) => return schema,
            };
        }
    }
}

/// Makes schemas as an OpenAPI 3.1 document holds them.
pub fn generator() -> schemars::SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = DEFINITIONS.into();
            settings.meta_schema = None;
        })
        .into_generator()
}

/// Reads a request.
///
/// # Errors
/// What is wrong with the body, and where.
pub fn read<T: Body>(bytes: &[u8]) -> Result<T, String> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| format!("the body is no JSON: {error}"))?;
    let shape = T::shape();
    let mut reading = Reading { shape, unknown: Vec::new() };
    reading.conform(&mut value, shape.root.as_value(), "")?;
    if !reading.unknown.is_empty() {
        let (keys, more) = (reading.unknown.len(), reading.unknown.len().saturating_sub(SHOWN));
        reading.unknown.truncate(SHOWN);
        tracing::warn!(keys, unknown = ?reading.unknown, more, "the request has keys this API does not know");
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

struct Reading<'s> {
    shape: &'s Shape,
    unknown: Vec<String>,
}

impl Reading<'_> {
    fn conform(&mut self, value: &mut Value, schema: &Value, path: &str) -> Result<(), String> {
        let schema = self.shape.resolve(schema);
        let Some(expected) = expected(schema) else { return Ok(()) };
        if !is_a(value, &expected) {
            let place = if path.is_empty() { "the body" } else { path };
            return Err(format!("{place}: expected {}, found {}", described(&expected), kind(value)));
        }
        match value {
            Value::Object(object) => self.object(object, schema, path),
            Value::Array(items) => match schema.get("items") {
                Some(item) => items
                    .iter_mut()
                    .enumerate()
                    .try_for_each(|(index, value)| self.conform(value, item, &format!("{path}[{index}]"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn object(&mut self, object: &mut Map<String, Value>, schema: &Value, path: &str) -> Result<(), String> {
        let inside = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        object.retain(|_, value| !value.is_null());
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, mut value) in std::mem::take(object) {
                let known = properties.get_key_value(&key);
                let known = known.or_else(|| properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)));
                match known {
                    Some((name, schema)) => {
                        self.conform(&mut value, schema, &inside(name))?;
                        object.insert(name.clone(), value);
                    }
                    None => self.unknown.push(crate::engine::error::bounded(&inside(&key), 60)),
                }
            }
            return Ok(());
        }
        if let Some(schema @ Value::Object(_)) = schema.get("additionalProperties") {
            for (key, value) in object {
                self.conform(value, schema, &inside(key))?;
            }
        }
        Ok(())
    }
}

/// The JSON types a schema admits, none where it admits everything.
fn expected(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("type") {
        Some(Value::String(one)) => Some(vec![one]),
        Some(Value::Array(several)) => {
            Some(several.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect())
        }
        _ => {
            let options = schema.get("anyOf").and_then(Value::as_array)?;
            Some(options.iter().filter_map(|option| option["type"].as_str()).collect())
        }
    }
}

fn is_a(value: &Value, expected: &[&str]) -> bool {
    expected.iter().any(|expected| match *expected {
        "integer" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "number" => value.is_number(),
        other => kind_name(value) == other,
    })
}

fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Null => "null".to_owned(),
        other => format!("{} {}", if matches!(other, Value::String(_)) { "a" } else { "an" }, kind_name(other)),
    }
}

fn described(expected: &[&str]) -> String {
    let named = expected.iter().map(|expected| match *expected {
        "integer" => "an integer of 32 bits".to_owned(),
        vowel @ ("array" | "object") => format!("an {vowel}"),
        other => format!("a {other}"),
    });
    named.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::wire::DbCollections;

    fn create(text: &str) -> Result<CreateRequest, String> {
        read(text.as_bytes())
    }

    #[test]
    fn keys_are_taken_in_any_letter_case_and_unknown_ones_ignored() {
        let request = create(r#"{"Backup_Name":"b","ASYNC":true,"later":{"a":1},"collection_names":["x"]}"#).unwrap();
        assert_eq!((request.backup_name.as_str(), request.asynchronous), ("b", true));
        assert_eq!(request.collection_names, ["x"]);
    }

    #[test]
    fn names_of_databases_keep_their_letter_case() {
        let request = create(r#"{"FILTER":{"Sales":{"Colls":["A"]},"sales":{"colls":["b"]}}}"#).unwrap();
        let filter = request.filter.unwrap();
        assert_eq!(filter["Sales"].colls, ["A"]);
        assert_eq!(filter["sales"].colls, ["b"]);
    }

    #[test]
    fn null_is_as_good_as_left_out() {
        let request = create(r#"{"backup_name":null,"filter":null,"db_collections":null,"async":null}"#).unwrap();
        assert_eq!(request, CreateRequest::default());
    }

    #[test]
    fn a_present_but_empty_filter_is_told_from_none() {
        assert_eq!(create(r#"{"filter":{}}"#).unwrap().filter.map(|filter| filter.len()), Some(0));
        assert_eq!(create("{}").unwrap().filter, None);
    }

    #[test]
    fn collections_by_database_come_as_text_or_object() {
        for body in [r#"{"db_collections":"{\"d\":[\"c\"]}"}"#, r#"{"db_collections":{"d":["c"]}}"#] {
            let read = create(body).unwrap().db_collections.read().unwrap();
            assert_eq!(read["d"], ["c"], "{body}");
        }
        assert_eq!(DbCollections::Text(r#"{"d":null}"#.into()).read().unwrap()["d"], Vec::<String>::new());
        assert!(DbCollections::Text("[1]".into()).read().is_err());
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        for (body, said) in [
            (r#"{"backup_name":7}"#, "backup_name: expected a string, found the number 7"),
            (r#"{"async":"yes"}"#, "async: expected a boolean, found a string"),
            (r#"{"filter":{"d":{"colls":["a",1]}}}"#, "filter.d.colls[1]: expected a string, found the number 1"),
            (r#"{"filter":[]}"#, "filter: expected an object, found an array"),
            (r#"{"gc_pause_seconds":1.5}"#, "gc_pause_seconds: expected an integer of 32 bits, found the number 1.5"),
            (
                r#"{"gc_pause_seconds":3000000000}"#,
                "gc_pause_seconds: expected an integer of 32 bits, found the number 3000000000",
            ),
            (r#"{"db_collections":4}"#, "db_collections: expected a string or an object, found the number 4"),
            ("[]", "the body: expected an object, found an array"),
            ("null", "the body: expected an object, found null"),
        ] {
            assert_eq!(create(body).unwrap_err(), said, "{body}");
        }
    }

    #[test]
    fn nested_objects_of_a_restore_are_read_and_named() {
        let body = r#"{"restoreplan":{"Mapping":[{"source":"a","target":"b","colls":[
            {"source":"x","target":"y","Override":{"shardNum":4}}]}]},"skipParams":{"IndexParams":["mmap"]},"restoreIndex":false}"#;
        let request: RestoreRequest = read(body.as_bytes()).unwrap();
        let plan = request.restore_plan.unwrap();
        assert_eq!(plan.mapping[0].colls[0].overrides.as_ref().unwrap().shard_num, 4);
        assert_eq!(plan.filter, None);
        assert_eq!(request.skip_params.index_params, ["mmap"]);
        assert_eq!(request.restore_index, Some(false));
        let said = read::<RestoreRequest>(br#"{"restorePlan":{"mapping":[{"colls":[{"override":3}]}]}}"#).unwrap_err();
        assert_eq!(said, "restorePlan.mapping[0].colls[0].override: expected an object, found the number 3");
    }

    #[test]
    fn bytes_that_are_no_json_are_refused_with_the_place() {
        for body in ["", "{", "{\"a\":}", "\u{0}", "{} x"] {
            assert!(create(body).unwrap_err().starts_with("the body is no JSON: "), "{body}");
        }
        assert!(create(&"[".repeat(100_000)).unwrap_err().contains("recursion limit"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = read::<CreateRequest>(&bytes);
            let _ = read::<RestoreRequest>(&bytes);
        }

        #[test]
        fn whatever_is_written_is_read_back(name in ".{0,20}", colls in proptest::collection::vec("[a-z*]{0,5}", 0..4)) {
            let request = CreateRequest {
                backup_name: name,
                filter: Some([("d".to_owned(), crate::compat::wire::CollectionFilter { colls })].into()),
                ..CreateRequest::default()
            };
            proptest::prop_assert_eq!(read::<CreateRequest>(&serde_json::to_vec(&request).unwrap()).unwrap(), request);
        }
    }
}
