//! A value that never shows itself.

use std::fmt;

/// A key, a password, a token. Has neither `Display` nor `Serialize`; `Debug` shows only whether there is one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

/// Keys of encrypted databases, old to new: what is encrypted under another key elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyMapping(Vec<(Secret, Secret)>);

impl KeyMapping {
    /// The key in place of `old`, which is the same where none is named.
    pub fn of(&self, old: &str) -> Secret {
        let new = self.0.iter().find(|(from, _)| from.expose() == old).map(|(_, to)| to.clone());
        new.unwrap_or_else(|| Secret::new(old))
    }

    /// How many of the old keys are none of these.
    pub fn unknown(&self, keys: &[&str]) -> usize {
        self.0.iter().filter(|(from, _)| !keys.contains(&from.expose())).count()
    }
}

impl FromIterator<(String, String)> for KeyMapping {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> KeyMapping {
        KeyMapping(pairs.into_iter().map(|(from, to)| (Secret::new(from), Secret::new(to))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_part_of_the_value() {
        let said = format!("{:?} {:?}", Secret::new("hunter2"), Secret::default());
        assert_eq!(said, "Secret(***) Secret(none)");
        let mapping: KeyMapping = [("hunter2".to_owned(), "hunter3".to_owned())].into_iter().collect();
        assert!(!format!("{mapping:?}").contains("hunter"));
    }

    #[test]
    fn a_key_that_is_not_mapped_stays() {
        let mapping: KeyMapping = [("old".to_owned(), "new".to_owned())].into_iter().collect();
        assert_eq!((mapping.of("old").expose(), mapping.of("other").expose()), ("new", "other"));
        assert_eq!((mapping.unknown(&["old"]), mapping.unknown(&["other"])), (0, 1));
    }
}
