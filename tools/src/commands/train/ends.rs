//! How a run ended, and that in words.

use std::fmt::Write;

use serde_json::json;

use super::options::Args;
use crate::error::CliError;
use crate::output::{bytes, print, print_json, say, shown, thousands};
use crate::training::finish::Made;
use crate::training::recipe::Recipe;

/// How a run ended.
#[derive(Debug)]
pub enum Trained {
    /// Someone stopped it; it is saved, and its best weights so far are in the folder.
    Stopped {
        /// After which step.
        step: u64,
        /// Bits per byte of the best weights on windows of the hold-out, if they were looked at.
        best: Option<f64>,
    },
    /// It was finished.
    Finished(Box<Finished>),
    /// So was one over subwords, of which no blob is made.
    Subwords(Box<FinishedSubwords>),
}

/// What a run over subwords gave.
#[derive(Debug)]
pub struct FinishedSubwords {
    /// Which run it was.
    pub recipe: Recipe,
    /// Steps that were made.
    pub steps: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Parameters of the model.
    pub parameters: usize,
    /// Step of the weights, and their bits per byte on windows of the hold-out.
    pub best: (u64, f64),
}

/// What a run gave.
#[derive(Debug)]
pub struct Finished {
    /// Which run it was.
    pub recipe: Recipe,
    /// Steps that were made.
    pub steps: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Parameters of the model.
    pub parameters: usize,
    /// The blob and what it costs.
    pub made: Made,
}

/// Ctrl-C: the state is saved.
pub(super) fn stopped(args: &Args, step: u64, best: Option<f64>) {
    let (step, output) = (thousands(step), shown(&args.output));
    let best = best.map(|bits| {
        format!(
            "; the best weights so far are in it ({bits:.4} bits per byte), and `mambabyte convert {output} -o model.mbb` \
             makes a blob of them"
        )
    });
    say(format_args!(
        "stopped after step {step} and saved: `mambabyte train --resume -o {output}` goes on{}",
        best.unwrap_or_default()
    ));
}

/// What was made of a run over subwords, and what to type next.
pub(super) fn done_subwords(args: &Args, finished: &FinishedSubwords) -> Result<(), CliError> {
    let FinishedSubwords { recipe, steps, bytes, parameters, best: (step, bits) } = finished;
    if args.json {
        return print_json(&json!({
            "steps": steps, "bytes_read": bytes, "params": parameters, "best_step": step, "bpb_holdout_windows": bits,
            "name": recipe.name,
        }));
    }
    let output = shown(&args.output);
    print(&format!(
        "{} steps, {} bytes read; best at step {}: {bits:.4} bits per byte on windows of the hold-out, {} parameters\n\n\
         What next:\n  mambabyte generate MODEL --speculate {output} --stats    it drafts for a model of bytes\n\
         {output}/README.md is the card\n",
        thousands(*steps),
        thousands(*bytes),
        thousands(*step),
        thousands(*parameters as u64),
    ))
}

/// What was made, and what to type next.
pub(super) fn done(args: &Args, finished: &Finished) -> Result<(), CliError> {
    let Finished { recipe, steps, bytes: read, parameters, made } = finished;
    let (f32, int) = (made.measured.f32.bits_per_byte(), made.measured.int.bits_per_byte());
    if args.json {
        return print_json(&json!({
            "steps": steps, "bytes_read": read, "params": parameters,
            "best_step": made.best.0, "bpb_holdout_windows": made.best.1, "bpb_f32": f32, "bpb_int": int, "delta_bpb": int - f32,
            "bytes": made.blob,
            "name": recipe.name,
        }));
    }
    let output = shown(&args.output);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} steps, {} bytes read; best at step {}: {:.4} bits per byte on windows of the hold-out",
        thousands(*steps),
        thousands(*read),
        thousands(made.best.0),
        made.best.1
    );
    let _ = writeln!(
        out,
        "blob: {} for {} parameters; the hold-out as a stream: f32 {f32:.4}, integer {int:.4} bits per byte\n",
        bytes(made.blob as u64),
        thousands(*parameters as u64)
    );
    let log = recipe.texts.first().map(|source| source.name.as_str()).unwrap_or("my.log");
    let _ = write!(
        out,
        "What next:\n  mambabyte fit {output}/model.mbb                   chips that have room for it\n  \
         mambabyte stream {output}/model.mbb --color {log}\n  \
         mambabyte eval {output}/model.mbb OTHER.log --adapt 16K --compare\n\
         {output}/README.md is the card, {output}/report.html the curves\n"
    );
    print(&out)
}
