//! The kernels of training for one kind of model, loaded.

use mambabyte_core::Dims;

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::Element;
use crate::cuda::kernels::{Kernel, KernelFile, NORM, OPTIMIZER, TRAIN_CONV, TRAIN_NORM, TRAIN_SUMS};

/// By what they do.
#[derive(Debug)]
pub(super) struct Kernels {
    pub(super) embed: Kernel,
    pub(super) norm: Kernel,
    pub(super) norm_back: Kernel,
    pub(super) conv: Kernel,
    pub(super) conv_back: Kernel,
    pub(super) conv_history: Kernel,
    /// Of bytes, of any vocabulary.
    pub(super) cross_entropy: Kernel,
    pub(super) cross_entropy_wide: Kernel,
    pub(super) soften: Kernel,
    /// As above.
    pub(super) embed_back: Kernel,
    pub(super) embed_back_wide: Kernel,
    pub(super) sum_rows: Kernel,
    pub(super) sum_planes: Kernel,
    pub(super) total: Kernel,
    pub(super) judge: Kernel,
    pub(super) adamw: Kernel,
    pub(super) muon_begin: Kernel,
    pub(super) muon_scale: Kernel,
    pub(super) muon_end: Kernel,
    pub(super) decays: Kernel,
    pub(super) round: Kernel,
}

impl Kernels {
    /// # Errors
    /// [`CudaError::Shape`] for widths and taps that no kernel has, [`CudaError::Kernel`].
    pub(super) fn load(device: &Device, element: Element, dims: &Dims) -> Result<Self, CudaError> {
        let divided = [("d_model % 8", dims.d_model % 8), ("d_inner % 8", dims.d_inner % 8)];
        if let Some((name, found)) = divided.into_iter().find(|&(_, found)| found > 0) {
            return Err(CudaError::Shape { name, found, limit: 0 });
        }
        if dims.d_model > 4096 {
            return Err(CudaError::Shape { name: "d_model", found: dims.d_model, limit: 4096 });
        }
        if !(2..=4).contains(&dims.d_conv) {
            return Err(CudaError::Shape { name: "d_conv", found: dims.d_conv, limit: 4 });
        }
        let float = element == Element::F32;
        let of =
            |file: &KernelFile, [bf16, f32]: [&'static str; 2]| device.kernel(file, if float { f32 } else { bf16 });
        let taps = dims.d_conv - 2;
        let conv = [
            ["train_conv_bf16_2", "train_conv_bf16_3", "train_conv_bf16_4"],
            ["train_conv_float_2", "train_conv_float_3", "train_conv_float_4"],
        ];
        let conv_back = [
            ["train_conv_back_bf16_2", "train_conv_back_bf16_3", "train_conv_back_bf16_4"],
            ["train_conv_back_float_2", "train_conv_back_float_3", "train_conv_back_float_4"],
        ];
        let conv_history = [
            ["train_conv_history_bf16_2", "train_conv_history_bf16_3", "train_conv_history_bf16_4"],
            ["train_conv_history_float_2", "train_conv_history_float_3", "train_conv_history_float_4"],
        ];
        let norm_back = match dims.d_model {
            0..=128 => ["train_norm_back_bf16_1_1", "train_norm_back_float_1_1"],
            129..=512 => ["train_norm_back_bf16_1_4", "train_norm_back_float_1_4"],
            513..=1024 => ["train_norm_back_bf16_1_8", "train_norm_back_float_1_8"],
            _ => ["train_norm_back_bf16_4_8", "train_norm_back_float_4_8"],
        };
        let norm = if dims.d_model > 1024 { ["norm_bf16_4", "norm_float_4"] } else { ["norm_bf16_1", "norm_float_1"] };
        let two = |names: [[&'static str; 3]; 2]| [names[0][taps], names[1][taps]];
        let plain = |file: &KernelFile, name| device.kernel(file, name);
        Ok(Self {
            embed: plain(&TRAIN_SUMS, "embed_symbols")?,
            norm: of(&NORM, norm)?,
            norm_back: of(&TRAIN_NORM, norm_back)?,
            conv: of(&TRAIN_CONV, two(conv))?,
            conv_back: of(&TRAIN_CONV, two(conv_back))?,
            conv_history: of(&TRAIN_CONV, two(conv_history))?,
            cross_entropy: of(&TRAIN_SUMS, ["cross_entropy_bf16", "cross_entropy_float"])?,
            cross_entropy_wide: of(&TRAIN_SUMS, ["cross_entropy_wide_bf16", "cross_entropy_wide_float"])?,
            soften: plain(&TRAIN_SUMS, "soften")?,
            embed_back: plain(&TRAIN_SUMS, "embed_back")?,
            embed_back_wide: plain(&TRAIN_SUMS, "embed_back_wide")?,
            sum_rows: plain(&TRAIN_SUMS, "sum_rows")?,
            sum_planes: of(&TRAIN_SUMS, ["sum_planes_bf16", "sum_planes_float"])?,
            total: plain(&OPTIMIZER, "total")?,
            judge: plain(&OPTIMIZER, "judge")?,
            adamw: plain(&OPTIMIZER, "adamw")?,
            muon_begin: plain(&OPTIMIZER, "muon_begin")?,
            muon_scale: of(&OPTIMIZER, ["muon_scale_bf16", "muon_scale_float"])?,
            muon_end: of(&OPTIMIZER, ["muon_end_bf16", "muon_end_float"])?,
            decays: plain(&OPTIMIZER, "decays")?,
            round: plain(&OPTIMIZER, "round_weights")?,
        })
    }
}
