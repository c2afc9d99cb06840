//! The kernels of this target and the portable ones for chips against the scalar code. On the chips' own cores:
//! `cargo xtask firmware kernels`.

use mambabyte_core::simd::check;

#[test]
fn kernels_equal_the_scalar_code_bit_for_bit() {
    let mut cases = 0;
    assert_eq!(check::all(|_, n| cases += n), Ok(()));
    assert!(cases > 3000, "{cases} cases");
}
