//! The operations of a step.

use mambabyte_core::{Norm, VOCAB};
use mambabyte_host::Checkpoint;

use super::error::OnnxError;
use super::graph::{Maker, axes, axis, integer};
use super::proto::{FLOAT, Graph, INT64};
use crate::formats::write::tensors;

/// The graph of a step.
///
/// # Errors
/// [`OnnxError::NotFinite`] names the tensor.
pub(super) fn graph(checkpoint: &Checkpoint) -> Result<Graph, OnnxError> {
    let dims = &checkpoint.dims;
    let mut maker = Maker::default();
    let conv = [Some(dims.n_layer), None, Some(dims.d_inner), Some(dims.d_conv - 1)];
    let ssm = [Some(dims.n_layer), None, Some(dims.d_inner), Some(dims.d_state)];
    maker.input("byte", INT64, &[None], "The byte that each stream reads, 0 to 255.");
    maker.input(
        "conv",
        FLOAT,
        &conv,
        "Inputs of each layer's convolution, of the bytes before, the newest last; zeros at first.",
    );
    maker.input("ssm", FLOAT, &ssm, "The states of each layer; zeros at first.");
    weights(&mut maker, checkpoint)?;
    constants(&mut maker, checkpoint);

    let mut residual = maker.op_with("Gather", &["backbone.embeddings.weight", "byte"], "embedding", vec![axis(0)]);
    let (mut convs, mut states) = (Vec::new(), Vec::new());
    for number in 0..dims.n_layer {
        maker.part = format!("layers.{number}/");
        let made = Layer { maker: &mut maker, number, norm: dims.norm }.step(&residual);
        residual = made.residual;
        convs.push(made.conv);
        states.push(made.ssm);
    }
    maker.part = "norm_f/".to_owned();
    let last = norm(&mut maker, dims.norm, &residual, "backbone.norm_f");
    maker.part.clear();
    let head = if checkpoint.head.is_some() { "lm_head.weight" } else { "backbone.embeddings.weight" };
    maker.project(&last, head, None, "logits");
    let concat = |maker: &mut Maker, parts: &[String], name: &str| {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        maker.op_with("Concat", &parts, name, vec![axis(0)]);
    };
    concat(&mut maker, &convs, "conv_out");
    concat(&mut maker, &states, "ssm_out");
    maker.output("logits", &[None, Some(VOCAB)], "Natural logits of the next byte.");
    maker.output("conv_out", &conv, "The next step's conv.");
    maker.output("ssm_out", &ssm, "The next step's ssm.");
    Ok(maker.finish("step"))
}

/// The tensors of the checkpoint.
///
/// # Errors
/// [`OnnxError::NotFinite`].
fn weights(maker: &mut Maker, checkpoint: &Checkpoint) -> Result<(), OnnxError> {
    for (name, shape, values) in tensors(checkpoint) {
        let not_finite = |name: &str| OnnxError::NotFinite { tensor: name.to_owned() };
        if let Some(layer) = name.strip_suffix("A_log") {
            let a = || values.iter().map(|a_log| -a_log.exp());
            if !a().all(f32::is_finite) {
                return Err(not_finite(&name));
            }
            maker.floats(&format!("{layer}A"), &shape, a());
            continue;
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(not_finite(&name));
        }
        // [d_inner, 1, d_conv]: its window has no axis for the channels of a group.
        let shape: Vec<usize> = if name.ends_with("conv1d.weight") { vec![shape[0], shape[2]] } else { shape };
        maker.floats(&name, &shape, values.iter().copied());
    }
    Ok(())
}

/// What operations are told by inputs.
fn constants(maker: &mut Maker, checkpoint: &Checkpoint) {
    let dims = &checkpoint.dims;
    let int = |n: usize| n as i64;
    for axis in 0..3 {
        maker.integers(&format!("axis_{axis}"), &[1], &[axis]);
    }
    maker.integers("one", &[1], &[1]);
    maker.integers("d_conv", &[1], &[int(dims.d_conv)]);
    maker.integers("halves", &[2], &[int(dims.d_inner); 2]);
    maker.integers("selected", &[3], &[int(dims.dt_rank), int(dims.d_state), int(dims.d_state)]);
    maker.floats("eps", &[], std::iter::once(checkpoint.norm_eps));
    for layer in 0..dims.n_layer {
        maker.integers(&format!("layer_{layer}"), &[], &[int(layer)]);
    }
}

/// RMSNorm or LayerNorm.
fn norm(maker: &mut Maker, kind: Norm, input: &str, weights: &str) -> String {
    let mean = |maker: &mut Maker, of: &str, name: &str| {
        maker.op_with("ReduceMean", &[of], name, vec![axes(&[-1]), integer("keepdims", 1)])
    };
    let centred = match kind {
        Norm::Rms => input.to_owned(),
        Norm::Layer => {
            let mean = mean(maker, input, "mean");
            maker.op("Sub", &[input, &mean], "centred")
        }
    };
    let squares = maker.op("Mul", &[&centred, &centred], "squares");
    let variance = mean(maker, &squares, "variance");
    let sum = maker.op("Add", &[&variance, "eps"], "variance_eps");
    let root = maker.op("Sqrt", &[&sum], "deviation");
    let normal = maker.op("Div", &[&centred, &root], "normal");
    let scaled = maker.op("Mul", &[&normal, &format!("{weights}.weight")], "scaled");
    match kind {
        Norm::Rms => scaled,
        Norm::Layer => maker.op("Add", &[&scaled, &format!("{weights}.bias")], "normed"),
    }
}

/// A layer, while its operations are made.
struct Layer<'m> {
    maker: &'m mut Maker,
    number: usize,
    norm: Norm,
}

/// Names of what a layer gives.
struct Made {
    /// `[batch, d_model]`.
    residual: String,
    /// `[1, batch, d_inner, d_conv - 1]`.
    conv: String,
    /// `[1, batch, d_inner, d_state]`.
    ssm: String,
}

impl Layer<'_> {
    /// The name of a tensor of the mixer.
    fn mixer(&self, tensor: &str) -> String {
        format!("backbone.layers.{}.mixer.{tensor}", self.number)
    }

    fn step(mut self, residual: &str) -> Made {
        let [in_proj, x_proj, dt_proj, dt_bias, d, out_proj] =
            ["in_proj.weight", "x_proj.weight", "dt_proj.weight", "dt_proj.bias", "D", "out_proj.weight"]
                .map(|tensor| self.mixer(tensor));
        let u = norm(self.maker, self.norm, residual, &format!("backbone.layers.{}.norm", self.number));
        let xz = self.maker.project(&u, &in_proj, None, "in_proj");
        let [newest, z] = self.maker.split(&xz, "halves", ["x_in", "z"]);
        let (x, conv) = self.conv1d(&newest);
        let maker = &mut *self.maker;
        let selected = maker.project(&x, &x_proj, None, "x_proj");
        let [dt, b, c] = maker.split(&selected, "selected", ["dt", "B", "C"]);
        let dt = maker.project(&dt, &dt_proj, Some(&dt_bias), "dt_proj");
        let delta = maker.op("Softplus", &[&dt], "delta");
        let (y, ssm) = self.scan(&x, &delta, &b, &c);
        let maker = &mut *self.maker;
        let skip = maker.op("Mul", &[&x, &d], "skip");
        let y = maker.op("Add", &[&y, &skip], "y");
        let gate = maker.silu(&z, "gate");
        let gated = maker.op("Mul", &[&y, &gate], "gated");
        let out = maker.project(&gated, &out_proj, None, "out_proj");
        Made { residual: maker.op("Add", &[residual, &out], "residual"), conv, ssm }
    }

    /// What the convolution makes of the newest input `[batch, d_inner]` and those before it, and what it keeps.
    fn conv1d(&mut self, newest: &str) -> (String, String) {
        let (weight, bias) = (self.mixer("conv1d.weight"), self.mixer("conv1d.bias"));
        let layer = format!("layer_{}", self.number);
        let maker = &mut *self.maker;
        let before = maker.op_with("Gather", &["conv", &layer], "conv_in", vec![axis(0)]);
        let newest = maker.unsqueeze(newest, "axis_2", "newest");
        let window = maker.op_with("Concat", &[&before, &newest], "window", vec![axis(2)]);
        let kept = maker.op("Slice", &[&window, "one", "d_conv", "axis_2"], "kept");
        let kept = maker.unsqueeze(&kept, "axis_0", "conv_out");
        let taps = maker.op("Mul", &[&window, &weight], "taps");
        let sum = maker.op_with("ReduceSum", &[&taps, "axis_2"], "conv1d", vec![integer("keepdims", 0)]);
        let sum = maker.op("Add", &[&sum, &bias], "conv1d_bias");
        (maker.silu(&sum, "x"), kept)
    }

    /// The selective scan of one byte: `C h` `[batch, d_inner]`, and the new `h`.
    fn scan(&mut self, x: &str, delta: &str, b: &str, c: &str) -> (String, String) {
        let (a, layer) = (self.mixer("A"), format!("layer_{}", self.number));
        let maker = &mut *self.maker;
        let before = maker.op_with("Gather", &["ssm", &layer], "h_in", vec![axis(0)]);
        let steps = maker.unsqueeze(delta, "axis_2", "steps");
        let exponent = maker.op("Mul", &[&steps, &a], "exponent");
        let decay = maker.op("Exp", &[&exponent], "decay");
        let decayed = maker.op("Mul", &[&decay, &before], "decayed");
        let delta_x = maker.op("Mul", &[delta, x], "delta_x");
        let delta_x = maker.unsqueeze(&delta_x, "axis_2", "delta_x_column");
        let b = maker.unsqueeze(b, "axis_1", "B_row");
        let added = maker.op("Mul", &[&delta_x, &b], "added");
        let h = maker.op("Add", &[&decayed, &added], "h");
        let c = maker.unsqueeze(c, "axis_1", "C_row");
        let seen = maker.op("Mul", &[&h, &c], "seen");
        let y = maker.op_with("ReduceSum", &[&seen, "axis_2"], "C_h", vec![integer("keepdims", 0)]);
        (y, maker.unsqueeze(&h, "axis_0", "ssm_out"))
    }
}
