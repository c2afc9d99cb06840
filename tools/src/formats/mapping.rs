//! From tensor names to a [`Checkpoint`]: shapes decide, every tensor must be accounted for.

use std::fmt::Write;

use mambabyte_core::{Dims, Norm, VOCAB};
use mambabyte_host::{Checkpoint, Layer};

use super::config::Config;
use super::{FormatError, Tensor, Tensors};

/// `A_log[d, n] - A_log[d, 0]` may differ by this from `ln(n + 1)` where decays count as tied.
const TIED_TOLERANCE: f32 = 1e-5;

/// Rows of the table of an error: name, expected, found.
#[derive(Default)]
struct Complaints(Vec<[String; 3]>);

impl Complaints {
    fn add(&mut self, name: &str, expected: impl ToString, found: impl ToString) {
        self.0.push([name.to_owned(), expected.to_string(), found.to_string()]);
    }

    fn into_result(mut self) -> Result<(), FormatError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let more = self.0.len().saturating_sub(24);
        self.0.truncate(24);
        self.0.insert(0, ["tensor", "expected", "found"].map(str::to_owned));
        let width = |i: usize| self.0.iter().map(|row| row[i].len()).max().unwrap_or(0);
        let (name, expected) = (width(0), width(1));
        let mut table = String::new();
        for [a, b, c] in &self.0 {
            let _ = writeln!(table, "  {a:name$}  {b:expected$}  {c}");
        }
        if more > 0 {
            let _ = writeln!(table, "  ... and {more} more");
        }
        Err(FormatError::Tensors { table: table.trim_end().to_owned() })
    }
}

/// Takes tensors out of the file's map by name, checking shapes.
struct Taker {
    tensors: Tensors,
    complaints: Complaints,
}

impl Taker {
    fn take(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        match self.tensors.remove(name) {
            None => {
                self.complaints.add(name, format!("{shape:?}"), "missing");
                Vec::new()
            }
            Some(tensor) if tensor.shape != shape => {
                self.complaints.add(name, format!("{shape:?}"), format!("{:?}", tensor.shape));
                Vec::new()
            }
            Some(tensor) => tensor.data,
        }
    }

    fn take_if(&mut self, wanted: bool, name: &str, shape: &[usize]) -> Vec<f32> {
        if wanted { self.take(name, shape) } else { Vec::new() }
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|t| t.shape.as_slice())
    }
}

/// Builds the checkpoint. `notes` receives what contradicts `config` or was left out.
///
/// # Errors
/// [`FormatError`]: one table of all missing, extra and misshapen tensors; or the first non-finite element; or a
/// dimension out of range.
pub fn checkpoint(mut tensors: Tensors, config: &Config, notes: &mut Vec<String>) -> Result<Checkpoint, FormatError> {
    finite(&tensors)?;
    // The one name that differs between the dialects.
    if let Some(embedding) = tensors.remove("backbone.embeddings.weight") {
        tensors.insert(EMBEDDING.to_owned(), embedding);
    }
    let mut taker = Taker { tensors, complaints: Complaints::default() };
    let Some(dims) = dims(&mut taker) else {
        taker.complaints.into_result()?;
        return Err(FormatError::Tensors { table: "  no layers".into() });
    };
    let vocab = taker.shape(EMBEDDING).map_or(0, |s| s[0]);
    let embedding = taker.take(EMBEDDING, &[vocab, dims.d_model]);
    let head = taker.tensors.contains_key(HEAD).then(|| taker.take(HEAD, &[vocab, dims.d_model]));
    let (d, di, layer_norm) = (dims.d_model, dims.d_inner, dims.norm == Norm::Layer);
    let mut without_conv_bias = 0;
    let mut layers = Vec::with_capacity(dims.n_layer);
    for l in 0..dims.n_layer {
        let name = |tail: &str| format!("backbone.layers.{l}.{tail}");
        let has_conv_bias = taker.tensors.contains_key(&name("mixer.conv1d.bias"));
        without_conv_bias += usize::from(!has_conv_bias);
        layers.push(Layer {
            norm: taker.take(&name("norm.weight"), &[d]),
            norm_bias: taker.take_if(layer_norm, &name("norm.bias"), &[d]),
            in_proj: taker.take(&name("mixer.in_proj.weight"), &[2 * di, d]),
            conv1d: taker.take(&name("mixer.conv1d.weight"), &[di, 1, dims.d_conv]),
            conv_bias: if has_conv_bias { taker.take(&name("mixer.conv1d.bias"), &[di]) } else { vec![0.0; di] },
            x_proj: taker.take(&name("mixer.x_proj.weight"), &[dims.x_proj_rows(), di]),
            dt_proj: taker.take(&name("mixer.dt_proj.weight"), &[di, dims.dt_rank]),
            dt_bias: taker.take(&name("mixer.dt_proj.bias"), &[di]),
            a_log: taker.take(&name("mixer.A_log"), &[di, dims.d_state]),
            d_skip: taker.take(&name("mixer.D"), &[di]),
            out_proj: taker.take(&name("mixer.out_proj.weight"), &[d, di]),
        });
    }
    let norm_f = taker.take("backbone.norm_f.weight", &[d]);
    let norm_f_bias = taker.take_if(layer_norm, "backbone.norm_f.bias", &[d]);
    for (name, tensor) in &taker.tensors {
        taker.complaints.add(name, "nothing", format!("{:?} (this model family has no such tensor)", tensor.shape));
    }
    taker.complaints.into_result()?;
    if without_conv_bias == dims.n_layer {
        notes.push("no convolution bias: zeros are used".into());
    }

    let mut checkpoint = Checkpoint {
        dims,
        norm_eps: config.norm_eps.unwrap_or(1e-5) as f32,
        embedding,
        layers,
        norm_f,
        norm_f_bias,
        head,
    };
    vocabulary(&mut checkpoint, vocab, notes)?;
    if checkpoint.head.as_ref() == Some(&checkpoint.embedding) {
        checkpoint.head = None;
        notes.push("lm_head.weight equals the embedding: the head is tied".into());
    }
    checkpoint.dims.tied_head = checkpoint.head.is_none();
    checkpoint.dims.tied_decays = tied_decays(&checkpoint);
    if let Some((name, found, low, high)) = checkpoint.dims.out_of_bounds() {
        return Err(FormatError::Dimension { name, found, low, high });
    }
    contradictions(&checkpoint.dims, config, notes);
    Ok(checkpoint)
}

const EMBEDDING: &str = "backbone.embedding.weight";
const HEAD: &str = "lm_head.weight";

fn finite(tensors: &Tensors) -> Result<(), FormatError> {
    for (name, Tensor { data, .. }) in tensors {
        if let Some(index) = data.iter().position(|x| !x.is_finite()) {
            return Err(FormatError::NonFinite { tensor: name.clone(), index, value: data[index] });
        }
    }
    Ok(())
}

/// The shape, from the tensors of the first layer and the number of layers. Complains and returns `None` if they do
/// not tell.
fn dims(taker: &mut Taker) -> Option<Dims> {
    let first = |tail: &str| format!("backbone.layers.0.{tail}");
    let n_layer = taker
        .tensors
        .keys()
        .filter_map(|name| name.strip_prefix("backbone.layers.")?.split('.').next()?.parse::<usize>().ok())
        .filter(|&l| l < 1 << 20)
        .max()
        .map_or(0, |l| l + 1);
    let axes = [
        (EMBEDDING.to_owned(), "[256, d_model]", 2),
        (first("mixer.A_log"), "[d_inner, d_state]", 2),
        (first("mixer.conv1d.weight"), "[d_inner, 1, d_conv]", 3),
        (first("mixer.dt_proj.weight"), "[d_inner, dt_rank]", 2),
    ];
    let mut shapes = Vec::new();
    for (name, expected, rank) in axes {
        match taker.shape(&name).map(<[usize]>::to_vec) {
            Some(shape) if shape.len() == rank => shapes.push(shape),
            Some(shape) => taker.complaints.add(&name, expected, format!("{shape:?}")),
            None => taker.complaints.add(&name, expected, "missing"),
        }
    }
    let [embedding, a_log, conv, dt_proj] = shapes.as_slice() else { return None };
    let dims = Dims {
        d_model: embedding[1],
        n_layer,
        d_inner: a_log[0],
        d_state: a_log[1],
        d_conv: conv[2],
        dt_rank: dt_proj[1],
        norm: if taker.shape("backbone.norm_f.bias").is_some() { Norm::Layer } else { Norm::Rms },
        tied_head: true,
        tied_decays: false,
    };
    if let Some((name, found, low, high)) = dims.out_of_bounds() {
        taker.complaints.add(name, format!("{low}..={high}"), found);
        return None;
    }
    Some(dims)
}

/// Exactly 256 rows are kept; a byte model has no use for more.
fn vocabulary(c: &mut Checkpoint, vocab: usize, notes: &mut Vec<String>) -> Result<(), FormatError> {
    if vocab < VOCAB {
        let table = format!("  {EMBEDDING}  expected 256 rows or more, found {vocab}");
        return Err(FormatError::Tensors { table });
    }
    if vocab > VOCAB {
        let keep = VOCAB * c.dims.d_model;
        let used = c.embedding[keep..].iter().any(|&x| x != 0.0);
        c.embedding.truncate(keep);
        if let Some(head) = &mut c.head {
            head.truncate(keep);
        }
        let what = if used { "special ids: text that needs them cannot be represented" } else { "padding" };
        notes.push(format!("vocabulary rows 256..{vocab} dropped ({what})"));
    }
    Ok(())
}

/// Whether `A[d, n] = (n + 1) * A[d, 0]` in every layer and channel.
fn tied_decays(c: &Checkpoint) -> bool {
    let n = c.dims.d_state;
    let tied = |row: &[f32]| {
        row.iter().enumerate().all(|(i, a)| (a - row[0] - ((i + 1) as f32).ln()).abs() <= TIED_TOLERANCE)
    };
    n > 1 && c.layers.iter().all(|l| l.a_log.chunks_exact(n).all(tied))
}

/// What the config says against what the tensors are.
fn contradictions(dims: &Dims, config: &Config, notes: &mut Vec<String>) {
    for &(name, claimed) in &config.sizes {
        let actual = match name {
            "d_model" => dims.d_model,
            "n_layer" => dims.n_layer,
            "d_inner" => dims.d_inner,
            "d_state" => dims.d_state,
            "d_conv" => dims.d_conv,
            "dt_rank" => dims.dt_rank,
            _ => dims.d_inner / dims.d_model,
        };
        if claimed != actual as u64 {
            notes.push(format!("config.json says {name} = {claimed}, the tensors say {actual}"));
        }
    }
    let layer_norm = dims.norm == Norm::Layer;
    if config.rms_norm == Some(layer_norm) {
        let (says, is) = if layer_norm {
            ("true", "backbone.norm_f.bias is there: LayerNorm with bias")
        } else {
            ("false", "there is no norm bias: RMSNorm")
        };
        notes.push(format!("config.json says rms_norm = {says}, but {is}"));
    }
    if let Some(claimed) = config.tied_head.filter(|&t| t != dims.tied_head) {
        notes.push(format!("config.json says the head is {}, the tensors say otherwise", if claimed { "tied" } else { "untied" }));
    }
    if let Some(kind) = &config.foreign {
        notes.push(format!("config.json says the model is {kind}; the tensors are Mamba-1's"));
    }
    for key in &config.ignored {
        notes.push(format!("config.json: {key} is ignored"));
    }
}
