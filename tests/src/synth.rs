//! Random checkpoints and writers for every container that `mambabyte::formats` reads.
//!
//! The generator is deterministic and initialises as Mamba does, so that a model of any shape runs with activations of
//! sensible size. The pickle is emitted opcode by opcode in the order of `torch.save`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mambabyte_core::{Dims, Norm, VOCAB};
use mambabyte_host::{Checkpoint, Layer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use zip::write::SimpleFileOptions;

/// Shape and kind of a random checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Width inside a block.
    pub d_inner: usize,
    /// States per channel.
    pub d_state: usize,
    /// Taps of the convolution.
    pub d_conv: usize,
    /// Rank of the delta projection.
    pub dt_rank: usize,
    /// Kind of normalisation.
    pub norm: Norm,
    /// The head is the embedding.
    pub tied_head: bool,
    /// `A_log[d, n] = A_log[d, 0] + ln(n + 1)` in every channel.
    pub tied_decays: bool,
    /// Two equal specs with equal seeds give equal checkpoints.
    pub seed: u64,
}

impl Spec {
    /// The least regular shape that is allowed: LayerNorm, untied head, odd sizes, as no shipped model has.
    pub const ODD: Spec = Spec {
        d_model: 48,
        n_layer: 2,
        d_inner: 96,
        d_state: 5,
        d_conv: 3,
        dt_rank: 3,
        norm: Norm::Layer,
        tied_head: false,
        tied_decays: false,
        seed: 1,
    };
    /// The usual kind: RMSNorm, tied head, powers of two.
    pub const PLAIN: Spec = Spec {
        d_model: 32,
        n_layer: 2,
        d_inner: 64,
        d_state: 8,
        d_conv: 4,
        dt_rank: 2,
        norm: Norm::Rms,
        tied_head: true,
        tied_decays: true,
        seed: 2,
    };
}

/// SplitMix64; the same numbers on every machine.
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Nearly normal with mean 0 and variance 1: a sum of twelve, so that no function of libm is involved.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    fn normals(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.normal() * scale).collect()
    }

    fn matrix(&mut self, rows: usize, fan_in: usize) -> Vec<f32> {
        self.normals(rows * fan_in, 1.0 / (fan_in as f32).sqrt())
    }

    /// Around 1, so that a forgotten scale shows.
    fn scales(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| 1.0 + 0.1 * self.normal()).collect()
    }
}

/// A random checkpoint, initialised as Mamba is before training.
pub fn checkpoint(spec: &Spec) -> Checkpoint {
    let mut random = Random::new(spec.seed);
    let &Spec { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays, .. } = spec;
    let dims = Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays };
    let biased = norm == Norm::Layer;
    let norm_bias = |random: &mut Random| if biased { random.normals(d_model, 0.1) } else { Vec::new() };
    let layers = (0..n_layer)
        .map(|_| Layer {
            norm: random.scales(d_model),
            norm_bias: norm_bias(&mut random),
            in_proj: random.matrix(2 * d_inner, d_model),
            conv1d: random.matrix(d_inner, d_conv),
            conv_bias: random.normals(d_inner, 0.1),
            x_proj: random.matrix(dt_rank + 2 * d_state, d_inner),
            dt_proj: random.matrix(d_inner, dt_rank),
            dt_bias: (0..d_inner).map(|_| dt_bias(&mut random)).collect(),
            a_log: (0..d_inner).flat_map(|_| a_log(&mut random, d_state, tied_decays)).collect(),
            d_skip: vec![1.0; d_inner],
            out_proj: random.matrix(d_model, d_inner),
        })
        .collect();
    Checkpoint {
        dims,
        norm_eps: 1e-5,
        embedding: random.matrix(VOCAB, d_model),
        layers,
        norm_f: random.scales(d_model),
        norm_f_bias: norm_bias(&mut random),
        head: (!tied_head).then(|| random.matrix(VOCAB, d_model)),
    }
}

/// Inverse softplus of a step between 1e-3 and 0.1, uniform in the logarithm.
fn dt_bias(random: &mut Random) -> f32 {
    let step = 1e-3 * 100_f32.powf(random.uniform());
    step.exp_m1().ln()
}

fn a_log(random: &mut Random, d_state: usize, tied: bool) -> Vec<f32> {
    let first = 0.1 * random.normal();
    (1..=d_state).map(|n| first + (n as f32).ln() + if tied { 0.0 } else { 0.1 * random.normal() }).collect()
}

/// Which name the embedding has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// state-spaces/mamba and the official MambaByte weights.
    Mamba,
    /// `MambaForCausalLM`.
    HuggingFace,
}

/// A tensor on its way to a file.
#[derive(Clone, Debug)]
pub struct Named {
    /// Full name.
    pub name: String,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Row-major elements.
    pub data: Vec<f32>,
}

/// All tensors of a checkpoint under their names; tests change this list to make bad files.
pub fn tensors(checkpoint: &Checkpoint, dialect: Dialect) -> Vec<Named> {
    let Dims { d_model, d_inner, d_state, d_conv, dt_rank, .. } = checkpoint.dims;
    let mut all = Vec::new();
    let mut push = |name: String, shape: &[usize], data: &[f32]| {
        if !data.is_empty() {
            all.push(Named { name, shape: shape.to_vec(), data: data.to_vec() });
        }
    };
    let embedding = match dialect {
        Dialect::Mamba => "backbone.embedding.weight",
        Dialect::HuggingFace => "backbone.embeddings.weight",
    };
    push(embedding.to_owned(), &[VOCAB, d_model], &checkpoint.embedding);
    for (l, layer) in checkpoint.layers.iter().enumerate() {
        let at = |name: &str| format!("backbone.layers.{l}.{name}");
        push(at("mixer.A_log"), &[d_inner, d_state], &layer.a_log);
        push(at("mixer.D"), &[d_inner], &layer.d_skip);
        push(at("mixer.in_proj.weight"), &[2 * d_inner, d_model], &layer.in_proj);
        push(at("mixer.conv1d.weight"), &[d_inner, 1, d_conv], &layer.conv1d);
        push(at("mixer.conv1d.bias"), &[d_inner], &layer.conv_bias);
        push(at("mixer.x_proj.weight"), &[dt_rank + 2 * d_state, d_inner], &layer.x_proj);
        push(at("mixer.dt_proj.weight"), &[d_inner, dt_rank], &layer.dt_proj);
        push(at("mixer.dt_proj.bias"), &[d_inner], &layer.dt_bias);
        push(at("mixer.out_proj.weight"), &[d_model, d_inner], &layer.out_proj);
        push(at("norm.weight"), &[d_model], &layer.norm);
        push(at("norm.bias"), &[d_model], &layer.norm_bias);
    }
    push("backbone.norm_f.weight".to_owned(), &[d_model], &checkpoint.norm_f);
    push("backbone.norm_f.bias".to_owned(), &[d_model], &checkpoint.norm_f_bias);
    push("lm_head.weight".to_owned(), &[VOCAB, d_model], checkpoint.head.as_deref().unwrap_or_default());
    all
}

/// A config.json that tells the truth about `checkpoint`.
pub fn config(checkpoint: &Checkpoint, dialect: Dialect) -> serde_json::Value {
    let dims = &checkpoint.dims;
    match dialect {
        Dialect::Mamba => serde_json::json!({
            "d_model": dims.d_model, "n_layer": dims.n_layer, "vocab_size": VOCAB,
            "ssm_cfg": { "d_state": dims.d_state, "d_conv": dims.d_conv, "dt_rank": dims.dt_rank,
                         "expand": dims.d_inner / dims.d_model },
            "rms_norm": dims.norm == Norm::Rms, "residual_in_fp32": true, "fused_add_norm": true,
            "pad_vocab_size_multiple": 8, "tie_embeddings": dims.tied_head,
        }),
        Dialect::HuggingFace => serde_json::json!({
            "model_type": "mamba", "hidden_size": dims.d_model, "num_hidden_layers": dims.n_layer,
            "vocab_size": VOCAB, "state_size": dims.d_state, "conv_kernel": dims.d_conv,
            "intermediate_size": dims.d_inner, "time_step_rank": dims.dt_rank, "hidden_act": "silu",
            "layer_norm_epsilon": checkpoint.norm_eps, "use_bias": false, "use_conv_bias": true,
            "tie_word_embeddings": dims.tied_head,
        }),
    }
}

/// Bytes of a safetensors file.
pub fn safetensors_bytes(tensors: &[Named], dtype: Dtype) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = tensors.iter().map(|tensor| encode(&tensor.data, dtype)).collect();
    let views = tensors.iter().zip(&encoded).map(|(tensor, bytes)| {
        (tensor.name.as_str(), TensorView::new(dtype, tensor.shape.clone(), bytes).expect("shape fits the data"))
    });
    safetensors::serialize(views, None).expect("a valid file")
}

fn encode(data: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => data.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::BF16 => data.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        Dtype::F64 => data.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
        other => panic!("{other:?} is no float that a checkpoint has"),
    }
}

/// Writes `model.safetensors` and a true config.json into `dir`.
pub fn save_safetensors(checkpoint: &Checkpoint, dir: &Path, dialect: Dialect, dtype: Dtype) {
    save_config(checkpoint, dir, dialect);
    fs::write(dir.join("model.safetensors"), safetensors_bytes(&tensors(checkpoint, dialect), dtype)).expect("written");
}

/// Writes `shards` files, their index and a true config.json into `dir`.
pub fn save_sharded(checkpoint: &Checkpoint, dir: &Path, dialect: Dialect, dtype: Dtype, shards: usize) {
    save_config(checkpoint, dir, dialect);
    let all = tensors(checkpoint, dialect);
    let mut weight_map = serde_json::Map::new();
    for (i, part) in all.chunks(all.len().div_ceil(shards)).enumerate() {
        let shard = format!("model-{:05}-of-{shards:05}.safetensors", i + 1);
        weight_map.extend(part.iter().map(|tensor| (tensor.name.clone(), shard.clone().into())));
        fs::write(dir.join(shard), safetensors_bytes(part, dtype)).expect("written");
    }
    let index = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": weight_map });
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).expect("written");
}

/// Writes what `torch.save(model.state_dict(), path)` would, in the dialect of the official weights.
pub fn save_torch_zip(checkpoint: &Checkpoint, path: &Path) {
    fs::write(path, torch_zip(&tensors(checkpoint, Dialect::Mamba))).expect("written");
}

fn save_config(checkpoint: &Checkpoint, dir: &Path, dialect: Dialect) {
    fs::create_dir_all(dir).expect("a folder");
    fs::write(dir.join("config.json"), config(checkpoint, dialect).to_string()).expect("written");
}

/// Bytes of a PyTorch file with one f32 storage for each tensor.
pub fn torch_zip(tensors: &[Named]) -> Vec<u8> {
    let storages: Vec<Vec<u8>> = tensors.iter().map(|tensor| encode(&tensor.data, Dtype::F32)).collect();
    torch_zip_of(&state_dict_pickle(tensors), &storages)
}

/// Wraps any program and storages as `torch.save` does.
pub fn torch_zip_of(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(name, options).expect("a new entry");
        zip.write_all(bytes).expect("written");
    };
    put("archive/data.pkl", pickle);
    put("archive/byteorder", b"little");
    for (key, storage) in storages.iter().enumerate() {
        put(&format!("archive/data/{key}"), storage);
    }
    put("archive/version", b"3\n");
    zip.finish().expect("a finished archive").into_inner()
}

/// The program that rebuilds a state dict, with memo and module versions as PyTorch writes them.
pub fn state_dict_pickle(tensors: &[Named]) -> Vec<u8> {
    let mut p = Pickler::new();
    p.ordered_dict();
    p.op(b"(");
    for (key, tensor) in tensors.iter().enumerate() {
        p.string(&tensor.name);
        p.rebuild_tensor("FloatStorage", key, tensor.data.len(), 0, &tensor.shape, &row_major(&tensor.shape));
    }
    p.op(b"u}");
    p.memoize();
    p.string("_metadata");
    p.ordered_dict();
    p.op(b"(");
    p.string("");
    p.op(b"}");
    p.memoize();
    p.string("version");
    p.op(b"K\x01susb.");
    p.bytes
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Emits the opcodes of protocol 2.
#[derive(Default)]
pub struct Pickler {
    /// The program so far.
    pub bytes: Vec<u8>,
    memo: u32,
}

impl Pickler {
    /// Starts with PROTO 2.
    pub fn new() -> Self {
        Self { bytes: vec![0x80, 2], memo: 0 }
    }

    /// Opcodes, unchanged.
    pub fn op(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// BINPUT or LONG_BINPUT into the next slot.
    pub fn memoize(&mut self) {
        match u8::try_from(self.memo) {
            Ok(slot) => self.op(&[b'q', slot]),
            Err(_) => {
                self.op(b"r");
                self.op(&self.memo.to_le_bytes());
            }
        }
        self.memo += 1;
    }

    /// BINUNICODE.
    pub fn string(&mut self, text: &str) {
        self.op(b"X");
        self.op(&u32::try_from(text.len()).expect("short").to_le_bytes());
        self.op(text.as_bytes());
        self.memoize();
    }

    /// The shortest integer opcode.
    pub fn int(&mut self, int: usize) {
        if let Ok(int) = u8::try_from(int) {
            self.op(&[b'K', int]);
        } else if let Ok(int) = u16::try_from(int) {
            self.op(b"M");
            self.op(&int.to_le_bytes());
        } else if let Ok(int) = i32::try_from(int) {
            self.op(b"J");
            self.op(&int.to_le_bytes());
        } else {
            self.op(&[0x8a, 8]);
            self.op(&(int as u64).to_le_bytes());
        }
    }

    /// GLOBAL.
    pub fn global(&mut self, module: &str, name: &str) {
        self.op(format!("c{module}\n{name}\n").as_bytes());
        self.memoize();
    }

    /// A tuple of sizes.
    pub fn sizes(&mut self, sizes: &[usize]) {
        match sizes.len() {
            0 => return self.op(b")"),
            1..=3 => {
                sizes.iter().for_each(|&size| self.int(size));
                self.op(&[0x84 + sizes.len() as u8]);
            }
            _ => {
                self.op(b"(");
                sizes.iter().for_each(|&size| self.int(size));
                self.op(b"t");
            }
        }
        self.memoize();
    }

    /// `collections.OrderedDict()`.
    pub fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.op(b")R");
        self.memoize();
    }

    /// `torch._utils._rebuild_tensor_v2` over one storage.
    pub fn rebuild_tensor(
        &mut self,
        storage: &str,
        key: usize,
        elements: usize,
        offset: usize,
        shape: &[usize],
        strides: &[usize],
    ) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.op(b"((");
        self.string("storage");
        self.global("torch", storage);
        self.string(&key.to_string());
        self.string("cuda:0");
        self.int(elements);
        self.op(b"t");
        self.memoize();
        self.op(b"Q");
        self.int(offset);
        self.sizes(shape);
        self.sizes(strides);
        self.op(&[0x89]);
        self.ordered_dict();
        self.op(b"t");
        self.memoize();
        self.op(b"R");
        self.memoize();
    }
}

/// An empty folder of its own for one test below `base` (`env!("CARGO_TARGET_TMPDIR")`).
pub fn fresh_dir(base: &str, name: &str) -> PathBuf {
    let dir = Path::new(base).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a folder");
    dir
}
