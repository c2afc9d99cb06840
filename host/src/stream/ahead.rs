//! Known texts in blocks, the engine one block ahead of who works on its logits: [`read_ahead()`].

use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use crate::cpu::forked;
use crate::engine::{Answer, Engine, EngineError, Want};

/// Reads `texts`, one a row, from the zero state, in blocks of the engine's full load; one 0x00 byte is read first and the
/// last byte never, so every byte of the texts is predicted. `take(from, answer)` gets the logits of the bytes from
/// `from` on of each text, row after row, on a second thread, while the engine reads the next block. `progress` is told
/// bytes as they are read.
///
/// # Errors
/// Those of [`Engine::read_into`]; [`EngineError::Threads`].
/// # Cost
/// Three blocks of logits: 1 KiB for each byte.
pub fn read_ahead<E: Engine>(
    engine: &E,
    texts: &[&[u8]],
    progress: &dyn Fn(usize),
    mut take: impl FnMut(usize, &Answer) + Send,
) -> Result<(), EngineError> {
    let mut rows = engine.rows(texts.len())?;
    let each = block(engine, texts.len());
    let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
    let inputs: Vec<Vec<u8>> =
        texts.iter().map(|text| [0].into_iter().chain(text.iter().copied()).take(text.len()).collect()).collect();
    let (full, blocks) = sync_channel::<(usize, Answer)>(1);
    let (used, empty) = channel();
    let pool = forked()?;
    thread::scope(|scope| {
        // The sender goes with this closure: the thread ends when the blocks do.
        let full = full;
        thread::Builder::new().spawn_scoped(scope, move || {
            for (from, answer) in blocks {
                match pool {
                    None => take(from, &answer),
                    Some(pool) => pool.install(|| take(from, &answer)),
                }
                // Nobody waits for the last ones.
                let _ = used.send(answer);
            }
        })?;
        for from in (0..longest).step_by(each) {
            let parts: Vec<&[u8]> = inputs.iter().map(|input| &input[part(input, from, each)]).collect();
            let mut answer = empty.try_recv().unwrap_or_default();
            engine.read_into(&mut rows, &parts, Want::All, &mut answer)?;
            progress(parts.iter().map(|part| part.len()).sum());
            if full.send((from, answer)).is_err() {
                // It has panicked; so does the scope.
                break;
            }
        }
        Ok(())
    })
}

/// Bytes that [`read_ahead()`] reads of each of `rows` texts at once.
pub(crate) fn block<E: Engine>(engine: &E, rows: usize) -> usize {
    (engine.full_load().bytes / rows.max(1)).max(1)
}

/// The part of a text that a block from `from` on has.
pub(crate) fn part(text: &[u8], from: usize, each: usize) -> std::ops::Range<usize> {
    from.min(text.len())..(from + each).min(text.len())
}
