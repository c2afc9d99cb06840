//! `cargo xtask cuda ...`: compiles the GPU kernels, without a GPU and without an installed CUDA.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use sha2::{Digest, Sha256};

use crate::route::Missing;

/// The compiler, exactly: PTX of a newer one does not load on drivers of CUDA 13.0.
const WHEELS: [&str; 6] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];
const TARGETS: [&str; 4] =
    ["-gencode", "arch=compute_80,code=sm_80", "-gencode", "arch=compute_90,code=[sm_90,compute_90]"];

/// The chores.
#[derive(Subcommand)]
pub(crate) enum Cuda {
    /// Compile host/src/cuda/kernels/*.cu into the fatbins beside them; needs python3 and a C++ compiler
    Build {
        /// Only these files, without `.cu`. Default: those whose sources have changed
        names: Vec<String>,
    },
    /// Check that the committed fatbins are of these sources, by their hashes
    Check {
        /// Also compile all kernels anew and compare: other code and register spills fail. Then compile them by NVRTC
        #[arg(long)]
        all: bool,
    },
}

/// Runs a chore.
pub(crate) fn run(root: &Path, chore: Cuda) -> Result<()> {
    let sources = sources(root)?;
    match chore {
        Cuda::Build { names } => {
            if let Some(unknown) = names.iter().find(|n| !sources.iter().any(|s| s.name == **n)) {
                bail!("{unknown}: there is no host/src/cuda/kernels/{unknown}.cu");
            }
            let wanted = |s: &&Source| names.contains(&s.name) || names.is_empty() && !s.is_current();
            let wanted: Vec<_> = sources.iter().filter(wanted).collect();
            if wanted.is_empty() {
                println!("all fatbins are current");
                return Ok(());
            }
            let toolkit = Toolkit::find(root)?;
            for source in wanted {
                let fatbin = toolkit.compile(source, &source.path.with_extension("fatbin"))?;
                std::fs::write(source.path.with_extension("hash"), source.hash_file(&fatbin))?;
                println!("{}: {} bytes", source.name, fatbin.len());
            }
            Ok(())
        }
        Cuda::Check { all } => {
            current(&sources)?;
            if all { compile(root, &sources) } else { Ok(()) }
        }
    }
}

/// What `build` compiled, and found without spills, has not changed since.
fn current(sources: &[Source]) -> Result<()> {
    if let Some(stale) = sources.iter().find(|s| !s.is_current()) {
        bail!("{}.fatbin is not of these sources: run `cargo xtask cuda build` and commit it", stale.name);
    }
    for source in sources {
        println!("{}: the fatbin is of these sources", source.name);
    }
    Ok(())
}

/// The compilers make of the sources what is committed.
fn compile(root: &Path, sources: &[Source]) -> Result<()> {
    let toolkit = Toolkit::find(root)?;
    let folder = root.join("target/cuda");
    std::fs::create_dir_all(&folder)?;
    for source in sources {
        let fatbin = toolkit.compile(source, &folder.join(&source.name).with_extension("fatbin"))?;
        if source.hash_file(&fatbin) != source.stored() {
            bail!("{}.fatbin is not what nvcc makes of its sources: run `cargo xtask cuda build`", source.name);
        }
        println!("{}: {} bytes, the same as committed, no spills", source.name, fatbin.len());
    }
    let mut cargo = Command::new("cargo");
    // Of the whole workspace, as the test command builds it.
    cargo.args(["test", "--quiet", "--workspace", "--features", "mambabyte/cuda", "--lib", "--", "--ignored"]);
    cargo.arg("nvrtc_compiles").current_dir(root).env("LD_LIBRARY_PATH", toolkit.root.join("lib"));
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("NVRTC does not compile the kernels");
    }
    println!("NVRTC compiles them too");
    Ok(())
}

/// A `.cu` file with what it includes.
struct Source {
    name: String,
    path: PathBuf,
    flags: Vec<String>,
    hash: String,
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn headers(folder: &Path, source: &str, found: &mut BTreeSet<String>) -> Result<()> {
    for line in source.lines() {
        let Some(name) = line.strip_prefix("#include \"").and_then(|l| l.strip_suffix('"')) else { continue };
        if found.insert(name.to_owned()) {
            let text = std::fs::read_to_string(folder.join(name)).with_context(|| format!("header {name}"))?;
            headers(folder, &text, found)?;
        }
    }
    Ok(())
}

fn sources(root: &Path) -> Result<Vec<Source>> {
    let folder = root.join("host/src/cuda/kernels");
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(&folder).context("host/src/cuda/kernels")? {
        let path = entry?.path();
        let (Some("cu"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) else { continue };
        let name = name.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)?;
        let mut names = BTreeSet::new();
        headers(&folder, &text, &mut names)?;
        let mut digest = Sha256::new_with_prefix(&text);
        for header in &names {
            digest.update(std::fs::read(folder.join(header))?);
        }
        let flags = text.lines().next().and_then(|line| line.strip_prefix("// nvcc:")).unwrap_or("");
        let flags = flags.split_whitespace().map(str::to_owned).collect();
        sources.push(Source { name, flags, hash: hex(digest), path });
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

impl Source {
    fn stored(&self) -> String {
        std::fs::read_to_string(self.path.with_extension("hash")).unwrap_or_default()
    }

    fn hash_file(&self, fatbin: &[u8]) -> String {
        format!("sources {}\nfatbin {}\n", self.hash, hex(Sha256::new_with_prefix(fatbin)))
    }

    fn is_current(&self) -> bool {
        std::fs::read(self.path.with_extension("fatbin")).is_ok_and(|f| self.hash_file(&f) == self.stored())
    }
}

/// The compiler.
struct Toolkit {
    root: PathBuf,
}

impl Toolkit {
    /// In `target/nvcc`, where it is installed the first time.
    fn find(root: &Path) -> Result<Self> {
        let venv = root.join("target/nvcc");
        let done = venv.join("installed");
        let wheels = WHEELS.join("\n");
        if std::fs::read_to_string(&done).unwrap_or_default() != wheels {
            eprintln!("installing nvcc into {}", venv.display());
            let missing = |e: std::io::Error| Missing(format!("python3: {e}"));
            let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().map_err(missing)?;
            let mut pip = Command::new(venv.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(WHEELS);
            if !made.success() || !pip.status().is_ok_and(|s| s.success()) {
                return Err(Missing("nvcc: its wheels could not be installed by pip".into()).into());
            }
            std::fs::write(&done, wheels)?;
        }
        let mut python = Command::new(venv.join("bin/python"));
        let output = python.args(["-c", "import nvidia.cu13 as m; print(list(m.__path__)[0])"]).output()?;
        Ok(Self { root: PathBuf::from(String::from_utf8(output.stdout)?.trim()) })
    }

    /// Compiles `source` into `output`; register spills are an error.
    fn compile(&self, source: &Source, output: &Path) -> Result<Vec<u8>> {
        let mut nvcc = Command::new(self.root.join("bin/nvcc"));
        nvcc.args(["-O3", "-std=c++17", "-Xptxas", "-v", "-Werror", "all-warnings", "-fatbin"]).args(TARGETS);
        nvcc.args(&source.flags).arg("-o").arg(output).arg(&source.path);
        let result = nvcc.output().context("nvcc could not be started")?;
        let report = String::from_utf8_lossy(&result.stderr);
        if !result.status.success() {
            bail!("{}.cu does not compile:\n{report}", source.name);
        }
        let mut kernel = "";
        for line in report.lines() {
            if let Some(name) = line.split("Compiling entry function '").nth(1) {
                kernel = name.split('\'').next().unwrap_or(name);
            }
            let spills = |what: &str| {
                let before = line.split(what).next().unwrap_or("");
                line.contains(what) && before.rsplit(' ').next() != Some("0")
            };
            if spills(" bytes spill stores") || spills(" bytes spill loads") {
                std::fs::remove_file(output)?;
                bail!("{}.cu: {kernel} spills registers: {}", source.name, line.trim());
            }
        }
        Ok(std::fs::read(output)?)
    }
}
