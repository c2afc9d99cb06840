//! The state: everything that is carried from byte to byte, in memory of the caller.
//!
//! Per layer `d_conv - 1` columns of i16 convolution input and i16 `h`; the size depends on the model only, never on
//! how much was read. A *snapshot* is the same memory behind a header (version, fingerprint of the model, byte
//! position, CRC-32), little-endian, in this layout:
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | `[u8; 4]` | magic `MBS\x1a` |
//! | 4 | u16 | version, 1 |
//! | 6 | u16 | zero |
//! | 8 | `[u8; 16]` | fingerprint of the model |
//! | 24 | u64 | position: bytes read since the zero state |
//! | 32 | u32 | bytes of the payload |
//! | 36 | u32 | CRC-32 of bytes 0..36 and of the payload |
//! | 40 | `[i16]` | per layer: `[d_conv - 1, d_inner]` columns, oldest first; `[d_state, d_inner]` h |
//!
//! `h` is state-major: the lanes of a vector are channels, so that any `d_state` fills any vector width, and a GPU's
//! reads coalesce.

use core::ops::DerefMut;

use crate::blob::{Blob, CRC32, Fingerprint, array_at};

/// Bytes of a snapshot before the payload.
pub const SNAPSHOT_HEADER: usize = 40;
/// Version of the snapshot format.
pub const SNAPSHOT_VERSION: u16 = 1;
const SNAPSHOT_MAGIC: [u8; 4] = *b"MBS\x1a";

/// Why memory or a snapshot was refused. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StateError {
    /// The memory is smaller than the model needs.
    TooSmall {
        /// What the memory is for.
        what: &'static str,
        /// Elements or bytes needed.
        need: usize,
        /// Elements or bytes given.
        have: usize,
    },
    /// The state belongs to another model.
    ForeignModel {
        /// Fingerprint expected.
        expected: Fingerprint,
        /// Fingerprint found.
        found: Fingerprint,
    },
    /// Not a snapshot.
    BadMagic,
    /// A snapshot version that this code does not read.
    UnsupportedVersion {
        /// Version found.
        found: u16,
    },
    /// The snapshot has another length than its model's.
    Length {
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A reserved field is not zero.
    Reserved {
        /// Its value.
        found: u16,
    },
    /// CRC-32 of the snapshot.
    Checksum {
        /// CRC stored.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    },
}

impl core::fmt::Display for StateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::TooSmall { what, need, have } => write!(f, "{what}: {need} needed, {have} given"),
            Self::ForeignModel { expected, found } => {
                write!(f, "state of another model: fingerprint ")?;
                found.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                write!(f, ", this model is ")?;
                expected.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            Self::BadMagic => write!(f, "not a MambaByte snapshot"),
            Self::UnsupportedVersion { found } => {
                write!(f, "snapshot version {found}, this build reads version {SNAPSHOT_VERSION}")
            }
            Self::Length { expected, found } => write!(f, "snapshot of {found} bytes, this model's have {expected}"),
            Self::Reserved { found } => write!(f, "reserved field of the snapshot is {found:#x}, not zero"),
            Self::Checksum { stored, computed } => {
                write!(f, "snapshot CRC-32 is {computed:08x}, the file says {stored:08x}")
            }
        }
    }
}

impl core::error::Error for StateError {}

impl crate::dims::Dims {
    /// Bytes of a snapshot of the state: header and payload.
    pub const fn snapshot_bytes(&self) -> usize {
        SNAPSHOT_HEADER + self.state_bytes()
    }
}

/// The recurrent state of one stream, in caller-owned memory: `&mut [i16]` on a device, a `Vec<i16>` on a host.
#[derive(Debug)]
pub struct State<M> {
    memory: M,
    len: usize,
    fingerprint: Fingerprint,
    position: u64,
}

impl<M: DerefMut<Target = [i16]>> State<M> {
    /// The zero state of `blob` in `memory` (`Dims::state_len` elements; more is ignored).
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn new(blob: &Blob<'_>, memory: M) -> Result<Self, StateError> {
        let (need, have) = (blob.dims().state_len(), memory.len());
        if have < need {
            return Err(StateError::TooSmall { what: "state memory", need, have });
        }
        let mut state = Self { memory, len: need, fingerprint: blob.fingerprint(), position: 0 };
        state.reset();
        Ok(state)
    }

    /// A state from its parts: for code that runs a model elsewhere, such as on a GPU, and exchanges snapshots with
    /// this crate. `memory` holds exactly the model's `Dims::state_len` elements.
    pub fn from_parts(memory: M, fingerprint: Fingerprint, position: u64) -> Self {
        Self { len: memory.len(), memory, fingerprint, position }
    }

    /// Back to the state before the first byte.
    pub fn reset(&mut self) {
        self.elements_mut().fill(0);
        self.position = 0;
    }

    /// Bytes read since the zero state.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Fingerprint of the model that this state belongs to.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The raw elements, layer by layer.
    pub fn as_slice(&self) -> &[i16] {
        self.memory.get(..self.len).unwrap_or(&[])
    }

    pub(crate) fn elements_mut(&mut self) -> &mut [i16] {
        self.memory.get_mut(..self.len).unwrap_or(&mut [])
    }

    /// For a state whose elements were loaded piece by piece.
    #[cfg(feature = "flash")]
    pub(crate) const fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// Counts a byte and lends the elements to the step.
    pub(crate) fn advance(&mut self) -> &mut [i16] {
        self.count(1);
        self.elements_mut()
    }

    /// The elements of each layer of `blob`, for code that runs layers itself ([`Prefill::layer`](crate::Prefill)).
    pub fn layers_mut(&mut self, blob: &Blob<'_>) -> core::slice::ChunksExactMut<'_, i16> {
        self.elements_mut().chunks_exact_mut(blob.dims().layer_state_len().max(1))
    }

    /// Adds to the position: the layers have read `bytes` more.
    pub const fn count(&mut self, bytes: u64) {
        self.position = self.position.wrapping_add(bytes);
    }

    /// Makes this state equal to `other`: one memcpy. Speculation and search are built on it.
    ///
    /// # Errors
    /// [`StateError::ForeignModel`] if `other` belongs to another model.
    pub fn clone_from<N: DerefMut<Target = [i16]>>(&mut self, other: &State<N>) -> Result<(), StateError> {
        if self.fingerprint != other.fingerprint || self.len != other.len {
            return Err(StateError::ForeignModel { expected: self.fingerprint, found: other.fingerprint });
        }
        self.elements_mut().copy_from_slice(other.as_slice());
        self.position = other.position;
        Ok(())
    }

    /// Writes a snapshot into `out` and returns its length, `Dims::snapshot_bytes`.
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn snapshot(&self, out: &mut [u8]) -> Result<usize, StateError> {
        let payload: &[u8] = bytemuck::cast_slice(self.as_slice());
        let (need, have) = (SNAPSHOT_HEADER + payload.len(), out.len());
        let error = StateError::TooSmall { what: "snapshot buffer", need, have };
        let out = out.get_mut(..need).ok_or(error)?;
        let (header, body) = out.split_first_chunk_mut::<SNAPSHOT_HEADER>().ok_or(error)?;
        header[..4].copy_from_slice(&SNAPSHOT_MAGIC);
        header[4..6].copy_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        header[6..8].fill(0);
        header[8..24].copy_from_slice(&self.fingerprint);
        header[24..32].copy_from_slice(&self.position.to_le_bytes());
        header[32..36].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        body.copy_from_slice(payload);
        let crc = snapshot_crc(header, body);
        header[36..40].copy_from_slice(&crc.to_le_bytes());
        Ok(need)
    }

    /// Replaces this state by a snapshot. Continuing gives the same bits as never having stopped.
    ///
    /// # Errors
    /// Every [`StateError`]: a foreign, truncated, oversized or damaged snapshot is refused, the state is untouched.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), StateError> {
        let expected = SNAPSHOT_HEADER + 2 * self.len;
        let Some((header, body)) = snapshot.split_at_checked(SNAPSHOT_HEADER) else {
            return Err(StateError::Length { expected, found: snapshot.len() });
        };
        if array_at(header, 0) != SNAPSHOT_MAGIC {
            return Err(StateError::BadMagic);
        }
        let version = u16::from_le_bytes(array_at(header, 4));
        if version != SNAPSHOT_VERSION {
            return Err(StateError::UnsupportedVersion { found: version });
        }
        let found: Fingerprint = array_at(header, 8);
        if found != self.fingerprint {
            return Err(StateError::ForeignModel { expected: self.fingerprint, found });
        }
        let length = u32::from_le_bytes(array_at(header, 32)) as usize;
        let payload: &mut [u8] = bytemuck::cast_slice_mut(self.elements_mut());
        if length != payload.len() || body.len() != payload.len() {
            return Err(StateError::Length { expected, found: snapshot.len() });
        }
        let stored = u32::from_le_bytes(array_at(header, 36));
        let computed = snapshot_crc(header, body);
        if stored != computed {
            return Err(StateError::Checksum { stored, computed });
        }
        let reserved = u16::from_le_bytes(array_at(header, 6));
        if reserved != 0 {
            return Err(StateError::Reserved { found: reserved });
        }
        payload.copy_from_slice(body);
        self.position = u64::from_le_bytes(array_at(header, 24));
        Ok(())
    }
}

fn snapshot_crc(header: &[u8], body: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    digest.update(header.get(..36).unwrap_or(&[]));
    digest.update(body);
    digest.finalize()
}
