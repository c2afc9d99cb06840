//! The adapter: learns the stream that a frozen model reads, in 4 KB to 1 MB of integers, with the same bits everywhere.
//!
//! A model knows the kinds of text that it was trained on. An adapter learns what this stream repeats: its fields, its
//! lines, its numbers. It takes the model's logits, or none, and mixes them with what it has seen. It is of the family
//! of context mixing (PAQ, lpaq), joined with a net and cut down to a chip.
//!
//! ```
//! use mambabyte_core::adapt::{Adapter, Adapter8K, Memory};
//!
//! // Without a model: the adapter alone. A chip has `static_cell::StaticCell` instead.
//! let mut memory = Adapter8K::ZERO;
//! let mut adapter = Adapter::new(&mut memory, false);
//! let line = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n";
//! let bits = |adapter: &mut Adapter<_>| line.iter().map(|&byte| adapter.read(None, byte).surprise()).sum::<u32>() >> 16;
//! let (first, second) = (bits(&mut adapter), bits(&mut adapter));
//! assert!(second * 5 < first);
//! ```
//!
//! # One byte's way
//!
//! A byte is eight decisions, the most significant bit first: a path through a tree of 255 nodes. Each node's
//! probability is mixed from inputs in the stretch domain, `ln(p / (1 - p))` (`math.rs`):
//!
//! | input | what it knows | file |
//! |---|---|---|
//! | net | the model's share of this bit, of the bytes that begin with the known ones | `net.rs` |
//! | runs | in each of several contexts, the byte that came last and how reliably | `runs.rs` |
//! | bit histories (64K, 1M) | in each of several contexts, and after the known bits, which bits came: two inputs each | `bits.rs` |
//! | match | what followed where the last five bytes occurred before | `matching.rs` |
//! | column | the byte above: in the same field of the last line of the same type | `line.rs` |
//! | number (from 32K on) | the last value in this place and the last difference | `numbers.rs` |
//! | order 0 | this bit after these known bits, whatever came before | `node.rs` |
//!
//! The eight nodes of a path are worked out with what was learned up to the byte before, so the path's product is the
//! byte's share of [`Adapter::distribution`], up to the rounding of its logarithms; then all eight are learned from.
//!
//! Weights are chosen by what predicts, the field and what came before, and learned on the way (`mixer.rs`); at last a
//! table corrects what is systematically wrong (`sse.rs`, from 16K on).
//!
//! # Why these
//!
//! The contexts are those of telemetry and logs: lines of fields. [`Context`] says what each looks at, `docs/ADAPTERS.md`
//! what each is worth at each preset: bits per byte when it alone is switched off.
//!
//! # Cost
//!
//! A byte's path costs 272 exponentials for the net's shares and, at 8K, some 300 multiplications. All memory is the
//! caller's; nothing is allocated, no float is computed, nothing panics.

#[cfg(feature = "ablation")]
pub mod ablation;
mod bits;
mod bytes;
mod design;
mod line;
mod matching;
mod math;
mod memory;
mod mixer;
mod net;
mod node;
mod numbers;
mod reading;
mod runs;
mod said;
mod save;
mod sse;
mod start;
mod stream;
#[cfg(test)]
mod tests;

use core::ops::DerefMut;

pub use design::{Context, Correction, Design, RowBy};
pub use memory::{Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, Memory};
pub use reading::{Path, Reading};
pub(crate) use save::check;
pub use save::{AdapterError, DESIGNS, preset};

use crate::dims::Logits;
use crate::nonlinear::log2_q16;
use net::Net;
use node::{Ahead, look_ahead, net_input, say};
use start::{learned, plain, start};

/// An adapter of whatever preset, as what saves and loads it sees it.
pub trait Savable {
    /// See [`Adapter::design`].
    fn design(&self) -> Design;

    /// See [`Adapter::save`].
    ///
    /// # Errors
    /// [`AdapterError::Length`].
    fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError>;

    /// See [`Adapter::load`].
    ///
    /// # Errors
    /// [`AdapterError`]; nothing has changed then.
    fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError>;
}

impl core::fmt::Debug for dyn Savable + '_ {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.design().name)
    }
}

impl<M: Memory, S: DerefMut<Target = M>> Savable for Adapter<S> {
    fn design(&self) -> Design {
        M::DESIGN
    }

    fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError> {
        Self::save(self, out)
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError> {
        Self::load(self, saved)
    }
}

/// An adapter over a preset's memory `M`, which it owns or borrows.
pub struct Adapter<S: DerefMut<Target: Memory>> {
    memory: S,
    ahead: Ahead,
    /// `ahead` is of the next byte.
    looked: bool,
    /// Here, so that no byte has to clear them; a [`Reading`] borrows them.
    net: Net,
    said: [memory::SaidOf<S::Target>; 8],
}

impl<S: DerefMut<Target: Memory>> core::fmt::Debug for Adapter<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Adapter").field(&S::Target::DESIGN.name).finish()
    }
}

impl<M: Memory, S: DerefMut<Target = M>> Adapter<S> {
    /// Starts in `memory`, whatever it held. `net` says whether there will be logits: the first weights differ.
    pub fn new(mut memory: S, net: bool) -> Self {
        *memory = M::ZERO;
        start::<M>(&mut memory.parts(), net);
        Self { memory, ahead: Ahead::NONE, looked: false, net: Net::EMPTY, said: [const { M::SILENT }; 8] }
    }

    /// As [`Self::new`], without learned start values: to learn them.
    #[doc(hidden)]
    pub fn plain(mut memory: S, net: bool) -> Self {
        *memory = M::ZERO;
        plain::<M>(&mut memory.parts(), net);
        Self { memory, ahead: Ahead::NONE, looked: false, net: Net::EMPTY, said: [const { M::SILENT }; 8] }
    }

    /// Ends it: what it has learned as start values, [`Design::start_words`] of two bytes.
    #[doc(hidden)]
    pub fn into_start_values(mut self, out: &mut [u8]) {
        learned(&M::DESIGN, &mut self.memory.parts(), out);
    }

    /// The preset.
    pub fn design(&self) -> Design {
        M::DESIGN
    }

    /// Becomes a copy of another adapter: what comes next has the same probabilities.
    pub fn copy_from(&mut self, other: &Self)
    where
        M: Clone,
    {
        self.memory.clone_from(&other.memory);
        self.looked = false;
    }

    /// Writes everything that was learned to `out`, which has [`Design::saved_bytes`].
    ///
    /// # Errors
    /// [`AdapterError::Length`].
    pub fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError> {
        save::save(&mut *self.memory, out)
    }

    /// Goes on where [`Self::save`] stopped: the next byte has the same probabilities.
    ///
    /// # Errors
    /// [`AdapterError`] if `saved` is of another preset, version or length; nothing has changed then.
    pub fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError> {
        self.looked = false;
        save::load(&mut *self.memory, saved)
    }

    /// Reads a byte: what its path was worth before, and learns. `logits` are the model's for this byte, after those
    /// before it; `None` without a model.
    pub fn read(&mut self, logits: Option<&Logits>, byte: u8) -> Path {
        self.reading(logits).read(byte)
    }

    /// As [`Self::read`], and what the model alone says of the byte: [`surprise`](crate::surprise), for no other pass over
    /// the logits.
    pub fn read_beside(&mut self, logits: &Logits, byte: u8) -> (u32, Path) {
        let mut reading = self.reading(Some(logits));
        (reading.net_surprise(byte), reading.read(byte))
    }

    /// Begins to read a byte whose bits are not known yet: a decoder's way.
    pub fn begin<'a>(&'a mut self, logits: Option<&'a Logits>) -> Reading<'a, M>
    where
        M: 'a,
    {
        let mut reading = self.reading(logits);
        reading.forget();
        reading
    }

    /// As [`Self::begin`], for who takes no bit without [`Reading::say`].
    #[inline(always)]
    fn reading<'a>(&'a mut self, logits: Option<&'a Logits>) -> Reading<'a, M>
    where
        M: 'a,
    {
        self.look();
        self.looked = false;
        self.net.forget();
        Reading::new(&mut self.memory, &self.ahead, &mut self.net, &mut self.said, logits)
    }

    /// The probability of one node of the next byte, Q16: of a 1 after the known bits. `known` is 1 and then those bits,
    /// 1..=255. Nothing is learned.
    pub fn node(&mut self, logits: Option<&Logits>, known: u8) -> u16 {
        let mut net = Net::EMPTY;
        self.node_of(&mut net, logits, known)
    }

    fn node_of(&mut self, net: &mut Net, logits: Option<&Logits>, known: u8) -> u16 {
        let known = if known == 0 { 1 } else { known as u32 };
        let bit = 31 - known.leading_zeros();
        self.look();
        let share = net_input(net, logits, known, bit);
        let mut said = M::SILENT;
        say::<M>(&mut self.memory, &self.ahead, share, known, bit, &mut said);
        said.p
    }

    /// The whole distribution of the next byte as logits, `log2 p` in Q16: to sample from, as from a model's.
    ///
    /// # Cost
    /// All 255 nodes, some thirty times [`Self::read`].
    pub fn distribution(&mut self, logits: Option<&Logits>, mixed: &mut Logits) {
        let mut net = Net::EMPTY;
        // So far known: the logarithm of each node of this depth, at the first byte below it.
        mixed[0] = 0;
        for bit in 0..8u32 {
            let (nodes, width) = (1usize << bit, 256usize >> bit);
            for node in 0..nodes {
                let p = self.node_of(&mut net, logits, (nodes + node) as u8) as u64;
                let log = |share: u64| log2_q16(share) as i32 - (16 << 16);
                let below = mixed.get_mut(node * width..).unwrap_or_default();
                let above = below.first().copied().unwrap_or(0);
                for (at, share) in [(0, 65_536 - p), (width / 2, p)] {
                    if let Some(place) = below.get_mut(at) {
                        *place = above + log(share);
                    }
                }
            }
        }
    }

    /// What is known of the next byte before its first bit, worked out once.
    fn look(&mut self) {
        if !self.looked {
            look_ahead::<M>(&mut self.memory, &mut self.ahead);
            self.looked = true;
        }
    }
}
