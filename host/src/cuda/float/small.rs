//! Launches `kernels/conv.cu`, `norm.cu` and `head.cu`: what is between the products and the scan.

use super::buffer::Element;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::{CONV, HEAD, Kernel, Launch, NORM};
use crate::cuda::layout::kernel_struct;

/// Longest row of the residual stream that the norm keeps in registers.
const LONGEST: usize = 4096;
/// Steps of a block of the convolution.
const CONV_STEPS: usize = 32;

kernel_struct! {
    /// Parameters of `conv_*`.
    pub(crate) struct ConvArgs = "ConvArgs" in "conv.cu" {
        x: u64,
        out: u64,
        w: u64,
        bias: u64,
        history: u64,
        len: u64,
        ld_x: i32,
        ld_out: i32,
        d_inner: i32,
        seq_len: i32,
    }
}

kernel_struct! {
    /// Parameters of `norm_*`.
    pub(crate) struct NormArgs = "NormArgs" in "norm.cu" {
        x: u64,
        weight: u64,
        /// 0: RMSNorm.
        bias: u64,
        out: u64,
        /// 0: all rows; else the last row of each of `rows` batch rows.
        len: u64,
        eps: f32,
        rows: i32,
        ld: i32,
        d_model: i32,
        seq_len: i32,
    }
}

kernel_struct! {
    /// Parameters of `embed`.
    pub(crate) struct EmbedArgs = "EmbedArgs" in "head.cu" {
        bytes: u64,
        embedding: u64,
        residual: u64,
        rows: i32,
        ld: i32,
    }
}

kernel_struct! {
    /// Parameters of `log_prob`.
    pub(crate) struct LogProbArgs = "LogProbArgs" in "head.cu" {
        logits: u64,
        next: u64,
        log_prob: u64,
        rows: i32,
    }
}

/// Grid of the convolution: blocks of up to 128 threads of 8 channels, 32 steps, one row.
pub(crate) fn conv_launch(batch: usize, seq_len: usize, d_inner: usize) -> Launch {
    let threads = d_inner.div_ceil(8).next_multiple_of(32).min(128);
    let grid = (d_inner.div_ceil(8 * threads), seq_len.div_ceil(CONV_STEPS).max(1), batch);
    Launch::new((grid.0 as u32, grid.1 as u32, grid.2 as u32), threads as u32)
}

/// Grid of the norm, and whether a row has a block of its own.
pub(crate) fn norm_launch(rows: usize, ld: usize) -> (Launch, bool) {
    let long = ld > 1024;
    let blocks = if long { rows } else { rows.div_ceil(4) };
    (Launch::new((blocks as u32, 1, 1), 128), long)
}

/// The kernels, for one element type and number of taps.
#[derive(Debug)]
pub(crate) struct Small {
    conv: Kernel,
    norm: [Kernel; 2],
    embed: Kernel,
    log_prob: Kernel,
}

impl Small {
    /// # Errors
    /// [`CudaError::Shape`] if the model is too wide.
    pub(crate) fn load(device: &Device, element: Element, d_conv: usize, ld: usize) -> Result<Self, CudaError> {
        if ld > LONGEST {
            return Err(CudaError::Shape { name: "d_model", found: ld, limit: LONGEST });
        }
        let (conv, norm) = match (element, d_conv) {
            (Element::Bf16, 2) => ("conv_bf16_2", ["norm_bf16_1", "norm_bf16_4"]),
            (Element::Bf16, 3) => ("conv_bf16_3", ["norm_bf16_1", "norm_bf16_4"]),
            (Element::Bf16, 4) => ("conv_bf16_4", ["norm_bf16_1", "norm_bf16_4"]),
            (Element::F32, 2) => ("conv_float_2", ["norm_float_1", "norm_float_4"]),
            (Element::F32, 3) => ("conv_float_3", ["norm_float_1", "norm_float_4"]),
            (Element::F32, 4) => ("conv_float_4", ["norm_float_1", "norm_float_4"]),
            _ => return Err(CudaError::Shape { name: "d_conv", found: d_conv, limit: 4 }),
        };
        Ok(Self {
            conv: device.kernel(&CONV, conv)?,
            norm: [device.kernel(&NORM, norm[0])?, device.kernel(&NORM, norm[1])?],
            embed: device.kernel(&HEAD, "embed")?,
            log_prob: device.kernel(&HEAD, "log_prob")?,
        })
    }

    /// # Errors
    /// [`CudaError::Launch`].
    ///
    /// # Safety
    /// The buffers are of this GPU, alive until the launch has been made and as long as conv.cu says for `batch` rows.
    pub(crate) unsafe fn conv(&self, device: &Device, batch: usize, args: &ConvArgs) -> Result<(), CudaError> {
        let launch = conv_launch(batch, args.seq_len as usize, args.d_inner as usize);
        let shape = format!("{batch} rows x {} channels x {} steps", args.d_inner, args.seq_len);
        // SAFETY: `ConvArgs` is the kernel's struct; the caller vouches for the buffers.
        unsafe { self.conv.launch(device.stream(), launch, args, &shape) }
    }

    /// # Errors
    /// [`CudaError::Launch`].
    ///
    /// # Safety
    /// The buffers are of this GPU, alive until the launch has been made and as long as norm.cu says.
    pub(crate) unsafe fn norm(&self, device: &Device, args: &NormArgs) -> Result<(), CudaError> {
        let (launch, long) = norm_launch(args.rows as usize, args.ld as usize);
        let shape = format!("{} rows of {}", args.rows, args.d_model);
        // SAFETY: `NormArgs` is the kernel's struct; the caller vouches for the buffers.
        unsafe { self.norm[usize::from(long)].launch(device.stream(), launch, args, &shape) }
    }

    /// # Errors
    /// [`CudaError::Launch`].
    ///
    /// # Safety
    /// The buffers are of this GPU, alive until the launch has been made and as long as head.cu says.
    pub(crate) unsafe fn embed(&self, device: &Device, args: &EmbedArgs) -> Result<(), CudaError> {
        let threads = args.rows as usize * args.ld as usize / 4;
        let launch = Launch::new((threads.div_ceil(256) as u32, 1, 1), 256);
        // SAFETY: `EmbedArgs` is the kernel's struct; the caller vouches for the buffers.
        unsafe { self.embed.launch(device.stream(), launch, args, &format!("{} rows of {}", args.rows, args.ld)) }
    }

    /// # Errors
    /// [`CudaError::Launch`].
    ///
    /// # Safety
    /// The buffers are of this GPU, alive until the launch has been made and as long as head.cu says.
    pub(crate) unsafe fn log_prob(&self, device: &Device, args: &LogProbArgs) -> Result<(), CudaError> {
        let launch = Launch::new(((args.rows as u32).div_ceil(8), 1, 1), 256);
        // SAFETY: `LogProbArgs` is the kernel's struct; the caller vouches for the buffers.
        unsafe { self.log_prob.launch(device.stream(), launch, args, &format!("{} rows", args.rows)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_everything() {
        for d_inner in [8, 16, 256, 264, 1024, 1032, 2048, 3584, 16_384] {
            let launch = conv_launch(3, 65, d_inner);
            assert!(launch.grid.0 * launch.block * 8 >= d_inner as u32 && launch.block.is_multiple_of(32));
            assert_eq!((launch.grid.1, launch.grid.2), (3, 3));
        }
        assert_eq!(conv_launch(1, 0, 8).grid.1, 1);
        assert_eq!(norm_launch(5, 1024), (Launch::new((2, 1, 1), 128), false));
        assert_eq!(norm_launch(5, 1032), (Launch::new((5, 1, 1), 128), true));
    }
}
