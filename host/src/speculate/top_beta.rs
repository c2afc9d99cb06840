//! Acceptance as in the paper on MambaByte: [`TopBeta`].

use mambabyte_core::{Candidates, Logits, Rng, SampleOptions, sample};

use super::{Drafted, Rule};

/// A drafted byte is written if it is among the `beta` bytes with the largest logits. After one that is not, the model
/// writes alone up to a boundary: a space, a comma or the end of a line (arXiv 2401.13660, section 3). So a drafter of
/// subwords goes on after whole words.
///
/// The text is another one than without drafts, and not of the model's distribution: the drafter has a say in it. With a
/// `beta` of 1 and no temperature it is the greedy text.
///
/// Unlike the published code this samples, too: a byte that top-k or top-p cut off is not taken, and the model's own bytes
/// are drawn from its distribution. A row of a batch that writes alone does not hold up the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopBeta {
    /// How many bytes are good enough, at least 1.
    pub beta: usize,
}

/// The paper's setting.
impl Default for TopBeta {
    fn default() -> Self {
        Self { beta: 3 }
    }
}

/// The bytes that end a completion.
const BOUNDARIES: [u8; 3] = *b" \n,";

impl Rule for TopBeta {
    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8 {
        let Some(Drafted { byte, .. }) = drafted else { return sample(logits, options, rng) };
        let own = logits[usize::from(byte)];
        let rank = logits.iter().filter(|&&logit| logit > own).count();
        let is_cut = || {
            let cut = options.top_k > 0 || options.top_p < 65_536;
            cut && !Candidates::new(logits, options).iter().any(|(kept, _)| kept == byte)
        };
        if rank >= self.beta.max(1) || options.temperature > 0 && is_cut() {
            return sample(logits, options, rng);
        }
        // A draw for each byte, whoever writes it.
        if options.temperature > 0 {
            rng.next_u64();
        }
        byte
    }

    fn is_boundary(&self, byte: u8) -> bool {
        BOUNDARIES.contains(&byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The larger the byte, the less probable it is; two are equal.
    fn falling() -> Logits {
        let mut logits = std::array::from_fn(|byte| -(byte as i32) * 40_000);
        logits[2] = logits[1];
        logits
    }

    fn decided(beta: usize, options: &SampleOptions, byte: u8) -> (u8, Rng) {
        let mut rng = Rng::new(2);
        let drafted = Some(Drafted { byte, from: None });
        (TopBeta { beta }.decide(&falling(), options, &mut rng, drafted), rng)
    }

    #[test]
    fn the_best_few_bytes_are_taken() {
        for (beta, taken) in [(1, 1), (2, 3), (3, 3), (4, 4), (256, 256)] {
            for byte in 0..=255 {
                let (found, rng) = decided(beta, &SampleOptions::GREEDY, byte);
                assert_eq!(found, if usize::from(byte) < taken { byte } else { 0 }, "beta {beta}");
                assert_eq!(rng, Rng::new(2), "greedy text draws nothing");
            }
        }
    }

    #[test]
    fn sampled_bytes_take_one_draw_each_and_cuts_hold() {
        let options = SampleOptions { top_k: 2, ..SampleOptions::default() };
        let mut moved = Rng::new(2);
        let own = sample(&falling(), &options, &mut moved);
        for byte in 0..6 {
            let (found, rng) = decided(4, &options, byte);
            assert_eq!(rng, moved, "one draw");
            let kept = Candidates::new(&falling(), &options).iter().any(|(kept, _)| kept == byte);
            assert_eq!(found, if kept && byte < 4 { byte } else { own });
        }
        // Without cuts the rank decides alone.
        assert_eq!(decided(4, &SampleOptions::default(), 3).0, 3);
    }
}
