//! `core/src/tables.rs` is what the generator writes: no constant of the integer path was typed by hand.

const FILE: &str = include_str!("../../core/src/tables.rs");

#[test]
fn tables_are_current() {
    let generated = mambabyte_tests::tables::source();
    for (number, (file, made)) in FILE.lines().zip(generated.lines()).enumerate() {
        assert_eq!(file, made, "line {}: run `cargo run -p mambabyte-tests --bin tables`", number + 1);
    }
    assert_eq!(FILE, generated);
}
