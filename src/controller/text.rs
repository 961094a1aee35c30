//! Pure: sizes, progress and sentences as people read them.

use crate::{api::conditions::MESSAGE_LIMIT, engine::task::Progress};

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `66.8GiB`.
pub fn size_text(bytes: u64) -> String {
    let unit = unit_of(bytes);
    format!("{}{}", in_unit(bytes, unit), UNITS.get(unit).copied().unwrap_or_default())
}

/// Percent and `62% 41.3/66.8 GiB`; none while there is nothing to count against. A running run shows at most 99.
pub fn progress_text(progress: &Progress) -> (Option<i32>, Option<String>) {
    let Progress { bytes_done, bytes_total, objects_done, objects_total, .. } = *progress;
    if bytes_total > 0 {
        let percent = share(bytes_done, bytes_total);
        let unit = unit_of(bytes_total);
        let (done, total) = (in_unit(bytes_done.min(bytes_total), unit), in_unit(bytes_total, unit));
        let unit = UNITS.get(unit).copied().unwrap_or_default();
        return (Some(percent), Some(format!("{percent}% {done}/{total} {unit}")));
    }
    let Progress { collections_done, collections_total, .. } = *progress;
    let (done, total) =
        if objects_total > 0 { (objects_done, objects_total) } else { (collections_done, collections_total) };
    if total == 0 {
        return (None, None);
    }
    let percent = share(done, total);
    (Some(percent), Some(format!("{percent}% {}/{total}", done.min(total))))
}

fn share(done: u64, total: u64) -> i32 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    i32::try_from(percent.min(99)).unwrap_or(99)
}

fn unit_of(bytes: u64) -> usize {
    let mut unit = 0;
    while unit + 1 < UNITS.len() && (bytes >> (10 * unit)) >= 1024 {
        unit += 1;
    }
    unit
}

/// One decimal, cut and not rounded, so that 1023.99 MiB does not become 1024.0.
fn in_unit(bytes: u64, unit: usize) -> String {
    if unit == 0 {
        return bytes.to_string();
    }
    let tenths = u128::from(bytes) * 10 / (1_u128 << (10 * unit));
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Cuts a text to [`MESSAGE_LIMIT`].
pub fn clip(text: &str) -> String {
    bounded(text, MESSAGE_LIMIT)
}

/// Cuts a text to `limit` bytes at a character's edge.
pub fn bounded(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(3);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0B")]
    #[case(1023, "1023B")]
    #[case(1024, "1.0KiB")]
    #[case(1_048_575, "1023.9KiB")]
    #[case(71_725_953_844, "66.8GiB")]
    #[case(u64::MAX, "16383.9PiB")]
    fn sizes_read_well(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(size_text(bytes), text);
    }

    #[test]
    fn progress_is_in_the_unit_of_the_total() {
        let progress = Progress { bytes_done: 44_345_537_332, bytes_total: 71_725_953_844, ..Progress::default() };
        assert_eq!(progress_text(&progress), (Some(61), Some("61% 41.3/66.8 GiB".to_owned())));
    }

    #[test]
    fn a_running_run_never_shows_all_of_it() {
        let progress = Progress { bytes_done: 20, bytes_total: 10, ..Progress::default() };
        assert_eq!(progress_text(&progress), (Some(99), Some("99% 10/10 B".to_owned())));
    }

    #[test]
    fn without_bytes_objects_count_and_then_collections() {
        let objects = Progress { objects_done: 1, objects_total: 4, ..Progress::default() };
        assert_eq!(progress_text(&objects).1.as_deref(), Some("25% 1/4"));
        let collections = Progress { collections_done: 1, collections_total: 2, ..Progress::default() };
        assert_eq!(progress_text(&collections).0, Some(50));
        assert_eq!(progress_text(&Progress::default()), (None, None));
    }

    #[test]
    fn a_long_message_is_cut_at_a_characters_edge() {
        let text = clip(&"ä".repeat(2000));
        assert!(text.len() <= MESSAGE_LIMIT && text.ends_with("..."));
    }
}
