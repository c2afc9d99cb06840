//! As much of NumPy's file format as the goldens need: version 1, little-endian f32, C order.

use std::path::Path;

/// Reads an array: its shape and its elements, last axis fastest.
///
/// # Panics
/// If the file is missing or of another kind; a test has no use for the error.
pub fn read_f32(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(file[..8], *b"\x93NUMPY\x01\x00", "{}: not an npy file of version 1", path.display());
    let header_len = usize::from(u16::from_le_bytes([file[8], file[9]]));
    let (header, data) = file[10..].split_at(header_len);
    let header = std::str::from_utf8(header).expect("npy headers are ASCII");
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");

    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).expect("shape").0;
    let shape: Vec<usize> =
        shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().expect("a number")).collect();
    let (values, rest) = data.as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    assert!(rest.is_empty() && values.len() == shape.iter().product::<usize>(), "{header}");
    (shape, values)
}
