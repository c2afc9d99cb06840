//! What can be wrong with a checkpoint, with the file, tensor or dimension to blame.
//!
//! No message repeats its source: whoever prints an error prints the chain, as `miette` does.

use std::fmt;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::content::Foreign;
use super::safetensors::SafetensorsError;
use super::torch::TorchError;
use crate::output::shown;

/// The first few of many names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 8;
    let shown = names.get(..MOST).unwrap_or(names).join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

/// Why a checkpoint could not be loaded.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("cannot read {}", shown(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without weights.
    #[error("{} holds no weights", shown(dir))]
    #[diagnostic(help(
        "a checkpoint folder has config.json and model.safetensors, model.safetensors.index.json or pytorch_model.bin"
    ))]
    NoWeights {
        /// The folder.
        dir: PathBuf,
    },
    /// A folder with several candidates and none of the usual names.
    #[error("{} holds several files of weights: {}", shown(dir), files.join(", "))]
    #[diagnostic(help("name the file instead of the folder"))]
    Ambiguous {
        /// The folder.
        dir: PathBuf,
        /// Their names.
        files: Vec<String>,
    },
    /// A file of another kind.
    #[error("{} is {kind}", shown(path))]
    #[diagnostic(help("{}", kind.help()))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Foreign,
    },
    /// A FIFO, a device or a folder where a file should be.
    #[error("{} is no regular file", shown(path))]
    NoFile {
        /// Its path.
        path: PathBuf,
    },
    /// Some files of a set are not there, and no index says whether they are needed.
    #[error("{} is one of {of} files; missing: {}", shown(path), listed(missing))]
    #[diagnostic(help("copy the missing files, or {index} if the others belong to something else"))]
    SetIncomplete {
        /// The file.
        path: PathBuf,
        /// How many there should be.
        of: u32,
        /// Names of those that are not there.
        missing: Vec<String>,
        /// Name that an index would have.
        index: String,
    },
    /// The files lack what config.json promises.
    #[error("config.json promises {promised}, the tensors have {found}")]
    #[diagnostic(help(
        "a part of the checkpoint was not saved or not copied; if it is config.json that is wrong, --trust-tensors loads \
         what is there"
    ))]
    Promised {
        /// What it says.
        promised: String,
        /// What there is.
        found: String,
    },
    /// Nothing says which rows of the vocabulary are the bytes.
    #[error("the vocabulary has {rows} rows: {why}")]
    #[diagnostic(help(
        "--byte-offset N says which row is byte 0: 0 if the 256 bytes come first, 3 if three special ids do (ByT5)"
    ))]
    ByteOffset {
        /// Rows of the embedding.
        rows: usize,
        /// What is missing or wrong.
        why: String,
    },
    /// config.json is no JSON object.
    #[error("{} is not understood", shown(path))]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// config.json describes another architecture than Mamba-1.
    #[error("config.json says {key} = {value}, which is not supported")]
    #[diagnostic(help(
        "only Mamba-1 blocks with SiLU are read; these weights would load and give nonsense (--trust-tensors accepts a name \
         in `architectures`)"
    ))]
    Architecture {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// The safetensors file or index is at fault.
    #[error("cannot use {}", shown(path))]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SafetensorsError,
    },
    /// The PyTorch file is at fault.
    #[error("cannot use {}", shown(path))]
    Torch {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TorchError,
    },
    /// The index names shards that are not there.
    #[error("{} lists files that are missing: {}", shown(index), listed(shards))]
    #[diagnostic(help("copy them into the folder of the index"))]
    ShardMissing {
        /// The index.
        index: PathBuf,
        /// File names of the shards.
        shards: Vec<String>,
    },
    /// No tensor has the name of one in a Mamba.
    #[error("no tensor is named as in a Mamba, `backbone.layers.0.mixer...` (found {})", names.join(", "))]
    #[diagnostic(help(
        "names must be those of MambaForCausalLM or of state-spaces/mamba; the prefixes of torch.compile and of \
         wrappers (_orig_mod, module, model, net) may be in front, and backbone may be left out"
    ))]
    NotMamba {
        /// The first few names there are.
        names: Vec<String>,
    },
    /// A name occurs twice.
    #[error("tensor `{tensor}` occurs twice{}", if first == tensor { String::new() } else { format!(", also as `{first}`") })]
    Duplicate {
        /// Its name.
        tensor: String,
        /// The name that it had first.
        first: String,
    },
    /// The embedding is too small, or far too large for bytes.
    #[error("the vocabulary has {found} rows; a byte model has 256, and at most {max} with padding and special ids")]
    Vocabulary {
        /// Rows of the embedding.
        found: usize,
        /// Most rows accepted.
        max: usize,
    },
    /// A dimension is outside what this crate runs.
    #[error("{dimension} = {found} is outside {min}..={max}")]
    Range {
        /// Its name.
        dimension: &'static str,
        /// Its value, from the tensors.
        found: usize,
        /// Smallest accepted.
        min: usize,
        /// Largest accepted.
        max: usize,
    },
    /// Missing, extra and misshapen tensors, all of them.
    #[error(transparent)]
    #[diagnostic(help("the dimensions were taken from the shapes that most tensors agree on"))]
    Tensors(TensorTable),
    /// A weight is infinite or not a number.
    #[error("tensor `{tensor}` has {value} at index {index}")]
    NonFinite {
        /// Its name.
        tensor: String,
        /// Row-major index.
        index: usize,
        /// What is there.
        value: f32,
    },
}

/// One tensor that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// Shape wanted, `none` for an extra tensor.
    pub expected: String,
    /// Shape in the file, `missing` if there is none.
    pub found: String,
}

/// Every tensor that does not fit, printed as a table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct TensorTable {
    /// At least one.
    pub rows: Vec<Mismatch>,
}

impl fmt::Display for TensorTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        let shown = self.rows.get(..MOST).unwrap_or(&self.rows);
        let width = |column: fn(&Mismatch) -> &str, title: &str| {
            shown.iter().map(|row| column(row).chars().count()).max().unwrap_or(0).max(title.len())
        };
        let (name, expected) = (width(|row| &row.name, "name"), width(|row| &row.expected, "expected"));
        let plural = if self.rows.len() == 1 { "tensor does" } else { "tensors do" };
        writeln!(f, "{} {plural} not fit:", self.rows.len())?;
        write!(f, "  {:name$}  {:expected$}  found", "name", "expected")?;
        for row in shown {
            write!(f, "\n  {:name$}  {:expected$}  {}", row.name, row.expected, row.found)?;
        }
        match self.rows.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "\n  ... and {more} more"),
        }
    }
}
