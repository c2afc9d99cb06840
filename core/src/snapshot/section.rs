//! The sections of a snapshot: which there are, how long they are, how one is written and read.

use super::error::{StateError, section_name};
use crate::cannot::never;
use crate::dims::Dims;
use crate::lines::{LineScorer, SAVED};

/// Bytes of a snapshot before its sections.
pub const HEADER: usize = 40;
/// Bytes of a section before its data: u16 kind, u16 version, u32 bytes of data.
pub const SECTION_HEAD: usize = 8;
/// Version of every kind that is read and written; each kind has its own.
const VERSION: u16 = 1;

/// What a section holds. Numbers are part of the format; 4 is kept for an adapter that learns from the stream.
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
    /// Records that a device has sent, u32.
    Records = 5,
}

impl SectionKind {
    /// All of them, in ascending order.
    pub const ALL: [Self; 4] = [Self::State, Self::Pending, Self::Lines, Self::Records];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        section_name(self as u16)
    }

    /// The kind with a number.
    fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u16 == number)
    }

    /// Bytes of its data; those of the state depend on the model.
    const fn fixed_bytes(self) -> Option<usize> {
        match self {
            Self::State => None,
            Self::Pending => Some(1),
            Self::Lines => Some(SAVED),
            Self::Records => Some(4),
        }
    }
}

/// A set of sections. The state is in each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sections(u8);

impl Sections {
    /// The state alone: what [`State::snapshot`](crate::State::snapshot) writes.
    pub const STATE: Self = Self(1 << SectionKind::State as u8);
    /// A stream that is scored: state, pending byte, line scorer.
    pub const STREAM: Self = Self::STATE.with(SectionKind::Pending).with(SectionKind::Lines);
    /// A device that scores a stream: [`Sections::STREAM`] and the number of its records.
    pub const DEVICE: Self = Self::STREAM.with(SectionKind::Records);

    /// These and one more.
    pub const fn with(self, kind: SectionKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Whether a section is among them.
    pub const fn has(self, kind: SectionKind) -> bool {
        self.0 >> (kind as u8) & 1 == 1
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
        HEADER + SECTION_HEAD + dims.state_bytes() + self.beside_state()
    }

    /// Bytes of the sections that are not the state: what comes after the state in flash.
    pub const fn beside_state(self) -> usize {
        let (mut bytes, mut i) = (0, 0);
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
        self.0
    }

    /// Whether there are exactly these sections, given those there are as [`Sections::bits`].
    pub(crate) const fn exactly(self, found: u8) -> Result<(), StateError> {
        let (unwanted, missing) = (found & !self.0, self.0 & !found);
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
#[derive(Clone, Copy, Debug)]
pub enum Section<'a> {
    /// [`SectionKind::State`]: its elements.
    State(&'a [i16]),
    /// [`SectionKind::Pending`].
    Pending(u8),
    /// [`SectionKind::Lines`].
    Lines(&'a LineScorer),
    /// [`SectionKind::Records`].
    Records(u32),
}

impl Section<'_> {
    /// Its kind.
    pub const fn kind(&self) -> SectionKind {
        match self {
            Self::State(_) => SectionKind::State,
            Self::Pending(_) => SectionKind::Pending,
            Self::Lines(_) => SectionKind::Lines,
            Self::Records(_) => SectionKind::Records,
        }
    }

    /// Its bytes, head included.
    pub const fn bytes(&self) -> usize {
        let data = match (self, self.kind().fixed_bytes()) {
            (Self::State(elements), _) => size_of_val(*elements),
            (_, Some(fixed)) => fixed,
            (_, None) => 0,
        };
        SECTION_HEAD + data
    }

    /// Writes it to the start of `out`; returns what is left, `None` if there is too little room.
    // Inlined: on a chip the kinds are constants, and their lengths with them.
    #[inline(always)]
    pub(crate) fn write<'o>(&self, out: &'o mut [u8]) -> Option<&'o mut [u8]> {
        let (section, rest) = out.split_at_mut_checked(self.bytes())?;
        let (head, data) = section.split_first_chunk_mut::<SECTION_HEAD>()?;
        let [a, b] = (self.kind() as u16).to_le_bytes();
        let [c, d] = VERSION.to_le_bytes();
        let [e, f, g, h] = (data.len() as u32).to_le_bytes();
        *head = [a, b, c, d, e, f, g, h];
        match *self {
            Self::State(elements) => {
                let elements: &[u8] = bytemuck::cast_slice(elements);
                if data.len() != elements.len() {
                    return never("the section was cut to the length of its elements", None);
                }
                data.copy_from_slice(elements);
            }
            Self::Pending(byte) => *data.first_chunk_mut()? = [byte],
            Self::Lines(scorer) => scorer.save(data.first_chunk_mut()?),
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
pub(crate) fn write(mut out: &mut [u8], mut last: u16, sections: &[Section<'_>]) -> Result<(), StateError> {
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
    records: Option<u32>,
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

    pub(crate) const fn records(&self) -> Result<u32, StateError> {
        there(self.records, SectionKind::Records)
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
            SectionKind::Records => found.records = Some(u32::from_le_bytes(*fixed(kind, data)?)),
        }
        kinds |= 1 << kind;
        rest = after;
    }
    takes.exactly(kinds)?;
    Ok(found)
}

impl Dims {
    /// Bytes of a snapshot of the state alone; [`Sections`] has those of others.
    pub const fn snapshot_bytes(&self) -> usize {
        Sections::STATE.snapshot_bytes(self)
    }
}
