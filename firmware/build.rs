//! Puts the board's memory map where the linker looks, and names the linker scripts.

use std::{env, fs, path::PathBuf};

fn main() {
    let board = env::var("FW_BOARD").unwrap_or_else(|_| "mps2-an386".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let map = format!("memory/{board}.x");
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|e| panic!("board {board}: {map}: {e}"));
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rerun-if-changed={map}");
    println!("cargo:rerun-if-env-changed=FW_BOARD");
}
