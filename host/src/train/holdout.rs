//! Bits per byte of texts that are not trained on, as `eval --window` measures them.

use std::convert::Infallible;

use mambabyte_core::Dims;

use super::data::{start, symbols};
use super::{Carry, Loss, Row, losses};
use crate::Model;
use crate::subwords::Subwords;

/// Bytes of a window, each from the zero state.
pub const WINDOW: usize = 8192;

/// A hold-out, cut into windows once.
#[derive(Clone, Debug)]
pub struct Holdout {
    /// Symbols and targets.
    windows: Vec<[Vec<u16>; 2]>,
    bytes: usize,
}

impl Holdout {
    /// At most `most` bytes of `texts`: of each a part as large as its share of all, whole windows from all over it.
    pub fn new(texts: &[&[u8]], most: usize) -> Self {
        Self::of(texts, most, None)
    }

    /// The same, read as symbols of `words` if there are some: the bits are still those of a byte.
    pub fn of(texts: &[&[u8]], most: usize, words: Option<&dyn Subwords>) -> Self {
        let total: usize = texts.iter().map(|text| text.len()).sum();
        let (mut windows, mut bytes) = (Vec::new(), 0);
        for text in texts {
            let all = text.len().div_ceil(WINDOW);
            let wanted = if total <= most { all } else { (all * most / total.max(1)).clamp(1.min(all), all) };
            for i in 0..wanted {
                let from = i * all / wanted * WINDOW;
                let part = &text[from..(from + WINDOW).min(text.len())];
                let next = symbols(words, part);
                let mut before = vec![start(words)];
                before.extend(&next[..next.len() - 1]);
                windows.push([before, next]);
                bytes += part.len();
            }
        }
        Self { windows, bytes }
    }

    /// Bytes that are read.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bits per byte, on rayon's current pool.
    pub fn bits(&self, model: &Model) -> f64 {
        match self.bits_by(model.dims(), |rows| Ok::<_, Infallible>(losses(model, rows))) {
            Ok(bits) => bits,
        }
    }

    /// Bits per byte of a model with these dimensions, by the loss of each row.
    ///
    /// # Errors
    /// Those of `losses`.
    pub fn bits_by<E>(
        &self,
        dims: &Dims,
        losses: impl FnOnce(&mut [Row<'_>]) -> Result<Vec<Loss>, E>,
    ) -> Result<f64, E> {
        let mut carries = vec![Carry::zero(dims); self.windows.len()];
        let mut rows: Vec<Row<'_>> = self
            .windows
            .iter()
            .zip(&mut carries)
            .map(|([symbols, next], carry)| Row { symbols, next, starts: &[0], carry })
            .collect();
        let nats: f64 = losses(&mut rows)?.iter().map(|loss| loss.nats).sum();
        Ok(nats / std::f64::consts::LN_2 / self.bytes.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use mambabyte_core::Norm;

    use super::*;
    use crate::bpb::evaluate;
    use crate::cpu::FloatEngine;
    use crate::train::tests::model;

    #[test]
    fn the_bits_are_those_of_eval() {
        let model = model(Norm::Layer, false);
        let text: Vec<u8> = (0..9000u32).map(|i| ((i * i) >> 7) as u8).collect();
        let expected = evaluate(&FloatEngine::new(&model, 1), &text, Some(WINDOW), &|_| {}).unwrap().bits_per_byte();
        let found = Holdout::new(&[&text], 1 << 20);
        assert_eq!(found.bytes(), 9000);
        assert!((found.bits(&model) - expected).abs() < 1e-4, "{} and {expected}", found.bits(&model));
    }

    #[test]
    fn a_part_is_from_all_over_and_from_every_text() {
        let [large, small] = [vec![1u8; 100 * WINDOW], vec![2u8; 300]];
        let found = Holdout::new(&[&large, &small, b""], 10 * WINDOW);
        assert!((9..=11).contains(&found.windows.len()), "{}", found.windows.len());
        assert_eq!(found.windows.last().unwrap()[1].len(), 300);
        assert_eq!(Holdout::new(&[b""], 100).bytes(), 0);
    }
}
