//! Who owns what in `decode.cu`: sizes in tiles, and which block does which tiles.
//!
//! The kernel computes the same from its parameters: a change here needs the same change there.

use std::ops::Range;

use mambabyte_core::Dims;

use super::form::Form;

/// Warps of a block; they share the columns of a row of tiles.
pub(super) const WARPS: usize = 8;
/// Rows and columns of a tile.
pub(super) const TILE: usize = 16;
/// Bytes that a warp takes at a time.
pub(super) const UNIT: usize = 512;
/// Tiles of one bulk copy: a warp's weights of a row of tiles are padded to a multiple of it.
const CHUNKS: [usize; 3] = [16, 8, 4];
/// Numbers of chunks that a warp's ring may have.
const SLOTS: Range<usize> = 2..15;
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
    /// Tiles of one bulk copy: as many as fit and waste no more than a tenth.
    pub(super) chunk: usize,
}

impl Plan {
    /// For blocks with `limit` bytes of shared memory.
    pub(super) fn new(dims: &Dims, form: Form, grid: usize, limit: usize) -> Self {
        let tiles = |n: usize| n.div_ceil(TILE);
        let [.., least] = CHUNKS;
        let mut plan = Self {
            km: tiles(dims.d_model),
            ki: tiles(dims.d_inner),
            kd: tiles(dims.dt_rank),
            kbc: tiles(2 * dims.d_state),
            grid,
            chunk: least,
        };
        for chunk in CHUNKS {
            let larger = Self { chunk, ..plan };
            let fits = larger.shared(MAX_COLUMNS, form, dims.d_state, limit).is_ok();
            if fits && larger.padded() * 10 <= plan.padded() * 11 {
                plan = larger;
                break;
            }
        }
        plan
    }

    /// Tiles that a warp reads for one row of tiles of each large matrix.
    fn padded(&self) -> usize {
        let of_warp = |tiles: usize, rows: usize| (rows * tiles.div_ceil(WARPS)).next_multiple_of(self.chunk);
        of_warp(self.km, 2) + of_warp(self.ki, 1)
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
        let count = self.kd + self.kbc;
        // The last blocks: they have the least other work.
        self.owned(block, self.grid - count % self.grid, count)
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
    pub(super) fn of_warp(warp: usize, tiles: usize) -> impl Iterator<Item = usize> {
        (warp..tiles).step_by(WARPS)
    }

    /// Bytes of one bulk copy.
    pub(super) fn chunk_bytes(&self, form: Form) -> usize {
        UNIT * form.units(self.chunk)
    }

    /// Floats of a channel tile's vectors and units of `dt_proj`.
    pub(super) const fn side_channel(&self, form: Form, d_state: usize) -> usize {
        Self::channel_floats(d_state) + form.units(self.kd) * UNIT / 4
    }

    /// Floats of a block's vectors before those of the residual stream's tiles, and before those of x_proj's.
    pub(super) fn side_parts(&self, form: Form, d_state: usize) -> (usize, usize) {
        let most = |tiles: usize| tiles.div_ceil(self.grid);
        let residual = most(self.ki) * self.side_channel(form, d_state);
        (residual, residual + most(self.km) * 2 * TILE)
    }

    /// Floats of a channel tile's vectors, before its units of `dt_proj`.
    pub(super) const fn channel_floats(d_state: usize) -> usize {
        TILE * (14 + d_state)
    }

    /// Bytes of a block's vectors of one layer, the same for every block.
    pub(super) fn side_bytes(&self, form: Form, d_state: usize) -> usize {
        4 * (self.side_parts(form, d_state).1 + (self.kd + self.kbc).div_ceil(self.grid) * TILE)
    }

    /// Chunks of a warp's ring and bytes of shared memory that the kernel for `columns` columns (8, 16 or 32) lays out,
    /// if `limit` bytes suffice; else the bytes that would suffice.
    pub(super) fn shared(
        &self,
        columns: usize,
        form: Form,
        d_state: usize,
        limit: usize,
    ) -> Result<(usize, usize), usize> {
        let most = |tiles: usize| tiles.div_ceil(self.grid);
        let barriers = 2 * (WARPS * (SLOTS.end - 1) + 2);
        let partial = WARPS * 2 * (columns * (TILE + 4) + TILE);
        let fixed = 2 * columns * TILE + 3 * columns;
        let selected = self.kd * columns * 8 + (columns * d_state).div_ceil(32) * 64;
        let channels = most(self.ki) * 3 * columns * TILE;
        let residual = most(self.km) * columns * TILE;
        let words = barriers + partial + fixed + selected + channels + residual;
        // The ring is aligned.
        let before = 4 * words + 2 * self.side_bytes(form, d_state) + 128;
        let slot = WARPS * self.chunk_bytes(form);
        let slots = (limit.saturating_sub(before) / slot).min(SLOTS.end - 1);
        let bytes = |slots: usize| before + slots * slot;
        if slots < SLOTS.start { Err(bytes(SLOTS.start)) } else { Ok((slots, bytes(slots))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(grid: usize) -> Plan {
        Plan { km: 64, ki: 128, kd: 4, kbc: 2, grid, chunk: 16 }
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
        for form in [Form::Bf16, Form::I8] {
            for columns in [8, 16, 32] {
                let (slots, bytes) = plan(132).shared(columns, form, 16, limit).unwrap();
                assert!(bytes <= limit, "{columns} columns: {bytes} bytes");
                // What the memory should have in flight.
                let ring = slots * WARPS * plan(132).chunk_bytes(form);
                assert!(ring >= 96 * 1024, "{columns} columns: {ring} bytes");
            }
        }
        assert!(plan(132).shared(8, Form::Bf16, 16, 64 * 1024).is_err());
    }
}
