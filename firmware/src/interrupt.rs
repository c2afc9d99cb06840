//! Interrupts without a chip's own crate: letting them in, sleeping until one comes, and the handler.
//!
//! On Arm all device interrupts arrive at `DefaultHandler`, which the start-up code puts into every place of the vector
//! table that nothing else takes. On RISC-V they arrive at `MachineExternal`, through the PLIC or the controller of the
//! ESP32-C3.

#[cfg(target_arch = "arm")]
pub use cortex_m_rt::exception;
#[cfg(target_arch = "riscv32")]
pub use riscv_rt::core_interrupt;

/// Makes `fn NAME()` the handler of all device interrupts.
#[cfg(target_arch = "arm")]
#[macro_export]
macro_rules! on_interrupt {
    ($handler:path) => {
        // The name that the start-up code knows; it is unsafe to call, and only the hardware does.
        #[$crate::interrupt::exception]
        unsafe fn DefaultHandler(_number: i16) {
            $handler()
        }
    };
}

/// Makes `fn NAME()` the handler of all device interrupts.
#[cfg(target_arch = "riscv32")]
#[macro_export]
macro_rules! on_interrupt {
    ($handler:path) => {
        #[$crate::interrupt::core_interrupt(riscv::interrupt::Interrupt::MachineExternal)]
        fn machine_external() {
            $crate::interrupt::external($handler)
        }
    };
}

#[cfg(target_arch = "arm")]
mod arch {
    use cortex_m::interrupt::InterruptNumber;
    use cortex_m::peripheral::NVIC;

    #[derive(Clone, Copy)]
    struct Number(u16);

    // SAFETY: gives the number it was made of, always the same one.
    unsafe impl InterruptNumber for Number {
        fn number(self) -> u16 {
            self.0
        }
    }

    /// Lets these interrupts in.
    pub fn enable(numbers: &[u16]) {
        for &number in numbers {
            // SAFETY: no critical section relies on a masked device interrupt; they all mask every interrupt.
            unsafe { NVIC::unmask(Number(number)) };
        }
    }

    /// Sleeps until the next interrupt, unless `ready`. An interrupt between the question and the sleep ends the sleep.
    pub fn sleep_unless(ready: impl FnOnce() -> bool) {
        cortex_m::interrupt::free(|_| {
            if !ready() {
                cortex_m::asm::wfi();
            }
        });
    }
}

#[cfg(target_arch = "riscv32")]
mod arch {
    use crate::registers::Registers;

    #[cfg(board = "esp32c3")]
    pub use matrix::{enable, external};
    #[cfg(not(board = "esp32c3"))]
    pub use plic::{enable, external};

    #[cfg(not(board = "esp32c3"))]
    mod plic {
        use riscv::interrupt::Interrupt;

        use super::Registers;

        // SAFETY: the interrupt controller of QEMU's machine `virt`, which the emulated RISC-V boards all are. Offsets:
        // priority of a source, enable bits, threshold and claim of hart 0 in machine mode.
        const PLIC: Registers = unsafe { Registers::at(0x0c00_0000) };
        const ENABLE: usize = 0x2000;
        const THRESHOLD: usize = 0x20_0000;
        const CLAIM: usize = 0x20_0004;

        /// Lets these interrupts in.
        pub fn enable(numbers: &[u16]) {
            for &number in numbers {
                PLIC.write(4 * number as usize, 1);
                PLIC.set(ENABLE + number as usize / 32 * 4, 1 << (number % 32));
            }
            PLIC.write(THRESHOLD, 0);
            // SAFETY: no critical section is open; the program calls this once, from its start.
            unsafe {
                riscv::interrupt::enable_interrupt(Interrupt::MachineExternal);
                riscv::interrupt::enable();
            }
        }

        /// Runs `handler` for every request that the controller has.
        pub fn external(handler: impl Fn()) {
            loop {
                let source = PLIC.read(CLAIM);
                if source == 0 {
                    return;
                }
                handler();
                PLIC.write(CLAIM, source);
            }
        }
    }

    /// The ESP32-C3 leads every source to one of 31 lines (technical reference manual, chapter 8). Line 11 has the
    /// number of RISC-V's external interrupt, so that the same handler is reached.
    #[cfg(board = "esp32c3")]
    mod matrix {
        use super::Registers;

        // SAFETY: the interrupt matrix of the chip that this file is compiled for; all offsets are its registers.
        const MATRIX: Registers = unsafe { Registers::at(0x600c_2000) };
        const LINE: usize = 11;
        const LINE_ENABLE: usize = 0x104;
        const LINE_PRIORITY: usize = 0x114;
        const THRESHOLD: usize = 0x194;

        /// Lets these interrupts in.
        pub fn enable(numbers: &[u16]) {
            for &number in numbers {
                MATRIX.write(4 * number as usize, LINE as u32);
            }
            MATRIX.write(LINE_PRIORITY + 4 * LINE, 1);
            MATRIX.write(THRESHOLD, 1);
            MATRIX.set(LINE_ENABLE, 1 << LINE);
            // SAFETY: no critical section is open; the program calls this once, from its start.
            unsafe { riscv::interrupt::enable() };
        }

        /// Runs `handler`; a request lasts until its cause is gone.
        pub fn external(handler: impl Fn()) {
            handler();
        }
    }

    /// Sleeps until the next interrupt, unless `ready`. An interrupt between the question and the sleep ends the sleep.
    pub fn sleep_unless(ready: impl FnOnce() -> bool) {
        riscv::interrupt::free(|| {
            if !ready() {
                riscv::asm::wfi();
            }
        });
    }
}

pub use arch::*;
