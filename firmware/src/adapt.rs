//! The adapter of `FW_ADAPT`: its preset and its memory.

use mambabyte_core::adapt::Memory;
use static_cell::ConstStaticCell;

#[cfg(preset = "1M")]
pub use mambabyte_core::adapt::Adapter1M as Preset;
#[cfg(preset = "4K")]
pub use mambabyte_core::adapt::Adapter4K as Preset;
#[cfg(preset = "8K")]
pub use mambabyte_core::adapt::Adapter8K as Preset;
#[cfg(preset = "16K")]
pub use mambabyte_core::adapt::Adapter16K as Preset;
#[cfg(preset = "32K")]
pub use mambabyte_core::adapt::Adapter32K as Preset;
#[cfg(preset = "64K")]
pub use mambabyte_core::adapt::Adapter64K as Preset;

use crate::{RAM, RAM_RESERVE};

/// An adapter over the memory of [`take`].
pub type Adapter = mambabyte_core::adapt::Adapter<&'static mut Preset>;

/// RAM that is left for the model. An adapter that does not fit the board is a compile error of the programs that have
/// one.
pub const LEFT: usize = match RAM.checked_sub(RAM_RESERVE + size_of::<Preset>()) {
    Some(left) => left,
    None => panic!("the adapter does not fit the board: FW_ADAPT takes a smaller preset, or off"),
};

static MEMORY: ConstStaticCell<Preset> = ConstStaticCell::new(Preset::ZERO);

/// What it begins with, instead of having read nothing: `FW_PRIME`.
#[cfg(prime)]
const PRIMED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/prime.bin"));

/// The adapter, once; `net` says whether there is a model beside it.
///
/// # Panics
/// The second time.
pub fn take(net: bool) -> Adapter {
    // A model that does not fit beside it is a compile error too, with the numbers.
    #[cfg(net)]
    const {
        crate::DIMS.assert_fits(LEFT)
    };
    const { assert!(LEFT > 0, "the adapter leaves no RAM") };
    #[cfg_attr(not(prime), expect(unused_mut, reason = "nothing is loaded"))]
    let mut adapter = Adapter::new(MEMORY.take(), net);
    #[cfg(prime)]
    if adapter.load(PRIMED).is_err() {
        panic!("the build script has checked it");
    }
    adapter
}
