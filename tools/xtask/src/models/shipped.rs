//! Where shipped models are.

use std::path::{Path, PathBuf};

/// A file of a shipped model.
pub(crate) fn file(root: &Path, model: &str, file: &str) -> PathBuf {
    root.join("models").join(model).join(file)
}
