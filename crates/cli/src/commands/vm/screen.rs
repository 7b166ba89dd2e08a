//! `abbild vm console --vnc` and `--send`: a machine's screen for a viewer of VNC, and its keyboard.
//!
//! Viewers of VNC speak TCP, and the service a WebSocket with a token. So this command listens on the
//! loopback address, where nobody on the network reaches it, and carries bytes for each connection.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use abbild_api::{ConsoleKeys, Droplet};
use anyhow::Context as _;
use tungstenite::{Error as WsError, Message};

use super::attach;
use crate::client::Client;
use crate::interrupt::Interrupt;
use crate::print::clean;

/// Between two looks whether somebody connects, or Ctrl-C was pressed.
const TICK: Duration = Duration::from_millis(50);
/// How long a connection waits for either side at a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Presses keys together, given as `ctrl-alt-delete`.
///
/// # Errors
/// If the service refuses.
pub fn press(client: &Client, vm: &Droplet, keys: &str) -> anyhow::Result<ExitCode> {
    let keys = keys.split('-').map(str::to_owned).collect();
    let path = format!("/v2/droplets/{}/console/keys", vm.id);
    client.post_with(&path, &[], &ConsoleKeys { keys })?;
    Ok(ExitCode::SUCCESS)
}

/// Listens for viewers until Ctrl-C.
///
/// # Errors
/// If the port is taken, or the service refuses the first connection.
pub fn serve(client: &Client, vm: &Droplet, port: u16) -> anyhow::Result<ExitCode> {
    let path = format!("/v2/droplets/{}/console/vnc", vm.id);
    // Whether the machine has a screen is better said now than to a viewer.
    drop(attach::dial_socket(client, &path)?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("listening on 127.0.0.1:{port}"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    println!("{address}");
    std::io::stdout().flush()?;
    eprintln!(
        "hint: `vncviewer {}::{}` shows the screen of {}; Ctrl-C ends this",
        address.ip(),
        address.port(),
        clean(&vm.name)
    );
    let interrupt = Interrupt::watch()?;
    while !interrupt.is_set() {
        let Ok((viewer, _)) = listener.accept() else {
            interrupt.sleep(TICK);
            continue;
        };
        let (client, path) = (client.clone(), path.clone());
        thread::spawn(move || {
            if let Err(error) = carry(&client, &path, &viewer) {
                eprintln!("a viewer was disconnected: {error:#}");
            }
            let _ = viewer.shutdown(Shutdown::Both);
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries bytes between a viewer and the service until either is gone.
fn carry(client: &Client, path: &str, viewer: &TcpStream) -> anyhow::Result<()> {
    let mut socket = attach::dial_socket(client, path)?;
    viewer.set_nonblocking(false)?;
    viewer.set_nodelay(true)?;
    let (mut from_viewer, mut to_viewer) = (viewer, viewer);
    let mut buffer = [0; 64 * 1024];
    loop {
        loop {
            match socket.read() {
                Ok(Message::Binary(bytes)) => to_viewer.write_all(&bytes)?,
                Ok(Message::Close(_)) => return Ok(()),
                Ok(_) => {}
                Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => return Ok(()),
                Err(WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading from the service"),
            }
        }
        // While the service cannot take what was typed, the viewer is left alone.
        let pending = attach::would_block(socket.flush())?;
        if attach::wait(&socket, viewer.as_fd(), !pending, pending, PATIENCE)? {
            match from_viewer.read(&mut buffer)? {
                0 => return Ok(()),
                read => {
                    attach::would_block(socket.send(Message::binary(buffer[..read].to_vec())))?;
                }
            }
        }
    }
}
