//! Adapters: their start values are what the generator learns, and their probabilities are these on every machine.

use std::path::Path;

use mambabyte_core::adapt::Adapter8K;
use mambabyte_tests::adapter_golden::{computed, path as golden};
use mambabyte_tests::adapter_start::{Text, path, values};

#[test]
fn start_values_are_current() {
    // One preset, which is quick: the generator is the same for all; `adapter_start --check` compares them.
    let current = std::fs::read(path::<Adapter8K>()).is_ok_and(|found| found == values::<Adapter8K>(&Text::all()));
    assert!(current, "run `cargo run --release -p mambabyte-tests --bin adapter_start`");
}

#[test]
fn golden_checksums() {
    let committed = std::fs::read_to_string(golden(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))).unwrap();
    assert_eq!(
        computed(),
        committed,
        "if that is meant: `cargo run --release -p mambabyte-tests --bin adapter_golden`"
    );
}

#[test]
fn the_verdicts_on_a_damaged_text_are_those_that_are_committed() {
    use mambabyte_tests::detector_golden::{committed, computed, text};

    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_eq!(computed(&text(&root)), committed(&root));
}
