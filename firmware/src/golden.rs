//! The golden text through a model: one checksum over all logits, the same on every machine.

use core::ops::DerefMut;

use mambabyte_core::{Decoder, most_probable};

use crate::GOLDEN_TEXT;

/// CRC-32 of all logits of the golden text, and the most probable byte after it. The state is that of the text's end.
pub fn checksum<M, S>(decoder: &mut Decoder<'_, M, S>) -> (u32, u8)
where
    M: DerefMut<Target = [i16]>,
    S: DerefMut<Target = [i32]>,
{
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    let mut next = 0;
    for &byte in GOLDEN_TEXT {
        let logits = decoder.step(byte);
        for logit in logits {
            digest.update(&logit.to_le_bytes());
        }
        next = most_probable(logits);
    }
    (digest.finalize(), next)
}

/// What every machine computes for the built-in model.
#[cfg(feature = "selftest")]
const EXPECTED: u32 = match u32::from_str_radix(env!("FW_GOLDEN"), 16) {
    Ok(checksum) => checksum,
    Err(_) => panic!("golden.crc32 beside the model is no hexadecimal number"),
};

/// Runs the golden text and puts the state back to its start.
///
/// # Panics
/// If this machine computes something else.
#[cfg(feature = "selftest")]
pub fn check<M, S>(decoder: &mut Decoder<'_, M, S>)
where
    M: DerefMut<Target = [i16]>,
    S: DerefMut<Target = [i32]>,
{
    let (found, _) = checksum(decoder);
    assert!(found == EXPECTED, "this chip computes another checksum");
    crate::log!("self-test: checksum {=u32:08x}", found);
    decoder.state_mut().reset();
}
