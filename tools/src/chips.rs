//! Chips that people put byte models on. Memory sizes are the manufacturers'; buy by the datasheet, not by this table.

use mambabyte_core::Dims;
use mambabyte_core::blob::blob_bytes;

/// A microcontroller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Part or family.
    pub name: &'static str,
    /// Core and clock.
    pub core: &'static str,
    /// Flash that a program can be read from in place, bytes.
    pub flash: u64,
    /// RAM in one piece or easily used as one, bytes.
    pub ram: u64,
}

const K: u64 = 1024;

/// The table.
pub const CHIPS: [Chip; 18] = [
    Chip { name: "nRF51822 (micro:bit)", core: "M0, 16 MHz", flash: 256 * K, ram: 16 * K },
    Chip { name: "RP2040 (Pico)", core: "M0+, 133 MHz", flash: 2048 * K, ram: 264 * K },
    Chip { name: "STM32L072", core: "M0+, 32 MHz", flash: 192 * K, ram: 20 * K },
    Chip { name: "STM32G071", core: "M0+, 64 MHz", flash: 128 * K, ram: 36 * K },
    Chip { name: "SAMD21G18", core: "M0+, 48 MHz", flash: 256 * K, ram: 32 * K },
    Chip { name: "STM32F103C8 (Blue Pill)", core: "M3, 72 MHz", flash: 64 * K, ram: 20 * K },
    Chip { name: "LM3S6965", core: "M3, 50 MHz", flash: 256 * K, ram: 64 * K },
    Chip { name: "STM32F405/407", core: "M4F, 168 MHz", flash: 1024 * K, ram: 128 * K },
    Chip { name: "STM32F411", core: "M4F, 100 MHz", flash: 512 * K, ram: 128 * K },
    Chip { name: "nRF52840", core: "M4F, 64 MHz", flash: 1024 * K, ram: 256 * K },
    Chip { name: "STM32F746", core: "M7, 216 MHz", flash: 1024 * K, ram: 320 * K },
    Chip { name: "STM32H743", core: "M7, 480 MHz", flash: 2048 * K, ram: 512 * K },
    Chip { name: "Teensy 4.1", core: "M7, 600 MHz", flash: 8192 * K, ram: 512 * K },
    Chip { name: "STM32U585", core: "M33, 160 MHz", flash: 2048 * K, ram: 768 * K },
    Chip { name: "RP2350 (Pico 2)", core: "M33 or Hazard3, 150 MHz", flash: 4096 * K, ram: 520 * K },
    Chip { name: "ESP32-C3", core: "rv32imc, 160 MHz", flash: 4096 * K, ram: 320 * K },
    Chip { name: "ESP32-C6", core: "rv32imac, 160 MHz", flash: 4096 * K, ram: 512 * K },
    Chip { name: "Alif Ensemble E3 (HP)", core: "M55 + Helium, 400 MHz", flash: 5632 * K, ram: 4096 * K },
];

/// Flash set aside for the program around the model.
pub const PROGRAM_FLASH: u64 = 32 * K;
/// RAM set aside for stack, buffers and the rest of the program.
pub const PROGRAM_RAM: u64 = 8 * K;

/// What a model takes, from the functions that firmware sizes its memory with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes of the blob.
    pub flash: u64,
    /// Bytes of the state.
    pub state: u64,
    /// Bytes of scratch memory.
    pub scratch: u64,
}

impl Need {
    /// For a model of shape `dims`.
    pub fn of(dims: &Dims) -> Self {
        Self { flash: blob_bytes(dims), state: dims.state_bytes() as u64, scratch: dims.scratch_bytes() as u64 }
    }

    /// Flash and RAM left on `chip` beside model and program; negative if they do not fit.
    pub fn left(&self, chip: &Chip) -> (i64, i64) {
        let flash = chip.flash as i64 - (self.flash + PROGRAM_FLASH) as i64;
        let ram = chip.ram as i64 - (self.state + self.scratch + PROGRAM_RAM) as i64;
        (flash, ram)
    }
}
