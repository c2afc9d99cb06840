//! What a device that scores a stream adds to the state: [`Sections::DEVICE`].

use crate::cannot::never;
use crate::lines::{LineScorer, SAVED};
use crate::snapshot::{Section, SectionKind, Sections, after_head};
use crate::state::StateError;

/// Bytes of it.
pub const STREAM: usize = Sections::DEVICE.beside_state();

/// Writes the sections of a device beside the state: pending byte, line scorer, records.
pub fn save_stream(out: &mut [u8; STREAM], pending: u8, records: u32, scorer: &LineScorer) {
    let rest = Section::Pending(pending).write(out);
    let rest = rest.and_then(|rest| Section::Lines(scorer).write(rest));
    if rest.and_then(|rest| Section::Records(records).write(rest)).is_none() {
        never("the memory is sized by its sections", ());
    }
}

/// Sets `scorer` to the one that [`save_stream`] wrote; returns the pending byte and the records.
///
/// # Errors
/// [`StateError`] that names the section if one is another than expected, or of another version or length; `scorer` is
/// then as it was.
pub fn load_stream(saved: &[u8; STREAM], scorer: &mut LineScorer) -> Result<(u8, u32), StateError> {
    let missing = |kind: SectionKind| StateError::MissingSection { kind: kind as u16 };
    let rest = after_head(saved, SectionKind::Pending, 1)?;
    let (&[pending], rest) = rest.split_first_chunk().ok_or(missing(SectionKind::Pending))?;
    let rest = after_head(rest, SectionKind::Lines, SAVED)?;
    let (lines, rest) = rest.split_first_chunk().ok_or(missing(SectionKind::Lines))?;
    let rest = after_head(rest, SectionKind::Records, 4)?;
    let records = u32::from_le_bytes(*rest.first_chunk().ok_or(missing(SectionKind::Records))?);
    scorer.restore(lines);
    Ok((pending, records))
}
