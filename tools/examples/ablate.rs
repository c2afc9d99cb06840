use mambabyte_host::{Model, Checkpoint, bpb, quantize::rounding::*};
fn rt(w: &mut Vec<f32>, cols: usize) { let rows = w.len()/cols; let unit = vec![1.0/64.0; rows]; let q = round_matrix(w, cols, &unit, None).unwrap(); for r in 0..rows { let s = multiplier(q.codes[r], q.shift)*64.0; for j in 0..cols { w[r*cols+j] = (q.weights[r*cols+j] as f64 * s) as f32; } } }
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let base = mambabyte::formats::load(args[1].as_ref()).unwrap().checkpoint;
    let t = std::fs::read(&args[2]).unwrap(); let t = &t[..t.len().min(65536)];
    let ev = |c: Checkpoint| { let m = Model::new(c).unwrap(); bpb::evaluate(|| m.session(), t, Some(8192), &|_| ()).bits_per_byte() };
    let f = ev(base.clone()); println!("f32 {f:.5}");
    let d = base.dims;
    let run = |name: &str, g: &dyn Fn(&mut Checkpoint)| { let mut c = base.clone(); g(&mut c); println!("{name:12} {:+.5}", ev(c) - f); };
    for s in [32.0f32, 64.0, 128.0] { run(&format!("a_log 1/{s}"), &|c| for l in &mut c.layers { for a in &mut l.a_log { *a = (*a * 1.442695 * s).round() / s / 1.442695; } }); }
    run("in_proj", &|c| for l in &mut c.layers { rt(&mut l.in_proj, d.d_model) });
    run("x_proj", &|c| for l in &mut c.layers { rt(&mut l.x_proj, d.d_inner) });
    run("conv", &|c| for l in &mut c.layers { rt(&mut l.conv1d, d.d_conv) });
    run("dt_proj", &|c| for l in &mut c.layers { rt(&mut l.dt_proj, d.dt_rank) });
    run("out_proj", &|c| for l in &mut c.layers { rt(&mut l.out_proj, d.d_inner) });
    run("embedding", &|c| rt(&mut c.embedding, d.d_model));
    run("dtbias", &|c| for l in &mut c.layers { for a in &mut l.dt_bias { *a = (*a * 1024.).round() / 1024.; } });
    run("all", &|c| { for l in &mut c.layers { rt(&mut l.in_proj, d.d_model); rt(&mut l.x_proj, d.d_inner); rt(&mut l.conv1d, d.d_conv); rt(&mut l.dt_proj, d.dt_rank); rt(&mut l.out_proj, d.d_inner); } rt(&mut c.embedding, d.d_model) });
}
