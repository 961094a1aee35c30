//! How many transfers may be under way: grows by one per round that goes well, halves when a store asks to be spared.
//!
//! Pure: no clock, no waiting. A round is as many successes as may be under way. Failures of one burst count once: a
//! transfer that was admitted before the last cut says nothing about the time after it.

/// A bound that moves between two others.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    least: usize,
    most: usize,
    /// Between `least` and `most`; its whole part counts.
    open: f64,
    /// Cuts so far.
    cuts: u64,
}

/// When a transfer was admitted, by the number of cuts before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission(u64);

impl Window {
    /// A window of `start`, that never leaves `least..=most`. At least 1; a `most` below `least` counts as `least`.
    pub fn new(least: usize, start: usize, most: usize) -> Window {
        let least = least.max(1);
        let most = most.max(least);
        Window { least, most, open: start.clamp(least, most) as f64, cuts: 0 }
    }

    /// How many transfers may be under way.
    pub fn size(&self) -> usize {
        (self.open as usize).clamp(self.least, self.most)
    }

    /// What a transfer that begins now says when it ends.
    pub fn admit(&self) -> Admission {
        Admission(self.cuts)
    }

    /// A transfer went well.
    pub fn succeeded(&mut self) {
        self.open = (self.open + 1.0 / self.open).min(self.most as f64);
    }

    /// A transfer met a store that does not keep up. Answers whether the window was cut for it.
    pub fn strained(&mut self, admitted: Admission) -> bool {
        if admitted.0 < self.cuts {
            return false;
        }
        self.open = (self.open / 2.0).max(self.least as f64);
        self.cuts += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_round_that_goes_well_adds_one() {
        let mut window = Window::new(1, 10, 100);
        for _ in 0..11 {
            window.succeeded();
        }
        assert_eq!(window.size(), 11);
    }

    #[test]
    fn a_burst_of_failures_halves_once_and_the_next_burst_again() {
        let mut window = Window::new(1, 64, 64);
        let burst = window.admit();
        assert!(window.strained(burst));
        for _ in 0..63 {
            assert!(!window.strained(burst));
        }
        assert_eq!(window.size(), 32);
        let next = window.admit();
        assert!(window.strained(next) && !window.strained(next));
        assert_eq!(window.size(), 16);
    }

    #[test]
    fn bounds_that_make_no_sense_still_let_one_through() {
        assert_eq!(Window::new(0, 0, 0).size(), 1);
        assert_eq!(Window::new(5, 100, 2).size(), 5);
    }

    proptest! {
        #[test]
        fn the_window_never_leaves_its_bounds(
            least in 0usize..20, start in 0usize..200, most in 0usize..100,
            events in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..500),
        ) {
            let mut window = Window::new(least, start, most);
            let (floor, ceiling) = (least.max(1), most.max(least).max(1));
            let mut admitted = window.admit();
            for (good, fresh) in events {
                if fresh {
                    admitted = window.admit();
                }
                let before = window.size();
                if good {
                    window.succeeded();
                    prop_assert!(window.size() >= before && window.size() <= before + 1);
                } else if window.strained(admitted) {
                    prop_assert!(window.size() <= before && window.size() >= (before / 2).max(floor));
                } else {
                    prop_assert_eq!(window.size(), before);
                }
                prop_assert!((floor..=ceiling).contains(&window.size()));
            }
        }

        #[test]
        fn after_any_trouble_the_window_is_as_wide_as_before_again(
            most in 1usize..64, cuts in 0usize..40,
        ) {
            let mut window = Window::new(1, most, most);
            for _ in 0..cuts {
                let admitted = window.admit();
                window.strained(admitted);
            }
            // A round of every width on the way, and one more for the fractions.
            for _ in 0..(most + 1) * (most + 2) / 2 + most {
                window.succeeded();
            }
            prop_assert_eq!(window.size(), most);
        }
    }
}
