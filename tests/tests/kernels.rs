//! The kernels of this machine's backends and the portable ones for chips against the scalar code. On the chips' own
//! cores: `cargo xtask firmware kernels`.
//!
//! `MAMBABYTE_EXPECT_BACKENDS=avx512,avx2,scalar` makes a backend that is missing an error.

use mambabyte_core::simd::check;
use mambabyte_core::{Backend, UnknownBackend};

#[test]
fn kernels_equal_the_scalar_code_bit_for_bit() {
    let mut ran = Vec::new();
    let done = |backend, _, n| match ran.last_mut() {
        Some((last, cases)) if *last == backend => *cases += n,
        _ => ran.push((backend, n)),
    };
    assert_eq!(check::all(done), Ok(()));
    println!("{ran:?}");
    assert!(ran.iter().all(|&(_, cases)| cases > 1500), "{ran:?}");
    let names: Vec<_> = ran.iter().map(|&(name, _)| name).collect();
    assert_eq!(names.last(), Some(&"plain32"));
    if let Ok(expected) = std::env::var("MAMBABYTE_EXPECT_BACKENDS") {
        assert_eq!(names[..names.len() - 1].join(","), expected);
    }
}

#[test]
fn backends_have_names() {
    let names: Vec<_> = Backend::all().map(Backend::name).collect();
    assert_eq!(names.first(), Some(&Backend::detect().name()));
    for name in &names {
        assert_eq!(Backend::by_name(name).map(Backend::name), Ok(*name));
    }
    assert_eq!(Backend::by_name("sse9"), Err(UnknownBackend));
    assert_eq!(UnknownBackend.to_string(), format!("no backend of this machine; it has {}", names.join(", ")));
}
