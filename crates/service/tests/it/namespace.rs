//! A network of its own for a test that changes the host's. Where the user may not make one, or a program
//! is missing, such tests say so and pass.

use std::process::{Command, Output};

/// Set in the namespace.
const INSIDE: &str = "ABBILD_TEST_NAMESPACE";

/// Runs `test`, the body of the test called `name`, in network and mount namespaces: in another process, for
/// which this one waits.
pub fn in_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    for program in ["ip", "nft", "dnsmasq", "python3"] {
        if let Err(error) = Command::new(program).arg("-V").output() {
            eprintln!("skipped: {program}: {error}");
            return;
        }
    }
    let possible = Command::new("unshare")
        .args(["--net", "--mount", "true"])
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make a network namespace");
        return;
    }
    let done = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", name])
        .env(INSIDE, "1")
        .env("RUST_BACKTRACE", "0")
        // A server on the host's loopback addresses is out of reach.
        .env_remove("ABBILD_TEST_POSTGRES")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", words(&done));
    assert!(words(&done).contains("1 passed"), "{}", words(&done));
}

/// What a program said.
pub fn words(output: &Output) -> String {
    let words = [&output.stdout, &output.stderr].map(|out| String::from_utf8_lossy(out));
    words.concat()
}

/// Runs a command, written as one would.
pub fn sh(line: &str) -> String {
    let mut parts = line.split(' ');
    let output = Command::new(parts.next().unwrap()).args(parts).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{line}: {}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A bridge on which the host has addresses, and the device of its ports as udev makes it.
pub fn make_bridge() {
    for line in [
        "mount -t tmpfs tun /dev/net",
        "mknod -m 0666 /dev/net/tun c 10 200",
        "ip link set lo up",
        "ip link add br0 type bridge",
        "ip address add 10.20.0.1/24 dev br0",
        "ip address add fd00:20::1/64 dev br0 nodad",
        "ip link set br0 up",
    ] {
        sh(line);
    }
}
