//! Running the programs of the host that change its network.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::vm::{VmError, host};

/// They answer in milliseconds, but for a host that has more to do than it can.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where users who are not root have no search path to, and these programs are.
const FURTHER: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The Debian package of a program.
pub fn package(name: &str) -> &'static str {
    match name {
        "ip" => "iproute2",
        "nft" => "nftables",
        _ => "dnsmasq-base",
    }
}

/// Where a program is.
///
/// # Errors
/// Says which package has it.
pub fn find(name: &str) -> Result<PathBuf, VmError> {
    host::find_program(Path::new(name), &FURTHER).ok_or_else(|| {
        let package = package(name);
        VmError::Network(format!(
            "`{name}` was not found on this host\nits operator can install it with `apt install \
             {package}`"
        ))
    })
}

/// Runs a program to its end, and gives what it printed.
///
/// # Errors
/// With its own words when it fails.
pub async fn run(
    name: &str,
    arguments: &[impl AsRef<OsStr>],
    input: &str,
) -> Result<String, VmError> {
    let running = || {
        let what = format!("running `{name}`");
        |source| VmError::Io { what, source }
    };
    let mut child = Command::new(find(name)?)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(running())?;
    let stdin = child.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // One that ends without reading says why on its standard error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match timeout(PATIENCE, work).await {
        Ok(output) => output.map_err(running())?,
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            return Err(VmError::Network(format!(
                "`{name}` did not end within {seconds} seconds"
            )));
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let hint = match said.contains("not permitted") {
        true => "\nits operator can give the service CAP_NET_ADMIN, as packaging/bridge.conf does",
        false => "",
    };
    Err(VmError::Network(format!(
        "`{name}` says: {}{hint}",
        said.trim()
    )))
}
