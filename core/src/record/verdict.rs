//! What a device's detector says, as messages.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::frame::{FrameTooSmall, framed};
use crate::detect::Verdict;

/// Numbers of the variants of [`Message`](super::Message) that are written here, as postcard writes them.
const DETECTOR: u8 = 7;
const VERDICT: u8 = 8;

/// What the detector says of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineVerdict {
    /// [`Record::sequence`](super::Record::sequence) of the line.
    pub sequence: u32,
    /// What is said.
    pub verdict: Verdict,
}

/// Writes a [`Message::Verdict`](super::Message::Verdict) as [`encode`](super::encode) writes others.
///
/// # Errors
/// [`FrameTooSmall`].
pub fn encode_verdict<'o>(verdict: &LineVerdict, out: &'o mut [u8]) -> Result<&'o [u8], FrameTooSmall> {
    framed(&(VERDICT, verdict), out)
}

/// Writes a [`Message::Detector`](super::Message::Detector) as [`encode`](super::encode) writes others.
///
/// # Errors
/// [`FrameTooSmall`].
pub fn encode_detector(share: u32, out: &mut [u8]) -> Result<&[u8], FrameTooSmall> {
    framed(&(DETECTOR, share), out)
}

/// For people, to follow the line of a [`Record`](super::Record): rarity in bits, `odd` if it is, by which byte, and the
/// names of events.
impl fmt::Display for LineVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { rarity, odd, worst, events, .. } = &self.verdict;
        let hundredths = (*rarity as u32 * 100 + 128) >> 8;
        write!(f, " rarity {}.{:02}", hundredths / 100, hundredths % 100)?;
        if *odd {
            write!(f, " odd, byte {} is 0x{:02x}", worst.at, worst.byte)?;
        }
        events.iter().try_for_each(|event| write!(f, " {}", event.name()))
    }
}
