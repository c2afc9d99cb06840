//! A progress bar on standard error for anything that takes over a second; silent when that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{is_said, say};

/// A bar that counts bytes.
pub struct Progress(ProgressBar);

/// Where bars are drawn: nowhere, if lines go elsewhere, too.
fn target() -> ProgressDrawTarget {
    if is_said() { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() }
}

impl Progress {
    /// A bar of `total` bytes.
    pub fn bytes(what: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target());
        let style = ProgressStyle::with_template("{msg:14} {bar:32} {percent:>3}%  {binary_bytes_per_sec}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    /// A bar of a training run, of `total` bytes of which `done` are read.
    pub fn training(total: u64, done: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target());
        let template = "{msg:16} {bar:28} {percent:>3}%  {decimal_bytes_per_sec}  {eta} left";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("training");
        bar.set_position(done);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    /// Says something in front of the bar.
    pub fn says(&self, what: String) {
        self.0.set_message(what);
    }

    /// A line on standard error that stays, above the bar.
    pub fn line(&self, line: &str) {
        self.0.suspend(|| say(line));
    }

    /// Counts.
    pub fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
