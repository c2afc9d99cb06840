//! The committed tables are the generated ones.

#[test]
fn tables_are_current() {
    assert_eq!(include_str!("../../core/src/tables.rs"), mambabyte_tests::tables::source());
}
