//! Whether a stream has more odd lines than it should.
//!
//! A CUSUM of the log-likelihood of "8 % of lines are rarer than 5 bits" against the quiet stream's 3.1 %. While it is
//! suspicious, tails learn 32 times slower: damage must not become usual. When it is sure it says so; when that lasts, it
//! gives in, so that no stream locks it up: after 1,024 lines if most of them are odd, as where another device speaks,
//! after 4,096 if some are, as on a dying cable.

use super::events::{Event, Events};

/// Rarer lines count, Q8 bits.
const ODD: i32 = 5 * 256;
/// log2(8 / 3.1) and log2(92 / 96.9), Q8 bits.
const UP: i32 = 350;
const DOWN: i32 = 19;
/// Above it tails learn slowly: 3 bits.
const SUSPICIOUS: i32 = 3 * 256;
/// How much more slowly: 32 times.
const SLOWER: u32 = 5;
/// From here on it is said: 20 bits.
const SURE: i32 = 20 * 256;
/// The largest sum.
pub(super) const MOST: i32 = SURE + 4 * 256;
/// Lines after which the new way is the normal one.
const HELD: u16 = 1024;
/// The same while fewer lines than [`MANY`] are odd: a damaged line is not to become normal because there are many.
pub(super) const HELD_LONG: u16 = 4096;
/// A share above this is no damage but another stream: 40 %, Q16.
const MANY: u16 = 26_214;

/// The sum, and for how long it has been sure.
#[derive(Clone, Debug)]
pub(super) struct Exclusion {
    /// Q8 bits, 0 to [`MOST`].
    pub(super) sum: i32,
    /// Lines since it was sure; 0 if all is quiet.
    pub(super) held: u16,
    /// Share of odd lines among the last 64, Q16.
    pub(super) share: u16,
}

impl Exclusion {
    pub(super) const NEW: Self = Self { sum: 0, held: 0, share: 2048 };

    pub(super) const fn share(&self) -> u16 {
        self.share
    }

    /// Tails learn `2^slowness` times slower than usual.
    pub(super) const fn slowness(&self) -> u32 {
        if self.sum > SUSPICIOUS { SLOWER } else { 0 }
    }

    /// Counts a line of this rarity, Q8 bits.
    pub(super) fn count(&mut self, rarity: i32) {
        let odd = rarity > ODD;
        self.sum = (self.sum + if odd { UP } else { -DOWN }).clamp(0, MOST);
        let share = if odd { u16::MAX as i32 } else { 0 };
        self.share = (self.share as i32 + ((share - self.share as i32) >> 6)).clamp(0, u16::MAX as i32) as u16;
    }

    /// What is to be said after a line; `true` if what was learned is to be forgotten.
    pub(super) fn verdict(&mut self, events: &mut Events) -> bool {
        if self.sum < SURE && (self.held == 0 || self.sum == 0) {
            self.held = 0;
            return false;
        }
        if self.held == 0 {
            events.add(Event::MoreOdd);
        }
        self.held += 1;
        if self.held < if self.share > MANY { HELD } else { HELD_LONG } {
            return false;
        }
        events.add(Event::NewNormal);
        *self = Self::NEW;
        true
    }
}
