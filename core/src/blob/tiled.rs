//! Which parts of a blob have another order in a copy in [tiles](crate::tiles).

use super::{Blob, Section};
use crate::tiles::fits;

/// The matrices of a blob that have another order in tiles: the offset of the first byte, rows and columns, in
/// ascending order of offsets.
pub fn matrices(blob: &Blob<'_>) -> impl Iterator<Item = (usize, usize, usize)> {
    let dims = *blob.dims();
    let begin = blob.as_bytes().as_ptr() as usize;
    let sections = [
        // x and z are two matrices, so that each half begins with a panel.
        (Section::InProj, 2 * dims.n_layer, dims.d_inner, dims.d_model),
        (Section::XProj, dims.n_layer, dims.x_proj_rows(), dims.d_inner),
        (Section::DtProj, dims.n_layer, dims.d_inner, dims.dt_rank),
        (Section::OutProj, dims.n_layer, dims.d_model, dims.d_inner),
    ];
    let blob = *blob;
    sections.into_iter().filter(|&(.., columns)| fits(columns)).flat_map(move |(section, n, rows, columns)| {
        let first = blob.section(section).as_ptr() as usize - begin;
        (0..n).map(move |i| (first + i * rows * columns, rows, columns))
    })
}
