//! Interrupts without a chip's own crate: letting them in, sleeping until one comes, and the handler.
//!
//! On Arm all device interrupts arrive at `DefaultHandler`, which the start-up code puts into every place of the vector
//! table that nothing else takes. On RISC-V they arrive through one controller, the PLIC, at `MachineExternal`.

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
    use riscv::interrupt::Interrupt;

    use crate::registers::Registers;

    // SAFETY: the interrupt controller of QEMU's machine `virt`, which the RISC-V boards here all are. Offsets: priority
    // of a source, enable bits, threshold and claim of hart 0 in machine mode.
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

    /// Sleeps until the next interrupt, unless `ready`. An interrupt between the question and the sleep ends the sleep.
    pub fn sleep_unless(ready: impl FnOnce() -> bool) {
        riscv::interrupt::free(|| {
            if !ready() {
                riscv::asm::wfi();
            }
        });
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

pub use arch::*;
