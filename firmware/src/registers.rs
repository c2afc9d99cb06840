//! Access to the registers of devices: the place where addresses become memory accesses.

/// A block of registers.
#[derive(Debug)]
pub struct Registers(usize);

impl Registers {
    /// The block at `base`.
    ///
    /// # Safety
    /// * A device lies there, and every offset used with this block is one of its registers.
    /// * Its registers hold no addresses of memory that the program uses (as those of a DMA controller would).
    pub const unsafe fn at(base: usize) -> Self {
        Self(base)
    }

    /// Reads the word at `offset`.
    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: a register of the device, by the promise given to `at`.
        unsafe { ((self.0 + offset) as *const u32).read_volatile() }
    }

    /// Writes the word at `offset`.
    pub fn write(&self, offset: usize, value: u32) {
        // SAFETY: a register of the device, by the promise given to `at`; it directs no access to memory.
        unsafe { ((self.0 + offset) as *mut u32).write_volatile(value) }
    }

    /// Sets bits of the word at `offset`.
    pub fn set(&self, offset: usize, bits: u32) {
        self.write(offset, self.read(offset) | bits);
    }

    /// Writes `value` into the bits of `mask` of the word at `offset`.
    pub fn replace(&self, offset: usize, mask: u32, value: u32) {
        self.write(offset, self.read(offset) & !mask | value);
    }

    /// Reads the byte at `offset`.
    pub fn read_byte(&self, offset: usize) -> u8 {
        // SAFETY: as in `read`.
        unsafe { ((self.0 + offset) as *const u8).read_volatile() }
    }

    /// Writes the byte at `offset`.
    pub fn write_byte(&self, offset: usize, value: u8) {
        // SAFETY: as in `write`.
        unsafe { ((self.0 + offset) as *mut u8).write_volatile(value) }
    }
}
