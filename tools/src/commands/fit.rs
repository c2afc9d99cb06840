//! `mambabyte fit`: does it fit which chip, and how fast would it be there?

use std::fmt::Write;
use std::path::PathBuf;

use mambabyte_core::{Dims, Norm};
use mambabyte_host::adapt::Preset;
use serde_json::json;

use crate::adapting::{Adapting, name, open_net};
use crate::chips::{CHIPS, Chip, Need, PROGRAM_FLASH, PROGRAM_RAM};
use crate::error::CliError;
use crate::model::Loading;
use crate::output::{bytes, clean, print, print_json};
use crate::speed::{self, Instructions};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "fit sensor-nano --adapt 8K"
    "fit --d-model 96 --layers 4 --chip STM32H743"
})]
pub struct Args {
    /// A blob or checkpoint, by path or by name, `none` for an adapter alone; or give the dimensions.
    #[arg(required_unless_present = "d_model", conflicts_with_all = ["d_model", "layers"])]
    pub model: Option<PathBuf>,
    /// An adapter beside it.
    #[command(flatten)]
    pub adapting: Adapting,
    /// Width of the residual stream.
    #[arg(long, requires = "layers")]
    pub d_model: Option<usize>,
    /// Number of blocks.
    #[arg(long, requires = "d_model")]
    pub layers: Option<usize>,
    /// Width inside a block. Default: twice d_model.
    #[arg(long)]
    pub d_inner: Option<usize>,
    /// States per channel.
    #[arg(long, default_value_t = 8)]
    pub d_state: usize,
    /// Taps of the convolution.
    #[arg(long, default_value_t = 4)]
    pub d_conv: usize,
    /// Rank of the delta projection. Default: d_model / 16, rounded up.
    #[arg(long)]
    pub dt_rank: Option<usize>,
    /// The decays of a channel are free instead of powers of one number.
    #[arg(long)]
    pub free_decays: bool,
    /// Only this chip (part of its name suffices); exits with 1 if the model does not fit.
    #[arg(long)]
    pub chip: Option<String>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// How the model is loaded.
    #[command(flatten)]
    pub loading: Loading,
}

/// The shape; `None` without a net.
fn dims(args: &Args) -> Result<Option<Dims>, CliError> {
    if let Some(path) = &args.model {
        return Ok(open_net(path, &args.loading)?.map(|model| model.dims()));
    }
    let d_model = args.d_model.unwrap_or(0);
    let dims = Dims {
        d_model,
        n_layer: args.layers.unwrap_or(0),
        d_inner: args.d_inner.unwrap_or(d_model.saturating_mul(2)),
        d_state: args.d_state,
        d_conv: args.d_conv,
        dt_rank: args.dt_rank.unwrap_or(d_model.div_ceil(16)),
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: !args.free_decays,
    };
    match dims.out_of_bounds() {
        Some((name, found, low, high)) => {
            Err(CliError::Usage(format!("--{}: {found} is outside {low}..={high}", name.replace('_', "-"))))
        }
        None => Ok(Some(dims)),
    }
}

const NOTES: &str = "
instr./byte: executed by the emulated core and counted; ~ put together by stage from models that were counted, ? with the
scan of the other kind of decays, which is the one that was counted there (free ones cost more).
bytes/s: an ESTIMATE, at the highest clock and without wait states of the flash, for as many cycles per instruction as such
cores are known to need (M0 1.2 to 2, M7 0.5 to 1, M55 1 to 2, others 1 to 1.7). Nothing was timed on a chip.
";
const WITH_ADAPTER: &str = "Both are of net and adapter together; +? where the adapter was not counted on the core: \
the net alone.\n";

/// What a byte takes on a chip.
struct Effort {
    net: Option<Instructions>,
    /// `Some(None)`: there is an adapter, which was not counted there.
    adapter: Option<Option<f64>>,
}

impl Effort {
    fn on(chip: &Chip, dims: Option<&Dims>, preset: Option<Preset>) -> Self {
        let net = dims.and_then(|dims| speed::instructions(chip.counted, dims));
        Self { net, adapter: preset.map(|preset| speed::adapter_instructions(chip.counted, preset)) }
    }

    /// Instructions that are known; `None` if there are none.
    fn per_byte(&self) -> Option<f64> {
        let parts = [self.net.as_ref().map(|net| net.per_byte), self.adapter.flatten()];
        parts.iter().any(Option::is_some).then(|| parts.into_iter().flatten().sum())
    }

    /// Instructions per byte and bytes per second, as text.
    fn text(&self, chip: &Chip) -> (String, String) {
        let Some(per_byte) = self.per_byte() else { return ("not counted".into(), "-".into()) };
        let mark = match &self.net {
            Some(Instructions { exact: false, other_decays: true, .. }) => "?",
            Some(Instructions { exact: false, .. }) => "~",
            _ => "",
        };
        let more = if self.adapter == Some(None) { "+?" } else { "" };
        let (slow, fast) = speed::bytes_per_second(chip.counted, chip.mhz, per_byte);
        let digits = usize::from(fast < 10.0);
        (format!("{mark}{per_byte:.0}{more}"), format!("{slow:.digits$}-{fast:.digits$}"))
    }

    /// The same for programs.
    fn json(&self, chip: &Chip) -> serde_json::Value {
        let Some(per_byte) = self.per_byte() else { return serde_json::Value::Null };
        let (slow, fast) = speed::bytes_per_second(chip.counted, chip.mhz, per_byte);
        let (few, many) = speed::cycles_per_instruction(chip.counted);
        let net = self.net.as_ref();
        json!({
            "instructions_per_byte": per_byte.round(), "counted_core": chip.counted,
            "counted_models": net.map(|net| &net.models), "this_shape_was_counted": net.map(|net| net.exact),
            "scan_of_other_decays": net.map(|net| net.other_decays),
            "adapter_instructions_per_byte": self.adapter.flatten(),
            "assumed_cycles_per_instruction": [few, many], "assumed_wait_states": 0, "bytes_per_second": [slow, fast]
        })
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] for impossible dimensions or an unknown chip; exit 1 if the chip asked for is too small.
pub fn run(args: &Args) -> Result<(), CliError> {
    let dims = dims(args)?;
    let preset = args.adapting.preset(dims.is_some())?;
    let net = dims.as_ref().map_or_else(Need::default, Need::of);
    let need = preset.map_or(net, |preset| net.with(preset));
    let wanted = args.chip.as_ref().map(|c| c.to_lowercase());
    let chips: Vec<&Chip> =
        CHIPS.iter().filter(|c| wanted.as_ref().is_none_or(|w| c.name.to_lowercase().contains(w))).collect();
    if chips.is_empty() {
        let names: Vec<_> = CHIPS.iter().map(|c| c.name).collect();
        let asked = args.chip.as_deref().unwrap_or_default();
        return Err(CliError::Usage(format!("--chip {}: not in the table; known: {}", clean(asked), names.join(", "))));
    }
    let fits = |c: &&Chip| need.left(c).0 >= 0 && need.left(c).1 >= 0;
    let any = chips.iter().any(fits);
    if args.json {
        let rows: Vec<_> = chips
            .iter()
            .map(|c| {
                let (flash_left, ram_left) = need.left(c);
                json!({ "chip": c.name, "core": c.core, "mhz": c.mhz, "flash": c.flash, "ram": c.ram, "fits": fits(c),
                        "flash_left": flash_left, "ram_left": ram_left, "estimate": Effort::on(c, dims.as_ref(), preset).json(c) })
            })
            .collect();
        print_json(&json!({ "flash": need.flash, "state": need.state, "scratch": need.scratch,
            "adapt": name(preset), "adapter": need.adapter, "start_values": need.start_values, "program_flash": PROGRAM_FLASH, "program_ram": PROGRAM_RAM, "chips": rows }))?;
    } else {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "model: flash {}, RAM {} = state {} + scratch {}; adapter {}: flash {} (start values), RAM {} (all exact)\n\
             set aside for the program: flash {}, RAM {}\n",
            bytes(need.flash),
            bytes(need.state + need.scratch),
            bytes(need.state),
            bytes(need.scratch),
            name(preset),
            bytes(need.start_values),
            bytes(need.adapter),
            bytes(PROGRAM_FLASH),
            bytes(PROGRAM_RAM)
        );
        let _ = writeln!(
            out,
            "{:<24} {:<24} {:>9} {:>9}  {:<4} {:>10} {:>10} {:>12} {:>13}",
            "chip", "core", "flash", "RAM", "fits", "flash left", "RAM left", "instr./byte", "bytes/s, est."
        );
        for c in &chips {
            let (flash, ram) = need.left(c);
            let (instructions, rate) = Effort::on(c, dims.as_ref(), preset).text(c);
            let left = |n: i64| if n < 0 { format!("-{}", bytes(n.unsigned_abs())) } else { bytes(n.unsigned_abs()) };
            let _ = writeln!(
                out,
                "{:<24} {:<24} {:>9} {:>9}  {:<4} {:>10} {:>10} {:>12} {:>13}",
                c.name,
                format!("{}, {} MHz", c.core, c.mhz),
                bytes(c.flash),
                bytes(c.ram),
                if fits(c) { "yes" } else { "no" },
                left(flash),
                left(ram),
                instructions,
                rate
            );
        }
        out.push_str(NOTES);
        if preset.is_some() {
            out.push_str(WITH_ADAPTER);
        }
        print(&out)?;
    }
    if wanted.is_some() && !any { Err(CliError::DoesNotFit) } else { Ok(()) }
}
