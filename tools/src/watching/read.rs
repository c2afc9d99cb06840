//! Bytes through a reader, in blocks that end with lines: [`read()`].

use mambabyte_core::detect::Rate;
use mambabyte_host::engine::{Engine, EngineError};
use mambabyte_host::stream::{Cost, LineScores, Reader};

use super::Page;

/// Who hears what is read of a stream.
pub trait Listener {
    /// What can go wrong.
    type Error: From<EngineError>;

    /// The page of the stream. [`Listener::byte`] writes on it, [`Listener::line`] clears it.
    fn page(&mut self) -> &mut Page;

    /// Whether the rest should not be read.
    fn is_late(&mut self) -> bool {
        false
    }

    /// Byte `at` is read.
    ///
    /// # Errors
    /// The bytes after it are not read then.
    fn byte(&mut self, at: usize, cost: Cost) -> Result<(), Self::Error>;

    /// A line, or a piece of one, is finished; `last` is its last byte, as the model reads it. `instead` is what was likely
    /// in the place of the worst one.
    ///
    /// # Errors
    /// The bytes after it are not read then.
    fn line(&mut self, scores: &LineScores, last: Option<u8>, instead: Vec<(u8, u32)>) -> Result<(), Self::Error>;

    /// The share of false alarms from now on, if it is another one.
    fn rate(&mut self) -> Option<Rate> {
        None
    }
}

/// Reads `bytes` in blocks of about `piece` bytes. Where a line is odd, what was likely in the place of its worst byte is
/// read once more, beside the stream. `since` is what the reader has read since its mark, kept between calls. Returns whether
/// all was read: a listener may be late.
///
/// # Errors
/// Those of the listener and of the engine; all bytes before are read then.
pub fn read<E: Engine, L: Listener>(
    reader: &mut Reader<'_, E>,
    listener: &mut L,
    since: &mut Vec<u8>,
    bytes: &[u8],
    piece: usize,
) -> Result<bool, L::Error> {
    let mut from = 0;
    while from < bytes.len() {
        if listener.is_late() {
            return Ok(false);
        }
        let mut block = block(&bytes[from..], piece);
        let page = listener.page();
        // A line that was open where the reader came to this stream: the next one is marked again.
        if !page.marked
            && !page.view.is_empty()
            && let Some(end) = block.iter().position(|&byte| byte == b'\n')
        {
            block = &block[..=end];
        }
        if page.view.is_empty() && reader.mixture().marks() {
            reader.mark()?;
            since.clear();
            page.marked = true;
        }
        let mut at = from;
        // A byte counts as read when it is passed on: a listener that stops loses none from the state.
        let outcome = reader.read_all(block, |byte, cost, scores| {
            listener.byte(at, cost).map_err(Halt::Error)?;
            at += 1;
            match scores {
                None => Ok(()),
                // What was likely there is read once more, beside the stream, which waits here for it.
                Some(scores) if scores.verdict.is_some_and(|verdict| verdict.odd) => Err(Halt::Odd(Box::new(scores))),
                Some(scores) => listener.line(&scores, Some(byte), Vec::new()).map_err(Halt::Error),
            }
        });
        since.extend_from_slice(&bytes[from..at]);
        from = at;
        match outcome {
            Ok(()) => {}
            Err(Halt::Engine(error)) => return Err(error.into()),
            Err(Halt::Error(error)) => return Err(error),
            Err(Halt::Odd(scores)) => {
                let worst = scores.verdict.map(|verdict| verdict.worst).unwrap_or_default();
                let page = listener.page();
                let begin = since.len().saturating_sub(page.view.len());
                let instead = match since.get(..begin + usize::from(worst.at)) {
                    Some(before) if page.marked => reader.likeliest(before, worst.byte)?,
                    _ => Vec::new(),
                };
                listener.line(&scores, bytes.get(at - 1).copied(), instead)?;
            }
        }
        if let Some(rate) = listener.rate() {
            reader.set_rate(rate);
        }
    }
    Ok(true)
}

/// The next block, of about `piece` bytes. It ends with a line where it can: the next one begins where a line does, which
/// is marked.
fn block(rest: &[u8], piece: usize) -> &[u8] {
    let (near, far) = rest.split_at(rest.len().min(piece));
    let end = |byte: &u8| *byte == b'\n';
    let length = match near.iter().rposition(end) {
        Some(at) => at + 1,
        None => near.len() + far.iter().take(piece).position(end).map_or(0, |at| at + 1),
    };
    &rest[..length]
}

/// Why a block is not read to its end.
enum Halt<F> {
    /// A line is odd.
    Odd(Box<LineScores>),
    Engine(EngineError),
    /// Of the listener.
    Error(F),
}

impl<F> From<EngineError> for Halt<F> {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_with_lines_where_they_can() {
        for (text, length) in [
            (&b"one\ntwo\nthree"[..], 8),
            (b"0123456789\n", 11),
            (b"01234567890123456789\n", 10),
            (b"012", 3),
            (b"\n\n", 2),
        ] {
            assert_eq!(block(text, 10).len(), length, "{text:?}");
        }
    }
}
