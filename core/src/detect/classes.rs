//! Classes of lines by what they begin with, each with tails of its own.
//!
//! One tail over two kinds of line sees the noisier kind only, and the quieter one's damage below it. Letters are
//! one class, every other first byte its own; of a first number the byte that ends it counts. A class is judged by its own tails after [`GROWN`] lines. Before,
//! its first lines are judged as any line is, then it is silent: a new kind is reported once, not line by line. Lines
//! that come too rarely to be a kind, as pasted ones do, stay judged as any line is.

use super::tails::Pair;
use crate::cannot::never;

/// Classes that are remembered; the one not seen for the longest time makes room.
pub(super) const CLASSES: usize = 6;
/// Lines after which a class has its own tails.
const GROWN: u8 = 32;
/// Lines of a young class that are judged by the tails of all lines.
const JUDGED: u8 = 4;
/// A young class that is not seen for so many lines begins again.
const GAP: u32 = 64;

/// A class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    /// What its lines begin with.
    pub(super) key: u8,
    /// Its lines, to 255; 0 if there is no such class.
    pub(super) count: u8,
    /// The last of them, in quarters of the line count, modulo 2^16.
    pub(super) used: u16,
    pub(super) tails: Pair,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Classes(pub(super) [Class; CLASSES]);

/// A line, as its class sees it.
pub(super) struct Counted {
    /// What it begins with.
    pub(super) first: u8,
    /// Its number.
    pub(super) number: u32,
    /// What is usual is only being learned: no class is new.
    pub(super) early: bool,
}

/// How a line is judged.
pub(super) struct Judged {
    /// Of both scores, Q8 bits.
    pub(super) rarities: [i32; 2],
    /// Its class has no tails of its own yet.
    pub(super) young: bool,
    /// The key of its class, if that is young and has three close lines.
    pub(super) third: Option<u8>,
}

impl Classes {
    pub(super) const NEW: Self = Self([Class { key: 0, count: 0, used: 0, tails: Pair::NEW }; CLASSES]);

    /// Judges a line and lets its class learn; `all` are the tails of all lines.
    pub(super) fn judge(&mut self, line: Counted, scores: [i32; 2], all: &Pair, slow: u32) -> Judged {
        let (key, now) = (key(line.first), (line.number >> 2) as u16);
        let place = match self.0.iter().position(|class| class.count > 0 && class.key == key) {
            Some(place) => place,
            None => self.begin(key, line.early, now, all),
        };
        let Some(class) = self.0.get_mut(place) else {
            return never("a class that was found", Judged { rarities: [0; 2], young: true, third: None });
        };
        if class.count < GROWN && now.wrapping_sub(class.used) as u32 > GAP / 4 {
            class.count = 0;
        }
        class.used = now;
        let young = class.count < GROWN;
        class.count = class.count.saturating_add(1);
        let rarities = match young {
            false => class.tails.rarities(scores),
            true if class.count <= JUDGED => all.rarities(scores),
            true => [0; 2],
        };
        class.tails.learn(scores, if young { 0 } else { slow });
        Judged { rarities, young, third: (young && class.count >= 3).then_some(key) }
    }

    /// Makes room for a class; its place. What is there when a stream settles needs no youth.
    fn begin(&mut self, key: u8, early: bool, now: u16, all: &Pair) -> usize {
        let age = |class: &Class| if class.count == 0 { u32::MAX } else { now.wrapping_sub(class.used) as u32 };
        let oldest = self.0.iter().enumerate().max_by_key(|(_, class)| age(class)).map_or(0, |(place, _)| place);
        if let Some(class) = self.0.get_mut(oldest) {
            *class = match early {
                true => Class { key, count: GROWN, used: now, tails: *all },
                false => Class { key, count: 0, used: now, tails: all.young() },
            };
        }
        oldest
    }
}

/// The class of what a line begins with.
const fn key(first: u8) -> u8 {
    match first {
        b'0'..=b'9' => b'0',
        b'A'..=b'Z' | b'a'..=b'z' => b'A',
        other => other,
    }
}
