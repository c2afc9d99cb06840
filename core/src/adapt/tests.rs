//! The adapter as a whole: what it says is what it learns from, on any bytes.

use std::boxed::Box;
use std::format;
use std::vec::Vec;

use super::*;
use crate::dims::VOCAB;
use crate::sample::Rng;

/// Calls a function for each preset, with memory of its own.
macro_rules! each_preset {
    ($run:ident $(, $argument:expr)*) => {
        $run::<Adapter4K>($($argument),*);
        $run::<Adapter8K>($($argument),*);
        $run::<Adapter16K>($($argument),*);
        $run::<Adapter32K>($($argument),*);
        $run::<Adapter64K>($($argument),*);
    };
}

fn adapter<M: Memory>(net: bool) -> Adapter<Box<M>> {
    Adapter::new(Box::new(M::ZERO), net)
}

fn logits(rng: &mut Rng) -> Logits {
    let scale = rng.next_u64() % 24;
    core::array::from_fn(|_| (rng.next_u64() as i32) >> (8 + scale))
}

/// Telemetry of two kinds of lines, with counters.
fn telemetry(lines: u32) -> Vec<u8> {
    let line = |n: u32| match n % 3 {
        0 => format!("$GPGGA,{:06},5321.{:04},N,00630.{:04},W,1,8\r\n", 92_750 + n, 6802 + n % 7, 3372 - n % 5),
        1 => format!("{{\"class\":\"TPV\",\"time\":{},\"alt\":{}.{}}}\n", 1_700_000_000 + n, 60 + n % 3, n % 10),
        _ => format!("$GPGSA,A,3,{:02},{:02},,,,2.1\r\n", n % 32, (n + 7) % 32),
    };
    (0..lines).flat_map(|n| line(n).into_bytes()).collect()
}

#[test]
fn repeated_lines_become_cheap() {
    fn run<M: Memory>() {
        let text = telemetry(300);
        let mut adapter = adapter::<M>(false);
        let bits: Vec<u32> = text.iter().map(|&byte| adapter.read(None, byte).surprise()).collect();
        let mean = |part: &[u32]| part.iter().map(|&b| f64::from(b)).sum::<f64>() / 65_536.0 / part.len() as f64;
        let (first, last) = (mean(&bits[..500]), mean(&bits[bits.len() - 3000..]));
        assert!(last * 5.0 < first && last < 1.0, "{}: {first} {last}", M::DESIGN.name);
    }
    each_preset!(run);
}

#[test]
fn a_good_net_is_believed_and_a_bad_one_is_not() {
    fn run<M: Memory>() {
        let mut rng = Rng::new(3);
        // Random bytes: only the net can know them.
        let (mut good, mut bad) = (adapter::<M>(true), adapter::<M>(true));
        let (mut knows, mut fooled) = (0, 0);
        for _ in 0..3000 {
            let byte = rng.next_u64() as u8;
            let mut logits = [0; VOCAB];
            logits[byte as usize] = 12 << 16;
            knows += good.read(Some(&logits), byte).surprise() >> 8;
            fooled += bad.read(Some(&logits), byte ^ 0x55).surprise() >> 8;
        }
        let bits = |sum: u32| f64::from(sum) / 256.0 / 3000.0;
        assert!(bits(knows) < 0.5, "{}: {}", M::DESIGN.name, bits(knows));
        assert!(bits(fooled) < 7.0, "{}: it learns that the net is always wrong: {}", M::DESIGN.name, bits(fooled));
    }
    each_preset!(run);
}

#[test]
fn nodes_and_the_distribution_are_what_is_read() {
    fn run<M: Memory>() {
        let mut rng = Rng::new(7);
        let text = telemetry(12);
        for net in [false, true] {
            let mut adapter = adapter::<M>(net);
            for (at, &byte) in text.iter().enumerate() {
                let logits = logits(&mut rng);
                let logits = net.then_some(&logits);
                if at % 97 != 0 {
                    adapter.read(logits, byte);
                    continue;
                }
                let nodes: Vec<u16> =
                    (0..8).map(|bit| adapter.node(logits, ((byte as u16 | 256) >> (8 - bit)) as u8)).collect();
                let mut mixed = [0; VOCAB];
                adapter.distribution(logits, &mut mixed);
                let path = adapter.read(logits, byte);
                assert_eq!(nodes, path.nodes, "asking changes nothing");
                let bits = -f64::from(mixed[byte as usize]) / 65_536.0;
                assert!((bits - f64::from(path.surprise()) / 65_536.0).abs() < 1e-3);
                let sum: f64 = mixed.iter().map(|&l| (f64::from(l) / 65_536.0).exp2()).sum();
                assert!((sum - 1.0).abs() < 1e-3, "{sum}");
            }
        }
    }
    each_preset!(run);
}

/// With overflow checks: nothing that can be read makes a sum too large or an index too far.
#[test]
fn any_bytes_can_be_read() {
    type Kind = dyn Fn(&mut Rng, u32) -> u8;
    fn run<M: Memory>(kinds: &[&Kind]) {
        let mut rng = Rng::new(11);
        let mut adapter = adapter::<M>(true);
        for (kind, byte) in kinds.iter().enumerate() {
            for at in 0..6000 {
                let extreme: Logits = core::array::from_fn(|i| match (at + kind as u32) % 4 {
                    0 => i32::MAX,
                    1 => i32::MIN,
                    2 if i % 2 == 0 => i32::MAX,
                    2 => i32::MIN,
                    _ => (rng.next_u64() as i32) >> 12,
                });
                let byte = byte(&mut rng, at);
                let path = adapter.read(Some(&extreme), byte);
                assert!(path.nodes.iter().all(|&p| (3..=65_533).contains(&p)));
            }
        }
    }
    let kinds: [&Kind; 7] = [
        &|rng, _| rng.next_u64() as u8,
        &|_, _| b'9',
        &|rng, _| b"0123456789.,\n"[rng.next_u64() as usize % 13],
        &|_, _| 0xff,
        &|_, at| if at % 2 == 0 { b',' } else { b'\n' },
        &|rng, _| b'0' + (rng.next_u64() & 1) as u8,
        &|_, at| (at / 3) as u8,
    ];
    each_preset!(run, &kinds);
}

/// Positions are modulo 2^32; what a ring holds is known by its age.
#[test]
fn four_gigabytes_later() {
    fn run<M: Memory>() {
        let text = telemetry(200);
        let from = |start: u32| {
            let mut adapter = adapter::<M>(false);
            let parts = adapter.memory.parts();
            parts.stream.at = start;
            parts.stream.line_start = start;
            parts.stream.field_start = start;
            text.iter().map(|&byte| adapter.read(None, byte).surprise()).collect::<Vec<_>>()
        };
        let plain = from(0);
        assert_eq!(plain, from(1 << 31), "{}", M::DESIGN.name);
        // One place of the 2^32 means nowhere.
        let sum = |bits: &[u32]| bits.iter().map(|&b| f64::from(b)).sum::<f64>();
        let (wrapped, plain) = (sum(&from(u32::MAX - 2000)), sum(&plain));
        assert!((wrapped / plain - 1.0).abs() < 0.05, "{}: {wrapped} {plain}", M::DESIGN.name);
    }
    each_preset!(run);
}

#[test]
fn sizes() {
    assert!(size_of::<Adapter4K>() <= 4 << 10);
    assert!(size_of::<Adapter8K>() <= 8 << 10);
    assert!(size_of::<Adapter16K>() <= 16 << 10);
    assert!(size_of::<Adapter32K>() <= 32 << 10);
    assert!(size_of::<Adapter64K>() <= 64 << 10);
}

#[test]
fn a_stream_split_anywhere_is_unbroken() {
    fn run<M: Memory>() {
        let text = telemetry(40);
        let mut rng = Rng::new(5);
        let all: Vec<Logits> = text.iter().map(|_| logits(&mut rng)).collect();
        let mut whole = adapter::<M>(true);
        let mut parts = adapter::<M>(true);
        let mut saved = std::vec![0; M::DESIGN.saved_bytes()];
        for (at, (&byte, logits)) in text.iter().zip(&all).enumerate() {
            if at % 41 == 7 {
                // Sometimes after the next byte was already looked at.
                if at % 2 == 0 {
                    parts.node(Some(logits), 1);
                }
                parts.save(&mut saved).unwrap();
                parts = adapter::<M>(false);
                parts.read(None, b'x');
                parts.load(&saved).unwrap();
            }
            assert_eq!(whole.read(Some(logits), byte), parts.read(Some(logits), byte), "{} {at}", M::DESIGN.name);
        }
        let mut again = saved.clone();
        whole.save(&mut saved).unwrap();
        parts.save(&mut again).unwrap();
        assert!(saved == again);
    }
    each_preset!(run);
    run::<Adapter1M>();
}

#[test]
fn other_saved_adapters_are_refused_and_made_up_ones_harmless() {
    let mut adapter8 = adapter::<Adapter8K>(false);
    let mut saved = std::vec![0; Adapter8K::DESIGN.saved_bytes()];
    adapter8.save(&mut saved).unwrap();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = saved.clone();
        change(&mut bad);
        adapter::<Adapter8K>(false).load(&bad)
    };
    let expected = saved.len();
    assert_eq!(refused(&|bad| bad[0] = 3), Err(AdapterError::Preset { expected: 2, found: 3 }));
    assert_eq!(refused(&|bad| bad[1] = 2), Err(AdapterError::Version { found: 2 }));
    assert_eq!(refused(&|bad| bad[2] = 1), Err(AdapterError::Reserved));
    assert_eq!(refused(&|bad| bad.truncate(9)), Err(AdapterError::Length { expected, found: 9 }));
    assert_eq!(refused(&|bad| bad.clear()), Err(AdapterError::Length { expected, found: 0 }));
    assert_eq!(adapter8.save(&mut saved[1..]), Err(AdapterError::Length { expected, found: expected - 1 }));

    fn run<M: Memory>() {
        let mut rng = Rng::new(9);
        let text = telemetry(10);
        for fill in [0, 0x7f, 0x80, 0xff, 1, 2] {
            let mut made_up = std::vec![fill; M::DESIGN.saved_bytes()];
            if fill < 3 {
                made_up.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
            }
            made_up[..4].copy_from_slice(&[M::DESIGN.id, 1, 0, 0]);
            let mut adapter = adapter::<M>(true);
            adapter.load(&made_up).unwrap();
            let parts = adapter.memory.parts();
            let weights = parts.weights.iter().chain(parts.final_weights.iter());
            assert!(weights.copied().all(|weight| (-16_384..=16_383).contains(&weight)), "sums may overflow");
            for &byte in &text {
                adapter.read(Some(&logits(&mut rng)), byte);
            }
        }
    }
    each_preset!(run);
    run::<Adapter1M>();
}
