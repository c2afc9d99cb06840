//! Numbers to and from bytes, little-endian: one walk over the fields serves both ways.

/// Moves bytes one way or the other.
pub(super) trait Move {
    fn bytes(&mut self, bytes: &mut [u8]);

    fn words(&mut self, words: &mut [u16]) {
        for word in words {
            let mut bytes = word.to_le_bytes();
            self.bytes(&mut bytes);
            *word = u16::from_le_bytes(bytes);
        }
    }

    fn signed(&mut self, words: &mut [i16]) {
        for word in words {
            let mut bytes = word.to_le_bytes();
            self.bytes(&mut bytes);
            *word = i16::from_le_bytes(bytes);
        }
    }

    fn long(&mut self, long: &mut u32) {
        let mut bytes = long.to_le_bytes();
        self.bytes(&mut bytes);
        *long = u32::from_le_bytes(bytes);
    }

    fn byte(&mut self, byte: &mut u8) {
        self.bytes(core::slice::from_mut(byte));
    }
}

pub(super) struct Save<'a>(pub(super) &'a mut [u8]);

impl Move for Save<'_> {
    fn bytes(&mut self, bytes: &mut [u8]) {
        let out = core::mem::take(&mut self.0);
        if let Some((here, rest)) = out.split_at_mut_checked(bytes.len()) {
            here.copy_from_slice(bytes);
            self.0 = rest;
        }
    }
}

pub(super) struct Load<'a>(pub(super) &'a [u8]);

impl Move for Load<'_> {
    fn bytes(&mut self, bytes: &mut [u8]) {
        if let Some((here, rest)) = self.0.split_at_checked(bytes.len()) {
            bytes.copy_from_slice(here);
            self.0 = rest;
        }
    }
}
