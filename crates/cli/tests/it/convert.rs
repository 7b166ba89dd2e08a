//! `abbild convert`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Home, Ran, images};

/// A home with `content` as its file `in`.
fn home_with(content: &[u8]) -> Home {
    let home = Home::new();
    fs::write(home.0.path().join("in"), content).unwrap();
    home
}

impl Home {
    /// Runs `abbild convert in OUT …` in this home.
    fn convert(&self, args: &[&str]) -> Ran {
        Ran::new(self.convert_command(args).output().unwrap())
    }

    fn convert_command(&self, args: &[&str]) -> Command {
        let mut command = self.abbild(&[&["convert", "in"], args].concat());
        command.current_dir(self.0.path());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names of everything in this home.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A raw disk of 3 MiB and a half with something in it.
fn disk() -> Vec<u8> {
    let mut disk = images::raw();
    disk.extend(images::noise(1 << 20));
    disk.resize(7 << 19, 0);
    disk
}

/// The guest-visible bytes of an image, by QEMU.
fn content(format: &str, path: &Path) -> Vec<u8> {
    let raw = path.with_extension("content");
    let status = Command::new("qemu-img")
        .args(["convert", "-f", format, "-O", "raw"])
        .args([path, &raw])
        .status();
    assert!(status.unwrap().success());
    let bytes = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    bytes
}

#[test]
fn the_suffix_or_the_option_names_the_format() {
    let home = home_with(&disk());
    for (args, format) in [
        (&["a.img"][..], "raw"),
        (&["a.raw"], "raw"),
        (&["a.qcow2"], "qcow2"),
        (&["a.vhdx"], "vhdx"),
        (&["a.vdi"], "vdi"),
        (&["a.vmdk"], "vmdk"),
        (&["b.vmdk", "--compress"], "vmdk"),
        (&["b.qcow2", "--compress"], "qcow2"),
        (&["a"], "qcow2"),
        (&["a.iso"], "qcow2"),
        (&["c.vdi", "-O", "vhdx"], "vhdx"),
        (&["d.vdi", "--format", "raw", "--no-sync"], "raw"),
    ] {
        let result = home.convert(&[args, &["--json"]].concat()).expect(0).json();
        let path = home.path(args[0]);
        assert_eq!(result["format"], format, "{args:?}");
        assert_eq!(result["name"], args[0]);
        assert_eq!(result["compressed"], args.contains(&"--compress"));
        assert_eq!(result["virtual_size"], 7 << 19);
        assert_eq!(result["file_size"], path.metadata().unwrap().len());
        assert!(result["stored_size"].as_u64() > Some(1 << 20), "{result}");
        assert!(content(format, &path) == disk(), "{args:?}");
    }
}

#[test]
fn the_result_is_said_in_a_line() {
    let ran = home_with(&disk())
        .convert(&["a.vmdk", "--compress"])
        .expect(0);
    assert!(
        ran.out
            .starts_with("a.vmdk: compressed vmdk, 3.5 MiB in 1."),
        "{}",
        ran.out
    );
    assert_eq!(ran.err, "converting\n");
}

#[test]
fn every_input_gives_the_same_bytes() {
    let home = home_with(&disk());
    home.convert(&["expected.qcow2", "--compress"]).expect(0);
    let expected = fs::read(home.path("expected.qcow2")).unwrap();
    let raw = home.path("raw");
    fs::rename(home.path("in"), &raw).unwrap();
    let replace = |content: &[u8]| fs::write(home.path("in"), content).unwrap();
    let convert = |what: &str| {
        let ran = home
            .convert(&["out.qcow2", "--compress", "--force"])
            .expect(0);
        assert!(
            fs::read(home.path("out.qcow2")).unwrap() == expected,
            "{what}"
        );
        ran
    };
    replace(&images::gzip(&disk()));
    let ran = convert("gzip");
    assert_eq!(ran.err, "unpacking\nconverting\n");
    replace(&expected);
    convert("what it wrote itself");
    replace(&images::gzip(&expected));
    convert("the same as gzip");
    let status = Command::new("qemu-img")
        .args(["convert", "-c", "-f", "raw", "-O", "qcow2"])
        .args([&raw, &home.path("in")])
        .status();
    assert!(status.unwrap().success());
    convert("a qcow2 of QEMU");
}

#[test]
fn nothing_is_overwritten_unless_forced() {
    let home = home_with(&disk());
    fs::write(home.path("a.qcow2"), "mine").unwrap();
    let ran = home.convert(&["a.qcow2"]).expect(1);
    assert!(ran.err.contains("a.qcow2 exists already"), "{}", ran.err);
    assert!(ran.err.contains("hint: --force replaces it"), "{}", ran.err);
    assert_eq!(fs::read(home.path("a.qcow2")).unwrap(), b"mine");
    home.convert(&["a.qcow2", "--force"]).expect(0);
    assert!(content("qcow2", &home.path("a.qcow2")) == disk());
    assert_eq!(home.names(), ["a.qcow2", "in"]);
}

#[test]
fn the_input_is_never_replaced() {
    let home = home_with(&disk());
    fs::hard_link(home.path("in"), home.path("hard")).unwrap();
    std::os::unix::fs::symlink("in", home.path("soft")).unwrap();
    for output in ["in", "./in", "hard", "soft"] {
        let ran = home.convert(&[output, "--force"]).expect(1);
        assert!(ran.err.contains("is to be read"), "{output}: {}", ran.err);
        assert!(fs::read(home.path("in")).unwrap() == disk());
    }
}

#[test]
fn faults_have_their_exit_status_and_leave_nothing() {
    let raw = disk();
    let mut backed = images::qcow2(Some("/etc/passwd"));
    backed.truncate(4 << 16);
    let packed = images::gzip(&raw);
    type Case<'a> = (&'a str, &'a [u8], &'a [&'a str], i32, &'a str);
    let cases: [Case<'_>; 9] = [
        ("noise", &images::noise(5000), &[], 2, "could not be read"),
        ("empty", b"", &[], 2, "could not be read"),
        (
            "truncated gzip",
            &packed[..packed.len() / 2],
            &[],
            2,
            "could not be read",
        ),
        (
            "truncated raw",
            &raw[..1 << 20],
            &[],
            2,
            "could not be read",
        ),
        ("backing file", &backed, &[], 1, "is refused"),
        (
            "too large",
            &raw,
            &["--max-size", "1MiB"],
            1,
            "--max-size raises",
        ),
        (
            "too large in gzip",
            &packed,
            &["--max-size", "1MiB"],
            1,
            "--max-size raises",
        ),
        (
            "not compressible",
            &raw,
            &["-O", "vdi", "--compress"],
            2,
            "only qcow2 and vmdk can",
        ),
        (
            "no such format",
            &raw,
            &["-O", "vhd"],
            2,
            "possible values: raw, qcow2",
        ),
    ];
    for (name, content, args, code, message) in cases {
        let home = home_with(content);
        let ran = home.convert(&[&["out"], args].concat());
        assert_eq!(ran.code, code, "{name}: {}", ran.err);
        assert!(ran.err.contains(message), "{name}: {}", ran.err);
        assert_eq!(ran.out, "", "{name}");
        assert_eq!(home.names(), ["in"], "{name}");
    }
    let home = home_with(&raw);
    let ran = home.convert(&["no/such/directory/out"]).expect(1);
    assert!(ran.err.contains("no/such/directory"), "{}", ran.err);
    let ran = home.convert(&["/dev/null", "--force"]).expect(1);
    assert!(ran.err.contains("not a regular file"), "{}", ran.err);
    fs::remove_file(home.path("in")).unwrap();
    home.convert(&["out"]).expect(2);
}

/// Begins a conversion that takes seconds, and waits until it is under way.
fn begin_long(home: &Home, args: &[&str]) -> Child {
    let mut file = File::create(home.path("in")).unwrap();
    file.write_all(&images::raw()).unwrap();
    let piece = images::noise(1 << 20);
    for _ in 0..400 {
        file.write_all(&piece).unwrap();
    }
    drop(file);
    let mut command = home.convert_command(args);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap();
    // Open files of the process: one of them grows.
    let begun = Instant::now();
    while written(&child) < 1 << 20 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "nothing is written"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Bytes that a process has written so far.
fn written(child: &Child) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}

fn end(mut child: Child, signal: Signal) -> ExitStatus {
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap()
}

#[test]
fn killed_in_the_middle_it_leaves_no_half_file() {
    for force in [false, true] {
        let home = Home::new();
        let mut args = vec!["out.qcow2", "--compress"];
        let mut names = vec!["in"];
        if force {
            fs::write(home.path("out.qcow2"), "mine").unwrap();
            args.push("--force");
            names.push("out.qcow2");
        }
        let status = end(begin_long(&home, &args), Signal::KILL);
        assert_eq!(status.signal(), Some(9), "it was not in the middle");
        // File systems without files that have no name keep a temporary one.
        let mut left = home.names();
        left.retain(|name| !name.starts_with(".abbild-"));
        assert_eq!(left, names);
        if force {
            assert_eq!(fs::read(home.path("out.qcow2")).unwrap(), b"mine");
        }
    }
}

#[test]
fn interrupted_it_leaves_nothing() {
    let home = Home::new();
    let status = end(begin_long(&home, &["out.qcow2", "--compress"]), Signal::INT);
    assert_eq!(status.code(), Some(130));
    assert_eq!(home.names(), ["in"]);
}

#[test]
fn a_file_that_cannot_grow_is_said_and_not_left() {
    let home = home_with(&disk());
    // No file may grow beyond 512 KiB, which needs no rights, as filling a disk would.
    let mut command = Command::new("sh");
    let script = format!(
        "trap '' XFSZ; ulimit -f 1024; exec {} convert in out.raw",
        env!("CARGO_BIN_EXE_abbild")
    );
    command.args(["-c", &script]).current_dir(home.0.path());
    let ran = Ran::new(command.output().unwrap()).expect(1);
    assert!(
        ran.err.contains("writing the image failed: File too large"),
        "{}",
        ran.err
    );
    assert_eq!(home.names(), ["in"]);
    assert_eq!(ran.out, "");
}
