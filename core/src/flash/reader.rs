//! Who takes a state from flash, piece by piece: a decoder, or a stream without a model, which has no pieces.

use core::ops::DerefMut;

use crate::blob::Fingerprint;
use crate::state::State;
use crate::step::Decoder;

/// Takes pieces of a state and the bytes between them.
pub(super) trait Reader {
    fn fingerprint(&self) -> Fingerprint;

    fn position(&self) -> u64;

    fn set_position(&mut self, position: u64);

    fn elements(&mut self) -> &mut [i16];

    fn reset(&mut self);

    /// Reads a byte; nobody needs the logits.
    fn feed(&mut self, byte: u8);
}

impl<M: DerefMut<Target = [i16]>, S: DerefMut<Target = [i32]>> Reader for Decoder<'_, M, S> {
    fn fingerprint(&self) -> Fingerprint {
        self.blob().fingerprint()
    }

    fn position(&self) -> u64 {
        self.state().position()
    }

    fn set_position(&mut self, position: u64) {
        self.state_mut().set_position(position);
    }

    fn elements(&mut self) -> &mut [i16] {
        self.state_mut().elements_mut()
    }

    fn reset(&mut self) {
        self.state_mut().reset();
    }

    fn feed(&mut self, byte: u8) {
        Decoder::feed(self, byte);
    }
}

impl Reader for State<&'static mut [i16]> {
    fn fingerprint(&self) -> Fingerprint {
        Self::fingerprint(self)
    }

    fn position(&self) -> u64 {
        Self::position(self)
    }

    fn set_position(&mut self, position: u64) {
        Self::set_position(self, position);
    }

    fn elements(&mut self) -> &mut [i16] {
        self.elements_mut()
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    fn feed(&mut self, _: u8) {
        self.count(1);
    }
}
