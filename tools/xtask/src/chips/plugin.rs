//! The plugin of QEMU that counts instructions and cuts the power: `firmware/plugin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Builds it for the host's QEMU.
///
/// # Errors
/// If it cannot be built.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--locked", "-p", "mambabyte-qemu-plugin"]).current_dir(root);
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("the plugin could not be built");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/libmambabyte_qemu_plugin.so"))
}
