//! Where the file is looked for, and its content as dotted keys. The only part that reads from disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::ConfigError;

/// Directory that is looked into for the file.
pub const FOLDER_ENV: &str = "MILVUSCONF";
/// Name of the file where none is given.
pub const DEFAULT_FILE: &str = "backup.yaml";
/// A configuration is a page of text.
const SIZE_LIMIT: u64 = 1 << 20;

/// A value as it stands in the file. Has no `Debug`: it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Raw {
    /// Text, number or flag, as text.
    Scalar(String),
    /// A list of those.
    List(Vec<String>),
}

/// A file as dotted keys in small letters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct File {
    /// Where it was found.
    pub path: PathBuf,
    /// Small letters to spelling and value.
    pub values: BTreeMap<String, (String, Raw)>,
}

/// The places a file is looked for, in order: as given, then the same base name in `$MILVUSCONF`, then in `./configs`
/// (milvus-backup 0.5.16, `internal/cfg/param/source.go`, without its build tree).
pub fn places(given: &Path, folder: Option<&str>, here: &Path) -> Vec<PathBuf> {
    let mut places = vec![given.to_owned()];
    if let Some(base) = given.file_name() {
        places.extend(folder.filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(base)));
        places.push(here.join("configs").join(base));
    }
    places
}

/// Reads the first file that is there.
///
/// # Errors
/// None is there; it cannot be read, is too large or no YAML map.
pub fn read(places: &[PathBuf]) -> Result<File, ConfigError> {
    let Some(path) = places.iter().find(|path| path.exists()) else {
        let tried: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        return Err(ConfigError::File(format!(
            "there is no configuration file: tried {}; give one with --config, or --config \"\" to go without",
            tried.join(", ")
        )));
    };
    let fail = |what: String| ConfigError::File(format!("{}: {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > SIZE_LIMIT {
        return Err(fail(format!("{size} bytes are too many for a configuration")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    Ok(File { path: path.clone(), ..parse(&text).map_err(fail)? })
}

/// Flattens YAML text.
///
/// # Errors
/// A sentence without any value of the text.
pub fn parse(text: &str) -> Result<File, String> {
    // The parser's own words may quote the line, and the line may hold a password.
    let root: Node = serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(at) => format!("not understood as YAML near line {}", at.line()),
        None => "not understood as YAML".to_owned(),
    })?;
    let mut file = File::default();
    match root {
        Node::Null => {}
        Node::Map(entries) => flatten("", entries, &mut file.values)?,
        Node::Scalar(_) | Node::List(_) => return Err("not a map of keys to values".into()),
    }
    Ok(file)
}

fn flatten(
    prefix: &str,
    entries: Vec<(String, Node)>,
    values: &mut BTreeMap<String, (String, Raw)>,
) -> Result<(), String> {
    for (name, node) in entries {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        let raw = match node {
            Node::Null => continue,
            Node::Map(entries) => {
                flatten(&key, entries, values)?;
                continue;
            }
            Node::Scalar(text) => Raw::Scalar(text),
            Node::List(items) => {
                let scalar = |item| match item {
                    Node::Scalar(text) => Ok(text),
                    _ => Err(format!("{key} is no list of plain values")),
                };
                Raw::List(items.into_iter().map(scalar).collect::<Result<_, _>>()?)
            }
        };
        if values.insert(key.to_lowercase(), (key.clone(), raw)).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(())
}

enum Node {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(file: &File, key: &str) -> Option<String> {
        match &file.values.get(key)?.1 {
            Raw::Scalar(text) => Some(text.clone()),
            Raw::List(_) => None,
        }
    }

    #[test]
    fn keys_are_found_in_any_spelling_and_keep_theirs() {
        let file = parse("Minio:\n  useSSL: true\n  port: 9000\n  token:\n").unwrap();
        assert_eq!(scalar(&file, "minio.usessl").as_deref(), Some("true"));
        assert_eq!(scalar(&file, "minio.port").as_deref(), Some("9000"));
        assert_eq!(file.values["minio.usessl"].0, "Minio.useSSL");
        assert!(!file.values.contains_key("minio.token"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_named() {
        let said = parse("milvus:\n  port: 1\n  Port: 2\n").err().unwrap();
        assert_eq!(said, "milvus.Port is there twice");
    }

    #[test]
    fn what_is_no_yaml_is_answered_with_a_line_and_none_of_its_words() {
        let said = parse("milvus:\n  password: [hunter2\n").err().unwrap();
        assert!(said.contains("line") && !said.contains("hunter2"), "{said}");
        assert!(parse("just words").err().unwrap().contains("not a map"));
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        assert!(parse("").unwrap().values.is_empty());
        assert!(parse("# a comment\n").unwrap().values.is_empty());
    }

    #[test]
    fn a_file_is_looked_for_as_given_then_in_milvusconf_then_in_configs() {
        let shown: Vec<String> = places(Path::new("etc/my.yaml"), Some("/conf"), Path::new("/home/me"))
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(shown, ["etc/my.yaml", "/conf/my.yaml", "/home/me/configs/my.yaml"]);
    }
}
