//! What the vector code of [`super::vector`] asks of a processor: operations on 16 lanes of 32 bits and 32 lanes of 16.
//!
//! A processor with narrower registers takes several for a vector. Every operation is exact, so that the algorithms
//! above them have the bits of the scalar code by construction.

/// Entries of a table of [`super::narrow`] with a step to the next one.
pub(crate) const STEPS: usize = 512;

/// Rows of a matrix that are finished together.
pub(crate) const ROWS: usize = 16;

/// The sums of [`ROWS`] rows, `256 * high + low`; `high` is 0 and not looked at if there are at most 512 columns.
#[derive(Clone, Copy)]
pub(crate) struct Sums<W> {
    pub(crate) high: W,
    pub(crate) low: W,
}

/// The operations. `self` is the proof that the processor has them.
pub(crate) trait Isa: Copy {
    /// 16 x i32.
    type W: Copy;
    /// 32 x i16.
    type H: Copy;
    /// 32 sums of products, i32, in an order of its own.
    type Y: Copy;
    /// Sums of squares, u64.
    type Q: Copy;

    fn splat(self, x: i32) -> Self::W;
    fn load_i32(self, x: &[i32; 16]) -> Self::W;
    fn load_i16(self, x: &[i16; 16]) -> Self::W;
    fn load_i8(self, x: &[i8; 16]) -> Self::W;
    fn load_u8(self, x: &[u8; 16]) -> Self::W;
    fn store_i32(self, x: Self::W, to: &mut [i32; 16]);
    /// Saturated to an activation, `-32767..=32767`.
    fn store_i16(self, x: Self::W, to: &mut [i16; 16]);

    fn add(self, a: Self::W, b: Self::W) -> Self::W;
    fn sub(self, a: Self::W, b: Self::W) -> Self::W;
    /// The low halves of the products.
    fn mul(self, a: Self::W, b: Self::W) -> Self::W;
    fn min(self, a: Self::W, b: Self::W) -> Self::W;
    fn max(self, a: Self::W, b: Self::W) -> Self::W;
    fn abs(self, a: Self::W) -> Self::W;
    fn and(self, a: Self::W, b: Self::W) -> Self::W;
    fn or(self, a: Self::W, b: Self::W) -> Self::W;
    /// `a + b`, saturated.
    fn add_saturating(self, a: Self::W, b: Self::W) -> Self::W;
    /// By `0..=31`.
    fn shl(self, a: Self::W, by: u32) -> Self::W;
    /// Arithmetic, by `0..=31`.
    fn shr(self, a: Self::W, by: u32) -> Self::W;
    /// Arithmetic, each lane by its own `0..=31`.
    fn shr_each(self, a: Self::W, by: Self::W) -> Self::W;
    /// `if test < 0 { a } else { b }`.
    fn if_negative(self, test: Self::W, a: Self::W, b: Self::W) -> Self::W;
    fn any_negative(self, a: Self::W) -> bool;

    /// `saturate_i32(round_shift(a * b, shift) + c)`, `shift` in `1..=62`, `0 <= b < 2^22`.
    fn mul_round_add(self, a: Self::W, b: Self::W, shift: u32, c: Self::W) -> Self::W;
    /// `saturate_i32(round_shift(a * b, shift))`, `shift` in `1..=62`, `-2^BITS <= b < 2^BITS`, `BITS <= 22`.
    fn mul_round<const BITS: u32>(self, a: Self::W, b: Self::W, shift: u32) -> Self::W;
    /// `saturate_i32(round_shift((256 * sums.high + sums.low) * b, shift))`, `0 <= b < 2^22`.
    fn sums_round(self, sums: Sums<Self::W>, b: Self::W, shift: u32) -> Self::W;

    /// `ROW_MULTIPLIER[code % 32] << 7 >> code / 32`: with it a row's shift is `base + 7`.
    fn multipliers(self, code: &[u8; 16]) -> Self::W;
    /// `table[index % STEPS]`.
    fn look_up(self, table: &[u32; STEPS], index: Self::W) -> Self::W;
    /// `table[index % 1024]`; the last entry is there to be read over.
    fn look_up_u16(self, table: &[u16; 1025], index: Self::W) -> Self::W;
    /// `DECAYS[index]`, `index` clamped to the table.
    fn decays(self, index: Self::W) -> Self::W;

    fn no_squares(self) -> Self::Q;
    /// `sum + a^2`.
    fn add_squares(self, sum: Self::Q, a: Self::W) -> Self::Q;
    fn total(self, sum: Self::Q) -> u64;

    /// Saturated to i16.
    fn narrow(self, first: Self::W, last: Self::W) -> Self::H;
    fn splat_h(self, x: i16) -> Self::H;
    fn load_h(self, x: &[i16; 32]) -> Self::H;
    fn store_h(self, x: Self::H, to: &mut [i16; 32]);
    /// [`mul_q15`](crate::fixed::mul_q15).
    fn mul_q15(self, a: Self::H, b: Self::H) -> Self::H;
    /// `a + b`, saturated.
    fn add_saturating_h(self, a: Self::H, b: Self::H) -> Self::H;
    /// Whether this thread's floating point is in the mode that [`Isa::decays_h`] needs, if that calculates with it and
    /// the instructions do not say the mode.
    #[inline(always)]
    fn floats(self) -> bool {
        true
    }
    /// What [`Isa::decays_h`] needs to know of 32 channels.
    type Rates: Copy;
    /// From each channel's index.
    fn rates(self, index: Self::H) -> Self::Rates;
    /// What [`Isa::decays_h`] needs to know of 32 channels of a state.
    type Factors: Copy;
    /// From each channel's byte.
    fn factors(self, code: &[u8; 32]) -> Self::Factors;
    /// `DECAYS[index + 4 * code]`, the sum clamped to the table.
    fn decays_h(self, rates: Self::Rates, factors: Self::Factors) -> Self::H;
    fn no_sums(self) -> Self::Y;
    /// `y + a * c[0] + b * c[1]`, modulo 2^32.
    fn add_products(self, y: Self::Y, a: Self::H, b: Self::H, c: [i16; 2]) -> Self::Y;
    fn store_sums(self, y: Self::Y, to: &mut [i32; 32]);

    /// Starts to fetch the line of `x` from memory, if the processor can and has to be told.
    #[inline(always)]
    fn fetch<T>(self, _: &T) {}

    /// [`Kernels::pack`](super::Kernels::pack).
    fn pack(self, x: &mut [i16]);
    /// [`Kernels::unpack`](super::Kernels::unpack).
    fn unpack(self, x: &mut [i16]);
    /// What [`Isa::dot_rows`] begins with, from a packed `x`.
    type Start: Copy;
    fn start(self, x: &[i16]) -> Self::Start;
    /// The sums of the rows of `w`, `[rows, x.len()]`, `1..=ROWS` of them; `x` is packed, not empty.
    fn dot_rows(self, w: &[i8], x: &[i16], start: Self::Start) -> Sums<Self::W>;
    /// The sums of four times [`ROWS`] rows.
    ///
    /// Rows are read four at a time, each [`ROWS`] after the one before: processors predict reads of neighbours, in one
    /// page of memory, worst. `ahead` is what is read next, to be fetched meanwhile; empty if that is not worth it.
    fn dot_panel(self, w: &[i8], x: &[i16], start: Self::Start, ahead: &[i8]) -> [Sums<Self::W>; 4];
    /// The sums of [`ROWS`] rows of at most 16 columns that begin at `w`; `w` has at least 16 bytes from the start of
    /// the last one on. `x` is not packed, padded with zeros.
    fn dot_short_rows(self, w: &[i8], columns: usize, x: &[i16; 16]) -> Self::W;
}
