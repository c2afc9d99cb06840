//! The page in a headless Chromium.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use mambabyte_tests::adapter_golden::committed;

use super::page::Page;
use crate::models;
use crate::route::Missing;

/// The browsers that Debian and others install.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// The title of a page that has done nothing yet.
const UNTOUCHED: &str = "MambaByte: surprise, byte by byte";
/// How often such a page is opened.
const ATTEMPTS: usize = 12;
/// What the page is given to compute, and to print itself after.
const CHECKSUM: (&str, [&str; 2]) = ("?checksum=golden.txt", ["--virtual-time-budget=120000", "--dump-dom"]);

/// The page computes the golden checksum of its model, runs no script that was put into it, and refuses a model that
/// promises more than it has.
///
/// # Errors
/// If it does anything else; [`Missing`] without a browser.
pub(super) fn test(root: &Path, folder: &Path, page: &Page) -> Result<()> {
    let golden = models::golden(root, "sensor-nano")?;
    // A page that may run it shows that it did.
    let script = "<script>document.body.dataset.foreign = 'ran'</script></main>";
    let foreign =
        |body: &mut Vec<u8>| *body = String::from_utf8_lossy(body).replacen("</main>", script, 1).into_bytes();
    let (query, arguments) = CHECKSUM;
    let dom = open(folder, &page.clone().with("index.html", foreign), query, &arguments)?;
    ensure!(title(&dom) == format!("checksum {golden}"), "the page in Chromium says {:?}, not {golden}", title(&dom));
    ensure!(dom.contains("dataset.foreign"), "the page has no place for a foreign script any more");
    ensure!(!dom.contains("data-foreign"), "the page runs a script that was put into it");
    println!("Chromium         sensor-nano   {golden} equal; a foreign script does not run");

    let adapters = committed(root)?;
    let golden = adapters.get(&("16K".to_owned(), "sensor-nano".to_owned())).context("no golden checksum of 16K")?;
    let dom = open(folder, page, "?adapter=golden.txt", &arguments)?;
    ensure!(title(&dom) == format!("adapter {golden}"), "the page in Chromium says {:?}, not {golden}", title(&dom));
    println!("Chromium         sensor-nano   16K {golden} equal");
    // The page draws both curves.
    let dom = open(folder, page, "?sample", &arguments)?;
    let points = |id: &str| {
        dom.split_once(&format!("id=\"{id}\" points=\""))
            .map_or(0, |(_, rest)| rest.split_once('"').map_or(0, |(p, _)| p.split(' ').count()))
    };
    let (net, both) = (points("net"), points("both"));
    ensure!(net > 100 && net == both, "the curves of the page have {net} and {both} points");
    ensure!(dom.contains("(the model alone "), "the page does not say what the model alone has");
    // The damaged line alarms, and it is said when the detector has learned.
    ensure!(dom.contains("class=\"line odd alarm\""), "no line of the page alarms");
    ensure!(dom.contains("line 64: learned: the first 64 lines are learned"), "the page says nothing of the stream");

    // The header of a model of 1024 layers, and nothing else.
    let huge = |body: &mut Vec<u8>| {
        body.truncate(384);
        for (at, value) in [(24, 4096u32), (28, 1024), (32, 16_384)] {
            body.splice(at..at + 4, value.to_le_bytes());
        }
    };
    let dom = open(folder, &page.clone().with("model.mbb", huge), query, &arguments)?;
    let refused = title(&dom).starts_with("error the model") && title(&dom).contains("the file has 384");
    ensure!(refused, "the page in Chromium says {:?} of a header alone", title(&dom));
    println!("Chromium         {}", title(&dom));
    Ok(())
}

fn title(dom: &str) -> &str {
    dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map_or("", |(title, _)| title)
}

/// Opens `page`; returns what Chromium prints.
///
/// Chromium prints the page when its virtual clock has run out. That clock does not wait for WebAssembly that is compiled
/// in another thread, so on a busy machine the page may be printed before it is done: then it is opened once more.
///
/// # Errors
/// [`Missing`] without a browser; if it fails.
fn open(folder: &Path, page: &Page, query: &str, arguments: &[&str]) -> Result<String> {
    let mut dom = open_once(folder, page, query, arguments)?;
    for _ in 1..ATTEMPTS {
        // What it computes for a test is in its title; what it paints, it paints whole.
        if title(&dom) != UNTOUCHED || dom.contains("data-done=\"yes\"") {
            break;
        }
        dom = open_once(folder, page, query, arguments)?;
    }
    Ok(dom)
}

/// As [`open`], once.
pub(super) fn open_once(folder: &Path, page: &Page, query: &str, arguments: &[&str]) -> Result<String> {
    let found = BROWSERS.into_iter().find(|b| Command::new(b).arg("--version").output().is_ok());
    let browser = found.ok_or_else(|| Missing("no Chromium (Debian: apt-get install chromium)".to_owned()))?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let served = page.clone();
    thread::spawn(move || served.serve(&listener));
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
