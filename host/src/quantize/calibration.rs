//! What the quantiser learns by running the f32 model over sample text: ranges, histograms, second moments.

use mambabyte_core::Dims;
use mambabyte_core::oracle::{NotFinite, Probe, Site};
use rayon::prelude::*;

use crate::model::Model;

/// Magnitudes in octaves: bin `b` counts values with `2^(b - 24) <= |v| < 2^(b - 23)`; bin 0 also takes zeros.
pub const BINS: usize = 48;

/// Statistics of one kind of activation in one layer.
#[derive(Clone, Debug)]
pub struct Range {
    /// Largest magnitude.
    pub largest: f32,
    /// Counts by octave of magnitude.
    pub histogram: [u64; BINS],
    /// Values above `clip`, if a clip was given.
    pub clipped: u64,
    /// Values seen.
    pub count: u64,
    /// Magnitude above which a value counts as clipped.
    pub clip: f32,
}

impl Default for Range {
    fn default() -> Self {
        Self { largest: 0.0, histogram: [0; BINS], clipped: 0, count: 0, clip: f32::INFINITY }
    }
}

impl Range {
    fn record(&mut self, values: &[f32]) {
        for &v in values {
            let v = v.abs();
            self.largest = self.largest.max(v);
            let octave = ((v.to_bits() >> 23) as i32 - 127 + 24).clamp(0, BINS as i32 - 1);
            self.histogram[octave as usize] += 1;
            self.clipped += u64::from(v > self.clip);
        }
        self.count += values.len() as u64;
    }

    fn merge(&mut self, other: &Self) {
        self.largest = self.largest.max(other.largest);
        self.histogram.iter_mut().zip(other.histogram).for_each(|(a, b)| *a += b);
        self.clipped += other.clipped;
        self.count += other.count;
    }

    /// Share of values beyond the clip.
    pub fn clipped_share(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.clipped as f64 / self.count as f64 }
    }
}

/// Statistics of one layer. The pseudo-layer `n_layer` holds the head's input.
#[derive(Clone, Debug, Default)]
pub struct LayerStats {
    /// By [`Site`], in the order of [`SITES`].
    pub ranges: Vec<Range>,
    /// Largest `|h|` of each channel.
    pub h_largest: Vec<f32>,
    /// Largest `|delta * x|` of each channel.
    pub dx_largest: Vec<f32>,
    /// `[d_model, d_model]`, upper half: second moments of the norm's output.
    pub norm_gram: Vec<f32>,
    /// `[d_inner, d_inner]`, upper half: second moments of the gated output.
    pub gated_gram: Vec<f32>,
}

/// The sites that are kept, in this order.
pub const SITES: [Site; 13] = [
    Site::NormOut,
    Site::ConvIn,
    Site::Gate,
    Site::ConvOut,
    Site::X,
    Site::Dt,
    Site::B,
    Site::C,
    Site::DtPre,
    Site::Y,
    Site::Gated,
    Site::Residual,
    Site::HeadIn,
];

/// Statistics of a whole model.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// `n_layer + 1` entries.
    pub layers: Vec<LayerStats>,
    /// Bytes read.
    pub bytes: usize,
}

impl Stats {
    fn new(dims: &Dims, grams: bool) -> Self {
        let square = |n: usize| if grams { vec![0.0; n * n] } else { Vec::new() };
        let layer = |index: usize| LayerStats {
            ranges: vec![Range::default(); SITES.len()],
            h_largest: vec![0.0; dims.d_inner],
            dx_largest: vec![0.0; dims.d_inner],
            norm_gram: square(dims.d_model),
            gated_gram: square(if index < dims.n_layer { dims.d_inner } else { 0 }),
        };
        Self { layers: (0..=dims.n_layer).map(layer).collect(), bytes: 0 }
    }

    /// The range of `site` in `layer`.
    pub fn range(&self, layer: usize, site: Site) -> &Range {
        let index = SITES.iter().position(|&s| s == site).unwrap_or(0);
        &self.layers[layer].ranges[index]
    }

    /// Sets the clip of `site` in `layer` for a second pass.
    pub fn set_clip(&mut self, layer: usize, site: Site, clip: f64) {
        if let Some(index) = SITES.iter().position(|&s| s == site) {
            self.layers[layer].ranges[index].clip = clip as f32;
        }
    }

    /// A copy with the clips only, to count on other text.
    fn emptied(&self) -> Self {
        let mut empty = self.clone();
        empty.bytes = 0;
        for layer in &mut empty.layers {
            for range in &mut layer.ranges {
                *range = Range { clip: range.clip, ..Range::default() };
            }
            layer.norm_gram.clear();
            layer.gated_gram.clear();
        }
        empty
    }

    fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        for (a, b) in self.layers.iter_mut().zip(other.layers) {
            a.ranges.iter_mut().zip(&b.ranges).for_each(|(a, b)| a.merge(b));
            a.h_largest.iter_mut().zip(b.h_largest).for_each(|(a, b)| *a = a.max(b));
            a.dx_largest.iter_mut().zip(b.dx_largest).for_each(|(a, b)| *a = a.max(b));
            a.norm_gram.iter_mut().zip(b.norm_gram).for_each(|(a, b)| *a += b);
            a.gated_gram.iter_mut().zip(b.gated_gram).for_each(|(a, b)| *a += b);
        }
    }
}

fn add_gram(gram: &mut [f32], x: &[f32]) {
    let n = x.len();
    if gram.len() != n * n {
        return;
    }
    for (i, row) in gram.chunks_exact_mut(n).enumerate() {
        let scale = x[i];
        for (g, &v) in row[i..].iter_mut().zip(&x[i..]) {
            *g += scale * v;
        }
    }
}

impl Probe for Stats {
    fn record(&mut self, layer: usize, site: Site, values: &[f32]) {
        let stats = &mut self.layers[layer];
        if let Some(index) = SITES.iter().position(|&s| s == site) {
            stats.ranges[index].record(values);
        }
        match site {
            Site::NormOut | Site::HeadIn => add_gram(&mut stats.norm_gram, values),
            Site::Gated => add_gram(&mut stats.gated_gram, values),
            Site::DeltaX => {
                stats.dx_largest.iter_mut().zip(values).for_each(|(m, v)| *m = m.max(v.abs()));
            }
            Site::H => {
                let d_state = values.len() / stats.h_largest.len().max(1);
                for (largest, h) in stats.h_largest.iter_mut().zip(values.chunks_exact(d_state.max(1))) {
                    *largest = h.iter().fold(*largest, |m, v| m.max(v.abs()));
                }
            }
            _ => {}
        }
    }
}

/// Bytes of second moments above which texts are read one after the other instead of in parallel.
const PARALLEL_GRAM_BYTES: usize = 64 << 20;

/// Runs `model` over each text from the zero state (one 0x00 byte first) and merges what it saw, in order.
///
/// # Errors
/// [`NotFinite`] if a value of the model is.
pub fn observe(
    model: &Model,
    texts: &[&[u8]],
    start: Option<&Stats>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Stats, NotFinite> {
    let dims = model.dims();
    let empty = || start.map_or_else(|| Stats::new(dims, true), Stats::emptied);
    let run = |text: &&[u8]| -> Result<Stats, NotFinite> {
        let mut stats = empty();
        let mut session = model.session();
        session.step_probed(0, &mut stats)?;
        for chunk in text.chunks(256) {
            for &byte in chunk {
                session.step_probed(byte, &mut stats)?;
            }
            progress(chunk.len());
        }
        stats.bytes = text.len();
        Ok(stats)
    };
    let gram_bytes = 4 * dims.n_layer * (dims.d_model.pow(2) + dims.d_inner.pow(2));
    let mut total = empty();
    if gram_bytes > PARALLEL_GRAM_BYTES && start.is_none() {
        for text in texts {
            total.merge(run(text)?);
        }
    } else {
        for stats in texts.par_iter().map(run).collect::<Vec<_>>() {
            total.merge(stats?);
        }
    }
    Ok(total)
}
