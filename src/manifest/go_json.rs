//! JSON as Go's `encoding/json` writes it: compact, with `<`, `>`, `&`, U+2028 and U+2029 escaped in strings.
//!
//! Source: milvus-backup.md 3.2; `encoding/json` of Go 1.22 and later (`\b` and `\f` short, as serde_json does).

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Serialises the Go way. No trailing newline. Writes a few bytes at a time.
pub(super) fn to_writer<T: Serialize + ?Sized>(value: &T, writer: impl Write) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(writer, GoFormatter))
}

/// Whether Go's `omitempty` would leave the value out.
pub(super) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all of it is keys of objects: one look at the bytes tells, U+2028 and U+2029 begin with E2.
        if !fragment.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2)) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let Some(character) = special.chars().next() else { break };
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = &special[character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_vec<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        to_writer(value, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn html_characters_and_line_separators_are_escaped_as_go_does() {
        let bytes = to_vec("a<b>&\u{2028}\u{2029}é\"\\\u{8}\u{c}\n\u{1}").unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "\"a\\u003cb\\u003e\\u0026\\u2028\\u2029é\\\"\\\\\\b\\f\\n\\u0001\""
        );
    }

    #[test]
    fn keys_of_maps_are_escaped_too() {
        let map = std::collections::BTreeMap::from([("<", 1)]);
        assert_eq!(to_vec(&map).unwrap(), br#"{"\u003c":1}"#);
    }
}
