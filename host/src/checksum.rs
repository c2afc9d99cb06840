//! One number over all integer logits of a text, or over all of an adapter's probabilities: equal on every machine.

use mambabyte_core::Logits;

use crate::adapt::AnyAdapter;
use crate::engine::{Answer, Engine, EngineError, Precision, Want};
use crate::stream::read_ahead;

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

/// CRC-32 (as in zip) over the eight node probabilities of each byte of `text`, u16 little-endian, in the order of the
/// path, of `adapter`, which may have read something before. It hears the net of `engine`, which reads a 0x00 byte first, or is
/// alone. `progress` is told bytes as they are read.
///
/// # Errors
/// As [`checksum()`].
pub fn adapter_checksum<E: Engine>(
    engine: Option<&E>,
    mut adapter: AnyAdapter,
    text: &[u8],
    progress: impl Fn(usize),
) -> Result<u32, EngineError> {
    let mut hasher = crc32fast::Hasher::new();
    let mut take = |logits: Option<&Logits>, byte| {
        let path = adapter.read(logits, byte);
        path.nodes.iter().for_each(|node| hasher.update(&node.to_le_bytes()));
    };
    match engine {
        Some(engine) if engine.precision() != Precision::Exact => {
            return Err(EngineError::NotIntegers { precision: engine.precision() });
        }
        Some(engine) => read_ahead(engine, &[text], &progress, |from, answer| {
            let logits = answer.logits();
            logits.iter().zip(text.iter().skip(from)).for_each(|(logits, &byte)| take(Some(logits), byte));
        })?,
        None => text.chunks(4096).for_each(|part| {
            part.iter().for_each(|&byte| take(None, byte));
            progress(part.len());
        }),
    }
    Ok(hasher.finalize())
}
