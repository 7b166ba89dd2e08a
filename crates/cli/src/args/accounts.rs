//! The arguments around accounts: a customer's own tokens, and what an operator does with
//! everybody's.

use abbild_api::{Quota, Role, Scope};
use abbild_service::config::Limit;
use clap::{Args, Subcommand};

use super::ServeArgs;

/// `abbild token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown only now
    Create(NewToken),
    /// List the tokens
    List,
    /// Make a token useless
    Revoke {
        /// Id or name
        token: String,
    },
}

/// What a new token is made with.
#[derive(Debug, Args)]
pub struct NewToken {
    /// Name of the token
    pub name: String,
    #[command(flatten)]
    pub limits: TokenLimits,
}

/// What limits a token.
#[derive(Debug, Args)]
pub struct TokenLimits {
    /// What it may do: read, images, vms or admin; several times or with commas [default: everything
    /// that whoever makes it may]
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub scopes: Vec<Scope>,
    /// When it expires, for example 90d or 12h [default: never]
    #[arg(long = "expires", value_name = "PERIOD", value_parser = seconds)]
    pub expires_in: Option<i64>,
}

/// `abbild admin account …`
#[derive(Debug, Subcommand)]
pub enum AdminAccountCommand {
    /// Make an account
    Create {
        /// Name, for people
        #[arg(long)]
        name: String,
        /// Address of its owner
        #[arg(long)]
        email: String,
        #[command(flatten)]
        service: ServeArgs,
    },
    /// List the accounts
    List(ServeArgs),
    /// Show one account
    Show(AccountArgs),
    /// Keep everybody of an account out; its machines go on
    Disable {
        /// What its users are told
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Let them in again
    Enable(AccountArgs),
}

/// An account that must be named.
#[derive(Debug, Args)]
pub struct AccountArgs {
    /// Id, UUID or address of the account
    pub account: String,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// An account that need not be named.
#[derive(Debug, Args)]
pub struct AccountOption {
    /// Id, UUID or address of the account [default: the first]
    #[arg(long)]
    pub account: Option<String>,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `abbild admin user …`
#[derive(Debug, Subcommand)]
pub enum AdminUserCommand {
    /// Add a user, whose password is asked for or read from standard input
    Create {
        /// Address that they log in with
        email: String,
        /// Name, for people [default: the address]
        #[arg(long)]
        name: Option<String>,
        /// What they may do: owner, member or read-only
        #[arg(long, default_value = "owner")]
        role: Role,
        /// Without a password: only OpenID Connect lets them in
        #[arg(long)]
        no_password: bool,
        #[command(flatten)]
        account: AccountOption,
    },
    /// List the users of an account
    List(AccountOption),
    /// Set a password, which is asked for or read from standard input; ends their sessions
    Password(UserArgs),
    /// Keep a user out; ends their sessions
    Disable(UserArgs),
    /// Let a user in again
    Enable(UserArgs),
}

/// A user.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// Address that they log in with
    pub email: String,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `abbild admin token …`
#[derive(Debug, Subcommand)]
pub enum AdminTokenCommand {
    /// Make a token of an account; it is shown only now
    Create {
        /// Name, for people
        #[arg(long, default_value = "made by an operator")]
        name: String,
        #[command(flatten)]
        limits: TokenLimits,
        #[command(flatten)]
        account: AccountOption,
    },
    /// List the tokens of an account
    List(AccountOption),
    /// Make a token useless, of whichever account
    Revoke {
        /// Id
        id: i64,
        #[command(flatten)]
        service: ServeArgs,
    },
}

/// `abbild admin quota …`
#[derive(Debug, Subcommand)]
pub enum AdminQuotaCommand {
    /// Show what an account may have, and has
    Show(AccountOption),
    /// Allow an account more or less than the configuration says
    #[command(
        after_help = "For example: abbild admin quota set --account 7 droplets=50 \
        stored_bytes=500GiB images=unlimited vcpus=default"
    )]
    Set {
        /// Limits as QUOTA=VALUE: a number, a size, `unlimited`, or `default` for the configured one
        #[arg(required = true, value_name = "QUOTA=VALUE", value_parser = quota_limit)]
        limits: Vec<(Quota, Option<Limit>)>,
        #[command(flatten)]
        account: AccountOption,
    },
}

/// `abbild admin audit`
#[derive(Debug, Args)]
pub struct AdminAuditArgs {
    /// Only this account: id, UUID or address
    #[arg(long)]
    pub account: Option<String>,
    /// How many entries, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    #[command(flatten)]
    pub service: ServeArgs,
}

/// `droplets=50`; without a limit for `default`.
fn quota_limit(text: &str) -> Result<(Quota, Option<Limit>), String> {
    let (quota, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not QUOTA=VALUE"))?;
    let limit = match value {
        "default" => None,
        value => Some(value.parse()?),
    };
    Ok((quota.parse()?, limit))
}

/// A period such as `90d`, in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no period; write 90d, 12h or 2w");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(days).map_err(|_| wrong())?;
    match duration.as_secs() {
        seconds if seconds > 0 => Ok(seconds),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!(seconds("2w"), Ok(14 * 86_400));
        assert_eq!(seconds("1h 30m"), Ok(5400));
        for bad in ["", "90", "1 month", "-1d", "0s", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
