//! `Params` of `decode_params.cuh`, field by field.

use super::plan::MAX_COLUMNS;
use crate::cuda::layout::kernel_struct;

/// Address on the device; 0 is null.
pub(super) type Address = u64;

// As the kernels write it, and as the test that compares both reads it.
const _: () = assert!(MAX_COLUMNS == 32, "the arrays of `Params` have an element for each column");

kernel_struct! {
    /// What a launch gets.
    pub(crate) struct Params = "Params" in "decode_params.cuh" {
        d_model: i32,
        d_inner: i32,
        d_state: i32,
        d_conv: i32,
        n_layer: i32,
        km: i32,
        ki: i32,
        kd: i32,
        kbc: i32,
        layer_norm: i32,
        eps: f32,
        slots: i32,
        chunk: i32,
        side_bytes: i32,
        side_channel: i32,
        side_residual: i32,
        side_projection: i32,
        columns: i32,
        passes: i32,
        commit: i32,
        kept: i32,
        epoch: u32,
        patience: u32,
        top_k: u32,
        top_p: u32,
        column: [u32; 32],
        inverse: u64,
        rng: [u64; 32],
        tables: Address,
        report: Address,
        stream: Address,
        stream_at: Address,
        side: Address,
        embedding: Address,
        norm: Address,
        head_scale: Address,
        head_sum: Address,
        head_bias: Address,
        a: Address,
        res: Address,
        sums: Address,
        u: Address,
        dt: Address,
        bc: Address,
        g: Address,
        logits: Address,
        history: Address,
        h: Address,
        history_stream: u64,
        history_layer: u64,
        h_stream: u64,
        h_layer: u64,
        kept_x: Address,
        kept_u: Address,
        kept_delta: Address,
        kept_b: Address,
        out_logits: Address,
        out_bytes: Address,
    }
}
