//! The sections of a snapshot: which there are, how long they are, how one is written and read.

use super::error::{StateError, section_name};
use crate::adapt::{self, Design, Savable};
use crate::cannot::never;
use crate::detect::{self, Detector};
use crate::dims::Dims;
use crate::lines::{LineScorer, SAVED};

/// Bytes of a snapshot before its sections.
pub const HEADER: usize = 40;
/// Bytes of a section before its data: u16 kind, u16 version, u32 bytes of data.
pub const SECTION_HEAD: usize = 8;
/// Version of every kind that is read and written; each kind has its own.
const VERSION: u16 = 1;

/// What a section holds. Numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum SectionKind {
    /// The state: per layer `[d_conv - 1, d_inner]` i16 columns, oldest first, then `[d_state, d_inner]` i16 `h`.
    State = 1,
    /// The pending byte, u8: the last of the stream, which the state has not read yet.
    Pending = 2,
    /// The line scorer, as [`LineScorer::save`] writes it: [`SAVED`] bytes.
    Lines = 3,
    /// The adapter, as [`Adapter::save`](crate::adapt::Adapter::save) writes it: [`Design::saved_bytes`].
    Adapter = 4,
    /// Records that a device has sent, u32.
    Records = 5,
    /// The line scorer of the net's own surprises, where an adapter's are scored: as [`SectionKind::Lines`].
    NetLines = 6,
    /// The detector of odd lines, as [`Detector::save`] writes it: [`detect::SAVED`] bytes.
    Detector = 7,
}

impl SectionKind {
    /// All of them, in ascending order.
    pub const ALL: [Self; 7] =
        [Self::State, Self::Pending, Self::Lines, Self::Adapter, Self::Records, Self::NetLines, Self::Detector];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        section_name(self as u16)
    }

    /// The kind with a number.
    fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u16 == number)
    }

    /// Bytes of its data; those of the state depend on the model, those of an adapter on its preset.
    const fn fixed_bytes(self) -> Option<usize> {
        match self {
            Self::State | Self::Adapter => None,
            Self::Pending => Some(1),
            Self::Lines | Self::NetLines => Some(SAVED),
            Self::Records => Some(4),
            Self::Detector => Some(detect::SAVED),
        }
    }
}

/// A set of sections. The state is in each of them; it is empty if there is no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sections {
    /// The section with the number `k` as bit `k`.
    kinds: u8,
    /// Sections that may be there, too, in the same way.
    allowed: u8,
    /// Number of the adapter's preset.
    preset: u8,
    /// Bytes of the adapter's data.
    adapter: u32,
}

impl Sections {
    /// The state alone: what [`State::snapshot`](crate::State::snapshot) writes.
    pub const STATE: Self = Self { kinds: 1 << SectionKind::State as u8, allowed: 0, preset: 0, adapter: 0 };
    /// A text that is written: state, pending byte.
    pub const TEXT: Self = Self::STATE.with(SectionKind::Pending);
    /// A stream that is scored: state, pending byte, line scorer.
    pub const STREAM: Self = Self::TEXT.with(SectionKind::Lines);
    /// A device that scores a stream: [`Sections::STREAM`] and the number of its records.
    pub const DEVICE: Self = Self::STREAM.with(SectionKind::Records);

    const fn with(self, kind: SectionKind) -> Self {
        Self { kinds: self.kinds | 1 << kind as u8, ..self }
    }

    /// These and an adapter of the preset `design`; any other preset is refused.
    pub const fn with_adapter(self, design: &Design) -> Self {
        Self { preset: design.id, adapter: design.saved_bytes() as u32, ..self.with(SectionKind::Adapter) }
    }

    /// These and a line scorer of the net's own surprises.
    pub const fn with_net_lines(self) -> Self {
        self.with(SectionKind::NetLines)
    }

    /// These and a detector of odd lines.
    pub const fn with_detector(self) -> Self {
        self.with(SectionKind::Detector)
    }

    /// These, and what only judges a stream may be there or not: line scorers, a detector, the number of records. For who
    /// goes on with the text of a stream and scores nothing.
    pub const fn judged_or_not(self) -> Self {
        let judges = Self::DEVICE.with_net_lines().with_detector();
        Self { allowed: judges.kinds & !Self::TEXT.kinds, ..self }
    }

    /// Whether a section is among them.
    pub const fn has(self, kind: SectionKind) -> bool {
        self.kinds >> (kind as u8) & 1 == 1
    }

    /// Bytes of a snapshot with these sections, of a model of the shape `dims`.
    ///
    /// ```
    /// # use mambabyte_core::{Dims, snapshot::Sections};
    /// const DIMS: Dims = Dims::of_blob(include_bytes!("../../../models/sensor-pico/model.mbb"));
    /// static MEMORY: [u8; Sections::STREAM.snapshot_bytes(&DIMS)] = [0; Sections::STREAM.snapshot_bytes(&DIMS)];
    /// assert_eq!(MEMORY.len(), DIMS.snapshot_bytes() + (8 + 1) + (8 + 572));
    /// ```
    pub const fn snapshot_bytes(self, dims: &Dims) -> usize {
        self.bytes_without_model() + dims.state_bytes()
    }

    /// Bytes of a snapshot with these sections where there is no model: the state is empty.
    pub const fn bytes_without_model(self) -> usize {
        HEADER + SECTION_HEAD + self.beside_state()
    }

    /// Bytes of the sections that are not the state: what comes after the state in flash.
    pub const fn beside_state(self) -> usize {
        let mut bytes = if self.has(SectionKind::Adapter) { SECTION_HEAD + self.adapter as usize } else { 0 };
        let mut i = 0;
        while i < SectionKind::ALL.len() {
            if let (true, Some(data)) = (self.has(SectionKind::ALL[i]), SectionKind::ALL[i].fixed_bytes()) {
                bytes += SECTION_HEAD + data;
            }
            i += 1;
        }
        bytes
    }

    /// The set as a byte, the section with the number `k` as bit `k`.
    #[cfg(feature = "flash")]
    pub(crate) const fn bits(self) -> u8 {
        self.kinds
    }

    /// The number of the adapter's preset and the bytes of its data, if there is one.
    #[cfg(feature = "flash")]
    pub(crate) fn adapter(self) -> Option<(u8, usize)> {
        self.has(SectionKind::Adapter).then_some((self.preset, self.adapter as usize))
    }

    /// Whether there are exactly these sections, beside those that may be there, given those there are as
    /// [`Sections::bits`].
    pub(crate) const fn exactly(self, found: u8) -> Result<(), StateError> {
        let (unwanted, missing) = (found & !(self.kinds | self.allowed), self.kinds & !found);
        if unwanted != 0 {
            return Err(StateError::UnwantedSection { kind: unwanted.trailing_zeros() as u16 });
        }
        if missing != 0 {
            return Err(StateError::MissingSection { kind: missing.trailing_zeros() as u16 });
        }
        Ok(())
    }
}

/// A section that is written.
#[derive(Debug)]
pub enum Section<'a> {
    /// [`SectionKind::State`]: its elements.
    State(&'a [i16]),
    /// [`SectionKind::Pending`].
    Pending(u8),
    /// [`SectionKind::Lines`].
    Lines(&'a LineScorer),
    /// [`SectionKind::Adapter`]: written where it belongs, without memory of its own.
    Adapter(&'a mut dyn Savable),
    /// [`SectionKind::Records`].
    Records(u32),
    /// [`SectionKind::NetLines`].
    NetLines(&'a LineScorer),
    /// [`SectionKind::Detector`].
    Detector(&'a mut Detector),
}

impl Section<'_> {
    /// Its kind.
    pub const fn kind(&self) -> SectionKind {
        match self {
            Self::State(_) => SectionKind::State,
            Self::Pending(_) => SectionKind::Pending,
            Self::Lines(_) => SectionKind::Lines,
            Self::Adapter(_) => SectionKind::Adapter,
            Self::Records(_) => SectionKind::Records,
            Self::NetLines(_) => SectionKind::NetLines,
            Self::Detector(_) => SectionKind::Detector,
        }
    }

    /// Its bytes, head included.
    pub fn bytes(&self) -> usize {
        let data = match (self, self.kind().fixed_bytes()) {
            (Self::State(elements), _) => size_of_val(*elements),
            (Self::Adapter(adapter), _) => adapter.design().saved_bytes(),
            (_, Some(fixed)) => fixed,
            (_, None) => 0,
        };
        SECTION_HEAD + data
    }

    /// Writes it to the start of `out`; returns what is left, `None` if there is too little room.
    // Inlined: on a chip the kinds are constants, and their lengths with them.
    #[inline(always)]
    pub(crate) fn write<'o>(&mut self, out: &'o mut [u8]) -> Option<&'o mut [u8]> {
        let (section, rest) = out.split_at_mut_checked(self.bytes())?;
        let (head, data) = section.split_first_chunk_mut::<SECTION_HEAD>()?;
        let [a, b] = (self.kind() as u16).to_le_bytes();
        let [c, d] = VERSION.to_le_bytes();
        let [e, f, g, h] = (data.len() as u32).to_le_bytes();
        *head = [a, b, c, d, e, f, g, h];
        match self {
            Self::State(elements) => {
                let elements: &[u8] = bytemuck::cast_slice(elements);
                if data.len() != elements.len() {
                    return never("the section was cut to the length of its elements", None);
                }
                data.copy_from_slice(elements);
            }
            Self::Pending(byte) => *data.first_chunk_mut()? = [*byte],
            Self::Lines(scorer) | Self::NetLines(scorer) => scorer.save(data.first_chunk_mut()?),
            Self::Adapter(adapter) => adapter.save(data).ok()?,
            Self::Detector(detector) => detector.save(data.first_chunk_mut()?),
            Self::Records(records) => *data.first_chunk_mut()? = records.to_le_bytes(),
        }
        Some(rest)
    }
}

/// What comes after the head of the next section, which has to be of `kind` and of `expected` bytes.
#[cfg(feature = "flash")]
#[inline(never)]
pub(crate) fn after_head(bytes: &[u8], kind: SectionKind, expected: usize) -> Result<&[u8], StateError> {
    let Some((&[a, b, c, d, e, f, g, h], rest)) = bytes.split_first_chunk::<SECTION_HEAD>() else {
        return Err(StateError::MissingSection { kind: kind as u16 });
    };
    let (kind, version, found) = (kind as u16, u16::from_le_bytes([c, d]), u32::from_le_bytes([e, f, g, h]) as usize);
    if u16::from_le_bytes([a, b]) != kind || version != VERSION {
        return Err(StateError::UnsupportedSection { kind: u16::from_le_bytes([a, b]), version });
    }
    if found != expected {
        return Err(StateError::SectionLength { kind, expected, found });
    }
    Ok(rest)
}

/// Writes sections, which have to come in ascending order of kind, all above `last`, into memory of their length.
pub(crate) fn write(mut out: &mut [u8], mut last: u16, sections: &mut [Section<'_>]) -> Result<(), StateError> {
    let (need, have) = (sections.iter().map(Section::bytes).sum(), out.len());
    for section in sections {
        let kind = section.kind() as u16;
        if kind <= last {
            return Err(StateError::SectionOrder { kind });
        }
        last = kind;
        out = section.write(out).ok_or(StateError::TooSmall { what: "sections of a snapshot", need, have })?;
    }
    Ok(())
}

/// The sections of a snapshot that was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found<'a> {
    state: Option<&'a [u8]>,
    pending: Option<u8>,
    lines: Option<&'a [u8; SAVED]>,
    adapter: Option<&'a [u8]>,
    records: Option<u32>,
    net_lines: Option<&'a [u8; SAVED]>,
    detector: Option<&'a [u8; detect::SAVED]>,
}

/// What was found, or that it was not asked for.
const fn there<T: Copy>(found: Option<T>, kind: SectionKind) -> Result<T, StateError> {
    match found {
        Some(section) => Ok(section),
        None => Err(StateError::MissingSection { kind: kind as u16 }),
    }
}

impl<'a> Found<'a> {
    pub(crate) const fn state(&self) -> Result<&'a [u8], StateError> {
        there(self.state, SectionKind::State)
    }

    pub(crate) const fn pending(&self) -> Result<u8, StateError> {
        there(self.pending, SectionKind::Pending)
    }

    pub(crate) const fn lines(&self) -> Result<&'a [u8; SAVED], StateError> {
        there(self.lines, SectionKind::Lines)
    }

    pub(crate) const fn adapter(&self) -> Result<&'a [u8], StateError> {
        there(self.adapter, SectionKind::Adapter)
    }

    pub(crate) const fn records(&self) -> Result<u32, StateError> {
        there(self.records, SectionKind::Records)
    }

    pub(crate) const fn net_lines(&self) -> Result<&'a [u8; SAVED], StateError> {
        there(self.net_lines, SectionKind::NetLines)
    }

    pub(crate) const fn detector(&self) -> Result<&'a [u8; detect::SAVED], StateError> {
        there(self.detector, SectionKind::Detector)
    }
}

/// Data of a length that its kind fixes.
fn fixed<const N: usize>(kind: u16, data: &[u8]) -> Result<&[u8; N], StateError> {
    data.try_into().map_err(|_| StateError::SectionLength { kind, expected: N, found: data.len() })
}

/// Reads the sections in `bytes`, which have to be `takes`.
pub(crate) fn parse(bytes: &[u8], takes: Sections) -> Result<Found<'_>, StateError> {
    let (mut found, mut kinds, mut last, mut rest) = (Found::default(), 0, 0, bytes);
    while !rest.is_empty() {
        let Some((&[a, b, c, d, e, f, g, h], data)) = rest.split_first_chunk::<SECTION_HEAD>() else {
            return Err(StateError::TrailingBytes { bytes: rest.len() });
        };
        let (kind, version) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let Some(known) = SectionKind::of(kind).filter(|_| version == VERSION) else {
            return Err(StateError::UnsupportedSection { kind, version });
        };
        if kind <= last {
            return Err(StateError::SectionOrder { kind });
        }
        last = kind;
        let expected = u32::from_le_bytes([e, f, g, h]) as usize;
        let error = StateError::SectionLength { kind, expected, found: data.len() };
        let (data, after) = data.split_at_checked(expected).ok_or(error)?;
        match known {
            SectionKind::State => found.state = Some(data),
            SectionKind::Pending => found.pending = Some(fixed::<1>(kind, data)?[0]),
            SectionKind::Lines => found.lines = Some(fixed(kind, data)?),
            SectionKind::Adapter => found.adapter = Some(data),
            SectionKind::Records => found.records = Some(u32::from_le_bytes(*fixed(kind, data)?)),
            SectionKind::NetLines => found.net_lines = Some(fixed(kind, data)?),
            SectionKind::Detector => found.detector = Some(fixed(kind, data)?),
        }
        kinds |= 1 << kind;
        rest = after;
    }
    takes.exactly(kinds)?;
    if let Some(data) = found.adapter {
        adapt::check(takes.preset, takes.adapter as usize, data).map_err(StateError::Adapter)?;
    }
    Ok(found)
}

impl Dims {
    /// Bytes of a snapshot of the state alone; [`Sections`] has those of others.
    pub const fn snapshot_bytes(&self) -> usize {
        Sections::STATE.snapshot_bytes(self)
    }
}
