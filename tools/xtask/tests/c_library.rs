//! The library for C: built, linked with programs in C99, and compared with what Rust computes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use mambabyte_core::{Blob, Decoder, Rng, SampleOptions, most_probable, probability, sample, surprise};
use mambabyte_host::align::AlignedBytes;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of `models/<model>/`.
fn model_file(model: &str, file: &str) -> PathBuf {
    root().join("models").join(model).join(file)
}

/// libmambabyte.a, built once.
fn library() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = xtask.args(["c", "build"]).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

/// Compiles `sources` (from the root) with every warning as an error and links them with the library. A library with a
/// reachable panic does not link.
fn compile(folder: &Path, sources: &[&str]) -> PathBuf {
    compile_with(folder, sources, &[])
}

/// The same with more options.
fn compile_with(folder: &Path, sources: &[&str], options: &[&str]) -> PathBuf {
    let program = folder.join("program");
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-Icore/include", "-o"]);
    cc.arg(&program).args(options).args(sources).arg(library()).current_dir(root());
    let output = cc.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn run(program: &Path, arguments: &[PathBuf]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// CRC-32 of some bytes, as the programs print it.
fn hex(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// What `tests/c/golden.c` must print.
fn expected(model: &AlignedBytes, text: &[u8], golden: &str) -> String {
    let blob = Blob::parse(model.as_slice()).unwrap();
    let dims = *blob.dims();
    let mut decoder = Decoder::owned(blob);
    let options = SampleOptions { temperature: 45_875, top_k: 50, top_p: 62_259 };
    let (mut rng, mut chosen) = (Rng::new(7), Vec::new());
    let (mut bits, mut shares) = (0u64, 0u64);
    for (i, &byte) in text.iter().enumerate() {
        let logits = decoder.step(byte);
        chosen.extend([most_probable(logits), sample(logits, &options, &mut rng)]);
        if let Some(&next) = text.get(i + 1) {
            bits += u64::from(surprise(logits, next));
            shares += u64::from(probability(logits, next));
        }
    }
    let mut lines = String::new();
    writeln!(lines, "blob {}", model.as_slice().len()).unwrap();
    writeln!(lines, "state {}", dims.state_bytes()).unwrap();
    writeln!(lines, "scratch {}", dims.scratch_bytes()).unwrap();
    writeln!(lines, "snapshot {}", dims.snapshot_bytes()).unwrap();
    writeln!(lines, "position {}", text.len()).unwrap();
    writeln!(lines, "surprise {bits}").unwrap();
    writeln!(lines, "probability {shares}").unwrap();
    writeln!(lines, "samples {}", hex(&chosen)).unwrap();
    writeln!(lines, "fingerprint {}", hex(&blob.fingerprint())).unwrap();
    writeln!(lines, "checksum {}", golden.trim()).unwrap();
    lines
}

#[test]
fn the_golden_text_from_c() {
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), &["tests/c/golden.c", "tests/c/platform_host.c"]);
    let text = model_file("text", "golden-4096.txt");
    for model in ["sensor-pico", "sensor-nano", "sensor-micro"] {
        let path = model_file(model, "model.mbb");
        let output = run(&program, &[path.clone(), text.clone()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let golden = std::fs::read_to_string(model_file(model, "golden.crc32")).unwrap();
        let blob = AlignedBytes::new(&std::fs::read(path).unwrap());
        let expected = expected(&blob, &std::fs::read(&text).unwrap(), &golden);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{model}");
    }
}

#[test]
fn adapters_from_c() {
    let dir = tempfile::tempdir().unwrap();
    let sources = ["tests/c/adapter.c", "tests/c/platform_host.c"];
    let program = compile_with(dir.path(), &sources, &["-DALL_PRESETS"]);
    let output = run(&program, &[model_file("sensor-nano", "model.mbb"), model_file("text", "golden-4096.txt")]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    let golden = mambabyte_tests::adapter_golden::committed(&root()).unwrap();
    for preset in mambabyte_host::adapt::Preset::ALL {
        for (word, net) in [("none", "none"), ("net", "sensor-nano")] {
            let sum = &golden[&(preset.name().to_owned(), net.to_owned())];
            assert!(printed.lines().any(|line| line == format!("{preset} {word} {sum}")), "{net}: {printed}");
        }
    }
}

#[test]
fn a_detector_from_c() {
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), &["tests/c/detector.c", "tests/c/platform_host.c"]);
    let output = run(&program, &[model_file("sensor-pico", "model.mbb"), model_file("text", "request-latency.csv")]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    let said =
        ["lines ", "alarms ", "verdicts "].map(|word| printed.lines().find_map(|l| l.strip_prefix(word)).unwrap());
    assert_eq!(said.join(" "), mambabyte_tests::detector_golden::committed(&root()));
}

#[test]
fn misuse_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), &["tests/c/misuse.c", "tests/c/platform_host.c"]);
    let output = run(&program, &[model_file("sensor-pico", "model.mbb"), model_file("text", "golden-4096.txt")]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    let passed = printed.lines().find_map(|l| l.strip_prefix("passed ")).unwrap();
    assert!(passed.parse::<u32>().unwrap() > 1000, "{printed}");
}

#[test]
fn the_example_reads_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let program = compile(dir.path(), &["core/capi/examples/read.c"]);
    let text = std::fs::File::open(model_file("text", "golden-4096.txt")).unwrap();
    let model = model_file("sensor-nano", "model.mbb");
    let output = Command::new(&program).arg(&model).stdin(text).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let text = std::fs::read(model_file("text", "golden-4096.txt")).unwrap();
    let model = AlignedBytes::new(&std::fs::read(model).unwrap());
    let mut decoder = Decoder::owned(Blob::parse(model.as_slice()).unwrap());
    let (mut bits, mut last) = (0u64, 0);
    for &byte in &text {
        bits += u64::from(surprise(decoder.step(last), byte));
        last = byte;
    }
    let mean = bits as f64 / 65_536.0 / text.len() as f64;
    let next = most_probable(decoder.step(last));
    let line = format!("{} bytes, {mean:.3} bits per byte; most probable next byte 0x{next:02x}\n", text.len());
    assert_eq!(String::from_utf8_lossy(&output.stdout), line);

    let damaged = dir.path().join("damaged.mbb");
    let mut bytes = model.as_slice().to_vec();
    bytes[5000] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let output = run(&program, &[damaged]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(message, "mambabyte: wrong checksum of a section of the blob\n");
    assert_eq!(run(&program, &[]).status.code(), Some(2));
}

#[test]
fn the_header_is_c_and_cpp() {
    let header = std::fs::read_to_string(root().join("core/include/mambabyte.h")).unwrap();
    let guard = header.split("#ifdef __cplusplus\nextern \"C\" {\n#endif").nth(1).expect("a guard for C++");
    assert!(guard.contains("mambabyte_step(") && guard.contains("}  // extern \"C\""));
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("only.c");
    // Twice, and nothing before it.
    std::fs::write(&source, "#include <mambabyte.h>\n#include <mambabyte.h>\nint main(void) { return 0; }\n").unwrap();
    for (compiler, flags) in [("cc", ["-std=c99", "-xc"]), ("c++", ["-std=c++11", "-xc++"])] {
        let mut command = Command::new(compiler);
        command.args(flags).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-Icore/include"]);
        match command.arg(&source).current_dir(root()).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) if compiler == "c++" => eprintln!("NOT RUN: c++: {error}"),
            Err(error) => panic!("{compiler}: {error}"),
        }
    }
}
