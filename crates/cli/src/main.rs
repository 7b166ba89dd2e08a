//! The one binary of Abbild. `main` parses, dispatches and chooses the exit status; what a command
//! does is in `commands/`.

mod args;
mod client;
mod commands;
mod credentials;
mod events;
mod failure;
mod input;
mod interrupt;
mod names;
mod new_file;
mod print;
mod progress;
mod public_key;
mod report;
mod session;
mod terminal;
mod trust;
mod upload;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use session::Session;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let session = Session::new(&cli);
    match run(&session, &cli.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", print::clean(&format!("{error:#}")));
            if let Some(hint) = failure::hint(&error) {
                eprintln!("\nhint: {}", print::clean_lines(&hint));
            }
            failure::exit_code(&error)
        }
    }
}

fn run(session: &Session, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => commands::check::run(session, args),
        Command::Rules => commands::rules::run(session),
        Command::Convert(args) => commands::convert::run(session, args),
        Command::Login(args) => commands::login::run(session, args),
        Command::Image(command) => commands::image::run(session, command),
        Command::Key(command) => commands::key::run(session, command),
        Command::Token(command) => commands::token::run(session, command),
        Command::Region(command) => commands::region::run(session, command),
        Command::Size(command) => commands::size::run(session, command),
        Command::Usage => commands::usage::run(session),
        Command::Vm(command) => commands::vm::run(session, command),
        Command::Serve(args) => commands::serve::run(args),
        Command::Config(command) => commands::config::run(session, command),
        Command::Doctor(args) => commands::doctor::run(session, args),
        Command::Admin(command) => commands::admin::run(session, command),
    }
}

/// Whether the reader of standard output went away, as `head` does: that is not our failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
