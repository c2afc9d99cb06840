//! Who computes a layer: one pass [`Alone`], or a shard of a team whose shards exchange what they computed.

use super::share::Share;
use crate::cannot::never;

/// What a shard of a team does between the phases of a layer: it gives the others what it computed and takes what they
/// computed. Every shard calls each function, in the same order. `None` ends the step: another shard is gone.
///
/// A function gets the whole buffer. The shard's own part ([`Share`]) is computed; the function fills in the others.
pub trait Exchange {
    /// `x` `[d_inner]`; own: [`Share::channels`].
    fn x(&mut self, x: &mut [i16]) -> Option<()>;
    /// dt, B and C `[dt_rank + 2 * d_state]`; own: [`Share::select`].
    fn selected(&mut self, selected: &mut [i16]) -> Option<()>;
    /// The gated output `[d_inner]`, own: [`Share::channels`], and the bits of its magnitudes, or-ed; returns those of
    /// all shards, or-ed.
    fn gated(&mut self, gated: &mut [i32], bits: u32) -> Option<u32>;
    /// The residual stream `[d_model]`; own: [`Share::output`].
    fn residual(&mut self, residual: &mut [i32]) -> Option<()>;
}

/// Which part of a layer a pass computes, and how it learns of the rest.
pub(crate) trait Team<'t> {
    /// Whether it computes all of the layer.
    const ALONE: bool;

    /// The share, and its channels of this layer's convolution weights and `a_log`; `None` if it computes all.
    fn share(&self) -> Option<(&'t Share, &'t [u8])>;
    /// Its own channels of a buffer `[d_inner]`.
    fn channels<'b, T>(&self, all: &'b mut [T]) -> &'b mut [T];
    /// Its own rows of `x_proj` in a buffer, and the first one's index.
    fn select<'b>(&self, all: &'b mut [i16]) -> (usize, &'b mut [i16]);
    /// Its own rows of the residual stream.
    fn output<'b>(&self, all: &'b mut [i32]) -> &'b mut [i32];
    /// See [`Exchange::x`].
    fn x(&mut self, x: &mut [i16]) -> Option<()>;
    /// See [`Exchange::selected`].
    fn selected(&mut self, selected: &mut [i16]) -> Option<()>;
    /// See [`Exchange::gated`].
    fn gated(&mut self, gated: &mut [i32], bits: u32) -> Option<u32>;
    /// See [`Exchange::residual`].
    fn residual(&mut self, residual: &mut [i32]) -> Option<()>;
}

/// All of every layer.
pub(crate) struct Alone;

impl Team<'static> for Alone {
    const ALONE: bool = true;

    #[inline(always)]
    fn share(&self) -> Option<(&'static Share, &'static [u8])> {
        None
    }

    #[inline(always)]
    fn channels<'b, T>(&self, all: &'b mut [T]) -> &'b mut [T] {
        all
    }

    #[inline(always)]
    fn select<'b>(&self, all: &'b mut [i16]) -> (usize, &'b mut [i16]) {
        (0, all)
    }

    #[inline(always)]
    fn output<'b>(&self, all: &'b mut [i32]) -> &'b mut [i32] {
        all
    }

    #[inline(always)]
    fn x(&mut self, _: &mut [i16]) -> Option<()> {
        Some(())
    }

    #[inline(always)]
    fn selected(&mut self, _: &mut [i16]) -> Option<()> {
        Some(())
    }

    #[inline(always)]
    fn gated(&mut self, _: &mut [i32], bits: u32) -> Option<u32> {
        Some(bits)
    }

    #[inline(always)]
    fn residual(&mut self, _: &mut [i32]) -> Option<()> {
        Some(())
    }
}

/// A share of every layer.
pub(crate) struct Sharing<'s, E> {
    /// Which share.
    pub(crate) share: &'s Share,
    /// Its channels of this layer's convolution weights and `a_log`, which do not lie together in a blob.
    pub(crate) strided: &'s [u8],
    /// The way to the others.
    pub(crate) exchange: &'s mut E,
}

impl<'s, E: Exchange> Team<'s> for Sharing<'s, E> {
    const ALONE: bool = false;

    fn share(&self) -> Option<(&'s Share, &'s [u8])> {
        Some((self.share, self.strided))
    }

    fn channels<'b, T>(&self, all: &'b mut [T]) -> &'b mut [T] {
        all.get_mut(self.share.channels.clone()).unwrap_or_else(|| never("own channels", &mut []))
    }

    fn select<'b>(&self, all: &'b mut [i16]) -> (usize, &'b mut [i16]) {
        let own = all.get_mut(self.share.select.clone()).unwrap_or_else(|| never("own rows of x_proj", &mut []));
        (self.share.select.start, own)
    }

    fn output<'b>(&self, all: &'b mut [i32]) -> &'b mut [i32] {
        all.get_mut(self.share.output.clone()).unwrap_or_else(|| never("own rows of out_proj", &mut []))
    }

    fn x(&mut self, x: &mut [i16]) -> Option<()> {
        self.exchange.x(x)
    }

    fn selected(&mut self, selected: &mut [i16]) -> Option<()> {
        self.exchange.selected(selected)
    }

    fn gated(&mut self, gated: &mut [i32], bits: u32) -> Option<u32> {
        self.exchange.gated(gated, bits)
    }

    fn residual(&mut self, residual: &mut [i32]) -> Option<()> {
        self.exchange.residual(residual)
    }
}
