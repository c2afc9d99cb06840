//! A stream that a net and an adapter read together: [`Mixture`].

use std::borrow::Cow;

use mambabyte_core::{Logits, VOCAB};

use super::{Bookmark, Passage};
use crate::adapt::{AnyAdapter, Preset};
use crate::engine::{Engine, EngineError};

/// What a byte cost, bits in Q16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Under the net alone; `None` without a net.
    pub net: Option<u32>,
    /// Under the adapter, which hears the net if there is one; `None` without an adapter.
    pub mixed: Option<u32>,
}

impl Cost {
    /// What is asked for: mixed if there is an adapter, else the net's; 8 bits if there is neither.
    pub fn asked(self) -> u32 {
        self.mixed.or(self.net).unwrap_or(8 << 16)
    }
}

/// A stream that a net reads, an adapter, or both together. With neither, every byte costs 8 bits.
///
/// The adapter is never ahead: it takes a byte when that byte is handed on. So a stream that stops within a block leaves
/// both where the stream is, and a cut anywhere changes no bit.
pub struct Mixture<'e, E: Engine> {
    net: Option<Passage<'e, E>>,
    adapter: Option<AnyAdapter>,
    /// The last byte.
    pending: u8,
    /// The adapter as it was at the mark.
    marked: Option<AnyAdapter>,
}

/// Logits of the net, and of net and adapter together, where there are such.
pub type Expected = (Option<Box<Logits>>, Option<Box<Logits>>);

impl<'e, E: Engine> Mixture<'e, E> {
    /// A stream that nothing was read of; the adapter may have read others.
    ///
    /// # Errors
    /// Those of [`Engine::rows`].
    pub fn new(engine: Option<&'e E>, adapter: Option<AnyAdapter>) -> Result<Self, EngineError> {
        Ok(Self { net: engine.map(Passage::new).transpose()?, adapter, pending: 0, marked: None })
    }

    /// The net's part.
    pub const fn net(&self) -> Option<&Passage<'e, E>> {
        self.net.as_ref()
    }

    /// The adapter's part.
    pub const fn adapter(&self) -> Option<&AnyAdapter> {
        self.adapter.as_ref()
    }

    /// Both parts: to save them, or to go on where others stopped.
    pub fn parts(&mut self) -> (Option<&mut Passage<'e, E>>, Option<&mut AnyAdapter>) {
        (self.net.as_mut(), self.adapter.as_mut())
    }

    /// The last byte; 0x00 at the beginning.
    pub const fn pending(&self) -> u8 {
        self.pending
    }

    /// Where the stream is.
    ///
    /// # Errors
    /// [`EngineError::NotIntegers`] of a float engine.
    /// # Cost
    /// A copy of the net's state and of the adapter.
    pub fn bookmark(&mut self) -> Result<Bookmark, EngineError> {
        let state = self.net.as_mut().map(Passage::state).transpose()?;
        Ok(Bookmark { state, pending: self.pending, adapter: self.adapter.as_ref().map(AnyAdapter::copy) })
    }

    /// Continues at a place of another stream of the same net: with its adapter, or with none if it has none.
    ///
    /// # Errors
    /// Those of [`Engine::set_state`]; nothing has changed then.
    pub fn resume(&mut self, at: Bookmark) -> Result<(), EngineError> {
        if let (Some(net), Some(state)) = (&mut self.net, &at.state) {
            net.resume(state, at.pending)?;
        }
        (self.pending, self.adapter) = (at.pending, at.adapter);
        Ok(())
    }

    /// After [`Self::parts`] were given other contents: the last byte that they have seen.
    pub(crate) fn set_pending(&mut self, pending: u8) {
        self.pending = pending;
    }

    /// Takes the next bytes of the stream, as one block of the net; `see(byte, cost)` is called for each. If it fails, the
    /// bytes after that one have not been read.
    ///
    /// # Errors
    /// What `see` returns, and those of [`Engine::read_into`].
    /// # Cost
    /// The net's prefill, then the adapter step by step: see [`mambabyte_core::adapt`].
    pub fn read<F: From<EngineError>>(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(u8, Cost) -> Result<(), F>,
    ) -> Result<(), F> {
        let Self { net, adapter, pending, .. } = self;
        let (mut logits, mut bits) = (Cow::Borrowed([].as_slice()), Cow::Borrowed([].as_slice()));
        match (net.as_mut(), &adapter) {
            (Some(net), Some(_)) => logits = net.logits(bytes)?,
            (Some(net), None) => bits = net.surprise(bytes)?,
            (None, _) => {}
        }
        let mut seen = Ok(());
        let mut count = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let cost = match (adapter.as_mut(), logits.get(at)) {
                (Some(adapter), Some(logits)) => {
                    let (net, path) = adapter.read_beside(logits, byte);
                    Cost { net: Some(net), mixed: Some(path.surprise()) }
                }
                (Some(adapter), None) => Cost { net: None, mixed: Some(adapter.read(None, byte).surprise()) },
                (None, _) => Cost { net: bits.get(at).copied(), mixed: None },
            };
            (*pending, count) = (byte, at + 1);
            seen = see(byte, cost);
            if seen.is_err() {
                break;
            }
        }
        if let (Err(_), Some(net)) = (&seen, net) {
            net.keep(count)?;
        }
        seen
    }

    /// Exchanges the adapter for another stream's.
    pub(crate) const fn exchange_adapter(&mut self, other: &mut Option<AnyAdapter>) {
        std::mem::swap(&mut self.adapter, other);
    }

    /// Whether [`Mixture::mark`] is possible: adapters of 1M are not copied for it.
    pub fn marks(&self) -> bool {
        self.adapter.as_ref().is_none_or(|adapter| adapter.preset() != Preset::M1)
    }

    /// Remembers this place of the stream, for [`Mixture::replay`].
    ///
    /// # Errors
    /// Those of [`Engine::fork`].
    /// # Cost
    /// A copy of the net's state and of the adapter.
    pub fn mark(&mut self) -> Result<(), EngineError> {
        if !self.marks() {
            return Ok(());
        }
        if let Some(net) = &mut self.net {
            net.mark()?;
        }
        match (&self.adapter, &mut self.marked) {
            (Some(adapter), Some(marked)) => marked.copy_from(adapter),
            (Some(adapter), marked) => *marked = Some(adapter.copy()),
            (None, marked) => *marked = None,
        }
        Ok(())
    }

    /// The distribution of the byte after `text`, as logits, when `text` is read from the mark on. The stream stays where
    /// it is.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    /// # Cost
    /// That of a copy of the adapter, of reading `text`, and of [`AnyAdapter::distribution`].
    pub fn replay(&mut self, text: &[u8]) -> Result<Box<Logits>, EngineError> {
        let mut found = Box::new([0; VOCAB]);
        let Self { net, marked, .. } = self;
        let mut adapter = marked.as_ref().map(AnyAdapter::copy);
        let mut see = |at: usize, logits: Option<&Logits>| match (adapter.as_mut(), text.get(at)) {
            (Some(adapter), Some(&byte)) => _ = adapter.read(logits, byte),
            (Some(adapter), None) => adapter.distribution(logits, &mut found),
            (None, Some(_)) => {}
            (None, None) => *found = *logits.unwrap_or(&[0; VOCAB]),
        };
        match net {
            Some(net) => net.replay(text, |at, logits| see(at, Some(logits)))?,
            None => (0..=text.len()).for_each(|at| see(at, None)),
        }
        Ok(found)
    }

    /// What is expected of the byte that comes next: the logits of the net, if there is one, and those of the mixed
    /// distribution, `log2 p`, if there is an adapter. The stream stays where it is.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    /// # Cost
    /// A step of the net and [`AnyAdapter::distribution`].
    pub fn peek(&mut self) -> Result<Expected, EngineError> {
        let net = match &mut self.net {
            Some(net) => net.peek()?.first().map(|logits| Box::new(*logits)),
            None => None,
        };
        let mixed = self.adapter.as_mut().map(|adapter| {
            let mut mixed = Box::new([0; VOCAB]);
            adapter.distribution(net.as_deref(), &mut mixed);
            mixed
        });
        Ok((net, mixed))
    }

    /// Writes the next byte of the stream: what `choose` makes of its distribution, which is the net's logits or, with an
    /// adapter, [`AnyAdapter::distribution`]. Both read it.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    pub fn write(&mut self, choose: impl FnOnce(&Logits) -> u8) -> Result<u8, EngineError> {
        let adapter = &mut self.adapter;
        let mix = |logits: Option<&Logits>| {
            let Some(adapter) = adapter else { return choose(logits.unwrap_or(&[0; VOCAB])) };
            let mut mixed = [0; VOCAB];
            adapter.distribution(logits, &mut mixed);
            let byte = choose(&mixed);
            adapter.read(logits, byte);
            byte
        };
        self.pending = match &mut self.net {
            Some(net) => net.write(|logits| mix(Some(logits)))?,
            None => mix(None),
        };
        Ok(self.pending)
    }
}
