//! Any bytes as the pickle in a file of `torch.save`.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("pickle"), |bytes: &[u8]| {
    fuzz_targets::pickle(bytes);
});
