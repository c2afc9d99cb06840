//! `mambabyte inspect`: what a blob, an archive or a primed adapter holds.

mod archive;

use std::fmt::Write;
use std::path::PathBuf;

use mambabyte_core::blob::{HEADER, SECTIONS, Section, TABLE_ROW, VERSION};
use mambabyte_core::snapshot::SECTION_HEAD;
use mambabyte_core::{Blob, Norm};
use mambabyte_host::adapt::Preset;
use mambabyte_host::quantize::writer::fingerprint;
use serde_json::json;

use crate::adapting;
use crate::chips::Need;
use crate::error::CliError;
use crate::model::BlobFile;
use crate::output::{bytes, clean, hex, print, print_json, thousands};
use crate::shipped::{NONE, is_none};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "inspect sensor-nano"
    "inspect my.mbb --json"
    "inspect my.mba"
})]
pub struct Args {
    /// A blob, by path or by name; `none` is no net, an adapter alone; an archive of `compress`; a primed adapter.
    pub model: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Upper bound of the step's own stack: the arguments and locals of the deepest call path, x86-64 and Thumb alike.
/// Sampling needs 1.5 KiB, which the step does not.
const STEP_STACK: u64 = 1024;

/// Parameters that a blob stands for (its i8, i16 and a_log elements; row codes are not parameters).
pub fn parameters(blob: &Blob<'_>) -> u64 {
    let counted = Section::ALL.iter().filter(|s| {
        !matches!(
            s,
            Section::LayerParams
                | Section::EmbeddingCode
                | Section::InProjCode
                | Section::ConvCode
                | Section::XProjCode
                | Section::DtProjCode
                | Section::StateCode
                | Section::OutProjCode
                | Section::HeadCode
        )
    });
    counted.map(|s| s.len_per_layer(blob.dims()) * s.repeats(blob.dims())).sum()
}

/// Runs the command.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &Args) -> Result<(), CliError> {
    if is_none(&args.model) {
        return none(args.json);
    }
    if archive::shown(&args.model, args.json)? {
        return Ok(());
    }
    let file = BlobFile::unverified(&args.model)?;
    let blob = file.blob();
    let (dims, need) = (*blob.dims(), Need::of(blob.dims()));
    let unknown_text = Some(f64::from(blob.unknown_text()) / 256.0).filter(|&bits| bits > 0.0);
    let stored = hex(&blob.fingerprint());
    let matches = fingerprint(&blob) == blob.fingerprint();
    let norm = if dims.norm == Norm::Rms { "RMSNorm" } else { "LayerNorm" };
    let (embedding_shift, head_shift) = blob.embedding_and_head_shift();
    if args.json {
        let sections: Vec<_> = Section::ALL
            .iter()
            .map(|&s| json!({ "name": s.name(), "bytes": s.bytes(&dims), "crc": format!("{:08x}", blob.section_crc(s)) }))
            .collect();
        let layers: Vec<_> = (0..dims.n_layer)
            .map(|l| {
                let p = blob.block(l).params();
                let names = ["u", "dt", "B", "C", "y", "gated"];
                let scales: serde_json::Map<_, _> =
                    names.iter().zip(p.scale_log2).map(|(n, s)| ((*n).to_owned(), json!(scale(s)))).collect();
                json!({ "layer": l, "x_frac": p.x_frac, "z_frac": p.z_frac, "scales": scales })
            })
            .collect();
        return print_json(&json!({
            "version": VERSION, "name": blob.name(), "fingerprint": stored, "fingerprint_matches": matches, "crc": "ok",
            "d_model": dims.d_model, "n_layer": dims.n_layer, "d_inner": dims.d_inner, "d_state": dims.d_state,
            "d_conv": dims.d_conv, "dt_rank": dims.dt_rank, "norm": norm, "tied_head": dims.tied_head,
            "tied_decays": dims.tied_decays, "params": parameters(&blob), "flash": need.flash, "state": need.state,
            "scratch": need.scratch, "stack_bound": STEP_STACK, "snapshot": dims.snapshot_bytes(),
            "residual_frac": blob.residual_frac(), "unknown_text": unknown_text, "adapters": adapters(), "sections": sections, "layers": layers,
        }));
    }
    let mut out = String::new();
    let params = parameters(&blob);
    let _ = writeln!(out, "MambaByte blob, version {VERSION}, \"{}\"", clean(blob.name()));
    let _ =
        writeln!(out, "fingerprint  {stored}  ({})", if matches { "matches" } else { "DOES NOT MATCH the contents" });
    let _ = writeln!(out, "checksums    header and {SECTIONS} sections ok");
    let _ = writeln!(
        out,
        "shape        d_model {}, {} layers, d_inner {}, d_state {}, d_conv {}, dt_rank {}; {norm}, {} head, {} decays",
        dims.d_model,
        dims.n_layer,
        dims.d_inner,
        dims.d_state,
        dims.d_conv,
        dims.dt_rank,
        if dims.tied_head { "tied" } else { "untied" },
        if dims.tied_decays { "tied" } else { "free" }
    );
    let _ = writeln!(out, "parameters   {} ({:.4} bytes each)", thousands(params), need.flash as f64 / params as f64);
    let _ = writeln!(
        out,
        "knows        texts of at most {:.2} bits per byte{}",
        unknown_text.unwrap_or(4.0),
        if unknown_text.is_some() { "" } else { ", as it says nothing else" }
    );
    let _ = writeln!(
        out,
        "memory       flash {}, state {}, scratch {}, stack below {}, snapshot {}\n",
        bytes(need.flash),
        bytes(need.state),
        bytes(need.scratch),
        bytes(STEP_STACK),
        bytes(dims.snapshot_bytes() as u64)
    );
    out.push_str(&adapters_text());
    let _ = writeln!(out, "{:<16} {:>12} {:>10}   {:<8}", "section", "bytes", "% of file", "CRC-32");
    let _ = writeln!(out, "{:<16} {:>12}", "header, table", thousands((HEADER + SECTIONS * TABLE_ROW) as u64));
    for s in Section::ALL.into_iter().filter(|s| s.bytes(&dims) > 0) {
        let len = s.bytes(&dims);
        let share = 100.0 * len as f64 / need.flash as f64;
        let _ = writeln!(out, "{:<16} {:>12} {share:>10.2}   {:08x}", s.name(), thousands(len), blob.section_crc(s));
    }
    let _ = writeln!(out, "\nscales (real value of one integer step)");
    let _ = writeln!(
        out,
        "{:<5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "layer", "u", "dt", "B", "C", "y", "gated", "x", "z"
    );
    for l in 0..dims.n_layer {
        let p = blob.block(l).params();
        let s = p.scale_log2.map(scale);
        let _ = writeln!(
            out,
            "{l:<5} {:>9.2e} {:>9.2e} {:>9.2e} {:>9.2e} {:>9.2e} {:>9.2e} {:>7} {:>7}",
            s[0],
            s[1],
            s[2],
            s[3],
            s[4],
            s[5],
            format!("2^-{}", p.x_frac),
            format!("2^-{}", p.z_frac)
        );
    }
    let _ = writeln!(
        out,
        "residual 2^-{}, head input {:.2e}, row multipliers of embedding and head from 2^-{embedding_shift}, 2^-{head_shift}",
        blob.residual_frac(),
        scale(blob.head_in_scale_log2())
    );
    print(&out)
}

/// `none`: there is nothing but adapters.
fn none(json: bool) -> Result<(), CliError> {
    if json {
        return print_json(&json!({ "name": NONE, "flash": 0, "state": 0, "scratch": 0, "adapters": adapters() }));
    }
    print(&format!(
        "none: no net; an adapter alone reads the stream, {} by default\n\n{}",
        adapting::DEFAULT,
        adapters_text()
    ))
}

/// What an adapter adds, by preset.
fn adapters() -> Vec<serde_json::Value> {
    let one = |preset: Preset| {
        json!({ "adapt": preset.name(), "ram": preset.bytes(), "start_values": preset.start_bytes(),
                "snapshot": SECTION_HEAD + preset.design().saved_bytes() })
    };
    Preset::ALL.into_iter().map(one).collect()
}

/// The same for people.
fn adapters_text() -> String {
    let mut out = format!("{:<16} {:>12} {:>12} {:>12}\n", "an adapter adds", "RAM", "start values", "snapshot");
    for preset in Preset::ALL {
        let saved = SECTION_HEAD + preset.design().saved_bytes();
        let sizes = [preset.bytes(), preset.start_bytes(), saved].map(|n| thousands(n as u64));
        let _ = writeln!(out, "{:<16} {:>12} {:>12} {:>12}", preset.name(), sizes[0], sizes[1], sizes[2]);
    }
    out.push('\n');
    out
}

fn scale(log2_q8: i16) -> f64 {
    (f64::from(log2_q8) / 256.0).exp2()
}
