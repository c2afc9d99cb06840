//! Chips that people put byte models on. Memory sizes are the manufacturers'; buy by the datasheet, not by this table.

use mambabyte_core::Dims;
use mambabyte_core::blob::blob_bytes;
use mambabyte_host::adapt::Preset;

/// A microcontroller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Part or family.
    pub name: &'static str,
    /// Its core, for people.
    pub core: &'static str,
    /// The core that instructions were counted on for it, as in the table of [`speed`](crate::speed).
    pub counted: &'static str,
    /// Highest clock in MHz.
    pub mhz: u32,
    /// Flash that a program can be read from in place, bytes.
    pub flash: u64,
    /// RAM in one piece or easily used as one, bytes.
    pub ram: u64,
}

const K: u64 = 1024;

/// The table: flash and RAM in KiB.
pub const CHIPS: [Chip; 18] = [
    chip("nRF51822 (micro:bit)", "M0", "Cortex-M0", 16, 256, 16),
    chip("RP2040 (Pico)", "M0+", "Cortex-M0", 133, 2048, 264),
    chip("STM32L072", "M0+", "Cortex-M0", 32, 192, 20),
    chip("STM32G071", "M0+", "Cortex-M0", 64, 128, 36),
    chip("SAMD21G18", "M0+", "Cortex-M0", 48, 256, 32),
    chip("STM32F103C8 (Blue Pill)", "M3", "Cortex-M3", 72, 64, 20),
    chip("LM3S6965", "M3", "Cortex-M3", 50, 256, 64),
    chip("STM32F405/407", "M4F", "Cortex-M4F", 168, 1024, 128),
    chip("STM32F411", "M4F", "Cortex-M4F", 100, 512, 128),
    chip("nRF52840", "M4F", "Cortex-M4F", 64, 1024, 256),
    chip("STM32F746", "M7", "Cortex-M7", 216, 1024, 320),
    chip("STM32H743", "M7", "Cortex-M7", 480, 2048, 512),
    chip("Teensy 4.1", "M7", "Cortex-M7", 600, 8192, 512),
    chip("STM32U585", "M33", "Cortex-M33", 160, 2048, 768),
    chip("RP2350 (Pico 2)", "M33 or Hazard3", "Cortex-M33", 150, 4096, 520),
    chip("ESP32-C3", "rv32imc", "RV32IMC", 160, 4096, 320),
    chip("ESP32-C6", "rv32imac", "RV32IMAC", 160, 4096, 512),
    chip("Alif Ensemble E3 (HP)", "M55 + Helium", "Cortex-M55", 400, 5632, 4096),
];

const fn chip(
    name: &'static str,
    core: &'static str,
    counted: &'static str,
    mhz: u32,
    flash_kib: u64,
    ram_kib: u64,
) -> Chip {
    Chip { name, core, counted, mhz, flash: flash_kib * K, ram: ram_kib * K }
}

/// Flash set aside for the program around the model.
pub const PROGRAM_FLASH: u64 = 32 * K;
/// RAM set aside for stack, buffers and the rest of the program.
pub const PROGRAM_RAM: u64 = 8 * K;

/// What a model takes, from the functions that firmware sizes its memory with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes of the blob.
    pub flash: u64,
    /// Bytes of the state.
    pub state: u64,
    /// Bytes of scratch memory.
    pub scratch: u64,
    /// Bytes of an adapter's tables.
    pub adapter: u64,
    /// Bytes of its start values, in flash.
    pub start_values: u64,
}

impl Need {
    /// For a model of shape `dims`.
    pub fn of(dims: &Dims) -> Self {
        let (state, scratch) = (dims.state_bytes() as u64, dims.scratch_bytes() as u64);
        Self { flash: blob_bytes(dims), state, scratch, ..Self::default() }
    }

    /// The same and an adapter.
    pub const fn with(self, preset: Preset) -> Self {
        Self { adapter: preset.bytes() as u64, start_values: preset.start_bytes() as u64, ..self }
    }

    /// All of it in flash.
    pub const fn rom(&self) -> u64 {
        self.flash + self.start_values
    }

    /// All of it in RAM.
    pub const fn ram(&self) -> u64 {
        self.state + self.scratch + self.adapter
    }

    /// Flash and RAM left on `chip` beside model and program; negative if they do not fit.
    pub fn left(&self, chip: &Chip) -> (i64, i64) {
        let flash = chip.flash as i64 - (self.rom() + PROGRAM_FLASH) as i64;
        let ram = chip.ram as i64 - (self.ram() + PROGRAM_RAM) as i64;
        (flash, ram)
    }
}
