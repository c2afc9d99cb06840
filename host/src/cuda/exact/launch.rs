//! The kernels of `kernels/exact.cu`: their parameters, laid out as in the source, and how each is launched.

use mambabyte_core::{Dims, SampleOptions};

use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::{EXACT, Kernel, Launch};
use crate::cuda::layout::kernel_struct;

/// Threads of the kernels that have a block per token.
pub(super) const THREADS: u32 = 256;

/// Tokens up to which projections are sums of `dp2a`, a warp per row.
const FEW: usize = 8;
/// Tokens up to which the tensor cores' small tile is taken.
const SMALL: usize = 128;
/// Warps that fill a large GPU twice; only the speed depends on it.
const WARPS: usize = 1024;

kernel_struct! {
    /// Parameters of `exact_embed`.
    pub(crate) struct Embed = "EmbedParams" in "exact.cu" {
        tokens: u64, code: u64, rows: u64, tables: u64, residual: u64, d_model: u32, stride: u32, shift: u32,
        pad: u32,
    }
}
kernel_struct! {
    /// Parameters of `exact_norm`.
    pub(crate) struct Norm = "NormParams" in "exact.cu" {
        residual: u64, weight: u64, bias: u64, tables: u64, pick: u64, u: u64, eps: u64, d_model: u32, stride: u32,
        shift: u32, pad: u32,
    }
}
kernel_struct! {
    /// Parameters of `exact_project`.
    pub(crate) struct Project = "ProjectParams" in "exact.cu" {
        w: u64, code: u64, x: u64, y: u64, bc: u64, bias: u64, down: u64, tables: u64, m: u32, rows: u32,
        columns: u32, x_stride: u32, y_stride: u32, shift: u32, mode: u32, dt_rank: u32, d_state: u32, c_limit: u32,
    }
}
kernel_struct! {
    /// Parameters of `exact_conv`.
    pub(crate) struct Conv = "ConvParams" in "exact.cu" {
        xz: u64, history: u64, row_of: u64, starts: u64, w: u64, code: u64, bias: u64, tables: u64, x: u64,
        state_stride: u64, d_inner: u32, d_conv: u32, x_stride: u32, shift: u32, frac: u32, pad: u32,
    }
}
kernel_struct! {
    /// Parameters of `exact_scan`.
    pub(crate) struct Scan = "ScanParams" in "exact.cu" {
        xz: u64, x: u64, log_delta: u64, bc: u64, starts: u64, a_log: u64, state_code: u64, d_skip: u64, tables: u64,
        state: u64, state_out: u64, g: u64, counts: u64, state_stride: u64, layer_state: u64, layer_xz: u64,
        layer_x: u64, layer_log_delta: u64, layer_bc: u64, layers: u64, a_base: i32, dx_base: i32, d_inner: u32,
        d_conv: u32, d_state: u32, x_stride: u32, tied: u32, lanes: u32, y_shift: u32, d_shift: u32, gate_shift: u32,
        z_frac: u32,
    }
}
kernel_struct! {
    /// What a replay of all layers needs of each.
    pub(crate) struct ScanLayer = "ScanLayer" in "exact.cu" {
        a_log: u64, state_code: u64, a_base: i32, dx_base: i32,
    }
}
kernel_struct! {
    /// Parameters of `exact_narrow`.
    pub(crate) struct Narrow = "NarrowParams" in "exact.cu" {
        g: u64, g16: u64, down: u64, d_inner: u32, stride: u32,
    }
}
kernel_struct! {
    /// Parameters of `exact_surprise`.
    pub(crate) struct Surprise = "SurpriseParams" in "exact.cu" {
        logits: u64, next: u64, tables: u64, bits: u64,
    }
}
kernel_struct! {
    /// Parameters of `exact_sample`.
    pub(crate) struct Sample = "SampleParams" in "exact.cu" {
        logits: u64, tables: u64, rng: u64, tokens: u64, out: u64, step: u64, inverse: u64, top_k: u32, top_p: u32,
        rows: u32, pad: u32,
    }
}

// SAFETY: integers; zeros are values of all of them.
unsafe impl cudarc::driver::ValidAsZeroBits for ScanLayer {}

impl Sample {
    /// The fields that say how to choose; the rest is zero.
    pub(crate) fn of(options: &SampleOptions) -> Self {
        let (inverse, top_k, top_p) = choice(options);
        Self { inverse, top_k, top_p, ..Self::default() }
    }
}

/// `Choice` of `sample.cuh`: 2^32 / temperature (0 if greedy), `top_k`, `top_p`.
pub(crate) const fn choice(options: &SampleOptions) -> (u64, u32, u32) {
    let inverse = if options.temperature == 0 { 0 } else { (1 << 32) / options.temperature as u64 };
    (inverse, options.top_k as u32, options.top_p)
}

/// What becomes of a projection's sums: `Mode` in `exact.cu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Mode {
    Activation = 0,
    XProj = 1,
    LogDelta = 2,
    Residual = 3,
    Logits = 4,
}

/// All kernels, loaded.
pub(crate) struct Kernels {
    pub(super) embed: Kernel,
    pub(super) norm: Kernel,
    project_1: Kernel,
    project_2: Kernel,
    project_4: Kernel,
    project_8: Kernel,
    project_small: Kernel,
    project_large: Kernel,
    pub(super) conv: Kernel,
    scan_4: Kernel,
    scan_16: Kernel,
    pub(super) narrow: Kernel,
    pub(super) surprise: Kernel,
    pub(super) sample: Kernel,
}

impl Kernels {
    pub(super) fn load(device: &Device) -> Result<Self, CudaError> {
        let kernel = |name| device.kernel(&EXACT, name);
        Ok(Self {
            embed: kernel("exact_embed")?,
            norm: kernel("exact_norm")?,
            project_1: kernel("exact_project_1")?,
            project_2: kernel("exact_project_2")?,
            project_4: kernel("exact_project_4")?,
            project_8: kernel("exact_project_8")?,
            project_small: kernel("exact_project_small")?,
            project_large: kernel("exact_project_large")?,
            conv: kernel("exact_conv")?,
            scan_4: kernel("exact_scan_4")?,
            scan_16: kernel("exact_scan_16")?,
            narrow: kernel("exact_narrow")?,
            surprise: kernel("exact_surprise")?,
            sample: kernel("exact_sample")?,
        })
    }

    /// The kernel for a projection of `tokens` and `rows`.
    pub(super) fn project(&self, tokens: usize, rows: usize) -> (&Kernel, Launch) {
        let (tile, launch) = project_config(tokens, rows);
        let kernel = match tile {
            Tile::Few(1) => &self.project_1,
            Tile::Few(2) => &self.project_2,
            Tile::Few(4) => &self.project_4,
            Tile::Few(_) => &self.project_8,
            Tile::Small => &self.project_small,
            Tile::Large => &self.project_large,
        };
        (kernel, launch)
    }

    /// The kernel for a scan of `rows` in `layers` layers at once, and its lanes per channel.
    pub(super) fn scan(&self, dims: &Dims, rows: usize, layers: usize) -> (&Kernel, Launch, u32) {
        let (states, lanes, launch) = scan_config(dims, rows, layers);
        (if states == 4 { &self.scan_4 } else { &self.scan_16 }, launch, lanes)
    }
}

/// Which projection kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    /// A warp per row, this many tokens at once.
    Few(usize),
    /// 64 rows by 16 tokens.
    Small,
    /// 128 rows by 64 tokens.
    Large,
}

fn project_config(tokens: usize, rows: usize) -> (Tile, Launch) {
    let grid = |rows_per_block: usize, tokens_per_block: usize| {
        (rows.div_ceil(rows_per_block) as u32, tokens.div_ceil(tokens_per_block) as u32, 1)
    };
    if tokens <= FEW {
        let at_once = tokens.next_power_of_two();
        (Tile::Few(at_once), Launch::new(grid(8, at_once), THREADS))
    } else if tokens <= SMALL {
        (Tile::Small, Launch::new(grid(64, 16), 128))
    } else {
        (Tile::Large, Launch::new(grid(128, 64), 256))
    }
}

/// States per lane, lanes per channel, launch.
fn scan_config(dims: &Dims, rows: usize, layers: usize) -> (usize, u32, Launch) {
    let lanes = |states: usize| dims.d_state.div_ceil(states).next_power_of_two();
    let warps = |states: usize| rows * layers * (dims.d_inner * lanes(states)).div_ceil(32);
    let states = if warps(16) >= WARPS { 16 } else { 4 };
    let channels = 128 / lanes(states);
    let grid = (dims.d_inner.div_ceil(channels) as u32, rows as u32, layers as u32);
    (states, lanes(states) as u32, Launch::new(grid, 128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mambabyte_core::Norm;

    const DIMS: Dims = Dims {
        d_model: 256,
        n_layer: 4,
        d_inner: 512,
        d_state: 16,
        d_conv: 4,
        dt_rank: 16,
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: false,
    };

    #[test]
    fn projections_cover_all_tokens_and_rows() {
        for tokens in [1, 2, 3, 8, 9, 16, 17, 128, 129, 8192] {
            for rows in [1, 8, 9, 64, 129, 512] {
                let (tile, launch) = project_config(tokens, rows);
                let (r, t) = match tile {
                    Tile::Few(t) => (8, t),
                    Tile::Small => (64, 16),
                    Tile::Large => (128, 64),
                };
                let (x, y, z) = launch.grid;
                assert!(x as usize * r >= rows && (x as usize - 1) * r < rows, "{tokens} x {rows}");
                assert!(y as usize * t >= tokens && (y as usize - 1) * t < tokens, "{tokens} x {rows}");
                assert_eq!(z, 1);
            }
        }
    }

    #[test]
    fn scans_cover_all_channels_and_states() {
        for d_state in 1..=64 {
            for d_inner in [16, 33, 512, 16_384] {
                for rows in [1, 64] {
                    let dims = Dims { d_state, d_inner, ..DIMS };
                    let (states, lanes, launch) = scan_config(&dims, rows, 3);
                    assert!(states * lanes as usize >= d_state && lanes <= 16 && lanes.is_power_of_two());
                    let channels = 128 / lanes;
                    assert!(launch.grid.0 * channels >= d_inner as u32);
                    assert_eq!((launch.grid.1, launch.grid.2, launch.block), (rows as u32, 3, 128));
                }
            }
        }
    }
}
