//! Pure: which source sets a key, and whether the value is one.
//!
//! Precedence: `--set`, then the environment, then the file, then the default (milvus-backup 0.5.16, `internal/cfg/param`).

use std::collections::BTreeMap;
use std::fmt;

use super::file::{File, Raw};
use super::keys::{Key, Kind};

/// What a configuration is made from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file, where there is one.
    pub file: Option<File>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// `--set`: small letters to spelling and value. The key is that of the file or the name of a variable.
    pub overrides: BTreeMap<String, (String, String)>,
}

/// Who set a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--set`.
    Override,
    /// An environment variable.
    Environment,
    /// The file.
    File,
    /// Nobody; or another key it is taken from.
    Default,
}

impl Origin {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Override => "override",
            Origin::Environment => "env",
            Origin::File => "config",
            Origin::Default => "default",
        }
    }
}

/// A value with who set it. `Debug` shows it only where it is no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// Lists are joined by commas.
    pub text: String,
    /// Whether it is never shown.
    pub secret: bool,
    /// Who set it.
    pub origin: Origin,
    /// The key or variable as it was spelled; empty for a default.
    pub spelled: String,
}

impl Value {
    /// The value as it may be shown: of a secret, only whether there is one.
    pub fn shown(&self) -> &str {
        match (self.secret, self.text.is_empty()) {
            (true, false) => "***",
            _ => &self.text,
        }
    }

    /// Whether nobody set it.
    pub fn is_default(&self) -> bool {
        self.origin == Origin::Default
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} {})", self.shown(), self.origin.word(), self.spelled)
    }
}

/// All keys of a schema with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, Value>);

impl Values {
    /// The value of a key of the schema; empty text for others.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).map(|value| value.text.as_str()).unwrap_or_default()
    }

    /// The value of a key with who set it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    /// A number; checked when it was resolved.
    pub fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or_default()
    }

    /// A flag; checked when it was resolved.
    pub fn flag(&self, key: &str) -> bool {
        self.text(key) == "true"
    }
}

/// Looks every key up. Problems are sentences without the value of a secret.
pub fn resolve(keys: &[Key], sources: &Sources, problems: &mut Vec<String>) -> Values {
    let mut values = Values::default();
    for key in keys {
        let (raw, origin, spelled) = lookup(key, sources);
        let text = match canonical(key, raw, origin) {
            Ok(text) => text,
            Err(problem) => {
                problems.push(problem);
                key.default.to_owned()
            }
        };
        values.set(&key.name, Value { text, secret: key.secret, origin, spelled });
    }
    values
}

fn lookup(key: &Key, sources: &Sources) -> (Raw, Origin, String) {
    let name = key.name.to_lowercase();
    let variables = key.env.iter().map(|variable| variable.to_lowercase());
    for spelled in std::iter::once(name.clone()).chain(variables) {
        if let Some((spelling, text)) = sources.overrides.get(&spelled) {
            return (Raw::Scalar(text.clone()), Origin::Override, spelling.clone());
        }
    }
    for variable in &key.env {
        match sources.environment.get(variable) {
            // Kubernetes sets <SERVICE>_PORT to a URL for every Service; one named milvus or minio must not break this.
            Some(text) if matches!(key.kind, Kind::Number(..)) && text.starts_with("tcp://") => {}
            Some(text) => return (Raw::Scalar(text.clone()), Origin::Environment, variable.clone()),
            None => {}
        }
    }
    if let Some((spelling, raw)) = sources.file.as_ref().and_then(|file| file.values.get(&name)) {
        return (raw.clone(), Origin::File, spelling.clone());
    }
    (Raw::Scalar(key.default.to_owned()), Origin::Default, String::new())
}

/// The one spelling of a value.
fn canonical(key: &Key, raw: Raw, origin: Origin) -> Result<String, String> {
    let name = &key.name;
    let text = match (raw, key.kind, origin) {
        (Raw::List(items), Kind::List, _) => return list(name, items.iter().map(String::as_str)),
        // A comma-separated text is what schema 1 had; one element that holds commas would be found out much later.
        (Raw::Scalar(_), Kind::List, Origin::File) => return Err(format!("{name} must be a list")),
        (Raw::List(_), _, _) => return Err(format!("{name} is one value, not a list")),
        (Raw::Scalar(text), _, _) => text,
    };
    match key.kind {
        Kind::Text => Ok(text),
        Kind::List => list(name, text.split(',')),
        Kind::Flag => match text.to_lowercase().as_str() {
            // What Go's strconv.ParseBool takes.
            "1" | "t" | "true" => Ok("true".into()),
            "0" | "f" | "false" => Ok("false".into()),
            _ => Err(format!("{name} is true or false, not {text:?}")),
        },
        Kind::Number(least, most) => match text.trim().parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
            _ => Err(format!("{name} is a number from {least} to {most}, not {text:?}")),
        },
        Kind::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(&text))
            .map(|word| (*word).to_owned())
            .ok_or_else(|| format!("{name} is one of {}, not {text:?}", words.join(", "))),
        Kind::Url if text.is_empty() || is_url(&text) => Ok(text),
        Kind::Url => Err(format!("{name} is a URL such as http://localhost:9091, not {text:?}")),
    }
}

fn list<'t>(name: &str, items: impl Iterator<Item = &'t str>) -> Result<String, String> {
    let items: Vec<&str> = items.map(str::trim).filter(|item| !item.is_empty()).collect();
    match items.is_empty() {
        true => Err(format!("{name} needs at least one entry")),
        false => Ok(items.join(",")),
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

/// Reads the items of `--set`: `KEY=VALUE`, several in one argument separated by commas.
///
/// # Errors
/// An item without `=`; it is counted, not shown.
pub fn overrides(arguments: &[String]) -> Result<BTreeMap<String, (String, String)>, String> {
    let mut found = BTreeMap::new();
    for (index, item) in arguments.iter().flat_map(|argument| argument.split(',')).enumerate() {
        let (key, value) = item
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("item {} of --set is no KEY=VALUE", index + 1))?;
        found.insert(key.to_lowercase(), (key.to_owned(), value.to_owned()));
    }
    Ok(found)
}
