//! A blob in GPU memory: matrices with padded columns and rows, everything else as in the blob.

use cudarc::driver::CudaSlice;
use mambabyte_core::blob::{BlockView, LayerParams};
use mambabyte_core::{Blob, Dims, ModelId, tables};

use super::launch::{Kernels, ScanLayer};
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;

/// Columns of a matrix are padded to a multiple of this, for the tensor cores and 16-byte loads.
const COLUMNS: usize = 64;
/// Rows of a matrix are padded to a multiple of this, the largest tile.
const ROWS: usize = 128;

/// Columns with padding; also the stride of the activations that go into a matrix.
pub(super) const fn padded(columns: usize) -> usize {
    columns.next_multiple_of(COLUMNS)
}

/// An i8 matrix with a code for each row.
pub(super) struct Matrix {
    pub(super) w: CudaSlice<i8>,
    pub(super) code: CudaSlice<u8>,
    pub(super) rows: usize,
    /// With padding.
    pub(super) columns: usize,
}

impl Matrix {
    fn new(device: &Device, what: &'static str, w: &[i8], code: &[u8], columns: usize) -> Result<Self, CudaError> {
        let rows = code.len();
        Ok(Self {
            w: device.upload(what, &pad(w, rows, columns))?,
            code: device.upload(what, code)?,
            rows,
            columns: padded(columns),
        })
    }
}

/// `[rows, columns]` with zeros after each row and below the last.
fn pad(w: &[i8], rows: usize, columns: usize) -> Vec<i8> {
    let stride = padded(columns);
    let mut out = vec![0; rows.next_multiple_of(ROWS) * stride];
    for (to, from) in out.chunks_exact_mut(stride).zip(w.chunks_exact(columns.max(1))) {
        to[..columns].copy_from_slice(from);
    }
    out
}

/// One layer.
pub(super) struct Layer {
    pub(super) params: LayerParams,
    pub(super) norm_weight: CudaSlice<i16>,
    pub(super) norm_bias: Option<CudaSlice<i16>>,
    pub(super) in_proj: Matrix,
    pub(super) conv: CudaSlice<i8>,
    pub(super) conv_code: CudaSlice<u8>,
    pub(super) conv_bias: CudaSlice<i16>,
    pub(super) x_proj: Matrix,
    pub(super) dt_proj: Matrix,
    pub(super) dt_bias: CudaSlice<i16>,
    pub(super) a_log: CudaSlice<u8>,
    pub(super) d_skip: CudaSlice<i16>,
    pub(super) state_code: CudaSlice<u8>,
    pub(super) out_proj: Matrix,
}

impl ScanLayer {
    fn new(device: &Device, layer: &Layer) -> Self {
        Self {
            a_log: device.address(&layer.a_log),
            state_code: device.address(&layer.state_code),
            a_base: layer.params.a_base.into(),
            dx_base: layer.params.dx_base,
        }
    }
}

/// A whole blob.
pub(crate) struct ExactWeights {
    pub(super) dims: Dims,
    pub(crate) model: ModelId,
    pub(super) kernels: Kernels,
    pub(super) tables: CudaSlice<u16>,
    pub(super) embedding: Matrix,
    pub(super) embedding_shift: u8,
    pub(super) layers: Vec<Layer>,
    /// What a replay of all layers at once needs of each.
    pub(super) scan_layers: CudaSlice<ScanLayer>,
    pub(super) norm_f: CudaSlice<i16>,
    pub(super) norm_f_bias: Option<CudaSlice<i16>>,
    pub(super) norm_f_shift: u8,
    pub(super) norm_eps: u64,
    /// If it is not the embedding.
    pub(super) head: Option<Matrix>,
    pub(super) head_shift: u8,
}

/// The tables of the core in the order and padding of `struct Tables` in `exact.cuh`.
pub(crate) fn table_words() -> Vec<u16> {
    let mut words = Vec::new();
    let mut push = |row: &mut dyn Iterator<Item = u16>| {
        words.extend(row);
        words.resize(words.len().next_multiple_of(2), 0);
    };
    push(&mut tables::ROW_MULTIPLIER.iter().map(|&v| v as u16));
    push(&mut tables::EXP2.iter().copied());
    push(&mut tables::LOG2.iter().copied());
    push(&mut tables::DECAY.iter().map(|&v| v as u16));
    push(&mut tables::LOG2_SOFTPLUS.iter().map(|&v| v as u16));
    push(&mut tables::SIGMOID.iter().copied());
    push(&mut tables::RSQRT.iter().copied());
    words
}

impl ExactWeights {
    /// Uploads `blob`.
    pub(crate) fn load(device: &Device, blob: &Blob<'_>) -> Result<Self, CudaError> {
        let dims = *blob.dims();
        let what = "the model";
        let bias = |bias: &[i16]| if bias.is_empty() { Ok(None) } else { device.upload(what, bias).map(Some) };
        let mut layers = Vec::new();
        for index in 0..dims.n_layer {
            let BlockView::Mamba1(l) = blob.block(index);
            layers.push(Layer {
                params: *l.params,
                norm_weight: device.upload(what, l.norm_weight)?,
                norm_bias: bias(l.norm_bias)?,
                in_proj: Matrix::new(device, what, l.in_proj, l.in_proj_code, dims.d_model)?,
                conv: device.upload(what, l.conv)?,
                conv_code: device.upload(what, l.conv_code)?,
                conv_bias: device.upload(what, l.conv_bias)?,
                x_proj: Matrix::new(device, what, l.x_proj, l.x_proj_code, dims.d_inner)?,
                dt_proj: Matrix::new(device, what, l.dt_proj, l.dt_proj_code, dims.dt_rank)?,
                dt_bias: device.upload(what, l.dt_bias)?,
                a_log: device.upload(what, l.a_log)?,
                d_skip: device.upload(what, l.d_skip)?,
                state_code: device.upload(what, l.state_code)?,
                out_proj: Matrix::new(device, what, l.out_proj, l.out_proj_code, dims.d_inner)?,
            });
        }
        let scan_layers: Vec<ScanLayer> = layers.iter().map(|l| ScanLayer::new(device, l)).collect();
        let (embedding_code, embedding) = blob.embedding();
        let (head_code, head) = blob.head();
        let (embedding_shift, head_shift) = blob.embedding_and_head_shift();
        let (norm_f_shift, norm_eps) = blob.norm_f_shift_and_eps();
        let (norm_f, norm_f_bias) = blob.norm_f();
        let head = if dims.tied_head { None } else { Some(Matrix::new(device, what, head, head_code, dims.d_model)?) };
        Ok(Self {
            dims,
            model: ModelId::of(blob),
            kernels: Kernels::load(device)?,
            tables: device.upload(what, &table_words())?,
            embedding: Matrix::new(device, what, embedding, embedding_code, dims.d_model)?,
            embedding_shift,
            scan_layers: device.upload(what, &scan_layers)?,
            layers,
            norm_f: device.upload(what, norm_f)?,
            norm_f_bias: bias(norm_f_bias)?,
            norm_f_shift,
            norm_eps,
            head,
            head_shift,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_long_as_their_struct() {
        assert_eq!(table_words().len(), 32 + 130 + 130 + 2432 + 514 + 514 + 194);
    }

    #[test]
    fn padding_keeps_rows_apart() {
        let out = pad(&[1, 2, 3, 4, 5, 6], 2, 3);
        assert_eq!(out.len(), 128 * 64);
        assert_eq!((&out[..4], &out[64..68]), (&[1, 2, 3, 0][..], &[4, 5, 6, 0][..]));
        assert_eq!(out.iter().map(|&v| i32::from(v)).sum::<i32>(), 21);
    }
}
