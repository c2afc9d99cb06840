//! Where shipped models are.

use std::path::{Path, PathBuf};

/// The name of no model, which `build.rs` of the firmware knows too.
pub(crate) const NONE: &str = "none";

/// A file of a shipped model.
pub(crate) fn file(root: &Path, model: &str, file: &str) -> PathBuf {
    root.join("models").join(model).join(file)
}
