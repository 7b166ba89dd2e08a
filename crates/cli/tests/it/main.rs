//! The built binary, run as a user runs it: against small image files, and against a service in
//! this process that speaks just enough of the API and misbehaves on demand.

// Helpers of tests may panic as tests do; clippy only knows of functions marked as tests.
#![allow(clippy::unwrap_used)]

mod accounts;
mod check;
mod console;
mod convert;
mod images;
mod process;
mod screen;
mod serve;
mod service;
mod stored;
mod upload;
mod usage;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home directory of its own, so that nothing of the developer's is read or written.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// `abbild` with an environment that has nothing in it but this home.
    fn abbild(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_abbild"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(std::process::Stdio::null());
        command
    }

    /// Runs with `input` as standard input.
    fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self
            .abbild(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who does not read it has ended, and says why.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::new(child.wait_with_output().unwrap())
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::new(self.abbild(args).output().unwrap())
    }
}

/// What a run left.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.out, self.err
        );
        self
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}
