//! Prints `core/src/tables.rs`: every table of the integer path, rounded from f64.
//!
//! `cargo run -p mambabyte-tests --bin tables > core/src/tables.rs` renews the file; test `tables` compares it.

fn main() {
    print!("{}", mambabyte_tests::tables::source());
}
