//! The f32 model over whole texts: [`Checkpoint`] + the oracle step of `mambabyte-core`.

use mambabyte_core::oracle::{LayerF32, ModelF32, Probe, ShapeError, StepF32, scratch_len, state_len};
use mambabyte_core::{Dims, VOCAB};

use crate::Checkpoint;

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
        if let Some((name, found, low, high)) = checkpoint.dims.out_of_bounds() {
            return Err(ModelError::Dimension { name, found, low, high });
        }
        let a = checkpoint.layers.iter().map(|l| l.a_log.iter().map(|&a| -a.exp()).collect()).collect();
        let model = Self { checkpoint, a };
        let dims = model.dims();
        let (mut state, mut scratch) = (vec![0.0; state_len(dims)], vec![0.0; scratch_len(dims)]);
        StepF32::new(model.view(&model.layers()), &mut state, &mut scratch)?;
        Ok(model)
    }

    /// The shape.
    pub fn dims(&self) -> &Dims {
        &self.checkpoint.dims
    }

    /// The weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// `A = -exp(A_log)` of layer `index`, `[d_inner, d_state]`.
    pub fn a(&self, index: usize) -> &[f32] {
        &self.a[index]
    }

    fn layers(&self) -> Vec<LayerF32<'_>> {
        let both = self.checkpoint.layers.iter().zip(&self.a);
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

    fn view<'a>(&'a self, layers: &'a [LayerF32<'a>]) -> ModelF32<'a> {
        let c = &self.checkpoint;
        ModelF32 {
            dims: c.dims,
            norm_eps: c.norm_eps,
            embedding: &c.embedding,
            layers,
            norm_f: &c.norm_f,
            norm_f_bias: &c.norm_f_bias,
            head: c.head.as_ref().unwrap_or(&c.embedding),
        }
    }

    /// A stream at the zero state.
    pub fn session(&self) -> Session<'_> {
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

/// One stream through a [`Model`].
#[derive(Clone, Debug)]
pub struct Session<'a> {
    model: &'a Model,
    layers: Vec<LayerF32<'a>>,
    state: Vec<f32>,
    scratch: Vec<f32>,
    logits: [f32; VOCAB],
}

impl Session<'_> {
    /// Reads one byte; natural logits of the next one.
    pub fn step(&mut self, byte: u8) -> &[f32; VOCAB] {
        self.step_probed(byte, &mut ())
    }

    /// As [`Session::step`], showing activations to `probe`.
    pub fn step_probed(&mut self, byte: u8, probe: &mut impl Probe) -> &[f32; VOCAB] {
        let view = self.model.view(&self.layers);
        // `Model::new` has made this very step once, so every length is right.
        if let Ok(mut step) = StepF32::new(view, &mut self.state, &mut self.scratch) {
            step.step_probed(byte, &mut self.logits, probe);
        }
        &self.logits
    }

    /// Back to the zero state.
    pub fn reset(&mut self) {
        self.state.fill(0.0);
    }

    /// The state: per layer convolution input, then h.
    pub fn state(&self) -> &[f32] {
        &self.state
    }
}
