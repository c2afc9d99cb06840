//! Any bytes as archives; every input a second time with its checksums made right.
#![no_main]

use mambabyte_tests::{archive_forge::reseal_archive, fuzz_seeds, fuzz_targets};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("archive"), |bytes: &[u8]| {
    fuzz_targets::archive(bytes);
    let mut sealed = bytes.to_vec();
    reseal_archive(&mut sealed);
    fuzz_targets::archive(&sealed);
});
