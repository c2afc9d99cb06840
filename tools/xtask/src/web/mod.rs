//! `cargo xtask web ...`: the C library as a WebAssembly module, with the page of `tools/web`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::route::{Missing, Route};

const TARGET: &str = "wasm32-unknown-unknown";
/// The browsers that Debian and others install.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The chores.
#[derive(Subcommand)]
pub(crate) enum Web {
    /// Build the module and put it with the page into target/web; any static server can serve that folder
    Build,
    /// Build it and serve the page on this machine
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
    let folder = build(root)?;
    match chore {
        Web::Build => println!("{}", folder.display()),
        Web::Serve { port } => {
            let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port}"))?;
            println!("http://{}/  (Ctrl-C ends it)", listener.local_addr()?);
            serve(&listener, &folder);
        }
        Web::Test => {
            let kernels = folder.with_file_name("web-kernels.wasm");
            std::fs::copy(module(root, "panic-handler,kernel-check", &["-Clink-arg=--allow-undefined"])?, &kernels)?;
            node(root, &folder, &kernels)?;
            browser(root, &folder)?;
        }
        Web::Picture { output } => {
            let output = std::path::absolute(output)?;
            let picture = format!("--screenshot={}", output.display());
            chromium(&folder, "?sample", &["--window-size=1100,900", "--virtual-time-budget=20000", &picture])?;
            println!("{}", output.display());
        }
    }
    Ok(())
}

/// Builds the module with these features. A linker that allows undefined functions makes imports of them.
fn module(root: &Path, features: &str, flags: &[&str]) -> Result<PathBuf> {
    let route = Route::find(TARGET)?;
    eprintln!("mambabyte.wasm: {TARGET}, {}", route.name);
    let mut cargo = route.cargo(root, "rustc", TARGET, None, "staticlib");
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Ctarget-feature=+simd128");
    cargo.args(["--locked", "-p", "mambabyte-capi", "--lib", "--features", features]);
    cargo.args(["--crate-type", "cdylib", "--"]).args(flags).current_dir(root);
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("mambabyte.wasm could not be built");
    }
    Ok(route.output(root).join(TARGET).join("staticlib/mambabyte_capi.wasm"))
}

/// Builds the module and gathers the page.
fn build(root: &Path) -> Result<PathBuf> {
    let module = module(root, "panic-handler", &[])?;
    let folder = root.join("target/web");
    std::fs::create_dir_all(&folder)?;
    let mut files = vec![
        (module, "mambabyte.wasm"),
        (root.join("models/sensor-nano/model.mbb"), "model.mbb"),
        (root.join("models/text/gnss-sample.nmea"), "sample.txt"),
        (root.join("models/text/golden-4096.txt"), "golden.txt"),
    ];
    files.extend(["index.html", "mambabyte.js", "page.css", "page.js"].map(|n| (root.join("tools/web").join(n), n)));
    for (from, name) in files {
        std::fs::copy(&from, folder.join(name)).with_context(|| from.display().to_string())?;
    }
    Ok(folder)
}

/// The tests of `tests/web/node.mjs`.
fn node(root: &Path, folder: &Path, kernels: &Path) -> Result<()> {
    let status = Command::new("node").arg(root.join("tests/web/node.mjs")).args([folder, kernels]).status();
    let status = status.map_err(|e| Missing(format!("node: {e} (Debian: apt-get install nodejs)")))?;
    if !status.success() {
        bail!("the module failed its tests in Node");
    }
    Ok(())
}

/// The page computes the golden checksum of its model in a browser.
fn browser(root: &Path, folder: &Path) -> Result<()> {
    let page = chromium(folder, "?checksum=golden.txt", &["--virtual-time-budget=120000", "--dump-dom"])?;
    let golden = std::fs::read_to_string(root.join("models/sensor-nano/golden.crc32"))?;
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map_or("", |(t, _)| t);
    if title != format!("checksum {}", golden.trim()) {
        bail!("the page in Chromium says {title:?}, not checksum {}", golden.trim());
    }
    println!("Chromium         sensor-nano   {} equal", golden.trim());
    Ok(())
}

/// Opens the page in a headless Chromium; returns what it prints.
fn chromium(folder: &Path, query: &str, arguments: &[&str]) -> Result<String> {
    let found = BROWSERS.into_iter().find(|b| Command::new(b).arg("--version").output().is_ok());
    let browser = found.ok_or_else(|| Missing("no Chromium (Debian: apt-get install chromium)".to_owned()))?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let served = folder.to_owned();
    thread::spawn(move || serve(&listener, &served));
    let profile = folder.with_file_name("web-profile");
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(arguments);
    command.arg(format!("http://{address}/{query}")).stderr(Stdio::null());
    let output = command.output().with_context(|| format!("{browser} could not be started"))?;
    let _ = std::fs::remove_dir_all(profile);
    if !output.status.success() {
        bail!("{browser} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Serves the files of `folder`, one request a connection, until the program ends.
fn serve(listener: &TcpListener, folder: &Path) {
    for stream in listener.incoming().flatten() {
        let folder = folder.to_owned();
        // A browser that goes away is no error of ours.
        thread::spawn(move || answer(stream, &folder).unwrap_or_default());
    }
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|w| w == b"\r\n\r\n") && request.len() < 16 * 1024 {
        match stream.read(&mut part)? {
            0 => break,
            n => request.extend_from_slice(&part[..n]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").trim_start_matches('/');
    let name = if path.is_empty() { "index.html" } else { path };
    // The folder has no folders; nothing above it is served.
    let file = if name.contains(['/', '\\']) { None } else { std::fs::read(folder.join(name)).ok() };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    };
    let (status, body) = match file {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", b"not found\n".to_vec()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}
