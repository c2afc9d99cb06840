//! Launches `kernels/conv.cu`, `norm.cu` and `head.cu`: what lies between the products and the scan.

use cudarc::driver::DeviceRepr;

use super::buffer::Element;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::{CONV, HEAD, Kernel, Launch, NORM};

/// Longest row of the residual stream that the norm keeps in registers.
const LONGEST: usize = 4096;
/// Steps of a block of the convolution.
const CONV_STEPS: usize = 32;

/// Parameters of `conv_*`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ConvArgs {
    pub(crate) x: u64,
    pub(crate) out: u64,
    pub(crate) w: u64,
    pub(crate) bias: u64,
    pub(crate) history: u64,
    pub(crate) len: u64,
    pub(crate) ld_x: i32,
    pub(crate) ld_out: i32,
    pub(crate) d_inner: i32,
    pub(crate) seq_len: i32,
}

/// Parameters of `norm_*`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct NormArgs {
    pub(crate) x: u64,
    pub(crate) weight: u64,
    /// 0: RMSNorm.
    pub(crate) bias: u64,
    pub(crate) out: u64,
    /// 0: all rows; else the last row of each of `rows` batch rows.
    pub(crate) len: u64,
    pub(crate) eps: f32,
    pub(crate) rows: i32,
    pub(crate) ld: i32,
    pub(crate) d_model: i32,
    pub(crate) seq_len: i32,
}

/// Parameters of `embed`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct EmbedArgs {
    pub(crate) bytes: u64,
    pub(crate) embedding: u64,
    pub(crate) residual: u64,
    pub(crate) rows: i32,
    pub(crate) ld: i32,
}

/// Parameters of `log_prob`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct LogProbArgs {
    pub(crate) logits: u64,
    pub(crate) next: u64,
    pub(crate) log_prob: u64,
    pub(crate) rows: i32,
}

// SAFETY: plain integers and floats in C layout; addresses are the GPU's.
unsafe impl DeviceRepr for ConvArgs {}
// SAFETY: as above.
unsafe impl DeviceRepr for NormArgs {}
// SAFETY: as above.
unsafe impl DeviceRepr for EmbedArgs {}
// SAFETY: as above.
unsafe impl DeviceRepr for LogProbArgs {}

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
    fn arguments_have_the_kernels_sizes() {
        assert_eq!(size_of::<ConvArgs>(), 6 * 8 + 4 * 4);
        assert_eq!(size_of::<NormArgs>(), 5 * 8 + 5 * 4 + 4);
        assert_eq!(size_of::<EmbedArgs>(), 3 * 8 + 2 * 4);
        assert_eq!(size_of::<LogProbArgs>(), 3 * 8 + 4 + 4);
    }

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
