//! From named tensors to a [`Checkpoint`].
//!
//! The dimensions are those that most tensors agree on, so one damaged tensor is blamed itself instead of all others.
//! Then every tensor is compared with its expected shape, the differences become one table, and only then are weights
//! converted, one tensor at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mambabyte_core::{Dims, Norm, VOCAB};
use mambabyte_host::{Checkpoint, Layer};
use serde_json::Value;

use super::config::{Config, Facts};
use super::error::{FormatError, Mismatch, TensorTable};
use super::names::{EMBEDDING, HEAD};
use super::options::Options;
use super::shorten::shorten;
use super::tensor::{Dtype, Entry, RawTensor};
use super::tensors::Tensors;
use super::vocabulary::Symbols;
use super::{decays, vocabulary};

/// Deepest model accepted.
const MAX_LAYERS: usize = 1024;

/// A size that several tensors share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Axis {
    Vocab,
    Model,
    Inner,
    State,
    Conv,
    Rank,
    One,
    /// `2 * d_inner`
    TwoInner,
    /// `dt_rank + 2 * d_state`
    Projected,
}

/// Tensors of one block below `layers.L.`.
const BLOCK: &[(&str, &[Axis])] = &[
    ("norm.weight", &[Axis::Model]),
    ("norm.bias", &[Axis::Model]),
    ("mixer.in_proj.weight", &[Axis::TwoInner, Axis::Model]),
    ("mixer.conv1d.weight", &[Axis::Inner, Axis::One, Axis::Conv]),
    ("mixer.conv1d.bias", &[Axis::Inner]),
    ("mixer.x_proj.weight", &[Axis::Projected, Axis::Inner]),
    ("mixer.dt_proj.weight", &[Axis::Inner, Axis::Rank]),
    ("mixer.dt_proj.bias", &[Axis::Inner]),
    ("mixer.A_log", &[Axis::Inner, Axis::State]),
    ("mixer.D", &[Axis::Inner]),
    ("mixer.out_proj.weight", &[Axis::Model, Axis::Inner]),
];

/// Builds the checkpoint; `notes` receives what the config has wrong, what was read unlike it is written and what was
/// left out.
pub(super) fn assemble(
    entries: Vec<(String, Entry<'_>)>,
    config: &Config,
    tokenizer: &Value,
    symbols: Symbols,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Checkpoint, FormatError> {
    config.check_architecture(options.trust_tensors)?;
    let mut named = Tensors::new(entries)?;
    notes.extend(named.prefix.note());
    named.turn_mlx(notes);

    let plan = Plan::new(&named)?;
    if !options.trust_tensors {
        config.check_promises(plan.n_layer, named.get(HEAD).is_some())?;
    }
    let sizes = plan.vote(&named);
    plan.check(&named, &sizes)?;
    notes.extend(named.others());
    let size = |axis| sizes.get(&axis).copied().unwrap_or(0);
    let mut dims = Dims {
        d_model: size(Axis::Model),
        n_layer: plan.n_layer,
        d_inner: size(Axis::Inner),
        d_state: size(Axis::State),
        d_conv: size(Axis::Conv),
        dt_rank: size(Axis::Rank),
        norm: if plan.norm_bias { Norm::Layer } else { Norm::Rms },
        tied_head: true,
        tied_decays: false,
    };
    check_ranges(&dims)?;
    let vocab_rows = size(Axis::Vocab);
    let bytes = match symbols {
        Symbols::Bytes => Some(vocabulary::find(vocab_rows, config, tokenizer, options.byte_offset)?),
        Symbols::All => None,
    };

    let norm_eps = config.norm_eps(notes);
    let read = |name: &str| finite(&named, name, 0..usize::MAX);
    let read_if = |present: bool, name: &str| if present { read(name) } else { Ok(Vec::new()) };
    let mut layers = Vec::with_capacity(plan.n_layer);
    for l in 0..plan.n_layer {
        let at = |name: &str| format!("layers.{l}.{name}");
        layers.push(Layer {
            norm: read(&at("norm.weight"))?,
            norm_bias: read_if(plan.norm_bias, &at("norm.bias"))?,
            in_proj: read(&at("mixer.in_proj.weight"))?,
            conv1d: read(&at("mixer.conv1d.weight"))?,
            conv_bias: match plan.conv_bias {
                true => read(&at("mixer.conv1d.bias"))?,
                false => vec![0.0; dims.d_inner],
            },
            x_proj: read(&at("mixer.x_proj.weight"))?,
            dt_proj: read(&at("mixer.dt_proj.weight"))?,
            dt_bias: read(&at("mixer.dt_proj.bias"))?,
            a_log: read(&at("mixer.A_log"))?,
            d_skip: read(&at("mixer.D"))?,
            out_proj: read(&at("mixer.out_proj.weight"))?,
        });
    }
    let rows = bytes.as_ref().map_or(0..vocab_rows, |bytes| bytes.offset..bytes.offset + VOCAB);
    let rows = rows.start * dims.d_model..rows.end * dims.d_model;
    let embedding = finite(&named, EMBEDDING, rows.clone())?;
    let mut head = None;
    if named.get(HEAD).is_some() {
        let own = finite(&named, HEAD, rows)?;
        let (shown, same) = (named.shown(HEAD), own.iter().zip(&embedding).all(|(a, b)| a.to_bits() == b.to_bits()));
        if same && named.get(HEAD).zip(named.get(EMBEDDING)).is_some_and(|(a, b)| a.is_view_of(b)) {
            notes.push(format!("{shown} is another name of the embedding: the head is tied"));
        } else if same {
            notes.push(format!("{shown} repeats the embedding: the head is tied, the copy is dropped"));
        } else {
            head = Some(own);
        }
    }
    dims.tied_head = head.is_none();
    dims.tied_decays = tie_decays(&named, &mut layers, dims.d_state, notes);
    if !plan.conv_bias {
        notes.push("there is no mixer.conv1d.bias: zeros are used".to_owned());
    }
    notes.extend(bytes.and_then(|bytes| bytes.note));
    config.compare(&Facts { dims, vocab_rows, conv_bias: plan.conv_bias }, notes);
    let norm_f = read("norm_f.weight")?;
    let norm_f_bias = read_if(plan.norm_bias, "norm_f.bias")?;
    Ok(Checkpoint { dims, norm_eps, embedding, layers, norm_f, norm_f_bias, head })
}

/// Whether the decays of all channels are powers of one number. What half precision took of them is given back.
fn tie_decays(tensors: &Tensors<'_>, layers: &mut [Layer], d_state: usize, notes: &mut Vec<String>) -> bool {
    let dtype = |l: usize| tensors.get(&format!("layers.{l}.mixer.A_log")).map_or(Dtype::F32, RawTensor::dtype);
    if d_state < 2 {
        return false;
    }
    let found = layers.iter().enumerate().map(|(l, layer)| decays::tied(&layer.a_log, d_state, dtype(l)));
    let Some(first) = found.collect::<Option<Vec<_>>>() else { return false };
    let mut rounded = None;
    for (l, (layer, first)) in layers.iter_mut().zip(&first).enumerate() {
        if let half @ (Dtype::F16 | Dtype::Bf16) = dtype(l) {
            decays::spread(first, &mut layer.a_log, d_state);
            rounded = Some(half);
        }
    }
    if let Some(half) = rounded {
        notes.push(format!("A_log is stored in {half}: up to that rounding the decays are tied, and are read as tied"));
    }
    true
}

/// Which tensors there must be.
struct Plan {
    n_layer: usize,
    norm_bias: bool,
    conv_bias: bool,
    wanted: Vec<(String, &'static [Axis])>,
}

impl Plan {
    fn new(tensors: &Tensors<'_>) -> Result<Self, FormatError> {
        let n_layer = tensors.names().filter_map(layer_index).max().map_or(0, |l| l.saturating_add(1));
        range("n_layer", n_layer, 1, MAX_LAYERS)?;
        let block_norm_bias = |name: &str| name.starts_with("layers.") && name.ends_with(".norm.bias");
        let norm_bias = tensors.names().any(|name| block_norm_bias(name) || name == "norm_f.bias");
        let conv_bias = tensors.names().any(|name| name.ends_with(".mixer.conv1d.bias"));

        let mut wanted: Vec<(String, &'static [Axis])> = vec![(EMBEDDING.to_owned(), &[Axis::Vocab, Axis::Model])];
        for l in 0..n_layer {
            for &(name, axes) in BLOCK {
                if (norm_bias || name != "norm.bias") && (conv_bias || name != "mixer.conv1d.bias") {
                    wanted.push((format!("layers.{l}.{name}"), axes));
                }
            }
        }
        wanted.push(("norm_f.weight".to_owned(), &[Axis::Model]));
        if norm_bias {
            wanted.push(("norm_f.bias".to_owned(), &[Axis::Model]));
        }
        if tensors.get(HEAD).is_some() {
            wanted.push((HEAD.to_owned(), &[Axis::Vocab, Axis::Model]));
        }
        Ok(Self { n_layer, norm_bias, conv_bias, wanted })
    }

    /// The most frequent value of each size.
    fn vote(&self, tensors: &Tensors<'_>) -> BTreeMap<Axis, usize> {
        let mut votes = Votes::default();
        let mut projected = Vec::new();
        for (name, axes) in &self.wanted {
            let shape = tensors.get(name).map(RawTensor::shape).filter(|shape| shape.len() == axes.len());
            for (&axis, &value) in axes.iter().zip(shape.unwrap_or_default()) {
                match axis {
                    Axis::One | Axis::TwoInner => {}
                    Axis::Projected => projected.push(value),
                    simple => votes.cast(simple, value),
                }
            }
        }
        // x_proj has a say in d_state once the rank is known.
        if let Some(rank) = votes.winner(Axis::Rank) {
            let states = projected.into_iter().filter_map(|rows| rows.checked_sub(rank)).filter(|both| both % 2 == 0);
            states.for_each(|both| votes.cast(Axis::State, both / 2));
        }
        votes.0.keys().filter_map(|&axis| Some((axis, votes.winner(axis)?))).collect()
    }

    /// Compares every tensor with its shape and collects the differences.
    fn check(&self, tensors: &Tensors<'_>, sizes: &BTreeMap<Axis, usize>) -> Result<(), FormatError> {
        let mut rows = Vec::new();
        for (name, axes) in &self.wanted {
            let found = tensors.get(name).map(RawTensor::shape);
            let fits = found.is_some_and(|shape| {
                shape.len() == axes.len() && shape.iter().zip(*axes).all(|(&n, &axis)| Some(n) == size_of(axis, sizes))
            });
            if !fits {
                let expected: Vec<String> = axes.iter().map(|&axis| axis_text(axis, sizes)).collect();
                let other = tensors.entries.get(name).map(|named| &named.entry);
                let found = match (found, other) {
                    (Some(shape), _) => format!("{shape:?}"),
                    (None, Some(Entry::Other(what))) => what.clone(),
                    _ => "missing".to_owned(),
                };
                rows.push(Mismatch {
                    name: shorten(&tensors.shown(name)),
                    expected: format!("[{}]", expected.join(", ")),
                    found,
                });
            }
        }
        let wanted: BTreeSet<&str> = self.wanted.iter().map(|(name, _)| name.as_str()).collect();
        for (_, named) in tensors.entries.iter().filter(|(name, _)| !wanted.contains(name.as_str())) {
            let Some(tensor) = named.entry.tensor() else { continue };
            let found = format!("{:?} (extra tensor)", tensor.shape());
            rows.push(Mismatch { name: shorten(&named.own), expected: "none".to_owned(), found });
        }
        if rows.is_empty() { Ok(()) } else { Err(FormatError::Tensors(TensorTable { rows })) }
    }
}

/// Values of each size with the number of tensors that have them, in the order met.
#[derive(Default)]
struct Votes(BTreeMap<Axis, Vec<(usize, usize)>>);

impl Votes {
    fn cast(&mut self, axis: Axis, value: usize) {
        let tally = self.0.entry(axis).or_default();
        match tally.iter_mut().find(|(seen, _)| *seen == value) {
            Some((_, count)) => *count += 1,
            None => tally.push((value, 1)),
        }
    }

    /// Among equals the one met first.
    fn winner(&self, axis: Axis) -> Option<usize> {
        self.0.get(&axis)?.iter().rev().max_by_key(|(_, count)| *count).map(|(value, _)| *value)
    }
}

fn size_of(axis: Axis, sizes: &BTreeMap<Axis, usize>) -> Option<usize> {
    let simple = |axis| sizes.get(&axis).copied();
    match axis {
        Axis::One => Some(1),
        Axis::TwoInner => simple(Axis::Inner)?.checked_mul(2),
        Axis::Projected => simple(Axis::State)?.checked_mul(2)?.checked_add(simple(Axis::Rank)?),
        axis => simple(axis),
    }
}

fn axis_text(axis: Axis, sizes: &BTreeMap<Axis, usize>) -> String {
    let name = match axis {
        Axis::Vocab => "256",
        Axis::Model => "d_model",
        Axis::Inner => "d_inner",
        Axis::State => "d_state",
        Axis::Conv => "d_conv",
        Axis::Rank => "dt_rank",
        Axis::One => "1",
        Axis::TwoInner => "2 * d_inner",
        Axis::Projected => "dt_rank + 2 * d_state",
    };
    size_of(axis, sizes).map_or_else(|| name.to_owned(), |size| size.to_string())
}

/// `L` of `layers.L.something`, if written as a plain number.
fn layer_index(name: &str) -> Option<usize> {
    let (index, _) = name.strip_prefix("layers.")?.split_once('.')?;
    let plain = index == "0" || !index.starts_with(['0', '+']);
    index.parse().ok().filter(|_| plain)
}

fn range(dimension: &'static str, found: usize, min: usize, max: usize) -> Result<(), FormatError> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(FormatError::Range { dimension, found, min, max }) }
}

fn check_ranges(dims: &Dims) -> Result<(), FormatError> {
    range("d_model", dims.d_model, 16, 4096)?;
    range("d_inner", dims.d_inner, 1, 16384)?;
    range("d_state", dims.d_state, 1, 64)?;
    range("d_conv", dims.d_conv, 2, 4)?;
    range("dt_rank", dims.dt_rank, 1, dims.d_inner)
}

/// Elements `range` of a tensor that [`Plan::check`] has seen.
fn finite(tensors: &Tensors<'_>, name: &str, range: Range<usize>) -> Result<Vec<f32>, FormatError> {
    let start = range.start;
    let weights = tensors.get(name).map(|tensor| tensor.to_f32(range)).unwrap_or_default();
    match weights.iter().enumerate().find(|(_, weight)| !weight.is_finite()) {
        Some((index, &value)) => {
            Err(FormatError::NonFinite { tensor: shorten(&tensors.shown(name)), index: start + index, value })
        }
        None => Ok(weights),
    }
}
