//! What a step works with on the GPU: activations, gradients, room for sums.

use cudarc::driver::CudaSlice;

use super::params::Params;
use super::scan::Sizes;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::float::buffer::{Buffer, Element};

/// [`Params::head_rows`] of bytes.
pub(super) const HEAD_ROWS: usize = 65_536;
/// Blocks of the norm's gradient: each has a row of sums.
pub(super) const NORM_BLOCKS: usize = 1024;
/// Steps of a thread of the convolution.
pub(super) const CONV_STEPS: usize = 64;
/// Rows of sums that are added up by one group of [`SUMS`].
pub(super) const GROUP: usize = 64;
/// More rows than these are added up in two goes.
pub(super) const SUMS: usize = 256;

/// Bytes of shared memory of `embed_back`: 256 rows of 64 columns.
pub(super) const EMBED_SHARED: usize = 256 * 64 * 4;

/// Activations of a layer that the way back needs; rows are positions, all `[rows, width]`.
pub(super) struct Kept {
    /// `[_, d_model]` f32: the residual stream before the layer.
    pub(super) res: CudaSlice<f32>,
    /// `[_, d_model]`: the norm's output.
    pub(super) normed: Buffer,
    /// `[_, 2 * d_inner]`.
    pub(super) xz: Buffer,
    /// `[_, d_inner]`: after convolution and SiLU.
    pub(super) u: Buffer,
    /// `[_, x_proj_rows]`.
    pub(super) dtbc: Buffer,
    /// `[_, d_inner]`: before bias and softplus.
    pub(super) delta: Buffer,
    /// `[_, d_inner]`: of the scan, before and after the gate.
    pub(super) y: Buffer,
    pub(super) out: Buffer,
    /// States before the scan's tiles.
    pub(super) checkpoints: CudaSlice<f32>,
}

/// Whether there is a way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// What it needs.
    All,
    /// No: layers share their activations.
    Nothing,
}

/// All of it.
pub(super) struct Memory {
    /// Of every layer, or of one.
    kept: Vec<Kept>,
    /// After the last layer.
    pub(super) res: CudaSlice<f32>,
    /// `[head_rows, d_model]`: the last norm's output; `[_, d_model]`: the gradient of any norm's.
    pub(super) normed: Buffer,
    pub(super) dnormed: Buffer,
    /// `[_, d_model]`: the gradient of the residual stream, and rounded.
    pub(super) dres: CudaSlice<f32>,
    pub(super) dres_rounded: Buffer,
    /// `[_, d_inner]`, `[_, 2 * d_inner]`, `[_, x_proj_rows]`: gradients.
    pub(super) dout: Buffer,
    pub(super) dxz: Buffer,
    pub(super) du: Buffer,
    pub(super) ddelta: Buffer,
    pub(super) ddtbc: Buffer,
    /// `[planes, _, 2 * padded states]`.
    pub(super) dbc: CudaSlice<f32>,
    /// `[batch, d_inner * d_state]`, `[batch, d_inner]` twice.
    pub(super) da_log: CudaSlice<f32>,
    pub(super) dd_skip: CudaSlice<f32>,
    pub(super) ddelta_bias: CudaSlice<f32>,
    /// `[head_rows, columns]`.
    pub(super) logits: CudaSlice<f32>,
    pub(super) dlogits: Buffer,
    /// `[_]`: the loss of every position.
    pub(super) nats: CudaSlice<f32>,
    /// Rows of sums, and of sums of these.
    pub(super) partial: CudaSlice<f32>,
    pub(super) groups: CudaSlice<f32>,
    /// `[_]`: what is read, what comes next, and how far back the document goes.
    pub(super) symbols: CudaSlice<u16>,
    pub(super) next: CudaSlice<u16>,
    pub(super) age: CudaSlice<u8>,
    /// Positions by symbol, and where each symbol's begin: for vocabularies other than bytes.
    pub(super) order: CudaSlice<u32>,
    pub(super) start: CudaSlice<u32>,
    /// `[batch, state_len]`.
    pub(super) before: CudaSlice<f32>,
    pub(super) after: CudaSlice<f32>,
}

/// Parts that the rows of a product over rows are divided into, so that all of the GPU has work: the rows of each, and
/// how many. `tiles` is how much of the result one part keeps busy.
pub(super) const fn parts(rows: usize, m: usize, n: usize) -> (usize, usize) {
    let tiles = m.div_ceil(128) * n.div_ceil(128);
    let wanted = 256 / tiles;
    let most = rows.div_ceil(1024);
    let count = if wanted < 1 {
        1
    } else if wanted > most {
        most
    } else {
        wanted
    };
    let each = rows.div_ceil(count).next_multiple_of(8);
    (each, rows.div_ceil(each))
}

/// Rows of a segment of the embedding's gradient: 1,024, more if their sums would take over 128 MiB.
pub(super) const fn embed_segment(rows: usize, d_model: usize) -> usize {
    let most = (128 << 20) / (256 * 4 * d_model);
    let each = rows.div_ceil(if most < 1 { 1 } else { most });
    if each < 1024 { 1024 } else { each }
}

impl Memory {
    pub(super) fn new(
        device: &Device,
        params: &Params,
        element: Element,
        (batch, seq_len): (usize, usize),
        scan: Sizes,
        keep: Keep,
    ) -> Result<Self, CudaError> {
        let dims = &params.dims;
        let (rows, d, di, width) = (batch * seq_len, dims.d_model, dims.d_inner, params.x_proj_rows());
        let layer = "activations of a layer";
        let typed = |what, len| Buffer::zeros(device, what, len, element);
        let (layers, back) = match keep {
            Keep::All => (dims.n_layer, rows),
            Keep::Nothing => (1, 1),
        };
        // The scan's kernels count elements in 32 bits.
        let largest = (2 * rows * di).max(scan.checkpoints).max(scan.planes * back * 2 * scan.padded);
        if u32::try_from(largest).is_err() {
            return Err(CudaError::Shape { name: "elements of a batch", found: largest, limit: u32::MAX as usize });
        }
        let kept = (0..layers).map(|_| {
            Ok(Kept {
                res: device.zeros(layer, rows * d)?,
                normed: typed(layer, rows * d)?,
                xz: typed(layer, rows * 2 * di)?,
                u: typed(layer, rows * di)?,
                dtbc: typed(layer, rows * width)?,
                delta: typed(layer, rows * di)?,
                y: typed(layer, rows * di)?,
                out: typed(layer, rows * di)?,
                checkpoints: device.zeros("states of a scan", scan.checkpoints)?,
            })
        });
        let kept = kept.collect::<Result<Vec<_>, CudaError>>()?;
        let head = params.head_rows().min(rows);
        // Positions are sorted where there is a way back.
        let (sorted, starts) =
            if params.of_bytes() || keep == Keep::Nothing { (1, 1) } else { (rows, params.vocabulary + 1) };
        // The largest of all rows of sums.
        let weight = |m: usize, n: usize| parts(rows, m, n).1 * m * n;
        let sums = [
            weight(2 * di, d),
            weight(width, di),
            weight(di, params.rank()),
            weight(d, di),
            parts(head, params.vocabulary, d).1 * params.vocabulary * d,
            batch * seq_len.div_ceil(CONV_STEPS) * (dims.d_conv + 1) * di,
            NORM_BLOCKS * 2 * d,
            if params.of_bytes() { rows.div_ceil(embed_segment(rows, d)) * 256 * d } else { 0 },
        ];
        let sums = if keep == Keep::All { sums.into_iter().max().unwrap_or(0) } else { 1 };
        let gradients = "gradients of activations";
        Ok(Self {
            kept,
            res: device.zeros(layer, rows * d)?,
            normed: typed(layer, head * d)?,
            dnormed: typed(gradients, back * d)?,
            dres: device.zeros(gradients, back * d)?,
            dres_rounded: typed(gradients, back * d)?,
            dout: typed(gradients, back * di)?,
            dxz: typed(gradients, back * 2 * di)?,
            du: typed(gradients, back * di)?,
            ddelta: typed(gradients, back * di)?,
            ddtbc: typed(gradients, back * width)?,
            dbc: device.zeros("gradients of B and C", scan.planes * back * 2 * scan.padded)?,
            da_log: device.zeros(gradients, batch * di * if dims.tied_decays { 1 } else { dims.d_state })?,
            dd_skip: device.zeros(gradients, batch * di)?,
            ddelta_bias: device.zeros(gradients, batch * di)?,
            logits: device.zeros("logits", head * params.columns())?,
            dlogits: typed("logits", head * params.columns())?,
            nats: device.zeros("losses", rows)?,
            partial: device.zeros("sums", sums)?,
            groups: device.zeros("sums", sums.div_ceil(GROUP) + (params.vocabulary * d).max((dims.d_conv + 1) * di))?,
            symbols: device.zeros("text", rows)?,
            next: device.zeros("text", rows)?,
            age: device.zeros("text", rows)?,
            order: device.zeros("text", sorted)?,
            start: device.zeros("text", starts)?,
            before: device.zeros("states", batch * dims.state_len())?,
            after: device.zeros("states", batch * dims.state_len())?,
        })
    }

    /// The activations of a layer.
    pub(super) fn layer(&self, layer: usize) -> &Kept {
        &self.kept[layer.min(self.kept.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_rows() {
        for rows in [1, 8, 100, 1024, 5000, 16_384, 524_288] {
            for (m, n) in [(256, 64), (24, 128), (128, 8), (4096, 1024)] {
                let (each, count) = parts(rows, m, n);
                assert!(each * count >= rows && each * (count - 1) < rows && each % 8 == 0, "{rows} {m} {n}");
                assert!(count <= 256);
            }
        }
        assert_eq!(parts(524_288, 256, 64).1, 128);
        assert_eq!(parts(16_384, 4096, 1024).1, 1);
        assert!(embed_segment(524_288, 64) == 1024 && embed_segment(524_288, 1024) > 1024);
    }
}
