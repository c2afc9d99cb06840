use mambabyte_host::{Model, bpb, quantize};
use mambabyte_core::{Blob, Decoder};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let loaded = mambabyte::formats::load(args[1].as_ref()).unwrap();
    println!("{:?} {} {:?}", loaded.checkpoint.dims, loaded.checkpoint.parameters(), loaded.notes);
    let model = Model::new(loaded.checkpoint).unwrap();
    let parts: Vec<(&[u8], &[u8])> = mambabyte::calibration_text::MIXTURE.iter().map(|t| mambabyte::calibration_text::split(t.1)).collect();
    let (cal, hold): (Vec<&[u8]>, Vec<&[u8]>) = parts.into_iter().unzip();
    let limit: usize = args[3].parse().unwrap();
    let texts: Vec<(String, Vec<u8>)> = args[2].split(',').map(|p| { let mut t = std::fs::read(p).unwrap(); t.truncate(limit); (p.to_string(), t) }).collect();
    let f: Vec<f64> = texts.iter().map(|(_, t)| bpb::evaluate(|| model.session(), t, Some(8192), &|_| ()).bits_per_byte()).collect();
    for compensate in [false, true] {
        let t0 = std::time::Instant::now();
        let q = quantize::quantize(&model, &cal, &hold, &quantize::Options { compensate, ..Default::default() }, &|_| ()).unwrap();
        let a = mambabyte_host::align::AlignedBytes::new(&q.blob);
        let blob = Blob::parse(a.as_slice()).unwrap();
        print!("comp={compensate} {:?} ", t0.elapsed());
        for ((p, t), f) in texts.iter().zip(&f) {
            let i = bpb::evaluate(|| Decoder::owned(blob), t, Some(8192), &|_| ());
            print!("{} {:+.5}  ", &p[7..12], i.bits_per_byte() - f);
        }
        println!();
    }
}
