//! The f32 model over whole texts: [`Checkpoint`] + the oracle step of `mambabyte-core`.

use mambabyte_core::oracle::{LayerF32, ModelF32, NotFinite, Probe, ShapeError, StepF32, scratch_len, state_len};
use mambabyte_core::{Dims, LOGIT_SCALE, Logits, VOCAB};

use crate::Checkpoint;

mod symbols;
pub use symbols::Symbols;

/// Why a checkpoint is no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A dimension outside what this software supports.
    #[error("{name} = {found} is outside {low}..={high}")]
    Dimension {
        /// Name of the dimension.
        name: &'static str,
        /// Its value.
        found: usize,
        /// Smallest value allowed.
        low: usize,
        /// Largest value allowed.
        high: usize,
    },
    /// A tensor of the wrong size.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A model ready to run in f32.
#[derive(Clone, Debug)]
pub struct Model {
    checkpoint: Checkpoint,
    /// `-exp(A_log)` of each layer.
    a: Vec<Vec<f32>>,
}

impl Model {
    /// Checks every size.
    ///
    /// # Errors
    /// [`ModelError`] names the dimension or tensor.
    pub fn new(checkpoint: Checkpoint) -> Result<Self, ModelError> {
        let a = check(&checkpoint)?;
        Ok(Self { checkpoint, a })
    }

    /// A model over other symbols than bytes: as many as the embedding has rows, up to 65,536. It can be trained, and
    /// has [`Model::symbols`] instead of [`Model::session`].
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn of_symbols(checkpoint: Checkpoint) -> Result<Self, ModelError> {
        let d_model = checkpoint.dims.d_model;
        let (len, found) = (checkpoint.embedding.len(), checkpoint.vocabulary());
        if found == VOCAB {
            return Self::new(checkpoint);
        }
        if !(1..=1 << 16).contains(&found) {
            return Err(ModelError::Dimension { name: "vocabulary", found, low: 1, high: 1 << 16 });
        }
        let tensors = [("embedding", len), ("head", checkpoint.head.as_ref().map_or(len, Vec::len))];
        if let Some(&(tensor, have)) = tensors.iter().find(|(_, have)| *have != found * d_model) {
            let layer = checkpoint.dims.n_layer;
            return Err(ShapeError { layer, tensor, need: found * d_model, have }.into());
        }
        // All else is checked beside tables of the size of bytes.
        let table = vec![0.0; VOCAB * d_model];
        let head = checkpoint.head.as_ref().map(|_| table.clone());
        let like = Checkpoint { embedding: table, head, ..checkpoint.clone() };
        let a = check(&like)?;
        Ok(Self { checkpoint, a })
    }

    /// The shape.
    pub fn dims(&self) -> &Dims {
        &self.checkpoint.dims
    }

    /// The weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Changes the weights in their place.
    ///
    /// # Errors
    /// [`ModelError`] names the dimension or tensor if the change has given one another size; the model is none then.
    pub fn update(&mut self, change: impl FnOnce(&mut Checkpoint)) -> Result<(), ModelError> {
        change(&mut self.checkpoint);
        if self.checkpoint.vocabulary() == VOCAB {
            self.a = check(&self.checkpoint)?;
        } else {
            *self = Self::of_symbols(self.checkpoint.clone())?;
        }
        Ok(())
    }

    /// `A = -exp(A_log)` of layer `index`, `[d_inner, d_state]`.
    pub fn a(&self, index: usize) -> &[f32] {
        &self.a[index]
    }

    fn layers(&self) -> Vec<LayerF32<'_>> {
        layers(&self.checkpoint, &self.a)
    }

    /// A stream at the zero state.
    ///
    /// # Panics
    /// If the model reads other symbols than bytes, see [`Model::of_symbols`].
    pub fn session(&self) -> Session<'_> {
        assert_eq!(self.checkpoint.vocabulary(), VOCAB, "a model of bytes");
        let dims = self.dims();
        Session {
            model: self,
            layers: self.layers(),
            state: vec![0.0; state_len(dims)],
            scratch: vec![0.0; scratch_len(dims)],
            logits: [0.0; VOCAB],
        }
    }
}

/// Checks every size of a checkpoint; `-exp(A_log)` of each layer.
fn check(checkpoint: &Checkpoint) -> Result<Vec<Vec<f32>>, ModelError> {
    let dims = &checkpoint.dims;
    if let Some((name, found, low, high)) = dims.out_of_bounds() {
        return Err(ModelError::Dimension { name, found, low, high });
    }
    let a: Vec<Vec<f32>> = checkpoint.layers.iter().map(|l| l.a_log.iter().map(|&a| -a.exp()).collect()).collect();
    let (mut state, mut scratch) = (vec![0.0; state_len(dims)], vec![0.0; scratch_len(dims)]);
    StepF32::new(view(checkpoint, &layers(checkpoint, &a)), &mut state, &mut scratch)?;
    Ok(a)
}

impl Checkpoint {
    /// Whether it is a model: every dimension is supported and every tensor has its size.
    ///
    /// # Errors
    /// [`ModelError`] names the dimension or tensor.
    pub fn check(&self) -> Result<(), ModelError> {
        check(self).map(|_| ())
    }
}

fn layers<'a>(checkpoint: &'a Checkpoint, a: &'a [Vec<f32>]) -> Vec<LayerF32<'a>> {
    let both = checkpoint.layers.iter().zip(a);
    both.map(|(l, a)| LayerF32 {
        norm: &l.norm,
        norm_bias: &l.norm_bias,
        in_proj: &l.in_proj,
        conv1d: &l.conv1d,
        conv_bias: &l.conv_bias,
        x_proj: &l.x_proj,
        dt_proj: &l.dt_proj,
        dt_bias: &l.dt_bias,
        a,
        d_skip: &l.d_skip,
        out_proj: &l.out_proj,
    })
    .collect()
}

fn view<'a>(checkpoint: &'a Checkpoint, layers: &'a [LayerF32<'a>]) -> ModelF32<'a> {
    ModelF32 {
        dims: checkpoint.dims,
        norm_eps: checkpoint.norm_eps,
        embedding: &checkpoint.embedding,
        layers,
        norm_f: &checkpoint.norm_f,
        norm_f_bias: &checkpoint.norm_f_bias,
        head: checkpoint.head.as_ref().unwrap_or(&checkpoint.embedding),
    }
}

/// Natural logits are below this in magnitude: units of [`LOGIT_SCALE`] in an i32 hold no more.
pub const LOGIT_LIMIT: f32 = 22_713.0;

/// A logit that is not below [`LOGIT_LIMIT`] in magnitude, NaN among them. One comparison at the end, so that looking is
/// vectors.
pub(crate) fn unfit(logits: &[f32]) -> Option<f32> {
    let largest = logits.iter().fold(0, |most, l| most.max(l.to_bits() & 0x7fff_ffff));
    // The bits of magnitudes are in their order, NaN after infinity.
    (largest >= LOGIT_LIMIT.to_bits()).then(|| f32::from_bits(largest))
}

/// Natural logits in the units of [`mambabyte_core::Logits`], for the core's sampler. They are below [`LOGIT_LIMIT`].
pub fn logit_units(logits: &[f32; VOCAB]) -> Logits {
    logits.map(|l| (l * (1.0 / LOGIT_SCALE) as f32).round_ties_even() as i32)
}

/// One stream through a [`Model`].
#[derive(Clone, Debug)]
pub struct Session<'a> {
    model: &'a Model,
    layers: Vec<LayerF32<'a>>,
    state: Vec<f32>,
    scratch: Vec<f32>,
    logits: [f32; VOCAB],
}

impl<'a> Session<'a> {
    /// The model.
    pub const fn model(&self) -> &'a Model {
        self.model
    }

    /// Takes over the state of another stream of the same model.
    pub(crate) fn copy_state(&mut self, other: &Self) {
        self.state.copy_from_slice(&other.state);
    }

    /// Reads one byte; natural logits of the next one.
    ///
    /// # Errors
    /// [`NotFinite`] names the layer; the state is lost then, until [`Session::reset`].
    pub fn step(&mut self, byte: u8) -> Result<&[f32; VOCAB], NotFinite> {
        self.step_probed(byte, &mut ())
    }

    /// As [`Session::step`], showing activations to `probe`.
    ///
    /// # Errors
    /// As [`Session::step`].
    pub fn step_probed(&mut self, byte: u8, probe: &mut impl Probe) -> Result<&[f32; VOCAB], NotFinite> {
        let view = view(&self.model.checkpoint, &self.layers);
        // `Model::new` has made the same step once, so every length is right.
        if let Ok(mut step) = StepF32::new(view, &mut self.state, &mut self.scratch) {
            step.step_probed(byte, &mut self.logits, probe)?;
        }
        Ok(&self.logits)
    }

    /// Back to the zero state.
    pub fn reset(&mut self) {
        self.state.fill(0.0);
    }

    /// The state: for each layer the convolution's input, then h.
    pub fn state(&self) -> &[f32] {
        &self.state
    }
}
