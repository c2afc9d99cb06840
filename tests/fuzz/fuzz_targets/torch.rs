//! Any bytes as a file of `torch.save`.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("torch"), |bytes: &[u8]| {
    fuzz_targets::torch(bytes);
});
