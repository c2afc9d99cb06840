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
    /// As many as pay, by what was accepted of late. It depends on the text alone, not on the time, so that equal seeds
    /// give equal rounds.
    Auto,
}

/// The length of the next draft of one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    length: Length,
    /// Bytes of a block that cost hardly more than one.
    block: usize,
    now: usize,
    /// Drafted bytes that were accepted, and that were decided on; what is long ago counts less.
    accepted: f64,
    decided: f64,
}

impl Pace {
    /// For an engine that reads `block` bytes at hardly more than the cost of one.
    pub(super) const fn new(length: Length, block: usize) -> Self {
        let now = match length {
            Length::Fixed(bytes) if bytes > MOST => MOST,
            Length::Fixed(bytes) => bytes,
            Length::Auto => FIRST,
        };
        Self { length, block, now, accepted: 8.0, decided: 10.0 }
    }

    pub(super) const fn now(&self) -> usize {
        self.now
    }

    /// After a round.
    pub(super) fn heard(&mut self, drafted: usize, accepted: usize) {
        if self.length != Length::Auto || drafted == 0 {
            return;
        }
        if self.block > 1 {
            let decided = (accepted + 1).min(drafted);
            let kept = 0.97f64.powi(decided as i32);
            self.accepted = kept * self.accepted + accepted as f64;
            self.decided = kept * self.decided + decided as f64;
            self.now = best(self.accepted / self.decided, self.block);
            return;
        }
        // A block costs about as much as its bytes one by one: what was accepted, and a few more.
        self.now = if accepted == drafted {
            // A draft that was cut short says nothing of longer ones.
            if drafted >= self.now { (self.now + 2).min(MOST) } else { self.now }
        } else {
            ((self.now + accepted).div_ceil(2)).max(1)
        };
    }
}

/// The length that writes most for its cost if each drafted byte is right with probability `right`: a round then writes
/// `1 + right + right^2 + ...` bytes. A drafted byte is taken to cost an eighth of a block, and of a longer block every further
/// `block` bytes a third.
fn best(right: f64, block: usize) -> usize {
    let (mut written, mut power, mut most, mut found) = (1.0, 1.0, 0.0, 1);
    for length in 1..=MOST {
        power *= right;
        written += power;
        let cost = 1.0 + (length / block) as f64 / 3.0 + length as f64 / 8.0;
        if written / cost > most {
            (most, found) = (written / cost, length);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_automatic_length_follows_what_is_accepted() {
        let mut pace = Pace::new(Length::Auto, 1);
        (0..50).for_each(|_| pace.heard(pace.now(), pace.now()));
        assert_eq!(pace.now(), MOST);
        (0..50).for_each(|_| pace.heard(pace.now(), 3));
        assert!((3..=6).contains(&pace.now()), "{pace:?}");
        (0..50).for_each(|_| pace.heard(pace.now(), 0));
        assert_eq!(pace.now(), 1);
        pace.heard(0, 0);
        assert_eq!(pace.now(), 1);
        let mut fixed = Pace::new(Length::Fixed(99), 1);
        fixed.heard(31, 0);
        assert_eq!(fixed.now(), MOST);
    }

    /// Where a block of eight costs as much as one, good drafts fill it, and only those that hardly err are longer.
    #[test]
    fn an_automatic_length_fills_blocks() {
        let lengths = [0.0, 0.3, 0.6, 0.85, 0.9, 0.98, 1.0].map(|right| best(right, 8));
        assert_eq!(lengths, [1, 1, 3, 6, 7, 15, 31]);
        assert_eq!(best(0.85, 4), 3);
        let mut pace = Pace::new(Length::Auto, 8);
        (0..50).for_each(|_| pace.heard(pace.now(), pace.now()));
        assert_eq!(pace.now(), MOST);
        (0..50).for_each(|_| pace.heard(pace.now(), pace.now().min(5)));
        assert_eq!(pace.now(), 6);
        (0..50).for_each(|_| pace.heard(pace.now(), 0));
        assert_eq!(pace.now(), 1);
    }
}
