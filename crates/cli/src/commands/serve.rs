//! `abbild serve`: the service itself, in the foreground, until it is told to stop.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use abbild_service::config::{Loaded, LogFormat};
use abbild_service::{Config, Started};
use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::ServeArgs;

/// Serves until SIGTERM, SIGINT, or a failure. A second signal does not wait for what still runs.
///
/// # Errors
/// If the configuration is wrong, or the data directory or the address cannot be used.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = config(args)?;
    log_to_stderr(config.log.format);
    let data = config.data.display().to_string();
    let region = config
        .regions
        .first()
        .map_or_else(String::new, |r| r.slug.clone());
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut signals = Signals::watch()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let at_once = async move {
            signals.next().await;
            tracing::info!("stopping; virtual machines go on");
            service_manager(&[NotifyState::Stopping]);
            // Without a receiver, the service has ended by itself.
            let _ = stop.send(());
            signals.next().await;
            tracing::warn!("stopping at once");
        };
        let stop = async move {
            // A sender that is gone means a stop at once, which nothing here waits for.
            let _ = stopped.await;
        };
        let ready = |started: &Started| {
            // Who started the service need not read what it prints.
            let _ = welcome(started, &data, &region);
            service_manager(&[NotifyState::Ready]);
            tokio::spawn(keep_watchdog_quiet());
        };
        tokio::select! {
            ended = abbild_service::serve(config, stop, ready) => ended,
            () = at_once => Ok(()),
        }
    })?;
    // What blocks and was not done in time begins again at the next start.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("watching for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("watching for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells systemd, if it is there, how the service is (sd_notify(3)).
fn service_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Answers systemd's watchdog, if it wants to hear from us. The runtime that serves requests has to
/// find the time for it.
async fn keep_watchdog_quiet() {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        tokio::time::sleep(interval / 3).await;
        service_manager(&[NotifyState::Watchdog]);
    }
}

/// `ABBILD_LOG` says what is logged, the configuration how.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("ABBILD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = io::stderr().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal);
    if json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init();
    } else {
        lines.init();
    }
}

/// The configuration in force.
///
/// # Errors
/// With everything that is wrong with it.
pub fn config(args: &ServeArgs) -> anyhow::Result<Config> {
    Ok(load(args)?.config)
}

/// The configuration file, and what the environment and the command line change in it.
///
/// # Errors
/// With everything that is wrong with it.
pub fn load(args: &ServeArgs) -> anyhow::Result<Loaded> {
    let mut arguments = Vec::new();
    if let Some(data) = &args.data {
        let data = data.to_str().context("`--data` is no Unicode text")?;
        arguments.push(("--data", "data", data.to_owned()));
    }
    if let Some(listen) = args.listen {
        arguments.push(("--listen", "listen", listen.to_string()));
    }
    if let Some(listen) = args.tls_listen {
        arguments.push(("--tls-listen", "tls.listen", listen.to_string()));
    }
    Config::load(args.config.as_deref(), arguments)
}

/// The runtime of the service.
///
/// # Errors
/// If the system gives it no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// Tells the operator where the service is, and what to try.
fn welcome(started: &Started, data: &str, region: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let abbild = std::env::args()
        .next()
        .unwrap_or_else(|| "abbild".to_owned());
    let url = format!("http://{}", started.addresses.plain);
    writeln!(
        out,
        "abbild {} serves {url}, data in {data}",
        env!("CARGO_PKG_VERSION")
    )?;
    if let Some(address) = started.addresses.tls {
        write!(out, "TLS: https://{address}")?;
        match &started.authority {
            Some(path) => writeln!(out, ", for clients that trust {}", path.display())?,
            None => writeln!(out)?,
        }
    }
    if let Some(address) = started.addresses.metrics {
        writeln!(out, "metrics: http://{address}/metrics")?;
    }
    let token = match &started.first_token {
        Some(token) => {
            writeln!(out, "token of the first account, shown only now: {token}")?;
            token.as_str()
        }
        None => {
            writeln!(out, "for a further token: {abbild} admin token create")?;
            "TOKEN"
        }
    };
    writeln!(out)?;
    writeln!(out, "try next, in another terminal:")?;
    writeln!(out, "  {abbild} login {url} --token {token}")?;
    writeln!(out, "  {abbild} check IMAGE")?;
    writeln!(
        out,
        "  {abbild} image upload IMAGE --name my-image --region {region}"
    )?;
    out.flush()
}
