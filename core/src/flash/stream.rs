//! What a device that scores a stream adds to the state: [`Sections::DEVICE`], and its adapter if it has one.

use crate::adapt::Savable;
use crate::cannot::never;
use crate::lines::{LineScorer, SAVED};
use crate::snapshot::{Section, SectionKind, Sections, after_head};
use crate::state::StateError;

/// Bytes of it without an adapter; with one those of [`Sections::with_adapter`] and [`Sections::beside_state`].
pub const STREAM: usize = Sections::DEVICE.beside_state();

/// Writes the sections of a device beside the state: pending byte, line scorer, adapter, records. `out` has their
/// length.
pub fn save_stream<const N: usize>(
    out: &mut [u8; N],
    pending: u8,
    records: u32,
    scorer: &LineScorer,
    adapter: Option<&mut dyn Savable>,
) {
    let rest = Section::Pending(pending).write(out);
    let rest = rest.and_then(|rest| Section::Lines(scorer).write(rest));
    let rest = match adapter {
        Some(adapter) => rest.and_then(|rest| Section::Adapter(adapter).write(rest)),
        None => rest,
    };
    if rest.and_then(|rest| Section::Records(records).write(rest)).is_none() {
        never("the memory is sized by its sections", ());
    }
}

/// Sets `scorer` and `adapter` to those that [`save_stream`] wrote; returns the pending byte and the records.
///
/// # Errors
/// [`StateError`] that names the section if one is another than expected, or of another version or length; `scorer` and
/// `adapter` are then as they were.
pub fn load_stream<const N: usize>(
    saved: &[u8; N],
    scorer: &mut LineScorer,
    adapter: Option<&mut dyn Savable>,
) -> Result<(u8, u32), StateError> {
    let missing = |kind: SectionKind| StateError::MissingSection { kind: kind as u16 };
    let rest = after_head(saved, SectionKind::Pending, 1)?;
    let (&[pending], rest) = rest.split_first_chunk().ok_or(missing(SectionKind::Pending))?;
    let rest = after_head(rest, SectionKind::Lines, SAVED)?;
    let (lines, mut rest) = rest.split_first_chunk().ok_or(missing(SectionKind::Lines))?;
    let mut learned = None;
    if let Some(adapter) = adapter {
        let bytes = adapter.design().saved_bytes();
        let data = after_head(rest, SectionKind::Adapter, bytes)?;
        let (data, after) = data.split_at_checked(bytes).ok_or(missing(SectionKind::Adapter))?;
        (learned, rest) = (Some((adapter, data)), after);
    }
    let rest = after_head(rest, SectionKind::Records, 4)?;
    let records = u32::from_le_bytes(*rest.first_chunk().ok_or(missing(SectionKind::Records))?);
    if let Some((adapter, data)) = learned {
        adapter.load(data).map_err(StateError::Adapter)?;
    }
    scorer.restore(lines);
    Ok((pending, records))
}
