use mambabyte_host::Model; use mambabyte_core::oracle::*;
struct P(Vec<f32>, Vec<f32>);
impl Probe for P { fn record(&mut self, l: usize, s: Site, v: &[f32]) { if l == 5 && s == Site::Gated { self.0 = v.to_vec() } if l == 5 && s == Site::Y { self.1 = v.to_vec() } } }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let model = Model::new(mambabyte::formats::load(a[1].as_ref()).unwrap().checkpoint).unwrap();
    let t = std::fs::read(&a[2]).unwrap();
    let mut s = model.session(); let mut p = P(vec![], vec![]); s.step_probed(0, &mut p);
    let mut maxima: Vec<(f32, usize, usize)> = vec![]; let mut ch = vec![0f32; 256];
    for (i, &b) in t[..6000].iter().enumerate() { s.step_probed(b, &mut p); let m = p.0.iter().enumerate().fold((0f32, 0), |m, (j, x)| if x.abs() > m.0 { (x.abs(), j) } else { m }); maxima.push((m.0, m.1, i)); for (c, x) in ch.iter_mut().zip(&p.0) { *c = c.max(x.abs()); } }
    maxima.sort_by(|a, b| b.0.total_cmp(&a.0)); for m in maxima.iter().take(8) { println!("{:.1} ch {} pos {} byte {:?}", m.0, m.1, m.2, t[m.2] as char); }
    println!("median of max {:.2}", maxima[3000].0); ch.sort_by(|a, b| b.total_cmp(a)); println!("channel maxima {:?} .. {:?}", &ch[..8], ch[128]);
}
