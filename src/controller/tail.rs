//! Pure: what the end of a runner's log says.

use super::text::clip;
use crate::engine::task::{Progress, ProgressLine};

/// The last progress line of a log tail.
pub fn last_progress(tail: &str) -> Option<Progress> {
    let read = |line: &str| serde_json::from_str::<ProgressLine>(line).ok();
    tail.lines().rev().filter(|line| line.starts_with("{\"progress\"")).find_map(read).map(|line| line.progress)
}

/// The last line that is no progress.
pub fn last_words(tail: &str) -> Option<String> {
    let line = tail.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("{\"progress\""))?;
    Some(scrub(line))
}

/// The last 20 lines that are no progress, at most 4 KiB, for `status.logTail`.
pub fn log_tail(tail: &str) -> Option<String> {
    const LINES: usize = 20;
    const BYTES: usize = 4096;
    let mut kept: Vec<String> = Vec::new();
    let mut bytes = 0;
    for line in tail.lines().rev().filter(|line| !line.trim().is_empty() && !line.starts_with("{\"progress\"")) {
        let line = scrub(line);
        bytes += line.len() + 1;
        if kept.len() == LINES || bytes > BYTES {
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    (!kept.is_empty()).then(|| kept.join("\n"))
}

/// Removes what could be a credential from a line. The runner logs none; this is the second fence, for lines of libraries.
fn scrub(line: &str) -> String {
    const MARKS: [&str; 8] = [
        "X-Amz-Signature=",
        "X-Amz-Credential=",
        "X-Amz-Security-Token=",
        "Signature=",
        "Authorization:",
        "authorization:",
        "sig=",
        "password=",
    ];
    let mut text = line.to_owned();
    for mark in MARKS {
        let mut from = 0;
        while let Some(found) = text.get(from..).and_then(|rest| rest.find(mark)) {
            let start = from + found + mark.len();
            let rest = text.get(start..).unwrap_or_default();
            let blank = rest.len() - rest.trim_start().len();
            // A header's value may hold blanks (`Bearer x`), a query's value ends at the next separator.
            let stops: &[char] = if mark.ends_with(':') { &['\n', '"'] } else { &['&', ' ', '"', '\'', ',', '\n'] };
            let value = rest.get(blank..).unwrap_or_default();
            let length = blank + value.find(stops).unwrap_or(value.len());
            text.replace_range(start..start + length, "***");
            from = start + 3;
        }
    }
    clip(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_urls_and_headers_lose_their_secrets() {
        let line = "GET http://s3/a?X-Amz-Credential=AK/x&X-Amz-Signature=abc&y=1 authorization: Bearer tok";
        let text = scrub(line);
        assert!(!text.contains("AK/x") && !text.contains("abc") && !text.contains("tok"), "{text}");
        assert!(text.contains("&y=1"), "{text}");
    }

    #[test]
    fn the_kept_tail_is_short_and_without_progress() {
        let tail: String = (0..100).map(|n| format!("line {n} {}\n{{\"progress\":{{}}}}\n", "x".repeat(300))).collect();
        let kept = log_tail(&tail).unwrap();
        assert!(kept.len() <= 4096);
        assert!(kept.ends_with(&format!("line 99 {}", "x".repeat(300))));
        assert!(!kept.contains("progress"));
        assert_eq!(log_tail("\n\n"), None);
    }
}
