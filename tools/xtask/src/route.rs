//! Which toolchain builds for a chip: an installed target, library source beside the compiler, or Debian's compiler
//! with its library source. Nothing is installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const DEBIAN: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
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
        let mut reason = String::new();
        if let Ok(version) = rustc(DEBIAN, &["--version"])
            && let debian = PathBuf::from(rustc(DEBIAN, &["--print", "sysroot"])?)
            && has_source(&debian)
            && let cargo = rustc(DEBIAN_CARGO, &["--version"]).unwrap_or_default()
            && fits(&version, &cargo, source_version(&debian).as_deref()).map_err(|why| reason = why).is_ok()
        {
            // Debian's compiler brings no linker for chips: rustup's, else lld.
            let host = rustc(DEBIAN, &["-vV"])?;
            let host = host.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default();
            let own = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
            let linker = Some(if own.exists() { own } else { PathBuf::from("ld.lld") });
            let name = format!("library source of {DEBIAN}, {version}");
            return Ok(Self { name, cargo: DEBIAN_CARGO, build_std: true, debian: true, linker });
        }
        bail!(Missing(format!(
            "no toolchain for {target}{reason}. One of these helps:\n  rustup target add {target}\n  \
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

/// Whether Debian's parts, which are packages of their own, belong together and are new enough for this workspace.
///
/// # Errors
/// Why not, for the middle of a sentence.
fn fits(compiler: &str, cargo: &str, library: Option<&str>) -> Result<(), String> {
    const NEEDED: &str = env!("CARGO_PKG_RUST_VERSION");
    for (program, version) in [(DEBIAN, compiler), (DEBIAN_CARGO, cargo)] {
        match release(version) {
            Some(found) if Some(found) >= release(NEEDED) => {}
            Some(_) => return Err(format!(" ({program} is {version}, this workspace needs {NEEDED})")),
            None => return Err(format!(" ({program} does not say its version)")),
        }
    }
    // A library is written for the compiler of its own release. One that does not say which is tried.
    match library.and_then(release) {
        Some(library) if Some(library) != release(compiler) => {
            let [major, minor, patch] = library;
            Err(format!(" ({DEBIAN} is {compiler}, the library source is of {major}.{minor}.{patch})"))
        }
        _ => Ok(()),
    }
}

/// The first word of `text` that is a release, `1.95.0` or `1.95`.
fn release(text: &str) -> Option<[u32; 3]> {
    text.split_ascii_whitespace().find_map(|word| {
        // Whatever follows a nightly's or a beta's number.
        let mut parts = word.split('-').next()?.split('.');
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let patch = parts.next().map_or(Some(0), |patch| patch.parse().ok())?;
        parts.next().is_none().then_some([major, minor, patch])
    })
}

/// The release that the library source in `sysroot` is of, if it says so.
fn source_version(sysroot: &Path) -> Option<String> {
    std::fs::read_to_string(sysroot.join("lib/rustlib/src/rust/src/version")).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (text, expected) in [
            ("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)", Some([1, 96, 0])),
            ("cargo 1.89.1-nightly (abc 2025-01-01)", Some([1, 89, 1])),
            ("1.96.0\n", Some([1, 96, 0])),
            ("1.89", Some([1, 89, 0])),
            ("rustc", None),
            ("", None),
        ] {
            assert_eq!(release(text), expected, "{text}");
        }
    }

    /// What Debian's stable and security archives hold side by side.
    #[test]
    fn parts_that_do_not_belong_together_are_said_by_name() {
        let (old, new) = ("rustc 1.85.0 (built from a source tarball)", "rustc 1.96.0 (ac68faa20 2026-05-25)");
        let cargo = "cargo 1.96.0 (30a34c682 2026-05-25)";
        assert_eq!(fits(new, cargo, Some("1.96.0\n")), Ok(()));
        assert_eq!(fits(new, cargo, None), Ok(()));
        let needed = env!("CARGO_PKG_RUST_VERSION");
        for (compiler, cargo, library, say) in [
            (old, cargo, Some("1.85.0"), format!("{DEBIAN} is {old}, this workspace needs {needed}")),
            (new, "cargo 1.85.0", Some("1.96.0"), format!("{DEBIAN_CARGO} is cargo 1.85.0, this workspace needs")),
            (new, cargo, Some("1.85.0\n"), format!("{DEBIAN} is {new}, the library source is of 1.85.0")),
            (new, "", None, format!("{DEBIAN_CARGO} does not say its version")),
        ] {
            let found = fits(compiler, cargo, library).unwrap_err();
            assert!(found.contains(&say), "{found}");
        }
    }
}
