//! Every option that names a file to write, in every situation in which something could be lost.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{expect, model_file};

/// An option that names a file.
#[derive(Clone, Copy)]
struct Named {
    option: &'static str,
    /// The words before the file, in a folder as [`Folder::new`] makes it.
    words: &'static str,
    /// Files there that these words read.
    reads: &'static [&'static str],
    /// What the file starts with.
    start: &'static [u8],
}

const OUTPUT: Named = Named {
    option: "--output",
    words: "convert model --refine 0 --calibrate text -o",
    reads: &["model/model.safetensors", "model/config.json", "text"],
    start: b"\x89MBB",
};
const REPORT: Named = Named {
    option: "--report",
    words: "convert model --refine 0 --calibrate text -o made --report",
    reads: OUTPUT.reads,
    start: b"<!doctype html>",
};
const NPY: Named =
    Named { option: "--npy", words: "logits m.mbb text --npy", reads: &["m.mbb", "text"], start: b"\x93NUMPY" };
const ONNX: Named = Named {
    option: "--onnx",
    words: "export model --onnx",
    reads: &["model/model.safetensors", "model/config.json"],
    start: b"\x08\x08\x12\x09mambabyte",
};
const SAVE_STATE: Named =
    Named { option: "--save-state", words: "stream m.mbb text --save-state", reads: NPY.reads, start: b"MBS\x1a" };
const FIGURES: Named = Named {
    option: "--json",
    words: "bench --model m.mbb --size nano --threads 1 --rounds 1 --seconds 0.001 --json",
    reads: &["m.mbb"],
    start: b"{",
};
const PLOT: Named = Named {
    option: "--plot",
    words: "bench --model m.mbb --size nano --threads 1 --rounds 1 --seconds 0.001 --plot",
    start: b"<svg",
    ..FIGURES
};

/// A folder with a checkpoint, a blob and a text, gone at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(folder.0.path(), Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(folder.path("model")).unwrap();
        for (model, file, to) in [
            ("sensor-pico", "model.safetensors", "model/model.safetensors"),
            ("sensor-pico", "config.json", "model/config.json"),
            ("sensor-pico", "model.mbb", "m.mbb"),
            ("text", "golden-4096.txt", "text"),
        ] {
            fs::copy(model_file(model, file), folder.path(to)).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Everything in it: files with their bytes, links with their targets, others by name.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                let bytes = if kind.is_file() { fs::read(&path).unwrap() } else { format!("{kind:?}").into_bytes() };
                if kind.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, bytes);
            }
        }
        found
    }
}

impl Named {
    fn command(&self, folder: &Folder, program: &Path, file: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.words.split(' ')).arg(file).current_dir(folder.0.path()).env("CUDA_VISIBLE_DEVICES", "");
        command
    }

    fn run(&self, folder: &Folder, file: &str) -> Output {
        self.command(folder, Path::new(env!("CARGO_BIN_EXE_mambabyte")), file).output().unwrap()
    }

    /// Refused before anything is written.
    #[track_caller]
    fn refused(&self, folder: &Folder, file: &str, code: i32, reason: &str) {
        let before = folder.contents();
        let output = self.run(folder, file);
        let said = unfolded(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(&format!("{} {file}: {reason}", self.option)), "{said}");
        assert!(before == folder.contents(), "{}: something in the folder has changed", self.option);
        // The work is not begun: nothing of it is said.
        assert!(output.stdout.is_empty() && !said.contains("measuring"), "{said}");
    }

    fn table(&self) {
        self.inputs_by_every_name();
        self.what_is_no_file_is_written_through();
        self.folders();
        self.a_full_disk();
        self.a_closed_folder();
    }

    fn inputs_by_every_name(&self) {
        let folder = Folder::new();
        for input in self.reads {
            let reason = "this is the input";
            self.refused(&folder, input, 2, reason);
            self.refused(&folder, &format!("./model/../{input}"), 2, reason);
            fs::hard_link(folder.path(input), folder.path("hard")).unwrap();
            self.refused(&folder, "hard", 2, reason);
            symlink(input, folder.path("soft")).unwrap();
            symlink("soft", folder.path("softer")).unwrap();
            self.refused(&folder, "soft", 2, reason);
            self.refused(&folder, "softer", 2, reason);
            for link in ["hard", "soft", "softer"] {
                fs::remove_file(folder.path(link)).unwrap();
            }
        }
    }

    fn what_is_no_file_is_written_through(&self) {
        let folder = Folder::new();
        let fifo = folder.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        expect(&self.run(&folder, "fifo"), 0, "");
        let read = reader.join().unwrap();
        assert!(read.starts_with(self.start), "{}: {:?}", self.option, read.get(..16));
        assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());

        // As /dev/null, which only root may make.
        let device = folder.path("device");
        let made = Command::new("mknod").arg(&device).args(["c", "1", "3"]).output().unwrap();
        if !made.status.success() || File::options().write(true).open(&device).is_err() {
            println!("NOT RUN: {} to a device: this user may make none", self.option);
            return;
        }
        expect(&self.run(&folder, "device"), 0, "");
        symlink("device", folder.path("link")).unwrap();
        expect(&self.run(&folder, "link"), 0, "");
        let kind = |name| fs::symlink_metadata(folder.path(name)).unwrap().file_type();
        assert!(kind("device").is_char_device() && kind("link").is_symlink());
    }

    fn folders(&self) {
        let folder = Folder::new();
        self.refused(&folder, "no/such/file", 1, "there is no folder no/such");
        self.refused(&folder, "text/file", 1, "");
        self.refused(&folder, "model", 1, "this is a folder");
        self.refused(&folder, "new/", 1, "this is a folder");
    }

    /// A small file system in memory, filled up; it ends with the shell that made it.
    fn a_full_disk(&self) {
        let folder = Folder::new();
        fs::create_dir(folder.path("full")).unwrap();
        let script = "mount -t tmpfs -o size=64k none full || exit 77
            echo mounted; echo mine > full/out; cat /dev/zero > full/rest 2> /dev/null
            \"$0\" \"$@\"; code=$?; cat full/out; ls -A full | wc -l; exit $code";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", script, env!("CARGO_BIN_EXE_mambabyte")]);
        let output = command.args(self.words.split(' ')).arg("full/out").current_dir(folder.0.path()).output();
        let Some(output) = output.ok().filter(|o| o.stdout.starts_with(b"mounted\n")) else {
            println!("NOT RUN: {} on a full disk: no file system in memory can be made here", self.option);
            return self.a_full_device();
        };
        let (said, left) = (unfolded(&output), String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{} full/out: No space left on device", self.option)), "{said}");
        assert!(left.contains("mine\n2\n"), "the file that was there and the filling: {left}");
        assert!(!folder.path("made").exists(), "one of two files has appeared");
        self.a_full_device();
    }

    fn a_full_device(&self) {
        let folder = Folder::new();
        if !Path::new("/dev/full").exists() {
            println!("NOT RUN: {} to /dev/full: it is not there", self.option);
            return;
        }
        let output = self.run(&folder, "/dev/full");
        let said = unfolded(&output);
        assert!(output.status.code() == Some(1) && said.contains(&format!("{} /dev/full: No space", self.option)));
        assert!(!folder.path("made").exists(), "one of two files has appeared");
    }

    /// A folder that nothing can be written into, and a file that its owner has closed.
    fn a_closed_folder(&self) {
        let folder = Folder::new();
        fs::create_dir(folder.path("closed")).unwrap();
        fs::create_dir(folder.path("sticky")).unwrap();
        for (name, mode) in [
            ("closed/out", 0o666),
            ("closed", 0o555),
            ("sticky/out", 0o666),
            ("sticky", 0o1777),
            ("text", 0o644),
            ("m.mbb", 0o644),
        ] {
            if name.ends_with("/out") {
                fs::write(folder.path(name), b"mine").unwrap();
            }
            fs::set_permissions(folder.path(name), Permissions::from_mode(mode)).unwrap();
        }
        fs::write(folder.path("kept"), b"mine").unwrap();
        fs::set_permissions(folder.path("kept"), Permissions::from_mode(0o444)).unwrap();
        let before = folder.contents();
        let program = tempfile::tempdir().unwrap();
        let copy = program.path().join("mambabyte");
        let is_root = File::options().write(true).open(folder.path("kept")).is_ok();
        let unprivileged = |file: &str| -> Option<Output> {
            let program = Path::new(env!("CARGO_BIN_EXE_mambabyte"));
            if !is_root {
                return Some(self.run(&folder, file));
            }
            // Root may write everywhere; nobody may not. The build folder may be closed to nobody.
            if !copy.exists() {
                fs::set_permissions(copy.parent()?, Permissions::from_mode(0o755)).ok()?;
                fs::copy(program, &copy).ok()?;
            }
            self.command(&folder, &copy, file).uid(65_534).gid(65_534).output().ok()
        };
        for (file, reason) in [
            ("closed/out", "nothing can be written into the folder closed: Permission denied"),
            ("closed/new", "nothing can be written into the folder closed: Permission denied"),
            ("kept", "Permission denied"),
            ("sticky/out", "this is a file of another user, which only they may replace in the folder sticky"),
        ] {
            if file == "sticky/out" && !is_root {
                println!("NOT RUN: {} to a file of another user: this user makes only its own", self.option);
                continue;
            }
            let Some(output) = unprivileged(file) else {
                println!("NOT RUN: {} to a closed folder: no program can be started as nobody", self.option);
                return;
            };
            let said = unfolded(&output);
            assert!(output.status.code() == Some(1), "{said}");
            assert!(said.contains(&format!("{} {file}: {reason}", self.option)), "{said}");
            assert!(before == folder.contents(), "{}: something in the folder has changed", self.option);
            assert!(!said.contains("measuring"), "the work is begun: {said}");
        }
        fs::set_permissions(folder.path("closed"), Permissions::from_mode(0o755)).unwrap();
    }
}

/// Standard error without the frame and the line breaks that a long message gets.
fn unfolded(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).replace(['│', '×'], " ");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn convert_output() {
    OUTPUT.table();
}

#[test]
fn convert_report() {
    REPORT.table();
}

#[test]
fn logits_npy() {
    NPY.table();
}

#[test]
fn export_onnx() {
    ONNX.table();
}

#[test]
fn stream_save_state() {
    SAVE_STATE.table();
}

#[test]
fn bench_json() {
    FIGURES.table();
}

#[test]
fn bench_plot() {
    PLOT.table();
}
