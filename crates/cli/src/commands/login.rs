//! `abbild login`: tries a token and remembers it with its service.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use abbild_api::AccountOne;
use serde_json::json;

use crate::args::LoginArgs;
use crate::client::Client;
use crate::credentials::{Credentials, normalise_url};
use crate::failure::Failure;
use crate::print::clean;
use crate::session::Session;
use crate::terminal::without_echo;

/// Asks for the token if need be, verifies it and stores both.
///
/// # Errors
/// If the service does not answer or does not know the token; nothing is stored then.
pub fn run(session: &Session, args: &LoginArgs) -> anyhow::Result<ExitCode> {
    let url = normalise_url(&args.url)?;
    let token = match &args.token {
        Some(token) => token.clone(),
        None => ask()?,
    };
    let token = token.trim().to_owned();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Failure::new("that is not a token")
            .hint("the service prints one on its first start; `abbild admin token` makes another")
            .into());
    }
    let ca = args.ca.as_deref().map(std::path::absolute).transpose()?;
    let credentials = Credentials { url, token, ca };
    let client = Client::new(&credentials, session.lang)?;
    let account = match client.get::<AccountOne>("/v2/account") {
        Ok(answer) => answer.account,
        Err(error) if error.status() == Some(401) => {
            return Err(Failure::new(format!("{} does not know this token", client.url()))
                .hint("the service prints one on its first start; `abbild admin token` makes another")
                .into());
        }
        Err(error) => return Err(error.into()),
    };
    let path = credentials.store()?;
    let answer = json!({"url": credentials.url, "account": account, "file": path});
    session.show(&answer, |out| {
        let who = if account.name.is_empty() {
            &account.email
        } else {
            &account.name
        };
        writeln!(out, "logged in to {} as {}", credentials.url, clean(who))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn ask() -> io::Result<String> {
    let stdin = io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        eprint!("Token: ");
        io::stderr().flush()?;
        without_echo(&stdin, || stdin.lock().read_line(&mut line))?;
        eprintln!();
    } else {
        stdin.lock().read_line(&mut line)?;
    }
    Ok(line)
}
