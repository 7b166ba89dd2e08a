//! `abbild serve`: the service itself, in the foreground, until it is told to stop.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use abbild_service::config::Loaded;
use abbild_service::{Config, Started};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::ServeArgs;

/// Serves until SIGTERM, SIGINT, or a failure.
///
/// # Errors
/// If the configuration is wrong, or the data directory or the address cannot be used.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = config(args)?;
    let filter = EnvFilter::try_from_env("ABBILD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let data = config.data.display().to_string();
    let region = config
        .regions
        .first()
        .map_or_else(String::new, |r| r.slug.clone());
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
        let stop = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
            tracing::info!("stopping; virtual machines go on");
        };
        abbild_service::serve(config, stop, |started| welcome(started, &data, &region)).await
    })?;
    // Imports begin again at the next start; waiting for them would hold up the stop.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
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
#[allow(clippy::print_stdout)] // this is the command's output
fn welcome(started: &Started, data: &str, region: &str) {
    let abbild = std::env::args()
        .next()
        .unwrap_or_else(|| "abbild".to_owned());
    let url = format!("http://{}", started.address);
    println!(
        "abbild {} serves {url}, data in {data}",
        env!("CARGO_PKG_VERSION")
    );
    let token = match &started.first_token {
        Some(token) => {
            println!("token of the first account, shown only now: {token}");
            token.as_str()
        }
        None => {
            println!("for a further token: {abbild} admin token");
            "TOKEN"
        }
    };
    println!();
    println!("try next, in another terminal:");
    println!("  {abbild} login {url} --token {token}");
    println!("  {abbild} check IMAGE");
    println!("  {abbild} image upload IMAGE --name my-image --region {region}");
}
