//! Names of artifacts: what the Go tool allows, and how an object gets one.

use crate::manifest::error::ManifestError;

/// Longest artifact name in bytes.
pub const NAME_LIMIT: usize = 128;

/// The artifact of an object: `<namespace>_<name>_<first 8 characters of its uid>`, other characters as `_`, cut in the
/// middle part to [`NAME_LIMIT`] bytes, and with a leading `_` where it would begin with a digit.
pub fn artifact_name(namespace: &str, name: &str, uid: &str) -> String {
    let uid: String = plain(uid).chars().take(8).collect();
    let mut head = plain(namespace);
    head.push('_');
    head.push_str(&plain(name));
    if head.starts_with(|first: char| first.is_ascii_digit()) {
        head.insert(0, '_');
    }
    head.truncate(NAME_LIMIT - 1 - uid.len());
    format!("{head}_{uid}")
}

/// The Go tool's rules for names: letters, digits and `_`, not beginning with a digit, at most [`NAME_LIMIT`] bytes.
pub fn validate_artifact_name(name: &str) -> Result<(), ManifestError> {
    let refuse = |rule| Err(ManifestError::Name { name: name.chars().take(NAME_LIMIT + 1).collect(), rule });
    let Some(first) = name.chars().next() else {
        return refuse("a name is needed");
    };
    if name.len() > NAME_LIMIT {
        return refuse("a name has at most 128 bytes");
    }
    if !(first.is_ascii_alphabetic() || first == '_') {
        return refuse("a name begins with a letter or an underscore");
    }
    if !name.chars().all(is_plain) {
        return refuse("a name holds letters, digits and underscores only");
    }
    Ok(())
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// With `_` for what a name must not hold.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}
