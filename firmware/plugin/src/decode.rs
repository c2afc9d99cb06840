//! What the plugin must know of an instruction: its length, whether it is a marker, whether it calls.

/// Instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Armv6-M to Armv8-M.
    Thumb,
    /// RV32 and RV64 with compressed instructions.
    RiscV,
    /// AArch64.
    A64,
}

/// What an instruction means to the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Start of a region.
    Begin,
    /// End of a region.
    End,
    /// Jumps and leaves the address after it in the link register.
    Call,
    /// Anything else.
    Other,
}

impl Isa {
    /// The instruction set of QEMU's target of that name. `arm` is taken as Thumb: the chips here have nothing else.
    pub(crate) fn of_target(name: &str) -> Option<Self> {
        match name {
            "arm" => Some(Self::Thumb),
            "riscv32" | "riscv64" => Some(Self::RiscV),
            "aarch64" => Some(Self::A64),
            _ => None,
        }
    }

    /// Length in bytes and meaning of the instruction that starts with `bytes`, little-endian; bytes that the
    /// instruction does not have are ignored.
    ///
    /// QEMU 7.2 adds bytes of the next instruction to one before the end of a page, so its own length is not taken.
    pub(crate) fn decode(self, bytes: [u8; 4]) -> (u64, Kind) {
        let word = u32::from_le_bytes(bytes);
        match self {
            Self::Thumb => thumb(word as u16, (word >> 16) as u16),
            Self::RiscV if word & 3 == 3 => (4, riscv(word)),
            Self::RiscV => (2, compressed(word as u16)),
            Self::A64 => (4, a64(word)),
        }
    }
}

fn thumb(first: u16, second: u16) -> (u64, Kind) {
    match first {
        0x46c9 => (2, Kind::Begin),
        0x46d2 => (2, Kind::End),
        // BLX Rm
        _ if first & 0xff87 == 0x4780 => (2, Kind::Call),
        _ if first < 0xe800 => (2, Kind::Other),
        // BL label
        _ if first & 0xf800 == 0xf000 && second & 0xd000 == 0xd000 => (4, Kind::Call),
        _ => (4, Kind::Other),
    }
}

fn riscv(word: u32) -> Kind {
    let (opcode, rd) = (word & 0x7f, word >> 7 & 31);
    match word {
        0x2b10_2013 => Kind::Begin,
        0x2b20_2013 => Kind::End,
        // JAL and JALR that keep the return address in ra, or in t0 as the routines that save registers do.
        _ if matches!(opcode, 0x6f | 0x67) && matches!(rd, 1 | 5) => Kind::Call,
        _ => Kind::Other,
    }
}

fn compressed(half: u16) -> Kind {
    // C.JAL exists on RV32 only; RV64 has C.ADDIW there, which does not end a block, so the caller does not take it for
    // a call.
    let jal = half & 0xe003 == 0x2001;
    let jalr = half & 0xf07f == 0x9002 && half & 0x0f80 != 0;
    if jal || jalr { Kind::Call } else { Kind::Other }
}

fn a64(word: u32) -> Kind {
    match word {
        0xd280_1e3f => Kind::Begin,
        0xd280_1e5f => Kind::End,
        // BL and BLR
        _ if word & 0xfc00_0000 == 0x9400_0000 || word & 0xffff_fc1f == 0xd63f_0000 => Kind::Call,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodings as GNU's assembler gives them.
    #[test]
    fn meanings() {
        let thumb =
            |first: u16, second: u16| Isa::Thumb.decode((u32::from(second) << 16 | u32::from(first)).to_le_bytes());
        assert_eq!(thumb(0x46c9, 0xffff), (2, Kind::Begin), "mov r9, r9");
        assert_eq!(thumb(0x46d2, 0xffff), (2, Kind::End), "mov r10, r10");
        assert_eq!(thumb(0x46c0, 0), (2, Kind::Other), "mov r8, r8");
        assert_eq!(thumb(0xf000, 0xf804), (4, Kind::Call), "bl");
        assert_eq!(thumb(0xf7ff, 0xfffe), (4, Kind::Call), "bl backwards");
        assert_eq!(thumb(0xf000, 0xb804), (4, Kind::Other), "b.w");
        assert_eq!(thumb(0xf040, 0x8004), (4, Kind::Other), "bne.w");
        assert_eq!(thumb(0x4798, 0), (2, Kind::Call), "blx r3");
        assert_eq!(thumb(0x4718, 0), (2, Kind::Other), "bx r3");
        assert_eq!(thumb(0xe7fe, 0xf804), (2, Kind::Other), "b .");
        assert_eq!(thumb(0xe8bd, 0x8ff0), (4, Kind::Other), "pop.w {{r4-r11, pc}}");
        assert_eq!(thumb(0xfb10, 0x3202), (4, Kind::Other), "smlabb");

        let riscv = |word: u32| Isa::RiscV.decode(word.to_le_bytes());
        assert_eq!(riscv(0x2b10_2013), (4, Kind::Begin));
        assert_eq!(riscv(0x2b20_2013), (4, Kind::End));
        assert_eq!(riscv(0x0000_80e7), (4, Kind::Call), "jalr ra");
        assert_eq!(riscv(0x0000_8067), (4, Kind::Other), "ret");
        assert_eq!(riscv(0x0040_00ef), (4, Kind::Call), "jal");
        assert_eq!(riscv(0x0040_02ef), (4, Kind::Call), "jal t0");
        assert_eq!(riscv(0x0040_006f), (4, Kind::Other), "j");
        assert_eq!(riscv(0xffff_2011), (2, Kind::Call), "c.jal");
        assert_eq!(riscv(0xffff_9782), (2, Kind::Call), "c.jalr a5");
        assert_eq!(riscv(0xffff_9002), (2, Kind::Other), "c.ebreak");
        assert_eq!(riscv(0xffff_8082), (2, Kind::Other), "c.jr ra");

        let a64 = |word: u32| Isa::A64.decode(word.to_le_bytes());
        assert_eq!(a64(0xd280_1e3f), (4, Kind::Begin));
        assert_eq!(a64(0xd280_1e5f), (4, Kind::End));
        assert_eq!(a64(0x9400_0004), (4, Kind::Call), "bl");
        assert_eq!(a64(0xd63f_0100), (4, Kind::Call), "blr x8");
        assert_eq!(a64(0xd65f_03c0), (4, Kind::Other), "ret");
    }
}
