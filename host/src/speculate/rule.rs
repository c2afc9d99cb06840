//! What is written at a position where a byte was drafted: [`Rule`].

use mambabyte_core::{Candidates, Logits, Rng, SampleOptions, VOCAB, sample};

/// A drafted byte.
#[derive(Clone, Copy, Debug)]
pub struct Drafted<'d> {
    /// The byte.
    pub byte: u8,
    /// What it was drawn from, if the rule asked for it.
    pub from: Option<&'d Candidates>,
}

/// Decides the byte at a position. If it is the drafted one, the next position is decided, too.
pub trait Rule {
    /// Whether drafts must have distributions.
    fn distributions(&self) -> bool {
        false
    }

    /// The byte that is written. `rng` moves as it does for [`sample()`].
    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8;

    /// After a drafted byte that was not taken the model writes alone until this holds for what it wrote: whether drafts
    /// begin again after `byte`. At once, if a rule says nothing.
    fn is_boundary(&self, _byte: u8) -> bool {
        true
    }
}

impl<R: Rule + ?Sized> Rule for Box<R> {
    fn distributions(&self) -> bool {
        (**self).distributions()
    }

    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8 {
        (**self).decide(logits, options, rng, drafted)
    }

    fn is_boundary(&self, byte: u8) -> bool {
        (**self).is_boundary(byte)
    }
}

/// The byte that the model writes alone, whatever was drafted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Rule for Exact {
    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, _: Option<Drafted<'_>>) -> u8 {
        sample(logits, options, rng)
    }
}

/// Speculative sampling (Leviathan and others, arXiv 2211.17192): the drafted byte `x` with probability
/// `min(1, p(x) / q(x))`, else a byte from what `p` has and `q` has not. Each byte has the model's distribution; the text
/// is another one than without drafts.
///
/// Exact in the integers of [`Candidates`]: no share is rounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rejection;

/// Keeps the numbers of acceptance apart from those that the drafter has drawn with.
const JUDGE: u64 = 0x6a09_e667_f3bc_c909;

impl Rule for Rejection {
    fn distributions(&self) -> bool {
        true
    }

    fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8 {
        let mut judge = Rng::new(rng.state() ^ JUDGE);
        let random = if options.temperature == 0 { 0 } else { rng.next_u64() };
        let wanted = Candidates::new(logits, options);
        let Some(Drafted { byte, from: Some(offered) }) = drafted else { return wanted.at(random) };
        let (p, q) = (weights(&wanted), weights(offered));
        let at = usize::from(byte);
        // random * q(x) < p(x), times all denominators: 64 + 24 + 32 bits on both sides.
        let (p_total, q_total) = (u128::from(wanted.total()), u128::from(offered.total()));
        if u128::from(judge.next_u64()) * u128::from(q[at]) * p_total < (u128::from(p[at]) * q_total) << 64 {
            return byte;
        }
        let left: [u64; VOCAB] = std::array::from_fn(|byte| {
            (u64::from(p[byte]) * offered.total()).saturating_sub(u64::from(q[byte]) * wanted.total())
        });
        draw(&left, judge.next_u64()).unwrap_or_else(|| wanted.at(random))
    }
}

/// Weights by byte value, at most `2^24`.
fn weights(candidates: &Candidates) -> [u32; VOCAB] {
    let mut all = [0; VOCAB];
    candidates.iter().for_each(|(byte, weight)| all[usize::from(byte)] = weight);
    all
}

/// The byte whose part of the sum holds `random`, a share of `2^64`; none if nothing weighs.
fn draw(weights: &[u64; VOCAB], random: u64) -> Option<u8> {
    // Of two distributions of at most 2^32 each: at most 2^64.
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let draw = (u128::from(random) * sum) >> 64;
    let mut below = 0;
    weights
        .iter()
        .position(|&weight| {
            below += u128::from(weight);
            draw < below
        })
        .map(|byte| byte as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two distributions that differ, and a byte that only one has.
    fn pair() -> [Logits; 2] {
        let first: Logits = std::array::from_fn(|byte| -((byte as i32 * 37 % 256) * 4000));
        // The same order begun elsewhere: half of the likely ones are likely in both.
        let mut second: Logits = std::array::from_fn(|byte| -(((byte as i32 * 37 + 25) % 256) * 3000));
        second[0] = i32::MIN;
        [first, second]
    }

    /// `sum (seen - expected)^2 / expected` over bytes that are expected at least 5 times, and how many these are.
    fn chi_square(seen: &[u32; VOCAB], expected: &Candidates, n: u32) -> (f64, usize) {
        let share = |weight| f64::from(weight) / expected.total() as f64 * f64::from(n);
        let all = expected.iter().map(|(byte, weight)| (f64::from(seen[usize::from(byte)]), share(weight)));
        let often: Vec<(f64, f64)> = all.filter(|&(_, wanted)| wanted >= 5.0).collect();
        (often.iter().map(|(seen, wanted)| (seen - wanted).powi(2) / wanted).sum(), often.len())
    }

    /// Bytes that `rule` decides on, drafts being drawn from the second distribution.
    fn decided(rule: &impl Rule, options: &SampleOptions, n: u32) -> ([u32; VOCAB], u32, Candidates) {
        let [target, other] = pair();
        let offered = Candidates::new(&other, options);
        let (mut rng, mut seen, mut accepted) = (Rng::new(5), [0; VOCAB], 0);
        for _ in 0..n {
            let byte = sample(&other, options, &mut rng.clone());
            let found = rule.decide(&target, options, &mut rng, Some(Drafted { byte, from: Some(&offered) }));
            seen[usize::from(found)] += 1;
            accepted += u32::from(found == byte);
        }
        (seen, accepted, Candidates::new(&target, options))
    }

    /// Takes the residual as if it were the whole.
    struct WholeInsteadOfResidual;

    impl Rule for WholeInsteadOfResidual {
        fn distributions(&self) -> bool {
            true
        }

        fn decide(&self, logits: &Logits, options: &SampleOptions, rng: &mut Rng, drafted: Option<Drafted<'_>>) -> u8 {
            let found = Rejection.decide(logits, options, rng, drafted);
            let rejected = drafted.is_some_and(|drafted| drafted.byte != found);
            if rejected { sample(logits, options, &mut Rng::new(!rng.state())) } else { found }
        }
    }

    fn distribution_is_kept(n: u32) {
        for options in [SampleOptions::default(), SampleOptions { temperature: 90_000, top_k: 50, top_p: 60_000 }] {
            let bound = |cells: usize| cells as f64 + 6.0 * (2.0 * cells as f64).sqrt();
            let (seen, accepted, expected) = decided(&Rejection, &options, n);
            let (chi, cells) = chi_square(&seen, &expected, n);
            assert!(cells >= 20 && chi < bound(cells), "{chi} over {cells}");
            // Acceptance is 1 - TV; five standard deviations.
            let offered = weights(&Candidates::new(&pair()[1], &options));
            let total = Candidates::new(&pair()[1], &options).total() as f64;
            let overlap: f64 = expected
                .iter()
                .map(|(b, w)| (f64::from(w) / expected.total() as f64).min(f64::from(offered[usize::from(b)]) / total))
                .sum();
            let found = f64::from(accepted) / f64::from(n);
            assert!((found - overlap).abs() < 2.5 / f64::from(n).sqrt() + 0.002, "{found}, not {overlap}");

            let (seen, _, expected) = decided(&WholeInsteadOfResidual, &options, n);
            let (chi, cells) = chi_square(&seen, &expected, n);
            assert!(chi > 2.0 * bound(cells), "a wrong residual passes: {chi} over {cells}");
        }
    }

    #[test]
    fn rejection_keeps_the_distribution() {
        distribution_is_kept(60_000);
    }

    #[test]
    #[ignore = "a million draws"]
    fn all_rejection_keeps_the_distribution() {
        distribution_is_kept(1_000_000);
    }

    #[test]
    fn greedy_rejection_is_exact() {
        let [target, other] = pair();
        let best = mambabyte_core::most_probable(&target);
        let offered = Candidates::new(&other, &SampleOptions::GREEDY);
        for byte in [best, 9] {
            let mut rng = Rng::new(1);
            let drafted = Some(Drafted { byte, from: Some(&offered) });
            assert_eq!(Rejection.decide(&target, &SampleOptions::GREEDY, &mut rng, drafted), best);
            assert_eq!(rng, Rng::new(1));
        }
    }
}
