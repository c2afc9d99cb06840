//! How the next byte is chosen: options and the integers that they stand for.

use mambabyte_core::SampleOptions;

use crate::error::CliError;

/// How the next byte is chosen.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Sampling {
    /// 1 samples from the model's distribution, less is more certain, 0 takes the most likely byte.
    #[arg(long, default_value_t = 1.0)]
    pub temperature: f64,
    /// Only the K most likely bytes; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: u16,
    /// Only the most likely bytes that together reach this share.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub top_p: f64,
}

impl Sampling {
    /// Checks the options and puts them into the integers that the sampler uses.
    ///
    /// # Errors
    /// [`CliError::Usage`] names the option.
    pub fn options(&self) -> Result<SampleOptions, CliError> {
        if !(0.0..=100.0).contains(&self.temperature) {
            return Err(CliError::Usage(format!("--temperature {}: between 0 and 100", self.temperature)));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(CliError::Usage(format!("--top-p {}: above 0, at most 1", self.top_p)));
        }
        if self.top_k > 256 {
            return Err(CliError::Usage(format!("--top-k {}: there are 256 bytes", self.top_k)));
        }
        let temperature = (self.temperature * 65_536.0).round() as u32;
        Ok(SampleOptions {
            temperature: if self.temperature > 0.0 { temperature.max(1) } else { 0 },
            top_k: self.top_k,
            top_p: (self.top_p * 65_536.0).round() as u32,
        })
    }
}
