use mambabyte_host::{Model, bpb, quantize};
use mambabyte_core::{Blob, Decoder};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let loaded = mambabyte::formats::load(args[1].as_ref()).unwrap();
    println!("{:?} {} {:?}", loaded.checkpoint.dims, loaded.checkpoint.parameters(), loaded.notes);
    let model = Model::new(loaded.checkpoint).unwrap();
    let cal: Vec<Vec<u8>> = args[2].split(',').map(|p| { let t = std::fs::read(p).unwrap(); t[..t.len().min(12288)].to_vec() }).collect();
    let cal: Vec<&[u8]> = cal.iter().map(|v| v.as_slice()).collect();
    let t = std::time::Instant::now();
    for compensate in [false, true] {
        let q = quantize::quantize(&model, &cal, &cal[..1], &quantize::Options { name: "x".into(), compensate }, &|_| ()).unwrap();
        println!("blob {} ratio {:.4} {:?} {:?}", q.blob.len(), q.blob.len() as f64 / model.checkpoint().parameters() as f64, q.notes, t.elapsed());
        let a = mambabyte_host::align::AlignedBytes::new(&q.blob);
        let blob = Blob::parse(a.as_slice()).unwrap();
        println!("state {} scratch {}", blob.dims().state_bytes(), blob.dims().scratch_bytes());
        for p in args[3].split(',') {
            let t = std::fs::read(p).unwrap(); let t = &t[..t.len().min(args[4].parse().unwrap())];
            let f = bpb::evaluate(|| model.session(), t, Some(8192), &|_| ());
            let i = bpb::evaluate(|| Decoder::owned(blob), t, Some(8192), &|_| ());
            println!("{compensate} {p} f32 {:.5} int {:.5} delta {:+.5}  {:.0} B/s {:.0} B/s", f.bits_per_byte(), i.bits_per_byte(), i.bits_per_byte() - f.bits_per_byte(), f.bytes as f64/f.seconds, i.bytes as f64/i.seconds);
        }
    }
}
