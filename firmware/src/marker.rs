//! Markers around a region whose instructions the QEMU plugin counts, or at one of which it cuts the power
//! (`firmware/plugin`).
//!
//! They are instructions that do nothing, and that no compiler emits. A chip executes one instruction for each; without
//! the plugin nothing else happens. The compiler may move work on a few registers across them, but no memory accesses.

use core::arch::asm;

/// Begins the region.
#[inline(always)]
pub fn begin() {
    // SAFETY: the instruction changes nothing.
    unsafe {
        #[cfg(target_arch = "arm")]
        asm!("mov r9, r9", options(nostack, preserves_flags));
        #[cfg(target_arch = "riscv32")]
        asm!("slti x0, x0, 0x2b1", options(nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("movz xzr, #0xf1", options(nostack, preserves_flags));
    }
}

/// Ends it.
#[inline(always)]
pub fn end() {
    // SAFETY: as in `begin`.
    unsafe {
        #[cfg(target_arch = "arm")]
        asm!("mov r10, r10", options(nostack, preserves_flags));
        #[cfg(target_arch = "riscv32")]
        asm!("slti x0, x0, 0x2b2", options(nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("movz xzr, #0xf2", options(nostack, preserves_flags));
    }
}
