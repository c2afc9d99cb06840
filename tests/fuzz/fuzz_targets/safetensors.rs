//! Any bytes as a safetensors file, or as the header of one.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("safetensors"), |bytes: &[u8]| {
    fuzz_targets::safetensors(bytes);
});
