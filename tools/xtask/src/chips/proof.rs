//! `cargo xtask firmware proof`: no panic, no float and no allocation can be reached from the model's code.
//!
//! Three programs for each kind of core: the proof, and two that must fail it, so that a check that no longer finds
//! anything is noticed.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use super::boards;
use super::program::PROFILE;
use crate::models;
use crate::route::Route;

/// The function that the proof's panic handler calls and nobody defines.
const PANIC: &str = "MAMBABYTE_HAS_A_REACHABLE_PANIC";

/// Proves it for all boards that name a target of the proof.
///
/// # Errors
/// If it does not hold, or if a program that must fail it passes.
pub(crate) fn run(root: &Path) -> Result<()> {
    let boards = boards::all()?.iter().filter_map(|board| Some((board.name.as_str(), board.proof.as_deref()?)));
    for (board, target) in boards {
        let route = Route::find(target)?;
        eprintln!("proof: {target}, {}", route.name);
        let (output, elf) = build(root, &route, board, target, "proof")?;
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("{target}: the proof does not link: {messages}");
        }
        let found = forbidden(&elf)?;
        if !found.is_empty() {
            bail!("{target}: the program has {}", found.join(", "));
        }

        let (output, _) = build(root, &route, board, target, "proof,proof-panic")?;
        if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains(PANIC) {
            bail!("{target}: a program that can panic was not refused: {}", String::from_utf8_lossy(&output.stderr));
        }
        let (output, elf) = build(root, &route, board, target, "proof,proof-float")?;
        if !output.status.success() {
            bail!("{target}: the program with a float: {}", String::from_utf8_lossy(&output.stderr));
        }
        let found = forbidden(&elf)?;
        if found.is_empty() {
            bail!("{target}: a program with a float was not found out");
        }
        println!(
            "{target:28} no panic, no float, no allocation; the counter-examples fail by {PANIC} and by {found:?}"
        );
    }
    Ok(())
}

/// Builds the proof; returns what cargo says and where the program is.
fn build(root: &Path, route: &Route, board: &str, target: &str, features: &str) -> Result<(Output, PathBuf)> {
    let mut cargo = route.cargo(root, "build", target, None, PROFILE);
    // An optimiser that inlines, whatever the programs of a core are built with; and the builds of `core` that they use.
    cargo.env(format!("CARGO_PROFILE_{}_OPT_LEVEL", PROFILE.to_uppercase()), "3");
    cargo.args(["--locked", "--bin", "proof", "--features", features]).current_dir(root.join("firmware"));
    cargo.env("FW_BOARD", board).env("FW_MODEL", models::file(root, "sensor-pico", "model.mbb"));
    let output = cargo.output().context("cargo could not be started")?;
    Ok((output, route.output(root).join(target).join(PROFILE).join("proof")))
}

/// Names of float and allocation functions in a program.
fn forbidden(elf: &Path) -> Result<Vec<String>> {
    let data = std::fs::read(elf)?;
    let file = object::File::parse(&*data)?;
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    if !names.iter().any(|name| name.contains("Decoder")) {
        bail!("{}: no symbols to look at", elf.display());
    }
    Ok(names.into_iter().filter(|name| is_float(name) || is_allocation(name)).map(str::to_owned).collect())
}

/// A function of the compiler's run-time library that computes with floats: `__aeabi_fadd`, `__mulsf3`, `__floatsidf`,
/// but not `__aeabi_ldivmod` or `__muldi3`.
fn is_float(name: &str) -> bool {
    if let Some(arm) = name.strip_prefix("__aeabi_") {
        let kinds = ["f", "d", "cf", "cd", "i2f", "i2d", "ui2f", "ui2d", "l2f", "l2d", "ul2f", "ul2d", "h2f"];
        return kinds.iter().any(|kind| arm.starts_with(kind));
    }
    let Some(name) = name.strip_prefix("__") else {
        return matches!(name, "fmod" | "fmodf" | "fma" | "fmaf" | "sqrt" | "sqrtf" | "pow" | "powf" | "exp" | "log");
    };
    // sf, df, hf, tf: single, double, half, quadruple.
    let parts = ["sf", "df", "hf", "tf"];
    let operations = ["add", "sub", "mul", "div", "neg", "powi", "cmp", "eq", "ne", "lt", "le", "gt", "ge", "unord"];
    let conversions = ["float", "fix", "extend", "trunc"];
    let after = |heads: &[&str]| heads.iter().find_map(|head| name.strip_prefix(head)).map(str::to_owned);
    after(&operations).is_some_and(|rest| parts.iter().any(|part| rest.starts_with(part)))
        || after(&conversions).is_some_and(|rest| parts.iter().any(|part| rest.contains(part)))
}

/// The allocator's functions, mangled or not.
fn is_allocation(name: &str) -> bool {
    let functions = ["alloc", "dealloc", "realloc", "alloc_zeroed"];
    let prefixes = ["__rust_", "__rg_", "__rdl_"];
    functions.iter().any(|f| prefixes.iter().any(|prefix| name.contains(&format!("{prefix}{f}"))))
        || matches!(name, "malloc" | "calloc" | "realloc" | "free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_float_functions() {
        for name in [
            "__aeabi_fadd",
            "__aeabi_dmul",
            "__aeabi_cfcmple",
            "__aeabi_i2f",
            "__aeabi_ul2d",
            "__aeabi_f2iz",
            "__addsf3",
            "__muldf3",
            "__floatsidf",
            "__floatundisf",
            "__fixdfsi",
            "__fixunssfdi",
            "__extendsfdf2",
            "__truncdfsf2",
            "__ltsf2",
            "__unorddf2",
            "__powisf2",
            "sqrtf",
        ] {
            assert!(is_float(name), "{name}");
        }
        for name in [
            "__aeabi_ldivmod",
            "__aeabi_uldivmod",
            "__aeabi_lmul",
            "__aeabi_memcpy",
            "__aeabi_uidiv",
            "__aeabi_llsl",
            "__muldi3",
            "__udivdi3",
            "__umodti3",
            "__ashldi3",
            "__clzsi2",
            "main",
            "memcpy",
            "__lshrdi3",
            "__divdi3",
        ] {
            assert!(!is_float(name), "{name}");
        }
    }

    #[test]
    fn names_of_the_allocator() {
        for name in ["__rust_alloc", "_RNvCsfLfy6EI15iL_7___rustc14___rust_dealloc", "__rdl_realloc", "malloc"] {
            assert!(is_allocation(name), "{name}");
        }
        assert!(!is_allocation("_ZN4core9panicking5panic17h"));
    }
}
