//! ETags in little memory: a backup holds one for each of a million objects.

use std::fmt;

/// An entity tag without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// 32 lower-case hex digits, which are the MD5 of the content where a service keeps to S3.
    Digest([u8; 16]),
    /// Anything else, as it is.
    Text(Box<str>),
}

impl From<&str> for Tag {
    fn from(etag: &str) -> Tag {
        match digest(etag.as_bytes()) {
            Some(digest) => Tag::Digest(digest),
            None => Tag::Text(etag.into()),
        }
    }
}

fn digest(etag: &[u8]) -> Option<[u8; 16]> {
    let digit = |character: u8| match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    };
    let etag: &[u8; 32] = etag.try_into().ok()?;
    let mut digest = [0; 16];
    for (byte, two) in digest.iter_mut().zip(etag.chunks_exact(2)) {
        *byte = digit(two[0])? << 4 | digit(two[1])?;
    }
    Some(digest)
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tag::Digest(bytes) => write!(f, "{:032x}", u128::from_be_bytes(*bytes)),
            Tag::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_md5_takes_16_bytes_and_every_tag_comes_back_as_it_was() {
        assert_eq!(size_of::<Option<Tag>>(), 24);
        for (etag, digest) in [
            ("0123456789abcdef0123456789abcdef", true),
            ("00000000000000000000000000000000", true),
            ("0123456789ABCDEF0123456789abcdef", false),
            ("0123456789abcdef0123456789abcde", false),
            ("0123456789abcdef0123456789abcdef-2", false),
            ("", false),
        ] {
            let tag = Tag::from(etag);
            assert_eq!(matches!(tag, Tag::Digest(_)), digest, "{etag}");
            assert_eq!(tag.to_string(), etag);
        }
    }
}
