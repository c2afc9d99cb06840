//! What the ROMs of some chips want to find before they start a program.

/// Sets the flash up for reading at full speed; the ROM of the RP2040 runs it first. For the W25Q080 family of the
/// Pico.
#[cfg(board = "rp2040")]
#[unsafe(link_section = ".boot2")]
#[unsafe(no_mangle)]
pub static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// "An Arm program for the secure state" (RP2350 datasheet, 5.9): start of a block, type of the image, end of the list
/// of items, no other block, end of the block.
#[cfg(board = "rp2350")]
#[unsafe(link_section = ".start_block")]
#[unsafe(no_mangle)]
pub static IMAGE_DEFINITION: [u32; 5] = [0xffff_ded3, 0x1021_0142, 0x0000_01ff, 0, 0xab12_3579];

// The ESP32-C3 jumps into a table at every trap, one entry for each of its 31 interrupts and the first for exceptions.
// All lead to the one place that asks for the cause.
#[cfg(board = "esp32c3")]
core::arch::global_asm!(
    ".section .trap.vector, \"ax\"",
    ".balign 256",
    ".option push",
    ".option norvc",
    ".global trap_table",
    "trap_table:",
    ".rept 32",
    "j _start_trap",
    ".endr",
    ".option pop",
);

/// Instead of the start-up code's own, which would name one address without a table.
#[cfg(board = "esp32c3")]
#[riscv_rt::setup_interrupts]
fn setup_interrupts(_hart: usize) {
    use riscv::register::mtvec::{self, Mtvec, TrapMode};
    unsafe extern "C" {
        static trap_table: [u32; 32];
    }
    // SAFETY: the table lies at a multiple of 256 bytes, as the chip wants, and the entries are jumps.
    unsafe { mtvec::write(Mtvec::new(core::ptr::addr_of!(trap_table) as usize, TrapMode::Vectored)) };
}

/// A fault restarts a board that no debugger watches; a debugger that is attached sees the fault before this runs.
#[cfg(all(real, target_arch = "arm"))]
#[cortex_m_rt::exception]
unsafe fn HardFault(_frame: &cortex_m_rt::ExceptionFrame) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// Likewise.
#[cfg(board = "esp32c3")]
#[unsafe(export_name = "ExceptionHandler")]
fn exception(_frame: &riscv_rt::TrapFrame) -> ! {
    const OPTIONS0: usize = 0;
    const RESET: u32 = 1 << 31;
    // SAFETY: the clock of standby of the chip that this file is compiled for; the offset is its register.
    let rtc = unsafe { crate::registers::Registers::at(0x6000_8000) };
    rtc.set(OPTIONS0, RESET);
    loop {
        riscv::asm::nop();
    }
}
