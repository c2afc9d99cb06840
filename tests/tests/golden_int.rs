//! The integer path: one checksum per shipped model over the golden text, and the sizes that were promised.

use mambabyte_core::{Backend, Blob, Decoder};
use mambabyte_host::align::AlignedBytes;
use mambabyte_host::checksum::checksum;
use mambabyte_host::cpu::{Cpu, IntEngine};
use mambabyte_host::quantize::writer::fingerprint;
use mambabyte_tests::{MODELS, model_file};

#[test]
fn checksums_of_the_shipped_models() {
    let text = std::fs::read(model_file("text", "golden-4096.txt")).unwrap();
    assert_eq!(text.len(), 4096);
    for name in MODELS {
        let bytes = AlignedBytes::new(&std::fs::read(model_file(name, "model.mbb")).unwrap());
        let blob = Blob::parse(bytes.as_slice()).unwrap();
        let golden = std::fs::read_to_string(model_file(name, "golden.crc32")).unwrap();
        let crc = checksum(&IntEngine::of(blob, Cpu::default()), &text, |_| ()).unwrap();
        assert_eq!(format!("{crc:08x}"), golden.trim(), "{name}");
        assert_eq!(fingerprint(&blob), blob.fingerprint(), "{name}");
        assert_eq!(blob.name(), name);
    }
}

#[test]
fn checksums_on_every_backend() {
    let text = std::fs::read(model_file("text", "golden-4096.txt")).unwrap();
    for name in MODELS {
        let bytes = AlignedBytes::new(&std::fs::read(model_file(name, "model.mbb")).unwrap());
        let blob = Blob::parse(bytes.as_slice()).unwrap();
        let golden = std::fs::read_to_string(model_file(name, "golden.crc32")).unwrap();
        for backend in Backend::all() {
            let mut decoder = Decoder::owned(blob).with_backend(backend);
            let mut crc = crc32fast::Hasher::new();
            for &byte in &text {
                decoder.step(byte).iter().for_each(|logit| crc.update(&logit.to_le_bytes()));
            }
            assert_eq!(format!("{:08x}", crc.finalize()), golden.trim(), "{name} on {}", backend.name());
        }
    }
}

#[test]
fn sizes_are_as_promised() {
    // (parameters, state bytes, scratch bytes at most)
    let promised =
        [(33_472, 4300, 2048), (131_392, 11_366, 4096), (684_928, 33_894, 7168), (3_569_920, 160_000, 16_384)];
    for (name, (parameters, state, scratch)) in MODELS.into_iter().zip(promised) {
        let bytes = std::fs::read(model_file(name, "model.mbb")).unwrap();
        let aligned = AlignedBytes::new(&bytes);
        let blob = Blob::parse(aligned.as_slice()).unwrap();
        assert!(bytes.len() as f64 <= 1.08 * f64::from(parameters), "{name}");
        assert!(blob.dims().state_bytes() <= state, "{name}");
        assert!(blob.dims().scratch_bytes() <= scratch, "{name}");
    }
}

/// README's table and each card say what the blob beside them is.
#[test]
fn documents_say_what_is_shipped() {
    let thousands = |n: usize| {
        let digits = n.to_string();
        let parts: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap()).collect();
        parts.join(",")
    };
    let readme = std::fs::read_to_string(model_file("..", "README.md")).unwrap();
    for name in MODELS {
        let bytes = AlignedBytes::new(&std::fs::read(model_file(name, "model.mbb")).unwrap());
        let blob = Blob::parse(bytes.as_slice()).unwrap();
        let golden = std::fs::read_to_string(model_file(name, "golden.crc32")).unwrap();
        let golden = format!("`{}`", golden.trim());
        let row = readme.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        let sizes = [bytes.as_slice().len(), blob.dims().state_bytes(), blob.dims().scratch_bytes()].map(thousands);
        let sizes = format!("| {} |", sizes.join(" | "));
        assert!(row.contains(&sizes) && row.contains(&golden), "{name}: {sizes} {golden} is not in {row}");
        let card = std::fs::read_to_string(model_file(name, "README.md")).unwrap();
        let fingerprint: String = blob.fingerprint().iter().map(|b| format!("{b:02x}")).collect();
        assert!(card.contains(&golden) && card.contains(&fingerprint), "{name}: its card");
    }
}
