//! The arithmetic of the exact GPU kernels, `host/src/cuda/kernels/exact.cuh`, compiled as plain C++ and compared with
//! the core to the bit over the whole ranges of its functions; and the sampler, `sample.cuh`, with the lanes of its warp as
//! contexts of one thread. Needs a C++ compiler, no GPU.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use mambabyte_core::fixed::{mul_q15, requantize, round_shift, saturate_i16, saturate_i32};
use mambabyte_core::nonlinear::{decay, exp2_fraction, log2_q16, log2_softplus, rsqrt, sigmoid, silu};
use mambabyte_core::sample::{SampleOptions, exponential, sample};
use mambabyte_core::score::{surprise, weight};
use mambabyte_core::selective_scan::delta_x;
use mambabyte_core::{Logits, Rng, norm, tables};

/// The compiled program, with every overflow and bad shift a failure.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exact_header");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut compiler = Command::new("c++");
        compiler.args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-static-libubsan"]);
        compiler.args(["-fno-sanitize-recover=undefined", "-Ihost/src/cuda/kernels", "tests/cuda/exact_header.cpp"]);
        // Of the sampler: `#pragma unroll`, and a lane beside a distance.
        compiler.args(["-Wno-unknown-pragmas", "-Wno-sign-compare"]);
        let output = compiler.arg("-o").arg(&path).current_dir(root).output().expect("a C++ compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (folder, path)
    });
    path
}

/// `struct Tables`: each row padded to an even length.
fn table_bytes() -> Vec<u8> {
    let mut words: Vec<u16> = Vec::new();
    let signed = |t: &[i16]| t.iter().map(|&v| v as u16).collect::<Vec<_>>();
    for row in [
        signed(&tables::ROW_MULTIPLIER),
        tables::EXP2.to_vec(),
        tables::LOG2.to_vec(),
        signed(&tables::DECAY),
        signed(&tables::LOG2_SOFTPLUS),
        tables::SIGMOID.to_vec(),
        tables::RSQRT.to_vec(),
    ] {
        words.extend(row);
        words.resize(words.len().next_multiple_of(2), 0);
    }
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Runs the function `name` on `inputs` and compares with `expected`.
fn compare<const I: usize, const O: usize>(name: &str, inputs: &[[i64; I]], expected: impl Fn(&[i64; I]) -> [i64; O]) {
    let mut child = Command::new(program()).arg(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut data = table_bytes();
    data.extend(inputs.iter().flatten().flat_map(|v| v.to_le_bytes()));
    // The program writes when it has read everything.
    stdin.write_all(&data).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}");
    assert_eq!(output.stdout.len(), inputs.len() * O * 8, "{name}");
    for (input, found) in inputs.iter().zip(output.stdout.chunks_exact(O * 8)) {
        let found: Vec<i64> = found.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect();
        assert_eq!(found, expected(input), "{name} of {input:?}");
    }
    println!("{name}: {} equal", inputs.len());
}

/// Random numbers of every magnitude, `|v| < 2^bits`, and the edges.
fn spread(rng: &mut Rng, bits: u32, count: usize) -> Vec<i64> {
    let edge = i64::MAX >> (63 - bits);
    let mut all = vec![0, 1, -1, edge, -edge, edge / 2, -edge / 2];
    all.extend((0..count).map(|_| {
        let v = (rng.next_u64() >> (64 - bits)) >> (rng.next_u64() % u64::from(bits));
        if rng.next_u64() & 1 == 0 { v as i64 } else { -(v as i64) }
    }));
    all
}

fn ones(values: impl IntoIterator<Item = i64>) -> Vec<[i64; 1]> {
    values.into_iter().map(|v| [v]).collect()
}

#[test]
fn rounding_and_saturation() {
    let mut rng = Rng::new(1);
    let wide = spread(&mut rng, 62, 100_000);
    let shifts: Vec<_> = wide.iter().flat_map(|&v| [1, 7, 15, 31, 32, 40, 54, 62].map(|s| [v, s])).collect();
    compare("round_shift", &shifts, |&[v, s]| [round_shift(v, s as u32)]);
    compare("saturate_i16", &ones(wide.iter().copied().chain(-40_000..40_000)), |&[v]| [saturate_i16(v).into()]);
    compare("saturate_i32", &ones(wide.iter().copied()), |&[v]| [saturate_i32(v).into()]);
    let sixteen = [-32768, -32767, -1, 0, 1, 16384, 32767];
    let mut pairs: Vec<_> = sixteen.iter().flat_map(|&a| sixteen.map(|b| [a, b])).collect();
    pairs.extend((0..200_000).map(|_| [rng.next_u64() as i16 as i64, rng.next_u64() as i16 as i64]));
    pairs.retain(|&p| p != [-32768, -32768]);
    compare("mul_q15", &pairs, |&[a, b]| [mul_q15(a as i16, b as i16).into()]);
    let sums = spread(&mut rng, 47, 20_000);
    let scaled: Vec<_> = sums.iter().flat_map(|&v| [[v, 0, 1], [v, 255, 54], [v, v & 255, 1 + (v & 31)]]).collect();
    compare("requantize", &scaled, |&[v, c, s]| [requantize(v, c as u8, s as u8)]);
    let thirty_two = spread(&mut rng, 31, 1000);
    let sums: Vec<_> = thirty_two.iter().map(|&a| [a, rng.next_u64() as i32 as i64]).collect();
    compare("add_saturating", &sums, |&[a, b]| [(a as i32).saturating_add(b as i32).into()]);
}

#[test]
fn nonlinearities_over_their_whole_ranges() {
    let mut rng = Rng::new(2);
    compare("exp2_fraction", &ones(0..65_536), |&[v]| [exp2_fraction(v as u16).into()]);
    let magnitudes = spread(&mut rng, 63, 200_000).into_iter().filter(|&v| v >= 0);
    let magnitudes = ones(magnitudes.chain(0..100_000).chain([-1, i64::MIN])); // as u64
    compare("log2_q16", &magnitudes, |&[v]| [log2_q16(v as u64).into()]);
    compare("log2_softplus", &ones(-(1 << 20)..=1 << 20), |&[v]| [log2_softplus(v as i32).into()]);
    compare("decay", &ones((-70 * 1024..70 * 1024).chain([i32::MIN as i64 / 2, i32::MAX as i64 / 2])), |&[l]| {
        [decay(l as i32).into()]
    });
    let all: Vec<_> = (0..16).flat_map(|frac| (-32768..32768).map(move |x| [x, frac])).collect();
    compare("sigmoid", &all, |&[x, frac]| [sigmoid(x as i16, frac as u8).into()]);
    compare("silu", &all, |&[x, frac]| [silu(x as i16, frac as u8).into()]);
    compare("rsqrt", &magnitudes, |&[v]| {
        let (r, e) = rsqrt(v as u64);
        [r.into(), e.into()]
    });
    let distances = spread(&mut rng, 41, 100_000).into_iter().filter(|&v| v >= 0).chain(0..1 << 20);
    compare("score_weight", &ones(distances), |&[v]| [weight(v as u64) as i64]);
}

#[test]
fn parts_of_the_step() {
    let mut rng = Rng::new(3);
    let mut any = |n: u64| (rng.next_u64() % n) as i64;
    let sums = spread(&mut Rng::new(4), 47, 100_000);
    let deltas: Vec<_> = sums.iter().map(|&v| [v, any(256), 1 + any(54), any(65_536) - 32768]).collect();
    compare("log_delta", &deltas, |&[acc, code, base, bias]| {
        let v = requantize(acc, code as u8, base as u8) + bias;
        [saturate_i16(log2_softplus(v.clamp(-(1 << 20), 1 << 20) as i32).into()).into()]
    });
    let taps: Vec<_> = spread(&mut Rng::new(5), 24, 100_000)
        .iter()
        .map(|&v| [v, any(256), 1 + any(54), any(65_536) - 32768, 4 + any(12)])
        .collect();
    compare("conv_silu", &taps, |&[acc, code, base, bias, frac]| {
        let v = saturate_i16(requantize(acc, code as u8, base as u8) + bias);
        [silu(v, frac as u8).into()]
    });
    let products: Vec<_> = (0..300_000)
        .map(|_| [any(65_535) - 32767, any(65_535) - 32767, any(1 << 21) - (1 << 20), any(256)])
        .chain((0..60_000).map(|i| [if i % 2 == 0 { 1 } else { -1 }, i - 30_000, 0, 0]))
        .collect();
    compare("delta_x", &products, |&[x, l, base, code]| [delta_x(x as i16, l as i32, base as i32, code as u8).into()]);
    let states: Vec<_> = (0..200_000)
        .map(|_| [any(65_536) - 32768, any(32_768), any(65_535) - 32767, any(65_535) - 32767])
        .chain([[-32768, 32767, -32767, 32767], [32767, 32767, 32767, 32767]])
        .collect();
    compare("state_update", &states, |&[h, a, dx, b]| {
        [mul_q15(a as i16, h as i16).saturating_add(mul_q15(dx as i16, b as i16)).into()]
    });
    let gates: Vec<_> = spread(&mut Rng::new(6), 31, 200_000)
        .iter()
        .map(|&y| {
            let (d, x, z) = (any(65_536) - 32768, any(65_535) - 32767, any(65_535) - 32767);
            [y, any(256), 1 + any(54), d, x, 1 + any(54), z, 1 + any(54)]
        })
        .collect();
    compare("gate", &gates, |&[y, code, y_shift, d, x, d_shift, z, gate_shift]| {
        let sum = saturate_i32(requantize(y, code as u8, y_shift as u8) + round_shift(d * x, d_shift as u32));
        [saturate_i32(round_shift(i64::from(sum) * z, gate_shift as u32)).into()]
    });
    let largest: Vec<_> = (0..33).flat_map(|bit| [[(1i64 << bit) - 1], [(1i64 << bit) & 0xffff_ffff]]).collect();
    compare("gate_down", &largest, |&[v]| [(17 - (v as u32).leading_zeros().min(17)).into()]);
    let gated: Vec<_> = (0..18)
        .flat_map(|down| {
            spread(&mut Rng::new(7), if down == 0 { 15 } else { 31 }, 5000).into_iter().map(move |g| [g, down])
        })
        .collect();
    compare("gate_element_16", &gated, |&[g, down]| {
        [if down == 0 { g as i16 } else { saturate_i16(round_shift(g, down as u32)) }.into()]
    });
}

#[test]
fn norms_and_scores() {
    let mut rng = Rng::new(8);
    let mut norms = Vec::new();
    for i in 0..40_000u32 {
        let bits = 1 + rng.next_u64() % 32;
        let mut a = [0i64; 27];
        for x in &mut a[..8] {
            *x = i64::from((rng.next_u64() as i32) >> (32 - bits));
        }
        a[8..24].iter_mut().for_each(|w| *w = (rng.next_u64() as i16).into());
        a[24] = (i % 2).into();
        a[25] = 1 + (rng.next_u64() % 54) as i64;
        a[26] = (rng.next_u64() >> 8 >> (rng.next_u64() % 56)) as i64;
        if i % 100 == 0 {
            a[..8].fill([0, i32::MIN.into(), i32::MAX.into(), 1][(i / 100 % 4) as usize]);
        }
        norms.push(a);
    }
    compare("norm", &norms, |a| {
        let x: Vec<i32> = a[..8].iter().map(|&v| v as i32).collect();
        let narrow = |a: &[i64]| a.iter().map(|&v| v as i16).collect::<Vec<_>>();
        let bias = if a[24] != 0 { narrow(&a[16..24]) } else { Vec::new() };
        let mut u = [0i16; 8];
        norm::norm(&x, &narrow(&a[8..16]), &bias, a[25] as u8, a[26] as u64, &mut u);
        u.map(i64::from)
    });
    let scores: Vec<[i64; 257]> = (0..3000u64)
        .map(|i| {
            std::array::from_fn(
                |j| if j < 256 { i64::from((rng.next_u64() as i32) >> (i % 32)) } else { (i % 256) as i64 },
            )
        })
        .collect();
    compare("surprise", &scores, |a| {
        let logits: Logits = std::array::from_fn(|j| a[j] as i32);
        [surprise(&logits, a[256] as u8).into()]
    });
}

#[test]
fn random_numbers() {
    let mut rng = Rng::new(9);
    let some: Vec<[i64; 1]> = (0..100_000).map(|i| [(rng.next_u64() >> (i % 64)) as i64]).collect();
    let edges = [0, 1, -1, -2, i64::MIN, i64::MAX].map(|edge| [edge]);
    let all = [&some[..], &edges].concat();
    compare("mixed", &all, |&[state]| [Rng::new(state as u64).next_u64() as i64]);
    compare("exponential", &all, |&[random]| [exponential(random as u64) as i64]);
}

/// Flat and steep distributions, equal logits, edges, every way to cut.
#[test]
fn the_choice_of_a_warp() {
    let mut rng = Rng::new(11);
    let temperatures = [65_536, 52_429, 0, 1, 655_360, u32::MAX, 131_072];
    let cases: Vec<[i64; 261]> = (0..1500u64)
        .map(|i| {
            let down = [31, 22, 14, 12, 8, 0][i as usize % 6];
            let temperature = temperatures[i as usize % 7];
            let inverse = if temperature == 0 { 0 } else { (1u64 << 32) / u64::from(temperature) };
            let (top_k, top_p) =
                ([0, 0, 1, 5, 40, 255, 256][i as usize / 3 % 7], [65_536, 65_536, 58_982, 1, 0][i as usize / 5 % 5]);
            let edges = [i32::MIN, i32::MAX, 0, -1];
            std::array::from_fn(|at| match at {
                0..256 if i % 13 == 0 => edges[rng.next_u64() as usize % 4].into(),
                0..256 => (rng.next_u64() as i32 >> down).into(),
                256 => inverse as i64,
                257 => top_k,
                258 => top_p,
                259 => rng.next_u64() as i64,
                _ => temperature.into(),
            })
        })
        .collect();
    compare("choose", &cases, |a| {
        let logits: Logits = std::array::from_fn(|at| a[at] as i32);
        let options = SampleOptions { temperature: a[260] as u32, top_k: a[257] as u16, top_p: a[258] as u32 };
        [sample(&logits, &options, &mut Rng::new(a[259] as u64)).into()]
    });
}
