//! Who computes a layer: one pass [`Alone`], or a shard of a team whose members exchange what they computed.

use super::share::Share;
use crate::cannot::never;

/// What a member of a team does between the phases of a layer: hands over what it computed and takes in what the others
/// did. Every member calls each function, in the same order; `None` ends the step, for a member that is gone.
///
/// A function gets the whole buffer, in which the own part ([`Share`]) is computed and the others are to be filled in.
pub trait Exchange {
    /// `x` `[d_inner]`; own: [`Share::channels`].
    fn x(&mut self, x: &mut [i16]) -> Option<()>;
    /// dt, B and C `[dt_rank + 2 * d_state]`; own: [`Share::select`].
    fn selected(&mut self, selected: &mut [i16]) -> Option<()>;
    /// The gated output `[d_inner]`, own: [`Share::channels`], and the bits of its magnitudes, or-ed: returns those of all
    /// members, or-ed.
    fn gated(&mut self, gated: &mut [i32], bits: u32) -> Option<u32>;
    /// The residual stream `[d_model]`; own: [`Share::output`].
    fn residual(&mut self, residual: &mut [i32]) -> Option<()>;
}

/// Which part of a layer a pass computes, and how it learns of the rest.
pub(crate) trait Team<'t> {
    /// Whether it computes all of it.
    const ALONE: bool;

    /// The share, and the own channels of this layer's convolution weights and `a_log`; `None` if it computes all.
    fn share(&self) -> Option<(&'t Share, &'t [u8])>;
    /// The own channels of a buffer `[d_inner]`.
    fn channels<'b, T>(&self, all: &'b mut [T]) -> &'b mut [T];
    /// The own rows of `x_proj` of a buffer, and the first one's index.
    fn select<'b>(&self, all: &'b mut [i16]) -> (usize, &'b mut [i16]);
    /// The own rows of the residual stream.
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
    /// The own channels of this layer's convolution weights and `a_log`, which do not lie together in a blob.
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
