//! What a device sends of a stream that it scores: one record for each line, and what the other end has to know.
//!
//! The bytes of the stream go to the device as they are, without any frame. The device answers with *messages*. On the
//! wire a message is its [postcard](https://postcard.jamesmunns.com/wire-format.html) encoding, CRC-32 of that
//! (ISO-HDLC, little-endian), both stuffed by COBS, and a zero byte:
//!
//! ```text
//! COBS( variant of Message, its fields as varints; CRC-32 ) 0x00
//! ```
//!
//! A zero byte appears nowhere else, so a receiver that was attached late or saw damage is in step again after at most
//! one message; [`Frames`] does that. A device begins with a zero byte of its own, which ends whatever was on the line.
//!
//! # Flow control
//!
//! Two ways, by the direction that the answer takes:
//!
//! * Messages: **credit**. [`Start::credit`] and [`Message::Credit`] say how many bytes the other end may have sent in
//!   all since [`Message::Start`]; it never sends more. The device has memory for all bytes that it gave credit for, so
//!   nothing is lost, whatever the delay of the line. Frames may hold any byte, even 0x11 and 0x13, so an end that
//!   reads messages must not interpret these as XON and XOFF.
//! * Text for people ([`Record`]'s `Display`): **XON/XOFF**. That text holds neither 0x11 nor 0x13; the device sends
//!   [`XOFF`] when three quarters of its memory are full and [`XON`] below a quarter. The stream *to* the device is
//!   never interpreted.
//!
//! A sender may ignore both. What then has no place is counted, and every record carries the counts.
//!
//! ```
//! use mambabyte_core::record::{FRAME, Frames, Message, encode};
//! let mut memory = [0; FRAME];
//! let frame = encode(&Message::Credit(512), &mut memory)?;
//! let mut frames = Frames::new();
//! let got = frame.iter().find_map(|&byte| frames.push(byte).map(|m| m == Message::Credit(512)));
//! assert_eq!(got, Some(true));
//! # Ok::<(), mambabyte_core::record::FrameTooSmall>(())
//! ```

mod frame;
#[cfg(test)]
mod tests;
mod verdict;

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::lines::LineScore;

use frame::framed;
pub use frame::{FRAME, FrameTooSmall, TEXT};
pub use verdict::{LineVerdict, encode_detector, encode_verdict};

/// Version of the messages, in [`Start`]. A receiver reads this one and all before: [`Frames`] turns their records into
/// [`Record`]. Version 2 has [`Record::net`] and [`Message::Adapter`], version 3 [`Message::Detector`] and
/// [`Message::Verdict`].
pub const VERSION: u8 = 3;
/// "Send": follows [`XOFF`] in the text mode.
pub const XON: u8 = 0x11;
/// "Do not send".
pub const XOFF: u8 = 0x13;

/// What a device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message<'m> {
    /// The device has started; bytes before this message were not read.
    Start(Start),
    /// A line is complete, in version 1: [`Frames`] gives it as [`Message::Line`].
    #[doc(hidden)]
    FirstLine(FirstRecord),
    /// Bytes that may have been sent in all since [`Message::Start`].
    Credit(u64),
    /// The device's own state, now and then.
    Status(Status),
    /// Bytes of the stream, returned (a device may do that as a test of the line): position of the first, at most
    /// [`TEXT`] bytes.
    Text(u64, &'m [u8]),
    /// A line is complete.
    Line(Record),
    /// After [`Message::Start`] of a device with an adapter: the number of its preset,
    /// [`Design::id`](crate::adapt::Design::id).
    Adapter(u8),
    /// After [`Message::Start`] of a device with a detector: the share of quiet lines that may be false alarms, as
    /// [`Rate::share`](crate::detect::Rate::share). Sent by [`encode_detector`].
    #[serde(skip_serializing)]
    Detector(u32),
    /// What the detector says of a line, before its [`Message::Line`]. Sent by [`encode_verdict`].
    #[serde(skip_serializing)]
    Verdict(LineVerdict),
}

/// The first message after a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Start {
    /// [`VERSION`].
    pub version: u8,
    /// The model's fingerprint; zeros without a model.
    pub fingerprint: [u8; 16],
    /// Position of the next byte: 0, or where a saved state resumes.
    pub position: u64,
    /// The first credit.
    pub credit: u64,
}

/// The score of a line. Bits are Q16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Record {
    /// Counts the records since the start, from 0: a gap is a record that was lost on the way here.
    pub sequence: u32,
    /// Position of the line's first byte among the bytes that were read, lost ones not counted.
    pub start: u64,
    /// Bytes, the newline included.
    pub bytes: u32,
    /// Mean bits per byte: of the net and the adapter together, of whichever there is alone.
    pub bits: u32,
    /// Largest mean over [`PEAK`](crate::lines::PEAK) consecutive bytes.
    pub peak: u32,
    /// The line is surprising, as [`lines`](crate::lines) decides it; of a device with a detector: it alarms.
    pub flagged: bool,
    /// Bytes lost since the start because the device's memory was full: exact.
    pub lost: u32,
    /// Times since the start that the receiver's hardware reported a loss of its own, of at least one byte each.
    pub overruns: u32,
    /// Mean bits per byte of the net alone, where an adapter stands beside it. `None` also for the line in which a saved
    /// stream went on: its first bytes were another start's.
    pub net: Option<u32>,
}

/// A record of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[doc(hidden)]
pub struct FirstRecord {
    pub sequence: u32,
    pub start: u64,
    pub bytes: u32,
    pub bits: u32,
    pub peak: u32,
    pub flagged: bool,
    pub lost: u32,
    pub overruns: u32,
}

impl From<FirstRecord> for Record {
    fn from(first: FirstRecord) -> Self {
        let FirstRecord { sequence, start, bytes, bits, peak, flagged, lost, overruns } = first;
        Self { sequence, start, bytes, bits, peak, flagged, lost, overruns, net: None }
    }
}

/// What a device says of itself. Bytes are counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status {
    /// Most bytes of stack used so far, interrupts included.
    pub stack_used: u32,
    /// Bytes of stack that are watched; `stack_used` is that much or more if they are equal.
    pub stack_watched: u32,
    /// Most bytes that have waited to be read.
    pub waiting: u32,
    /// Bytes that may wait.
    pub capacity: u32,
}

impl Record {
    /// The record of a line that [`LineScorer`](crate::LineScorer) has scored; `net` is the sum of the net's own
    /// surprises over it, Q16, if the score is of the net and an adapter.
    pub fn new(score: &LineScore, sequence: u32, lost: u32, overruns: u32, net: Option<u64>) -> Self {
        Self {
            sequence,
            start: score.start,
            bytes: score.bytes,
            bits: score.mean(),
            peak: score.peak,
            flagged: score.flagged,
            lost,
            overruns,
            net: net.map(|bits| LineScore { bits, ..*score }.mean()),
        }
    }
}

/// One line for people, without its newline: position, bits per byte, `!` if surprising (else `-`), bytes lost so far,
/// and if they are known the bits per byte of the net alone.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = |bits: u32| (bits as u64 * 1000 + 32_768) >> 16;
        let flag = if self.flagged { '!' } else { '-' };
        let lost = self.lost as u64 + self.overruns as u64;
        let bits = thousandths(self.bits);
        write!(f, "{} {}.{:03} {flag} {lost}", self.start, bits / 1000, bits % 1000)?;
        match self.net.map(thousandths) {
            Some(net) => write!(f, " net {}.{:03}", net / 1000, net % 1000),
            None => Ok(()),
        }
    }
}

/// Writes a message as a frame, its zero included.
///
/// On a chip what a detector says is written by [`encode_detector`] and [`encode_verdict`] alone: a program without a
/// detector then has no code for it.
///
/// # Errors
/// [`FrameTooSmall`].
pub fn encode<'o>(message: &Message<'_>, out: &'o mut [u8]) -> Result<&'o [u8], FrameTooSmall> {
    match message {
        #[cfg(not(mambabyte_mcu))]
        Message::Detector(share) => encode_detector(*share, out),
        #[cfg(not(mambabyte_mcu))]
        Message::Verdict(verdict) => encode_verdict(verdict, out),
        message => framed(message, out),
    }
}

/// Finds the messages in what arrives, byte by byte.
///
/// Damage costs the frames that it touches and no other one; they are counted.
#[derive(Clone, Debug)]
pub struct Frames {
    frame: [u8; FRAME],
    length: usize,
    complete: bool,
    too_long: bool,
    in_step: bool,
    bad: u64,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// A receiver that has seen nothing yet. What arrives before the first zero may be the rest of a frame, so it is
    /// not counted if it is no message.
    pub const fn new() -> Self {
        Self { frame: [0; FRAME], length: 0, complete: false, too_long: false, in_step: false, bad: 0 }
    }

    /// Frames that were damaged, too long or no known message.
    pub const fn bad(&self) -> u64 {
        self.bad
    }

    /// Takes a byte; returns the message that it completes, if it completes one.
    pub fn push(&mut self, byte: u8) -> Option<Message<'_>> {
        if self.complete {
            (self.length, self.complete, self.too_long) = (0, false, false);
        }
        if byte != 0 {
            match self.frame.get_mut(self.length) {
                Some(place) => {
                    *place = byte;
                    self.length += 1;
                }
                None => self.too_long = true,
            }
            return None;
        }
        self.complete = true;
        let counts = core::mem::replace(&mut self.in_step, true);
        if self.length == 0 {
            return None;
        }
        debug_assert!(self.length <= FRAME, "no byte is counted that has no place");
        let frame = self.frame.get_mut(..self.length).filter(|_| !self.too_long);
        let message = frame.and_then(decode);
        self.bad += (message.is_none() && counts) as u64;
        message
    }
}

/// The checksum of frames, by a table: a receiver has room for it.
static CRC32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The message in a frame without its zero.
fn decode(frame: &mut [u8]) -> Option<Message<'_>> {
    let length = cobs::decode_in_place(frame).ok()?;
    let (message, rest) = postcard::take_from_bytes_crc32(frame.get(..length)?, CRC32.digest()).ok()?;
    let message = match message {
        Message::FirstLine(first) => Message::Line(first.into()),
        message => message,
    };
    rest.is_empty().then_some(message)
}
