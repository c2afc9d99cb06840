//! A store that is broken on purpose: both slots are the same memory, so that each snapshot is written over the only
//! one there is. The test of power cuts must detect it.

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use mambabyte_core::flash::{Layout, STREAM};
use mambabyte_firmware::DIMS;
use mambabyte_firmware::flash::Flash;

const SLOT: u32 = Layout::new(&DIMS).slot_bytes(STREAM).next_multiple_of(Flash::ERASE_SIZE) as u32;

pub(super) struct OneSlot(pub(super) Flash);

impl OneSlot {
    pub(super) fn witness(&self, position: u32) {
        self.0.witness(position);
    }
}

impl ErrorType for OneSlot {
    type Error = <Flash as ErrorType>::Error;
}

impl ReadNorFlash for OneSlot {
    const READ_SIZE: usize = Flash::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(offset % SLOT, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for OneSlot {
    const WRITE_SIZE: usize = Flash::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.erase(from % SLOT, from % SLOT + (to - from))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(offset % SLOT, bytes)
    }
}
