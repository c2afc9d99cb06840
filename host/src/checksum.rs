//! One number over all integer logits of a text: equal on every machine.

use crate::engine::{Answer, Engine, EngineError, Precision, Want};

/// CRC-32 (as in zip) over the 256 little-endian i32 logits after each byte of `text`, from the zero state. `progress`
/// is told bytes as they are read.
///
/// # Errors
/// [`EngineError::NotIntegers`] of a float engine; those of [`Engine::read_into`].
pub fn checksum<E: Engine>(engine: &E, text: &[u8], mut progress: impl FnMut(usize)) -> Result<u32, EngineError> {
    if engine.precision() != Precision::Exact {
        return Err(EngineError::NotIntegers { precision: engine.precision() });
    }
    let (mut hasher, mut rows) = (crc32fast::Hasher::new(), engine.rows(1)?);
    let (mut answer, mut bytes) = (Answer::Nothing, Vec::new());
    for part in text.chunks(engine.full_load().bytes.max(1)) {
        engine.read_into(&mut rows, &[part], Want::All, &mut answer)?;
        bytes.clear();
        bytes.extend(answer.logits().as_flattened().iter().flat_map(|logit| logit.to_le_bytes()));
        hasher.update(&bytes);
        progress(part.len());
    }
    Ok(hasher.finalize())
}
