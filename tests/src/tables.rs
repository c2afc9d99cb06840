//! The source text of `core/src/tables.rs`, computed in f64.

use std::fmt::Write;

/// Number of decay entries below and above `log2(t) = 0`, in octaves.
const DECAY_OCTAVES: (f64, f64) = (-15.0, 4.0);

fn round(x: f64, max: f64) -> i64 {
    x.round().min(max) as i64
}

fn emit(out: &mut String, doc: &str, name: &str, element: &str, values: &[i64]) {
    for line in doc.lines() {
        writeln!(out, "/// {line}").unwrap();
    }
    writeln!(out, "#[rustfmt::skip]\npub static {name}: [{element}; {}] = [", values.len()).unwrap();
    for row in values.chunks(16) {
        let row: Vec<String> = row.iter().map(i64::to_string).collect();
        writeln!(out, "    {},", row.join(", ")).unwrap();
    }
    writeln!(out, "];\n").unwrap();
}

/// The tables of the adapter.
fn adapter(out: &mut String) {
    let logit = |k: i32| {
        let p = (f64::from(k) + 0.5) / 4096.0;
        round(256.0 * (p / (1.0 - p)).ln(), 32767.0)
    };
    let stretch: Vec<i64> = (2048..4096).map(logit).collect();
    emit(out, "`ln(p / (1 - p))` in Q8 for `p = (2048 + k + 1/2) / 4096`.", "STRETCH", "i16", &stretch);
    let squash: Vec<i64> =
        (0..356).map(|k| round(65536.0 / (1.0 + (-f64::from(k * 16 - 2832) / 256.0).exp()), 65535.0).max(1)).collect();
    emit(out, "`65536 / (1 + e^-x)` for `x = (k - 177) / 16`, 1..=65535.", "SQUASH", "u16", &squash);
    let (next, counts) = histories();
    emit(
        out,
        "The state of a bit history after a zero and after a one, for each of 128 states; unused ones are 0.",
        "HISTORY_NEXT",
        "u8",
        &next,
    );
    emit(out, "Zeros and ones that each state of a bit history remembers.", "HISTORY_COUNTS", "u8", &counts);
}

/// The states of bit histories: two bounded counts and, while they are small, the last bit. The larger one count is, the
/// less the other may be; a bit takes from the other's count what is above 2.
fn histories() -> (Vec<i64>, Vec<i64>) {
    const MOST: [i64; 6] = [30, 12, 7, 5, 4, 4];
    let mut states = vec![([0, 0], 0)];
    let (mut next, mut at) = (Vec::new(), 0);
    while let Some(&(counts, _)) = states.get(at) {
        for bit in 0..2 {
            let (mut own, mut other): (i64, i64) = (counts[bit] + 1, counts[1 - bit]);
            if other > 2 {
                other = (other - 1).min((other + 3) / 2);
            }
            other = other.min(5);
            own = own.min(MOST.get(other as usize).copied().unwrap_or(3));
            let counts = if bit == 0 { [own, other] } else { [other, own] };
            let last = if own + other > 6 || own == 0 || other == 0 { 0 } else { bit };
            let state = (counts, last);
            let index = states.iter().position(|known| *known == state).unwrap_or_else(|| {
                states.push(state);
                states.len() - 1
            });
            next.push(index as i64);
        }
        at += 1;
    }
    assert!(states.len() <= 128, "{} states", states.len());
    next.resize(256, 0);
    let mut counts: Vec<i64> = states.iter().flat_map(|(counts, _)| *counts).collect();
    counts.resize(256, 0);
    (next, counts)
}

/// The whole file.
pub fn source() -> String {
    let mut out = String::from(
        "//! Tables of the integer nonlinearities, generated: `cargo run -p mambabyte-tests --bin tables`.\n//!\n\
         //! Each holds the nearest integer to the f64 value; `tests/tests/tables.rs` checks that the file is current.\n\n",
    );
    let rows: Vec<i64> = (0..32).map(|k| round((15.0 - (f64::from(k) + 1.0) / 32.0).exp2(), 32767.0)).collect();
    emit(&mut out, "`2^(15 - (k + 1) / 32)`: the mantissa of a row multiplier.", "ROW_MULTIPLIER", "i16", &rows);
    let exp2: Vec<i64> = (0..=128).map(|k| round(32768.0 * (f64::from(k) / 128.0).exp2(), 65535.0)).collect();
    emit(&mut out, "`2^(k / 128)` in Q15; the last entry is one less than 65,536 to fit.", "EXP2", "u16", &exp2);
    let log2: Vec<i64> = (0..=128).map(|k| round(65536.0 * (1.0 + f64::from(k) / 128.0).log2(), 65535.0)).collect();
    emit(&mut out, "`log2(1 + k / 128)` in Q16; the last entry is one less than 65,536 to fit.", "LOG2", "u16", &log2);
    let (low, high) = DECAY_OCTAVES;
    let n = ((high - low) * 128.0) as i64;
    let decay: Vec<i64> = (0..n).map(|k| round(32768.0 * (-(low + k as f64 / 128.0).exp2()).exp2(), 32767.0)).collect();
    emit(&mut out, "`2^-(2^l)` in Q15 for `l = -15 + k / 128`, at most 32,767.", "DECAY", "i16", &decay);
    let softplus: Vec<i64> = (0..=512)
        .map(|k| {
            let v = f64::from(k) / 16.0 - 16.0;
            round(1024.0 * v.exp().ln_1p().log2(), 32767.0)
        })
        .collect();
    emit(&mut out, "`log2(softplus(v))` in Q10 for `v = -16 + k / 16`.", "LOG2_SOFTPLUS", "i16", &softplus);
    let sigmoid: Vec<i64> = (0..=512).map(|k| round(32768.0 / (1.0 + (f64::from(-k) / 32.0).exp()), 32768.0)).collect();
    emit(&mut out, "`1 / (1 + e^-u)` in Q15 for `u = k / 32`.", "SIGMOID", "u16", &sigmoid);
    let rsqrt: Vec<i64> =
        (64..=256).map(|k| round((1u64 << 23) as f64 / (f64::from(k) * 256.0).sqrt(), 65535.0)).collect();
    emit(
        &mut out,
        "`2^23 / sqrt(256 * (64 + k))`: reciprocal square roots of 16-bit mantissas.",
        "RSQRT",
        "u16",
        &rsqrt,
    );
    adapter(&mut out);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}
