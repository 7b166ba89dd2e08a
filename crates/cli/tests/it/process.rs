//! The real service as a process of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Home;

/// A service that was started; it dies with the test.
pub struct Process {
    pub child: Child,
    pub url: String,
    pub tls: Option<String>,
    pub token: String,
}

impl Process {
    pub fn start(home: &Home, data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let data = data.to_str().unwrap();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(home.0.path().join("log"))
            .unwrap();
        let child = home
            .abbild(&["serve", "--listen", "127.0.0.1:0", "--data", data])
            .args(arguments)
            .envs(variables.iter().copied())
            .env("ABBILD__VM__KVM", "false")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut process = Self {
            url: String::new(),
            tls: None,
            token: String::new(),
            child,
        };
        let out = process.child.stdout.take().unwrap();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let word = |before: &str| {
                let (_, rest) = line.split_once(before)?;
                Some(rest.split([',', ' ']).next().unwrap().to_owned())
            };
            if let Some(url) = word(" serves ") {
                process.url = url;
            }
            if let Some(url) = word("TLS: ") {
                process.tls = Some(url);
            }
            if let Some(token) = word("shown only now: ") {
                process.token = token;
            }
            if line.starts_with("try next") {
                return process;
            }
        }
        panic!(
            "the service did not start: {}",
            fs::read_to_string(home.0.path().join("log")).unwrap()
        );
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    #[track_caller]
    pub fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the service did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends the head of a request and as much of its body as is given.
    pub fn open_request(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let token = &self.token;
        write!(
            stream,
            "{head}\r\nhost: x\r\nauthorization: Bearer {token}\r\ntus-resumable: 1.0.0\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    /// Makes an upload and returns its path.
    pub fn upload(&self, length: usize) -> String {
        let head = format!(
            "POST /v2/uploads HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\nupload-length: {length}"
        );
        let mut answer = String::new();
        self.open_request(&head, b"")
            .read_to_string(&mut answer)
            .unwrap();
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("location: "));
        let location = location.unwrap_or_else(|| panic!("{answer}"));
        location
            .split_once("/v2/")
            .map(|(_, path)| format!("/v2/{path}"))
            .unwrap()
    }

    pub fn offset(&self, upload: &str) -> usize {
        let head = format!("HEAD {upload} HTTP/1.1\r\nconnection: close");
        let mut answer = String::new();
        self.open_request(&head, b"")
            .read_to_string(&mut answer)
            .unwrap();
        let offset = answer
            .lines()
            .find_map(|line| line.strip_prefix("upload-offset: "));
        offset
            .unwrap_or_else(|| panic!("{answer}"))
            .parse()
            .unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
