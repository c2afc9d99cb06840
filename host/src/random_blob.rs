//! Valid blobs of any shape with pseudo-random or extreme contents, laid out without a checkpoint or the quantiser:
//! for tests and for measurements of speed.

use mambabyte_core::blob::{LayerParams, Section};
use mambabyte_core::{Dims, Norm, Rng};

use crate::quantize::writer::BlobParts;

/// What fills the sections.
#[derive(Clone, Copy, Debug)]
pub enum Contents {
    /// Pseudo-random, with shifts that keep activations in range most of the time.
    Sane,
    /// As [`Contents::Sane`], with the step sizes of trained models (delta from 1e-3 to 15): for measurements of speed.
    Typical,
    /// Pseudo-random, with pseudo-random shifts: saturates everywhere.
    Wild,
    /// Every weight, row code, bias and shift the same.
    Extreme {
        /// Every i8 weight.
        weight: i8,
        /// Every row code.
        code: u8,
        /// Every i16 weight and bias.
        bias: i16,
        /// Every shift.
        shift: u8,
    },
}

/// A blob to be made.
#[derive(Clone, Copy, Debug)]
pub struct BlobSpec {
    /// The shape.
    pub dims: Dims,
    /// What fills the sections.
    pub contents: Contents,
    /// Equal seeds give equal blobs.
    pub seed: u64,
}

impl BlobSpec {
    /// A shape of the smallest kind: one layer of 16 channels.
    pub fn small(seed: u64) -> Self {
        let dims = Dims {
            d_model: 16,
            n_layer: 1,
            d_inner: 16,
            d_state: 2,
            d_conv: 2,
            dt_rank: 1,
            norm: Norm::Layer,
            tied_head: true,
            tied_decays: false,
        };
        Self { dims, contents: Contents::Sane, seed }
    }
}

struct Maker {
    spec: BlobSpec,
    rng: Rng,
}

impl Maker {
    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.rng.next_u64() % (high - low + 1) as u64) as i64
    }

    fn shift(&mut self, sane: u32, low: i64) -> u8 {
        match self.spec.contents {
            Contents::Sane | Contents::Typical => {
                self.between(i64::from(sane) - 2, i64::from(sane) + 2).clamp(low, 54) as u8
            }
            Contents::Wild => self.between(low, 54) as u8,
            Contents::Extreme { shift, .. } => shift.clamp(low as u8, 54),
        }
    }

    /// The shift of a projection of `columns` columns.
    fn projection(&mut self, columns: usize) -> u8 {
        let low = 1;
        self.shift(17 + columns.ilog2() / 2, low)
    }

    fn layer(&mut self) -> LayerParams {
        let dims = self.spec.dims;
        let typical = matches!(self.spec.contents, Contents::Typical);
        let wild = !typical && !matches!(self.spec.contents, Contents::Sane);
        LayerParams {
            norm_shift: self.shift(23, 1),
            in_proj_shift: self.projection(dims.d_model),
            conv_shift: self.projection(dims.d_conv),
            x_proj_shift: self.projection(dims.d_inner),
            // Typical: four standard deviations of the largest row stay below 15 in Q10.
            dt_proj_shift: if typical {
                24 + dims.dt_rank.ilog2().div_ceil(2) as u8
            } else {
                self.projection(dims.dt_rank)
            },
            out_proj_shift: self.shift(20, 18),
            y_shift: self.shift(24, 1),
            d_shift: self.shift(14, 1),
            gate_shift: self.shift(12, 1),
            x_frac: self.between(4, 15) as u8,
            z_frac: self.between(4, 15) as u8,
            a_base: if wild { self.between(-32768, 32767) as i16 } else { self.between(-7168, -4096) as i16 },
            dx_base: if wild { self.between(-(1 << 20), 1 << 20) as i32 } else { self.between(-6144, 0) as i32 },
            ..LayerParams::ZERO
        }
    }

    fn section(&mut self, section: Section) -> Vec<u8> {
        let codes = has_codes(section);
        let bytes = section.bytes(&self.spec.dims) as usize;
        match (self.spec.contents, section.element_size()) {
            (Contents::Extreme { bias, .. }, 2) => bias.to_le_bytes().repeat(bytes / 2),
            (Contents::Extreme { weight, code, .. }, _) => vec![if codes { code } else { weight as u8 }; bytes],
            (Contents::Sane | Contents::Typical, 2)
                if matches!(section, Section::NormBias | Section::ConvBias | Section::DtBias) =>
            {
                (0..bytes / 2).flat_map(|_| (self.between(-3000, 3000) as i16).to_le_bytes()).collect()
            }
            _ => (0..bytes).map(|_| self.rng.next_u64() as u8).collect(),
        }
    }
}

/// The blob of `spec`.
pub fn random_blob(spec: BlobSpec) -> Vec<u8> {
    let mut make = Maker { spec, rng: Rng::new(spec.seed) };
    let mut parts = BlobParts::new(spec.dims, "random");
    parts.norm_f_shift = make.shift(23, 1);
    parts.embedding_shift = make.shift(2, 1);
    parts.head_shift = make.shift(12, 1);
    parts.norm_eps = match spec.contents {
        Contents::Sane | Contents::Typical => make.between(0, 1 << 20) as u64,
        Contents::Wild => make.rng.next_u64() >> 8,
        Contents::Extreme { code, .. } => {
            if code == 0 {
                0
            } else {
                1 << 56
            }
        }
    };
    parts.layers = (0..spec.dims.n_layer).map(|_| make.layer()).collect();
    for section in Section::ALL.into_iter().skip(1) {
        parts.sections[section as usize] = make.section(section);
    }
    parts.finish()
}

/// Whether a section of bytes holds codes, of which only small ones make sense, and not weights.
pub const fn has_codes(section: Section) -> bool {
    matches!(
        section,
        Section::EmbeddingCode
            | Section::InProjCode
            | Section::ConvCode
            | Section::XProjCode
            | Section::DtProjCode
            | Section::ALog
            | Section::StateCode
            | Section::OutProjCode
            | Section::HeadCode
    )
}
