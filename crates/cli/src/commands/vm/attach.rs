//! Bytes between standard input, a WebSocket and standard output, on one thread.
//!
//! `poll` waits for whichever has something; the socket is non-blocking. While the socket cannot
//! take what was typed, standard input is left alone, so nothing piles up in memory.

use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use abbild_api::ConsoleNotice;
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::HeaderValue;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Connector, Error as WsError, Message, WebSocket, client_tls_with_config};

use crate::client::{self, Client, refusal};
use crate::interrupt::Interrupt;
use crate::print::clean;

/// A connection to the service, with or without TLS.
pub type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

/// Ctrl-], as in telnet.
const DETACH: u8 = 0x1d;
/// How long output is printed before anything else is looked at.
const MOMENT: Duration = Duration::from_millis(100);
/// Longest time for connection and handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// A console that is connected.
pub struct Attached {
    socket: Socket,
    /// With input that is not a terminal: how long silence may last after its end.
    linger: Option<Duration>,
    input_open: bool,
    /// The socket has not taken everything yet.
    pending: bool,
    /// The socket, or what was read from it, may hold more than was printed.
    unread: bool,
    heard: Instant,
    /// What is typed reaches the machine.
    keyboard: bool,
}

/// Why the connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The user detached.
    Detached,
    /// The other side closed.
    Closed,
    /// The input ended and nothing came back any more.
    Silent,
    /// A signal came.
    Interrupted,
}

impl Attached {
    /// Connects to the WebSocket at `path` of the service.
    ///
    /// # Errors
    /// If that fails or the service refuses.
    pub fn connect(client: &Client, path: &str, linger: Option<Duration>) -> anyhow::Result<Self> {
        let socket = dial_socket(client, path)?;
        Ok(Self {
            socket,
            linger,
            input_open: true,
            pending: false,
            unread: false,
            heard: Instant::now(),
            keyboard: false,
        })
    }

    /// Carries bytes until the end.
    ///
    /// # Errors
    /// If the connection, standard input or standard output fails.
    pub fn run(&mut self, interrupt: &Interrupt) -> anyhow::Result<End> {
        loop {
            if let Some(end) = self.receive()? {
                return Ok(end);
            }
            self.pending = would_block(self.socket.flush())?;
            if interrupt.is_set() {
                return self.close(End::Interrupted);
            }
            if !self.input_open && self.linger.is_none_or(|l| self.heard.elapsed() >= l) {
                return self.close(End::Silent);
            }
            if self.wait()?
                && let Some(end) = self.send()?
            {
                return self.close(end);
            }
        }
    }

    /// Prints what has arrived, but not for longer than a moment: a guest that never falls silent, at a slow
    /// terminal, must not keep us from the keys that detach.
    fn receive(&mut self) -> anyhow::Result<Option<End>> {
        let mut out = io::stdout().lock();
        let begun = Instant::now();
        self.unread = false;
        let end = loop {
            if begun.elapsed() > MOMENT {
                self.unread = true;
                break None;
            }
            let bytes = match self.socket.read() {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Text(text)) => {
                    self.tell(&text);
                    continue;
                }
                Ok(Message::Close(_)) => break Some(End::Closed),
                Ok(_) => continue,
                Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => break Some(End::Closed),
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => return Err(error).context("reading from the console"),
            };
            self.heard = Instant::now();
            out.write_all(&bytes)?;
        };
        out.flush()?;
        Ok(end)
    }

    /// Says what the service said beside the console's bytes.
    fn tell(&mut self, text: &str) {
        let Ok(notice) = serde_json::from_str::<ConsoleNotice>(text) else {
            return;
        };
        match notice {
            ConsoleNotice::Keyboard { yours: true, .. } => self.keyboard = true,
            ConsoleNotice::Keyboard { holder, .. } => {
                // In raw mode a line does not begin at its beginning.
                let had = std::mem::replace(&mut self.keyboard, false);
                if had {
                    eprint!("\r\n[{} has the keyboard now]\r\n", clean(&holder));
                }
            }
            ConsoleNotice::Lost { pieces } => {
                eprint!("\r\n[{pieces} pieces of output were left out]\r\n");
            }
            ConsoleNotice::Unread { bytes } => {
                eprint!("\r\n[the machine takes no input; {bytes} bytes were left out]\r\n");
            }
        }
    }

    /// Waits for any side, at most a second; whether there is input.
    fn wait(&self) -> anyhow::Result<bool> {
        // A signal between the question whether there was one and this call is seen a second late.
        let mut timeout = Duration::from_secs(u64::from(!self.unread));
        if let (false, Some(linger)) = (self.input_open, self.linger) {
            timeout = timeout.min(linger.saturating_sub(self.heard.elapsed()));
        }
        let listen = self.input_open && !self.pending;
        wait(
            &self.socket,
            io::stdin().as_fd(),
            listen,
            self.pending,
            timeout,
        )
    }

    /// Sends what was typed.
    fn send(&mut self) -> anyhow::Result<Option<End>> {
        let mut buffer = [0; 4096];
        let read = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(None),
            // A terminal that is gone answers so.
            Err(rustix::io::Errno::IO) => 0,
            Err(error) => return Err(error).context("reading standard input"),
        };
        if read == 0 {
            self.input_open = false;
            self.heard = Instant::now();
            return Ok(None);
        }
        let typed = &buffer[..read];
        let detach = match self.linger {
            None => typed.iter().position(|&byte| byte == DETACH),
            // Only a terminal has keys.
            Some(_) => None,
        };
        let typed = detach.map_or(typed, |end| &typed[..end]);
        if !typed.is_empty() {
            let message = Message::binary(typed.to_vec());
            self.pending = would_block(self.socket.send(message))?;
        }
        Ok(detach.map(|_| End::Detached))
    }

    /// Says goodbye; whether that arrives does not matter.
    fn close(&mut self, end: End) -> anyhow::Result<End> {
        let _ = self.socket.close(None);
        let _ = self.socket.flush();
        Ok(end)
    }
}

/// The WebSocket at `path` of the service, which does not block.
///
/// # Errors
/// If connecting fails or the service refuses.
pub fn dial_socket(client: &Client, path: &str) -> anyhow::Result<Socket> {
    // http becomes ws and https becomes wss.
    let url = format!("{}{path}", client.url()).replacen("http", "ws", 1);
    let mut request = url.into_client_request()?;
    let token = HeaderValue::from_str(client.authorization().unwrap_or_default())?;
    request.headers_mut().insert("authorization", token);
    let stream = dial(client.url())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT))?;
    let connector = client.trust().for_sockets()?.map(Connector::Rustls);
    let socket = match client_tls_with_config(request, stream, None, connector) {
        Ok((socket, _)) => socket,
        Err(HandshakeError::Failure(WsError::Http(answer))) => {
            let body = answer.body().as_deref().unwrap_or_default();
            return Err(refusal(answer.status(), answer.headers(), body).into());
        }
        Err(error) => return Err(error).context("connecting to the console"),
    };
    let tcp = tcp(&socket)?;
    tcp.set_read_timeout(None)?;
    tcp.set_nonblocking(true)?;
    Ok(socket)
}

fn tcp(socket: &Socket) -> io::Result<&TcpStream> {
    match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => Ok(stream),
        MaybeTlsStream::Rustls(stream) => Ok(&stream.sock),
        _ => Err(io::Error::other("an unknown kind of connection")),
    }
}

/// Waits until the service has sent something, or can take something if that is `pending`, or there is
/// `input` to which one should `listen`; whether there is.
pub fn wait(
    socket: &Socket,
    input: BorrowedFd<'_>,
    listen: bool,
    pending: bool,
    timeout: Duration,
) -> anyhow::Result<bool> {
    let mut wanted = PollFlags::IN;
    wanted.set(PollFlags::OUT, pending);
    let mut fds = vec![PollFd::new(tcp(socket)?, wanted)];
    if listen {
        fds.push(PollFd::new(&input, PollFlags::IN));
    }
    match poll(&mut fds, Some(&Timespec::try_from(timeout)?)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty()))
}

/// Whether there is more to write.
pub fn would_block(result: Result<(), WsError>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        // The next read says how it ended.
        Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => Ok(false),
        Err(error) => Err(error).context("writing to the console"),
    }
}

fn dial(url: &str) -> Result<TcpStream, client::Error> {
    let (scheme, host) = url.split_once("://").unwrap_or(("http", url));
    let default_port = if scheme == "https" { 443 } else { 80 };
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{default_port}")
    };
    let refused = |source| client::Error::Refused {
        url: url.to_owned(),
        source,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs().map_err(refused)? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(refused(last))
}
