//! `abbild vm ssh`: waits for the machine's SSH server, then becomes `ssh`.

use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use abbild_api::{Droplet, DropletStatus};
use anyhow::Context as _;

use crate::args::VmSshArgs;
use crate::failure::Failure;
use crate::names;
use crate::print::clean;
use crate::progress::Steps;
use crate::session::Session;

use super::{address, default_user, known_hosts, ssh_port};

/// How long a server that took the connection may take to greet: an emulated guest is slow.
const GREETING: Duration = Duration::from_secs(10);
/// The spinner's pace.
const TICK: Duration = Duration::from_millis(200);

/// Does not return when `ssh` could be started.
///
/// # Errors
/// If the machine is not running, does not greet in time, or `ssh` is not installed.
pub fn run(session: &Session, args: &VmSshArgs) -> anyhow::Result<ExitCode> {
    let client = session.client()?;
    let vm = names::vm(&client, &args.vm)?;
    let name = clean(&vm.name);
    if vm.status == DropletStatus::Off {
        let reason = vm.extra.as_ref().and_then(|extra| extra.reason.as_deref());
        let reason = reason.map(|reason| format!(": {}", clean(reason)));
        return Err(Failure::new(format!("`{name}` is off{}", reason.unwrap_or_default())).into());
    }
    let target = address(&vm).ok_or_else(|| {
        Failure::new(format!("`{name}` has no address yet"))
            .hint(format!("`abbild vm show {name}` shows its state"))
    })?;
    let target = SocketAddr::new(target, ssh_port(&vm));
    let user = user(&vm, args)?;
    wait_for_banner(target, args.timeout, &name)?;
    let hosts = match vm.extra.as_ref().is_some_and(|e| e.rescue.is_some()) {
        // What rescues a machine makes new host keys whenever it is started.
        true => "/dev/null".into(),
        false => known_hosts::file(client.url(), &vm)?,
    };
    if let Some(directory) = hosts.parent() {
        std::fs::create_dir_all(directory).context("creating the directory for host keys")?;
    }
    let error = command(args, target, &user, &hosts, vm.id.0).exec();
    if error.kind() == io::ErrorKind::NotFound {
        return Err(Failure::new("`ssh` is not installed here")
            .hint("on Debian: apt-get install openssh-client")
            .into());
    }
    Err(error).context("starting ssh")
}

fn user(vm: &Droplet, args: &VmSshArgs) -> Result<String, Failure> {
    let found = default_user(vm).map(str::to_owned);
    args.user.clone().or(found).ok_or_else(|| {
        Failure::new("the image's default user is not known").hint("name one with --user")
    })
}

fn command(args: &VmSshArgs, target: SocketAddr, user: &str, hosts: &Path, id: i64) -> Command {
    let mut ssh = Command::new("ssh");
    let port = target.port().to_string();
    ssh.args(["-p", &port, "-l", user])
        .arg("-o")
        .arg(format!("UserKnownHostsFile=\"{}\"", hosts.display()))
        .args(["-o", "StrictHostKeyChecking=accept-new"])
        .args(["-o", &format!("HostKeyAlias=abbild-vm-{id}")]);
    if let Some(identity) = &args.identity {
        ssh.arg("-i").arg(identity);
    }
    ssh.arg(target.ip().to_string()).args(&args.args);
    ssh
}

fn wait_for_banner(target: SocketAddr, timeout: Duration, name: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut steps = Steps::new();
    loop {
        if greets(target, &steps) {
            return Ok(());
        }
        if begin.elapsed() >= timeout {
            let message = format!(
                "no SSH server answers at {target} within {} s",
                timeout.as_secs()
            );
            let hint = format!("`abbild vm console {name}` shows what the machine is doing");
            return Err(Failure::new(message).hint(hint).into());
        }
        steps.step(&format!("waiting for the SSH server of {name}"));
        thread::sleep(TICK);
        steps.tick();
    }
}

/// Whether the version line of SSH (RFC 4253, section 4.2) comes from `target`. A mere connection
/// says nothing, because the address is forwarded by the hypervisor, which takes it at once.
fn greets(target: SocketAddr, steps: &Steps) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_secs(2)) else {
        return false;
    };
    if stream.set_read_timeout(Some(TICK)).is_err() {
        return false;
    }
    let begin = Instant::now();
    let mut greeting = Vec::new();
    let mut buffer = [0; 256];
    while begin.elapsed() < GREETING && greeting.len() < 4096 {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => greeting.extend_from_slice(&buffer[..read]),
            Err(error) if is_timeout(&error) => steps.tick(),
            Err(_) => return false,
        }
        if greeting
            .split(|&byte| byte == b'\n')
            .any(|line| line.starts_with(b"SSH-"))
        {
            return true;
        }
    }
    false
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_an_ssh_greeting_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for greeting in ["", "220 mail\r\n", "welcome\r\nSSH-2.0-x\r\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(greeting.as_bytes()).unwrap();
            }
        });
        let answers: Vec<bool> = (0..3).map(|_| greets(target, &Steps::new())).collect();
        assert_eq!(answers, [false, false, true]);
        server.join().unwrap();
        assert!(!greets(target, &Steps::new()), "nothing listens any more");
    }

    #[test]
    fn the_command_keeps_host_keys_apart() {
        let args = VmSshArgs {
            vm: "web".into(),
            user: None,
            identity: Some("/k".into()),
            timeout: Duration::from_secs(1),
            args: vec!["uptime".into()],
        };
        let target = "127.1.0.2:2222".parse().unwrap();
        let command = command(&args, target, "debian", Path::new("/a b/h"), 7);
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy())
            .collect();
        assert_eq!(
            words.join(" "),
            "-p 2222 -l debian -o UserKnownHostsFile=\"/a b/h\" \
             -o StrictHostKeyChecking=accept-new -o HostKeyAlias=abbild-vm-7 -i /k 127.1.0.2 uptime"
        );
    }
}
