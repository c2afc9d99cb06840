//! Any bytes as a snapshot; every input a second time with its checksum made right.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets, random_blob::reseal_snapshot};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("snapshot"), |bytes: &[u8]| {
    fuzz_targets::snapshot(bytes);
    let mut sealed = bytes.to_vec();
    reseal_snapshot(&mut sealed, true);
    fuzz_targets::snapshot(&sealed);
});
