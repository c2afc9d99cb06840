//! The state: everything that is carried from byte to byte, in memory of the caller.
//!
//! Per layer `d_conv - 1` columns of i16 convolution input and i16 `h`; the size depends on the model only, never on
//! how much was read. [`crate::snapshot`] saves it as bytes.
//!
//! `h` is state-major: the lanes of a vector are channels, so that any `d_state` fills any vector width, and a GPU's
//! reads coalesce.
//!
//! A [`State`] always has the length of its model's states: only [`Blob::parse`] says which model has which length
//! ([`ModelId`]), and every constructor takes both together. So code that has compared fingerprints need not compare
//! lengths.

use core::ops::DerefMut;

use crate::blob::{Blob, Fingerprint};
use crate::cannot::never;
use crate::snapshot::{self, Section, SectionKind, Sections, Snapshot};

pub use crate::snapshot::StateError;

/// Whose states they are and how long: fingerprint and number of elements, which only a parsed blob joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ModelId {
    fingerprint: Fingerprint,
    state_len: usize,
}

impl ModelId {
    /// No model: a stream that an adapter alone reads. The fingerprint is zero, the state has no elements.
    pub const NONE: Self = Self { fingerprint: [0; 16], state_len: 0 };

    /// Of the model in `blob`.
    pub const fn of(blob: &Blob<'_>) -> Self {
        Self { fingerprint: blob.fingerprint(), state_len: blob.dims().state_len() }
    }

    /// Fingerprint of the model.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Elements of a state, `Dims::state_len`.
    pub const fn state_len(&self) -> usize {
        self.state_len
    }
}

/// The recurrent state of one stream, in caller-owned memory: `&mut [i16]` on a device, a `Vec<i16>` on a host.
#[derive(Debug)]
pub struct State<M> {
    memory: M,
    model: ModelId,
    position: u64,
}

impl State<&'static mut [i16]> {
    /// The state where there is no model: nothing but a position. It is saved and loaded as any other.
    pub fn without_model() -> Self {
        Self { memory: &mut [], model: ModelId::NONE, position: 0 }
    }
}

impl<M: DerefMut<Target = [i16]>> State<M> {
    /// The zero state of `blob` in `memory` (`Dims::state_len` elements; more is ignored).
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn new(blob: &Blob<'_>, memory: M) -> Result<Self, StateError> {
        let model = ModelId::of(blob);
        let (need, have) = (model.state_len, memory.len());
        if have < need {
            return Err(StateError::TooSmall { what: "state memory", need, have });
        }
        let mut state = Self { memory, model, position: 0 };
        state.reset();
        Ok(state)
    }

    /// A state from its parts: for code that runs a model elsewhere, such as on a GPU, and exchanges snapshots with
    /// this crate. `memory` holds exactly the elements of a state of `model`, after `position` bytes.
    ///
    /// # Errors
    /// [`StateError::Length`].
    pub fn from_parts(model: ModelId, memory: M, position: u64) -> Result<Self, StateError> {
        let (expected, found) = (model.state_len, memory.len());
        if found != expected {
            return Err(StateError::Length { expected, found });
        }
        Ok(Self { memory, model, position })
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
        self.model.fingerprint
    }

    /// The model that this state belongs to.
    pub const fn model(&self) -> ModelId {
        self.model
    }

    /// The raw elements, layer by layer.
    pub fn as_slice(&self) -> &[i16] {
        self.memory.get(..self.model.state_len).unwrap_or_else(|| never("a state is as long as its model's", &[]))
    }

    pub(crate) fn elements_mut(&mut self) -> &mut [i16] {
        let elements = self.memory.get_mut(..self.model.state_len);
        elements.unwrap_or_else(|| never("a state is as long as its model's", &mut []))
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

    /// The elements of each layer of `blob`, for code that runs layers itself
    /// ([`Prefill::layer`](crate::Prefill::layer)).
    pub fn layers_mut(&mut self, blob: &Blob<'_>) -> core::slice::ChunksExactMut<'_, i16> {
        debug_assert_eq!(self.model, ModelId::of(blob), "the layers of a state of another model");
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
        if self.model != other.model {
            let (expected, found) = (self.fingerprint(), other.fingerprint());
            return Err(StateError::ForeignModel { expected, found });
        }
        self.elements_mut().copy_from_slice(other.as_slice());
        self.position = other.position;
        Ok(())
    }

    /// Writes a snapshot of the state alone into `out` and returns its length, `Dims::snapshot_bytes`.
    ///
    /// # Errors
    /// [`StateError::TooSmall`].
    pub fn snapshot(&self, out: &mut [u8]) -> Result<usize, StateError> {
        self.snapshot_with(&mut [], out)
    }

    /// Writes a snapshot of the state and the sections `beside` it, which come in ascending order of kind, and returns
    /// its length: [`Sections::snapshot_bytes`].
    ///
    /// # Errors
    /// [`StateError::TooSmall`]; [`StateError::SectionOrder`], also for a second state.
    pub fn snapshot_with(&self, beside: &mut [Section<'_>], out: &mut [u8]) -> Result<usize, StateError> {
        snapshot::save(out, self.fingerprint(), self.position, self.as_slice(), beside)
    }

    /// Replaces this state by a snapshot that holds nothing but a state. Continuing gives the same bits as never having
    /// stopped.
    ///
    /// # Errors
    /// Every error of [`Snapshot::parse`] and of [`State::load`]: a foreign, truncated, oversized or damaged snapshot
    /// is refused, and so is one that holds more than a state. The state is then untouched.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), StateError> {
        self.load(&Snapshot::parse(snapshot, Sections::STATE)?)
    }

    /// Replaces this state by that of a snapshot; the caller takes what else the snapshot holds.
    ///
    /// # Errors
    /// [`StateError::ForeignModel`], [`StateError::SectionLength`]; the state is then untouched.
    pub fn load(&mut self, snapshot: &Snapshot<'_>) -> Result<(), StateError> {
        let (expected, found) = (self.fingerprint(), snapshot.fingerprint());
        if found != expected {
            return Err(StateError::ForeignModel { expected, found });
        }
        let elements = snapshot.state()?;
        let own: &mut [u8] = bytemuck::cast_slice_mut(self.elements_mut());
        let (kind, expected, found) = (SectionKind::State as u16, own.len(), elements.len());
        if found != expected {
            return Err(StateError::SectionLength { kind, expected, found });
        }
        own.copy_from_slice(elements);
        self.position = snapshot.position();
        Ok(())
    }
}
