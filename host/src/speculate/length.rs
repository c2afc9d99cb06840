//! How many bytes a draft has: [`Length`].

use crate::engine::MAX_DRAFT;

/// Most bytes of a draft: the pending byte is verified with it.
pub const MOST: usize = MAX_DRAFT - 1;

/// Where an automatic length begins.
const FIRST: usize = 4;

/// How many bytes are drafted at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Always this many.
    Fixed(usize),
    /// As many as were accepted of late, and a few more. It depends on the text alone, not on the time, so that equal
    /// seeds give equal rounds.
    Auto,
}

/// The length of the next draft of one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    length: Length,
    now: usize,
}

impl Pace {
    pub(super) fn new(length: Length) -> Self {
        let now = match length {
            Length::Fixed(bytes) => bytes.min(MOST),
            Length::Auto => FIRST,
        };
        Self { length, now }
    }

    pub(super) const fn now(&self) -> usize {
        self.now
    }

    /// After a round.
    pub(super) fn heard(&mut self, drafted: usize, accepted: usize) {
        if self.length != Length::Auto || drafted == 0 {
            return;
        }
        self.now = if accepted == drafted {
            // A draft that was cut short says nothing of longer ones.
            if drafted >= self.now { (self.now + 2).min(MOST) } else { self.now }
        } else {
            ((self.now + accepted).div_ceil(2)).max(1)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_automatic_length_follows_what_is_accepted() {
        let mut pace = Pace::new(Length::Auto);
        (0..50).for_each(|_| pace.heard(pace.now(), pace.now()));
        assert_eq!(pace.now(), MOST);
        (0..50).for_each(|_| pace.heard(pace.now(), 3));
        assert!((3..=6).contains(&pace.now()), "{pace:?}");
        (0..50).for_each(|_| pace.heard(pace.now(), 0));
        assert_eq!(pace.now(), 1);
        pace.heard(0, 0);
        assert_eq!(pace.now(), 1);
        let mut fixed = Pace::new(Length::Fixed(99));
        fixed.heard(31, 0);
        assert_eq!(fixed.now(), MOST);
    }
}
