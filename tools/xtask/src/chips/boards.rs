//! The boards: their cores, how their programs are built, and what emulates them.

/// A board with a memory map in `firmware/memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Board {
    /// Name of the board and of its memory map.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) core: &'static str,
    /// Rust target.
    pub(crate) target: &'static str,
    /// `-C target-cpu`, where the target's own choice leaves instructions of the core unused.
    pub(crate) cpu: Option<&'static str>,
    /// QEMU's program and machine; the processor for an emulator that runs one process and no machine; [`PROBE`] or
    /// [`ESPTOOL`] and its name of the chip for a board on the table.
    pub(crate) emulator: (&'static str, &'static [&'static str]),
}

const ARM: &str = "qemu-system-arm";
const RISCV: &str = "qemu-system-riscv32";
/// The emulator of a process: no machine, the same semihosting.
pub(crate) const AARCH64_USER: &str = "qemu-aarch64";
const VIRT: &[&str] = &["virt", "-bios", "none"];
const V8M: &str = "thumbv8m.main-none-eabihf";

/// All boards.
pub(crate) const BOARDS: [Board; 11] = [
    board("microbit", "Cortex-M0", "thumbv6m-none-eabi", None, (ARM, &["microbit"])),
    board("lm3s6965evb", "Cortex-M3", "thumbv7m-none-eabi", None, (ARM, &["lm3s6965evb"])),
    board("mps2-an385", "Cortex-M3", "thumbv7m-none-eabi", None, (ARM, &["mps2-an385"])),
    board("mps2-an386", "Cortex-M4F", "thumbv7em-none-eabihf", None, (ARM, &["mps2-an386", "-cpu", "cortex-m4"])),
    board("netduinoplus2", "Cortex-M4F", "thumbv7em-none-eabihf", None, (ARM, &["netduinoplus2"])),
    board("mps2-an500", "Cortex-M7", "thumbv7em-none-eabihf", None, (ARM, &["mps2-an500"])),
    board("mps2-an505", "Cortex-M33", V8M, Some("cortex-m33"), (ARM, &["mps2-an505"])),
    board("mps3-an547", "Cortex-M55", V8M, Some("cortex-m55"), (ARM, &["mps3-an547"])),
    board("virt-rv32imc", "RV32IMC", "riscv32imc-unknown-none-elf", None, (RISCV, VIRT)),
    board("virt-rv32imac", "RV32IMAC", "riscv32imac-unknown-none-elf", None, (RISCV, VIRT)),
    board("user-aarch64", "Cortex-A53", "aarch64-unknown-none", None, (AARCH64_USER, &["cortex-a53"])),
];

/// The runner of boards on the table: it flashes and runs a program and shows its semihosting output and its logs.
pub(crate) const PROBE: &str = "probe-rs";
/// The ESP32-C3's: it writes an image to the flash through the chip's ROM.
pub(crate) const ESPTOOL: &str = "esptool.py";

const V7EM: &str = "thumbv7em-none-eabihf";

/// Boards that nobody emulates. Programs for them are built; with the board at hand `run` flashes them.
pub(crate) const REAL: [Board; 7] = [
    board("stm32f407", "Cortex-M4F", V7EM, None, (PROBE, &["STM32F407VGTx"])),
    board("stm32f411", "Cortex-M4F", V7EM, None, (PROBE, &["STM32F411RETx"])),
    board("nrf52840", "Cortex-M4F", V7EM, None, (PROBE, &["nRF52840_xxAA"])),
    board("stm32h743", "Cortex-M7", V7EM, None, (PROBE, &["STM32H743ZITx"])),
    board("rp2040", "Cortex-M0+", "thumbv6m-none-eabi", None, (PROBE, &["RP2040"])),
    board("rp2350", "Cortex-M33", V8M, Some("cortex-m33"), (PROBE, &["RP235x"])),
    board("esp32c3", "RV32IMC", "riscv32imc-unknown-none-elf", None, (ESPTOOL, &["esp32c3"])),
];

const fn board(
    name: &'static str,
    core: &'static str,
    target: &'static str,
    cpu: Option<&'static str>,
    emulator: (&'static str, &'static [&'static str]),
) -> Board {
    Board { name, core, target, cpu, emulator }
}

impl Board {
    /// Whether it is a board on the table.
    pub(crate) fn real(&self) -> bool {
        [PROBE, ESPTOOL].contains(&self.emulator.0)
    }

    /// The firmware's feature of this board, if it needs one.
    pub(crate) fn feature(&self) -> Option<&'static str> {
        ["rp2040", "esp32c3"].into_iter().find(|&name| name == self.name)
    }

    /// The optimisation level of programs: small on cores whose loops are assembly, else fast, since the compiler makes
    /// the loops.
    pub(crate) fn opt_level(&self) -> &'static str {
        if self.target.starts_with("thumbv7em") || self.cpu == Some("cortex-m33") { "s" } else { "3" }
    }

    /// The board of that name.
    ///
    /// # Errors
    /// If there is none: a list of those that there are.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let names = || BOARDS.iter().chain(&REAL).map(|b| b.name).collect::<Vec<_>>().join(", ");
        BOARDS.into_iter().chain(REAL).find(|b| b.name == name).ok_or_else(|| format!("there are: {}", names()))
    }
}
