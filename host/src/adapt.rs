//! Adapters whose preset is chosen at run time: [`AnyAdapter`].

use std::fmt;
use std::str::FromStr;

use mambabyte_core::Logits;
use mambabyte_core::adapt::{
    Adapter, Adapter1M, Adapter4K, Adapter8K, Adapter16K, Adapter32K, Adapter64K, AdapterError, Design, Memory, Path,
    Savable,
};

/// A preset of [`mambabyte_core::adapt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// [`Adapter4K`].
    K4,
    /// [`Adapter8K`].
    K8,
    /// [`Adapter16K`].
    K16,
    /// [`Adapter32K`].
    K32,
    /// [`Adapter64K`].
    K64,
    /// [`Adapter1M`].
    M1,
}

impl Preset {
    /// All of them, the smallest first.
    pub const ALL: [Self; 6] = [Self::K4, Self::K8, Self::K16, Self::K32, Self::K64, Self::M1];

    /// Its design.
    pub const fn design(self) -> Design {
        match self {
            Self::K4 => Adapter4K::DESIGN,
            Self::K8 => Adapter8K::DESIGN,
            Self::K16 => Adapter16K::DESIGN,
            Self::K32 => Adapter32K::DESIGN,
            Self::K64 => Adapter64K::DESIGN,
            Self::M1 => Adapter1M::DESIGN,
        }
    }

    /// Its name, as options spell it.
    pub const fn name(self) -> &'static str {
        self.design().name
    }

    /// The preset with a number of files.
    pub fn of_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.design().id == id)
    }

    /// Bytes of its start values, without a net and with one, which a program holds beside its code.
    pub const fn start_bytes(self) -> usize {
        2 * 2 * self.design().start_words()
    }

    /// Bytes of its memory. What an adapter says of a byte is beside it, some 550 bytes that are not saved.
    pub const fn bytes(self) -> usize {
        match self {
            Self::K4 => size_of::<Adapter4K>(),
            Self::K8 => size_of::<Adapter8K>(),
            Self::K16 => size_of::<Adapter16K>(),
            Self::K32 => size_of::<Adapter32K>(),
            Self::K64 => size_of::<Adapter64K>(),
            Self::M1 => size_of::<Adapter1M>(),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|preset| preset.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            format!("{name} is no preset of the adapter; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// An adapter of any preset, in memory of its own.
pub struct AnyAdapter(Kind);

#[expect(clippy::large_enum_variant, reason = "there is one for each stream, and moved it is never")]
enum Kind {
    K4(Adapter<Box<Adapter4K>>),
    K8(Adapter<Box<Adapter8K>>),
    K16(Adapter<Box<Adapter16K>>),
    K32(Adapter<Box<Adapter32K>>),
    K64(Adapter<Box<Adapter64K>>),
    M1(Adapter<Box<Adapter1M>>),
}

/// The same expression for the adapter of each preset.
macro_rules! each {
    ($kind:expr, $adapter:ident => $value:expr) => {
        match $kind {
            Kind::K4($adapter) => $value,
            Kind::K8($adapter) => $value,
            Kind::K16($adapter) => $value,
            Kind::K32($adapter) => $value,
            Kind::K64($adapter) => $value,
            Kind::M1($adapter) => $value,
        }
    };
}

/// Memory that [`Adapter::new`] starts.
fn fresh<M: Memory>(net: bool) -> Adapter<Box<M>> {
    Adapter::new(Box::new(M::ZERO), net)
}

impl fmt::Debug for AnyAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyAdapter").field(&self.preset()).finish()
    }
}

impl AnyAdapter {
    /// An adapter that has read nothing. `net` says whether there will be logits: the first weights differ.
    pub fn new(preset: Preset, net: bool) -> Self {
        Self(match preset {
            Preset::K4 => Kind::K4(fresh(net)),
            Preset::K8 => Kind::K8(fresh(net)),
            Preset::K16 => Kind::K16(fresh(net)),
            Preset::K32 => Kind::K32(fresh(net)),
            Preset::K64 => Kind::K64(fresh(net)),
            Preset::M1 => Kind::M1(fresh(net)),
        })
    }

    /// Its preset.
    pub const fn preset(&self) -> Preset {
        match self.0 {
            Kind::K4(_) => Preset::K4,
            Kind::K8(_) => Preset::K8,
            Kind::K16(_) => Preset::K16,
            Kind::K32(_) => Preset::K32,
            Kind::K64(_) => Preset::K64,
            Kind::M1(_) => Preset::M1,
        }
    }

    /// Another adapter that has read the same.
    pub fn copy(&self) -> Self {
        let mut copy = Self::new(self.preset(), false);
        copy.copy_from(self);
        copy
    }

    /// Becomes a copy of another one of the same preset; of any other it stays what it is.
    pub fn copy_from(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Kind::K4(to), Kind::K4(from)) => to.copy_from(from),
            (Kind::K8(to), Kind::K8(from)) => to.copy_from(from),
            (Kind::K16(to), Kind::K16(from)) => to.copy_from(from),
            (Kind::K32(to), Kind::K32(from)) => to.copy_from(from),
            (Kind::K64(to), Kind::K64(from)) => to.copy_from(from),
            (Kind::M1(to), Kind::M1(from)) => to.copy_from(from),
            _ => debug_assert!(false, "adapters of two presets"),
        }
    }

    /// Reads a byte: see [`Adapter::read`].
    pub fn read(&mut self, logits: Option<&Logits>, byte: u8) -> Path {
        each!(&mut self.0, adapter => adapter.read(logits, byte))
    }

    /// Reads a byte, and says what it costs under the model alone: see [`Adapter::read_beside`].
    pub fn read_beside(&mut self, logits: &Logits, byte: u8) -> (u32, Path) {
        each!(&mut self.0, adapter => adapter.read_beside(logits, byte))
    }

    /// Reads a byte that a decoder works out bit by bit: `bit` gets the probability of a 1, Q16 in 3..=65533, and says
    /// what it was.
    pub fn decode(&mut self, logits: Option<&Logits>, mut bit: impl FnMut(u16) -> bool) -> Path {
        each!(&mut self.0, adapter => {
            let mut reading = adapter.begin(logits);
            for _ in 0..8 {
                let one = bit(reading.node());
                reading.take(one);
            }
            reading.finish()
        })
    }

    /// The distribution of the next byte as logits, `log2 p` in Q16: see [`Adapter::distribution`].
    pub fn distribution(&mut self, logits: Option<&Logits>, mixed: &mut Logits) {
        each!(&mut self.0, adapter => adapter.distribution(logits, mixed));
    }

    /// All that it has learned: see [`Adapter::save`].
    pub fn save(&mut self) -> Vec<u8> {
        let mut out = vec![0; self.preset().design().saved_bytes()];
        // The length is what `save` asks for, and its only condition.
        let saved = each!(&mut self.0, adapter => adapter.save(&mut out));
        debug_assert!(saved.is_ok());
        out
    }

    /// Goes on where [`AnyAdapter::save`] stopped.
    ///
    /// # Errors
    /// [`AdapterError`] if `saved` is of another preset, version or length; nothing has changed then.
    pub fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError> {
        each!(&mut self.0, adapter => adapter.load(saved))
    }
}

impl Savable for AnyAdapter {
    fn design(&self) -> Design {
        self.preset().design()
    }

    fn save(&mut self, out: &mut [u8]) -> Result<(), AdapterError> {
        each!(&mut self.0, adapter => adapter.save(out))
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), AdapterError> {
        each!(&mut self.0, adapter => adapter.load(saved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_names_and_numbers() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
            assert_eq!(Preset::of_id(preset.design().id), Some(preset));
            assert_eq!(AnyAdapter::new(preset, false).preset(), preset);
        }
        assert_eq!("16k".parse(), Ok(Preset::K16));
        assert!("2K".parse::<Preset>().unwrap_err().contains("4K, 8K, 16K"));
    }

    #[test]
    fn a_decoder_goes_the_same_way() {
        for preset in Preset::ALL {
            let (mut reads, mut decodes) = (AnyAdapter::new(preset, false), AnyAdapter::new(preset, false));
            for &byte in b"one line\none line\none 2ine\n" {
                let mut bits = (0..8).rev().map(|bit| byte >> bit & 1 != 0);
                assert_eq!(reads.read(None, byte), decodes.decode(None, |_| bits.next().unwrap()));
            }
            let saved = reads.save();
            let mut resumed = AnyAdapter::new(preset, true);
            resumed.load(&saved).unwrap();
            assert_eq!(resumed.read(None, b'x'), reads.read(None, b'x'));
        }
    }
}
