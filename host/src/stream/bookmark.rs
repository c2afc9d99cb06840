//! Where a text was left: [`Bookmark`].

use mambabyte_core::State;
use mambabyte_core::snapshot::{Section, Sections, Snapshot};

use crate::adapt::{AnyAdapter, Preset};
use crate::engine::EngineError;

/// A place in a text: what the bytes that come depend on.
///
/// It is saved as a snapshot of a stream is, without what scores lines; the snapshot of a stream that was scored is a
/// place, too. How bytes are chosen is not in it: who goes on begins with random numbers of their own.
#[derive(Debug)]
pub struct Bookmark {
    /// The net's state, which has read all of the text but `pending`; `None` without a net.
    pub state: Option<State<Vec<i16>>>,
    /// The last byte of the text; 0x00 at the beginning.
    pub pending: u8,
    /// What has read the text beside the net, or alone.
    pub adapter: Option<AnyAdapter>,
}

impl Bookmark {
    /// The place as a snapshot.
    ///
    /// # Errors
    /// None for a state that an engine gave.
    pub fn save(&mut self) -> Result<Vec<u8>, EngineError> {
        let sections = sections(self.adapter.as_ref().map(AnyAdapter::preset));
        let mut beside = vec![Section::Pending(self.pending)];
        beside.extend(self.adapter.as_mut().map(|adapter| Section::Adapter(adapter)));
        let mut out = vec![0; sections.bytes_without_model()];
        match &self.state {
            Some(state) => {
                out.resize(out.len() + size_of_val(state.as_slice()), 0);
                state.snapshot_with(&mut beside, &mut out)
            }
            None => State::without_model().snapshot_with(&mut beside, &mut out),
        }?;
        Ok(out)
    }

    /// The place in `saved`: a snapshot of [`Bookmark::save`], or of a stream or device that was scored. What scored it is
    /// left out, an adapter never.
    ///
    /// * `state`: any state of the net, which is replaced; `None` without a net.
    /// * `adapter`: of the preset that the snapshot must have; `None` if it must have none.
    ///
    /// # Errors
    /// [`EngineError::State`] for a snapshot that is damaged, of another net or preset, or without a pending byte.
    pub fn load(
        saved: &[u8],
        mut state: Option<State<Vec<i16>>>,
        adapter: Option<AnyAdapter>,
    ) -> Result<Self, EngineError> {
        let saved = Snapshot::parse(saved, sections(adapter.as_ref().map(AnyAdapter::preset)).judged_or_not())?;
        match &mut state {
            Some(state) => state.load(&saved)?,
            None => State::without_model().load(&saved)?,
        }
        let mut place = Self { state, pending: saved.pending()?, adapter };
        if let Some(adapter) = &mut place.adapter {
            // The snapshot was asked for this preset: it was checked.
            adapter.load(saved.adapter()?).map_err(mambabyte_core::StateError::Adapter)?;
        }
        Ok(place)
    }
}

/// What a text is saved as.
fn sections(adapter: Option<Preset>) -> Sections {
    match adapter {
        Some(preset) => Sections::TEXT.with_adapter(&preset.design()),
        None => Sections::TEXT,
    }
}
