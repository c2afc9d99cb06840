//! How often a line may alarm.

use super::RAREST;
use super::log::log2;

/// The share `alpha` of quiet lines that may be false alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rate(u32);

impl Rate {
    /// One line in a hundred.
    pub const ONE_PERCENT: Self = Self::of_share(42_949_672);
    /// One line in a thousand.
    pub const ONE_IN_A_THOUSAND: Self = Self::of_share(4_294_967);
    /// The smallest: one in a million. Rarity ends at 24 bits; a smaller share would never alarm.
    pub const LEAST: Self = Self(4_295);
    /// The largest: one in ten.
    pub const MOST: Self = Self(429_496_730);

    /// From the share as Q32; beyond [`Rate::LEAST`] and [`Rate::MOST`] it is the nearest of these.
    pub const fn of_share(q32: u32) -> Self {
        if q32 < Self::LEAST.0 {
            Self::LEAST
        } else if q32 > Self::MOST.0 {
            Self::MOST
        } else {
            Self(q32)
        }
    }

    /// As Q32.
    pub const fn share(self) -> u32 {
        self.0
    }

    /// Rarity above which a line is odd: `log2(1 / alpha)`, Q8 bits.
    pub const fn bar(self) -> i32 {
        32 * 256 - log2(self.0)
    }

    /// What a line takes off a raised bar: `4 alpha` bits, Q24, rounded down.
    pub const fn refund(self) -> u32 {
        self.0 >> 6
    }
}

/// The bar of a [`Rate`], raised by the alarms that were given.
///
/// An alarm adds a bit, each line takes `4 alpha` bits off. An alarm needs a rarity above the raised bar, and rarity ends
/// at 24 bits, so up to an alpha of 1.5 % the bar is raised, never closed: the rarest lines keep getting through. From a
/// raise of 18 bits on, which only larger shares reach, no line alarms. So the raise ends at 19 bits, and `k` alarms in
/// `N` lines are at most `19 + 4 alpha N`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) rate: Rate,
    /// Q24 bits.
    pub(super) raise: u32,
}

impl Budget {
    /// The largest raise.
    pub(super) const MOST: u32 = 19 << 24;
    /// From here on no line alarms.
    const CLOSED: u32 = 18 << 24;

    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, raise: 0 }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    pub(super) const fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// A line of this rarity (Q8 bits) is odd.
    pub(super) const fn is_odd(&self, rarity: i32) -> bool {
        rarity > self.rate.bar()
    }

    /// Counts a line of this rarity; whether it alarms.
    pub(super) fn take(&mut self, rarity: i32) -> bool {
        let above = (rarity.clamp(0, RAREST) - self.rate.bar()) << 16;
        let alarm = above > self.raise as i32 && self.raise <= Self::CLOSED;
        self.raise = (self.raise + if alarm { 1 << 24 } else { 0 }).saturating_sub(self.rate.refund()).min(Self::MOST);
        alarm
    }
}
