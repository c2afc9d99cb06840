//! The WebAssembly module.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};

use crate::route::Route;

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the module with these features. A linker that allows undefined functions makes imports of them.
///
/// # Errors
/// [`Missing`](crate::route::Missing) without a toolchain; if it cannot be built.
pub(super) fn build(root: &Path, features: &str, flags: &[&str]) -> Result<PathBuf> {
    let route = Route::find(TARGET)?;
    eprintln!("mambabyte.wasm: {TARGET}, {}", route.name);
    let mut cargo = route.cargo(root, "rustc", TARGET, None, "staticlib");
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Ctarget-feature=+simd128");
    cargo.args(["--locked", "-p", "mambabyte-capi", "--lib", "--features", features]);
    cargo.args(["--crate-type", "cdylib", "--"]).args(flags).current_dir(root);
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("mambabyte.wasm could not be built");
    }
    Ok(route.output(root).join(TARGET).join("staticlib/mambabyte_capi.wasm"))
}

/// What the module in `file` imports, `MODULE.NAME` each.
///
/// # Errors
/// If it cannot be read or is no module.
pub(super) fn imports(file: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let mut found = Vec::new();
    for part in Parser::new(0).parse_all(&bytes) {
        if let Payload::ImportSection(section) = part.with_context(|| file.display().to_string())? {
            for import in section.into_imports() {
                let import = import.with_context(|| file.display().to_string())?;
                found.push(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(found)
}
