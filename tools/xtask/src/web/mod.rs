//! `cargo xtask web ...`: the C library as a WebAssembly module, with the page of `tools/web`.

mod browser;
mod module;
mod page;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;

use crate::forged;
use crate::route::Missing;
use page::Page;

/// The chores.
#[derive(Subcommand)]
pub(crate) enum Web {
    /// Build the module and put it with the page into target/web; any static server can serve that folder
    Build,
    /// Build it and serve the page, and nothing else, on this machine
    Serve {
        /// Port; 0 takes a free one
        #[arg(long, default_value_t = 8000)]
        port: u16,
    },
    /// Build it, then check the golden checksums in Node and in a headless Chromium
    Test,
    /// Write a picture of the page that paints the sample
    Picture {
        /// PNG to write
        output: PathBuf,
    },
}

/// Runs a chore.
pub(crate) fn run(root: &Path, chore: Web) -> Result<()> {
    let folder = root.join("target/web");
    let page = build(root, &folder)?;
    match chore {
        Web::Build => println!("{}", folder.display()),
        Web::Serve { port } => {
            let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port}"))?;
            println!("http://{}/  (Ctrl-C ends it)", listener.local_addr()?);
            page.serve(&listener);
        }
        Web::Test => {
            node(root, &folder)?;
            browser::test(root, &folder, &page)?;
        }
        Web::Picture { output } => {
            let output = std::path::absolute(output)?;
            let picture = format!("--screenshot={}", output.display());
            let arguments = ["--window-size=1100,900", "--virtual-time-budget=20000", &picture];
            browser::open_once(&folder, &page, "?sample", &arguments)?;
            println!("{}", output.display());
        }
    }
    Ok(())
}

/// Builds the module and gathers the page in `folder`.
///
/// # Errors
/// If it cannot be built, or wants something from outside: then a panic is reachable.
fn build(root: &Path, folder: &Path) -> Result<Page> {
    let module = module::build(root, "panic-handler", &[])?;
    let imports = module::imports(&module)?;
    ensure!(imports.is_empty(), "the module imports {}, so it is no module that needs nothing", imports.join(", "));
    let page = Page::read(root, &module)?;
    page.write(folder)?;
    Ok(page)
}

/// The tests of `tests/web/node.mjs`.
fn node(root: &Path, folder: &Path) -> Result<()> {
    // The comparison of the kernels may panic: that is an import.
    let built = module::build(root, "panic-handler,kernel-check", &["-Clink-arg=--allow-undefined"])?;
    ensure!(!module::imports(&built)?.is_empty(), "an import of a module is not seen");
    let (kernels, blobs) = (folder.with_file_name("web-kernels.wasm"), folder.with_file_name("forged.bin"));
    std::fs::copy(&built, &kernels).with_context(|| kernels.display().to_string())?;
    forged::write(&blobs)?;
    let test = root.join("tests/web/node.mjs");
    let status = Command::new("node").arg(test).args([folder, &kernels, &blobs]).status();
    let status = status.map_err(|e| Missing(format!("node: {e} (Debian: apt-get install nodejs)")))?;
    if !status.success() {
        bail!("the module failed its tests in Node");
    }
    Ok(())
}
