//! What becomes of the sums of four rows of a projection: scaled, stored as i16 or i32 or added.
#![allow(unsafe_code, reason = "the functions are assembly; the loops that call them have their reasons")]

use core::arch::naked_asm;

/// What becomes of the sums of four rows, r2 to r5; r0 is the address of [`Rows`]. It leaves the flags at "equal" when
/// it has done the last rows. All registers but r0, r1 and sp are free.
pub(super) type Finish = unsafe extern "C" fn();
/// What a loop reads and keeps, in the order of its loads.
#[repr(C)]
pub(super) struct Rows {
    /// `[rows]`.
    pub(super) code: *const u8,
    pub(super) multiplier: *const i32,
    /// `base - 16`, or its negative if that is below 0.
    pub(super) shift: u32,
    /// `[rows]` of i16 or i32.
    pub(super) y: *mut u8,
    /// After the last row of `y`.
    pub(super) end: *const u8,
    /// `[n]`, packed.
    pub(super) x: *const i16,
    pub(super) finish: Finish,
    /// `[rows, n]`.
    pub(super) w: *const i8,
}

/// What becomes of sums: the functions for a shift up, for one down by little and by more.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) up: Option<Finish>,
    /// Whether `up` sees for itself that sums have room.
    pub(super) checks: bool,
    pub(super) near: Finish,
    pub(super) far: Finish,
}

/// A [`Finish`]: `$scale` turns the sums r2-r5 into results, by the multipliers in r6-r9 and the shift in r10. `$store`
/// stores them at r11 and advances it.
macro_rules! finish {
    ($name:ident, [$($scale:literal),*], [$($store:literal),*]) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            naked_asm!(
                cpu!(),
                "ldm r0, {{r6, r7, r10, r11}}",
                "ldr r12, [r6], #4",
                "str r6, [r0]",
                "uxtb r6, r12",
                "uxtb r8, r12, ror #16",
                "lsr r9, r12, #24",
                "uxtb r12, r12, ror #8",
                "ldr r6, [r7, r6, lsl #2]",
                "ldr r8, [r7, r8, lsl #2]",
                "ldr r9, [r7, r9, lsl #2]",
                "ldr r7, [r7, r12, lsl #2]",
                $($scale,)*
                $($store,)*
                "str r11, [r0, #12]",
                "ldr r10, [r0, #16]",
                "cmp r11, r10",
                "bx lr",
            )
        }
    };
}

/// `finish!` for one way to scale and one way to store.
macro_rules! with_scale_and_store {
    // Multipliers have at least eight zero bits below their product's rounding; nine with the mantissa's shift by one.
    ($name:ident, near, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "asr r6, r6, r10", "asr r7, r7, r10", "asr r8, r8, r10", "asr r9, r9, r10",
            "smmulr r2, r2, r6", "smmulr r3, r3, r7", "smmulr r4, r4, r8", "smmulr r5, r5, r9"
        ], $($rest)*);
    };
    // SMMUL gives the high word; the bit that the shift drops last rounds.
    ($name:ident, far, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "smmul r2, r2, r6", "smmul r3, r3, r7", "smmul r4, r4, r8", "smmul r5, r5, r9",
            "asrs r2, r2, r10", "adc r2, r2, #0",
            "asrs r3, r3, r10", "adc r3, r3, #0",
            "asrs r4, r4, r10", "adc r4, r4, #0",
            "asrs r5, r5, r10", "adc r5, r5, #0"
        ], $($rest)*);
    };
    // As below, but if one of the sums has no room the loop ends here.
    ($name:ident, up_if_there_is_room, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "b 8f",
            "7:", "cmp r0, r0", "bx lr",
            "8:",
            "lsl r12, r2, r10", "asr r11, r12, r10", "cmp r11, r2", "bne 7b", "smmulr r2, r12, r6",
            "lsl r12, r3, r10", "asr r11, r12, r10", "cmp r11, r3", "bne 7b", "smmulr r3, r12, r7",
            "lsl r12, r4, r10", "asr r11, r12, r10", "cmp r11, r4", "bne 7b", "smmulr r4, r12, r8",
            "lsl r12, r5, r10", "asr r11, r12, r10", "cmp r11, r5", "bne 7b", "smmulr r5, r12, r9",
            "ldr r11, [r0, #12]"
        ], $($rest)*);
    };
    // The sums have room for the shift up: their rows are short.
    ($name:ident, up, $($rest:tt)*) => {
        with_scale_and_store!(@ $name, [
            "lsl r2, r2, r10", "lsl r3, r3, r10", "lsl r4, r4, r10", "lsl r5, r5, r10",
            "smmulr r2, r2, r6", "smmulr r3, r3, r7", "smmulr r4, r4, r8", "smmulr r5, r5, r9"
        ], $($rest)*);
    };
    // Saturated to -32768..=32767, then -32768 becomes -32767: down by one and up by one, both saturating.
    (@ $name:ident, $scale:tt, i16) => {
        finish!($name, $scale, [
            "ssat r2, #16, r2",
            "ssat r3, #16, r3",
            "ssat r4, #16, r4",
            "ssat r5, #16, r5",
            "pkhbt r2, r2, r3, lsl #16",
            "pkhbt r3, r4, r5, lsl #16",
            "mov r6, #0x00010001",
            "qsub16 r2, r2, r6",
            "qsub16 r3, r3, r6",
            "qadd16 r2, r2, r6",
            "qadd16 r3, r3, r6",
            "strd r2, r3, [r11], #8"
        ]);
    };
    (@ $name:ident, $scale:tt, i32) => {
        finish!($name, $scale, ["stm r11!, {{r2-r5}}"]);
    };
    (@ $name:ident, $scale:tt, add) => {
        finish!($name, $scale, [
            "ldm r11, {{r6-r9}}",
            "qadd r2, r2, r6",
            "qadd r3, r3, r7",
            "qadd r4, r4, r8",
            "qadd r5, r5, r9",
            "stm r11!, {{r2-r5}}"
        ]);
    };
}

with_scale_and_store!(near_i16, near, i16);
with_scale_and_store!(far_i16, far, i16);
with_scale_and_store!(up_i32, up, i32);
with_scale_and_store!(near_i32, near, i32);
with_scale_and_store!(far_i32, far, i32);
with_scale_and_store!(up_add, up_if_there_is_room, add);
with_scale_and_store!(near_add, near, add);
with_scale_and_store!(far_add, far, add);
