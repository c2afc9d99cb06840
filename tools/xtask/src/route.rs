//! Which toolchain builds for a chip: an installed target, library source beside the compiler, or Debian's compiler
//! with its library source. Nothing is installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const DEBIAN: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// Something has to be installed first.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// A way to build for a target.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// What it is, for people.
    pub(crate) name: String,
    cargo: &'static str,
    build_std: bool,
    debian: bool,
    linker: Option<PathBuf>,
}

impl Route {
    /// The first way that is there.
    ///
    /// # Errors
    /// If there is none: what would help.
    pub(crate) fn find(target: &str) -> Result<Self> {
        let here = rustc("rustc", &["--version"])?;
        let route = |name, build_std, debian| Self { name, cargo: "cargo", build_std, debian, linker: None };
        let libraries = rustc("rustc", &["--print", "target-libdir", "--target", target]).unwrap_or_default();
        if has_core(Path::new(&libraries)) {
            return Ok(route(format!("installed target of {here}"), false, false));
        }
        let sysroot = PathBuf::from(rustc("rustc", &["--print", "sysroot"])?);
        if has_source(&sysroot) {
            return Ok(route(format!("library source of {here}"), true, false));
        }
        if let Ok(version) = rustc(DEBIAN, &["--version"])
            && has_source(Path::new(&rustc(DEBIAN, &["--print", "sysroot"])?))
        {
            // Debian's compiler brings no linker for chips: rustup's, else lld.
            let host = rustc(DEBIAN, &["-vV"])?;
            let host = host.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default();
            let own = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
            let linker = Some(if own.exists() { own } else { PathBuf::from("ld.lld") });
            let name = format!("library source of {DEBIAN}, {version}");
            return Ok(Self { name, cargo: "/usr/bin/cargo", build_std: true, debian: true, linker });
        }
        bail!(Missing(format!(
            "no toolchain for {target}. One of these helps:\n  rustup target add {target}\n  \
             rustup component add rust-src\n  apt-get install rustc-web cargo-web rust-web-src"
        )))
    }

    /// A cargo command, `cargo COMMAND --profile PROFILE --target TARGET`, its output under `firmware/target`.
    pub(crate) fn cargo(&self, root: &Path, command: &str, target: &str, cpu: Option<&str>, profile: &str) -> Command {
        // A `cargo` in front of Debian's would bring its own clippy.
        let debian_clippy = self.debian && command == "clippy";
        let mut cargo = Command::new(if debian_clippy { DEBIAN_CLIPPY } else { self.cargo });
        // A cargo that was started by cargo or rustup would pass on its own toolchain.
        for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            cargo.env_remove(variable);
        }
        cargo.arg(command).args(["--quiet", "--profile", profile, "--target", target]);
        cargo.env("CARGO_TARGET_DIR", self.output(root));
        let upper = target.to_uppercase().replace(['-', '.'], "_");
        if let Some(cpu) = cpu {
            cargo.env(format!("CARGO_TARGET_{upper}_RUSTFLAGS"), format!("-Ctarget-cpu={cpu}"));
        }
        if self.build_std {
            cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
        }
        if self.debian {
            cargo.env("RUSTC", DEBIAN).env("RUSTDOC", "/usr/bin/rustdoc").env("CARGO", self.cargo);
        }
        if let Some(linker) = &self.linker {
            cargo.env(format!("CARGO_TARGET_{upper}_LINKER"), linker);
        }
        cargo
    }

    /// Whether the toolchain has clippy.
    ///
    /// # Errors
    /// [`Missing`] if it does not.
    pub(crate) fn clippy(&self) -> Result<()> {
        if self.debian && !Path::new(DEBIAN_CLIPPY).exists() {
            bail!(Missing(format!("{}: no clippy (apt-get install rust-web-clippy)", self.name)));
        }
        let found = Command::new(if self.debian { DEBIAN_CLIPPY } else { "cargo-clippy" }).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            bail!(Missing(format!("{}: no clippy (rustup component add clippy)", self.name)));
        }
        Ok(())
    }

    /// Where the results are.
    pub(crate) fn output(&self, root: &Path) -> PathBuf {
        root.join("firmware/target").join(if self.debian { "debian" } else { "" })
    }
}

/// What `rustc ARGS` prints.
fn rustc(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .env_remove("RUSTC")
        .output()
        .with_context(|| format!("{program} could not be started"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn has_core(libraries: &Path) -> bool {
    let names = libraries.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name: OsString| name.into_string().ok())
        .any(|n| n.starts_with("libcore-") && n.ends_with(".rlib"))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}
