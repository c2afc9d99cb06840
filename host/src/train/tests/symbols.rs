//! Steps over symbols say what training says.

use mambabyte_core::{Dims, Norm, Rng};

use crate::Model;
use crate::train::{Carry, Row, initial, losses};

fn dims(tied_head: bool) -> Dims {
    Dims {
        d_model: 24,
        n_layer: 2,
        d_inner: 40,
        d_state: 4,
        d_conv: 4,
        dt_rank: 2,
        norm: Norm::Rms,
        tied_head,
        tied_decays: true,
    }
}

/// Bytes are symbols, too.
#[test]
fn a_byte_model_says_the_same_of_symbols() {
    let model = Model::new(initial::checkpoint(&dims(false), 3)).unwrap();
    let (mut bytes, mut symbols) = (model.session(), model.symbols().unwrap());
    for &byte in b"any text\xff\0" {
        let (expected, found) = (bytes.step(byte).unwrap(), symbols.step(byte.into()).unwrap());
        assert!(expected.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-5), "{byte}");
    }
    assert_eq!(bytes.state(), symbols.state());
}

/// What stepping says of symbols all over the vocabulary is what training says.
#[test]
fn steps_cost_what_training_says() {
    for tied in [true, false] {
        let model = Model::of_symbols(initial::with_vocabulary(&dims(tied), 700, 5)).unwrap();
        let mut rng = Rng::new(8);
        let text: Vec<u16> = (0..60).map(|_| (rng.next_u64() % 700) as u16).chain([0, 255, 443, 444, 699]).collect();
        let (mut session, mut nats) = (model.symbols().unwrap(), 0.0);
        for pair in text.windows(2) {
            let logits = session.step(pair[0]).unwrap();
            let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
            nats += sum.ln() - f64::from(logits[usize::from(pair[1])]);
        }
        let mut carry = Carry::zero(model.dims());
        let row = Row { symbols: &text[..64], next: &text[1..], starts: &[0], carry: &mut carry };
        let expected = losses(&model, &mut [row])[0].nats;
        assert!((nats - expected).abs() < 1e-3, "{nats} and {expected}");
    }
}
