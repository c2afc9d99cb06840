//! What a device that scores a stream adds to the state: [`Sections::DEVICE`], and its adapter and its detector if it
//! has them.

use crate::adapt::Savable;
use crate::cannot::never;
use crate::detect::{self, Detector};
use crate::lines::{LineScorer, SAVED};
use crate::snapshot::{Section, SectionKind, Sections, after_head};
use crate::state::StateError;

/// Bytes of it without an adapter; with one those of [`Sections::with_adapter`] and [`Sections::beside_state`].
pub const STREAM: usize = Sections::DEVICE.beside_state();

/// Writes the sections of a device beside the state: pending byte, line scorer, adapter, records, detector. `out` has
/// their length.
pub fn save_stream<const N: usize>(
    out: &mut [u8; N],
    pending: u8,
    records: u32,
    scorer: &LineScorer,
    adapter: Option<&mut dyn Savable>,
    detector: Option<&mut Detector>,
) {
    let rest = Section::Pending(pending).write(out);
    let rest = rest.and_then(|rest| Section::Lines(scorer).write(rest));
    let rest = match adapter {
        Some(adapter) => rest.and_then(|rest| Section::Adapter(adapter).write(rest)),
        None => rest,
    };
    let rest = rest.and_then(|rest| Section::Records(records).write(rest));
    let rest = match detector {
        Some(detector) => rest.and_then(|rest| Section::Detector(detector).write(rest)),
        None => rest,
    };
    if rest.is_none() {
        never("the memory is sized by its sections", ());
    }
}

/// Sets `scorer`, `adapter` and `detector` to those that [`save_stream`] wrote; returns the pending byte and the records.
/// The detector keeps its share of false alarms and what a net says of unknown texts.
///
/// # Errors
/// [`StateError`] that names the section if one is another than expected, or of another version or length; `scorer`,
/// `adapter` and `detector` are then as they were.
pub fn load_stream<const N: usize>(
    saved: &[u8; N],
    scorer: &mut LineScorer,
    adapter: Option<&mut dyn Savable>,
    detector: Option<&mut Detector>,
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
    let (&records, rest) = rest.split_first_chunk().ok_or(missing(SectionKind::Records))?;
    let records = u32::from_le_bytes(records);
    let mut heard = None;
    if let Some(detector) = detector {
        let rest = after_head(rest, SectionKind::Detector, detect::SAVED)?;
        let saved = rest.first_chunk().ok_or(missing(SectionKind::Detector))?;
        heard = Some((detector, Detector::load(saved).map_err(StateError::Detector)?));
    }
    if let Some((adapter, data)) = learned {
        adapter.load(data).map_err(StateError::Adapter)?;
    }
    if let Some((detector, saved)) = heard {
        detector.resume(saved);
    }
    scorer.restore(lines);
    Ok((pending, records))
}
