//! `abbild admin account|user|token|quota|audit`: whose the service is.

use std::io::{self, Write};

use abbild_api::{AuditEntry, User};
use abbild_service::operator::{AccountSummary, NewOperatorToken, NewOperatorUser};

use super::desk::Desk;
use crate::args::{
    AdminAccountCommand, AdminAuditArgs, AdminQuotaCommand, AdminTokenCommand, AdminUserCommand,
};
use crate::commands::token as tokens;
use crate::commands::usage::quota_table;
use crate::print::{Table, clean, fields};
use crate::session::Session;
use crate::terminal::new_password;

/// `abbild admin account …`
///
/// # Errors
/// If it cannot be done.
pub fn account(session: &Session, command: &AdminAccountCommand) -> anyhow::Result<()> {
    let one = |desk: &Desk, which: &str| desk.wait(desk.operator.account(which));
    let disable = |desk: &Desk, which: &str, reason: Option<&str>| {
        desk.wait(desk.operator.disable_account(which, reason))
    };
    let account = match command {
        AdminAccountCommand::List(service) => {
            let desk = Desk::open(service)?;
            let accounts = desk.wait(desk.operator.accounts())?;
            session.show(&accounts, |out| table(out, &accounts))?;
            return Ok(());
        }
        AdminAccountCommand::Create {
            name,
            email,
            service,
        } => {
            let desk = Desk::open(service)?;
            desk.wait(desk.operator.create_account(name, email))?
        }
        AdminAccountCommand::Show(args) => one(&Desk::open(&args.service)?, &args.account)?,
        AdminAccountCommand::Disable { reason, account } => disable(
            &Desk::open(&account.service)?,
            &account.account,
            Some(reason),
        )?,
        AdminAccountCommand::Enable(args) => {
            disable(&Desk::open(&args.service)?, &args.account, None)?
        }
    };
    session.show(&account, |out| details(out, &account))?;
    Ok(())
}

fn table(out: &mut dyn Write, accounts: &[AccountSummary]) -> io::Result<()> {
    let mut table = Table::new([
        "ID", "NAME", "ADDRESS", "USERS", "IMAGES", "MACHINES", "STATE",
    ]);
    for account in accounts {
        table.row([
            account.id.to_string(),
            account.name.clone(),
            account.email.clone(),
            account.users.to_string(),
            account.images.to_string(),
            account.droplets.to_string(),
            state(account),
        ]);
    }
    table.write(out)
}

fn state(account: &AccountSummary) -> String {
    let word = if account.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    };
    word.to_owned()
}

fn details(out: &mut dyn Write, account: &AccountSummary) -> io::Result<()> {
    let lines = [
        ("id", account.id.to_string()),
        ("uuid", account.uuid.clone()),
        ("name", account.name.clone()),
        ("address", account.email.clone()),
        ("made", account.created_at.clone()),
        ("state", state(account)),
        ("since", account.disabled_at.clone().unwrap_or_default()),
        ("reason", account.disabled_reason.clone()),
        ("users", account.users.to_string()),
        ("tokens", account.tokens.to_string()),
        ("images", account.images.to_string()),
        ("machines", account.droplets.to_string()),
    ];
    fields(out, &lines)
}

/// `abbild admin user …`
///
/// # Errors
/// If it cannot be done.
pub fn user(session: &Session, command: &AdminUserCommand) -> anyhow::Result<()> {
    let disable =
        |desk: &Desk, email: &str, disabled| desk.wait(desk.operator.disable_user(email, disabled));
    let user = match command {
        AdminUserCommand::List(args) => {
            let desk = Desk::open(&args.service)?;
            let users = desk.wait(desk.operator.users(args.account.as_deref()))?;
            session.show(&users, |out| user_table(out, &users))?;
            return Ok(());
        }
        AdminUserCommand::Create {
            email,
            name,
            role,
            no_password,
            account,
        } => {
            let desk = Desk::open(&account.service)?;
            let password = match no_password {
                true => None,
                false => Some(new_password()?),
            };
            let new = NewOperatorUser {
                account: account.account.clone(),
                email: email.clone(),
                name: name.clone(),
                role: *role,
                password,
            };
            desk.wait(desk.operator.create_user(new))?
        }
        AdminUserCommand::Password(args) => {
            let desk = Desk::open(&args.service)?;
            desk.wait(
                desk.operator
                    .set_user_password(&args.email, new_password()?),
            )?
        }
        AdminUserCommand::Disable(args) => disable(&Desk::open(&args.service)?, &args.email, true)?,
        AdminUserCommand::Enable(args) => disable(&Desk::open(&args.service)?, &args.email, false)?,
    };
    session.show(&user, |out| user_table(out, std::slice::from_ref(&user)))?;
    Ok(())
}

fn user_table(out: &mut dyn Write, users: &[User]) -> io::Result<()> {
    let mut table = Table::new(["ID", "ADDRESS", "NAME", "ROLE", "LAST LOGIN", "STATE"]);
    for user in users {
        let state = match (user.disabled, user.has_password) {
            (true, _) => "disabled",
            (false, true) => "enabled",
            (false, false) => "no password",
        };
        table.row([
            user.id.to_string(),
            user.email.clone(),
            user.name.clone(),
            user.role.to_string(),
            user.last_login_at
                .clone()
                .unwrap_or_else(|| "never".to_owned()),
            state.to_owned(),
        ]);
    }
    table.write(out)
}

/// `abbild admin token …`
///
/// # Errors
/// If it cannot be done.
pub fn token(session: &Session, command: &AdminTokenCommand) -> anyhow::Result<()> {
    match command {
        AdminTokenCommand::Create {
            name,
            limits,
            account,
        } => {
            let desk = Desk::open(&account.service)?;
            let new = NewOperatorToken {
                account: account.account.clone(),
                name: name.clone(),
                scopes: limits.scopes.clone(),
                expires_in: limits.expires_in,
            };
            let token = desk.wait(desk.operator.create_token(new))?;
            tokens::show_new(session, &token)?;
        }
        AdminTokenCommand::List(args) => {
            let desk = Desk::open(&args.service)?;
            let all = desk.wait(desk.operator.tokens(args.account.as_deref()))?;
            tokens::show_list(session, &all)?;
        }
        AdminTokenCommand::Revoke { id, service } => {
            let desk = Desk::open(service)?;
            let token = desk.wait(desk.operator.revoke_token(*id))?;
            tokens::show_revoked(session, &token)?;
        }
    }
    Ok(())
}

/// `abbild admin quota …`
///
/// # Errors
/// If it cannot be done.
pub fn quota(session: &Session, command: &AdminQuotaCommand) -> anyhow::Result<()> {
    let quotas = match command {
        AdminQuotaCommand::Show(args) => {
            let desk = Desk::open(&args.service)?;
            desk.wait(desk.operator.quotas(args.account.as_deref()))?
        }
        AdminQuotaCommand::Set { limits, account } => {
            let desk = Desk::open(&account.service)?;
            desk.wait(desk.operator.set_quotas(account.account.as_deref(), limits))?
        }
    };
    session.show(&quotas, |out| quota_table(&quotas).write(out))?;
    Ok(())
}

/// `abbild admin audit`
///
/// # Errors
/// If there is no such account.
pub fn audit(session: &Session, args: &AdminAuditArgs) -> anyhow::Result<()> {
    let desk = Desk::open(&args.service)?;
    let entries = desk.wait(desk.operator.audit(args.account.as_deref(), args.limit))?;
    session.show(&entries, |out| {
        entries.iter().try_for_each(|entry| line(out, entry))
    })?;
    Ok(())
}

/// One line: when, who, from where, what, and how it ended.
fn line(out: &mut dyn Write, entry: &AuditEntry) -> io::Result<()> {
    let who = format!("{} `{}`", entry.actor.kind, entry.actor.name);
    let from = entry.address.as_deref().map(|a| format!(" from {a}"));
    let object = match (&entry.object_type, &entry.object_id) {
        (Some(kind), Some(id)) => format!(" {kind} {id}"),
        _ => String::new(),
    };
    let detail = match entry.detail.as_str() {
        "" => String::new(),
        detail => format!(": {detail}"),
    };
    let text = format!(
        "{}  {}{}  {}{object}  {}{detail}",
        entry.at,
        who,
        from.unwrap_or_default(),
        entry.action,
        entry.outcome,
    );
    writeln!(out, "{}", clean(&text))
}
