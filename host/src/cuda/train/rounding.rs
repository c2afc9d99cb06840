//! Rounding in the loop: a copy of the parameters whose matrices have few values.

use cudarc::driver::CudaSlice;

use super::args::RoundArgs;
use super::kernels::Kernels;
use super::params::{DECAYING, MATRICES, Params};
use crate::cuda::device::Device;
use crate::cuda::error::CudaError;
use crate::cuda::kernels::Launch;
use crate::train::rounding::Rounding;

/// Makes `to` the parameters `from` with `rounding`, and writes the matrices to `typed` in bf16 too, if there is one.
pub(super) fn round(
    (device, kernels, params): (&Device, &Kernels, &Params),
    rounding: Rounding,
    from: &CudaSlice<f32>,
    to: &mut CudaSlice<f32>,
    typed: Option<&CudaSlice<u16>>,
) -> Result<(), CudaError> {
    let Some((largest, group)) = rounding.levels() else { return Ok(()) };
    device.stream().memcpy_dtod(from, to)?;
    for place in MATRICES.into_iter().chain(DECAYING).map(|tensor| params.place(tensor)) {
        if place.size == 0 {
            continue;
        }
        let group = group.unwrap_or(place.columns);
        let groups = place.rows() * place.layers * place.columns.div_ceil(group);
        let args = RoundArgs {
            w: device.address(to) + 4 * place.at as u64,
            rounded: typed.map_or(0, |typed| device.address(typed) + 2 * place.at as u64),
            groups: groups as i64,
            columns: place.columns as i32,
            group: group as i32,
            largest,
        };
        let launch = Launch::new((groups.div_ceil(8) as u32, 1, 1), 256);
        // SAFETY: both arrays have the parameters' length, and the tensor of every layer lies in them.
        unsafe { kernels.round.launch(device.stream(), launch, &args, &"the parameters")? };
    }
    Ok(())
}
