//! What a server calls itself, and what can be concluded from it.

/// The version of a server.
///
/// Build tags are free text: `v2.3.5-lite`, `2.6-20260404-1a2b3c`, `master-20260401-...`, product names of hosted
/// services. A tag of a line without a patch number is the head of that line and counts as newer than its releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// As the server said it.
    pub text: String,
    /// Major, minor, patch; none where the text has no version (a build of the main branch), which counts as newest.
    pub parsed: Option<(u64, u64, u64)>,
}

/// Patch number of a head-of-line build.
const HEAD_OF_LINE: u64 = 9999;

impl ServerVersion {
    /// Reads a build tag.
    pub fn parse(text: &str) -> ServerVersion {
        let parsed = at_start(text).or_else(|| after_product_name(text));
        ServerVersion { text: text.to_owned(), parsed }
    }

    /// Whether the server is of this version or newer. Pre-releases count as the release; an unreadable version as the
    /// newest.
    pub fn at_least(&self, major: u64, minor: u64, patch: u64) -> bool {
        self.parsed.is_none_or(|version| version >= (major, minor, patch))
    }

    /// The more telling of the build tag of Connect and the answer of GetVersion.
    pub(super) fn best(tag: Option<String>, said: Option<String>) -> ServerVersion {
        let texts: Vec<String> = [tag, said].into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let best = texts
            .iter()
            .find(|text| ServerVersion::is_exact(text))
            .or_else(|| texts.iter().find(|text| ServerVersion::parse(text).parsed.is_some()))
            .or(texts.first());
        ServerVersion::parse(best.map_or("unknown", String::as_str))
    }

    /// Whether the text begins with a full `X.Y.Z`; only then the tag of Connect needs no second opinion.
    pub(super) fn is_exact(text: &str) -> bool {
        let mut rest = without_v(text);
        (0..3).all(|place| {
            if place > 0 {
                match rest.strip_prefix('.') {
                    Some(after) => rest = after,
                    None => return false,
                }
            }
            match number(rest) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            }
        })
    }
}

impl std::fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn without_v(text: &str) -> &str {
    text.strip_prefix(['v', 'V']).unwrap_or(text)
}

/// A version at the very start: `X.Y` or `X.Y.Z`, anything may follow (`-lite`, a fourth number).
fn at_start(text: &str) -> Option<(u64, u64, u64)> {
    let (major, rest) = number(without_v(text.trim_start()))?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let patch = rest.strip_prefix('.').and_then(number).map_or(HEAD_OF_LINE, |(patch, _)| patch);
    Some((major, minor, patch))
}

/// A version after the word "milvus", as in product names of hosted services.
fn after_product_name(text: &str) -> Option<(u64, u64, u64)> {
    let lower = text.to_ascii_lowercase();
    lower
        .match_indices("milvus")
        .find_map(|(place, name)| at_start(lower[place + name.len()..].trim_start_matches([' ', '-', '_', ':', '/'])))
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("v2.3.5-lite", Some((2, 3, 5)))]
    #[case("2.5.27", Some((2, 5, 27)))]
    #[case("v2.4.15.1", Some((2, 4, 15)))]
    #[case("3.0.0-beta", Some((3, 0, 0)))]
    #[case("2.6-20260404-1a2b3c4d", Some((2, 6, 9999)))]
    #[case("v2.2-testing-20230824", Some((2, 2, 9999)))]
    #[case("Hosted Vector Database (compatible with Milvus 2.5)", Some((2, 5, 9999)))]
    #[case("milvus-v2.4.3", Some((2, 4, 3)))]
    #[case("master-20260401-1a2b3c4d", None)]
    #[case("unknown", None)]
    #[case("", None)]
    #[case("2", None)]
    #[case("release 2.5.1", None)]
    #[case("99999999999999999999.1.1", None)]
    fn a_build_tag_is_read_as_a_version(#[case] text: &str, #[case] parsed: Option<(u64, u64, u64)>) {
        assert_eq!(ServerVersion::parse(text), ServerVersion { text: text.to_owned(), parsed });
    }

    #[rstest]
    #[case("v2.3.5-lite", true)]
    #[case("2.4.15.1", true)]
    #[case("2.6-20260404-1a2b3c4d", false)]
    #[case("master-20260401", false)]
    #[case("2.6.", false)]
    fn only_three_numbers_make_a_tag_exact(#[case] text: &str, #[case] exact: bool) {
        assert_eq!(ServerVersion::is_exact(text), exact);
    }

    #[test]
    fn a_head_of_line_build_is_newer_than_every_release_of_its_line_and_older_than_the_next_line() {
        let head = ServerVersion::parse("2.5-20250310-1a2b3c4d");
        assert!(head.at_least(2, 5, 27));
        assert!(!head.at_least(2, 6, 0));
    }

    #[test]
    fn an_unreadable_version_counts_as_the_newest() {
        assert!(ServerVersion::parse("master-20260401").at_least(3, 1, 0));
    }

    #[test]
    fn a_pre_release_counts_as_the_release() {
        assert!(ServerVersion::parse("v3.0.0-rc1").at_least(3, 0, 0));
        assert!(!ServerVersion::parse("v2.6.7").at_least(2, 6, 8));
    }

    #[rstest]
    #[case(Some("v2.3.5-lite"), Some("2.3"), "v2.3.5-lite")]
    #[case(Some("2.6-20260404-1a2b"), Some("2.6.14"), "2.6.14")]
    #[case(Some("master-20260404"), Some("2.6-20260404-1a2b"), "2.6-20260404-1a2b")]
    #[case(Some("master-20260404"), Some("master-20260404"), "master-20260404")]
    #[case(None, Some("v2.2.5"), "v2.2.5")]
    #[case(Some(""), None, "unknown")]
    fn the_most_telling_version_text_wins(#[case] tag: Option<&str>, #[case] said: Option<&str>, #[case] best: &str) {
        assert_eq!(ServerVersion::best(tag.map(Into::into), said.map(Into::into)).text, best);
    }
}
