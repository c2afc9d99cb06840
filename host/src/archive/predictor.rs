//! What predicts the bytes of an archive: [`Predictor`].

use std::sync::mpsc::sync_channel;

use mambabyte_core::Logits;
use mambabyte_core::adapt::Path;
use mambabyte_core::archive::{Decoder, Encoder, Shares};

use super::ArchiveFault;
use crate::adapt::AnyAdapter;
use crate::engine::{Answer, Engine, EngineError, Precision, Want};

/// Bytes that the model reads at once: a megabyte of logits.
const CHUNK: usize = 1024;
/// Chunks that the model may be ahead of the adapter.
const AHEAD: usize = 2;

/// A model, an adapter, or both, at one place of a text: what they expect next, and how they go on.
pub struct Predictor<'e, E: Engine> {
    net: Option<Net<'e, E>>,
    adapter: Option<AnyAdapter>,
}

/// A model at one place of a text. As everywhere, a 0x00 byte is pending at first.
struct Net<'e, E: Engine> {
    engine: &'e E,
    rows: E::Rows,
    pending: u8,
    answer: Answer,
}

/// What is done with the path of each byte.
fn path(adapter: &mut Option<AnyAdapter>, logits: Option<&Logits>, byte: u8) -> Path {
    match (adapter, logits) {
        (Some(adapter), logits) => adapter.read(logits, byte),
        (None, Some(logits)) => Shares::new(logits).path(byte),
        // `Predictor::new` refuses it.
        (None, None) => Path { nodes: [1 << 15; 8], byte },
    }
}

impl<E: Engine> Net<'_, E> {
    /// Reads the next bytes of the text; `answer` gets the logits that each was predicted with.
    fn read(&mut self, bytes: &[u8], block: &mut Vec<u8>, answer: &mut Answer) -> Result<(), EngineError> {
        let Some((&last, head)) = bytes.split_last() else { return Ok(()) };
        block.clear();
        block.push(self.pending);
        block.extend_from_slice(head);
        self.engine.read_into(&mut self.rows, &[block], Want::All, answer)?;
        self.pending = last;
        Ok(())
    }
}

impl<'e, E: Engine> Predictor<'e, E> {
    /// A model at the zero state and an adapter as it is. Without an adapter the model alone predicts, without a model
    /// the adapter.
    ///
    /// # Errors
    /// [`ArchiveFault::Nothing`]; [`EngineError::NotIntegers`] of a float engine, whose bits are not those of other
    /// machines; those of [`Engine::rows`].
    pub fn new(engine: Option<&'e E>, adapter: Option<AnyAdapter>) -> Result<Self, ArchiveFault> {
        let net = match engine {
            None if adapter.is_none() => return Err(ArchiveFault::Nothing),
            None => None,
            Some(engine) => {
                let precision = engine.precision();
                if precision != Precision::Exact {
                    return Err(EngineError::NotIntegers { precision }.into());
                }
                Some(Net { engine, rows: engine.rows(1)?, pending: 0, answer: Answer::Nothing })
            }
        };
        Ok(Self { net, adapter })
    }

    /// The adapter, with what it has learned.
    pub fn into_adapter(self) -> Option<AnyAdapter> {
        self.adapter
    }

    /// The model begins another text; the adapter keeps what it has learned.
    ///
    /// # Errors
    /// Those of [`Engine::reset`].
    pub fn begin_text(&mut self) -> Result<(), EngineError> {
        if let Some(net) = &mut self.net {
            net.engine.reset(&mut net.rows, 0)?;
            net.pending = 0;
        }
        Ok(())
    }

    /// Reads `text`; `take` gets the path of each byte, and `seen` how many bytes have been read.
    ///
    /// # Errors
    /// Those of [`Engine::read_into`].
    /// # Cost
    /// The model on its threads; the adapter and `take` on another one at the same time.
    pub fn read(
        &mut self,
        text: &[u8],
        take: &mut (dyn FnMut(&Path) + Send),
        seen: &mut dyn FnMut(usize),
    ) -> Result<(), EngineError> {
        let Self { net, adapter } = self;
        let Some(net) = net else {
            for chunk in text.chunks(CHUNK) {
                chunk.iter().for_each(|&byte| take(&path(adapter, None, byte)));
                seen(chunk.len());
            }
            return Ok(());
        };
        std::thread::scope(|scope| {
            let (to_adapter, chunks) = sync_channel::<(&[u8], Answer)>(AHEAD);
            let (give_back, free) = sync_channel(AHEAD + 2);
            // One that is read, those that wait, one that the adapter has.
            for _ in 0..AHEAD + 2 {
                // The channel holds all of them.
                let _ = give_back.send(Answer::Nothing);
            }
            let worker = scope.spawn(move || {
                for (chunk, answer) in chunks {
                    for (&byte, logits) in chunk.iter().zip(&*answer.logits()) {
                        take(&path(adapter, Some(logits), byte));
                    }
                    let _ = give_back.send(answer);
                }
            });
            let (mut block, mut outcome) = (Vec::with_capacity(CHUNK), Ok(()));
            for chunk in text.chunks(CHUNK) {
                let Ok(mut answer) = free.recv() else { break };
                outcome = net.read(chunk, &mut block, &mut answer);
                if outcome.is_err() || to_adapter.send((chunk, answer)).is_err() {
                    break;
                }
                seen(chunk.len());
            }
            drop(to_adapter);
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
            outcome
        })
    }

    /// Codes `text` into `out`; the length of the code, `None` if `out` is too short for it. The text is read in any
    /// case.
    ///
    /// # Errors
    /// As [`Predictor::read`].
    pub fn encode(
        &mut self,
        text: &[u8],
        out: &mut [u8],
        seen: &mut dyn FnMut(usize),
    ) -> Result<Option<usize>, EngineError> {
        let mut encoder = Encoder::new(out);
        self.read(text, &mut |path| encoder.path(path), seen)?;
        Ok(encoder.finish())
    }

    /// Decodes `code` into `text`, all of it. Any code decodes to something.
    ///
    /// # Errors
    /// As [`Predictor::read`].
    /// # Cost
    /// A step of the model for each byte.
    pub fn decode(&mut self, code: &[u8], text: &mut [u8], seen: &mut dyn FnMut(usize)) -> Result<(), EngineError> {
        let mut decoder = Decoder::new(code);
        let Self { net, adapter } = self;
        for chunk in text.chunks_mut(CHUNK) {
            for place in &mut *chunk {
                let logits = match net {
                    None => None,
                    Some(net) => {
                        net.engine.read_into(&mut net.rows, &[&[net.pending]], Want::Last, &mut net.answer)?;
                        match &net.answer {
                            Answer::Logits(all) => all.first(),
                            _ => None,
                        }
                    }
                };
                let byte = match (&mut *adapter, logits) {
                    (Some(adapter), logits) => adapter.decode(logits, |p| decoder.bit(p)).byte,
                    (None, Some(logits)) => {
                        let mut shares = Shares::new(logits);
                        let known = |known: u32, _| known << 1 | u32::from(decoder.bit(shares.node(known as u8)));
                        (0..8).fold(1, known) as u8
                    }
                    // `Predictor::new` refuses it.
                    (None, None) => 0,
                };
                if let Some(net) = net {
                    net.pending = byte;
                }
                *place = byte;
            }
            seen(chunk.len());
        }
        Ok(())
    }
}
