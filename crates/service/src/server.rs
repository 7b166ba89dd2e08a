//! The listeners: plain HTTP, TLS, and one for metrics. All are drained together.
//!
//! Every connection speaks HTTP/1.1 or HTTP/2. Consoles are WebSockets, for which clients open a
//! connection of HTTP/1.1, because HTTP/2 is not offered for them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use axum::{Extension, Router};
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Control, Handle, Server};
use tokio::task::JoinSet;

use crate::Config;
use crate::tls::Tls;

/// How long a client may take for the head of a request, the time between two included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How much is read from a connection by HTTP/1 at once. Every connection has such a buffer, and a
/// thousand uploads are a thousand connections; the default is 400 KiB.
const READ_BUFFER: usize = 64 << 10;
/// How much an upload by HTTP/2 may have under way; the default makes distant clients slow.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Marks requests that came through TLS.
#[derive(Debug, Clone, Copy)]
pub struct Secure;

/// The sockets, before anything is served: a port that is taken ends the start early.
#[derive(Debug)]
pub struct Listeners {
    plain: TcpListener,
    tls: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

/// Where the service listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Plain HTTP.
    pub plain: SocketAddr,
    /// TLS.
    pub tls: Option<SocketAddr>,
    /// Metrics alone.
    pub metrics: Option<SocketAddr>,
}

impl Listeners {
    /// Opens the sockets that `config` names.
    ///
    /// # Errors
    /// With the address that cannot be listened on.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            plain: bind(config.listen)?,
            tls: config.tls.listen.map(bind).transpose()?,
            metrics: config.metrics.listen.map(bind).transpose()?,
        })
    }

    /// Where they listen.
    ///
    /// # Errors
    /// Those of the system.
    pub fn addresses(&self) -> std::io::Result<Addresses> {
        let of =
            |socket: &Option<TcpListener>| socket.as_ref().map(TcpListener::local_addr).transpose();
        Ok(Addresses {
            plain: self.plain.local_addr()?,
            tls: of(&self.tls)?,
            metrics: of(&self.metrics)?,
        })
    }

    /// Serves `api` on plain HTTP and TLS, and `metrics` on their own listener.
    ///
    /// # Errors
    /// Those of the system.
    pub fn serve(
        self,
        api: &Router,
        metrics: Router,
        tls: Option<&Tls>,
    ) -> anyhow::Result<Serving> {
        let control = Control::new();
        let mut servers = JoinSet::new();
        let plain = tuned(self.plain, &control)?.acceptor(NoDelayAcceptor::new());
        let service = api
            .clone()
            .into_make_service_with_connect_info::<SocketAddr>();
        servers.spawn(plain.serve(service));
        if let (Some(socket), Some(tls)) = (self.tls, tls) {
            let acceptor = RustlsAcceptor::new(tls.served()).acceptor(NoDelayAcceptor::new());
            let server = tuned(socket, &control)?.acceptor(acceptor);
            let api = api.clone().layer(Extension(Secure));
            servers.spawn(server.serve(api.into_make_service_with_connect_info::<SocketAddr>()));
        }
        if let Some(socket) = self.metrics {
            let server = tuned(socket, &control)?;
            servers.spawn(server.serve(metrics.into_make_service()));
        }
        Ok(Serving { control, servers })
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("listening on {address}"))
}

fn tuned(socket: TcpListener, control: &Control) -> anyhow::Result<Server<SocketAddr>> {
    let handle = Handle::with_control(control.clone());
    let mut server = axum_server::from_tcp(socket)?
        .handle(handle)
        .first_request_timeout(HEAD_TIMEOUT);
    let builder = server.http_builder();
    builder
        .http1()
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    Ok(server)
}

/// The servers at work.
#[derive(Debug)]
pub struct Serving {
    control: Control,
    servers: JoinSet<std::io::Result<()>>,
}

impl Serving {
    /// Ends when a server has ended by itself.
    ///
    /// # Errors
    /// With what ended it.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        match self.servers.join_next().await {
            Some(ended) => ended?.context("serving requests"),
            None => Ok(()),
        }
    }

    /// Takes no more connections, and waits at most for `limit` until those that are there end.
    pub async fn drain(mut self, limit: Duration) {
        self.control.graceful_shutdown(Some(limit));
        while let Some(ended) = self.servers.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::error!(%error, "a listener failed");
            }
        }
    }
}
