//! The texts that end the output: [`Stops`].

/// Looks for the texts that end the output, across the pieces that it comes in.
pub struct Stops<'a> {
    texts: Vec<&'a [u8]>,
    /// The last bytes before this piece, as many as a text may have begun in.
    before: Vec<u8>,
}

impl<'a> Stops<'a> {
    /// For these texts, none of them empty.
    pub const fn new(texts: Vec<&'a [u8]>) -> Self {
        Self { texts, before: Vec::new() }
    }

    /// The length of `piece` up to the end of the first text that is complete in it; `None` if none is.
    pub fn end(&mut self, piece: &[u8]) -> Option<usize> {
        let longest = self.texts.iter().map(|text| text.len()).max()?;
        let old = self.before.len();
        self.before.extend_from_slice(piece);
        let all = &self.before;
        let ends = |at: usize| self.texts.iter().any(|text| all.get(..at).is_some_and(|a| a.ends_with(text)));
        let end = (old + 1..=all.len()).find(|&at| ends(at)).map(|at| at - old);
        self.before.drain(..self.before.len().saturating_sub(longest - 1));
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_text_ends_the_output_wherever_the_pieces_part() {
        let text = b"one two\xff three";
        for (stops, end) in [
            (vec!["two"], Some(7)),
            (vec!["three", "two"], Some(7)),
            (vec!["e"], Some(3)),
            (vec!["e t", "wo"], Some(5)),
            (vec!["three"], Some(text.len())),
            (vec!["four"], None),
            (vec![], None),
        ] {
            for size in 1..=text.len() {
                let mut search = Stops::new(stops.iter().map(|stop| stop.as_bytes()).collect());
                let found = text.chunks(size).enumerate().find_map(|(i, piece)| Some(i * size + search.end(piece)?));
                assert_eq!(found, end, "{stops:?} in pieces of {size}");
            }
        }
    }
}
