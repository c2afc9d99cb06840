//! Any bytes as the index of shards.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("index"), |bytes: &[u8]| {
    fuzz_targets::index(bytes);
});
