//! Every way in which a blob can be wrong, by the exact error. Crafted from a valid blob, with the checksums made right
//! again wherever they would hide the check after them.

use mambabyte_core::blob::{
    ALIGN, HEADER, LayerParams, SECTIONS, Section, TABLE_ROW, VERSION, align_up, blob_bytes, payload_offset, read_dims,
};
use mambabyte_core::{Blob, BlobError, Dims, Norm};
use mambabyte_host::align::AlignedBytes;
use mambabyte_tests::random_blob::{BlobSpec, Contents, random_blob, reseal};

fn parse(bytes: &[u8]) -> Result<(), BlobError> {
    Blob::parse(AlignedBytes::new(bytes).as_slice()).map(|_| ())
}

/// The error of a small blob after `edit`, as the bytes are and with the checksums made right.
fn refused(edit: impl Fn(&mut Vec<u8>)) -> (BlobError, BlobError) {
    let mut bytes = random_blob(BlobSpec::small(1));
    edit(&mut bytes);
    let raw = parse(&bytes).expect_err("accepted");
    reseal(&mut bytes);
    let resealed = parse(&bytes).expect_err("accepted with its checksums right");
    for error in [raw, resealed] {
        assert!(!error.to_string().is_empty());
    }
    (raw, resealed)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Start of a section of the small blob.
fn start(section: Section) -> usize {
    let dims = BlobSpec::small(1).dims;
    let before = Section::ALL.iter().take(section as usize);
    (payload_offset() + before.map(|s| align_up(s.bytes(&dims))).sum::<u64>()) as usize
}

#[test]
fn the_valid_blobs_are_valid() {
    for seed in 0..20 {
        let mut spec = BlobSpec::small(seed);
        spec.contents = Contents::Wild;
        spec.dims.norm = if seed % 2 == 0 { Norm::Rms } else { Norm::Layer };
        spec.dims.tied_head = seed % 3 == 0;
        let mut bytes = random_blob(spec);
        assert_eq!(bytes.len() as u64, blob_bytes(&spec.dims));
        assert_eq!(parse(&bytes), Ok(()));
        assert_eq!(read_dims(&bytes), Ok(spec.dims));
        assert_eq!(Dims::of_blob(&bytes), spec.dims);
        let aligned = AlignedBytes::new(&bytes);
        let blob = Blob::parse(aligned.as_slice()).unwrap();
        assert_eq!(mambabyte_host::quantize::writer::fingerprint(&blob), blob.fingerprint());
        assert_eq!(blob.name(), "random");
        for absent in [spec.dims.n_layer, usize::MAX] {
            assert_eq!(*blob.block(absent).params(), LayerParams::ZERO, "a layer that is not there is empty");
        }
        let before = bytes.clone();
        reseal(&mut bytes);
        assert_eq!(bytes, before, "resealing changes nothing that is right");
    }
}

#[test]
fn header_fields() {
    for i in 0..8 {
        assert_eq!(refused(|b| b[i] ^= 0x20), (BlobError::BadMagic, BlobError::BadMagic));
    }
    for found in [0, VERSION + 1, u16::MAX] {
        let error = BlobError::UnsupportedVersion { found };
        assert_eq!(refused(|b| b[8..10].copy_from_slice(&found.to_le_bytes())), (error, error));
    }
    let fields = [("flags", 12, 8), ("quantisation", 16, 2), ("sections", 20, 21), ("vocabulary", 48, 255)];
    for (field, at, least) in fields {
        for found in [least, 1 << 16, u32::MAX] {
            let error = BlobError::BadHeader { field, found: found.into() };
            assert_eq!(refused(|b| put(b, at, found)), (error, error));
        }
    }
    for found in [0, 127, 129, u16::MAX] {
        let error = BlobError::BadHeader { field: "header_bytes", found: found.into() };
        assert_eq!(refused(|b| b[10..12].copy_from_slice(&found.to_le_bytes())), (error, error));
    }
    let need = random_blob(BlobSpec::small(1)).len() as u64;
    for found in [0, need - 1, need + 1, u64::MAX] {
        let error = BlobError::BadHeader { field: "blob_bytes", found };
        assert_eq!(refused(|b| b[56..64].copy_from_slice(&found.to_le_bytes())), (error, error));
    }
    for found in [(1 << 56) + 1, u64::MAX] {
        let (raw, resealed) = refused(|b| b[64..72].copy_from_slice(&found.to_le_bytes()));
        assert!(matches!(raw, BlobError::HeaderChecksum { .. }));
        assert_eq!(resealed, BlobError::BadHeader { field: "norm_eps", found });
    }
}

#[test]
fn what_a_text_may_cost_that_the_model_knows_is_in_the_header() {
    let spec = BlobSpec::small(1);
    let mut bytes = random_blob(spec);
    let fingerprint = Blob::parse(AlignedBytes::new(&bytes).as_slice()).unwrap().fingerprint();
    for bits in [0, 1, 1126, 2048] {
        bytes[120..122].copy_from_slice(&u16::to_le_bytes(bits));
        reseal(&mut bytes);
        let aligned = AlignedBytes::new(&bytes);
        let blob = Blob::parse(aligned.as_slice()).unwrap();
        // The model is the same: snapshots, archives and primed adapters of it go on.
        assert_eq!((blob.unknown_text(), blob.fingerprint()), (bits, fingerprint));
    }
    for found in [2049, u16::MAX] {
        let (raw, resealed) = refused(|b| b[120..122].copy_from_slice(&found.to_le_bytes()));
        assert!(matches!(raw, BlobError::HeaderChecksum { .. }));
        assert_eq!(resealed, BlobError::BadHeader { field: "unknown_text", found: found.into() });
    }
}

#[test]
fn reserved_bytes_of_the_header_must_be_zero() {
    for (field, bytes) in [("reserved", 74..80), ("reserved2", 122..124)] {
        for at in bytes.clone() {
            for value in [1, 0x80] {
                let (raw, resealed) = refused(|b| b[at] = value);
                assert!(matches!(raw, BlobError::HeaderChecksum { .. }), "byte {at}: {raw:?}");
                let found = u64::from(value) << (8 * (at - bytes.start));
                assert_eq!(resealed, BlobError::BadHeader { field, found });
            }
        }
    }
}

#[test]
fn dimension_bounds_and_huge_counts() {
    let bounds = [
        ("d_model", 24, 16, 4096),
        ("n_layer", 28, 1, 1024),
        ("d_inner", 32, 16, 16_384),
        ("d_state", 36, 1, 64),
        ("d_conv", 40, 2, 4),
        ("dt_rank", 44, 1, 4096),
    ];
    for (name, at, low, high) in bounds {
        for found in [0, low - 1, high + 1, 1 << 31, u32::MAX as usize] {
            let error = BlobError::Dimension { name, found, low, high };
            assert_eq!(refused(|b| put(b, at, found as u32)), (error, error));
        }
        // In bounds, but not what the file is.
        let (raw, resealed) = refused(|b| put(b, at, high as u32));
        assert_eq!(raw, resealed);
        assert!(matches!(raw, BlobError::BadHeader { field: "blob_bytes", .. }), "{name}: {raw:?}");
    }
    // `Dims` can be made without `parse`; no division by zero states.
    assert_eq!(Dims { d_state: 0, ..BlobSpec::small(1).dims }.c_limit(), 32_767);
    // The largest dimensions of all, and a length to match: no overflow on the way to the refusal.
    let huge = |b: &mut Vec<u8>| {
        for (_, at, _, high) in bounds {
            put(b, at, high as u32);
        }
        put(b, 12, 3);
        let need = blob_bytes(&read_dims(b).unwrap());
        b[56..64].copy_from_slice(&need.to_le_bytes());
    };
    let have = random_blob(BlobSpec::small(1)).len() as u64;
    let (BlobError::Truncated { need, have: found }, _) = refused(huge) else { panic!("not truncated") };
    assert!(need > 1 << 37 && found == have, "{need}");
}

#[test]
fn every_truncation() {
    let good = random_blob(BlobSpec::small(1));
    let aligned = AlignedBytes::new(&good);
    for have in 0..good.len() {
        let need = if have < HEADER { HEADER } else { good.len() } as u64;
        let error = Blob::parse(&aligned.as_slice()[..have]).err();
        assert_eq!(error, Some(BlobError::Truncated { need, have: have as u64 }));
    }
    for extra in [1, 15, 16, 1000] {
        let mut longer = good.clone();
        longer.resize(good.len() + extra, 0);
        let error = BlobError::TrailingBytes { need: good.len() as u64, have: longer.len() as u64 };
        assert_eq!(parse(&longer), Err(error));
    }
}

#[test]
fn misaligned_memory() {
    let good = random_blob(BlobSpec::small(1));
    for remainder in 1..ALIGN {
        let mut bytes = vec![0; remainder];
        bytes.extend_from_slice(&good);
        let aligned = AlignedBytes::new(&bytes);
        let error = Blob::parse(&aligned.as_slice()[remainder..]).err();
        assert_eq!(error, Some(BlobError::Misaligned { remainder }));
    }
}

#[test]
fn sections_must_tile() {
    for section in Section::ALL {
        let row = HEADER + section as usize * TABLE_ROW;
        let expected = start(section) as u64;
        for found in [0, expected - 16, expected + 16, expected + (1 << 35), 16 * u64::from(u32::MAX)] {
            let (raw, resealed) = refused(|b| put(b, row, (found / 16) as u32));
            assert!(matches!(raw, BlobError::HeaderChecksum { .. }));
            assert_eq!(resealed, BlobError::SectionOffset { section, expected, found });
        }
    }
}

#[test]
fn padding_must_be_zero() {
    let table_end = HEADER + SECTIONS * TABLE_ROW;
    for at in table_end..payload_offset() as usize {
        let error = BlobError::Padding { section: Section::LayerParams };
        assert_eq!(refused(|b| b[at] = 1), (error, error));
    }
    let dims = BlobSpec::small(1).dims;
    let mut seen = 0;
    for section in Section::ALL {
        let end = start(section) + section.bytes(&dims) as usize;
        for at in end..align_up(end as u64) as usize {
            let error = BlobError::Padding { section };
            assert_eq!(refused(|b| b[at] = 0x80), (error, error));
            seen += 1;
        }
    }
    assert!(seen > 0, "the small blob has no padding to test");
}

#[test]
fn checksums() {
    let good = random_blob(BlobSpec::small(1));
    let stored = u32::from_le_bytes(good[HEADER - 4..HEADER].try_into().unwrap());
    // Whatever the checksum alone protects, fingerprint and name, and what later checks would refuse too.
    for at in (72..HEADER - 4).chain(HEADER..HEADER + SECTIONS * TABLE_ROW) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let Err(BlobError::HeaderChecksum { stored: found, computed }) = parse(&bad) else { panic!("byte {at}") };
        assert!(found == stored && computed != stored);
    }
    for section in Section::ALL {
        let row = HEADER + section as usize * TABLE_ROW;
        let stored = u32::from_le_bytes(good[row + 4..row + 8].try_into().unwrap());
        let bytes = section.bytes(&BlobSpec::small(1).dims) as usize;
        for at in [0, bytes / 2, bytes.saturating_sub(1)].into_iter().take(bytes) {
            let mut bad = good.clone();
            bad[start(section) + at] ^= 0x10;
            match parse(&bad) {
                Err(BlobError::SectionChecksum { section: named, stored: found, computed }) => {
                    assert!(named == section && found == stored && computed != stored);
                }
                other => panic!("{section:?} + {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn parameters_in_range() {
    let layer_params = start(Section::LayerParams);
    let expect = |layer, name, at: usize, bad: &[u8]| {
        for &value in bad {
            let (_, error) = refused(|b| b[at] = value);
            assert_eq!(error, BlobError::LayerParam { layer, name, found: value.into() });
        }
    };
    let shifts = [
        "norm_shift",
        "in_proj_shift",
        "conv_shift",
        "x_proj_shift",
        "dt_proj_shift",
        "out_proj_shift",
        "y_shift",
        "d_shift",
        "gate_shift",
    ];
    for (i, name) in shifts.into_iter().enumerate() {
        expect(0, name, layer_params + i, &[0, 55, 63, 64, 255]);
    }
    expect(0, "out_proj_shift", layer_params + 5, &[17]);
    expect(0, "x_frac", layer_params + 9, &[0, 3, 16, 255]);
    expect(0, "z_frac", layer_params + 10, &[0, 3, 16, 255]);
    expect(1, "residual_frac", 52, &[25, 255]);
    expect(1, "norm_f_shift", 53, &[0, 55, 255]);
    expect(1, "embedding_shift", 54, &[0, 55, 255]);
    expect(1, "head_shift", 55, &[0, 55, 255]);
    for found in [(1 << 20) + 1, -(1 << 20) - 1, i32::MIN, i32::MAX] {
        let (raw, error) = refused(|b| put(b, layer_params + 16, found as u32));
        assert!(matches!(raw, BlobError::SectionChecksum { section: Section::LayerParams, .. }));
        assert_eq!(error, BlobError::LayerParam { layer: 0, name: "dx_base", found });
    }
    expect(0, "reserved", layer_params + 11, &[1, 128, 255]);
    for found in [1, -1, i16::MIN] {
        let (_, error) = refused(|b| b[layer_params + 14..layer_params + 16].copy_from_slice(&found.to_le_bytes()));
        assert_eq!(error, BlobError::LayerParam { layer: 0, name: "reserved2", found: found.into() });
    }
    assert_eq!(size_of::<LayerParams>(), 32);
    // The edges themselves are valid.
    let mut bytes = random_blob(BlobSpec::small(1));
    for (at, value) in [(0, 1), (1, 54), (5, 18), (9, 4), (10, 15)] {
        bytes[layer_params + at] = value;
    }
    put(&mut bytes, layer_params + 16, (-(1 << 20)) as u32);
    bytes[52..56].copy_from_slice(&[24, 1, 54, 1]);
    bytes[64..72].copy_from_slice(&(1u64 << 56).to_le_bytes());
    reseal(&mut bytes);
    assert_eq!(parse(&bytes), Ok(()));
}

/// The later of two layers is checked too.
#[test]
fn parameters_of_the_last_layer() {
    let mut spec = BlobSpec::small(3);
    spec.dims.n_layer = 3;
    let mut bytes = random_blob(spec);
    bytes[payload_offset() as usize + 2 * 32 + 9] = 16;
    reseal(&mut bytes);
    assert_eq!(parse(&bytes), Err(BlobError::LayerParam { layer: 2, name: "x_frac", found: 16 }));
}

/// There is no harmless bit: header and table are under one checksum, sections under theirs, padding must be zero.
#[test]
fn every_single_bit_flip_is_refused() {
    let good = random_blob(BlobSpec::small(1));
    let len = good.len();
    let mut bytes = vec![0; len + ALIGN];
    let offset = bytes.as_ptr().align_offset(ALIGN);
    bytes[offset..offset + len].copy_from_slice(&good);
    for at in 0..len {
        for bit in 0..8 {
            bytes[offset + at] ^= 1 << bit;
            assert!(Blob::parse(&bytes[offset..offset + len]).is_err(), "bit {bit} of byte {at}");
            bytes[offset + at] ^= 1 << bit;
        }
    }
    assert!(Blob::parse(&bytes[offset..offset + len]).is_ok());
}
