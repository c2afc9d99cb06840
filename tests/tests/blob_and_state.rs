//! The shipped sensor-pico with contents and text of its own kind. How blobs and snapshots are refused is in `blob.rs`
//! and `step.rs`, on small ones.

use mambabyte_core::blob::{Section, align_up, payload_offset};
use mambabyte_core::{Blob, Decoder};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::model_file;
use mambabyte_tests::random_blob::reseal;

fn pico() -> Vec<u8> {
    std::fs::read(model_file("sensor-pico", "model.mbb")).expect("shipped blob")
}

/// The dev profile checks every addition: random and extreme weights, codes and biases under the shifts of a trained
/// model, which `step.rs` does not have.
#[test]
fn any_contents_with_right_checksums_run_without_overflow() {
    let mut rng = mambabyte_core::Rng::new(5);
    let original = AlignedBytes::new(&pico());
    let dims = *Blob::parse(original.as_slice()).unwrap().dims();
    for round in 0..24 {
        let mut bytes = pico();
        let mut start = payload_offset();
        for section in Section::ALL {
            let len = section.bytes(&dims);
            let contents = &mut bytes[start as usize..(start + len) as usize];
            start += align_up(len);
            if section == Section::LayerParams {
                continue;
            }
            for byte in contents {
                *byte = match round {
                    0 => 0x7f,
                    1 => 0x80,
                    2 => 0xff,
                    3 => 0,
                    _ => rng.next_u64() as u8,
                };
            }
        }
        reseal(&mut bytes);
        let aligned = AlignedBytes::new(&bytes);
        let mut decoder = Decoder::owned(Blob::parse(aligned.as_slice()).expect("valid"));
        for _ in 0..64 {
            decoder.step(rng.next_u64() as u8);
        }
    }
}

/// `step.rs` does this on small random models; here a trained one on a real log.
#[test]
fn a_state_continues_after_any_split() {
    let bytes = AlignedBytes::new(&pico());
    let blob = Blob::parse(bytes.as_slice()).unwrap();
    let text = std::fs::read(model_file("text", "gnss-sample.nmea")).unwrap();
    let text = &text[..200];
    let mut whole = Decoder::owned(blob);
    let last = *whole.prefill(text).unwrap();
    for split in 0..=text.len() {
        let mut first = Decoder::owned(blob);
        first.prefill(&text[..split]);
        let mut saved = vec![0; blob.dims().snapshot_bytes()];
        assert_eq!(first.state().snapshot(&mut saved), Ok(saved.len()));
        let mut second = Decoder::owned(blob);
        second.prefill(b"something else");
        second.state_mut().restore(&saved).unwrap();
        assert_eq!(second.state().position(), split as u64);
        if let Some(logits) = second.prefill(&text[split..]) {
            assert_eq!(*logits, last, "{split}");
        }
        assert_eq!(second.state().as_slice(), whole.state().as_slice());
    }
}
