//! The float path on a GPU against f64 and against stepping on the CPU. All ignored: they need a GPU.
//!
//! `cargo test -p mambabyte-host --features cuda --lib -- --ignored gpu_`

use std::sync::Arc;

use mambabyte_core::{Dims, Norm};

use super::buffer::{Buffer, Element, from_bf16, to_bf16};
use super::scan::{Scan, ScanArgs, ScanShape};
use super::{FloatModel, Values};
use crate::Model;
use crate::cuda::bench::{Numbers, dims, random_checkpoint};
use crate::cuda::{Answer, CudaError, Device, Precision, Want};

/// Relative error of the scan in f32; in bf16 its output is rounded, its state is not.
const F32: f64 = 1e-5;
const BF16: f64 = 4e-3;
/// The final state of bf16 inputs: `ex2.approx` and a polynomial of 8e-6 for softplus. 1.8e-4 was seen after 65,536
/// steps with decays near 1.
const BF16_STATE: f64 = 1e-3;

struct Case {
    shape: ScanShape,
    len: Vec<usize>,
    segments: usize,
    /// Standard deviation and mean of the raw deltas.
    delta: (f32, f32),
}

struct Outcome {
    out: Vec<f32>,
    h: Vec<f32>,
    out_error: f64,
    h_error: f64,
}

fn relative(pairs: impl Iterator<Item = (f32, f64)>) -> f64 {
    let (mut error, mut norm) = (0.0, 0.0);
    for (found, expected) in pairs {
        error += (f64::from(found) - expected).powi(2);
        norm += expected * expected;
    }
    (error / (norm + 1e-30)).sqrt()
}

/// Runs the scan with fresh inputs and compares it with a sequential one in f64.
fn scan(device: &Arc<Device>, case: &Case, seed: u64) -> Outcome {
    let ScanShape { batch, seq_len, d_inner, d_state, tied, element } = case.shape;
    let mut random = Numbers::new(seed);
    let round = |v: f32| if element == Element::Bf16 { from_bf16(to_bf16(v)) } else { v };
    let n8 = d_state.next_multiple_of(8);
    let (m, mb) = (batch * seq_len * d_inner, batch * seq_len * n8);
    let mut normal = |len: usize, scale: f32, mean: f32| -> Vec<f32> {
        (0..len).map(|_| round(random.normal() * scale + mean)).collect()
    };
    let (u, z) = (normal(m, 1.0, 0.0), normal(m, 1.0, 0.0));
    let delta = normal(m, case.delta.0, case.delta.1);
    let (mut b, mut c) = (normal(mb, 1.0, 0.0), normal(mb, 1.0, 0.0));
    for v in [&mut b, &mut c] {
        v.iter_mut().enumerate().filter(|(i, _)| i % n8 >= d_state).for_each(|(_, v)| *v = 0.0);
    }
    let states = if tied { 1 } else { d_state };
    let a: Vec<f32> =
        (0..d_inner * states).map(|i| -((i % states + 1) as f32) * (0.8 + 0.4 * random.uniform())).collect();
    let mut plain = |len: usize| -> Vec<f32> { (0..len).map(|_| random.normal()).collect() };
    let (skip, bias, h0) = (plain(d_inner), plain(d_inner), plain(batch * d_inner * d_state));

    let upload = |v: &[f32]| Buffer::upload(device, "test", v, element).unwrap();
    let (du, dd, dz, db, dc) = (upload(&u), upload(&delta), upload(&z), upload(&b), upload(&c));
    let out = upload(&vec![f32::NAN; m]);
    let h = device.upload("test", &h0).unwrap();
    let (da, dskip, dbias) = (
        device.upload("test", &a).unwrap(),
        device.upload("test", &skip).unwrap(),
        device.upload("test", &bias).unwrap(),
    );
    let len: Vec<i32> = case.len.iter().map(|&l| l as i32).collect();
    let dlen = device.upload("test", &len).unwrap();
    let plan = case.shape.plan_split(case.segments);
    let (seg_h, seg_delta) = case.shape.workspace(plan.segments);
    let seg_h = device.upload("test", &vec![f32::NAN; seg_h]).unwrap();
    let seg_delta = device.upload("test", &vec![f32::NAN; seg_delta]).unwrap();
    let args = ScanArgs {
        u: du.address(device),
        delta: dd.address(device),
        z: dz.address(device),
        b: db.address(device),
        c: dc.address(device),
        out: out.address(device),
        a: device.address(&da),
        d_skip: device.address(&dskip),
        delta_bias: device.address(&dbias),
        h: device.address(&h),
        len: device.address(&dlen),
        seg_h: device.address(&seg_h),
        seg_delta: device.address(&seg_delta),
        ld_u: d_inner as i32,
        ld_delta: d_inner as i32,
        ld_z: d_inner as i32,
        ld_bc: n8 as i32,
        ld_out: d_inner as i32,
        ..ScanArgs::default()
    };
    // SAFETY: all buffers were made above with these sizes.
    unsafe { Scan::load(device, element, tied).unwrap().dispatch(device, &case.shape, &plan, args) }.unwrap();
    let (out, h) = (out.download(device).unwrap(), device.stream().clone_dtoh(&h).unwrap());

    let (mut expected_out, mut expected_h) = (Vec::new(), Vec::new());
    for row in 0..batch {
        for d in 0..d_inner {
            let at = (row * d_inner + d) * d_state;
            let mut s: Vec<f64> = h0[at..at + d_state].iter().map(|&v| f64::from(v)).collect();
            for t in 0..case.len[row] {
                let (i, j) = ((row * seq_len + t) * d_inner + d, (row * seq_len + t) * n8);
                let raw = f64::from(delta[i]) + f64::from(bias[d]);
                let step = if raw > 30.0 { raw } else { raw.exp().ln_1p() };
                let mut y = f64::from(skip[d]) * f64::from(u[i]);
                for (n, s) in s.iter_mut().enumerate() {
                    let a = f64::from(a[d * states + n % states]) * if tied { (n + 1) as f64 } else { 1.0 };
                    *s = (step * a).exp2() * *s + step * f64::from(u[i]) * f64::from(b[j + n]);
                    y += *s * f64::from(c[j + n]);
                }
                let gate = f64::from(z[i]);
                expected_out.push((out[i], y * gate / (1.0 + (-gate).exp())));
            }
            expected_h.extend(s.iter().enumerate().map(|(n, &s)| (h[at + n], s)));
        }
        // What lies after a row's end is not written.
        let end = (row * seq_len + case.len[row]) * d_inner;
        assert!(out[end..(row + 1) * seq_len * d_inner].iter().all(|v| v.is_nan()));
    }
    let (out_error, h_error) = (relative(expected_out.into_iter()), relative(expected_h.into_iter()));
    Outcome { out, h, out_error, h_error }
}

fn check(device: &Arc<Device>, case: &Case, seed: u64) -> Outcome {
    let outcome = scan(device, case, seed);
    let (out, h) = if case.shape.element == Element::F32 { (F32, F32) } else { (BF16, BF16_STATE) };
    // A comparison that NaN fails.
    let good = outcome.out_error <= out && outcome.h_error <= h;
    assert!(good, "{}, {} segments: out {:e}, h {:e}", case.shape, case.segments, outcome.out_error, outcome.h_error);
    outcome
}

fn device() -> Arc<Device> {
    Device::open(0).unwrap()
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_scan_of_any_shape() {
    let device = device();
    let mut seed = 1;
    for element in [Element::Bf16, Element::F32] {
        for tied in [false, true] {
            for d_state in [1, 4, 8, 9, 16, 17, 33, 64] {
                for (batch, d_inner, seq_len) in [(3, 72, 1usize), (2, 8, 31), (1, 136, 64), (3, 40, 65), (2, 264, 97)]
                {
                    seed += 1;
                    let len = (0..batch).map(|b| if b == 1 { 0 } else { seq_len.saturating_sub(b) }).collect();
                    let shape = ScanShape { batch, seq_len, d_inner, d_state, tied, element };
                    check(&device, &Case { shape, len, segments: 1 + seed as usize % 5, delta: (1.5, -3.0) }, seed);
                }
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_scan_around_tiles_and_wide_batches() {
    let device = device();
    for tied in [false, true] {
        for seq_len in [15, 16, 17, 32, 33, 63, 127, 128, 129, 331] {
            // 24 x 520 channels take two lanes each.
            let shape = ScanShape { batch: 24, seq_len, d_inner: 520, d_state: 16, tied, element: Element::Bf16 };
            let len = (0..24).map(|b| seq_len - b * seq_len / 24).collect();
            check(&device, &Case { shape, len, segments: 1, delta: (2.0, -2.0) }, seq_len as u64);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_scan_with_large_steps_and_with_decays_near_one() {
    let device = device();
    for (element, tied) in [(Element::Bf16, false), (Element::F32, false), (Element::F32, true)] {
        let shape = ScanShape { batch: 1, seq_len: 700, d_inner: 48, d_state: 16, tied, element };
        check(&device, &Case { shape, len: vec![700], segments: 3, delta: (30.0, 5.0) }, 5);
        let shape = ScanShape { seq_len: 65_536, d_inner: 16, ..shape };
        for segments in [1, 17] {
            check(&device, &Case { shape, len: vec![65_536], segments, delta: (0.5, -8.0) }, 6);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn gpu_scan_split_equals_unsplit_and_runs_are_identical() {
    let device = device();
    let shape = ScanShape { batch: 2, seq_len: 2000, d_inner: 200, d_state: 16, tied: false, element: Element::F32 };
    let case = |segments| Case { shape, len: vec![2000, 1777], segments, delta: (1.0, -5.0) };
    let whole = check(&device, &case(1), 7);
    for segments in [3, 4, 9] {
        let split = check(&device, &case(segments), 7);
        let pairs = split.h.iter().zip(&whole.h).map(|(&a, &b)| (a, f64::from(b)));
        let error = relative(pairs);
        assert!(error <= F32, "{segments}: {error:e}");
    }
    for element in [Element::Bf16, Element::F32] {
        for segments in [1, 5] {
            let case = Case { shape: ScanShape { element, ..shape }, ..case(segments) };
            let bits = |o: Outcome| o.out.iter().chain(&o.h).map(|v| v.to_bits()).collect::<Vec<_>>();
            let first = bits(scan(&device, &case, 8));
            for _ in 0..20 {
                assert!(bits(scan(&device, &case, 8)) == first);
            }
        }
    }
}

fn models() -> [Dims; 3] {
    let odd = Dims {
        d_model: 36,
        n_layer: 3,
        d_inner: 71,
        d_state: 5,
        d_conv: 4,
        dt_rank: 9,
        norm: Norm::Layer,
        tied_head: false,
        tied_decays: false,
    };
    let tied = Dims { d_model: 64, d_inner: 128, d_state: 16, d_conv: 3, dt_rank: 4, norm: Norm::Rms, ..odd };
    let long = Dims { d_model: 1040, n_layer: 1, d_inner: 96, d_conv: 2, d_state: 20, ..odd };
    [odd, Dims { tied_head: true, tied_decays: true, ..tied }, long]
}

fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Numbers::new(seed);
    (0..len).map(|_| random.next_u64() as u8).collect()
}

/// The path without the persistent kernel, which f32 and older GPUs take, also in bf16: all calls on one state against
/// stepping in f32 on the CPU; a draft has the bits of stepping.
#[test]
#[ignore = "needs a GPU"]
fn gpu_steps_of_prefill() {
    let device = device();
    for dims in models() {
        let model = Model::new(random_checkpoint(&dims, 11)).unwrap();
        for (precision, bound) in [(Precision::F32, 1e-5), (Precision::Bf16, 3e-2)] {
            let gpu = FloatModel::without_decoder(&device, model.checkpoint(), precision).unwrap();
            let texts = [text(97, 1), text(1, 2), Vec::new(), text(64, 3), text(200, 4)];
            let halves = |from: fn(usize) -> std::ops::Range<usize>| -> Vec<&[u8]> {
                texts.iter().map(|t| &t[from(t.len())]).collect()
            };
            let (mut state, mut other) = (gpu.state(5).unwrap(), gpu.state(5).unwrap());
            for state in [&mut state, &mut other] {
                gpu.prefill(&halves(|n| 0..n / 3), state, Want::Nothing).unwrap();
                gpu.prefill(&halves(|n| n / 3..n), state, Want::Nothing).unwrap();
            }
            let drafts = [text(3, 5), text(7, 6), text(0, 7), text(32, 8), text(1, 9)];
            let drafts: Vec<&[u8]> = drafts.iter().map(Vec::as_slice).collect();
            let found = gpu.verify(&drafts, &mut state).unwrap();
            let counts = [3, 5, 0, 31, 0];
            gpu.accept(&counts, &mut state).unwrap();
            let mut stepped = vec![Vec::new(); 5];
            let mut kept: Vec<Vec<f32>> = (0..5).map(|row| other.read_row(&device, row).unwrap()).collect();
            for k in 0..32 {
                let bytes: Vec<u8> = drafts.iter().map(|d| d.get(k).copied().unwrap_or(0)).collect();
                let logits = gpu.step(&bytes, &mut other).unwrap();
                for row in (0..5).filter(|&row| k < drafts[row].len()) {
                    stepped[row].extend_from_slice(&logits[row * 256..][..256]);
                    if k < counts[row] {
                        kept[row] = other.read_row(&device, row).unwrap();
                    }
                }
            }
            assert!(found == stepped.concat(), "{dims:?} {precision}: a draft is not stepping");
            for (row, text) in texts.iter().enumerate() {
                assert!(
                    state.read_row(&device, row).unwrap() == kept[row],
                    "{dims:?} {precision}: accepted, row {row}"
                );
                let mut cpu = model.session();
                for &byte in text.iter().chain(&drafts[row][..counts[row]]) {
                    cpu.step(byte).unwrap();
                }
                let pairs = kept[row].iter().zip(cpu.state()).map(|(&a, &b)| (a, f64::from(b)));
                let error = relative(pairs);
                assert!(error <= bound, "{dims:?} {precision} row {row}: state {error:e}");
            }
        }
    }
}

/// A text of more than one chunk; and the same state whether it is read at once or in parts.
#[test]
#[ignore = "needs a GPU"]
fn gpu_prefill_in_chunks() {
    let device = device();
    let dims = Dims { d_model: 16, n_layer: 2, d_inner: 32, dt_rank: 1, ..models()[1] };
    let model = Model::new(random_checkpoint(&dims, 12)).unwrap();
    let gpu = FloatModel::without_decoder(&device, model.checkpoint(), Precision::F32).unwrap();
    let text = text(super::prefill::TOKENS + 1234, 9);
    let mut state = gpu.state(1).unwrap();
    let Answer::FloatLogits(all) = gpu.prefill(&[&text], &mut state, Want::All).unwrap() else { panic!("no logits") };
    let mut cpu = model.session();
    let mut expected = Vec::new();
    for &byte in &text {
        expected.extend_from_slice(cpu.step(byte).unwrap());
    }
    let of = |v: &[f32], w: &[f32]| relative(v.iter().zip(w).map(|(&a, &b)| (a, f64::from(b))));
    assert_eq!(all.as_flattened().len(), expected.len());
    assert!(of(all.as_flattened(), &expected) <= 1e-5);
    assert!(of(&state.read_row(&device, 0).unwrap(), cpu.state()) <= 1e-5);
    // A state that was taken out and put back.
    let (a, b) = text.split_at(40_000);
    let mut two = gpu.state(2).unwrap();
    gpu.prefill(&[&[], a], &mut two, Want::Nothing).unwrap();
    let saved = two.read_row(&device, 1).unwrap();
    let mut two = gpu.state(2).unwrap();
    two.write_row(&device, 0, &saved).unwrap();
    gpu.prefill(&[b, &[]], &mut two, Want::Nothing).unwrap();
    assert!(of(&two.read_row(&device, 0).unwrap(), cpu.state()) <= 1e-5);
    assert!(two.read_row(&device, 1).unwrap().iter().all(|&v| v == 0.0));
}

/// A wait that is given up ends only its own call, with the name of the kernel: other models still work, and so does
/// this one with a new state.
#[test]
#[ignore = "needs a GPU"]
fn gpu_float_a_kernel_that_waits_in_vain_says_so_and_harms_no_other() {
    let device = Device::open(0).unwrap_or_else(|e| panic!("{e}"));
    let checkpoint = random_checkpoint(&dims(256, 4), 1);
    for (precision, kernel) in [(Precision::Bf16, "decode_bf16_8 "), (Precision::I8, "decode_i8_8 ")] {
        let load = || FloatModel::load(&device, &Values::Plain(&checkpoint), precision).unwrap();
        let (model, other) = (load(), load());
        let patience = |polls| model.decoder.as_ref().unwrap().lock().unwrap().be_patient(polls);
        let expected = model.step(&[65], &mut model.state(1).unwrap()).unwrap();
        let mut others_state = other.state(1).unwrap();
        patience(Some(0));
        for _ in 0..3 {
            let mut state = model.state(1).unwrap();
            let error = model.step(&[65], &mut state).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(kernel) && error.contains("waited in vain for"), "{precision}: {error}");
            let error = model.verify(&[b"abc"], &mut state).err();
            assert!(matches!(error, Some(CudaError::GaveUp { .. })), "{precision}: {error:?}");
        }
        assert!(other.step(&[65], &mut others_state).unwrap() == expected);
        patience(None);
        assert!(model.step(&[65], &mut model.state(1).unwrap()).unwrap() == expected);
    }
}
