//! NOR flash that enforces the rules, wears, and loses its power at any of its operations.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use mambabyte_core::Rng;

/// What an operation can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NorError {
    /// There is no power, from the operation of the cut on.
    Cut,
    /// A word is programmed for the second time since it was erased.
    Twice {
        /// Where.
        at: usize,
    },
    /// Misaligned or out of bounds.
    Range(NorFlashErrorKind),
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Range(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// What a cut leaves of the operation that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing was done.
    None,
    /// All was done; only the answer is missing.
    All,
    /// Each bit is done or not.
    Bits,
    /// A word: bits of its first half. A sector: its first half is erased.
    Half,
    /// A sector: any bits at all. A word: as [`Tear::Bits`].
    Noise,
}

impl Tear {
    /// Every kind.
    pub const EVERY: [Self; 5] = [Self::None, Self::All, Self::Bits, Self::Half, Self::Noise];
}

/// Flash with words of `WORD` bytes and sectors of `SECTOR` bytes. An operation is a word that is programmed or a
/// sector that is erased.
#[derive(Clone, Debug)]
pub struct Nor<const WORD: usize, const SECTOR: usize> {
    bytes: Vec<u8>,
    /// Words that were programmed, or are in a sector whose erasure was cut.
    used: Vec<bool>,
    /// Erasures of each sector.
    wear: Vec<u32>,
    operations: u64,
    cut: Option<(u64, Tear)>,
    dark: bool,
    stuck: Option<usize>,
    rng: Rng,
}

impl<const WORD: usize, const SECTOR: usize> Nor<WORD, SECTOR> {
    /// New flash, filled with noise as if it had been used for something else.
    pub fn new(sectors: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let bytes: Vec<u8> = (0..sectors * SECTOR).map(|_| rng.next_u64() as u8).collect();
        let used = vec![true; bytes.len() / WORD];
        let (operations, cut, dark, stuck) = (0, None, false, None);
        Self { bytes, used, wear: vec![0; sectors], operations, cut, dark, stuck, rng }
    }

    /// Cuts the power at the operation that is `after` operations from now (0: the next one).
    pub fn cut_after(&mut self, after: u64, tear: Tear) {
        self.cut = Some((self.operations + after, tear));
    }

    /// The power is back.
    pub fn power_on(&mut self) {
        (self.cut, self.dark) = (None, false);
    }

    /// Whether the cut has happened.
    pub const fn is_dark(&self) -> bool {
        self.dark
    }

    /// Operations so far.
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// Erasures of each sector.
    pub fn wear(&self) -> &[u32] {
        &self.wear
    }

    /// What is in it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Bytes of it.
    pub const fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// From now on bit 0 of the byte at `at` can only be 0.
    pub const fn stick(&mut self, at: usize) {
        self.stuck = Some(at);
    }

    /// Counts an operation; tells how it is torn if it is the one of the cut.
    fn operation(&mut self) -> Option<Tear> {
        let now = self.operations;
        self.operations += 1;
        let (_, tear) = self.cut.filter(|&(at, _)| at == now)?;
        self.dark = true;
        Some(tear)
    }

    fn age(&mut self) {
        if let Some(at) = self.stuck {
            self.bytes[at] &= !1;
        }
    }

    fn program(&mut self, at: usize, word: &[u8]) -> Result<(), NorError> {
        if self.used[at / WORD] {
            return Err(NorError::Twice { at });
        }
        let tear = self.operation();
        for (i, &new) in word.iter().enumerate() {
            let done = match tear {
                None | Some(Tear::All) => 0xff,
                Some(Tear::None) => 0,
                Some(Tear::Half) if i < WORD.div_ceil(2) => 0xff,
                Some(Tear::Half) => 0,
                Some(Tear::Bits | Tear::Noise) => self.rng.next_u64() as u8,
            };
            // Programming only clears bits.
            self.bytes[at + i] &= new | !done;
        }
        self.used[at / WORD] = true;
        self.age();
        if tear.is_some() { Err(NorError::Cut) } else { Ok(()) }
    }

    fn erase_sector(&mut self, sector: usize) -> Result<(), NorError> {
        let tear = self.operation();
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        if tear != Some(Tear::None) {
            self.wear[sector] += 1;
        }
        for at in range.clone() {
            let noise = self.rng.next_u64() as u8;
            let byte = &mut self.bytes[at];
            match tear {
                None | Some(Tear::All) => *byte = 0xff,
                Some(Tear::None) => {}
                Some(Tear::Bits) => *byte |= noise,
                Some(Tear::Half) if at - range.start < SECTOR / 2 => *byte = 0xff,
                Some(Tear::Half) => {}
                Some(Tear::Noise) => *byte = noise,
            }
        }
        // A sector that looks erased after a cut must not be trusted.
        self.used[range.start / WORD..range.end / WORD].fill(tear.is_some());
        self.age();
        if tear.is_some() { Err(NorError::Cut) } else { Ok(()) }
    }

    fn powered(&self) -> Result<(), NorError> {
        if self.dark { Err(NorError::Cut) } else { Ok(()) }
    }
}

impl<const WORD: usize, const SECTOR: usize> ErrorType for Nor<WORD, SECTOR> {
    type Error = NorError;
}

impl<const WORD: usize, const SECTOR: usize> ReadNorFlash for Nor<WORD, SECTOR> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        self.powered()?;
        check_read(self, offset, bytes.len()).map_err(NorError::Range)?;
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize, const SECTOR: usize> NorFlash for Nor<WORD, SECTOR> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        self.powered()?;
        check_erase(self, from, to).map_err(NorError::Range)?;
        (from as usize / SECTOR..to as usize / SECTOR).try_for_each(|sector| self.erase_sector(sector))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        self.powered()?;
        check_write(self, offset, bytes.len()).map_err(NorError::Range)?;
        let words = bytes.chunks(WORD).enumerate();
        words.into_iter().try_for_each(|(i, word)| self.program(offset as usize + i * WORD, word))
    }
}

/// A store that is broken on purpose: both slots are the same memory, so that a snapshot is written over the last one.
#[derive(Clone, Debug)]
pub struct OneSlot<F> {
    /// The flash.
    pub flash: F,
    /// Bytes of a slot.
    pub slot: u32,
}

impl<F: ErrorType> ErrorType for OneSlot<F> {
    type Error = F::Error;
}

impl<F: ReadNorFlash> ReadNorFlash for OneSlot<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.flash.read(offset % self.slot, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> NorFlash for OneSlot<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let start = from % self.slot;
        self.flash.erase(start, start + (to - from))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.flash.write(offset % self.slot, bytes)
    }
}
