//! `abbild key add|list|delete`: the SSH public keys of the account.

use std::process::ExitCode;

use abbild_api::{CreateKey, Key, KeyOne};
use serde_json::json;

use crate::args::{KeyAddArgs, KeyCommand, KeyRef};
use crate::client::{self, Client};
use crate::names;
use crate::print::{Table, clean};
use crate::public_key;
use crate::session::Session;

/// Runs the subcommand.
///
/// # Errors
/// Those of the key file, of the request and of printing.
pub fn run(session: &Session, command: &KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Add(args) => add(session, args)?,
        KeyCommand::List => list(session)?,
        KeyCommand::Delete(args) => delete(session, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a key to the account.
///
/// # Errors
/// Those of the request.
pub fn create(client: &Client, name: &str, public_key: &str) -> client::Result<Key> {
    let body = CreateKey {
        name: name.to_owned(),
        public_key: public_key.to_owned(),
    };
    let answer: KeyOne = client.post("/v2/account/keys", &body)?;
    Ok(answer.ssh_key)
}

fn add(session: &Session, args: &KeyAddArgs) -> anyhow::Result<()> {
    let public_key = public_key::read(&args.path)?;
    let key = create(&session.client()?, &args.name, &public_key)?;
    session.show(&key, |out| {
        let (name, fingerprint) = (clean(&key.name), clean(&key.fingerprint));
        writeln!(out, "added key {} `{name}` ({fingerprint})", key.id)
    })?;
    Ok(())
}

fn list(session: &Session) -> anyhow::Result<()> {
    let keys = names::keys(&session.client()?)?;
    session.show(&keys, |out| {
        let mut table = Table::new(["ID", "NAME", "FINGERPRINT"]);
        for key in &keys {
            table.row([
                key.id.to_string(),
                key.name.clone(),
                key.fingerprint.clone(),
            ]);
        }
        table.write(out)
    })?;
    Ok(())
}

fn delete(session: &Session, args: &KeyRef) -> anyhow::Result<()> {
    let client = session.client()?;
    let key = names::key(&names::keys(&client)?, &args.key)?;
    client.delete(&format!("/v2/account/keys/{}", key.id))?;
    session.show(&json!({"deleted": key.id}), |out| {
        writeln!(out, "deleted key {} `{}`", key.id, clean(&key.name))
    })?;
    Ok(())
}
