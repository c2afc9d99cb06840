//! Any bytes as a blob; every input a second time with its checksums made right.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets, random_blob::reseal};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("blob"), |bytes: &[u8]| {
    fuzz_targets::blob(bytes);
    let mut sealed = bytes.to_vec();
    reseal(&mut sealed);
    fuzz_targets::blob(&sealed);
});
