//! `Params` of `decode.cu`, field by field.

/// Address on the device; 0 is null.
pub(super) type Address = u64;

/// What a launch gets. The order and the types are those of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Params {
    pub(super) d_model: i32,
    pub(super) d_inner: i32,
    pub(super) d_state: i32,
    pub(super) d_conv: i32,
    pub(super) n_layer: i32,
    pub(super) km: i32,
    pub(super) ki: i32,
    pub(super) kd: i32,
    pub(super) kbc: i32,
    pub(super) layer_norm: i32,
    pub(super) eps: f32,
    pub(super) slots: i32,
    pub(super) chunk: i32,
    pub(super) side_bytes: i32,
    pub(super) side_channel: i32,
    pub(super) side_residual: i32,
    pub(super) side_projection: i32,
    pub(super) columns: i32,
    pub(super) passes: i32,
    pub(super) commit: i32,
    pub(super) epoch: u32,
    pub(super) temperature: f32,
    pub(super) seed: u64,
    pub(super) position: u64,
    pub(super) stream: Address,
    pub(super) stream_at: Address,
    pub(super) side: Address,
    pub(super) embedding: Address,
    pub(super) norm: Address,
    pub(super) head_scale: Address,
    pub(super) head_sum: Address,
    pub(super) head_bias: Address,
    pub(super) a: Address,
    pub(super) res: Address,
    pub(super) sums: Address,
    pub(super) u: Address,
    pub(super) dt: Address,
    pub(super) bc: Address,
    pub(super) g: Address,
    pub(super) logits: Address,
    pub(super) stream_of: Address,
    pub(super) first_of: Address,
    pub(super) bytes: Address,
    pub(super) history: Address,
    pub(super) h: Address,
    pub(super) history_stream: u64,
    pub(super) history_layer: u64,
    pub(super) h_stream: u64,
    pub(super) h_layer: u64,
    pub(super) kept_x: Address,
    pub(super) kept_u: Address,
    pub(super) kept_delta: Address,
    pub(super) kept_b: Address,
    pub(super) out_logits: Address,
    pub(super) out_bytes: Address,
    pub(super) accepted: Address,
}

// The C struct: 22 words of 4 bytes, then words of 8.
const _: () = assert!(size_of::<Params>() == 22 * 4 + 34 * 8);

// SAFETY: plain numbers, `repr(C)`, no padding (checked above).
#[allow(unsafe_code, reason = "the trait promises that the bits may be given to a kernel")]
unsafe impl cudarc::driver::DeviceRepr for Params {}
