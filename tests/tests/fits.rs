//! A model that does not fit is a compile error, and the compiler's message has the numbers.
//!
//! Runs `cargo check` on a small program instead of comparing the compiler's whole output: that changes with every
//! version of the compiler and every line of `core`, the message does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mambabyte_core::Dims;
use mambabyte_tests::model_file;

/// A program that depends on the core alone; builds with what is there, without a network.
struct Program(PathBuf);

impl Program {
    fn new() -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fits");
        fs::create_dir_all(dir.join("src")).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let core = root.join("core");
        let manifest = format!(
            "[package]\nname = \"fits\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nmambabyte-core = {{ path = {core:?} }}\n\n[workspace]\n"
        );
        fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        Self(dir)
    }

    /// What the compiler says to a program with these items; `None` if it compiles.
    fn refused(&self, items: &str) -> Option<String> {
        let source = format!("use mambabyte_core::Dims;\n{items}\nfn main() {{}}\n");
        fs::write(self.0.join("src/main.rs"), source).unwrap();
        let cargo = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--quiet", "--color", "never", "--manifest-path"])
            .arg(self.0.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .output()
            .expect("cargo runs");
        if cargo.status.success() { None } else { Some(String::from_utf8_lossy(&cargo.stderr).into_owned()) }
    }
}

#[test]
fn a_model_that_does_not_fit_does_not_compile() {
    let model = model_file("sensor-pico", "model.mbb");
    let dims = Dims::of_blob(&fs::read(&model).unwrap());
    let (state, scratch) = (dims.state_bytes(), dims.scratch_bytes());
    let program = Program::new();
    let budget = |ram: usize| {
        format!("const DIMS: Dims = Dims::of_blob(include_bytes!({model:?}));\nconst _: () = DIMS.assert_fits({ram});")
    };
    assert_eq!(program.refused(&budget(state + scratch)), None);
    let short = state + scratch - 1;
    let said = program.refused(&budget(short)).expect("one byte short compiles");
    let message = format!("the model does not fit: state {state} + scratch {scratch} bytes of RAM, {short} allowed");
    assert!(said.contains(&message), "{said}");
    let said = program.refused("const _: Dims = Dims::of_blob(b\"no blob\");").expect("no blob compiles");
    assert!(said.contains("not a MambaByte blob of this version"), "{said}");
}

#[test]
fn the_message_holds_the_largest_numbers() {
    let dims = Dims::of_blob(&fs::read(model_file("sensor-pico", "model.mbb")).unwrap());
    dims.assert_fits(usize::MAX);
    let huge = Dims { n_layer: 1024, d_inner: 16_384, d_state: 64, d_conv: 4, ..dims };
    let panic = std::panic::catch_unwind(|| huge.assert_fits(0)).expect_err("fits into nothing");
    let message = panic.downcast_ref::<String>().expect("a text");
    let (state, scratch) = (huge.state_bytes(), huge.scratch_bytes());
    assert_eq!(*message, format!("the model does not fit: state {state} + scratch {scratch} bytes of RAM, 0 allowed"));
}
