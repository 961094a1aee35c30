//! Pure: the settings as a table, as JSON, and as a file of schema 2.

use serde::Serialize;

use super::error::ConfigError;
use super::keys::{Kind, schema2};
use super::load::{CREDENTIALS, Configuration, Schema, VERSION_KEY};
use super::values::{Origin, Value};

/// One key as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Key of schema 2.
    pub parameter: String,
    /// Its value; of a secret, only whether there is one.
    pub value: String,
    /// `override`, `env`, `config` or `default`.
    pub source: &'static str,
    /// The key or variable as it was spelled there.
    pub source_key: String,
}

impl Configuration {
    /// Every key with its value and who set it, secrets left out.
    pub fn shown(&self) -> Vec<Shown> {
        let keys = schema2().into_iter();
        let found = keys.filter_map(|key| Some((key.name.clone(), self.values.get(&key.name)?.clone())));
        found
            .map(|(parameter, value)| Shown {
                parameter,
                value: value.shown().to_owned(),
                source: value.origin.word(),
                source_key: value.spelled,
            })
            .collect()
    }

    /// [`Configuration::shown`] in columns, with a head line.
    pub fn table(&self) -> String {
        let head = ["PARAMETER", "VALUE", "SOURCE", "SOURCE_KEY"].map(str::to_owned);
        let rows: Vec<[String; 4]> = std::iter::once(head)
            .chain(self.shown().into_iter().map(|s| [s.parameter, s.value, s.source.to_owned(), s.source_key]))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (first, second, third) = (width(0), width(1), width(2));
        let line = |[parameter, value, source, key]: &[String; 4]| {
            format!("{parameter:first$}  {value:second$}  {source:third$}  {key}").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The whole configuration as a file of schema 2, secrets included. Those that the environment supplies are left out;
    /// the second part of the answer says which variables to set instead.
    ///
    /// # Errors
    /// It is of schema 2 already.
    pub fn migrated(&self) -> Result<(String, Vec<String>), ConfigError> {
        if self.schema == Schema::Two {
            let path = self.path.as_ref().map(|path| path.display().to_string()).unwrap_or("the configuration".into());
            return Err(ConfigError::File(format!("{path} is of schema 2 already")));
        }
        let mut text = format!("{VERSION_KEY}: v2\n");
        let mut notes = Vec::new();
        let mut open: Vec<String> = Vec::new();
        for key in schema2().into_iter().filter(|key| self.applies(&key.name)) {
            let Some(value) = self.values.get(&key.name) else { continue };
            if key.secret && value.origin == Origin::Environment {
                let variable = key.env.first().cloned().unwrap_or_default();
                notes.push(format!("{} comes from {}: set {variable} instead", key.name, value.spelled));
                continue;
            }
            let mut path: Vec<String> = key.name.split('.').map(str::to_owned).collect();
            let Some(leaf) = path.pop() else { continue };
            let common = path.iter().zip(&open).take_while(|(a, b)| a == b).count();
            for (depth, name) in path.iter().enumerate().skip(common) {
                text.push_str(&format!("{}{name}:\n", "  ".repeat(depth)));
            }
            text.push_str(&format!("{}{leaf}: {}\n", "  ".repeat(path.len()), written(key.kind, value)));
            open = path;
        }
        Ok((text, notes))
    }

    /// Keys that say nothing for the chosen provider and log-in stay out of a file: schema 2 refuses them there.
    fn applies(&self, name: &str) -> bool {
        let Some((section, tail)) = ["milvus.storage", "backup.storage"]
            .into_iter()
            .find_map(|section| Some((section, name.strip_prefix(section)?.strip_prefix('.')?)))
        else {
            return true;
        };
        let text = |tail: &str| self.values.text(&format!("{section}.{tail}"));
        let local = text("provider") == "local";
        match tail {
            "accountName" => text("provider") == "azure",
            "localPath" => local,
            "milvusAddress" | "milvusPort" => false,
            "auth.type" => !local,
            tail => match CREDENTIALS.iter().find(|(credential, _)| *credential == tail) {
                Some((_, kind)) => !local && text("auth.type") == *kind,
                None => true,
            },
        }
    }
}

fn written(kind: Kind, value: &Value) -> String {
    // JSON's strings are YAML's, whatever they hold.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match kind {
        Kind::Flag | Kind::Number(..) | Kind::Choice(_) => value.text.clone(),
        Kind::Text | Kind::Url => quoted(&value.text),
        Kind::List => format!("[{}]", value.text.split(',').map(quoted).collect::<Vec<_>>().join(", ")),
    }
}
