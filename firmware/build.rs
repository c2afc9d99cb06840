//! Puts the board's memory map and the model where the compiler and the linker look for them.
//!
//! `FW_BOARD` is a name in `boards.toml`; `FW_MODEL` a blob, or `none` (default: sensor-pico); `FW_ADAPT` the preset of
//! the adapter, or `off` (default: the board's in the list, else 8K); `FW_PRIME` a file of `mambabyte prime` that the
//! adapter begins with (default: none); `FW_FALSE_ALARMS` the share of quiet lines that `stream` may flag, such as `1%`, or
//! `off` (default: off, lines are flagged by what the last 64 had); `FW_EVERY` the bytes between snapshots of `stream`
//! (default: 4096).

use std::path::{Path, PathBuf};
use std::{env, fs};

use toml::{Table, Value};

mod false_alarms;
mod lengths;
mod prime;

/// The list of boards.
const BOARDS: &str = "boards.toml";
/// The model of a program that has none.
const NONE: &str = "none";
/// No adapter, or no detector.
const OFF: &str = "off";
/// The presets of `mambabyte_core::adapt`.
pub(crate) const PRESETS: [&str; 6] = ["4K", "8K", "16K", "32K", "64K", "1M"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let board = env::var("FW_BOARD").unwrap_or_else(|_| "mps2-an386".into());
    let entry = entry(&board);
    let map = format!("memory/{board}.x");
    let text = fs::read_to_string(&map).unwrap_or_else(|e| panic!("board {board}: {map}: {e}"));
    fs::write(out.join("memory.x"), &text).expect("OUT_DIR can be written");
    let ram =
        lengths::region(&text, "RAM").unwrap_or_else(|| panic!("{map}: no line `RAM : ORIGIN = .., LENGTH = ..`"));

    let model = env::var("FW_MODEL").unwrap_or_else(|_| "../models/sensor-pico/model.mbb".into());
    println!("cargo:rustc-check-cfg=cfg(net)");
    if model != NONE {
        fs::copy(&model, out.join("model.mbb")).unwrap_or_else(|e| panic!("FW_MODEL: {model}: {e}"));
        println!("cargo:rustc-cfg=net");
        println!("cargo:rerun-if-changed={model}");
    }
    let listed = entry.get("adapt").and_then(Value::as_str).unwrap_or("8K");
    let adapt = env::var("FW_ADAPT").unwrap_or_else(|_| listed.into());
    assert!(adapt == OFF || PRESETS.contains(&&*adapt), "FW_ADAPT: {adapt}: there are {OFF}, {}", PRESETS.join(", "));
    assert!(adapt != OFF || model != NONE, "FW_MODEL={NONE} and FW_ADAPT={OFF}: nothing is left that reads");
    println!("cargo:rustc-check-cfg=cfg(adapt)");
    println!("cargo:rustc-check-cfg=cfg(preset, values(any()))");
    if adapt != OFF {
        println!("cargo:rustc-cfg=adapt");
        println!("cargo:rustc-cfg=preset=\"{adapt}\"");
    }

    println!("cargo:rustc-check-cfg=cfg(prime)");
    if let Ok(file) = env::var("FW_PRIME") {
        let blob = (model != NONE).then(|| fs::read(&model).unwrap_or_else(|e| panic!("FW_MODEL: {model}: {e}")));
        let adapter =
            prime::adapter(&file, &adapt, blob.as_deref()).unwrap_or_else(|e| panic!("FW_PRIME: {file}: {e}"));
        fs::write(out.join("prime.bin"), adapter).expect("OUT_DIR can be written");
        println!("cargo:rustc-cfg=prime");
        println!("cargo:rerun-if-changed={file}");
    }

    println!("cargo:rustc-check-cfg=cfg(alarms)");
    if let Some(text) = env::var("FW_FALSE_ALARMS").ok().filter(|text| text != OFF) {
        let share = false_alarms::share(&text).unwrap_or_else(|e| panic!("FW_FALSE_ALARMS: {text}: {e}"));
        println!("cargo:rustc-cfg=alarms");
        println!("cargo:rustc-env=FW_SHARE={share}");
    }

    if model != NONE && env::var_os("CARGO_FEATURE_SELFTEST").is_some() {
        let golden = Path::new(&model).with_file_name("golden.crc32");
        let text = fs::read_to_string(&golden)
            .unwrap_or_else(|e| panic!("feature selftest, but the model has no checksum: {}: {e}", golden.display()));
        println!("cargo:rustc-env=FW_GOLDEN={}", text.trim());
        println!("cargo:rerun-if-changed={}", golden.display());
    }

    println!("cargo:rustc-env=FW_RAM={ram}");
    println!("cargo:rustc-env=FW_BOARD={board}");
    println!("cargo:rustc-env=FW_EVERY={}", env::var("FW_EVERY").unwrap_or_else(|_| "4096".into()));
    println!("cargo:rustc-link-search={}", out.display());
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    if arch.starts_with("riscv") {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    // A process is laid out by the linker as it likes.
    if arch != "aarch64" {
        println!("cargo:rustc-link-arg-bins=-Tlink.x");
    }
    if env::var_os("CARGO_FEATURE_LOG_SEMIHOSTING").or(env::var_os("CARGO_FEATURE_LOG_RTT")).is_some() {
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
    // Which of `src/uart`, `src/clock` and `src/flash` the board has, and whether anybody can be sure to see its
    // semihosting.
    println!("cargo:rustc-check-cfg=cfg(board, values(any()))");
    println!("cargo:rustc-cfg=board=\"{board}\"");
    for (kind, default) in [("uart", "none"), ("clock", "reset"), ("flash", "none")] {
        let driver = entry.get(kind).and_then(Value::as_str).unwrap_or(default);
        println!("cargo:rustc-check-cfg=cfg({kind}, values(any()))");
        println!("cargo:rustc-cfg={kind}=\"{driver}\"");
    }
    println!("cargo:rustc-check-cfg=cfg(real)");
    if entry.contains_key("runner") {
        println!("cargo:rustc-cfg=real");
    }
    for input in [Path::new(&map), Path::new(BOARDS)] {
        println!("cargo:rerun-if-changed={}", input.display());
    }
    println!("cargo:rerun-if-env-changed=FW_BOARD");
    println!("cargo:rerun-if-env-changed=FW_MODEL");
    println!("cargo:rerun-if-env-changed=FW_ADAPT");
    println!("cargo:rerun-if-env-changed=FW_PRIME");
    println!("cargo:rerun-if-env-changed=FW_FALSE_ALARMS");
    println!("cargo:rerun-if-env-changed=FW_ARGUMENTS");
    println!("cargo:rerun-if-env-changed=FW_EVERY");
}

/// What the list says of a board.
fn entry(board: &str) -> Table {
    let text = fs::read_to_string(BOARDS).unwrap_or_else(|e| panic!("{BOARDS}: {e}"));
    let mut list: Table = text.parse().unwrap_or_else(|e| panic!("{BOARDS}: {e}"));
    let Some(Value::Array(all)) = list.remove("board") else { panic!("{BOARDS}: no list `board`") };
    let mut tables = all.into_iter().filter_map(|entry| if let Value::Table(t) = entry { Some(t) } else { None });
    let found = tables.find(|entry| entry.get("name").and_then(Value::as_str) == Some(board));
    found.unwrap_or_else(|| panic!("FW_BOARD: {BOARDS} has no board {board}"))
}
