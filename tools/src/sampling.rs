//! How the next byte is chosen: options and the integers that they stand for.

use mambabyte_core::SampleOptions;

use crate::numbers::{share, temperature};

/// How the next byte is chosen.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Sampling {
    /// 1 samples from the model's distribution, less is more certain, 0 takes the most likely byte; at most 100.
    #[arg(long, default_value_t = 1.0, value_name = "T", value_parser = temperature)]
    pub temperature: f64,
    /// Only the K most likely bytes; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "K", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub top_k: u16,
    /// Only the most likely bytes that together reach this share.
    #[arg(long, default_value_t = 1.0, value_name = "P", value_parser = share)]
    pub top_p: f64,
}

impl Sampling {
    /// The integers that the sampler uses.
    pub fn options(&self) -> SampleOptions {
        let temperature = (self.temperature * 65_536.0).round() as u32;
        SampleOptions {
            temperature: if self.temperature > 0.0 { temperature.max(1) } else { 0 },
            top_k: self.top_k,
            top_p: (self.top_p * 65_536.0).round() as u32,
        }
    }
}
