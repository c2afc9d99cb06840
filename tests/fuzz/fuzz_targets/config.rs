//! Any bytes as the config.json of sound weights.
#![no_main]

use mambabyte_tests::{fuzz_seeds, fuzz_targets};

libfuzzer_sys::fuzz_target!(init: fuzz_seeds::write_if_asked("config"), |bytes: &[u8]| {
    fuzz_targets::config(bytes);
});
