//! A byte that is being read, bit by bit.

use super::memory::{Memory, SaidOf};
use super::net::Net;
use super::node::{Ahead, end, hear, net_input, say};
use super::said::Said;
use crate::dims::Logits;
use crate::nonlinear::log2_q16;

/// The probabilities of a byte's eight nodes, of the bit being 1 in Q16, 3..=65533, and the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// In the order of the path: most significant bit first.
    pub nodes: [u16; 8],
    /// The byte that was read.
    pub byte: u8,
}

impl Path {
    /// `-log2 p(byte)` in Q16: the sum over its bits.
    pub fn surprise(&self) -> u32 {
        let bit = |(index, &p): (usize, &u16)| {
            let share = if self.byte >> (7 - index) & 1 != 0 { p as u32 } else { 65_536 - p as u32 };
            (16 << 16) - log2_q16(share as u64).min(16 << 16)
        };
        self.nodes.iter().enumerate().map(bit).sum()
    }
}

/// A byte of which some bits are known: [`node`](Self::node) says what the next one will be, [`take`](Self::take) what it
/// was; after eight, [`finish`](Self::finish) learns them. If it is dropped before, nothing is learned.
pub struct Reading<'a, M: Memory> {
    memory: &'a mut M,
    ahead: &'a Ahead,
    logits: Option<&'a Logits>,
    /// A one and then the known bits.
    known: u32,
    net: &'a mut Net,
    said: &'a mut [SaidOf<M>; 8],
}

impl<'a, M: Memory> Reading<'a, M> {
    #[inline(always)]
    pub(super) fn new(
        memory: &'a mut M,
        ahead: &'a Ahead,
        net: &'a mut Net,
        said: &'a mut [SaidOf<M>; 8],
        logits: Option<&'a Logits>,
    ) -> Self {
        Self { memory, ahead, logits, known: 1, net, said }
    }

    /// No node was worked out yet.
    pub(super) fn forget(&mut self) {
        self.said.iter_mut().for_each(Said::forget);
    }

    /// [`Net::surprise`] of a byte, before the first node; 0 without a net.
    #[inline(always)]
    pub(super) fn net_surprise(&mut self, byte: u8) -> u32 {
        self.logits.map_or(0, |logits| self.net.surprise(logits, byte))
    }

    #[inline(always)]
    fn bit(&self) -> u32 {
        31 - self.known.leading_zeros()
    }

    /// The probability that the next bit is 1, Q16, 3..=65533; after eight bits that of the last one.
    pub fn node(&mut self) -> u16 {
        let bit = self.bit();
        self.say(bit);
        self.said[bit.min(7) as usize].p
    }

    /// Works out the node of `bit`, the one after those that are known; a ninth has none.
    #[inline(always)]
    pub(super) fn say(&mut self, bit: u32) {
        if let Some(said) = self.said.get_mut(bit as usize) {
            let share = net_input(self.net, self.logits, self.known, bit);
            say::<M>(self.memory, self.ahead, share, self.known, bit, said);
        }
    }

    /// The next bit; a ninth is not taken.
    pub fn take(&mut self, one: bool) {
        if self.known < 256 {
            let bit = self.bit();
            // Unless it was asked for, the node is worked out now: it will be learned from.
            if self.said.get(bit as usize).is_some_and(|said| said.p == 0) {
                self.say(bit);
            }
            self.know(one);
        }
    }

    #[inline(always)]
    pub(super) fn know(&mut self, one: bool) {
        self.known = self.known * 2 + one as u32;
    }

    /// Reads the whole byte.
    #[inline(always)]
    pub(super) fn read(mut self, byte: u8) -> Path {
        for bit in 0..8 {
            self.say(bit);
            self.know(byte >> (7 - bit) & 1 != 0);
        }
        self.learn()
    }

    /// Learns the byte. Bits that were not taken are zeros.
    pub fn finish(mut self) -> Path {
        self.learn()
    }

    /// As [`Self::finish`], in place.
    pub(super) fn learn(&mut self) -> Path {
        while self.known < 256 {
            self.take(false);
        }
        let byte = self.known as u8;
        hear::<M>(self.memory, self.ahead, self.said, byte);
        end::<M>(self.memory, self.ahead, byte);
        let mut path = Path { nodes: [0; 8], byte };
        for (node, said) in path.nodes.iter_mut().zip(self.said.iter()) {
            *node = said.p;
        }
        path
    }
}
