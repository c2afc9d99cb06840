//! Who owns what in `decode.cu`: sizes in tiles, and which block does which tiles.
//!
//! The kernel computes the same from its parameters; a change here is a change there.

use mambabyte_core::Dims;

/// Warps of a block; they share the columns of a row of tiles.
pub(super) const WARPS: usize = 16;
/// Rows and columns of a tile.
pub(super) const TILE: usize = 16;
/// Bytes that a warp takes at once.
pub(super) const UNIT: usize = 512;
/// Bytes of one bulk copy; a warp's weights of a pass are a multiple of it.
pub(super) const CHUNK: usize = 2048;
/// Columns of one launch at most.
pub(super) const MAX_COLUMNS: usize = 32;

/// Numbers of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of `d_model`.
    pub(super) km: usize,
    /// Of `d_inner`.
    pub(super) ki: usize,
    /// Of `dt_rank`.
    pub(super) kd: usize,
    /// Of the rows of B and C together.
    pub(super) kbc: usize,
    /// Blocks, one per multiprocessor.
    pub(super) grid: usize,
}

impl Plan {
    pub(super) fn new(dims: &Dims, grid: usize) -> Self {
        let tiles = |n: usize| n.div_ceil(TILE);
        Self {
            km: tiles(dims.d_model),
            ki: tiles(dims.d_inner),
            kd: tiles(dims.dt_rank),
            kbc: tiles(2 * dims.d_state),
            grid,
        }
    }

    /// Tiles of `count` that block `block` owns if `before` other tiles were dealt first.
    pub(super) fn owned(&self, block: usize, before: usize, count: usize) -> impl Iterator<Item = usize> {
        let first = (block + self.grid - before % self.grid) % self.grid;
        (first..count).step_by(self.grid)
    }

    /// Tiles of the input projection's channels, and of what follows from them.
    pub(super) fn channels(&self, block: usize) -> impl Iterator<Item = usize> {
        self.owned(block, 0, self.ki)
    }

    /// Tiles of `x_proj`'s rows: dt (padded), then B and C.
    pub(super) fn projections(&self, block: usize) -> impl Iterator<Item = usize> {
        self.owned(block, self.km, self.kd + self.kbc)
    }

    /// Tiles of the residual stream's rows.
    pub(super) fn residuals(&self, block: usize) -> impl Iterator<Item = usize> {
        self.owned(block, 0, self.km)
    }

    /// Tiles of the head's rows.
    pub(super) fn heads(&self, block: usize) -> impl Iterator<Item = usize> {
        self.owned(block, self.km + self.kd + self.kbc, 256 / TILE)
    }

    /// k-tiles of `tiles` that warp `warp` multiplies, in its order.
    pub(super) fn shared(warp: usize, tiles: usize) -> impl Iterator<Item = usize> {
        (warp..tiles).step_by(WARPS)
    }

    /// Ring slots of a warp, for kernels of `columns` columns (8, 16 or 32).
    fn slots(columns: usize) -> usize {
        match columns {
            8 => 6,
            16 => 5,
            _ => 4,
        }
    }

    /// Bytes of shared memory that the kernel for `columns` columns (8, 16 or 32) lays out.
    pub(super) fn shared_bytes(&self, columns: usize) -> usize {
        let ring = WARPS * (Self::slots(columns) * (CHUNK + 8) + 32);
        let partial = WARPS * 2 * TILE * columns;
        let fixed = 2 * columns * TILE + 5 * columns;
        let channels = self.ki.div_ceil(self.grid) * 3 * columns * TILE;
        let selected = columns * self.kbc * TILE;
        let residual = self.km.div_ceil(self.grid) * columns * TILE;
        ring + 4 * (partial + fixed + channels + selected + residual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(grid: usize) -> Plan {
        Plan { km: 64, ki: 128, kd: 4, kbc: 2, grid }
    }

    #[test]
    fn every_tile_has_one_owner() {
        for grid in [1, 7, 64, 132, 300] {
            let plan = plan(grid);
            let count = |n: usize, of: &dyn Fn(usize) -> Vec<usize>| {
                let mut all: Vec<_> = (0..grid).flat_map(of).collect();
                all.sort_unstable();
                assert_eq!(all, (0..n).collect::<Vec<_>>(), "grid {grid}");
            };
            count(plan.ki, &|b| plan.channels(b).collect());
            count(plan.kd + plan.kbc, &|b| plan.projections(b).collect());
            count(plan.km, &|b| plan.residuals(b).collect());
            count(16, &|b| plan.heads(b).collect());
        }
    }

    #[test]
    fn the_reference_model_fits_a_block() {
        let limit = 227 * 1024;
        for columns in [8, 16, 32] {
            let bytes = plan(132).shared_bytes(columns);
            assert!(bytes <= limit, "{columns} columns: {bytes} bytes");
        }
    }
}
