//! Hostile blobs and snapshots: every error by name, no panic from any byte.

use mambabyte_core::blob::{ALIGN, HEADER, SECTIONS, Section, TABLE_ROW, payload_offset};
use mambabyte_core::{Blob, BlobError, Decoder, State, StateError};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::model_file;

fn pico() -> Vec<u8> {
    std::fs::read(model_file("sensor-pico", "model.mbb")).expect("shipped blob")
}

fn error(bytes: &[u8]) -> BlobError {
    Blob::parse(AlignedBytes::new(bytes).as_slice()).err().expect("must be refused")
}

fn with(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = pico();
    edit(&mut bytes);
    bytes
}

/// Makes the header's checksum right again, as an attacker would.
fn seal(bytes: &mut [u8]) {
    let mut h = crc32fast::Hasher::new();
    h.update(&bytes[..HEADER - 4]);
    h.update(&bytes[HEADER..HEADER + SECTIONS * TABLE_ROW]);
    let crc = h.finalize().to_le_bytes();
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc);
}

/// The checksum of a section, and of the header over it.
fn seal_section(bytes: &mut [u8], section: Section) {
    let blob = pico();
    let aligned = AlignedBytes::new(&blob);
    let dims = *Blob::parse(aligned.as_slice()).unwrap().dims();
    let row = HEADER + section as usize * TABLE_ROW;
    let start = u32::from_le_bytes(bytes[row..row + 4].try_into().unwrap()) as usize * ALIGN;
    let crc = crc32fast::hash(&bytes[start..start + section.bytes(&dims) as usize]).to_le_bytes();
    bytes[row + 4..row + 8].copy_from_slice(&crc);
    seal(bytes);
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn header_fields_are_checked_by_name() {
    assert_eq!(error(&with(|b| b[1] = b'X')), BlobError::BadMagic);
    assert_eq!(error(&with(|b| b[8] = 9)), BlobError::UnsupportedVersion { found: 9 });
    let field = |name, at: usize, value: u8| match error(&with(|b| b[at] = value)) {
        BlobError::BadHeader { field, .. } => assert_eq!(field, name),
        other => panic!("{name}: {other:?}"),
    };
    field("header_bytes", 10, 64);
    field("flags", 12, 8);
    field("quantisation", 16, 2);
    field("sections", 20, 23);
    field("vocabulary", 49, 2);
    field("blob_bytes", 56, 0);
    let dimension = |name: &str, at: usize, value: u32| match error(&with(|b| put_u32(b, at, value))) {
        BlobError::Dimension { name: found, .. } => assert_eq!(found, name),
        other => panic!("{name}: {other:?}"),
    };
    for value in [0, u32::MAX] {
        for (i, name) in ["d_model", "n_layer", "d_inner", "d_state", "d_conv", "dt_rank"].into_iter().enumerate() {
            dimension(name, 24 + 4 * i, value);
        }
    }
    // A dimension within bounds that does not match the file's length.
    assert!(matches!(error(&with(|b| put_u32(b, 24, 4096))), BlobError::BadHeader { field: "blob_bytes", .. }));
    let eps = with(|b| {
        b[64..72].fill(0xff);
        seal(b);
    });
    assert!(matches!(error(&eps), BlobError::BadHeader { field: "norm_eps", .. }));
}

#[test]
fn every_truncation_is_refused() {
    let blob = pico();
    let aligned = AlignedBytes::new(&blob);
    for len in (0..blob.len()).step_by(7).chain(blob.len() - 20..blob.len()) {
        let e = Blob::parse(&aligned.as_slice()[..len]).err().expect("must be refused");
        assert!(matches!(e, BlobError::Truncated { .. }), "{len}: {e:?}");
    }
    let longer = with(|b| b.push(0));
    assert!(matches!(error(&longer), BlobError::TrailingBytes { .. }));
}

#[test]
fn a_misaligned_blob_is_refused() {
    let mut bytes = vec![0];
    bytes.extend(pico());
    let aligned = AlignedBytes::new(&bytes);
    assert_eq!(Blob::parse(&aligned.as_slice()[1..]).err(), Some(BlobError::Misaligned { remainder: 1 }));
}

#[test]
fn sections_must_tile_the_file() {
    for section in Section::ALL {
        let row = HEADER + section as usize * TABLE_ROW;
        for change in [1u32, u32::MAX, 0x8000_0000] {
            let bad = with(|b| {
                let old = u32::from_le_bytes(b[row..row + 4].try_into().unwrap());
                put_u32(b, row, old.wrapping_add(change));
                seal(b);
            });
            match error(&bad) {
                BlobError::SectionOffset { section: found, .. } => assert_eq!(found, section),
                other => panic!("{section:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn checksums_name_the_section_and_padding_is_zero() {
    assert!(matches!(error(&with(|b| b[100] ^= 1)), BlobError::HeaderChecksum { .. }));
    let blob = pico();
    let aligned = AlignedBytes::new(&blob);
    let dims = *Blob::parse(aligned.as_slice()).unwrap().dims();
    for section in Section::ALL {
        let row = HEADER + section as usize * TABLE_ROW;
        let start = u32::from_le_bytes(blob[row..row + 4].try_into().unwrap()) as usize * ALIGN;
        let len = section.bytes(&dims) as usize;
        if len > 0 {
            match error(&with(|b| b[start + len / 2] ^= 0x40)) {
                BlobError::SectionChecksum { section: found, .. } => assert_eq!(found, section),
                other => panic!("{section:?}: {other:?}"),
            }
        }
        if !len.is_multiple_of(ALIGN) {
            assert_eq!(error(&with(|b| b[start + len] = 1)), BlobError::Padding { section });
        }
    }
    let table_end = HEADER + SECTIONS * TABLE_ROW;
    if table_end < payload_offset() as usize {
        let e = error(&with(|b| b[table_end] = 1));
        assert_eq!(e, BlobError::Padding { section: Section::LayerParams });
    }
}

#[test]
fn shifts_are_bounded() {
    let names = [
        "norm_shift",
        "in_proj_shift",
        "conv_shift",
        "x_proj_shift",
        "dt_proj_shift",
        "out_proj_shift",
        "y_shift",
        "d_shift",
        "gate_shift",
        "x_frac",
        "z_frac",
    ];
    for (i, name) in names.into_iter().enumerate() {
        for value in [0, 55, 255] {
            let bad = with(|b| {
                b[payload_offset() as usize + i] = value;
                seal_section(b, Section::LayerParams);
            });
            match error(&bad) {
                BlobError::LayerParam { layer: 0, name: found, .. } => assert_eq!(found, name),
                other => panic!("{name} {value}: {other:?}"),
            }
        }
    }
    for (at, name) in [(52, "residual_frac"), (53, "norm_f_shift"), (54, "embedding_shift"), (55, "head_shift")] {
        let bad = with(|b| {
            b[at] = 99;
            seal(b);
        });
        assert!(matches!(error(&bad), BlobError::LayerParam { name: found, .. } if found == name));
    }
}

#[test]
fn no_bit_flip_panics_or_passes() {
    let blob = pico();
    let mut aligned = AlignedBytes::new(&blob);
    for at in (0..HEADER + SECTIONS * TABLE_ROW).chain((0..blob.len()).step_by(97)) {
        let mut bad = blob.clone();
        bad[at] ^= 1 << (at % 8);
        aligned = AlignedBytes::new(&bad);
        assert!(Blob::parse(aligned.as_slice()).is_err(), "byte {at}");
    }
    drop(aligned);
}

#[test]
fn any_contents_with_right_checksums_run_without_overflow() {
    // The dev profile checks every addition: random sections, extreme ones, in the shapes of the shipped model.
    let mut rng = mambabyte_core::Rng::new(5);
    for round in 0..24 {
        let mut bytes = pico();
        let aligned = AlignedBytes::new(&pico());
        let dims = *Blob::parse(aligned.as_slice()).unwrap().dims();
        for section in Section::ALL.into_iter().skip(1) {
            let row = HEADER + section as usize * TABLE_ROW;
            let start = u32::from_le_bytes(bytes[row..row + 4].try_into().unwrap()) as usize * ALIGN;
            for byte in &mut bytes[start..start + section.bytes(&dims) as usize] {
                *byte = match round {
                    0 => 0x7f,
                    1 => 0x80,
                    2 => 0xff,
                    3 => 0,
                    _ => rng.next_u64() as u8,
                };
            }
            seal_section(&mut bytes, section);
        }
        let aligned = AlignedBytes::new(&bytes);
        let mut decoder = Decoder::owned(Blob::parse(aligned.as_slice()).expect("valid"));
        for _ in 0..64 {
            decoder.step(rng.next_u64() as u8);
        }
    }
}

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

#[test]
fn bad_snapshots_are_refused_and_change_nothing() {
    let bytes = AlignedBytes::new(&pico());
    let blob = Blob::parse(bytes.as_slice()).unwrap();
    let mut decoder = Decoder::owned(blob);
    decoder.prefill(b"$GPGGA,123519");
    let mut good = vec![0; blob.dims().snapshot_bytes()];
    decoder.state().snapshot(&mut good).unwrap();
    let before = decoder.state().as_slice().to_vec();
    let mut refuse = |snapshot: &[u8]| {
        let e = decoder.state_mut().restore(snapshot).expect_err("must be refused");
        assert_eq!(decoder.state().as_slice(), before);
        assert_eq!(decoder.state().position(), 13);
        e
    };
    for len in (0..good.len()).step_by(11) {
        assert!(matches!(refuse(&good[..len]), StateError::Length { .. } | StateError::BadMagic), "{len}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(refuse(&longer), StateError::Length { .. }));
    for at in (0..64).chain((64..good.len()).step_by(13)) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let e = refuse(&bad);
        match at {
            0..4 => assert_eq!(e, StateError::BadMagic),
            4..6 => assert!(matches!(e, StateError::UnsupportedVersion { .. })),
            8..24 => assert!(matches!(e, StateError::ForeignModel { .. })),
            32..36 => assert!(matches!(e, StateError::Length { .. })),
            _ => assert!(matches!(e, StateError::Checksum { .. }), "{at}: {e:?}"),
        }
    }
    assert!(matches!(decoder.state().snapshot(&mut good[..100]), Err(StateError::TooSmall { .. })));
    let other = AlignedBytes::new(&std::fs::read(model_file("sensor-nano", "model.mbb")).unwrap());
    let other = Blob::parse(other.as_slice()).unwrap();
    let foreign = State::new(&other, vec![0; other.dims().state_len()]).unwrap();
    assert!(matches!(decoder.state_mut().clone_from(&foreign), Err(StateError::ForeignModel { .. })));
    assert!(matches!(State::new(&other, vec![0; 3]), Err(StateError::TooSmall { .. })));
    assert!(Decoder::new(other, vec![0i16; other.dims().state_len()], vec![0i32; 3]).is_err());
}
