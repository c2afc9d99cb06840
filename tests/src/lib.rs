//! Shared helpers of the tests.

pub mod adapter_golden;
pub mod adapter_start;
pub mod archive_forge;
pub mod detector_golden;
pub mod forge;
pub mod fuzz_seeds;
pub mod fuzz_targets;
pub mod nor;
pub mod npy;
pub mod random_blob;
pub mod reference;
pub mod synth;
pub mod tables;

use std::path::PathBuf;

/// The four models in `models/`, smallest first.
pub const MODELS: [&str; 4] = ["sensor-pico", "sensor-nano", "sensor-micro", "prose-small"];

/// A file of `models/<model>/`.
pub fn model_file(model: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models").join(model).join(file)
}

/// A file of `tests/data/`.
pub fn data_file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(path)
}
