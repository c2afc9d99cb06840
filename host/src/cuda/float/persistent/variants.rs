//! The kernels of one model, by the number of columns.

use super::form::Form;
use super::plan::Plan;
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::{DECODE, Kernel};

/// A kernel for up to `columns` columns.
pub(super) struct Variant {
    pub(super) columns: usize,
    pub(super) kernel: Kernel,
    /// Chunks of a warp's ring, and bytes of shared memory.
    pub(super) slots: usize,
    pub(super) shared: usize,
}

/// The kernels, by the number of columns.
pub(super) struct Kernels {
    pub(super) by_columns: [Variant; 3],
    pub(super) accept: Kernel,
}

impl Kernels {
    pub(super) fn load(
        device: &Device,
        plan: &Plan,
        form: Form,
        d_state: usize,
        limit: usize,
    ) -> Result<Self, CudaError> {
        let load = |columns: usize, [bf16, bf16_wide, i8, i8_wide]: [&'static str; 4]| {
            let name = match (form, d_state > 16) {
                (Form::Bf16, false) => bf16,
                (Form::Bf16, true) => bf16_wide,
                (Form::I8, false) => i8,
                (Form::I8, true) => i8_wide,
            };
            let kernel = device.kernel(&DECODE, name)?;
            let (slots, shared) = plan.shared(columns, form, d_state, limit).map_err(|found| CudaError::Shape {
                name: "shared memory of a block of decode",
                found,
                limit,
            })?;
            kernel.allow_shared(shared)?;
            Ok::<_, CudaError>(Variant { columns, kernel, slots, shared })
        };
        Ok(Self {
            by_columns: [
                load(8, ["decode_bf16_8", "decode_bf16_8_wide", "decode_i8_8", "decode_i8_8_wide"])?,
                load(16, ["decode_bf16_16", "decode_bf16_16_wide", "decode_i8_16", "decode_i8_16_wide"])?,
                load(32, ["decode_bf16_32", "decode_bf16_32_wide", "decode_i8_32", "decode_i8_32_wide"])?,
            ],
            accept: device.kernel(&DECODE, "decode_accept")?,
        })
    }

    /// The narrowest kernel for `columns` columns.
    pub(super) fn of(&self, columns: usize) -> &Variant {
        let [narrow, middle, wide] = &self.by_columns;
        [narrow, middle].into_iter().find(|v| columns <= v.columns).unwrap_or(wide)
    }
}
