//! One stream of symbols other than bytes: [`Symbols`].

use mambabyte_core::VOCAB;
use mambabyte_core::oracle::{LayerF32, ModelF32, NotFinite, Probe, Site, StepF32, scratch_len, state_len};
use ndarray::linalg::general_mat_vec_mul;
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1};

use super::{Model, ModelError, layers};

/// One stream through a [`Model`] of any vocabulary of at least 256 symbols.
///
/// The step is that of bytes: it sees 256 rows of the embedding, those that the symbol is among. Only the head is computed
/// here, for all symbols.
#[derive(Clone, Debug)]
pub struct Symbols<'a> {
    model: &'a Model,
    layers: Vec<LayerF32<'a>>,
    state: Vec<f32>,
    scratch: Vec<f32>,
    /// `[d_model]`: what the head reads.
    u: Vec<f32>,
    logits: Vec<f32>,
}

impl Model {
    /// A stream of symbols at the zero state.
    ///
    /// # Errors
    /// [`ModelError::Dimension`] for a vocabulary of fewer than 256 symbols.
    pub fn symbols(&self) -> Result<Symbols<'_>, ModelError> {
        let (dims, found) = (self.dims(), self.checkpoint.vocabulary());
        if found < VOCAB {
            return Err(ModelError::Dimension { name: "vocabulary", found, low: VOCAB, high: 1 << 16 });
        }
        Ok(Symbols {
            model: self,
            layers: layers(&self.checkpoint, &self.a),
            state: vec![0.0; state_len(dims)],
            scratch: vec![0.0; scratch_len(dims)],
            u: vec![0.0; dims.d_model],
            logits: vec![0.0; found],
        })
    }
}

/// Takes what the head reads.
struct HeadIn<'u>(&'u mut [f32]);

impl Probe for HeadIn<'_> {
    fn record(&mut self, _: usize, site: Site, values: &[f32]) {
        if site == Site::HeadIn {
            self.0.copy_from_slice(values);
        }
    }
}

impl Symbols<'_> {
    /// Reads a symbol, which is below the vocabulary; natural logits of the next one, `[vocabulary]`.
    ///
    /// # Errors
    /// [`NotFinite`] names the layer; the state is lost then.
    ///
    /// # Panics
    /// If there is no such symbol.
    /// # Cost
    /// One multiply-add per weight.
    pub fn step(&mut self, symbol: u16) -> Result<&[f32], NotFinite> {
        let (c, d, rows) = (&self.model.checkpoint, self.model.dims().d_model, self.logits.len());
        assert!(usize::from(symbol) < rows, "symbol {symbol} of {rows}");
        let head = c.head.as_ref().unwrap_or(&c.embedding);
        let first = usize::from(symbol).min(rows - VOCAB);
        let view = ModelF32 {
            dims: c.dims,
            norm_eps: c.norm_eps,
            embedding: &c.embedding[first * d..][..VOCAB * d],
            layers: &self.layers,
            norm_f: &c.norm_f,
            norm_f_bias: &c.norm_f_bias,
            head: &head[..VOCAB * d],
        };
        // `Model::of_symbols` has made the same step once, so every length is right.
        if let Ok(mut step) = StepF32::new(view, &mut self.state, &mut self.scratch) {
            let within = (usize::from(symbol) - first) as u8;
            step.step_probed(within, &mut [0.0; VOCAB], &mut HeadIn(&mut self.u))?;
        }
        // `Model::of_symbols` knows that the head has a row of d_model for each symbol.
        if let Ok(head) = ArrayView2::from_shape((rows, d), &head[..]) {
            let (u, mut logits) = (ArrayView1::from(&self.u[..]), ArrayViewMut1::from(&mut self.logits[..]));
            general_mat_vec_mul(1.0, &head, &u, 0.0, &mut logits);
        }
        Ok(&self.logits)
    }

    /// The state: for each layer the convolution's input, then h.
    pub fn state(&self) -> &[f32] {
        &self.state
    }

    /// Goes on at a state of the same model.
    ///
    /// # Panics
    /// If it is of another length.
    pub fn set_state(&mut self, state: &[f32]) {
        self.state.copy_from_slice(state);
    }
}
