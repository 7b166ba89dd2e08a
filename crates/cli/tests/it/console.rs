//! `abbild vm console`, without and with a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::service::{Service, TOKEN};
use crate::{Home, Ran};

fn console(service: &Service, home: &Home, extra: &[&str]) -> Command {
    home.run(&["login", &service.url, "--token", TOKEN])
        .expect(0);
    let mut args = vec!["vm", "console", "web"];
    args.extend(extra);
    home.abbild(&args)
}

#[test]
fn commands_can_be_piped_in() {
    let (service, home) = (Service::start(), Home::new());
    let mut command = console(&service, &home, &["--linger", "0.5"]);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Without a terminal Ctrl-] is a byte like any other.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"root\n\x1d")
        .unwrap();
    let ran = Ran::new(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(service.typed(), b"root\n\x1d");
    assert_eq!(ran.out, "earlier output\r\nlogin: ROOT\n\x1d");
    assert_eq!(ran.err, "");
}

#[test]
fn the_log_can_be_had_alone() {
    let (service, home) = (Service::start(), Home::new());
    let output = console(&service, &home, &["--log"]).output().unwrap();
    assert_eq!(Ran::new(output).expect(0).out, "earlier output\r\n");
}

/// A terminal, and everything that is shown on it.
struct Screen {
    keyboard: File,
    terminal: File,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    fn new() -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let keyboard = File::from(main);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut source, target) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = source.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]);
                target.lock().unwrap().push_str(&text);
            }
        });
        Self {
            keyboard,
            terminal,
            shown,
        }
    }

    fn attach(&self, command: &mut Command) {
        let terminal = || Stdio::from(self.terminal.try_clone().unwrap());
        command
            .stdin(terminal())
            .stdout(terminal())
            .stderr(terminal());
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.shown.lock().unwrap().contains(text) {
            assert!(
                Instant::now() < end,
                "{text:?} is not in {:?}",
                self.shown.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn on_a_terminal_every_key_goes_through_until_detached() {
    let (service, home) = (Service::start(), Home::new());
    let screen = Screen::new();
    let mut command = console(&service, &home, &[]);
    screen.attach(&mut command);
    let mut child = command.spawn().unwrap();
    screen.wait_for("Ctrl-] detaches");
    screen.wait_for("login: ");
    assert!(screen.is_raw());
    // Ctrl-C is the guest's, not ours.
    (&screen.keyboard).write_all(b"root\r\x03").unwrap();
    screen.wait_for("ROOT");
    (&screen.keyboard).write_all(b"x\x1dnot sent").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    screen.wait_for("detached from web");
    assert!(!screen.is_raw());
    assert!(service.typed().starts_with(b"root\r\x03"));
    assert!(!service.typed().ends_with(b"sent"));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let (service, home) = (Service::start(), Home::new());
    let screen = Screen::new();
    let mut command = console(&service, &home, &[]);
    screen.attach(&mut command);
    let mut child = command.spawn().unwrap();
    screen.wait_for("login: ");
    assert!(screen.is_raw());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
    assert!(!screen.is_raw());
}
