//! `abbild token create|list|revoke`: the tokens of the account, for programs.

use std::process::ExitCode;

use abbild_api::{AccountOne, CreateToken, Scope, Token, TokenList, TokenOne};
use serde_json::json;

use crate::args::{NewToken, TokenCommand};
use crate::client::Client;
use crate::names;
use crate::print::{Table, clean};
use crate::session::Session;

const PATH: &str = "/v2/account/tokens";

/// Runs the subcommand.
///
/// # Errors
/// Those of the request and of printing.
pub fn run(session: &Session, command: &TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create(args) => create(session, args)?,
        TokenCommand::List => {
            let tokens = all(&session.client()?)?;
            show_list(session, &tokens)?;
        }
        TokenCommand::Revoke { token } => revoke(session, token)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(session: &Session, args: &NewToken) -> anyhow::Result<()> {
    let client = session.client()?;
    let mut scopes = args.limits.scopes.clone();
    if scopes.is_empty() {
        let account = client.get::<AccountOne>("/v2/account")?.account;
        scopes = account.extra.map_or_else(Vec::new, |extra| extra.scopes);
    }
    let body = CreateToken {
        name: args.name.clone(),
        scopes,
        expires_in: args.limits.expires_in,
    };
    let token = client.post::<TokenOne>(PATH, &body)?.token;
    show_new(session, &token)?;
    Ok(())
}

/// Prints the token itself on a line of its own, to be used in a script.
///
/// # Errors
/// Those of printing.
pub fn show_new(session: &Session, token: &Token) -> std::io::Result<()> {
    session.show(token, |out| {
        writeln!(out, "{}", clean(token.token.as_deref().unwrap_or("")))
    })
}

fn all(client: &Client) -> anyhow::Result<Vec<Token>> {
    Ok(client.list(PATH, |page: TokenList| (page.tokens, page.meta))?)
}

/// Prints tokens as a table.
///
/// # Errors
/// Those of printing.
pub fn show_list(session: &Session, tokens: &[Token]) -> std::io::Result<()> {
    session.show(&tokens, |out| {
        let mut table = Table::new(["ID", "NAME", "SCOPES", "EXPIRES", "LAST USED"]);
        for token in tokens {
            let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
            let scopes = match token.scopes.len() {
                len if len == Scope::ALL.len() => "all".to_owned(),
                _ => scopes.join(" "),
            };
            table.row([
                token.id.to_string(),
                token.name.clone(),
                scopes,
                token
                    .expires_at
                    .clone()
                    .unwrap_or_else(|| "never".to_owned()),
                token
                    .last_used_at
                    .clone()
                    .unwrap_or_else(|| "never".to_owned()),
            ]);
        }
        table.write(out)
    })
}

fn revoke(session: &Session, text: &str) -> anyhow::Result<()> {
    let client = session.client()?;
    let token = names::token(&all(&client)?, text)?;
    client.delete(&format!("{PATH}/{}", token.id))?;
    show_revoked(session, &token)?;
    Ok(())
}

/// Says which token is useless now.
///
/// # Errors
/// Those of printing.
pub fn show_revoked(session: &Session, token: &Token) -> std::io::Result<()> {
    session.show(&json!({"revoked": token.id}), |out| {
        writeln!(out, "revoked token {} `{}`", token.id, clean(&token.name))
    })
}
