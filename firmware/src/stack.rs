//! How much stack a program has used: painted at the start, looked at later.

use core::ptr::{addr_of, read_volatile, write_volatile};

/// The most bytes that are watched, from the stack's start down.
const WATCHED: usize = 8 * 1024;
/// Bytes below the caller's frame that are left alone: the frames of this module.
const MARGIN: usize = 256;
const PAINT: u32 = 0xa5a5_5aa5;

unsafe extern "C" {
    /// First address after the stack, which grows down.
    static _stack_start: u8;
    /// Lowest address of the stack.
    #[cfg_attr(target_arch = "riscv32", link_name = "__estack")]
    static _stack_end: u8;
}

/// Lowest address that is watched and the stack's start.
fn bounds() -> (usize, usize) {
    let (start, end) = (addr_of!(_stack_start) as usize, addr_of!(_stack_end) as usize);
    (end.max(start.saturating_sub(WATCHED)).next_multiple_of(4), start)
}

/// Paints the unused stack. To be called first, from the program's main function, once.
#[inline(never)]
pub fn paint() {
    let here = 0u32;
    let top = (addr_of!(here) as usize).saturating_sub(MARGIN);
    let mut at = bounds().0;
    while at < top {
        // SAFETY: aligned, inside the stack's region of the linker script, below every live frame by a margin that
        // holds this function's own; interrupts are not enabled yet, and the region belongs to nothing else.
        unsafe { write_volatile(at as *mut u32, PAINT) };
        at += 4;
    }
}

/// Most bytes of stack used since [`paint`], and how many are watched. Both are equal if it was that much or more.
pub fn used() -> (usize, usize) {
    let (low, start) = bounds();
    let mut at = low;
    // SAFETY: aligned and inside the stack's region, which is memory for as long as the program runs. Live frames are
    // read only as far as the first word that has been written, and as plain words.
    while at < start && unsafe { read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    (start - at, start - low)
}
