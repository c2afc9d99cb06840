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

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::lines::LineScore;

/// Version of the messages, in [`Start`]. A receiver reads this one and all before: [`Frames`] turns their records into
/// [`Record`]. Version 2 has [`Record::net`] and [`Message::Adapter`].
pub const VERSION: u8 = 2;
/// The longest frame in bytes, its zero included.
pub const FRAME: usize = 96;
/// The most bytes in a [`Message::Text`].
pub const TEXT: usize = 64;
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
    /// The line is surprising, as [`lines`](crate::lines) decides it.
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

/// Writes a message as a frame, its zero included.
///
/// # Errors
/// [`FrameTooSmall`].
pub fn encode<'o>(message: &Message<'_>, out: &'o mut [u8]) -> Result<&'o [u8], FrameTooSmall> {
    postcard::serialize_with_flavor(message, frame::Framed::new(out)).map_err(|_| FrameTooSmall)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Rng;
    use std::string::ToString;
    use std::vec::Vec;

    fn record(sequence: u32, rng: &mut Rng) -> Record {
        let r = |rng: &mut Rng| (rng.next_u64() >> (rng.next_u64() % 33)) as u32;
        let start = rng.next_u64() >> (rng.next_u64() % 64);
        let (bytes, bits, peak) = (r(rng), r(rng), r(rng));
        let flagged = rng.next_u64() & 1 == 1;
        let net = (rng.next_u64() & 1 == 1).then(|| r(rng));
        Record { sequence, start, bytes, bits, peak, flagged, lost: r(rng), overruns: r(rng), net }
    }

    fn frames_of(stream: &[u8]) -> (Vec<Record>, u64) {
        let mut frames = Frames::new();
        let mut records = Vec::new();
        for &byte in stream {
            if let Some(Message::Line(record)) = frames.push(byte) {
                records.push(record);
            }
        }
        (records, frames.bad())
    }

    #[test]
    fn every_message_comes_back_and_fits() {
        let longest = [Message::Text(u64::MAX, &[0; TEXT]), Message::Text(u64::MAX, &[255; TEXT])];
        let all = u32::MAX;
        let most = Record { sequence: all, start: u64::MAX, bytes: all, bits: all, peak: all, ..Record::default() };
        let most = Message::Line(Record { flagged: true, lost: all, overruns: all, net: Some(all), ..most });
        let start = Start { version: VERSION, fingerprint: [255; 16], position: u64::MAX, credit: u64::MAX };
        let status = Status { stack_used: all, stack_watched: all, waiting: all, capacity: all };
        let others = [Message::Credit(0), Message::Start(start), Message::Status(status), Message::Adapter(6), most];
        for message in longest.into_iter().chain(others) {
            let mut memory = [0; FRAME];
            let frame = encode(&message, &mut memory).unwrap();
            assert_eq!(frame.iter().position(|&b| b == 0), Some(frame.len() - 1), "one zero, at the end");
            let mut frames = Frames::new();
            let (&zero, body) = frame.split_last().unwrap();
            assert!(body.iter().all(|&byte| frames.push(byte).is_none()));
            assert_eq!(frames.push(zero), Some(message));
            let mut small = std::vec![0; frame.len() - 1];
            assert_eq!(encode(&message, &mut small), Err(FrameTooSmall));
        }
    }

    #[test]
    fn a_record_is_short() {
        let record = Record { sequence: 9, start: 4000, bytes: 70, bits: 40_000, peak: 90_000, ..Record::default() };
        let mut memory = [0; FRAME];
        // Variant, 1 + 2 + 1 + 3 + 3 bytes, flag, two counts, no net, CRC, COBS, zero.
        assert_eq!(encode(&Message::Line(record), &mut memory).unwrap().len(), 1 + 10 + 1 + 2 + 1 + 4 + 2);
        let both = Message::Line(Record { net: Some(50_000), ..record });
        assert_eq!(encode(&both, &mut memory).unwrap().len(), 1 + 10 + 1 + 2 + 4 + 4 + 2);
    }

    #[test]
    fn a_record_of_version_1_is_read() {
        // As a device of version 1 sent it: sequence 9, start 4000, 70 bytes, 40,000 and 90,000 as bits, flagged, 3, 1.
        let body = [1, 9, 0xa0, 0x1f, 70, 0xc0, 0xb8, 0x02, 0x90, 0xbf, 0x05, 1, 3, 1];
        let crc = CRC32.checksum(&body).to_le_bytes();
        let mut sent = std::vec![0];
        let mut stuffed = [0; FRAME];
        let length = cobs::encode(&[&body[..], &crc].concat(), &mut stuffed);
        sent.extend(&stuffed[..length]);
        sent.push(0);
        let (sequence, flagged, lost, overruns) = (9, true, 3, 1);
        let record =
            Record { sequence, start: 4000, bytes: 70, bits: 40_000, peak: 90_000, flagged, lost, overruns, net: None };
        assert_eq!(frames_of(&sent), (std::vec![record], 0));
    }

    #[test]
    fn the_text_for_people_rounds_and_is_free_of_flow_control() {
        let record = Record { start: 123, bits: 65_536 * 2 + 32_768, flagged: true, lost: 2, ..Record::default() };
        assert_eq!(record.to_string(), "123 2.500 ! 2");
        assert_eq!(Record { net: Some(65_536 * 3), ..record }.to_string(), "123 2.500 ! 2 net 3.000");
        assert_eq!(Record { bits: 65_535, overruns: 1, ..Record::default() }.to_string(), "0 1.000 - 1");
        assert_eq!(Record { bits: u32::MAX, ..Record::default() }.to_string(), "0 65536.000 - 0");
    }

    #[test]
    fn damage_costs_what_it_touches_and_is_counted() {
        let mut rng = Rng::new(5);
        for round in 0..2000 {
            let mut stream = std::vec![0u8];
            let (mut records, mut ends) = (Vec::new(), Vec::new());
            for sequence in 0..20 {
                let record = record(sequence, &mut rng);
                let mut memory = [0; FRAME];
                stream.extend(encode(&Message::Line(record), &mut memory).unwrap());
                records.push(record);
                ends.push(stream.len());
            }
            assert_eq!(frames_of(&stream), (records.clone(), 0));
            let at = 1 + rng.next_u64() as usize % (stream.len() - 1);
            let kind = round % 3;
            match kind {
                0 => stream[at] ^= 1 << (rng.next_u64() % 8),
                1 => drop(stream.remove(at)),
                _ => stream.insert(at, rng.next_u64() as u8),
            }
            let (got, bad) = frames_of(&stream);
            let hit = ends.iter().position(|&end| at < end).unwrap();
            // Every record that the damage does not touch is there; a hit zero joins two frames, a new one splits one.
            assert!(got.iter().all(|r| records[r.sequence as usize] == *r), "{got:?}");
            let untouched = |i: usize| i != hit && i != hit + 1;
            assert!((0..20).filter(|&i| untouched(i)).all(|i| got.contains(&records[i])), "round {round}");
            assert!(bad <= 2 && (bad > 0 || got.len() >= 19), "round {round}: {bad} bad, {} records", got.len());
        }
    }

    #[test]
    fn noise_is_never_a_message_and_a_late_start_is_no_damage() {
        let mut rng = Rng::new(6);
        let noise: Vec<u8> = (0..200_000).map(|_| rng.next_u64() as u8).collect();
        let (records, bad) = frames_of(&noise);
        assert!(records.is_empty() && bad > 500, "{bad}");
        let mut memory = [0; FRAME];
        let whole = record(3, &mut rng);
        let frame = encode(&Message::Line(whole), &mut memory).unwrap();
        let late = [&frame[3..], frame].concat();
        assert_eq!(frames_of(&late), (std::vec![whole], 0));
        assert_eq!(frames_of(&[&[1; 500][..], &[0], frame].concat()), (std::vec![whole], 0));
        assert_eq!(frames_of(&[&[0][..], &[1; 500], &[0], frame].concat()), (std::vec![whole], 1));
    }
}
