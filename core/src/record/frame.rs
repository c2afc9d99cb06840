//! A message's bytes as a frame: postcard's, a CRC-32 after them, stuffed by COBS as they come, and a zero.

use core::fmt;

use postcard::ser_flavors::Flavor;
use postcard::{Error, Result};
use serde::Serialize;

use crate::blob::{CRC32, Crc32Digest};

/// The longest frame in bytes, its zero included.
pub const FRAME: usize = 96;
/// The most bytes in a [`Message::Text`](super::Message::Text).
pub const TEXT: usize = 64;

/// The memory for a frame is too small; [`FRAME`] bytes are enough for every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FrameTooSmall;

impl fmt::Display for FrameTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message does not fit its memory; {FRAME} bytes are enough, with at most {TEXT} bytes of text")
    }
}

impl core::error::Error for FrameTooSmall {}

/// Stuffs what it is given into `out`: each zero becomes the distance to the next one.
pub(super) struct Framed<'o> {
    out: &'o mut [u8],
    /// Where the next byte goes.
    at: usize,
    /// Where the distance to the next zero goes, and the distance so far.
    code_at: usize,
    code: u8,
    crc: Crc32Digest,
}

impl<'o> Framed<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self { out, at: 1, code_at: 0, code: 1, crc: CRC32.digest() }
    }

    fn put(&mut self, at: usize, byte: u8) -> Result<()> {
        match self.out.get_mut(at) {
            Some(place) => {
                *place = byte;
                Ok(())
            }
            None => Err(Error::SerializeBufferFull),
        }
    }

    #[inline(never)]
    fn stuff(&mut self, byte: u8) -> Result<()> {
        if byte != 0 {
            self.put(self.at, byte)?;
            self.at += 1;
            self.code += 1;
        }
        // A zero, or as many other bytes as a distance can count.
        if byte == 0 || self.code == u8::MAX {
            self.put(self.code_at, self.code)?;
            (self.code_at, self.code) = (self.at, 1);
            self.at += 1;
        }
        Ok(())
    }
}

impl<'o> Flavor for Framed<'o> {
    type Output = &'o [u8];

    // Not inlined: a message has many numbers.
    #[inline(never)]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc.update(bytes);
        bytes.iter().try_for_each(|&byte| self.stuff(byte))
    }

    #[inline(never)]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(mut self) -> Result<&'o [u8]> {
        for byte in self.crc.clone().finalize().to_le_bytes() {
            self.stuff(byte)?;
        }
        self.put(self.code_at, self.code)?;
        self.put(self.at, 0)?;
        let out: &'o [u8] = self.out;
        let frame = out.get(..=self.at).ok_or(Error::SerializeBufferFull);
        debug_assert!(frame.is_ok(), "its last byte has just been written");
        frame
    }
}

/// Writes whatever postcard writes as a frame.
pub(super) fn framed<'o>(message: &impl Serialize, out: &'o mut [u8]) -> core::result::Result<&'o [u8], FrameTooSmall> {
    postcard::serialize_with_flavor(message, Framed::new(out)).map_err(|_| FrameTooSmall)
}
